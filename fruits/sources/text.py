r"""Escapes strings of a source so that they are valid Unicode and can be stored in a table.

Surrogates are escaped as in Python: the byte E9 in a name that is not UTF-8 becomes the text
`\udce9`. Different strings stay different: if a name already contains such a text, its backslash is
escaped as `\udc5c`.
"""

import re

_BACKSLASH = "\\udc5c"
_LOOKALIKE = re.compile(r"\\(?=ud[89a-f][0-9a-f]{2})")
_ESCAPE = re.compile(r"\\u(d[89a-f][0-9a-f]{2})")


def storable(text: str) -> str:
    """Escapes a string so that it can be encoded; :func:`original` is the inverse."""
    if "\\ud" in text:
        text = _LOOKALIKE.sub(lambda _: _BACKSLASH, text)
    return text.encode("utf-8", "backslashreplace").decode()


def original(text: str) -> str:
    """The inverse of :func:`storable`."""
    return _ESCAPE.sub(_decoded, text) if "\\ud" in text else text


def _decoded(found: re.Match[str]) -> str:
    return "\\" if found[0] == _BACKSLASH else chr(int(found[1], 16))
