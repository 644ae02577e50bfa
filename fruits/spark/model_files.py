"""Writes the files of a saved Spark ML pipeline without Spark jobs.

Spark saves each stage by small jobs, which together take longer than the extraction of a small run.
The layout is that of Spark ML since version 2: one line of JSON for each stage, and a Parquet file
of one row for each fitted stage.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.ml import PipelineModel
from pyspark.ml.classification import LogisticRegressionModel
from pyspark.ml.feature import MinMaxScalerModel, PCAModel, StandardScalerModel, StringIndexerModel
from pyspark.ml.linalg import MatrixUDT, VectorUDT
from pyspark.ml.param import Params
from pyspark.ml.wrapper import JavaParams
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

from fruits.spark.ml_stages import BLOCK_BYTES, ImageFeaturizer

METADATA = "metadata/part-00000.txt"
PARQUET = "part-00000.snappy.parquet"

# The key of Spark's schema in Parquet files; Parquet itself has no vectors.
_SCHEMA = "org.apache.spark.sql.parquet.row.metadata"
_VERSION = "org.apache.spark.version"

# The type, nullability and value of each column, by Spark's name.
Columns = dict[str, tuple[DataType, bool, Any]]


def model_files(model: PipelineModel, version: str) -> Iterator[tuple[str, bytes]]:
    """The files that `model.save` would write, without checksums and ``_SUCCESS`` files.

    Args:
        model: A pipeline with at least one stage in Python, such as that of
            :func:`fruits.spark.models.pipeline_model`, and without nested pipelines.
        version: The version of Spark, which is part of the files.

    Yields:
        The name of each file, below the model's folder, and its content.
    """
    uids = {"stageUids": [stage.uid for stage in model.stages], "language": "Python"}
    yield METADATA, _metadata(model, version, uids)
    digits = len(str(len(model.stages)))
    for place, stage in enumerate(model.stages):
        folder = f"stages/{place:0{digits}}_{stage.uid}"
        yield f"{folder}/{METADATA}", _metadata(stage, version)
        if isinstance(stage, ImageFeaturizer):
            yield f"{folder}/graph/{PARQUET}", _graph(stage, version)
        elif learned := next((_LEARNED[kind] for kind in _LEARNED if type(stage) is kind), None):
            yield f"{folder}/data/{PARQUET}", _parquet(learned(stage), version)


def _metadata(stage: Any, version: str, values: dict[str, Any] | None = None) -> bytes:
    """A line of JSON with the class and the parameters of a stage."""
    content = {
        "class": _class_of(stage),
        "timestamp": int(time.time() * 1000),
        "sparkVersion": version,
        "uid": stage.uid,
        "paramMap": _by_name(stage._paramMap) if values is None else values,
        "defaultParamMap": _by_name(stage._defaultParamMap),
    }
    return (json.dumps(content, separators=(",", ":")) + "\n").encode()


def _class_of(stage: Params) -> str:
    if isinstance(stage, JavaParams):
        return str(stage._java_obj.getClass().getName())  # type: ignore[union-attr]
    return f"{type(stage).__module__}.{type(stage).__name__}"


def _by_name(values: dict[Any, Any]) -> dict[str, Any]:
    return {param.name: value for param, value in values.items()}


def _string_indexer(stage: Any) -> Columns:
    labels = ArrayType(ArrayType(StringType()))
    return {"labelsArray": (labels, True, [list(one) for one in stage.labelsArray])}


def _min_max(stage: Any) -> Columns:
    return _vectors(originalMin=stage.originalMin, originalMax=stage.originalMax)


def _standard(stage: Any) -> Columns:
    return _vectors(std=stage.std, mean=stage.mean)


def _pca(stage: Any) -> Columns:
    pc = (MatrixUDT(), True, stage.pc)
    return {"pc": pc} | _vectors(explainedVariance=stage.explainedVariance)


def _regression(stage: Any) -> Columns:
    return {
        "numClasses": (IntegerType(), False, stage.numClasses),
        "numFeatures": (IntegerType(), False, stage.numFeatures),
        **_vectors(interceptVector=stage.interceptVector),
        "coefficientMatrix": (MatrixUDT(), True, stage.coefficientMatrix),
        "isMultinomial": (BooleanType(), False, True),
    }


def _vectors(**vectors: Any) -> Columns:
    return {name: (VectorUDT(), True, vector) for name, vector in vectors.items()}


_LEARNED: dict[type, Callable[[Any], Columns]] = {
    StringIndexerModel: _string_indexer,
    MinMaxScalerModel: _min_max,
    StandardScalerModel: _standard,
    PCAModel: _pca,
    LogisticRegressionModel: _regression,
}


def _graph(stage: ImageFeaturizer, version: str) -> bytes:
    """The compiled graph in blocks, since Parquet is slow with rows of hundreds of megabytes."""
    assert stage.graph is not None
    data = stage.graph.to_bytes()
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
    with pq.ParquetWriter(buffer, table.schema, store_schema=False) as writer:
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
