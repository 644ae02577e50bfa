"""External references of ONNX files, also if a field is repeated, which is allowed."""

import numpy as np
import pytest
from onnx_bytes import field, model, node, tensor, varint

from fruits.errors import BackboneError
from fruits.networks.onnx_file import References, references

PLAIN = tensor("weights", np.zeros((3, 2), np.float32))


def with_entry(entry: bytes) -> bytes:
    """A model with a constant that has an entry for the location of its values."""
    return model([node("Identity", ["x"], "y")], [PLAIN + entry], {"y": [1]})


def test_a_file_and_a_domain_are_found() -> None:
    entry = field(13, field(1, "location") + field(2, "a/weights.bin"))
    own = model([node("Own", ["x"], "y", "org.example")], [PLAIN + entry], {"y": [1]})
    assert references(own) == References(frozenset(["a/weights.bin"]), frozenset(["org.example"]))


@pytest.mark.parametrize(
    "entry",
    [
        field(1, "x") + field(1, "location") + field(2, "good.bin") + field(2, "/etc/passwd"),
        field(2, "/etc/passwd") + field(2, "good.bin") + field(1, "location"),
        field(1, "location") + field(1, "x") + field(2, "/etc/passwd"),
    ],
    ids=range(3),
)
def test_every_value_of_a_repeated_field_counts(entry: bytes) -> None:
    assert "/etc/passwd" in references(with_entry(field(13, entry))).files


@pytest.mark.parametrize("key", [13 << 3 | 2 | 1 << 32, 13 << 3 | 2 | 1 << 40, 2], ids=hex)
def test_ambiguous_field_numbers_are_refused(key: int) -> None:
    entry = field(1, "location") + field(2, "/etc/passwd")
    hidden = varint(key) + varint(len(entry)) + entry
    with pytest.raises(BackboneError, match="the data is damaged: a field of the number"):
        references(with_entry(hidden))
