"""Limits for the size of an image, and the errors for a rejected image."""

from fruits.errors import one_line

# The most decoded pixels of one image: 64 Mi need 256 MB, and an animated WebP needs four times as
# much. JPEG is decoded at a reduced scale, so photographs of 200 megapixels are accepted; larger
# images are more likely decompression bombs.
MAX_PIXELS = 64 << 20
# The most bytes of a file; no image that may be decoded has more.
MAX_BYTES = 1 << 30
# The largest height or width: decoders need some memory for each row, however short it is.
MAX_SIDE = 1 << 20


class RejectedImage(Exception):
    """An image is rejected; the message is the reason."""


class RefusedItemError(OSError):
    """An item that stays unusable until its file changes; the message is the reason."""


def rejection(error: Exception) -> RejectedImage:
    """The rejection of an image whose content is an error; unreadable images are retried."""
    refused = isinstance(error, RefusedItemError)
    return RejectedImage(one_line(error) if refused else f"unreadable: {one_line(error)}")


def too_long(length: int) -> RefusedItemError | None:
    """The error for a file with too many bytes; None if its length is allowed."""
    if length <= MAX_BYTES:
        return None
    return RefusedItemError(f"too large: {length:,} bytes, the limit is {MAX_BYTES:,}")


def check_size(width: int, height: int, what: str = "pixels to decode") -> None:
    """Rejects an image with too many pixels, before memory is allocated for them.

    Args:
        width: the width in pixels.
        height: the height in pixels.
        what: words after the size in the message.

    Raises:
        RejectedImage: the image is too large, or has no pixels.
    """
    if width < 1 or height < 1:
        raise RejectedImage(f"damaged: {width} x {height} pixels")
    if width * height > MAX_PIXELS:
        raise RejectedImage(f"too large: {width} x {height} {what}, the limit is {MAX_PIXELS}")
    if max(width, height) > MAX_SIDE:
        raise RejectedImage(
            f"too large: {width} x {height} {what}, the limit for a side is {MAX_SIDE}"
        )
