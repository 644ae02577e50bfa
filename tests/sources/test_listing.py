import pyarrow as pa
import pytest

from fruits.sources.listing import LISTING, anti_join, in_sorted, last_of_each, semi_join

OLD, NEW, OTHER = ("file:/a.jpg", 10), ("file:/a.jpg", 11), ("file:/b.jpg", 10)


def files(*identities: tuple[str, int]) -> pa.Table:
    """Files with these paths and lengths; the label is the number of the row."""
    columns = {
        "path": [path for path, _ in identities],
        "label": [str(number) for number in range(len(identities))],
        "split": [None] * len(identities),
        "length": [length for _, length in identities],
        "modified": [0] * len(identities),
    }
    return pa.table(columns, LISTING)


def rows_of(table: pa.Table) -> list[str]:
    found: list[str] = table["label"].to_pylist()
    return found


@pytest.mark.parametrize(
    ("others", "among"),
    [
        ([], []),
        ([NEW], ["2"]),
        ([OLD], ["0", "3"]),
        ([OTHER, NEW], ["1", "2"]),
        ([OLD, NEW, OTHER], ["0", "1", "2", "3"]),
    ],
)
def test_versions_of_a_file_are_different_files(
    others: list[tuple[str, int]], among: list[str]
) -> None:
    table = files(OLD, OTHER, NEW, OLD)
    assert rows_of(semi_join(table, files(*others))) == among
    left = [row for row in ("0", "1", "2", "3") if row not in among]
    assert rows_of(anti_join(table, files(*others))) == left


def test_the_last_of_equal_rows_stays() -> None:
    assert rows_of(last_of_each(files(OLD, OTHER, NEW, OLD, OTHER))) == ["2", "3", "4"]
    assert rows_of(last_of_each(files())) == []


@pytest.mark.parametrize("wanted", [[], ["b"], ["a", "b", "é", "\U0001f600"], ["0", "zz"]])
def test_paths_are_looked_up_among_sorted_ones(wanted: list[str]) -> None:
    for paths in ([], ["b"], ["é", "a", "c"], ["\U0001f600", "zz", "0", "b"], ["zzz"]):
        found = in_sorted(pa.array(paths, pa.string()), pa.chunked_array([wanted], pa.string()))
        assert found.to_pylist() == [path in wanted for path in paths]
