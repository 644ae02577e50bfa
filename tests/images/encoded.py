"""Encodes pictures with Pillow."""

import io
from typing import Any

from PIL import Image


def encode(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()
