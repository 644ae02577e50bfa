import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from committed import drop
from listings import find_images

from fruits.errors import OutputError
from fruits.features.moments import Moments
from fruits.features.rows import FEATURES, REJECTED, write_rows
from fruits.features.table import THUMBNAILS, THUMBNAILS_FOLDER
from fruits.features.writer import FeatureWriter
from fruits.folds import kept_folds
from fruits.networks.graph import CompiledGraph
from fruits.sources.listing import anti_join
from fruits.sources.parts import Parts
from fruits.spark.failures import spark_errors
from fruits.tasks import measure_moments
from fruits.tasks.extract import extract
from fruits.tasks.known import known_rows
from fruits.tasks.workers import Workers


@pytest.fixture
def grow(
    workers: Workers, graph: CompiledGraph, store: FeatureWriter
) -> Callable[[pa.Table, int], None]:
    def grow(listing: pa.Table, chunk: int) -> None:
        known = known_rows(workers, store)
        left = Parts.of(anti_join(listing, known))
        extract(workers, left, Parts.of(known), graph, store, chunk)

    return grow


def test_moments_match_the_rows(
    workers: Workers,
    store: FeatureWriter,
    grow: Callable[[pa.Table, int], None],
    draw: Callable[..., Path],
    tmp_path: Path,
) -> None:
    listing = find_images(str(draw({"Fig": 30}))).images
    grow(listing, 12)
    rows = np.stack(pd.read_parquet(tmp_path / "out" / "features")["features"].to_list())
    moments = measure_moments.moments(workers, store)
    assert moments.count == 30
    np.testing.assert_allclose(moments.mean, rows.mean(axis=0, dtype=np.float64), atol=1e-12)
    np.testing.assert_array_equal(moments.maximum, rows.max(axis=0))
    covariance = np.cov(rows.astype(np.float64), rowvar=False)
    np.testing.assert_allclose(moments.scatter / 29, covariance, atol=1e-12 * covariance.max())


def test_moments_of_a_chunk_are_measured_once(
    workers: Workers,
    store: FeatureWriter,
    grow: Callable[[pa.Table, int], None],
    draw: Callable[..., Path],
    tmp_path: Path,
) -> None:
    grow(find_images(str(draw({"Fig": 10}))).images, 10)
    measure_moments.moments(workers, store)
    file = tmp_path / "out" / "features" / "_chunks" / "000000.moments"
    before = file.stat().st_mtime_ns
    grow(find_images(str(draw({"Lime": 10}, seed=1))).images, 10)
    assert measure_moments.moments(workers, store).count == 20
    assert file.stat().st_mtime_ns == before


def test_moments_of_some_files_do_not_change_those_of_all(
    workers: Workers,
    store: FeatureWriter,
    grow: Callable[[pa.Table, int], None],
    draw: Callable[..., Path],
    tmp_path: Path,
) -> None:
    listing = find_images(str(draw({"Fig": 10}))).images
    grow(listing, 5)
    some = listing.slice(2, 5)
    moments = measure_moments.moments(workers, store, listing=some)
    rows = pd.read_parquet(tmp_path / "out" / "features")
    rows = rows[rows["path"].isin(some["path"].to_pylist())]
    assert moments.count == 5
    expected = np.stack(rows["features"].to_list()).mean(axis=0, dtype=np.float64)
    np.testing.assert_allclose(moments.mean, expected, atol=1e-12)
    assert list((tmp_path / "out" / "features" / "_chunks").glob("*.moments")) == []
    assert measure_moments.moments(workers, store).count == 10


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{\x1b[31m",
        b"\xff",
        b"[]",
        b'{"number": 0, "rejected": []}',
        b'{"number": 0, "files": [7], "rejected": []}',
        b'{"number": 0, "files": ["../../precious.parquet"], "rejected": []}',
        b'{"number": 0, "files": ["precious.txt"], "rejected": []}',
        b'{"number": 0, "files": [], "rejected": [{"length": "x"}]}',
    ],
)
def test_a_damaged_manifest_is_named_in_one_line(
    store: FeatureWriter, tmp_path: Path, content: bytes
) -> None:
    store.commit([], REJECTED.empty_table())
    manifest = tmp_path / "out" / "features" / "_chunks" / "000000.json"
    manifest.write_bytes(content)
    for name in ("notes.json", "1.json"):
        (manifest.parent / name).write_text("of somebody else")
    with pytest.raises(OutputError, match=rf"{manifest} is damaged .*run again") as caught:
        FeatureWriter(store.root, store.lock).sweep()
    assert str(caught.value).isprintable()
    assert len(list(manifest.parent.iterdir())) == 3


