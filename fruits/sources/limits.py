"""What an image may cost, and the error of one that is rejected."""

# Decoded pixels of one image: 64 Mi take 256 MB, and four times that as an animated WebP. JPEG is
# decoded at reduced scale, so a photograph of 200 megapixels passes; what does not is more likely a
# decompression bomb.
MAX_PIXELS = 64 << 20
# Of height and width: a decoder keeps something for each row, however short it is.
MAX_SIDE = 1 << 20


class RejectedImage(Exception):
    """An image that yields no features; the message is the reason."""


def check_size(width: int, height: int, what: str = "pixels to decode") -> None:
    """Refuses an image of too many pixels, before any memory is taken for them.

    Args:
        width: in pixels.
        height: in pixels.
        what: that has this size, in the words of the reason.

    Raises:
        RejectedImage: it is too large, or has no pixels.
    """
    if width < 1 or height < 1:
        raise RejectedImage(f"damaged: {width} x {height} pixels")
    if width * height > MAX_PIXELS:
        raise RejectedImage(f"too large: {width} x {height} {what}, the limit is {MAX_PIXELS}")
    if max(width, height) > MAX_SIDE:
        raise RejectedImage(f"too large: {width} x {height} {what}, a side may have {MAX_SIDE}")
