r"""Texts of a source, made fit for a table: whoever wrote them, they are valid Unicode then.

What cannot be encoded is written as Python does: the byte E9 of a name that is not UTF-8 as
`\udce9`. Different texts stay different: where a name has such letters of its own, its backslash is
written as `\udc5c`.
"""

import re

_BACKSLASH = "\\udc5c"
_LOOKALIKE = re.compile(r"\\(?=ud[89a-f][0-9a-f]{2})")
_ESCAPE = re.compile(r"\\u(d[89a-f][0-9a-f]{2})")


def storable(text: str) -> str:
    """A text that can be encoded; :func:`original` gives the text back."""
    if "\\ud" in text:
        text = _LOOKALIKE.sub(lambda _: _BACKSLASH, text)
    return text.encode("utf-8", "backslashreplace").decode()


def original(text: str) -> str:
    """The text of which :func:`storable` made this one."""
    return _ESCAPE.sub(_decoded, text) if "\\ud" in text else text


def _decoded(found: re.Match[str]) -> str:
    return "\\" if found[0] == _BACKSLASH else chr(int(found[1], 16))
