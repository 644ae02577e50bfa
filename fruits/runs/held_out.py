"""The predictions of held-out images, saved with the model for later reviews.

They are a Parquet table next to the files of :mod:`fruits.runs.basis`. The classifier of each
prediction was not fitted to the image; the table ``predictions`` has no such predictions.
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
from fruits.storage.parquet import parquet_table

HELD_OUT_FILE = "model/_held_out.parquet"

# Attributes of Predictions with one number per image, and with several.
_NUMBERS = ("predicted", "confidence", "distance", "unknown", "likelihood")
_ROWS = ("top", "top_probability")


def held_out_bytes(held_out: HeldOut) -> bytes:
    """The content of :data:`HELD_OUT_FILE`."""
    predictions = held_out.predictions
    labels = pa.array(held_out.labels, pa.string())
    columns = {"path": pa.array(held_out.paths, pa.string()), "label": labels}
    columns |= {name: pa.array(getattr(predictions, name)) for name in _NUMBERS}
    columns |= {name: lists(np.ascontiguousarray(getattr(predictions, name))) for name in _ROWS}
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, use_dictionary=["label", "predicted"])
    return buffer.getvalue()


def read_held_out(output: Location) -> HeldOut | None:
    """Reads the predictions of held-out images; None if there are none.

    Args:
        output: The folder of the finished run.

    Raises:
        OutputError: The file is damaged or cannot be read.
        StorageError: The store cannot be used.
    """
    place = output / HELD_OUT_FILE
    try:
        with store_errors(output.uri):
            content = place.filesystem.cat_file(place.path)
        table = parquet_table(content).combine_chunks()
        columns: dict[str, Any] = {name: table[name].to_numpy() for name in _NUMBERS}
        columns |= {name: matrix(table[name].combine_chunks()) for name in _ROWS}
        paths, labels = table["path"].to_pylist(), table["label"].to_pylist()
        return HeldOut(paths, labels, Predictions(**columns))
    except FileNotFoundError:
        return None
    except (OSError, pa.ArrowException, KeyError) as error:
        raise OutputError(
            f"output: {place} cannot be read ({one_line(error)}): run again to write it again"
        ) from error
