"""Commits the features of synthetic files without Spark, instead of a first run.

For ten million files, a first run takes half an hour on two cores, this ten minutes. Afterwards,
:mod:`benchmarks.scale` measures runs that reuse these features.
"""

import hashlib
import uuid

import numpy as np
import pyarrow as pa

from benchmarks.synthetic import DIMENSION, graph
from fruits.features.rows import FEATURES, REJECTED, lists, write_rows
from fruits.features.table import THUMBNAILS, THUMBNAILS_FOLDER
from fruits.features.writer import FeatureWriter
from fruits.runs.config import RunConfig
from fruits.runs.inputs import list_images
from fruits.runs.outputs import Outputs
from fruits.runs.progress import Stages
from fruits.storage.lock import exclusive

ROWS = 512
"""The rows of a file, as many as tasks write."""


def prepare(config: RunConfig, stages: Stages) -> None:
    """Commits features for all files of :mod:`benchmarks.synthetic`, which must be installed."""
    _, listing = list_images(config, stages)
    outputs = Outputs.of(config.output)
    with exclusive(f"file:{outputs.root.path}/_lock") as lock, stages("prepare"):
        outputs.prepare(lock, graph().identity, False)
        writer = FeatureWriter(outputs.root / "features", lock)
        for files in listing.chunks(config.chunk):
            names = [_write(writer, files.slice(n, ROWS)) for n in range(0, len(files), ROWS)]
            writer.commit(names, REJECTED.empty_table(), ["stub"])


def _write(writer: FeatureWriter, files: pa.Table) -> str:
    """Writes the rows of one task to a file, and returns the name of the file."""
    digests = [hashlib.sha256(path.encode()) for path in files["path"].to_pylist()]
    sha256 = pa.array([one.hexdigest() for one in digests])
    numbers = np.frombuffer(b"".join(one.digest() for one in digests), np.uint16)
    features = numbers.reshape(len(digests), DIMENSION).astype(np.float32) / 2**16
    made = {"sha256": sha256, "features": lists(features)}
    columns = [made[name] if name in made else files[name] for name in FEATURES.names]
    name = f"{uuid.uuid4().hex}.parquet"
    thumbnails = pa.table([sha256, pa.nulls(len(digests), pa.binary())], schema=THUMBNAILS)
    write_rows(writer.root / THUMBNAILS_FOLDER / name, thumbnails)
    write_rows(writer.staged / name, pa.table(columns, schema=FEATURES))
    return name
