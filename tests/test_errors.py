import io
from contextlib import redirect_stdout

from IPython.core.interactiveshell import InteractiveShell


def test_an_error_in_a_notebook_is_one_line() -> None:
    shell = InteractiveShell(colors="nocolor")
    shown = io.StringIO()
    with redirect_stdout(shown):
        result = shell.run_cell(
            "from fruits.runs.config import RunConfig\nRunConfig(images='in', output='', limit=3)"
        )
    assert result.error_in_exec is not None
    assert shown.getvalue().splitlines() == ["fruits: output: wanted a path or URI; got ''"]
