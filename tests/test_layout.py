"""Modules are small, and the documented guarantees name existing tests."""

import re
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests"
GUARANTEES = ROOT / "docs" / "reliability.md"


def lines_of_modules() -> dict[str, int]:
    package = ROOT / "fruits"
    return {
        path.relative_to(package).as_posix(): len(path.read_text().splitlines())
        for path in package.rglob("*.py")
        if path.stat().st_size
    }


def test_modules_are_short() -> None:
    lines = lines_of_modules()
    assert median(lines.values()) <= 130
    assert {name for name, count in lines.items() if count > 300} == set()


def named_tests() -> list[tuple[str, str]]:
    """File and test of each guarantee; ``::test`` belongs to the file before it."""
    found, file = [], ""
    for name in re.findall(r"`((?:\w+/test_\w+\.py)?(?:::test_\w+)?)`", GUARANTEES.read_text()):
        path, _, test = name.partition("::")
        file = path or file
        found.append((file, test))
    return [pair for pair in found if pair != ("", "")]


@pytest.mark.parametrize(("file", "test"), named_tests())
def test_every_guarantee_names_a_test_that_exists(file: str, test: str) -> None:
    assert f"def {test}" in (TESTS / file).read_text()


def test_every_guarantee_names_a_test() -> None:
    rows = re.findall(
        r"^\| (?!guarantee|images|-|[\d,]+ )(.+?) \| (.+) \|$", GUARANTEES.read_text(), re.M
    )
    assert len(rows) > 50
    assert [guarantee for guarantee, tests in rows if "test_" not in tests] == []
