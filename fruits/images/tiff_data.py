"""Detects damaged strips and tiles of a TIFF file that libtiff ignores."""

import lzma

from fruits.images.size_limits import RejectedImage

JPEG, LZMA = 7, 34925
# The end marker of an embedded JPEG is searched in this many bytes, because padding may follow.
_NEAR_END = 64


def check_part(compression: int, content: bytes, begin: int, end: int) -> None:
    """Rejects a strip or tile with damage that libtiff ignores.

    Args:
        compression: the number of the compression in the file.
        content: the bytes of the file.
        begin: the offset of the part.
        end: the offset after the part.

    Raises:
        RejectedImage: the part is damaged.
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
