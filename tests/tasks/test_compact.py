import numpy as np
import pyarrow as pa
from committed import commit

from fruits.features.compaction import MOST_SMALL
from fruits.features.rows import FEATURES, lists
from fruits.features.writer import FeatureWriter
from fruits.tasks import measure_moments
from fruits.tasks.compact import compact
from fruits.tasks.workers import Workers


def test_joined_chunks_have_the_rows_and_the_moments_of_their_parts(
    workers: Workers, store: FeatureWriter
) -> None:
    x = np.random.default_rng(0).standard_normal((5, 3), np.float32)
    for number in range(MOST_SMALL):
        names = [f"file:/a/{number}-{row}.jpg" for row in range(5)]
        columns = {"path": names, "label": ["Fig"] * 5, "sha256": names, "features": lists(x)}
        columns |= {name: pa.nulls(5, FEATURES.field(name).type) for name in ("split", "modified")}
        columns["length"] = pa.array([1] * 5, pa.int64())
        commit(store, pa.table(columns).select(FEATURES.names).cast(FEATURES), 2)
    rows = store.dataset().to_table().sort_by("path")
    moments = measure_moments.moments(workers, store).to_bytes()
    assert compact(workers, store) == MOST_SMALL
    assert compact(workers, store) == 0
    assert store.dataset().to_table().sort_by("path").equals(rows)
    assert len(store.files()) == 1
    assert measure_moments.moments(workers, store).to_bytes() == moments
