"""The column that :class:`fruits.spark.ml_stages.ImageFeaturizer` computes from contents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.functions import arrow_udf  # type: ignore[attr-defined]

from fruits.errors import InputError
from fruits.networks.graph import CompiledGraph
from fruits.networks.objects import Result, featurize, parts_of

FEATURIZED = "_featurized"
"""The name of the column, a struct of ``box``, ``features`` and ``error``."""

_DDL = "struct<box: string, features: array<float>, error: string>"
_ROW = pa.struct(
    [("box", pa.string()), ("features", pa.list_(pa.float32())), ("error", pa.string())]
)


def with_features(dataset: DataFrame, column: str, graph: CompiledGraph, strict: bool) -> DataFrame:
    """Adds the column :data:`FEATURIZED`; with a detector, a row for each box.

    Args:
        dataset: The image files.
        column: The name of the column with their contents, binary.
        graph: The backbone, with its detector if it has one.
        strict: Whether an image without features fails the job.
    """
    shared = dataset.sparkSession.sparkContext.broadcast(graph)
    several = graph.detector is not None

    @arrow_udf(f"array<{_DDL}>" if several else _DDL)  # type: ignore[untyped-decorator]
    def featurized(columns: Iterator[pa.Array]) -> Iterator[pa.Array]:
        for contents in columns:
            found = [_rows(one) for one in featurize(map(_content, contents), shared.value)]
            if strict:
                _require_features(found)
            rows = found if several else [one for (one,) in found]
            yield pa.array(rows, pa.list_(_ROW) if several else _ROW)

    # Spark would repeat a deterministic function, and so the CNN, for each use of its result.
    rows = dataset.withColumn(FEATURIZED, featurized.asNondeterministic()(column))
    return rows.withColumn(FEATURIZED, F.explode(FEATURIZED)) if several else rows


def _rows(result: Result) -> list[dict[str, Any]]:
    if isinstance(result, str):
        return [{"box": None, "features": None, "error": result}]
    return [
        {"box": part.fragment or None, "features": part.features, "error": None}
        for part in parts_of(result, None)
    ]


def _require_features(found: list[list[dict[str, Any]]]) -> None:
    errors = [row["error"] for rows in found for row in rows if row["error"]]
    if errors:
        raise InputError(
            f"an image has no features: {errors[0]}; "
            'handleInvalid "keep" returns such rows with the reason, "skip" drops them'
        )


def _content(value: pa.BinaryScalar) -> bytes | Exception:
    """The content of an image, without a copy; null means that the file could not be read."""
    return value.as_buffer() if value.is_valid else ValueError("the content is null")
