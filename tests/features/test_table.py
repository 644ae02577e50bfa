"""Damaged features are reported in one line that names the file, by all readers."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fruits.errors import OutputError
from fruits.features.rows import FEATURES, REJECTED, read_rows, write_rows
from fruits.features.table import FeatureTable, open_features
from fruits.features.writer import FeatureWriter
from fruits.storage.location import Location
from fruits.storage.lock import exclusive


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureWriter]:
    """Two chunks with one file each; the first also has a reject."""
    with exclusive(str(tmp_path / "out" / "_lock")) as lock:
        store = FeatureWriter(Location.of(f"{tmp_path}/out/features"), lock)
        reject = {"path": "file:/a/bad.jpg", "label": "a", "length": 1, "modified": 0}
        rejected = pa.Table.from_pylist([reject | {"error": "damaged: x"}], REJECTED)
        for number, table in enumerate([rejected, REJECTED.empty_table()]):
            row = {"path": f"file:/a/{number}.jpg", "label": "a", "sha256": "00" * 32, "length": 1}
            rows = pa.Table.from_pylist([row | {"modified": 0, "features": [0.5]}], FEATURES)
            write_rows(store.staged / f"{number}.parquet", rows)
            store.commit([f"{number}.parquet"], table)
        yield store


def manifest(tmp_path: Path) -> Path:
    return tmp_path / "out" / "features" / "_chunks" / "000000.json"


def change(tmp_path: Path, **fields: Any) -> None:
    file = manifest(tmp_path)
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def require_one_line(tmp_path: Path, store: FeatureWriter, words: str) -> None:
    """Checks that all readers of the table raise the same error, and that nothing is deleted."""
    before = sorted(tmp_path.rglob("*.parquet"))
    again = FeatureWriter(store.root, store.lock)
    for read in (again.chunks, again.files, again.sweep, lambda: open_features(f"{tmp_path}/out")):
        with pytest.raises(OutputError, match=words) as raised:
            read()
        assert str(raised.value).isprintable()
        assert "overwrite" in str(raised.value)
    assert sorted(tmp_path.rglob("*.parquet")) == before


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"number": 0, "files": ["0.parq',
        b"\xff\xfe",
        b"[]",
        b"null",
        b"{}",
        b"[" * 100_000,
        b'{"number": 0, "files": null, "rejected": []}',
        b'{"number": 0, "files": "0.parquet", "rejected": []}',
        b'{"number": 0, "files": [1], "rejected": []}',
        b'{"number": 0, "files": [], "rejected": [1]}',
        b'{"number": 0, "files": [], "rejected": [{"path": "x"}]}',
        b'{"number": 0, "files": [], "rejected": [{"path": "x", "error": "y", "length": "z"}]}',
        b'{"number": 0, "files": [], "rejected": {}}',
        b'{"number": 1, "files": [], "rejected": []}',
        b'{"number": 0, "files": [], "rejected": [], "ran": [[]]}',
        b'{"number": 0, "files": ["\\u001b[2J.parquet"], "rejected": []}',
    ],
)
def test_a_damaged_manifest_is_reported_in_one_line(
    store: FeatureWriter, tmp_path: Path, content: bytes
) -> None:
    manifest(tmp_path).write_bytes(content)
    require_one_line(tmp_path, store, r"000000\.json is damaged")


@pytest.mark.parametrize(
    "name",
    ["../0.parquet", "/etc/passwd", "a/../../b.parquet", "..", "x/0.parquet", "0.txt", ".parquet"],
)
def test_a_manifest_cannot_name_files_in_other_folders(
    store: FeatureWriter, tmp_path: Path, name: str
) -> None:
    (tmp_path / "out" / "0.parquet").write_bytes(b"another's")
    change(tmp_path, files=[name])
    require_one_line(tmp_path, store, "wanted names of Parquet files next to it")
    assert (tmp_path / "out" / "0.parquet").read_bytes() == b"another's"


def test_a_file_in_two_manifests_is_an_error(store: FeatureWriter, tmp_path: Path) -> None:
    change(tmp_path, files=["1.parquet"])
    require_one_line(tmp_path, store, r"000001\.json .*names 1\.parquet too")


def test_a_missing_committed_file_is_reported_in_one_line(
    store: FeatureWriter, tmp_path: Path
) -> None:
    (tmp_path / "out" / "features" / "0.parquet").unlink()
    for read in (store.sweep, lambda: open_features(f"{tmp_path}/out")):
        with pytest.raises(OutputError, match=r"missing.*overwrite") as raised:
            read()
        assert "0.parquet" in str(raised.value)
    with pytest.raises(OutputError, match=r"0\.parquet is missing"):
        read_rows(store.files()[0])


@pytest.mark.parametrize("damage", ["empty", "half", "zeros", "text"])
def test_a_damaged_file_of_rows_is_reported_in_one_line(
    store: FeatureWriter, tmp_path: Path, damage: str
) -> None:
    file = tmp_path / "out" / "features" / "0.parquet"
    whole = file.read_bytes()
    half = len(whole) // 2
    contents = {
        "empty": b"",
        "half": whole[:half],
        "zeros": whole[:4] + bytes(half) + whole[half + 4 :],
        "text": b"no table",
    }
    file.write_bytes(contents[damage])
    with pytest.raises(OutputError, match=r"0\.parquet is damaged .*overwrite") as raised:
        read_rows(store.files()[0])
    assert str(raised.value).isprintable()


def test_a_file_without_features_is_reported_in_one_line(
    store: FeatureWriter, tmp_path: Path
) -> None:
    write_rows(store.files()[0], pa.table({"path": ["x"], "label": ["y"]}))
    with pytest.raises(OutputError, match=r"0\.parquet has no column features: restore"):
        read_rows(store.files()[0], ["path", "features"])


def test_intact_features_are_read(store: FeatureWriter, tmp_path: Path) -> None:
    store.sweep()
    table = FeatureTable(Location.of(f"{tmp_path}/out/features"))
    assert [chunk.files for chunk in table.chunks()] == [["0.parquet"], ["1.parquet"]]
    assert [row["error"] for rows in table.refused() for row in rows.to_pylist()] == ["damaged: x"]
    assert open_features(f"{tmp_path}/out").to_table().num_rows == 2


def test_files_without_a_split_column_are_read_with_nulls(
    tmp_path: Path, store: FeatureWriter
) -> None:
    old, other = store.files()
    rows = read_rows(old)
    pq.write_table(rows.drop_columns("split"), old.path)
    assert read_rows(old) == rows
    assert read_rows(old, ["split", "path"]) == rows.select(["split", "path"])
    write_rows(other, read_rows(other).set_column(2, "split", [["test"]]))
    table = open_features(f"{tmp_path}/out").to_table()
    assert table.schema.names == FEATURES.names
    assert table["split"].to_pylist() == [None, "test"]


def test_manifests_are_read_once(store: FeatureWriter, tmp_path: Path) -> None:
    committed = FeatureTable(store.root).chunks()
    assert store.chunks() == committed
    for file in manifest(tmp_path).parent.iterdir():
        file.unlink()
    assert store.chunks() == committed
    assert FeatureTable(store.root).chunks() == []
