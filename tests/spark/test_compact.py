import numpy as np
import pyarrow as pa
from pyspark.sql import SparkSession

from fruits.features.compaction import MOST_SMALL
from fruits.features.rows import FEATURES, lists
from fruits.features.writer import FeatureWriter
from fruits.spark import measure
from fruits.spark.compact import compact
from tests.spark.committed import commit


def test_joined_chunks_have_the_rows_and_the_moments_of_their_parts(
    spark: SparkSession, store: FeatureWriter
) -> None:
    x = np.random.default_rng(0).standard_normal((5, 3), np.float32)
    for number in range(MOST_SMALL):
        names = [f"file:/a/{number}-{row}.jpg" for row in range(5)]
        columns = {"path": names, "label": ["Fig"] * 5, "sha256": names, "features": lists(x)}
        columns |= {name: pa.nulls(5, FEATURES.field(name).type) for name in ("split", "modified")}
        columns["length"] = pa.array([1] * 5, pa.int64())
        commit(store, pa.table(columns).select(FEATURES.names).cast(FEATURES), 2)
    rows = measure.read_table(spark, store).toArrow().sort_by("path")
    moments = measure.moments(spark, store).to_bytes()
    assert compact(spark, store) == MOST_SMALL
    assert compact(spark, store) == 0
    assert measure.read_table(spark, store).toArrow().sort_by("path").equals(rows)
    assert len(store.files()) == 1
    assert measure.moments(spark, store).to_bytes() == moments
