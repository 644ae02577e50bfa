"""The folder of a predictor; damaged, missing or other files are never loaded."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from fruits.errors import FruitsError, OutputError
from fruits.predictor import Predictor
from fruits.predictor.files import parse_manifest, write_manifest

FILES = [
    *("classifier.npz", "graph.bin", "graph.xml", "model.bin", "model.xml"),
    *("neighbours.npy", "neighbours.parquet", "reduction.npz", "thumbnails.bin"),
]
LOADED = [name for name in FILES if not name.startswith("model.")]


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def manifest_of(folder: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((folder / "predictor.json").read_text("utf-8"))
    return manifest


def change_manifest(folder: Path, **changes: Any) -> None:
    (folder / "predictor.json").write_text(json.dumps(manifest_of(folder) | changes), "utf-8")


def refusal(folder: Path) -> str:
    with pytest.raises(OutputError) as caught:
        Predictor.load(folder)
    message = str(caught.value)
    assert message.startswith("predictor: ")
    assert "\n" not in message
    return message


def test_the_manifest_names_each_file_with_its_digest(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == sorted([*FILES, "predictor.json"])
    files = manifest_of(folder)["files"]
    assert sorted(files) == FILES
    for name, file in files.items():
        content = (folder / name).read_bytes()
        assert file == {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def test_a_name_that_is_not_utf_8_is_in_the_manifest(tmp_path: Path) -> None:
    images = os.fsdecode(b"/photos \xff")
    write_manifest(tmp_path, {"about": {"images": images}})
    content = (tmp_path / "predictor.json").read_bytes()
    assert parse_manifest(content, "manifest")["about"]["images"] == images


def test_the_arrays_can_be_read_by_numpy_and_arrow(trained: Any, folder: Path) -> None:
    rows = np.load(folder / "neighbours.npy", allow_pickle=False)
    np.testing.assert_array_equal(rows, trained.components)
    names = pq.read_table(folder / "neighbours.parquet")
    assert names["path"].to_pylist() == trained.paths
    assert names["label"].to_pylist() == trained.labels
    assert names["sha256"].to_pylist() == trained.digests
    with np.load(folder / "reduction.npz", allow_pickle=False) as file:
        np.testing.assert_array_equal(file["weights"], trained.reduction.weights)


def test_equal_results_give_equal_files(trained: Any, folder: Path, tmp_path: Path) -> None:
    trained.write(str(tmp_path / "again"))
    assert manifest_of(tmp_path / "again") == manifest_of(folder)


@pytest.mark.parametrize("name", LOADED)
def test_a_changed_bit_is_refused(copy: Path, name: str) -> None:
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    assert f"{name} is damaged (its SHA-256 differs from predictor.json)" in refusal(copy)


@pytest.mark.parametrize("name", LOADED)
def test_a_truncated_file_is_refused(copy: Path, name: str) -> None:
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[:-1])
    assert f"{name} is damaged (wanted {len(content):,} bytes; got" in refusal(copy)


@pytest.mark.parametrize("name", LOADED)
def test_a_missing_file_is_refused(copy: Path, name: str) -> None:
    (copy / name).unlink()
    assert f"{name} is missing: restore it from a copy" in refusal(copy)


@pytest.mark.parametrize("name", LOADED)
def test_a_file_that_the_manifest_does_not_name_is_refused(copy: Path, name: str) -> None:
    files = manifest_of(copy)["files"]
    del files[name]
    change_manifest(copy, files=files)
    assert f"it does not name {name}" in refusal(copy)


@pytest.mark.parametrize("name", LOADED)
def test_another_file_with_a_correct_digest_is_refused(copy: Path, name: str) -> None:
    content = b"\x80\x04\x95something else, and no picture of it either"
    (copy / name).write_bytes(content)
    files = manifest_of(copy)["files"]
    files[name] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    change_manifest(copy, files=files)
    if name == "thumbnails.bin":  # Pictures may be any bytes.
        Predictor.load(copy)
        return
    with pytest.raises(FruitsError) as caught:
        Predictor.load(copy)
    assert "\n" not in str(caught.value)


def as_object_array(path: Path) -> None:
    np.save(path, np.array([{"a": 1}], object), allow_pickle=True)


def as_another_shape(path: Path) -> None:
    np.save(path, np.zeros((3, 2), np.float32))


def as_another_type(path: Path) -> None:
    np.save(path, np.load(path).astype(np.float64))


def as_fewer_names(path: Path) -> None:
    pq.write_table(pq.read_table(path).slice(1), path)


def as_other_columns(path: Path) -> None:
    pq.write_table(pa.table({"path": ["a"]}), path)


def as_arrays_of_another_network(path: Path) -> None:
    np.savez(path, weights=np.zeros((7, 2)), offset=np.zeros(2))


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("neighbours.npy", as_object_array, "Python objects"),
        ("neighbours.npy", as_another_shape, "got float32 (3, 2)"),
        ("neighbours.npy", as_another_type, "got float64"),
        ("neighbours.parquet", as_fewer_names, "rows with lengths"),
        ("neighbours.parquet", as_other_columns, "label"),
        ("reduction.npz", as_arrays_of_another_network, "got float64 (7, 2)"),
    ],
)
def test_invalid_arrays_with_a_correct_digest_are_refused(
    copy: Path, name: str, change: Callable[[Path], None], reason: str
) -> None:
    change(copy / name)
    content = (copy / name).read_bytes()
    files = manifest_of(copy)["files"]
    files[name] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    change_manifest(copy, files=files)
    message = refusal(copy)
    assert f"{name} is damaged" in message
    assert reason in message


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is damaged"),
        (b"{", "is damaged"),
        (b"[]", "it is not the manifest of a predictor"),
        (b'{"format": "another"}', "it is not the manifest of a predictor"),
        (b'{"format": "fruits predictor"}', "is damaged"),
        (b'{"format": "fruits predictor", "version": 1, "files": 3}', "is damaged"),
        (b'{"format": "fruits predictor", "version": 2}', "is of version 2: use the version"),
        (b'{"format": "fruits predictor", "version": 1, "files": {}}', "is damaged"),
        (
            b'{"format": "fruits predictor", "version": 1, "files": {"../x.y": {}}}',
            "wanted names of files; got '../x.y'",
        ),
    ],
)
def test_an_invalid_manifest_is_refused(copy: Path, content: bytes, reason: str) -> None:
    (copy / "predictor.json").write_bytes(content)
    assert reason in refusal(copy)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("graph", {}), ("graph", None), ("labels", ["a"]), ("labels", None)),
        *(("components", 1), ("components", "x"), ("neighbours", 1), ("neighbours", None)),
        *(("about", None), ("about", 3), ("versions", None), ("threshold", ())),
        *(("threshold", "x"), ("threshold", 0.5), ("temperature", 99.0), ("classifier", "other")),
    ],
)
def test_a_manifest_that_does_not_fit_its_files_is_refused(
    copy: Path, key: str, value: Any
) -> None:
    manifest = manifest_of(copy)
    if value == ():
        del manifest[key]
    else:
        manifest[key] = value
    (copy / "predictor.json").write_text(json.dumps(manifest), "utf-8")
    assert "is damaged" in refusal(copy)


@pytest.mark.parametrize(
    "change", [{"engine": "other"}, {"input": {"height": -1}}, {"dimension": "x"}, {"other": 1}]
)
def test_an_unknown_network_is_refused(copy: Path, change: dict[str, Any]) -> None:
    change_manifest(copy, graph=manifest_of(copy)["graph"] | change)
    assert "predictor.json is damaged" in refusal(copy)


def test_a_folder_without_a_predictor_is_refused(tmp_path: Path) -> None:
    assert "has no predictor.json: give the output of a run" in refusal(tmp_path)
    assert "has no predictor.json" in refusal(tmp_path / "nothing")
    (tmp_path / "predictor.json").mkdir()
    assert "has no predictor.json" in refusal(tmp_path)


def test_files_of_the_user_in_the_folder_are_ignored(copy: Path) -> None:
    (copy / "notes.txt").write_text("mine")
    assert Predictor.load(copy).labels


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> MemoryFileSystem:
    monkeypatch.setenv("FRUITS_CACHE", str(tmp_path / "cache"))
    filesystem: MemoryFileSystem = fsspec.filesystem("memory")
    filesystem.store.clear()
    return filesystem


def test_a_predictor_in_a_store_is_downloaded_once(
    trained: Any, store: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trained.write("memory://bucket/output/predictor")
    asked: list[str] = []
    get = MemoryFileSystem.get_file

    def counted(self: MemoryFileSystem, path: str, *arguments: Any, **options: Any) -> None:
        asked.append(path.rpartition("/")[2])
        get(self, path, *arguments, **options)

    monkeypatch.setattr(MemoryFileSystem, "get_file", counted)
    first = Predictor.load("memory://bucket/output").predict(trained.contents[3])
    assert sorted(asked) == FILES
    asked.clear()
    # Damaged files in the cache are downloaded again.
    [cached] = (tmp_path / "cache").rglob("classifier.npz")
    cached.write_bytes(b"damaged")
    again = Predictor.load("memory://bucket/output/predictor").predict(trained.contents[3])
    assert asked == ["classifier.npz"]
    assert again.top == first.top


def test_a_damaged_file_in_a_store_is_refused(trained: Any, store: MemoryFileSystem) -> None:
    trained.write("memory://bucket/predictor")
    graph = store.cat_file("/bucket/predictor/graph.xml")
    store.rm_file("/bucket/predictor/graph.xml")
    with pytest.raises(OutputError, match=r"bucket/predictor/graph.xml is missing"):
        Predictor.load("memory://bucket")
    store.pipe_file("/bucket/predictor/graph.xml", graph)
    store.pipe_file("/bucket/predictor/reduction.npz", b"damaged")
    with pytest.raises(OutputError, match=r"bucket/predictor/reduction.npz is damaged"):
        Predictor.load("memory://bucket")


def test_downloaded_predictors_are_deleted_some_weeks_after_their_last_use(
    trained: Any, store: MemoryFileSystem, tmp_path: Path
) -> None:
    trained.write("memory://bucket/predictor")
    used = Predictor.load("memory://bucket")
    expected = used.predict(trained.contents[3])
    [mine] = (tmp_path / "cache" / "predictors").iterdir()
    others = [Path(shutil.copytree(mine, mine.with_name(name))) for name in ("new", "old")]
    for folder, days in zip([mine, *others], (31, 29, 31), strict=True):
        before = time.time() - days * 86_400
        os.utime(folder / "predictor.json", (before, before))
    # Loading it again is a use.
    Predictor.load("memory://bucket")
    assert sorted(mine.parent.iterdir()) == sorted([mine, others[0]])
    before = time.time() - 31 * 86_400
    os.utime(mine / "predictor.json", (before, before))
    manifest = json.loads(store.cat_file("/bucket/predictor/predictor.json"))
    manifest["about"]["counts"] = {"found": 0}
    store.pipe_file("/bucket/predictor/predictor.json", json.dumps(manifest).encode())
    Predictor.load("memory://bucket")
    assert not mine.exists()
    # A process that has loaded it can still use it.
    again = used.predict(trained.contents[3])
    assert (again.top, again.neighbours) == (expected.top, expected.neighbours)
