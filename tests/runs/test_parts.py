"""A run with its listing in parts on disk has the same results as one with it in memory."""

import io
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fruits.errors import OutputError
from fruits.features import compaction
from fruits.features.changes import rows_of as rows_of_file
from fruits.features.moments import measured_by_label
from fruits.features.table import FeatureTable
from fruits.features.writer import FeatureWriter
from fruits.folds import scored_images
from fruits.networks.graph import CompiledGraph
from fruits.predictor import write_images
from fruits.runs import copies, extract, publish, report_data
from fruits.runs.config import RunConfig
from fruits.runs.context import RunContext
from fruits.runs.finished import Run
from fruits.runs.pipeline import run
from fruits.sources import parts
from fruits.sources.parts import Parts
from fruits.storage.location import Location
from fruits.storage.lock import exclusive
from fruits.tasks import cross_validation, update_rows
from fruits.tasks.workers import Workers

pytestmark = pytest.mark.usefixtures("spark", "graph")


@contextmanager
def in_parts(small: int = 2) -> Iterator[None]:
    """In the block, listings with more than a few files are in parts, and few chunks are joined."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "IN_MEMORY", 5)
        patch.setattr(parts, "PART_ROWS", 8)
        patch.setattr(compaction, "MOST_SMALL", small)
        yield


@contextmanager
def as_it_is() -> Iterator[None]:
    yield


def go(tmp_path: Path, name: str, **options: Any) -> Run:
    settings = {
        "images": str(tmp_path / "images"),
        "output": str(tmp_path / name),
        "backbone": "EfficientNetLite0",
        "classifier": "none",
        "components": 3,
        "max_rejected": 0.5,
        "chunk": 10,
        "allow_removed": True,
        **options,
    }
    return run(RunConfig(**settings), io.StringIO())


def rows_of(output: Path, name: str) -> list[list[Any]]:
    table = pd.read_parquet(output / name).sort_values("path")
    for column in table.columns.intersection(["features", "pca"]):
        table[column] = [values.tobytes() for values in table[column]]
    return table.astype(object).where(table.notna(), None).values.tolist()  # type: ignore[no-any-return]


def kept_moments(output: Path) -> dict[str, bool]:
    """Whether the stored moments of each chunk match its rows."""
    store = FeatureTable(Location.of(f"{output}/features"))
    found = {}
    for chunk in store.chunks():
        for side in (None, "train"):
            name = f"{chunk.number:06}.{side}.moments" if side else f"{chunk.number:06}.moments"
            kept = output / "features" / "_chunks" / name
            if not kept.exists():
                continue
            rows = (rows_of_file(store.root / file, side) for file in chunk.files)
            measured = measured_by_label(batch for table in rows for batch in table.to_batches())
            found[kept.name] = kept.read_bytes() == measured.to_bytes()
    return found


def results(output: Path, report: dict[str, Any]) -> dict[str, Any]:
    """All results of a run, except times."""
    assert all(kept_moments(output).values())
    return {
        **{name: rows_of(output, name) for name in ("features", "pca", "rejected")},
        "csv": (output / "pca.csv").read_text(),
        **{name: report[name] for name in ("fingerprint", "split", "explained_variance")},
        "found": report["counts"]["found"],
    }


def compared(tmp_path: Path, **options: Any) -> dict[str, Any]:
    """Compares two runs with different outputs, the second with its listing in parts.

    Returns:
        The results, which must be equal, and the number of images that each run extracted.
    """
    found, extracted = [], []
    for name, how in (("memory", as_it_is), ("parts", in_parts)):
        with how():
            done = go(tmp_path, name, **options)
        found.append(results(tmp_path / name, done.report))
        extracted.append(done.report["counts"]["extracted"])
    for name, value in found[0].items():
        assert found[1][name] == value, name
    return found[0] | {"extracted": extracted}


class _Refused(FeatureWriter):
    """A table of features whose second commit fails."""

    commits = 0

    def commit(self, *arguments: Any, **options: Any) -> Any:
        self.commits += 1
        if self.commits == 2:
            raise OutputError("output: refused")
        return super().commit(*arguments, **options)


def interrupted(tmp_path: Path, name: str, **options: Any) -> None:
    """A run that ends after its first commit."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fruits.runs.context.FeatureWriter", _Refused)
        with pytest.raises(OutputError, match="refused"):
            go(tmp_path, name, **options)


