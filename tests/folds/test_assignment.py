"""The folds of many training images in parts are the same as those of all of them in memory."""

import numpy as np
import pyarrow as pa
import pytest

from fruits.folds.assignment import training_folds
from fruits.sources import parts
from fruits.sources.naming import Naming
from fruits.sources.parts import Parts
from fruits.sources.spread import gather


def drawn(named: bool = False) -> pa.Table:
    """Labels with folders, with films, with neither, and with one image; boxes of photographs."""
    rng = np.random.default_rng(4)
    paths = [f"file:/d/Fig/{film}{n}.jpg" for film in ("r_", "r2_", "") for n in range(15)]
    paths += [f"file:/d/Kiwi/{side}/{n}.jpg" for side in "ab" for n in range(20)]
    paths += [f"file:/d/Lime/IMG_{n}.jpg#xywh={b},0,9,9" for n in range(30) for b in (1, 2)]
    paths += ["file:/d/One/1.jpg"]
    labels = [path.split("/")[2] for path in paths]
    for place in rng.choice(len(paths), 20, replace=False):
        labels[place] = "Plum"
    columns = {"path": paths, "label": labels}
    if named:
        columns["group"] = [None if n % 7 == 0 else f"g{n % 11}" for n in range(len(paths))]
    return pa.table(columns).sort_by("path")


@pytest.mark.parametrize(
    ("rules", "named"),
    [
        (Naming(), False),
        (Naming(group=r"(?P<group>IMG|r2?_\d)"), False),
        (Naming(group=r"/(?P<group>r?)2?_?\d+\.jpg"), False),
        (Naming(), True),
    ],
)
def test_folds_of_parts_are_those_of_one_table(
    monkeypatch: pytest.MonkeyPatch, rules: Naming, named: bool
) -> None:
    images = drawn(named)
    [expected], about = training_folds(Parts.of(images), rules)
    monkeypatch.setattr(parts, "IN_MEMORY", 20)
    monkeypatch.setattr(parts, "PART_ROWS", 25)

    some = gather([images], images.schema)
    found, text = training_folds(some, rules)

    assert len(found.reads) > 3
    assert found.table().sort_by("path").to_pydict() == expected.sort_by("path").to_pydict()
    assert text == about
    assert (about["ungrouped"] > 0) is (named or rules.group is not None)
    assert len(set(expected["fold"].to_pylist())) == 6
