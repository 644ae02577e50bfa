import json
import os
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest
from forms import as_parquet, as_tar, as_zip
from listings import list_images

from fruits.errors import InputError
from fruits.features.known_contents import Digests, write_digests
from fruits.sources import indexes, inventory, members, parts, table_file
from fruits.sources.listing import LISTING, sample_evenly
from fruits.sources.open_source import open_source
from fruits.sources.parts import Parts, Totals
from fruits.sources.reading import contents_of
from fruits.sources.spread import FileSpread, Spread, gather
from fruits.storage.location import Location

NAMES = ["a/b.jpg", "a-b/c.jpg", "a.jpg", "é/1.jpg", "\U0001f34e/1.jpg", "Z.jpg", "~.jpg"]


@pytest.fixture
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "IN_MEMORY", 10)
    monkeypatch.setattr(parts, "PART_ROWS", 16)


def rows(count: int, seed: int = 0) -> pa.Table:
    """Files in random order, with unusual characters in their names."""
    paths = [f"file:/{number % 13}/{NAMES[number % 7]}{number}" for number in range(count)]
    paths = [paths[place] for place in np.random.default_rng(seed).permutation(count)]
    columns = {
        "path": paths,
        "label": [path[6] for path in paths],
        "split": [None if len(path) % 2 else "train" for path in paths],
        "length": [len(path) for path in paths],
        "modified": [0] * count,
    }
    return pa.table(columns, LISTING)


def batches(table: pa.Table, size: int) -> list[pa.Table]:
    return [table.slice(start, size) for start in range(0, table.num_rows, size)]


def test_a_short_table_is_one_part() -> None:
    table = rows(20)
    gathered = gather(batches(table, 7), LISTING)
    assert gathered.bounds == ()
    assert gathered.table() == table
    assert gather(batches(table, 7), LISTING, sort=True).table() == table.sort_by("path")


@pytest.mark.usefixtures("_small_parts")
@pytest.mark.parametrize(("count", "size"), [(11, 3), (100, 7), (257, 257)])
def test_a_long_table_is_divided_into_parts_by_path(count: int, size: int) -> None:
    table = rows(count)
    gathered = gather(batches(table, size), LISTING)
    assert gathered.table() == table.sort_by("path")
    assert gathered.table()["path"].to_pylist() == sorted(table["path"].to_pylist())
    assert gathered.rows == [part.num_rows for part in gathered]
    assert len(gathered.rows) == len(gathered.bounds) + 1
    assert max(gathered.rows) < count or count == 11
    for part, bound in zip([*gathered][1:], gathered.bounds, strict=True):
        assert part["path"][0].as_py() >= bound


@pytest.mark.usefixtures("_small_parts")
def test_rows_of_another_table_are_in_the_part_of_their_path() -> None:
    gathered = gather([rows(100)], LISTING)
    spread = Spread(LISTING, gathered.bounds)
    others = rows(160, seed=1)
    for table in batches(others, 9):
        spread.add(table)
    there = spread.parts()
    assert there.num_rows == 160
    assert there.table().sort_by("path") == others.sort_by("path")
    for mine, theirs in zip(gathered, there, strict=True):
        both = pc.is_in(mine["path"], theirs["path"])
        assert pc.all(both).as_py()


def test_parts_are_not_open_while_they_are_written() -> None:
    bounds = [f"file:/{number:02}" for number in range(1, 13)]
    spread = Spread(LISTING, bounds)
    table = rows(160)
    before = len(os.listdir("/dev/fd"))
    for some in batches(table, 40):
        spread.add(some)
    assert len(os.listdir("/dev/fd")) == before
    there = spread.parts()
    assert sum(count > 0 for count in there.rows) > 4
    assert there.table().sort_by("path") == table.sort_by("path")


@pytest.mark.usefixtures("_small_parts")
@pytest.mark.parametrize("limit", [1, 10, 99, 100, 1000, None])
def test_a_limit_selects_the_same_rows_from_parts_as_from_one_table(limit: int | None) -> None:
    table = rows(100)
    taken = gather([table], LISTING).sample_evenly(limit)
    assert taken.table() == sample_evenly(table.sort_by("path"), limit)
    assert taken.rows == [part.num_rows for part in taken]
    assert Parts.of(table).sample_evenly(limit).table() == sample_evenly(table, limit)