def test_listings_in_memory_and_in_parts_have_the_same_results(
    draw: Callable[..., Path], tmp_path: Path
) -> None:
    root = draw({"Training/Fig": 14, "Training/Kiwi": 9, "Test/Äpfel": 8})
    fig = root / "Training" / "Fig"
    for number in (3, 11):
        (fig / f"{number}_100.jpg").write_text(f"no picture {number}")
    (fig / "twin.jpg").write_bytes((fig / "8_100.jpg").read_bytes())

    # An interrupted run in parts continues where it stopped.
    with in_parts():
        interrupted(tmp_path, "parts")
    assert len(FeatureTable(Location.of(f"{tmp_path}/parts/features")).chunks()) == 1
    first = compared(tmp_path)
    assert kept_moments(tmp_path / "parts")
    assert (first["found"], len(first["rejected"]), first["extracted"]) == (32, 2, [30, 20])

    # New, changed, removed, renamed and rejected images.
    draw({"Training/Lime": 7}, seed=1)
    (fig / "0_100.jpg").write_bytes((root / "Training/Lime/0_100.jpg").read_bytes())
    (fig / "1_100.jpg").unlink()
    (fig / "2_100.jpg").write_text("no picture any more")
    (root / "Training" / "Kiwi").rename(root / "Test" / "Kiwi")
    shutil.copytree(root / "Test" / "Äpfel", root / "Training" / "copies")
    second = compared(tmp_path)
    assert (second["found"], len(second["rejected"]), second["extracted"]) == (46, 3, [8, 8])
    labels = {row[1] for row in second["features"]}
    assert labels == {"Fig", "Kiwi", "Äpfel", "Lime", "copies"}

    # The same files with other labels and splits, and only some of them are used.
    options: dict[str, Any] = {"label": "grandparent", "split": "none", "limit": 17}
    third = compared(tmp_path, **options)
    assert (third["found"], third["extracted"]) == (17, [0, 0])
    assert len(third["features"]) == 43
    assert {(row[1], row[2]) for row in third["features"]} == {("Training", None), ("Test", None)}

    # Both detect that nothing has changed.
    for how in (as_it_is, in_parts):
        with how():
            assert "checked" in go(tmp_path, "parts", **options).report


