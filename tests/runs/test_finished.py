from pathlib import Path
from types import SimpleNamespace

from listings import find_images
from PIL import Image

from fruits.runs.finished import Run


def test_pictures_damaged_after_the_run_are_left_out(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        Image.new("RGB", (20, 20), "red").save(tmp_path / f"{name}.png")
    rows = find_images(str(tmp_path)).images.select(["path", "label", "length"])
    (tmp_path / "a.png").write_bytes(b"no picture any more")
    (tmp_path / "b.png").unlink()
    run = SimpleNamespace(report={"parameters": {}})
    pictures = Run._decoded(run, rows, 16)  # type: ignore[arg-type]
    assert list(pictures) == [f"file:{tmp_path}/c.png"]
    assert pictures[f"file:{tmp_path}/c.png"].tolist()[0][0] == [255, 0, 0]
