"""The links and commands in the documentation exist."""

import re
import subprocess
from pathlib import Path

import pytest

from fruits.cli.commands import make_parser

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_existing_files(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "docs/tutorial.md"])
def test_make_targets_that_are_named_exist(name: str) -> None:
    targets = set(re.findall(r"^([\w.-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z][\w.-]*)", (ROOT / name).read_text(), re.MULTILINE))
    assert named
    assert named <= targets


def test_contributing_names_each_package_and_only_paths_that_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    listed = re.search(r"\| package \|.*\n\|-.*\n((?:\|.*\n)+)", text)
    assert listed
    rows = [line.split("|")[1] for line in listed[1].splitlines()]
    named = re.findall(r"`(\w+)`", " ".join(rows))
    assert sorted(named) == sorted(file.parent.name for file in ROOT.glob("fruits/*/__init__.py"))
    paths = re.findall(r"`((?:fruits|tests|docs|deploy|benchmarks)/[^`< ]*)`", text)
    assert [path for path in paths if not list(ROOT.glob(path))] == []


@pytest.mark.parametrize("name", ["README.md", "docs/tutorial.md"])
def test_commands_in_the_documentation_are_valid(name: str) -> None:
    lines = re.findall(r"^\.venv/bin/fruits (.*)$", (ROOT / name).read_text(), re.MULTILINE)
    assert lines
    for line in lines:
        command, _ = make_parser().parse(line.split())
        assert callable(command)


def test_each_page_is_in_the_index() -> None:
    index = (ROOT / "docs/README.md").read_text()
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert [page for page in pages if f"]({page})" not in index] == []


def test_no_page_names_this_machine() -> None:
    tracked = subprocess.run(
        ["git", "grep", "-lE", "/work/(main|wt|shared)", "--", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    ).stdout
    assert tracked == ""


def test_each_promise_names_tests_that_exist() -> None:
    tests = {
        path.relative_to(ROOT).as_posix(): path.read_text()
        for path in (ROOT / "tests").rglob("test_*.py")
    }

    def missing(file: str, test: str) -> bool:
        homes = [text for name, text in tests.items() if f"/{name}".endswith(f"/{file}")]
        return not any(re.search(rf"def {test}\b", text) for text in homes)

    named, wrong = 0, []
    for line in (ROOT / "docs/reliability.md").read_text().splitlines():
        file = ""
        # "::test" alone belongs to the file that is named before it in the same line.
        for found, test in re.findall(r"`([\w/]*\.py)?::(\w+)", line):
            file = found or file
            named += 1
            if missing(file, test):
                wrong.append(f"{file}::{test}")
    assert named > 50
    assert wrong == []