def test_a_short_listing_is_compared_with_many_known_images_part_by_part(
    draw: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = draw({"Training/Fig": 20, "Test/Kiwi": 9})
    (root / "Training" / "Fig" / "3_100.jpg").write_text("no picture")
    compared(tmp_path)

    lengths: list[int] = []
    update = extract._update

    def noted(context: RunContext, known: Parts, listed: Parts) -> Any:
        lengths.append(len(known.rows))
        return update(context, known, listed)

    monkeypatch.setattr(extract, "_update", noted)
    for number in range(4, 20):
        (root / "Training" / "Fig" / f"{number}_100.jpg").unlink()
    shutil.rmtree(root / "Test")
    draw({"Training/Lime": 1}, seed=1)
    few = compared(tmp_path)
    assert (few["found"], len(few["rejected"]), few["extracted"]) == (5, 1, [1, 1])
    assert [length > 2 for length in lengths] == [False, True]


def test_changed_images_that_an_interrupted_run_has_committed_replace_the_old_ones(
    draw: Callable[..., Path], tmp_path: Path
) -> None:
    root = draw({"Training/Fig": 12, "Training/Kiwi": 8, "Test/Kiwi": 4})
    bad = root / "Training" / "Fig" / "0_100.jpg"
    bad.write_text("no picture")
    compared(tmp_path)

    draw({"Training/Fig": 12}, seed=1)
    bad.write_text("no picture either")
    # Afterwards, one of the outputs has both versions of an image in one file.
    for name, how in (("memory", as_it_is), ("parts", in_parts)):
        with how():
            interrupted(tmp_path, name, chunk=5)
    grown = compared(tmp_path, chunk=5)
    assert grown.pop("extracted") == [7, 7]
    assert grown == results(tmp_path / "scratch", go(tmp_path, "scratch").report)

    # A rejected image is not read and rejected again, even if it is listed several times.
    for name in ("memory", "parts"):
        assert refused_in(tmp_path / name) == 2
        with exclusive(f"file:{tmp_path / name}/_lock") as lock:
            store = FeatureWriter(Location.of(f"{tmp_path / name}/features"), lock)
            store.commit([], pa.concat_tables(store.refused()))
    (root / "Training" / "Kiwi" / "0_100.jpg").unlink()
    less = compared(tmp_path)
    assert (less["found"], len(less["rejected"]), less["extracted"]) == (23, 1, [0, 0])
    assert [refused_in(tmp_path / name) for name in ("memory", "parts")] == [4, 4]


def refused_in(output: Path) -> int:
    """The number of rejects that the features of an output have."""
    return sum(rows.num_rows for rows in FeatureTable(Location.of(f"{output}/features")).refused())


def test_images_that_are_restored_after_an_interruption_count_as_they_were(
    draw: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Even few images have stored folds.
    monkeypatch.setattr(scored_images, "MOST_IMAGES", 0)
    monkeypatch.setattr(cross_validation, "_BYTES_OF_A_SUM", 0)
    root = draw({"Fig": 12, "Kiwi": 12})
    names = ("model/_basis.classifier", "model/_basis.moments")
    out = tmp_path / "out"

    def model() -> list[bytes]:
        go(tmp_path, "out", classifier="lda")
        return [(out / name).read_bytes() for name in names]

    before = model()
    assert (out / "features" / "_folds").exists()
    shutil.copytree(root, tmp_path / "copy")
    draw({"Fig": 12}, seed=1)
    interrupted(tmp_path, "out", classifier="lda", chunk=5)
    shutil.rmtree(root)
    shutil.copytree(tmp_path / "copy", root)
    assert model() == before


def test_files_are_rewritten_once_if_images_of_many_parts_are_gone(
    draw: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with in_parts(small=99):
        # The collection grows in all folders, so each file has images of all parts.
        for step in range(4):
            for label in ("Fig", "Kiwi", "Lime"):
                root = draw({label: 4}, seed=step)
                for file in (root / label).glob("?_100.jpg"):
                    file.rename(root / label / f"{file.stem}-{step}.jpg")
            go(tmp_path, "out")
        assert len(FeatureTable(Location.of(f"{tmp_path}/out/features")).chunks()) == 8
        for file in root.glob("*/2_*.jpg"):
            file.unlink()
        update, written = update_rows.update, list[set[str]]()

        def noted(workers: Workers, store: FeatureWriter, *rows: pa.Table) -> None:
            written.append({name for some in rows for name in some["file"].unique().to_pylist()})
            update(workers, store, *rows)

        monkeypatch.setattr(update_rows, "update", noted)
        go(tmp_path, "out", label="grandparent")
    assert 4 <= sum(map(len, written)) == len(set().union(*written))
    rows = rows_of(tmp_path / "out", "features")
    assert (len(rows), {row[1] for row in rows}) == (36, {"images"})


def test_only_a_sample_of_very_many_images_is_shown_and_compared(
    graph: CompiledGraph,
    draw: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = draw({"Training/Fig": 30, "Training/Kiwi": 28, "Test/Fig": 14, "Test/Kiwi": 11})
    shutil.copy(root / "Training" / "Fig" / "3_100.jpg", root / "Test" / "Fig" / "copy.jpg")
    monkeypatch.setattr(report_data, "MOST_IMAGES", 21)
    monkeypatch.setattr(copies, "MOST_COMPARED", 50)
    for module in (publish, write_images):
        monkeypatch.setattr(module, "MOST_NEIGHBOURS", 20)
    with in_parts():
        report = go(tmp_path, "out", classifier="lda").report
    assert report["quality"]["skipped"]["near-duplicate"] == (
        "looked for among 50 different contents, sampled evenly; 33 more were not compared"
    )
    assert report["quality"]["split duplicate"] >= 1
    assert report["classifier"]["neighbours"] == 20
    assert report["classifier"]["training_images"] == 58
    names = pq.read_table(tmp_path / "out" / "predictor" / "neighbours.parquet")["path"].to_pylist()
    assert (len(names), names) == (20, sorted(names))
    assert report["evaluation"]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "84" in page
    assert len(rows_of(tmp_path / "out", "predictions")) == 84
