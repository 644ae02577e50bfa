"""Drawn pictures, and tables of images as a run has them."""

import hashlib
import io
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from PIL import Image

from fruits.features.table import THUMBNAILS
from fruits.sources.decode import decode
from fruits.sources.thumbnail import thumbnail


def picture(seed: int, side: int = 224) -> Image.Image:
    """A picture that is smooth, as photographs are, and unlike that of any other seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "JPEG", quality: int = 90) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, quality=quality)
    return buffer.getvalue()


def images_of(contents: Mapping[str, bytes]) -> pa.Table:
    """Path, label, split and SHA-256 of files by their paths: side/label/name."""
    rows = [
        {
            "path": path,
            "label": path.split("/")[-2],
            "split": path.split("/")[0] if path.count("/") == 2 else None,
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        for path, content in sorted(contents.items())
    ]
    names = ["path", "label", "split", "sha256"]
    return pa.Table.from_pylist(rows, pa.schema([(name, pa.string()) for name in names]))


def thumbnails_of(contents: Mapping[str, bytes]) -> list[pa.RecordBatch]:
    """What a run keeps of them."""
    digests = [hashlib.sha256(content).hexdigest() for content in contents.values()]
    small = [thumbnail(decode(content, 224), content) for content in contents.values()]
    return pa.table([digests, small], schema=THUMBNAILS).to_batches(max_chunksize=7)
