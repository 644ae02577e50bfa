import subprocess
import sys

import pytest

from fruits.plots.style import short


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mb\0", "a?[31mb?"),
        ("two\n lines", "two lines"),
        ("half \ud800", "half ?"),
        ("می‌خواهم 桃", "می‌خواهم 桃"),
    ],
)
def test_a_label_is_drawn_without_control_characters(text: str, shown: str) -> None:
    assert short(text, 40) == shown


PROGRAM = """
import numpy as np
from fruits import plots
points = np.random.default_rng(0).normal(size=(12, 2))
plots.scatter(points, ["桃\\x1b[31m", "\\ud800", "a"] * 4, np.ones(2)).savefig("a.png")
"""


def test_labels_that_the_font_cannot_write_raise_no_warning(tmp_path) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=tmp_path, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "a.png").exists()
