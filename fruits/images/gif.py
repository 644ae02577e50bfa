"""Decodes the first frame of GIF; where it does not cover the screen, the image is transparent."""

import io
import struct

from PIL import Image

from fruits.images.size_limits import RejectedImage, check_size

# The most blocks of comments and other extensions before the first frame.
MAX_BLOCKS = 1 << 16


def load(content: bytes) -> Image.Image:
    """Decodes the first frame of a GIF file.

    Raises:
        RejectedImage: the file is too large or damaged.
    """
    left, top, width, height = _first_frame(content)
    screen = struct.unpack_from("<HH", content, 6)
    check_size(max(screen[0], left + width), max(screen[1], top + height))
    image: Image.Image = Image.open(io.BytesIO(content), formats=("GIF",))
    image.load()
    if (left, top, width, height) != (0, 0, *image.size):
        transparent = "transparency" in image.info
        frame = image.convert("RGBA" if transparent else "RGB").convert("RGBA")
        image = Image.new("RGBA", image.size)
        box = (left, top, left + width, top + height)
        image.paste(frame.crop(box), box[:2])
    return image


def _first_frame(content: bytes) -> tuple[int, int, int, int]:
    """Left, top, width and height of the first frame."""
    blocks = 0
    try:
        place = 13 + (3 << (content[10] & 7) + 1 if content[10] & 128 else 0)
        while content[place] != 0x2C:
            if content[place] == 0x3B:
                raise RejectedImage("damaged: GIF without a picture")
            blocks += 1
            if content[place] == 0x21:
                place += 2
                while content[place]:
                    place += content[place] + 1
                    blocks += 1
                    if blocks > MAX_BLOCKS:
                        break
            if blocks > MAX_BLOCKS:
                raise RejectedImage(f"too large: GIF of more than {MAX_BLOCKS} comment blocks")
            place += 1
        left, top, width, height = struct.unpack_from("<HHHH", content, place + 1)
        return left, top, width, height
    except (IndexError, struct.error):
        raise RejectedImage("damaged: truncated: GIF that ends before its picture") from None
