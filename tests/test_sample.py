import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fruits import sample
from fruits.errors import ConfigError, OutputError
from fruits.sample import MARKER, draw_sample
from fruits.sample.bodies import Body
from fruits.sample.render import render, turned
from fruits.sample.species import KINDS, Kind

CLASSES, PER_CLASS = 12, 9


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample") / "fruits"
    assert draw_sample(str(folder), CLASSES, PER_CLASS) == CLASSES * (PER_CLASS + 3)
    return folder


@pytest.fixture(scope="module")
def pictures(drawn: Path) -> dict[str, NDArray[np.int16]]:
    """The pictures (n, 100, 100, 3) of each variety in Training and Test."""
    return {
        variety.name: np.stack(
            [
                np.asarray(Image.open(file), np.int16)
                for file in sorted(drawn.glob(f"*/{variety.name}/*.jpg"))
            ]
        )
        for variety in sorted((drawn / "Training").iterdir())
    }


def bodies(images: NDArray[np.int16]) -> NDArray[np.bool_]:
    mask: NDArray[np.bool_] = images.min(axis=-1) < 235
    return mask


def contents(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.rglob("*.jpg")
    }


def refuse_to_draw(*_: object) -> None:
    raise AssertionError("a picture was drawn")


def test_training_has_per_class_pictures_and_test_a_third_of_that(drawn: Path) -> None:
    for part, count in (("Training", PER_CLASS), ("Test", 3)):
        varieties = list((drawn / part).iterdir())
        assert len(varieties) == CLASSES
        assert {len(list(variety.iterdir())) for variety in varieties} == {count}


@pytest.mark.parametrize(("per_class", "tested"), [(1, 1), (2, 1), (3, 1), (4, 2), (50, 17)])
def test_every_fourth_picture_goes_to_test(per_class: int, tested: int) -> None:
    files = [file for file, _, _ in sample._pictures(per_class)]
    assert len(set(files)) == len(files)
    assert sum(file.startswith("Training/") for file in files) == per_class
    assert [file.startswith("Test/") for file in files].count(True) == tested


def test_many_pictures_of_a_variety_keep_distinct_names() -> None:
    files = [file for file, _, _ in sample._pictures(3000)]
    assert len(set(files)) == 4000


def test_files_are_named_as_in_fruits_360(drawn: Path) -> None:
    files = [file.name for file in drawn.rglob("*.jpg")]
    assert all(re.fullmatch(r"(r2?_)?\d+_100\.jpg", file) for file in files)
    assert {re.sub(r"\d+_100.jpg", "", file) for file in files} == {"", "r_", "r2_"}


def test_pictures_are_rgb_jpegs_of_100_by_100_pixels(drawn: Path) -> None:
    for file in drawn.rglob("*.jpg"):
        with Image.open(file) as picture:
            assert (picture.format, picture.mode, picture.size) == ("JPEG", "RGB", (100, 100))


def test_varieties_of_140_classes_have_distinct_names_like_those_of_fruits_360() -> None:
    names = [sample._variety(number) for number in range(140)]
    assert len(set(names)) == 140
    assert all(re.fullmatch(r"([A-Z][a-z]+ )+\d+", name) for name in names)


def test_the_same_seed_draws_the_same_bytes_and_another_seed_other_ones(tmp_path: Path) -> None:
    for folder, seed in (("a", 3), ("b", 3), ("c", 4)):
        draw_sample(str(tmp_path / folder), classes=2, per_class=2, seed=seed)
    a, b, c = (contents(tmp_path / folder) for folder in "abc")
    assert a == b
    assert a.keys() == c.keys()
    assert not set(a.values()) & set(c.values())


