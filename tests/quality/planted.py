"""Synthetic pictures, and tables of images like those in a run."""

import hashlib
import io
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from PIL import Image

from fruits.features.table import THUMBNAILS
from fruits.images.decode import decode
from fruits.images.thumbnail import thumbnail


def picture(seed: int, side: int = 224) -> Image.Image:
    """A smooth picture, like a photograph, and different for each seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "JPEG", quality: int = 90) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, quality=quality)
    return buffer.getvalue()


def images_of(contents: Mapping[str, bytes]) -> pa.Table:
    """Path, label, split and SHA-256 of files, from their paths: split/label/name."""
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
    """The thumbnails that a run stores for these files."""
    digests = [hashlib.sha256(content).hexdigest() for content in contents.values()]
    small = [thumbnail(decode(content, 224), content) for content in contents.values()]
    return pa.table([digests, small], schema=THUMBNAILS).to_batches(max_chunksize=7)
