import numpy as np
import pyarrow as pa
import pytest

from fruits.quality import findings
from fruits.quality.findings import KINDS, SCHEMA, Finding, by_kind, counts_of, file_of
from fruits.quality.outliers import outliers


def test_every_kind_has_a_table_of_one_schema_in_the_order_given() -> None:
    far = [Finding("outlier", p, "Fig", None, None, None, None, 2.0, "far") for p in "ba"]
    tables, more = by_kind(far)
    assert more == {}
    assert [*tables] == [*KINDS]
    assert {table.schema for table in tables.values()} == {SCHEMA}
    assert tables["outlier"]["path"].to_pylist() == ["b", "a"]
    assert counts_of(tables) == {kind: 2 if kind == "outlier" else 0 for kind in KINDS}
    assert pa.concat_tables(tables.values()).num_rows == 2


def test_the_first_findings_are_listed_if_there_are_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(findings, "MOST_LISTED", 2)
    far = [Finding("outlier", p, None, None, None, None, None, 2.0, "far") for p in "cabde"]
    tables, more = by_kind(far)
    assert (tables["outlier"]["path"].to_pylist(), more) == (["c", "a"], {"outlier": 3})


def test_files_are_named_after_their_kinds() -> None:
    assert file_of("near-duplicate") == "quality/near_duplicate.parquet"
    assert file_of("split duplicate") == "quality/split_duplicate.parquet"


def test_outliers_are_beyond_the_threshold_and_the_farthest_comes_first() -> None:
    distances = np.array([1.0, 5.0, 2.0, 9.0])
    columns = ["a", "b", "c", "d"], ["Fig", "Fig", None, None], ["train", "test", None, None]
    found = outliers(*columns, distances, 2.0)
    assert [(one.path, one.label, one.split, one.score) for one in found] == [
        ("d", None, None, 4.5),
        ("b", "Fig", "test", 2.5),
    ]
    reason = "distance to the nearest label: 4.50 times the threshold, which 99% of"
    assert found[0].reason.startswith(reason)
    assert outliers(*columns, distances, np.inf) == []


def test_without_a_spread_of_the_known_images_there_are_no_outliers() -> None:
    columns = ["a", "b"], ["Fig", "Fig"], [None, None]
    assert outliers(*columns, np.array([0.0, 1e-9]), 0.0) == []
