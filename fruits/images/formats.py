"""Recognises image formats by the suffix of the name and by the first bytes.

It has no costly imports, so that listing a folder stays fast.
"""

import re

# The usual suffixes of each supported format, in lower case.
SUFFIXES_BY_FORMAT = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp", ".dib"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "JPEG2000": (".jp2", ".j2k", ".jpc", ".j2c", ".jpf", ".jpx"),
    "AVIF": (".avif", ".avifs"),
    "HEIF": (".heic", ".heif", ".hif", ".heics", ".heifs"),
}
SUFFIXES = tuple(suffix for suffixes in SUFFIXES_BY_FORMAT.values() for suffix in suffixes)

# Brands in the box "ftyp" at the start of an ISO media file.
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_HEIF_BRANDS |= {b"mif1", b"msf1", b"mif2"}

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_JP2 = (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")
# A bitmap without a file header begins with the size of its own header, and has one plane.
_BITMAP = re.compile(
    rb"[\x28\x6c\x7c]\x00\x00\x00.{8}\x01\x00[\x01\x02\x04\x08\x10\x18\x20]\x00", re.S
)
_NETPBM = re.compile(rb"P[1-6][\s#]")


def format_of(content: bytes) -> str | None:
    """The format by a file's first bytes, a key of :data:`SUFFIXES_BY_FORMAT`; None if unknown."""
    head = content[:12]
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if head[:4] == b"RIFF" and head[8:] == b"WEBP":
        return "WEBP"
    if head.startswith(_TIFF):
        return "TIFF"
    if (head.startswith(b"BM") and len(content) >= 26) or _BITMAP.match(content[:16]):
        return "BMP"
    if head.startswith(_JP2):
        return "JPEG2000"
    if _NETPBM.match(head):
        return "PPM"
    return _media_format(content) if head[4:8] == b"ftyp" else None


def describe(content: bytes) -> str:
    """Describes a file that is not an image, in words that follow "not an image: "."""
    if not content:
        return "empty file"
    for signature, description in _SIGNATURES:
        if re.match(signature, content[:512], re.S):
            return description
    if content[-18:].startswith(b"TRUEVISION-XFILE"):
        return _TGA
    if not content[:_START].strip(b"\0"):
        return "zero bytes only"
    text = _text(content[:_START])
    if text is not None:
        return _describe_text(text)
    return f"unknown content that begins with the bytes {content[:8].hex(' ')}"


def _media_format(content: bytes) -> str | None:
    length = min(int.from_bytes(content[:4]), 512)
    brands = [content[8:12], *(content[n : n + 4] for n in range(16, length - 3, 4))]
    # Both formats may have the brand "mif1"; only the other brands distinguish them.
    if _AVIF_BRANDS.intersection(brands):
        return "AVIF"
    return "HEIF" if _HEIF_BRANDS.intersection(brands) else None


def _text(start: bytes) -> str | None:
    """The start of a text file, or None if the file is not text."""
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = start[: len(start) // 2 * 2].decode("utf-16", "replace")
    else:
        text = start.decode("utf-8-sig", "replace")
        if len(start) == _START:
            text = text.removesuffix("\N{REPLACEMENT CHARACTER}")  # A character cut in the middle.
    odd = sum(not (letter.isprintable() or letter.isspace()) for letter in text)
    return text if "\N{REPLACEMENT CHARACTER}" not in text and odd == 0 else None


def _describe_text(text: str) -> str:
    start = text.lstrip()[:1024].lower()
    if start.startswith("version https://git-lfs.github.com/spec/"):
        return "Git LFS pointer (the image itself was not fetched; run git lfs pull)"
    if re.match(r"(<!--.*?-->\s*|<\?xml[^>]*>\s*)*(<!doctype html|<html|<head|<body)", start, re.S):
        return "HTML page"
    if "<svg" in start and start.startswith("<"):
        return "SVG drawing"
    if start.startswith("<?xml") or re.match(r"<[a-z][\w:.-]*[\s>/]", start):
        return "XML document"
    if start.startswith(("{", "[")):
        return "JSON or similar text"
    return "text file" if start else "blank text file"


# The bytes of a text to examine.
_START = 4096
_TGA = "TGA picture, a format that is not read"

# Regular expressions for the first bytes; "." matches any byte.
_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (rb"%PDF-", "PDF document"),
    (rb"%!PS|\xc5\xd0\xd3\xc6", "PostScript document"),
    (rb"\x00\x00\x01\x00[^\x00]", "Windows icon (ICO)"),
    (rb"\x00\x00\x02\x00[^\x00]", "Windows cursor (CUR)"),
    (rb"icns", "Apple icon (ICNS)"),
    (rb"8BPS", "Photoshop document (PSD)"),
    (rb"gimp xcf", "GIMP document (XCF)"),
    (rb"\x0a[\x00-\x05]\x01[\x01\x02\x04\x08]", "PCX picture, a format that is not read"),
    (rb"DDS ", "DDS texture, a format that is not read"),
    (rb"v/1\x01", "OpenEXR picture, a format that is not read"),
    (rb"#\?(RADIANCE|RGBE)", "Radiance HDR picture, a format that is not read"),
    (rb"SIMPLE  =", "FITS picture, a format that is not read"),
    (rb"\xff\x0a|\x00\x00\x00\x0cJXL \r\n\x87\n", "JPEG XL picture, a format that is not read"),
    (rb"\xff\xd8|\xff\xd9", "start of a JPEG file without its content"),
    (rb"II\xbc", "JPEG XR picture, a format that is not read"),
    (rb"\xff\x4f", "start of a JPEG 2000 file without its content"),
    (rb"BPG\xfb", "BPG picture, a format that is not read"),
    (rb"FLIF", "FLIF picture, a format that is not read"),
    (rb"qoif", "QOI picture, a format that is not read"),
    (rb"AT&TFORM", "DjVu document"),
    (rb"P7\s", "PAM picture (P7), a format that is not read"),
    (rb"P[Ff]\s", "PFM picture: floating-point pixels have no defined range"),
    (rb"\x01\xda[\x00\x01][\x01\x02]", "SGI picture, a format that is not read"),
    (rb"\x59\xa6\x6a\x95", "Sun raster picture, a format that is not read"),
    (rb"FUJIFILMCCD-RAW|II(RO|RS|U\x00)|MMOR|\x00MRM|FOVb", "camera raw file"),
    (rb".{4}ftypcrx ", "camera raw file (CR3)"),
    (rb"II\x1a\x00\x00\x00HEAPCCDR", "camera raw file (CRW)"),
    (rb".{4}ftyp(M4A|M4B)", "audio file (MPEG-4)"),
    (rb".{4}ftyp(qt  )", "video (QuickTime)"),
    (rb".{4}ftyp", "video (MPEG-4) or another ISO media file"),
    (rb".{4}(moov|mdat|wide|pnot)", "video (QuickTime)"),
    (rb"RIFF.{4}AVI ", "video (AVI)"),
    (rb"RIFF.{4}WAVE", "audio file (WAV)"),
    (rb"RIFF", "RIFF file that is not a WebP picture"),
    (rb"\x1aE\xdf\xa3", "video (Matroska or WebM)"),
    (rb"FLV\x01", "video (Flash)"),
    (rb"\x00\x00\x01[\xb3\xba]", "video (MPEG)"),
    (rb"G.{187}G.{187}G", "video (MPEG transport stream)"),
    (rb"0&\xb2u\x8ef\xcf\x11", "video or audio file (ASF)"),
    (rb"OggS", "audio or video file (Ogg)"),
    (rb"ID3|\xff[\xfb\xf3\xf2]", "audio file (MP3)"),
    (rb"fLaC", "audio file (FLAC)"),
    (rb"PK\x03\x04|PK\x05\x06|PK\x07\x08", "ZIP archive, or an office document"),
    (rb"\x1f\x8b", "gzip archive"),
    (rb"BZh[1-9]", "bzip2 archive"),
    (rb"\xfd7zXZ\x00", "xz archive"),
    (rb"\x28\xb5\x2f\xfd", "Zstandard archive"),
    (rb"7z\xbc\xaf\x27\x1c", "7-Zip archive"),
    (rb"Rar!", "RAR archive"),
    (rb".{257}ustar", "tar archive"),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "old office document or Thumbs.db"),
    (rb"PAR1", "Parquet file"),
    (rb"\x89HDF", "HDF5 file"),
    (rb"\x93NUMPY", "NumPy array"),
    (rb"SQLite format 3", "SQLite database"),
    (rb"\x7fELF|MZ", "program"),
    (rb"bplist00|Bud1|\x00\x00\x00\x01Bud1", "file of macOS, not a picture"),
    (rb"\x00\x05\x16[\x00\x07]", "AppleDouble file of macOS (the picture is the one without ._)"),
    (rb"\x89PNG", "PNG file whose signature is damaged by a transfer as text"),
    (rb".[\x00\x01][\x01-\x03\x09-\x0b].{13}[\x08\x0f\x10\x18\x20]", _TGA),
)
