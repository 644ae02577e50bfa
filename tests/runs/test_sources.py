"""Whole runs on images that are not in a folder."""

from collections.abc import Callable
from pathlib import Path

import pytest
from forms import as_tar, as_zip

from fruits.errors import InputError
from fruits.runs.checks import require_most
from fruits.runs.config import RunConfig
from fruits.sources.open_source import open_source


@pytest.mark.parametrize("make", [as_zip, as_tar])
def test_images_that_were_packed_are_those_of_the_earlier_runs(
    draw: Callable[..., Path], tmp_path: Path, make: Callable[[Path, Path], Path]
) -> None:
    root, out = draw({"Apple": 6, "Fig": 6}), str(tmp_path / "out")
    known = open_source(str(root)).items().images
    place = str(make(root, tmp_path / f"a.{make.__name__[3:]}"))
    require_most(known, open_source(place).items().images, RunConfig(images=place, output=out))
    (root / "Apple").rename(tmp_path / "gone")
    place = str(make(root, tmp_path / f"b.{make.__name__[3:]}"))
    with pytest.raises(InputError, match=r"6 of 12 are not in .*/b\."):
        require_most(known, open_source(place).items().images, RunConfig(images=place, output=out))
