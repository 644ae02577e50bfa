"""Of many images, those with copies and an even sample are selected by their digests."""

import hashlib
from collections import Counter

import numpy as np
import pyarrow as pa

from fruits.features.digest_keys import digest_keys
from fruits.quality.contents import Contents, rows_of

ROWS = 3000


def drawn() -> pa.Table:
    """Images in random order, some of which have the same bytes."""
    rng = np.random.default_rng(1)
    digests = [hashlib.sha256(b"%d" % n).hexdigest() for n in rng.integers(0, 8 * ROWS, ROWS)]
    paths = [f"{n:05}" for n in rng.permutation(ROWS)]
    return pa.table({"path": paths, "sha256": digests})


def contents_of(images: pa.Table) -> Contents:
    return Contents.of(batch["sha256"] for batch in images.to_batches(max_chunksize=700))


def test_all_images_with_copies_are_chosen() -> None:
    images = drawn()
    counts = Counter(images["sha256"].to_pylist())
    expected = sorted(row["path"] for row in images.to_pylist() if counts[row["sha256"]] > 1)

    keys, more = contents_of(images).repeated(ROWS)
    found = rows_of(images.to_batches(max_chunksize=500), keys, images.schema)

    assert more == 0
    assert len(expected) > 100
    assert found["path"].to_pylist() == expected


def test_copies_that_are_too_many_are_counted() -> None:
    images = drawn()
    counts = Counter(images["sha256"].to_pylist())
    keys, more = contents_of(images).repeated(50)
    found = rows_of(images.to_batches(), keys, images.schema)
    assert 45 <= found.num_rows <= 50
    assert (found.num_rows - len(keys)) + more == ROWS - len(counts)


def test_a_content_with_too_many_copies_does_not_hide_the_others() -> None:
    pairs = [hashlib.sha256(b"%d" % n).hexdigest() for n in range(5)]
    contents = Contents.of([pa.array(["0" * 64] * 60 + pairs * 2)])
    keys, more = contents.repeated(50)
    assert keys.tolist() == digest_keys([pa.array(pairs)]).tolist()
    assert more == 59


def test_a_sample_is_even_and_does_not_depend_on_the_order() -> None:
    images = drawn()
    different = len(set(images["sha256"].to_pylist()))
    keys, left_out = contents_of(images).sample(400)
    assert (len(keys), left_out) == (400, different - 400)
    again, _ = contents_of(images.sort_by("path")).sample(400)
    assert keys.tolist() == again.tolist()
    found = rows_of(images.to_batches(), keys, images.schema)
    assert 0.4 < np.mean([int(path) < ROWS / 2 for path in found["path"].to_pylist()]) < 0.6

    all_of_them, none = contents_of(images).sample(ROWS)
    assert none == 0
    assert all_of_them.tolist() == digest_keys([images["sha256"]]).tolist()


def test_nothing_is_chosen_of_no_images() -> None:
    nothing = Contents.of([])
    assert (len(nothing.repeated(9)[0]), len(nothing.sample(9)[0])) == (0, 0)
    schema = pa.schema([("path", pa.string()), ("sha256", pa.string())])
    assert rows_of([], nothing.keys, schema).num_rows == 0
