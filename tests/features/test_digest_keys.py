"""Digests are looked up by their keys."""

import hashlib
import random

import pyarrow as pa

from fruits.features.digest_keys import digest_keys, is_in, keys_of, photograph_keys


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


def test_the_key_of_a_digest_does_not_depend_on_its_neighbours() -> None:
    drawn = [hashlib.sha256(bytes([n])).hexdigest() for n in range(9)]
    alone = keys_of(pa.array(drawn))
    assert alone.tolist() == [int(one[:16], 16) for one in drawn]
    others = ["file:/a.jpg", f"{drawn[0]}#xywh=1,2,3,4", drawn[0].upper(), drawn[0][:-1] + "/"]
    mixed = keys_of(pa.array([None, *others, *drawn]))
    assert mixed[1 + len(others) :].tolist() == alone.tolist()
    assert len({*mixed[1:].tolist()}) == len(others) + len(drawn)


def test_a_box_has_the_key_of_its_photograph() -> None:
    digest = hashlib.sha256(b"a").hexdigest()
    whole, box = photograph_keys(pa.array([digest, f"{digest}#xywh=1,2,3,4"])).tolist()
    assert whole == box == int(digest[:16], 16)


def test_keys_of_slices_and_of_several_chunks_are_those_of_the_whole() -> None:
    drawn = pa.array([hashlib.sha256(bytes([n])).hexdigest() for n in range(200)])
    whole = keys_of(drawn)
    assert keys_of(drawn[3:150]).tolist() == whole[3:150].tolist()
    chunks = pa.chunked_array([drawn[:7], drawn[7:7], drawn[7:]])
    assert keys_of(chunks).tolist() == whole.tolist()