@pytest.mark.usefixtures("_small_parts")
@pytest.mark.parametrize("size", [1, 7, 16, 100, 1000])
def test_chunks_do_not_depend_on_the_parts(size: int) -> None:
    table = rows(100).sort_by("path")
    chunks = [chunk.to_pylist() for chunk in gather([table], LISTING).chunks(size)]
    assert chunks == [chunk.to_pylist() for chunk in Parts.of(table).chunks(size)]
    assert chunks == [chunk.to_pylist() for chunk in batches(table, size)]


@pytest.mark.usefixtures("_small_parts")
def test_totals_cover_all_rows() -> None:
    table = rows(100)
    some = [None if n % 3 == 0 else label for n, label in enumerate(table["label"].to_pylist())]
    table = table.set_column(LISTING.get_field_index("label"), "label", pa.array(some, pa.string()))
    totals = Totals.of(gather([table], LISTING))
    assert totals.bytes == sum(table["length"].to_pylist())
    assert totals.largest == max(table["length"].to_pylist())
    labels, splits = table["label"].to_pylist(), table["split"].to_pylist()
    counts = {one["label"]: one["images"] for one in totals.labels.to_pylist()}
    assert counts == {label: labels.count(label) for label in labels}
    assert totals.different_labels == len(set(labels) - {None})
    assert totals.sides == {side: splits.count(side) for side in splits}
    with_label = [s for s, label in zip(splits, labels, strict=True) if label is not None]
    assert totals.labelled == {side: with_label.count(side) for side in with_label}
    assert totals.labelled != totals.sides


@pytest.mark.usefixtures("_small_parts")
def test_in_a_part_each_row_group_of_a_parquet_file_is_decoded_once(
    tmp_path: Path, row_groups: list[int]
) -> None:
    images = [bytes([number]) for number in range(120)]
    pq.write_table(pa.table({"image": images}), tmp_path / "a.parquet", row_group_size=5)
    found = open_source(str(tmp_path / "a.parquet")).found().images
    contents = []
    for part, ordered in zip(found, found.in_file_order(), strict=True):
        # The names are the numbers of the rows: 0, 1, 10, 100, 101 ...
        assert sorted(part["path"].to_pylist()) == sorted(ordered["path"].to_pylist())
        row_groups.clear()
        contents += contents_of(ordered)
        assert row_groups == sorted(set(row_groups))
    assert sorted(contents) == images  # type: ignore[type-var]
    assert len(found.rows) > 3


