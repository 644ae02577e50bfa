"""Strips and tiles of a TIFF file whose damage its decoder passes over."""

import lzma

from fruits.sources.limits import RejectedImage

JPEG, LZMA = 7, 34925
# Bytes in which the end marker of a JPEG inside is looked for: filling may follow it.
_NEAR_END = 64


def check_part(compression: int, content: bytes, begin: int, end: int) -> None:
    """Refuses a strip or tile whose damage libtiff does not notice.

    Args:
        compression: as the file numbers it.
        content: of the file.
        begin: of the part, in bytes.
        end: of the part.

    Raises:
        RejectedImage: it is damaged.
    """
    if compression == JPEG and b"\xff\xd9" not in content[max(begin, end - _NEAR_END) : end]:
        raise RejectedImage("damaged: truncated: TIFF with a JPEG inside that ends early")
    if compression == LZMA:
        stream, data = lzma.LZMADecompressor(), content[begin:end]
        try:
            while not stream.eof and (data or not stream.needs_input):
                stream.decompress(data, 1 << 20)
                data = b""
        except lzma.LZMAError as error:
            raise RejectedImage(f"damaged: TIFF with LZMA data that are wrong ({error})") from None