@pytest.mark.slow
def test_processes_draw_the_same_bytes_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_sample(str(tmp_path / "one"), classes=3, per_class=2)
    monkeypatch.setattr(sample, "_POOL_FROM", 0)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1}, raising=False)
    reports: list[tuple[int, int]] = []
    draw_sample(
        str(tmp_path / "two"), classes=3, per_class=2, progress=lambda *done: reports.append(done)
    )
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert reports == [(3, 9), (6, 9), (9, 9)]


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.2, 4])  # while processes import NumPy, and while they draw
def test_ctrl_c_ends_all_processes_with_one_line(seconds: float, tmp_path: Path) -> None:
    folder = tmp_path / "sample"
    command = [sys.executable, "-m", "fruits.cli", "sample", "--output", str(folder)]
    drawing = subprocess.Popen(
        [*command, "--classes", "60"], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not (folder / MARKER).exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(seconds)
    os.killpg(drawing.pid, signal.SIGINT)  # like a terminal
    _, printed = drawing.communicate(timeout=60)  # waits until all processes have closed stderr
    assert drawing.returncode == 130
    assert "Traceback" not in printed
    assert printed.splitlines()[-1] == "fruits: interrupted"


def test_more_classes_only_add_to_fewer(drawn: Path, tmp_path: Path) -> None:
    draw_sample(str(tmp_path / "few"), classes=2, per_class=PER_CLASS)
    assert contents(tmp_path / "few").items() < contents(drawn).items()


def test_the_background_is_white(pictures: dict[str, NDArray[np.int16]]) -> None:
    for images in pictures.values():
        corners = images[:, [0, 0, -1, -1], [0, -1, 0, -1]].min(axis=-1) >= 250
        # The stem or the tip of a tilted body may reach into a corner.
        assert (corners.sum(axis=1) >= 3).all()
        assert corners.mean() > 0.9


def test_bodies_fill_the_frame_as_in_fruits_360(pictures: dict[str, NDArray[np.int16]]) -> None:
    for name, images in pictures.items():
        body = bodies(images)
        share = body.mean(axis=(1, 2))
        assert ((share > 0.08) & (share < 0.85)).all(), (name, share)
        # Pictures are cropped to the body, so it reaches both edges in the longer direction.
        wide, tall = (body.any(axis=axis).sum(axis=1) for axis in (1, 2))
        assert (np.maximum(wide, tall) >= 96).all(), name


def test_bodies_are_solid(pictures: dict[str, NDArray[np.int16]]) -> None:
    """A row of pixels through a body has no holes, except at the concave side of a banana."""
    for name, images in pictures.items():
        if "Banana" in name:
            continue
        for body in bodies(images):
            row = np.flatnonzero(body[50])
            assert len(row) == row[-1] - row[0] + 1, name


def test_light_comes_from_the_upper_left(pictures: dict[str, NDArray[np.int16]]) -> None:
    for name in ("Orange 1", "Kiwi 1", "Apple Golden 1", "Tomato 1"):
        images = pictures[name].mean(axis=-1)
        assert images[:, 30:40, 30:40].mean() > 1.4 * images[:, 65:75, 65:75].mean(), name


def test_varieties_differ_more_than_the_pictures_of_one(
    pictures: dict[str, NDArray[np.int16]],
) -> None:
    """Compared by the mean colour of the body: nearly all pictures are nearest to their variety."""
    tones = {
        name: np.stack(
            [image[body].mean(axis=0) for image, body in zip(images, bodies(images), strict=True)]
        )
        for name, images in pictures.items()
    }
    centres = np.stack([tone.mean(axis=0) for tone in tones.values()])
    within = np.mean([tone.var(axis=0).sum() for tone in tones.values()])
    assert centres.var(axis=0).sum() > 10 * within
    own = [
        np.linalg.norm(centres - tone, axis=1).argmin() == number
        for number, tone_of in enumerate(tones.values())
        for tone in tone_of
    ]
    assert np.mean(own) > 0.8


def test_the_second_variety_of_a_species_is_near_to_the_first_but_not_the_same() -> None:
    def picture(kind: Kind, seed: int, spread: float) -> NDArray[np.int16]:
        body = Body(kind, np.random.default_rng(seed), spread)
        return render(body, turned(0, 30)).astype(np.int16)

    kinds = {kind.name: kind for kind in KINDS}
    lemon = picture(kinds["Lemon"], 1, 0.03)
    other = picture(kinds["Lemon"], 2, 0.07)
    plum = picture(kinds["Plum"], 1, 0.03)
    assert 1 < np.abs(lemon - other).mean() < 0.5 * np.abs(lemon - plum).mean()


def test_neighbouring_angles_differ_less_than_far_ones() -> None:
    body = Body(KINDS[0], np.random.default_rng(0), 0.03)
    start, *others = (render(body, turned(90, angle)).astype(np.int16) for angle in (0, 2, 15, 180))
    near, further, far = (np.abs(picture - start).mean() for picture in others)
    assert 0 < near < further < far


def test_a_full_turn_comes_back_to_its_start() -> None:
    body = Body(KINDS[1], np.random.default_rng(0), 0.03)
    start, end = (render(body, turned(40, angle)) for angle in (10, 370))
    assert np.abs(start.astype(np.int16) - end).mean() < 0.1


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_each_species_can_be_seen_from_all_sides(kind: Kind) -> None:
    body = Body(kind, np.random.default_rng(0), 0.07)
    for lying, angle in ((0, 20), (90, 90), (40, 200)):
        picture = render(body, turned(lying, angle))
        share = (picture.min(axis=-1) < 235).mean()
        assert 0.06 < share < 0.85
        assert picture[picture.min(axis=-1) < 235].std() > 5


def test_a_complete_sample_is_used_again(drawn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "render", refuse_to_draw)
    assert draw_sample(str(drawn), CLASSES, PER_CLASS) == CLASSES * (PER_CLASS + 3)
    assert draw_sample(drawn.as_uri(), CLASSES, PER_CLASS) == CLASSES * (PER_CLASS + 3)


def interrupt(folder: Path) -> None:
    def stop(done: int, _: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        draw_sample(str(folder), classes=2, per_class=1, progress=stop)


def lose_a_picture(folder: Path) -> None:
    draw_sample(str(folder), classes=2, per_class=1)
    next(folder.rglob("*.jpg")).unlink()


@pytest.mark.parametrize("spoil", [interrupt, lose_a_picture])
def test_an_incomplete_sample_is_drawn_again(spoil: Callable[[Path], None], tmp_path: Path) -> None:
    spoil(tmp_path / "spoilt")
    assert len(contents(tmp_path / "spoilt")) < 4
    draw_sample(str(tmp_path / "whole"), classes=2, per_class=1)
    assert draw_sample(str(tmp_path / "spoilt"), classes=2, per_class=1) == 4
    assert contents(tmp_path / "spoilt") == contents(tmp_path / "whole")


@pytest.mark.parametrize("other", [{"classes": 11}, {"per_class": 8}, {"seed": 1}])
def test_a_sample_of_other_parameters_is_not_changed(drawn: Path, other: dict[str, int]) -> None:
    before = contents(drawn)
    values = {"classes": CLASSES, "per_class": PER_CLASS, "seed": 0, **other}
    with pytest.raises(OutputError, match="give another folder"):
        draw_sample(str(drawn), **values)  # type: ignore[arg-type]
    assert contents(drawn) == before


@pytest.mark.parametrize("marker", [None, "{", "[]", "{}", '{"complete": true}'])
def test_a_folder_with_other_files_is_not_changed(marker: str | None, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    if marker is not None:
        (tmp_path / MARKER).write_text(marker)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OutputError, match="give another folder"):
        draw_sample(str(tmp_path), classes=1, per_class=1)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("inside", ["", "/below"])
def test_a_file_in_place_of_the_folder_is_an_output_error(inside: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match=r"can be written; .* is a file, or below one: give"):
        draw_sample(f"{tmp_path}/file{inside}", classes=1, per_class=1)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_disk_that_fails_while_drawing_is_an_output_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OutputError, match="No space left"):
        draw_sample(str(tmp_path), classes=1, per_class=1)
    assert json.loads((tmp_path / MARKER).read_text())["complete"] is False


@pytest.mark.parametrize("name", ["classes", "per_class", "seed"])
@pytest.mark.parametrize("value", [-1, 2.5, "3", None])
def test_bad_values_are_named(name: str, value: object, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"^{name}: wanted .*; got {re.escape(repr(value))}"):
        draw_sample(str(tmp_path / "none"), **{name: value})  # type: ignore[arg-type]
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("name", ["classes", "per_class"])
def test_nothing_to_draw_is_a_bad_value(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least 1; got 0"):
        draw_sample(str(tmp_path / "none"), **{name: 0})  # type: ignore[arg-type]


@pytest.mark.parametrize("output", ["s3://bucket/a", "s3a://b/a", "hdfs:/a", "file://host/a", ""])
def test_only_local_folders_are_accepted(output: str) -> None:
    with pytest.raises(ConfigError, match="output: wanted a"):
        draw_sample(output, classes=1, per_class=1)


def test_a_file_uri_names_a_folder(tmp_path: Path) -> None:
    draw_sample(f"file://{tmp_path}/two%20words", classes=1, per_class=1)
    assert len(contents(tmp_path / "two words")) == 2