def test_files_that_no_manifest_names_are_deleted(
    store: FeatureWriter,
    grow: Callable[[pa.Table, int], None],
    draw: Callable[..., Path],
    tmp_path: Path,
) -> None:
    grow(find_images(str(draw({"Fig": 10}))).images, 5)
    features = tmp_path / "out" / "features"
    before = sorted(features.iterdir())
    (features / "_chunks" / "000001.json").unlink()
    FeatureWriter(store.root, store.lock).sweep()
    left = {file.name for file in features.glob("*.parquet")}
    assert left == set(json.loads((features / "_chunks" / "000000.json").read_text())["files"])
    assert len(left) < len(before)


def test_rows_are_visible_after_their_commit(workers: Workers, store: FeatureWriter) -> None:
    row = {"path": "file:/a/Fig/1.jpg", "label": "Fig", "sha256": "00" * 32, "length": 1}
    rows = pa.Table.from_pylist([row | {"modified": 0, "features": [0.5, 2.0]}], FEATURES)
    of_a_task_that_was_killed = f"{'0a' * 16}-000000064.parquet"
    for name in ("good.parquet", of_a_task_that_was_killed):
        write_rows(store.staged / name, rows)
    assert store.files() == []
    store.commit(["good.parquet"], REJECTED.empty_table())
    assert store.dataset().to_table().to_pylist() == rows.to_pylist()
    assert [chunk.files for chunk in store.chunks()] == [["good.parquet"]]
    store.sweep()
    assert store.dataset().count_rows() == 1
    assert not Path(store.uri.removeprefix("file:"), "_staged").exists()


def test_dropped_rows_are_removed_from_files_and_moments(
    workers: Workers,
    store: FeatureWriter,
    grow: Callable[[pa.Table, int], None],
    draw: Callable[..., Path],
    tmp_path: Path,
) -> None:
    listing = find_images(str(draw({"Fig": 20}))).images
    grow(listing, 10)
    measure_moments.moments(workers, store)
    known = known_rows(workers, store)
    gone = known.filter(pc.is_in(known["path"], listing["path"].slice(3, 4)))
    drop(workers, store, gone)
    rows = pd.read_parquet(tmp_path / "out" / "features")
    assert sorted(rows["path"]) == sorted(
        path for n, path in enumerate(listing["path"].to_pylist()) if n not in range(3, 7)
    )
    assert store.dataset().count_rows() == 16
    moments = measure_moments.moments(workers, store)
    expected = Moments.of(np.stack(rows["features"].to_list()))
    assert moments.count == 16
    np.testing.assert_allclose(moments.scatter, expected.scatter, atol=1e-9)


def test_rejects_are_kept_unless_they_could_not_be_read(
    store: FeatureWriter, draw: Callable[..., Path]
) -> None:
    listing = find_images(str(draw({"Fig": 3}))).images
    errors = pa.array(["damaged: é", "unreadable: gone", "not an image: x"])
    rejected = listing.append_column("error", errors).cast(REJECTED)
    store.commit([], rejected.slice(0, 2))
    store.commit([], rejected.slice(2))
    assert pa.concat_tables(store.refused()).equals(rejected.take([0, 2]))


def test_what_computed_the_features_is_kept_with_each_chunk(store: FeatureWriter) -> None:
    none = REJECTED.empty_table()
    for name in ("a.parquet", "b.parquet", "copies.parquet"):
        write_rows(store.staged / name, FEATURES.empty_table())
    store.commit(["a.parquet"], none, {"openvino 1 f32 avx512", "openvino 1 f32 avx2"})
    store.commit(["b.parquet"], none, ["openvino 1 f32 avx2"])
    store.commit(["copies.parquet"], none)
    assert store.ran() == ["openvino 1 f32 avx2", "openvino 1 f32 avx512"]
    assert [chunk.ran for chunk in store.chunks()] == [
        ("openvino 1 f32 avx2", "openvino 1 f32 avx512"),
        ("openvino 1 f32 avx2",),
        (),
    ]


