"""What was said of the images that were held out, kept in the model for those who look at it later.

A table in Parquet next to the other files of :mod:`fruits.runs.basis`: predictions of images by a
classifier that was not fitted to them, which no other result has.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fruits.classify.model import Predictions
from fruits.classify.train import HeldOut
from fruits.errors import OutputError, one_line
from fruits.features.rows import lists, matrix
from fruits.storage.failures import store_errors
from fruits.storage.location import Location

HELD_OUT_FILE = "model/_held_out.parquet"

# Attributes of Predictions with one number for each image, and with several.
_NUMBERS = ("predicted", "confidence", "distance", "unknown", "likelihood")
_ROWS = ("top", "top_probability")


def held_out_bytes(held_out: HeldOut) -> bytes:
    """The file of :data:`HELD_OUT_FILE`."""
    said = held_out.predictions
    labels = pa.array(held_out.labels, pa.string())
    columns = {"path": pa.array(held_out.paths, pa.string()), "label": labels}
    columns |= {name: pa.array(getattr(said, name)) for name in _NUMBERS}
    columns |= {name: lists(np.ascontiguousarray(getattr(said, name))) for name in _ROWS}
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, use_dictionary=["label", "predicted"])
    return buffer.getvalue()


def read_held_out(output: str) -> HeldOut | None:
    """What a finished run has kept; None where no image was held out.

    Args:
        output: URI of its folder.

    Raises:
        OutputError: the file is damaged or cannot be read.
        StorageError: the store cannot be used.
    """
    place = Location.of(output) / HELD_OUT_FILE
    try:
        with store_errors(output):
            content = place.filesystem.cat_file(place.path)
        table = pq.read_table(io.BytesIO(content)).combine_chunks()
        said: dict[str, Any] = {name: table[name].to_numpy() for name in _NUMBERS}
        said |= {name: matrix(table[name].combine_chunks()) for name in _ROWS}
        paths, labels = table["path"].to_pylist(), table["label"].to_pylist()
        return HeldOut(paths, labels, Predictions(**said))
    except FileNotFoundError:
        return None
    except (OSError, pa.ArrowException, KeyError) as error:
        raise OutputError(
            f"output: {place} cannot be read ({one_line(error)}): run again, which writes it anew"
        ) from error
