"""Damaged archives raise an error in one line or yield reasons, but never wrong bytes."""

import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from forms import as_parquet, as_tar, as_zip, files_of

from fruits.errors import InputError
from fruits.sources.open_source import open_source
from fruits.sources.reading import contents_of

MAKERS: dict[str, Callable[[Path, Path], Path]] = {
    "stored.zip": lambda root, target: as_zip(root, target, zipfile.ZIP_STORED),
    "deflated.zip": as_zip,
    "a.tar": as_tar,
    "a.parquet": as_parquet,
}


@pytest.mark.parametrize("name", MAKERS)
def test_damaged_archives_raise_only_expected_errors(
    draw: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    root = draw({"Apple": 3, "Fig": 3})
    place = MAKERS[name](root, tmp_path / name)
    whole, good, chance = place.read_bytes(), set(files_of(root).values()), random.Random(0)
    rejected, refused = 0, list[str]()
    for _ in range(150):
        content = bytearray(whole)
        # Most bytes are images, so half of the damage goes to the headers at the end.
        start = chance.choice((0, len(whole) - min(1500, len(whole) // 2)))
        for _ in range(chance.choice((1, 1, 4, 40))):
            content[chance.randrange(start, len(whole))] = chance.randrange(256)
        place.write_bytes(
            content[: chance.choice((len(whole), len(whole), chance.randrange(len(whole))))]
        )
        source = open_source(str(place))
        try:
            images = source.found().images.table()
        except InputError as error:
            refused.append(str(error))
            continue
        contents = list(contents_of(images))
        assert len(contents) == images.num_rows
        rejected += sum(isinstance(one, OSError) for one in contents)
        if name.endswith(".zip"):  # Other formats have no checksum of the content.
            assert {one for one in contents if isinstance(one, bytes)} <= good
    assert len(refused) > 10
    assert not [line for line in refused if "\n" in line]
    assert rejected > 10 or not name.endswith(".zip")
