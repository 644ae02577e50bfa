"""Digests are looked up by their keys."""

import hashlib
import random

import pyarrow as pa

from fruits.features.digest_keys import digest_keys, is_in


def test_contents_are_found_in_any_order() -> None:
    keys = digest_keys([pa.array(["a", "b"]), pa.array(["b"])])
    assert is_in(keys, pa.array(["b", "c", None, "a"])).tolist() == [True, False, False, True]
    assert is_in(digest_keys([pa.array(["a", None])]), pa.array([None, "a"])).tolist() == [
        False,
        True,
    ]


def test_results_equal_those_of_a_python_set() -> None:
    rng = random.Random(3)
    drawn = [hashlib.sha256(bytes([n])).hexdigest() for n in range(200)]
    some = [rng.choice(drawn) + rng.choice(["", "#xywh=1,2,3,4"]) for _ in range(300)]
    others = [rng.choice(drawn) + rng.choice(["", "#xywh=1,2,3,4"]) for _ in range(300)]
    keys = digest_keys([pa.array(some[:100]), pa.array(some[100:])])
    assert is_in(keys, pa.array(others)).tolist() == [one in {*some} for one in others]


def test_nothing_is_found_in_an_empty_set() -> None:
    none = pa.array([], pa.string())
    assert is_in(digest_keys([]), pa.array(["a"])).tolist() == [False]
    assert is_in(digest_keys([none]), none).tolist() == []
    assert is_in(digest_keys([pa.array(["a"])]), none).tolist() == []
