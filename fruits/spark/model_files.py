"""Writes the files of a saved Spark ML pipeline without Spark and without Java.

Spark saves each stage by small jobs, which need a session and together take longer than the
extraction of a small run. The layout is that of Spark ML since version 2: one line of JSON for each
stage, and a Parquet file of one row for each fitted stage.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyspark
from pyspark.ml.linalg import MatrixUDT, VectorUDT
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    DataType,
    IntegerType,
    StringType,
    StructField,
    StructType,
)

from fruits.networks.graph import CompiledGraph
from fruits.spark.ml_stages import BLOCK_BYTES
from fruits.spark.saved_stage import Columns, SavedStage, new_uid

METADATA = "metadata/part-00000.txt"
PARQUET = "part-00000.snappy.parquet"

# The key of Spark's schema in Parquet files; Parquet itself has no vectors.
_SCHEMA = "org.apache.spark.sql.parquet.row.metadata"
_VERSION = "org.apache.spark.version"


def model_files(
    stages: Sequence[SavedStage], version: str = pyspark.__version__
) -> Iterator[tuple[str, bytes]]:
    """The files that Spark writes for a `PipelineModel`, without checksums and ``_SUCCESS`` files.

    Args:
        stages: The stages, such as those of :func:`fruits.spark.models.pipeline_stages`.
        version: The version of Spark, which is part of the files. That of PySpark is enough: a
            platform may have other suffixes (``4.1.0-amzn-1`` and ``4.1.0+amzn.1``), but Spark uses
            only the numbers.

    Yields:
        The name of each file, below the model's folder, and its content.
    """
    uids = {"stageUids": [stage.uid for stage in stages], "language": "Python"}
    kind = "pyspark.ml.pipeline.PipelineModel"
    yield METADATA, _metadata(SavedStage(kind, new_uid("PipelineModel"), uids, {}), version)
    digits = len(str(len(stages)))
    for place, stage in enumerate(stages):
        folder = f"stages/{place:0{digits}}_{stage.uid}"
        yield f"{folder}/{METADATA}", _metadata(stage, version)
        if stage.graph is not None:
            yield f"{folder}/graph/{PARQUET}", _graph(stage.graph, version)
        if stage.learned:
            yield f"{folder}/data/{PARQUET}", _parquet(stage.learned, version)


def _metadata(stage: SavedStage, version: str) -> bytes:
    """A line of JSON with the class and the parameters of a stage."""
    content = {
        "class": stage.class_name,
        "timestamp": int(time.time() * 1000),
        "sparkVersion": version,
        "uid": stage.uid,
        "paramMap": stage.params,
        "defaultParamMap": stage.defaults,
    }
    return (json.dumps(content, separators=(",", ":")) + "\n").encode()


def _graph(graph: CompiledGraph, version: str) -> bytes:
    """The compiled graph in blocks, since Parquet is slow with rows of hundreds of megabytes."""
    data = graph.to_bytes()
    blocks = [data[start : start + BLOCK_BYTES] for start in range(0, len(data), BLOCK_BYTES)]
    types = {"number": IntegerType(), "block": BinaryType()}
    columns = {"number": pa.array(range(len(blocks)), pa.int32()), "block": pa.array(blocks)}
    schema = StructType([StructField(name, kind) for name, kind in types.items()])
    return _file(pa.table(columns), schema, version)


def _parquet(columns: Columns, version: str) -> bytes:
    """A table of one row."""
    fields, arrays = [], []
    for name, (kind, nullable, value) in columns.items():
        fields.append(pa.field(name, _arrow(kind), nullable=nullable))
        arrays.append(_array(kind, value))
    schema = StructType([StructField(n, k, nullable) for n, (k, nullable, _) in columns.items()])
    return _file(pa.table(arrays, schema=pa.schema(fields)), schema, version)


def _file(table: pa.Table, schema: StructType, version: str) -> bytes:
    buffer = io.BytesIO()
    # No value is there twice, so a dictionary of a million labels would only take memory.
    with pq.ParquetWriter(buffer, table.schema, store_schema=False, use_dictionary=False) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({_SCHEMA: schema.json(), _VERSION: version})
    return buffer.getvalue()


def _arrow(kind: DataType) -> pa.DataType:
    if isinstance(kind, VectorUDT):
        return _VECTOR
    if isinstance(kind, MatrixUDT):
        return _MATRIX
    if isinstance(kind, ArrayType):
        return pa.list_(pa.field("element", _arrow(kind.elementType)))
    return _PLAIN[type(kind)]


def _array(kind: DataType, value: Any) -> pa.Array:
    if isinstance(kind, VectorUDT):
        return pa.array([_dense(_VECTOR, values=value.toArray())], _VECTOR)
    if isinstance(kind, MatrixUDT):
        size = {"numRows": value.numRows, "numCols": value.numCols}
        values = np.ravel(value.toArray(), order="C" if value.isTransposed else "F")
        row = _dense(_MATRIX, values=values, isTransposed=bool(value.isTransposed), **size)
        return pa.array([row], _MATRIX)
    return pa.array([value], _arrow(kind))


def _dense(kind: pa.StructType, **fields: Any) -> dict[str, Any]:
    """A dense vector or matrix; the fields of sparse ones are null."""
    return dict.fromkeys((field.name for field in kind), None) | {"type": 1} | fields


def _numbers(kind: pa.DataType) -> pa.DataType:
    return pa.list_(pa.field("element", kind, nullable=False))


_PLAIN: dict[type[DataType], pa.DataType] = {
    IntegerType: pa.int32(),
    BooleanType: pa.bool_(),
    StringType: pa.string(),
}

# The layout of Spark ML's VectorUDT and MatrixUDT.
_VECTOR = pa.struct(
    [
        pa.field("type", pa.int8(), nullable=False),
        pa.field("size", pa.int32()),
        pa.field("indices", _numbers(pa.int32())),
        pa.field("values", _numbers(pa.float64())),
    ]
)
_MATRIX = pa.struct(
    [
        pa.field("type", pa.int8(), nullable=False),
        pa.field("numRows", pa.int32(), nullable=False),
        pa.field("numCols", pa.int32(), nullable=False),
        pa.field("colPtrs", _numbers(pa.int32())),
        pa.field("rowIndices", _numbers(pa.int32())),
        pa.field("values", _numbers(pa.float64())),
        pa.field("isTransposed", pa.bool_(), nullable=False),
    ]
)
