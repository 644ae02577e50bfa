from fruits.tasks.path_ranges import Sorted


def test_a_sorted_file_lists_only_earlier_files_that_get_rows_from_it() -> None:
    one = Sorted.of("one", ["A", "B", "C", "D", "E", "X"], 4, ["B", "D", "F"])
    assert (one.rows, one.samples, one.counts) == (6, ["A", "E", "X"], {0: 3, 1: 2, 2: 1})
    assert Sorted.of("two", ["D", "E"], 4, ["B", "D", "F"]).counts == {1: 2}
    assert Sorted.of("three", ["A"], 4, []).counts == {0: 1}
