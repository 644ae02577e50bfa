"""Numbers in sentences."""


def counted(number: int, noun: str) -> str:
    """A number with its noun, such as "1 image" and "1,200 images"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def have(number: int) -> str:
    """The verb after a number of things: "has" or "have"."""
    return "has" if number == 1 else "have"


def are(number: int) -> str:
    """The verb after a number of things: "is" or "are"."""
    return "is" if number == 1 else "are"


def size(count: float) -> str:
    """A number of bytes with its unit."""
    for unit, bytes_ in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= bytes_:
            return f"{count / bytes_:,.1f} {unit}"
    return f"{count:.0f} B"
