import io
from collections import Counter

import numpy as np
import pyarrow as pa
from drawn import pictures
from PIL import Image

from fruits.report.thumbnails import evenly_by_label, pack


def test_each_first_part_of_the_order_has_as_many_of_each_label() -> None:
    labels = pa.chunked_array([["a"] * 50 + ["b"] * 30, ["c"] * 20 + [None] * 10])
    order = evenly_by_label(labels)
    assert sorted(order.tolist()) == list(range(110))
    for count in (4, 20, 40):
        found = Counter(labels.take(pa.array(order[:count])).to_pylist())
        assert set(found.values()) == {count // 4}
    assert evenly_by_label(labels).tolist() == order.tolist()


def test_an_order_within_a_label_is_not_that_of_the_images() -> None:
    order = evenly_by_label(pa.chunked_array([["a"] * 1000]))
    assert 350 < np.median(order[:100]) < 650


def test_thumbnails_are_packed_in_order_until_the_limit() -> None:
    found = pictures(6)
    paths = [f"p{n}" for n in range(6)]
    whole = pack(paths, range(6), dict(zip(paths, found, strict=True)), 10**6)
    assert whole.count == 6
    assert sum(map(len, found)) == 6 * len(whole.header) + len(whole.bodies)
    part = pack(paths, [5, 3, 0], dict(zip(paths, found, strict=True)), 4 * len(whole.bodies) // 12)
    lengths = np.diff(part.offsets.astype(int))
    assert lengths[5] > 0
    assert len(part.bodies) <= 4 * len(whole.bodies) // 12
    assert lengths[[1, 2, 4]].tolist() == [0, 0, 0]


def test_pictures_that_are_no_thumbnails_are_left_out() -> None:
    first, *_ = pictures(1)
    other = io.BytesIO()
    Image.new("RGB", (90, 90)).save(other, "JPEG", quality=30)
    large = io.BytesIO()
    Image.new("RGB", (300, 20)).save(large, "JPEG")
    files = {"a": first, "b": other.getvalue(), "c": large.getvalue(), "d": b"\xff\xd8\xff"}
    packed = pack(list("abcde"), range(5), files, 10**6)
    assert (np.diff(packed.offsets.astype(int)) > 0).tolist() == [True, *[False] * 4]
