"""Streaming many training images writes the same as having all of them in memory."""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fruits.features.rows import lists
from fruits.features.table import THUMBNAILS
from fruits.predictor import write_images as module
from fruits.predictor.write_images import NAMES, write_images

ROWS = 50


def digest(number: int) -> str:
    return hashlib.sha256(bytes([number])).hexdigest()


def drawn() -> tuple[pa.Table, pa.Table]:
    """Images, some with the same bytes, and thumbnails of some of them and of other images."""
    rng = np.random.default_rng(2)
    digests = [digest(n % 45) for n in range(ROWS)]
    rows = pa.table(
        {
            "path": [f"{n:03}" for n in range(ROWS)],
            "label": [f"l{n % 3}" for n in range(ROWS)],
            "sha256": digests,
            "pca": lists(rng.standard_normal((ROWS, 6)).astype(np.float32)),
        }
    )
    known = [digest(n) for n in rng.permutation(60) if n % 9]
    pictures = [None if n % 11 == 0 else rng.bytes(n + 1) for n in range(len(known))]
    return rows, pa.table([known, pictures], schema=THUMBNAILS)


@pytest.mark.parametrize("group", [ROWS, 10, 1])
def test_each_image_has_its_components_and_its_thumbnail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: int
) -> None:
    monkeypatch.setattr(module, "_GROUP", group)
    rows, thumbnails = drawn()
    twice = pa.concat_tables([thumbnails, thumbnails])

    count = write_images(tmp_path, rows.to_batches(7), twice.to_batches(11), 6)

    names = pq.read_table(tmp_path / "neighbours.parquet")
    assert (count, names.schema.equals(NAMES)) == (ROWS, True)
    assert names.select(["path", "label", "sha256"]).to_pydict() == (
        rows.select(["path", "label", "sha256"]).to_pydict()
    )
    x = np.array(rows["pca"].to_pylist(), np.float32)
    np.testing.assert_array_equal(np.load(tmp_path / "neighbours.npy"), x)
    np.testing.assert_allclose(names["norm"], np.linalg.norm(x.astype(float), axis=1))
    content = (tmp_path / "thumbnails.bin").read_bytes()
    of_digest = {row["sha256"]: row["thumbnail"] for row in thumbnails.to_pylist()}
    found = [
        None
        if row["thumbnail_offset"] is None
        else content[row["thumbnail_offset"] :][: row["thumbnail_length"]]
        for row in names.to_pylist()
    ]
    assert found == [of_digest.get(digest) for digest in names["sha256"].to_pylist()]
    own = {
        digest: of_digest[digest] for digest in set(rows["sha256"].to_pylist()) & of_digest.keys()
    }
    assert len(content) == sum(len(picture) for picture in own.values() if picture)


def test_the_order_of_the_thumbnails_does_not_change_the_files(tmp_path: Path) -> None:
    rows, thumbnails = drawn()
    for name, order in (("one", slice(None)), ("other", slice(None, None, -1))):
        (tmp_path / name).mkdir()
        some = thumbnails.take(np.arange(thumbnails.num_rows)[order]).to_batches(9)
        write_images(tmp_path / name, rows.to_batches(), some, 6)
    one, other = (
        {file.name: file.read_bytes() for file in (tmp_path / name).iterdir()}
        for name in ("one", "other")
    )
    assert one == other
    assert set(one) == {"neighbours.npy", "neighbours.parquet", "thumbnails.bin"}


def test_without_images_the_files_are_empty(tmp_path: Path) -> None:
    _, thumbnails = drawn()
    assert write_images(tmp_path, [], thumbnails.to_batches(), 6) == 0
    assert pq.read_table(tmp_path / "neighbours.parquet").num_rows == 0
    assert np.load(tmp_path / "neighbours.npy").shape == (0, 6)
