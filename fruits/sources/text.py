"""Texts of a source, made fit for a table: whoever wrote them, they are valid Unicode then."""


def storable(text: str) -> str:
    r"""A text that can be encoded: half a character, or a byte that is not UTF-8, as `\udce9`."""
    return text.encode("utf-8", "backslashreplace").decode()
