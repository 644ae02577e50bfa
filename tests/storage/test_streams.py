import io

import pytest

from fruits.storage.streams import read_exactly


def test_a_stream_that_ends_early_is_an_error() -> None:
    stream = io.BytesIO(b"abcdef")
    assert read_exactly(stream, 4) == b"abcd"
    assert read_exactly(stream, 0) == b""
    with pytest.raises(EOFError):
        read_exactly(stream, 3)
