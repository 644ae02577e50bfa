import hashlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from listings import find_images, list_images
from PIL import Image

from fruits.errors import OutputError
from fruits.features.rows import FEATURES, REJECTED
from fruits.features.table import THUMBNAILS, Chunk, FeatureTable
from fruits.features.writer import FeatureWriter
from fruits.networks.graph import CompiledGraph
from fruits.networks.runtime import featurize
from fruits.sources.listing import LISTING, anti_join
from fruits.sources.parts import Parts
from fruits.sources.reading import contents_of as read_items
from fruits.storage.location import Location
from fruits.storage.lock import Lock, exclusive
from fruits.tasks import commits
from fruits.tasks import extract as extraction
from fruits.tasks import image_ranges as sizes_of_tasks
from fruits.tasks.commits import Outcome
from fruits.tasks.extract import Extraction, most_images
from fruits.tasks.extract import extract as extract_files
from fruits.tasks.image_ranges import MOST_IMAGES, image_ranges
from fruits.tasks.known import known_parts, known_rows
from fruits.tasks.workers import Workers

LABELS = {"Apple Red 1": 9, "Pêche #1 50%": 9, "v1.2": 5}


def extract(
    workers: Workers,
    listing: pa.Table,
    graph: CompiledGraph,
    folder: Path,
    chunk: int,
    progress: Callable[[int], object] = lambda done: None,
) -> Extraction:
    with exclusive(f"file:{folder}/_lock") as lock:
        store = FeatureWriter(Location.of(f"{folder}/features"), lock)
        known = known_parts(workers, store, ())
        return extract_files(workers, Parts.of(listing), known, graph, store, chunk, progress)


