"""An option is declared once, and command line, notebook and README match the declaration."""

import re
from dataclasses import MISSING, fields
from pathlib import Path

import nbformat
import pytest

from fruits.options import Option, number, options
from fruits.runs.config import RunConfig
from fruits.serve.settings import Settings

ROOT = Path(__file__).parents[1]
OPTIONS = options(RunConfig)


def row(option: Option) -> str:
    """The line of an option in the table of the README."""
    default = option.default
    shown = "" if default is MISSING or default is None else f"`{default}`"
    flag = option.flag
    if default is True:
        flag, shown = f"--no-{option.name.replace('_', '-')}", ""
        return f"| `{flag}` | {shown} | do not {option.help.removeprefix('also ')} |"
    if default is False:
        shown = ""
    text = option.help
    if option.choices:
        text += ": " + ", ".join(f"`{choice}`" for choice in option.choices)
    return f"| `{flag}` | {shown} | {text} |"


@pytest.mark.parametrize("config", [RunConfig, Settings])
def test_each_field_is_an_option_with_one_line_of_help(config: type) -> None:
    assert [option.name for option in options(config)] == [field.name for field in fields(config)]
    for option in options(config):
        assert 10 < len(option.help) < 100
        assert "\n" not in option.help
        assert not option.help.endswith(".")


@pytest.mark.parametrize(
    "option", [*OPTIONS, *options(Settings)], ids=lambda option: str(option.name)
)
def test_a_default_is_one_of_the_choices_and_of_the_type(option: Option) -> None:
    if option.choices:
        assert option.default in option.choices
    if option.default not in (MISSING, None):
        assert type(option.parse(str(option.default))) is type(option.default)


@pytest.mark.parametrize(
    ("text", "value"), [("600", 600), ("0.97", 0.97), ("1", 1), ("1.0", 1.0), ("1e-3", 0.001)]
)
def test_a_whole_number_is_a_count_and_anything_else_a_share(text: str, value: float) -> None:
    assert number(text) == value
    assert type(number(text)) is type(value)


def test_the_readme_lists_each_option_as_it_is_declared() -> None:
    text = (ROOT / "README.md").read_text()
    listed = re.findall(r"^\| `--[a-z-]+` \|.*\|$", text, re.MULTILINE)
    wanted = [row(option) for option in OPTIONS]
    assert listed == wanted, "README.md wants these lines:\n" + "\n".join(wanted)


def test_the_notebook_explains_each_option_in_the_same_words() -> None:
    notebook = nbformat.read(ROOT / "notebooks/fruits_pca.ipynb", as_version=4)
    (cell,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    comments = dict(re.findall(r"^(\w+) = .*?  # (.*)$", cell.source, re.MULTILINE))
    wanted = {o.name: explained(o) for o in OPTIONS}
    assert comments == wanted


def explained(option: Option) -> str:
    """The comment in the notebook, which also lists the choices if there are only a few."""
    few = option.choices if option.choices and len(option.choices) <= 4 else ()
    return option.help + (": " + ", ".join(few) if few else "")


def test_the_notebook_passes_each_option_on() -> None:
    notebook = nbformat.read(ROOT / "notebooks/fruits_pca.ipynb", as_version=4)
    source = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    call = re.search(r"RunConfig\((.*?)\)", source, re.DOTALL)
    assert call is not None
    passed = re.findall(r"(\w+)=(\w+)", call[1])
    assert passed == [(option.name, option.name) for option in OPTIONS]
