"""Runs the examples of docs/api.md without changes, in order."""

import re
from pathlib import Path

import pytest

import fruits
from fruits.sample import draw_sample

PAGE = Path(__file__).parent.parent / "docs/api.md"


@pytest.mark.spark
def test_the_examples_of_the_page_run_and_use_each_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    draw_sample("data/sample", classes=3, per_class=8)
    examples = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    names: dict[str, object] = {}
    for example in examples:
        exec(compile(example, str(PAGE), "exec"), names)

    out = capsys.readouterr().out
    assert "33 images: 33 extracted" in out
    assert "'found': 33" in out
    assert "(33, 1280) float32" in out
    assert "data/sample/Training/" in out  # the neighbour of a prediction
    assert "scaler: wanted one of minmax, standard, none; got 'robust'" in out
    assert fruits.__version__ in out

    assert all(name in PAGE.read_text() for name in fruits.__all__)