def test_features_have_the_same_bits_for_any_partitions_and_chunks(
    workers: Workers,
    graph: CompiledGraph,
    draw: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listing = find_images(str(draw(LABELS))).images
    paths = [path.removeprefix("file:") for path in listing["path"].to_pylist()]
    one_by_one = [next(featurize([Path(path).read_bytes()], graph)) for path in paths]
    for number, (fewest, chunk) in enumerate([(64, 10_000), (3, 10_000), (1, 7), (64, 1)]):
        monkeypatch.setattr(sizes_of_tasks, "FEWEST_IMAGES", fewest)
        out = tmp_path / f"out{number}"
        assert extract(workers, listing, graph, out, chunk).extracted == len(paths)
        table = pd.read_parquet(out / "features").sort_values("path")
        np.testing.assert_array_equal(np.stack(table["features"].to_list()), one_by_one)


def test_rows_tell_where_features_come_from(
    workers: Workers, graph: CompiledGraph, draw: Callable[..., Path], tmp_path: Path
) -> None:
    listing = find_images(str(draw(LABELS))).images
    extract(workers, listing, graph, tmp_path / "out", 10)
    rows = (
        FeatureTable(Location.of(f"{tmp_path}/out/features")).dataset().to_table().sort_by("path")
    )
    assert rows.schema.names == FEATURES.names
    for name in listing.schema.names:
        assert rows[name].to_pylist() == listing[name].to_pylist()
    for path, digest in zip(rows["path"].to_pylist(), rows["sha256"].to_pylist(), strict=True):
        content = Path(path.removeprefix("file:")).read_bytes()
        assert digest == hashlib.sha256(content).hexdigest()


def test_each_content_has_a_thumbnail_that_shows_it(
    workers: Workers, graph: CompiledGraph, draw: Callable[..., Path], tmp_path: Path
) -> None:
    root = draw({"Fig": 12})
    (root / "Fig" / "twin.jpg").write_bytes((root / "Fig" / "3_100.jpg").read_bytes())
    (root / "Fig" / "bad.jpg").write_bytes(b"no picture")
    listing = find_images(str(root)).images
    extract(workers, listing, graph, tmp_path / "out", 7)
    batches = list(FeatureTable(Location.of(f"{tmp_path}/out/features")).thumbnails())
    kept = pa.Table.from_batches(batches, THUMBNAILS).to_pylist()
    files = [file for file in (root / "Fig").iterdir() if file.name != "bad.jpg"]
    contents = {hashlib.sha256(file.read_bytes()).hexdigest(): file for file in files}
    assert {row["sha256"] for row in kept} == contents.keys()
    for row in kept:
        with Image.open(io.BytesIO(row["thumbnail"])) as small:
            shown = np.asarray(small, np.int16)
            image = Image.open(contents[row["sha256"]]).resize(small.size)
        assert np.abs(shown - np.asarray(image)).mean() < 6
    # Readers of features do not read them.
    assert len(pd.read_parquet(tmp_path / "out" / "features")) == 13
    assert FeatureTable(Location.of(f"{tmp_path}/out/features")).dataset().count_rows() == 13


def test_images_without_features_are_returned_with_their_reasons(
    workers: Workers, graph: CompiledGraph, draw: Callable[..., Path], tmp_path: Path
) -> None:
    root = draw({"Plum": 20, "Fig": 3})
    (root / "Plum" / "3_100.jpg").write_bytes(b"")
    (root / "Plum" / "5_100.jpg").write_text("no picture")
    whole = (root / "Plum" / "7_100.jpg").read_bytes()
    (root / "Plum" / "7_100.jpg").write_bytes(whole[: len(whole) // 2])
    listing = find_images(str(root)).images
    (root / "Plum" / "9_100.jpg").unlink()

    made = extract(workers, listing, graph, tmp_path / "out", 8)
    rejected = made.rejected.table()

    assert rejected.schema == REJECTED
    reasons = {Path(row["path"]).name: row["error"] for row in rejected.to_pylist()}
    assert set(rejected["label"].to_pylist()) == {"Plum"}
    assert reasons.keys() == {"3_100.jpg", "5_100.jpg", "7_100.jpg", "9_100.jpg"}
    assert reasons["3_100.jpg"].startswith("not an image: empty")
    assert reasons["5_100.jpg"].startswith("not an image: ")
    assert reasons["7_100.jpg"].startswith("damaged: ")
    assert "truncated" in reasons["7_100.jpg"]
    assert reasons["9_100.jpg"].startswith("unreadable: ")
    committed = pd.read_parquet(tmp_path / "out" / "features")["path"]
    assert set(committed) | set(rejected["path"].to_pylist()) == set(listing["path"].to_pylist())
    assert len(committed) == made.extracted == 19


def test_a_chunk_of_only_bad_images_is_committed(
    workers: Workers, graph: CompiledGraph, draw: Callable[..., Path], tmp_path: Path
) -> None:
    root = draw({"Fig": 4})
    for file in (root / "Fig").iterdir():
        file.write_text("no picture")
    made = extract(workers, find_images(str(root)).images, graph, tmp_path / "out", 10)
    assert (made.extracted, made.rejected.num_rows) == (0, 4)
    assert list((tmp_path / "out" / "features").glob("*.parquet")) == []


def test_contents_that_are_known_under_another_name_cost_no_cnn(
    workers: Workers, graph: CompiledGraph, draw: Callable[..., Path], tmp_path: Path
) -> None:
    root = draw({"Fig": 6})
    extract(workers, find_images(str(root)).images, graph, tmp_path / "out", 4)
    (root / "Fig").rename(root / "Ficus")
    draw({"Lime": 2}, seed=9)
    (root / "Lime" / "twin.jpg").write_bytes((root / "Ficus" / "3_100.jpg").read_bytes())
    made = extract(workers, find_images(str(root)).images, graph, tmp_path / "out", 4)
    assert (made.extracted, made.rejected.num_rows) == (2, 0)
    rows = pd.read_parquet(tmp_path / "out" / "features")
    assert rows["label"].value_counts().to_dict() == {"Fig": 6, "Ficus": 6, "Lime": 3}
    for _, same in rows.groupby("sha256"):
        assert len({features.tobytes() for features in same["features"]}) == 1
    assert rows["sha256"].nunique() == 8
    assert not rows["path"].duplicated().any()


def test_extraction_takes_items_of_any_source(
    workers: Workers,
    graph: CompiledGraph,
    draw: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = draw({"Fig": 5})
    pictures = [file.read_bytes() for file in sorted(folder.rglob("*.jpg"))]
    columns = {
        "path": [f"numbered:/Fig/{number}" for number in range(5)],
        "label": ["Fig"] * 5,
        "split": [None] * 5,
        "length": [len(picture) for picture in pictures],
        "modified": [0] * 5,
    }

    def numbered(items: pa.Table) -> Iterator[bytes | OSError]:
        for path in items["path"].to_pylist():
            number = int(path.rpartition("/")[2])
            yield pictures[number] if number else OSError("number 0 cannot be read")

    monkeypatch.setattr(extraction, "contents_of", numbered)
    listing = pa.table(columns, schema=LISTING)
    made = extract(workers, listing, graph, tmp_path / "out", 10)
    assert (made.extracted, made.rejected.table()["path"].to_pylist()) == (4, ["numbered:/Fig/0"])
    assert "number 0 cannot be read" in made.rejected.table()["error"][0].as_py()
    rows = pd.read_parquet(tmp_path / "out" / "features").sort_values("path")
    expected = list(featurize(pictures[1:], graph))
    np.testing.assert_array_equal(np.stack(rows["features"].to_list()), expected)


def test_tasks_read_the_rows_of_a_parquet_file_in_order(
    workers: Workers,
    graph: CompiledGraph,
    draw: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = [file.read_bytes() for file in (draw({"Fig": 12}) / "Fig").iterdir()]
    pq.write_table(pa.table({"image": images}), tmp_path / "a.parquet")
    # The names are the numbers of the rows, so the order by path is 0, 1, 10, 11, 2 ...
    listing = list_images(str(tmp_path / "a.parquet")).images.sort_by("path")

    def in_order(items: pa.Table) -> Iterator[bytes | OSError]:
        rows = pc.struct_field(items["at"], "offset").to_pylist()
        ordered = rows == sorted(rows)
        return (one if ordered else OSError(f"rows {rows}") for one in read_items(items))

    monkeypatch.setattr(extraction, "contents_of", in_order)
    made = extract(workers, listing, graph, tmp_path / "out", 100)
    assert made.rejected.table()["error"].to_pylist() == []
    assert made.extracted == 12


def test_progress_ends_with_all_files(
    workers: Workers, graph: CompiledGraph, draw: Callable[..., Path], tmp_path: Path
) -> None:
    told: list[int] = []
    listing = find_images(str(draw({"Fig": 9}))).images
    extract(workers, listing, graph, tmp_path / "out", 4, told.append)
    assert told == sorted(told)
    assert told[-1] == 9


def test_without_images_nothing_is_written(
    workers: Workers, graph: CompiledGraph, draw: Callable[..., Path], tmp_path: Path
) -> None:
    listing = find_images(str(draw({"Fig": 1}))).images.slice(0, 0)
    made = extract(workers, listing, graph, tmp_path / "out", 4)
    assert (made.extracted, made.rejected.num_rows) == (0, 0)
    assert list((tmp_path / "out").iterdir()) == []


class CountedCommits(FeatureWriter):
    """A table of features that records each commit, and can refuse one."""

    def __init__(self, folder: Path, lock: Lock, refused: int = -1) -> None:
        super().__init__(Location.of(f"{folder}/features"), lock)
        self.rows: list[int] = []
        self._folder, self._refused = folder / "features", refused

    def commit(self, *arguments: Any, **options: Any) -> Chunk:
        if len(self.rows) == self._refused:
            raise OutputError("output: refused")
        chunk = super().commit(*arguments, **options)
        self.rows.append(len(pd.read_parquet(self._folder)))
        return chunk


@pytest.fixture
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes tasks with one image each, and commits as soon as there are results."""
    monkeypatch.setattr(commits, "TASK_SECONDS", 0.0)
    monkeypatch.setattr(commits, "COMMIT_SECONDS", 0.0)
    monkeypatch.setattr(commits, "POLL_SECONDS", 0.01)


@pytest.mark.usefixtures("_hasty")
def test_finished_images_are_committed_while_other_tasks_run(
    workers: Workers, graph: CompiledGraph, draw: Callable[..., Path], tmp_path: Path
) -> None:
    root = draw({"Fig": 9, "Plum": 3})
    (root / "Fig" / "twin.jpg").write_bytes((root / "Fig" / "8_100.jpg").read_bytes())
    for name in ("0_100.jpg", "5_100.jpg"):
        (root / "Fig" / name).write_text("no picture")
    listing, told = find_images(str(root)).images, [0]
    with exclusive(f"file:{tmp_path}/out/_lock") as lock:
        store = CountedCommits(tmp_path / "out", lock)
        known = known_parts(workers, store, ())
        made = extract_files(workers, Parts.of(listing), known, graph, store, 10, told.append)
        chunks = store.chunks()
    assert (made.extracted, made.rejected.num_rows) == (11, 2)
    # Two chunks, the first of which was committed in parts.
    assert [len(chunk.files) for chunk in chunks] == [8, 3]
    assert [chunk.rejected.num_rows for chunk in chunks] == [2, 0]
    assert len({*store.rows}) > 2
    assert store.rows == sorted(store.rows)
    assert told == sorted(told)
    assert told[-1] == 13
    table = pd.read_parquet(tmp_path / "out" / "features").sort_values("path")
    rejected = made.rejected.table()["path"].to_pylist()
    assert sorted([*table["path"], *rejected]) == sorted(listing["path"].to_pylist())
    contents = [Path(path.removeprefix("file:")).read_bytes() for path in table["path"]]
    one_by_one = [next(featurize([content], graph)) for content in contents]
    np.testing.assert_array_equal(np.stack(table["features"].to_list()), one_by_one)


@pytest.mark.usefixtures("_hasty")
def test_a_failed_commit_ends_the_job_and_committed_rows_stay(
    workers: Workers, graph: CompiledGraph, draw: Callable[..., Path], tmp_path: Path
) -> None:
    listing = find_images(str(draw({"Fig": 8}))).images
    with exclusive(f"file:{tmp_path}/out/_lock") as lock:
        store = CountedCommits(tmp_path / "out", lock, refused=1)
        known = known_parts(workers, store, ())
        with pytest.raises(OutputError, match="refused"):
            extract_files(workers, Parts.of(listing), known, graph, store, 100)
        [committed] = store.rows
        assert 0 < committed < 8
        store = FeatureWriter(store.root, lock)
        store.sweep()
        known = known_parts(workers, store, ())
        left = anti_join(listing, known_rows(workers, store))
        rest = extract_files(workers, Parts.of(left), known, graph, store, 100)
    assert rest.extracted == 8 - committed
    table = pd.read_parquet(tmp_path / "out" / "features")
    assert sorted(table["path"]) == sorted(listing["path"].to_pylist())


def test_tasks_of_a_slow_machine_are_short() -> None:
    slow = Outcome(done=[range(40)], seconds=80.0)
    most = most_images(slow)
    assert 1 <= most * 2.0 <= commits.TASK_SECONDS
    assert most_images(Outcome(done=[range(400)], seconds=1.0)) == MOST_IMAGES
    assert most_images(Outcome(done=[range(1)], seconds=600.0)) == 1
    spans = image_ranges(100, 2, most)
    assert [number for span in spans for number in span] == list(range(100))
    assert max(map(len, spans)) == most


def test_two_commits_are_less_than_a_minute_apart() -> None:
    assert commits.COMMIT_SECONDS + commits.TASK_SECONDS + commits.POLL_SECONDS < 60


@pytest.mark.parametrize(
    ("images", "slots", "sizes"),
    [(1, 2, [1]), (33, 2, [17, 16]), (900, 2, [225, 169, 127, 95, 71, 64, 64, 64, 21])],
)
def test_tasks_grow_shorter_towards_the_end_of_a_chunk(
    images: int, slots: int, sizes: list[int]
) -> None:
    assert [len(span) for span in image_ranges(images, slots)] == sizes


@pytest.mark.parametrize(("images", "slots"), [(10_000, 1), (10_000, 2), (1_000, 64)])
def test_tasks_take_every_image_once_and_never_more_than_a_few_hundred(
    images: int, slots: int
) -> None:
    tasks = image_ranges(images, slots)
    assert [number for span in tasks for number in span] == list(range(images))
    assert max(map(len, tasks)) <= 512


def test_workers_load_no_tensorflow(
    workers: Workers, graph: CompiledGraph, draw: Callable[..., Path], tmp_path: Path
) -> None:
    def loaded(_: int) -> set[str]:
        import sys

        return {"tensorflow", "keras", "matplotlib", "openvino"} & sys.modules.keys()

    extract(workers, find_images(str(draw({"Fig": 4}))).images, graph, tmp_path / "out", 4)
    names = workers.run(loaded, range(4), "names of modules")
    assert {"openvino"} in names
    assert all(some <= {"openvino"} for some in names)
