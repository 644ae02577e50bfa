"""The options of ``fruits serve``, and the environment variables that set them."""

from typing import Any

import pytest

from fruits.cli.commands import make_parser
from fruits.serve.settings import Settings


def parsed(*arguments: str) -> dict[str, Any]:
    return make_parser().parse(["serve", *arguments])[1]


def test_the_options_have_the_defaults_of_the_settings() -> None:
    assert Settings(**parsed("--model", "out")) == Settings("out")


def test_an_environment_variable_sets_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRUITS_SERVE_MODEL", "out")
    monkeypatch.setenv("FRUITS_SERVE_PORT", "9000")
    monkeypatch.setenv("FRUITS_SERVE_IMAGE_SECONDS", "20")
    monkeypatch.setenv("FRUITS_SERVE_KEEP_UPLOADS", "uploads")
    assert Settings(**parsed()) == Settings(
        "out", port=9000, image_seconds=20.0, keep_uploads="uploads"
    )


def test_the_command_line_overrides_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRUITS_SERVE_PORT", "9000")
    monkeypatch.setenv("FRUITS_SERVE_PUBLIC", "true")
    options = parsed("--model", "out", "--port", "7000", "--no-public")
    assert (options["port"], options["public"]) == (7000, False)


@pytest.mark.parametrize(
    ("text", "value"), [("1", True), ("true", True), ("0", False), ("false", False), ("", False)]
)
def test_a_variable_turns_a_switch_on_or_off(
    text: str, value: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRUITS_SERVE_PUBLIC", text)
    assert parsed("--model", "out")["public"] is value


def test_a_variable_with_an_invalid_value_is_reported_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FRUITS_SERVE_PORT", "http")
    with pytest.raises(SystemExit) as stop:
        parsed("--model", "out")
    assert stop.value.code == 2
    got = "argument --port: wanted a whole number; got 'http'"
    assert capsys.readouterr().err == f"fruits serve: {got}; see fruits serve --help\n"
