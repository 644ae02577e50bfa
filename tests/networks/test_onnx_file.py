"""What an ONNX file refers to, however it is spelt: protocol buffers allow a field twice."""

import numpy as np
import pytest
from onnx_bytes import field, model, node, tensor, varint

from fruits.errors import BackboneError
from fruits.networks.onnx_file import References, references

PLAIN = tensor("weights", np.zeros((3, 2), np.float32))


def with_entry(entry: bytes) -> bytes:
    """A model one of whose constants has an entry about where its values are."""
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
def test_numbers_of_fields_that_readers_cut_differently_are_refused(key: int) -> None:
    entry = field(1, "location") + field(2, "/etc/passwd")
    hidden = varint(key) + varint(len(entry)) + entry
    with pytest.raises(BackboneError, match="the data is damaged: a field of the number"):
        references(with_entry(hidden))
