import io
from contextlib import redirect_stdout

import pytest
from IPython.core.interactiveshell import InteractiveShell

from fruits.errors import FruitsError


def test_an_error_in_a_notebook_is_one_line() -> None:
    shell = InteractiveShell(colors="nocolor")
    shown = io.StringIO()
    with redirect_stdout(shown):
        result = shell.run_cell(
            "from fruits.runs.config import RunConfig\nRunConfig(images='in', output='', limit=3)"
        )
    assert result.error_in_exec is not None
    assert shown.getvalue().splitlines() == ["fruits: output: wanted a path or URI; got ''"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[2Jb\x07", "a?[2Jb?"),
        ("two\r\nlines\tand  spaces", "two  lines and  spaces"),
        ("\u202eright to left\u2028", "?right to left?"),
        ("half a character \ud800 \udce9", "half a character ? ?"),
        ("Pêche 桃 🍑", "Pêche 桃 🍑"),
    ],
)
def test_names_in_an_error_cannot_control_the_terminal(text: str, shown: str) -> None:
    for kind in (FruitsError, *FruitsError.__subclasses__()):
        assert str(kind(text)) == shown