@pytest.mark.usefixtures("_small_parts")
def test_a_part_of_a_shuffled_archive_on_s3_needs_one_request(
    bucket: Any, requests: list[str], tmp_path: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for number in np.random.default_rng(0).permutation(100).tolist():
            archive.writestr(f"Fig/{number}.jpg", bytes([number]))
    bucket.upload_file(str(tmp_path / "a.zip"), "a.zip")
    found = open_source("s3a://fruits/a.zip").found().images
    requests.clear()
    contents = [content for part in found.in_file_order() for content in contents_of(part)]
    assert sorted(contents) == [bytes([number]) for number in range(100)]  # type: ignore[type-var]
    assert len(requests) == len(found.rows) > 3


def test_files_and_files_in_archives_are_ordered_by_file(tmp_path: Path) -> None:
    for name in ("b.jpg", "d.jpg"):
        (tmp_path / name).write_bytes(b"x")
    for name in ("a.zip", "c.zip"):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for member in ("2.jpg", "1.jpg"):
                archive.writestr(member, b"x")
    (tmp_path / "t.csv").write_text("path\nd.jpg\nb.jpg\n")
    images = list_images([f"{tmp_path}/*.zip", f"{tmp_path}/t.csv"]).images
    ordered = Parts.of(images.sort_by([("path", "descending")])).in_file_order().table()
    names = [path.removeprefix(f"file:{tmp_path}/") for path in ordered["path"].to_pylist()]
    assert names == [
        *("a.zip!/2.jpg", "a.zip!/1.jpg", "b.jpg", "c.zip!/2.jpg", "c.zip!/1.jpg", "d.jpg")
    ]


def test_a_folder_is_listed_equally_in_memory_and_in_parts(
    draw: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = draw({"Training/Fig": 30, "Training/Fig 2": 20, "Test/Äpfel": 25})
    (root / "Training" / "notes.txt").write_text("no image")
    (root / "link").symlink_to(root / "Test", target_is_directory=True)
    expected = list_images(str(root))
    monkeypatch.setattr(parts, "IN_MEMORY", 10)
    monkeypatch.setattr(parts, "PART_ROWS", 16)
    found = open_source(str(root)).found()
    assert len(found.images.rows) > 3
    assert found.images.table() == expected.images
    assert found.passed_over == expected.passed_over == {".txt": 1}
    assert found.linked == expected.linked


def _tables_of(root: Path) -> str:
    """A table of paths with repeated, different, encoded and missing names."""
    names = [f"images/{path.relative_to(root)}" for path in sorted(root.rglob("*.jpg"))]
    rows = [(name, "Fig") for name in names]
    rows += [(names[3], "Fig"), (names[5], "Kiwi"), (names[5], "Fig"), (f"./{names[7]}", "Lime")]
    rows += [("images/Test/%C3%84pfel/0_100.jpg", "Fig"), ("images/a%20b.jpg", "")]
    rows += [("images/gone.jpg", "Fig"), ("images/gone%20too.jpg", "Fig")]
    (root / "a b.jpg").write_bytes(b"x")
    place = root.parent / "table.csv"
    place.write_text("path,label\n" + "".join(f"{name},{label}\n" for name, label in rows))
    return str(place)


def _table_in_parquet(root: Path) -> str:
    place = _tables_of(root)
    pq.write_table(csv.read_csv(place), root.parent / "table.parquet", row_group_size=9)
    return str(root.parent / "table.parquet")


def _inventory(root: Path) -> str:
    """An inventory in two files, which have some keys in common."""
    times = pa.array([0] * 40, pa.timestamp("ms", tz="UTC"))
    for number in range(2):
        keys = [f"Fig/{n * 7 % 60}.jpg" for n in range(30 * number, 30 * number + 40)]
        keys[9] = "notes.txt"
        columns = {"bucket": ["fruits"] * 40, "key": keys, "size": [*range(number, 40 + number)]}
        table = pa.table(columns | {"last_modified_date": times})
        pq.write_table(table, root.parent / f"{number}.parquet")
    about = {"fileFormat": "Parquet", "fileSchema": "", "files": [{"key": "0.parquet"}]}
    about["files"].append({"key": "1.parquet"})  # type: ignore[attr-defined]
    (root.parent / "manifest.json").write_text(json.dumps(about))
    return str(root.parent / "manifest.json")


def _zip_with_repeats(root: Path) -> str:
    place = as_zip(root, root.parent / "a.zip")
    with zipfile.ZipFile(place, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr("images/Test/\u00c4pfel/3_100.jpg", b"x")
        archive.writestr("images/notes.txt", b"x")
    return str(place)


def _images_with_equal_names(root: Path) -> str:
    names = [f"{number % 50}.jpg" for number in range(75)]
    columns = {"image": [bytes([n]) for n in range(75)], "path": names, "label": names[::-1]}
    pq.write_table(pa.table(columns), root.parent / "b.parquet", row_group_size=10)
    return str(root.parent / "b.parquet")


def _several(root: Path) -> str:
    """Sources of which two have the same images, and a folder in another order."""
    rows = [f"{path},{path.parent.name}" for path in sorted(root.rglob("*.jpg"))[::3]]
    (root.parent / "some.csv").write_text("\n".join(["path,label", *rows]))
    archive = as_tar(root, root.parent / "c.tar")
    return f"{root.parent}/some.csv,{root},{archive}"


def _folder_of_archives(root: Path) -> str:
    folder = root.parent / "shards"
    folder.mkdir()
    for name in ("b", "a", "c"):
        as_tar(root, folder / f"{name}.tar")
    (folder / "notes.txt").write_text("x")
    return str(folder)


@pytest.mark.parametrize(
    ("make", "count"),
    [
        (_tables_of, 78),
        (_table_in_parquet, 78),
        (_inventory, 60),
        (_zip_with_repeats, 76),
        (lambda root: str(as_tar(root, root.parent / "a.tar")), 75),
        (lambda root: str(as_parquet(root, root.parent / "a.parquet")), 75),
        (_images_with_equal_names, 75),
        (_several, 150),
        (_folder_of_archives, 225),
    ],
)
def test_sources_of_each_kind_are_listed_equally_in_memory_and_in_parts(
    draw: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[Path], str],
    count: int,
) -> None:
    root = draw({"Training/Fig": 30, "Training/Fig 2": 20, "Test/\u00c4pfel": 25})
    source = open_source(make(root))
    expected = source.found()
    assert expected.images.bounds == ()
    monkeypatch.setattr(parts, "IN_MEMORY", 10)
    monkeypatch.setattr(parts, "PART_ROWS", 16)
    for module in (members, indexes, table_file, inventory):
        monkeypatch.setattr(module, "ROWS", 7)
    found = source.found()
    assert len(found.images.rows) > 2
    assert found.images.table() == expected.images.table().sort_by("path")
    paths = found.images.table()["path"].to_pylist()
    assert len(paths) == len(set(paths)) == count
    assert found.passed_over == expected.passed_over


def test_contradictions_are_found_in_parts_as_in_memory(
    draw: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = draw({"Fig": 40})
    (root.parent / "t.csv").write_text(f"path,label\n{root}/Fig/7_100.jpg,Lime\n")
    source = open_source([str(root), str(root.parent / "t.csv")])
    errors = []
    for most in (200_000, 10):
        monkeypatch.setattr(parts, "IN_MEMORY", most)
        monkeypatch.setattr(parts, "PART_ROWS", 16)
        with pytest.raises(InputError, match=r"sources that agree; .*Fig/7_100\.jpg") as caught:
            source.found()
        errors.append(str(caught.value))
    assert errors[0] == errors[1]


def test_a_folder_without_images_raises_the_same_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(InputError) as one:
        list_images(str(tmp_path))
    with pytest.raises(InputError) as other:
        open_source(str(tmp_path)).found()
    assert str(one.value) == str(other.value)


def test_digests_are_found_in_a_file_as_in_memory(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(0)
    known = [rng.bytes(8) for _ in range(20_000)] + [bytes(8), b"\xff" * 8]
    others = [rng.bytes(8) for _ in range(2_000)] + [bytes(7) + b"\1"]
    keys = [int.from_bytes(digest) for digest in known]
    tables = [pa.table({"key": pa.array(keys[n::3], pa.uint64())}) for n in range(3)]
    in_file = write_digests(tables, Location.of(f"{tmp_path}/new/digests"))
    in_store = write_digests(tables, Location.of("memory://bucket/digests"), lambda: str(tmp_path))
    in_memory = Digests.of(tables)
    assert len(in_file.firsts) == 5
    for digests in (in_file, in_store, in_memory):
        assert all(digest + bytes(24) in digests for digest in known[::7] + known[-2:])
        assert not any(digest + bytes(24) in digests for digest in others)
    assert (tmp_path / "digests").stat().st_size == 8 * len(known)
    assert bytes(32) not in Digests.of([])


def test_rows_are_divided_by_the_bytes_of_their_files_not_by_their_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parts, "IN_MEMORY", 50)
    monkeypatch.setattr(parts, "PART_ROWS", 100)
    # After compaction, a few large files follow many small ones.
    rows_of = {**{f"small {n:02}": 5 for n in range(80)}, **{f"large {n}": 100 for n in range(4)}}
    files = [name for name, count in rows_of.items() for _ in range(count)]
    shuffled = np.random.default_rng(0).permutation(len(files))
    rows = pa.table({"path": [f"file:/{n:04}.jpg" for n in range(len(files))], "file": files})
    sizes = {name: 1000 * count for name, count in rows_of.items()}
    spread = FileSpread(rows.schema, sizes, rows.num_rows)
    for start in range(0, rows.num_rows, 90):
        spread.add(rows.take(shuffled[start : start + 90]))

    divided = list(spread.parts())

    assert [part.num_rows for part in divided] == [100] * 8
    assert [set(part["file"].to_pylist()) for part in divided[4:]] == [{n} for n in [*sizes][80:]]
    together = pa.concat_tables(divided)
    assert together.sort_by("path").equals(rows)
