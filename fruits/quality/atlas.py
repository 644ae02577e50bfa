"""A map of the images as one table for Embedding Atlas.

Formats: https://apple.github.io/embedding-atlas/tool.html and data-formats.html.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fruits.features.digest_keys import digest_keys, is_in
from fruits.features.rows import lists
from fruits.features.table import THUMBNAILS
from fruits.quality.atlas_neighbours import nearest_rows

ATLAS = pa.schema(
    [
        ("path", pa.string()),
        ("label", pa.string()),
        ("split", pa.string()),
        ("predicted", pa.string()),
        ("confidence", pa.float64()),
        ("x", pa.float32()),
        ("y", pa.float32()),
        (
            "neighbors",
            pa.struct([("ids", pa.list_(pa.int64())), ("distances", pa.list_(pa.float64()))]),
        ),
        ("thumbnail", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
    ]
)
"""x and y are the first two components; the ids of neighbours are row numbers from 0."""


def atlas_table(
    images: pa.Table,
    components: NDArray[np.float32],
    predictions: pa.Table | None,
    thumbnails: Iterable[pa.RecordBatch],
) -> pa.Table:
    """Builds the table.

    Args:
        images: The n images: path, label, split and sha256.
        components: The components of these images, (n, k) float32.
        predictions: The path, predicted label and confidence of these or more images; None without
            a classifier.
        thumbnails: Batches of :data:`fruits.features.table.THUMBNAILS`.

    Returns:
        A table of :data:`ATLAS` in the order of the images. Missing thumbnails are null.
    """
    columns = {name: images[name] for name in ("path", "label", "split")}
    if predictions is not None:
        found = predictions.take(pc.index_in(images["path"], predictions["path"]))
        columns |= {name: found[name] for name in ("predicted", "confidence")}
    else:
        columns |= {name: pa.nulls(len(images)) for name in ("predicted", "confidence")}
    ids, distances = nearest_rows(components)
    columns |= {
        "x": components[:, 0],
        "y": components[:, 1] if components.shape[1] > 1 else np.zeros(len(images), np.float32),
        "neighbors": pa.StructArray.from_arrays(
            [lists(ids), lists(distances)], ["ids", "distances"]
        ),
        "thumbnail": _pictures(images["sha256"].combine_chunks(), thumbnails),
    }
    arrays = [pa.chunked_array(_chunks(columns[field.name])).cast(field.type) for field in ATLAS]
    return pa.Table.from_arrays(arrays, schema=ATLAS)


def _chunks(column: pa.Array | pa.ChunkedArray | NDArray[np.float32]) -> list[pa.Array]:
    return column.chunks if isinstance(column, pa.ChunkedArray) else [pa.array(column)]


def _pictures(digests: pa.Array, thumbnails: Iterable[pa.RecordBatch]) -> pa.StructArray:
    """The thumbnail of each image, in the format of images in Hugging Face's datasets."""
    # Not by a filter of Arrow, which would hash all digests again for each file.
    keys = digest_keys([digests])
    found = (batch.filter(pa.array(is_in(keys, batch["sha256"]))) for batch in thumbnails)
    known = pa.Table.from_batches(found, THUMBNAILS).combine_chunks()
    pictures = known["thumbnail"].take(pc.index_in(digests, known["sha256"]))
    names = pc.binary_join_element_wise(digests, ".jpg", "")
    content = pa.concat_arrays(pictures.chunks) if pictures.num_chunks else pa.nulls(0, pa.binary())
    return pa.StructArray.from_arrays([content, names], ["bytes", "path"], mask=pc.is_null(content))
