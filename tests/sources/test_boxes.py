"""The paths of boxes of photographs."""

import pyarrow as pa
import pytest

from fruits.sources.boxes import box_of, fragment, photographs, with_boxes
from fruits.sources.spread import Spread


@pytest.mark.parametrize(
    "path", ["file:/a/b #1.jpg", "s3a://b/x.zip!/y.png", "shards/1.parquet#12"]
)
def test_path_and_box_can_be_recovered_from_the_path_of_a_box(path: str) -> None:
    box = (3, 0, 120, 99)
    whole = path + fragment(box)
    assert whole == f"{path}#xywh=3,0,117,99"
    assert (box_of(whole), box_of(path)) == (box, None)
    assert photographs(pa.array([whole, path])).to_pylist() == [path, path]


@pytest.mark.parametrize("path", ["a.jpg#xywh=1,2,3,4\n", "a.jpg#xywh=1,2,3,\u0664"])
def test_a_name_that_only_resembles_a_box_is_a_photograph(path: str) -> None:
    assert box_of(path) is None
    assert photographs(pa.array([path])).to_pylist() == [path]


def test_photographs_are_repeated_for_each_of_their_boxes() -> None:
    files = pa.table({"path": ["b.jpg", "a.jpg", "c.jpg"], "label": ["B", "A", "C"]})
    boxes = ["b.jpg#xywh=0,0,1,1", "gone.jpg#xywh=0,0,1,1", "a.jpg#xywh=5,5,9,9"]
    boxes += ["a.jpg#xywh=0,0,9,9", "a.jpg#xywh=0,0,9,9"]
    found = with_boxes(files, pa.table({"path": boxes}))
    assert found.to_pydict() == {
        "path": ["a.jpg#xywh=0,0,9,9", "a.jpg#xywh=5,5,9,9", "b.jpg#xywh=0,0,1,1"],
        "label": ["A", "A", "B"],
    }
    assert with_boxes(files, pa.table({"path": pa.array([], pa.string())})).num_rows == 0


def test_a_box_is_in_the_part_of_its_photograph() -> None:
    """The path of another file may sort between those of a photograph and its box."""
    photographs = ["a.jpg", "a.jpg copy.jpg", "b.jpg"]
    boxes = [path + fragment((0, 0, n, 5)) for path in photographs for n in (1, 20)]
    assert sorted([*photographs, *boxes])[:2] == photographs[:2]
    schema = pa.schema([("path", pa.string())])
    for bounds in (["a.jpg copy.jpg"], ["b.jpg"], ["a.jpg copy.jpg", "b.jpg"]):
        tables = []
        for paths in (photographs, boxes):
            spread = Spread(schema, bounds)
            spread.add(pa.table({"path": paths}))
            tables.append([part["path"].to_pylist() for part in spread.parts()])
        for own, theirs in zip(*tables, strict=True):
            assert {path.partition("#")[0] for path in theirs} == set(own)
