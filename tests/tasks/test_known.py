from committed import commit, labelled_rows

from fruits.features.writer import FeatureWriter
from fruits.tasks.known import known_rows
from fruits.tasks.workers import Workers


def test_known_rows_have_their_label_and_their_split(
    workers: Workers, store: FeatureWriter
) -> None:
    rows = labelled_rows()
    assert known_rows(workers, store).num_rows == 0
    commit(store, rows, 2)

    known = known_rows(workers, store).sort_by("path")

    for name in ("path", "label", "split", "length", "modified"):
        assert known[name].to_pylist() == rows[name].to_pylist()
    assert known.schema.equals(
        known_rows(workers, FeatureWriter(store.root.extended("2"), store.lock)).schema
    )
