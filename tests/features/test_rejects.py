"""Rejected images are kept in files next to the manifests, and read on request."""

import json
import shutil
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from fruits.errors import OutputError
from fruits.features import rejects
from fruits.features.rows import REJECTED
from fruits.features.table import FeatureTable
from fruits.features.writer import FeatureWriter


def some(first: int, count: int, reason: str = "damaged: x") -> pa.Table:
    rows = [
        {"path": f"file:/a/{n} é.jpg", "label": None if n % 2 else "a", "split": "train"}
        | {"length": n, "modified": 1_700_000_000_000_000 + n, "error": f"{reason} {n}"}
        for n in range(first, first + count)
    ]
    return pa.Table.from_pylist(rows, REJECTED)


def refused(store: FeatureTable) -> list[dict[str, Any]]:
    tables = [REJECTED.empty_table(), *store.refused()]
    rows: list[dict[str, Any]] = pa.concat_tables(tables).to_pylist()
    return rows


def manifests(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "out/features/_chunks").glob("*.json"))


def files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "out/features/_rejected").iterdir())


def write_older(tmp_path: Path, number: int, rows: pa.Table, **more: Any) -> None:
    """A manifest as earlier versions wrote it."""
    place = rows.schema.get_field_index("modified")
    plain = rows.set_column(place, "modified", rows["modified"].cast(pa.int64()))
    content = {"number": number, "files": [], "ran": [], **more, "rejected": plain.to_pylist()}
    folder = tmp_path / "out/features/_chunks"
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, ensure_ascii=False)
    (folder / f"{number:06}.json").write_text(text, "utf-8")


def test_a_manifest_does_not_grow_with_the_rejects(store: FeatureWriter, tmp_path: Path) -> None:
    store.commit([], some(0, 1))
    store.commit([], some(1, 2000))
    one, many = (file.stat().st_size for file in manifests(tmp_path))
    assert many - one <= 3
    assert [chunk.rejected.num_rows for chunk in store.chunks()] == [1, 2000]
    assert refused(store) == some(0, 2001).to_pylist()


def test_rejects_are_read_on_request(store: FeatureWriter, tmp_path: Path) -> None:
    store.commit([], some(0, 3))
    [file] = files(tmp_path)
    file.rename(tmp_path / "elsewhere")
    assert [chunk.rejected.num_rows for chunk in store.chunks()] == [3]
    for read in (store.sweep, lambda: [*store.refused()]):
        with pytest.raises(OutputError, match=rf"{file.name} is missing.*overwrite"):
            read()
    (tmp_path / "elsewhere").rename(file)
    store.sweep()
    assert refused(store) == some(0, 3).to_pylist()


def test_a_chunk_has_the_rejects_of_all_its_commits(store: FeatureWriter) -> None:
    chunk = store.commit([], some(0, 3))
    chunk = store.commit([], REJECTED.empty_table(), chunk=chunk)
    chunk = store.commit([], some(3, 2), chunk=chunk)
    assert chunk.rejected.num_rows == 5
    assert store.chunks() == [chunk]
    assert refused(store) == some(0, 5).to_pylist()


def test_a_file_with_another_number_of_rows_than_in_its_manifest_is_damaged(
    store: FeatureWriter, tmp_path: Path
) -> None:
    store.commit([], some(0, 3))
    store.commit([], some(3, 2))
    longer, shorter = sorted(files(tmp_path), key=lambda file: -len(refused_of(store, file)))
    shutil.copy(shorter, longer)
    with pytest.raises(OutputError, match=r"wanted 3 rows; it has 2.*overwrite"):
        refused(store)


def refused_of(store: FeatureWriter, file: Path) -> list[dict[str, Any]]:
    found = [chunk for chunk in store.chunks() if f"_rejected/{file.name}" in chunk.all_files]
    return [row for chunk in found for rows in chunk.rejected.tables() for row in rows.to_pylist()]


@pytest.mark.parametrize(
    "entry",
    [
        {"file": "../../precious.parquet", "rows": 1},
        {"file": "a.txt", "rows": 1},
        {"file": 7, "rows": 1},
        {"file": "a.parquet"},
        {"file": "a.parquet", "rows": "3"},
        {"file": "a.parquet", "rows": 0},
    ],
)
def test_a_manifest_with_an_invalid_file_of_rejects_is_damaged(
    store: FeatureWriter, tmp_path: Path, entry: dict[str, Any]
) -> None:
    store.commit([], some(0, 1))
    [manifest] = manifests(tmp_path)
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"rejected": [entry]}))
    with pytest.raises(OutputError, match=r"000000\.json is damaged"):
        FeatureTable(store.root).chunks()


def test_rejects_of_an_earlier_version_are_read_and_moved_into_files(
    store: FeatureWriter, tmp_path: Path
) -> None:
    write_older(tmp_path, 0, some(0, 3), ran=["engine"])
    write_older(tmp_path, 1, some(3, 2, "unreadable: gone"))
    store.commit([], some(5, 1))
    wanted = [*some(0, 3).to_pylist(), *some(5, 1).to_pylist()]
    assert refused(store) == wanted
    assert [chunk.rejected.num_rows for chunk in store.chunks()] == [3, 2, 1]
    store.sweep()
    assert all("path" not in file.read_text() for file in manifests(tmp_path))
    assert sorted(refused(store), key=itemgetter("path")) == wanted
    assert store.ran() == ["engine"]
    before = files(tmp_path)
    store.sweep()
    assert files(tmp_path) == before


def test_an_interrupted_move_is_completed_by_the_next_run(
    store: FeatureWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_older(tmp_path, 0, some(0, 3))
    with monkeypatch.context() as patch:
        patch.setattr("fruits.features.writer.create", _refuse)
        with pytest.raises(OSError, match="full"):
            store.sweep()
    assert len(files(tmp_path)) == 1
    assert refused(store) == some(0, 3).to_pylist()
    store.sweep()
    assert len(files(tmp_path)) == 1
    assert refused(store) == some(0, 3).to_pylist()


def _refuse(*arguments: Any) -> None:
    raise OSError("the disk is full")


def test_small_files_are_joined_with_their_chunks_and_large_ones_are_not(
    store: FeatureWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rejects, "ROWS_OF_A_FILE", 10)
    write_older(tmp_path, 0, some(0, 2))
    store.commit([], some(2, 12))
    for number in range(6):
        store.commit([], some(14 + 3 * number, 3))
    store.commit([], some(32, 1, "unreadable: gone"))
    [large] = [file for file in files(tmp_path) if len(refused_of(store, file)) == 12]
    store.sweep()
    store.replace_chunks(store.chunks(), [], [])
    store.delete_replaced()
    [chunk] = store.chunks()
    assert f"_rejected/{large.name}" in chunk.all_files
    assert len(files(tmp_path)) == 3
    paths = [row["path"] for row in some(0, 32).to_pylist()]
    assert sorted(row["path"] for row in refused(store)) == sorted(paths)
    # Each run tries it again and would add it again.
    assert chunk.rejected.num_rows == 32