@pytest.mark.parametrize("damage", [b"", b"moments2", b"moments2" + bytes(400), b"no moments"])
def test_damaged_moments_are_measured_again(
    workers: Workers, store: FeatureWriter, tmp_path: Path, damage: bytes
) -> None:
    row = {"label": "Fig", "sha256": "00" * 32, "length": 1, "modified": 0}
    for number in range(2):
        one = row | {"path": f"file:/a/{number}.jpg", "features": [number / 2, 2.0]}
        name = f"{number:032x}.parquet"
        write_rows(store.staged / name, pa.Table.from_pylist([one], FEATURES))
        store.commit([name], REJECTED.empty_table())
    sound = measure_moments.moments(workers, store).to_bytes()
    (tmp_path / "out" / "features" / "_chunks" / "000001.moments").write_bytes(damage)
    assert measure_moments.moments(workers, store).to_bytes() == sound


def test_damaged_rows_are_reported_in_one_line(
    workers: Workers, store: FeatureWriter, tmp_path: Path
) -> None:
    name = f"{0:032x}.parquet"
    write_rows(store.staged / name, FEATURES.empty_table())
    store.commit([name], REJECTED.empty_table())
    (tmp_path / "out" / "features" / name).write_bytes(b"no table")
    for read in (
        lambda: known_rows(workers, store),
        lambda: measure_moments.moments(workers, store),
    ):
        with pytest.raises(OutputError, match=rf"{name} is damaged.*overwrite"), spark_errors():
            read()


def test_thumbnails_of_uncommitted_rows_are_deleted(store: FeatureWriter, tmp_path: Path) -> None:
    rows = FEATURES.empty_table()
    kept, lost = f"{1:032x}-000000000.parquet", f"{2:032x}-000000001.parquet"
    for name in (kept, lost):
        write_rows(store.staged / name, rows)
        write_rows(store.root / THUMBNAILS_FOLDER / name, THUMBNAILS.empty_table())
    store.commit([kept], REJECTED.empty_table())
    folder = tmp_path / "out" / "features" / "_thumbnails"
    (folder / f"_{3:032x}.{lost}.tmp").write_bytes(b"half of it")
    (folder / "mine.jpg").write_bytes(b"of the user")
    store.sweep()
    assert {path.name for path in folder.iterdir()} == {kept, "mine.jpg"}


def test_rows_of_a_version_without_thumbnails_have_none(store: FeatureWriter) -> None:
    name = f"{1:032x}-000000000.parquet"
    write_rows(store.staged / name, FEATURES.empty_table())
    store.commit([name], REJECTED.empty_table())
    assert list(store.thumbnails()) == []
    write_rows(
        store.root / THUMBNAILS_FOLDER / name, pa.table([["a"], [b"jpeg"]], schema=THUMBNAILS)
    )
    [batch] = store.thumbnails()
    assert batch.to_pylist() == [{"sha256": "a", "thumbnail": b"jpeg"}]


def test_files_of_the_user_are_never_deleted(store: FeatureWriter, tmp_path: Path) -> None:
    features = tmp_path / "out" / "features"
    name = "0123456789abcdef" * 2
    mine = ["notes.txt", ".hidden", "000000.csv", f"{name[:30]}.parquet", "own/table.json"]
    ours = {
        "_staged": [f"{name}.parquet", f"{name}-000000001.parquet", "000001.train.moments.2"],
        "_folds": ["folds.json", f"{name}-3.sqrt.moments", f"_{name}.folds.json.tmp"],
    }
    for folder, names in ours.items():
        for one in (*mine, *names):
            (features / folder / one).parent.mkdir(parents=True, exist_ok=True)
            (features / folder / one).write_text("x")
    store.sweep()
    kept_folds.delete_folds(store.root)
    for folder in ours:
        left = {str(p.relative_to(features / folder)) for p in (features / folder).rglob("*.*")}
        assert left == set(mine)
    images = pa.table({"path": ["a"], "label": ["Fig"], "fold": pa.array([0], pa.int32())})
    kept_folds.KeptFolds.new(store.root, ["none"]).write([images])
    kept_folds.KeptFolds.new(store.root, ["none"]).write([images])
    left = {p.name for p in (features / "_folds").iterdir()} - {one.split("/")[0] for one in mine}
    assert len(left) == 2
