"""Answers that moto cannot be brought to give, in place of its own."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError

from fruits.cli import main

Answers = dict[str, Any]


def answer(monkeypatch: pytest.MonkeyPatch, answers: Answers) -> list[tuple[str, dict[str, Any]]]:
    """Replaces the answers of some operations; returns the calls of all, as they come.

    An answer is an exception, a value, or a function of the true answer and the arguments.
    """
    true: Callable[..., Any] = BaseClient._make_api_call
    calls: list[tuple[str, dict[str, Any]]] = []

    def call(client: Any, operation: str, arguments: dict[str, Any]) -> Any:
        calls.append((operation, arguments))
        if operation not in answers:
            return true(client, operation, arguments)
        given = answers[operation]
        if isinstance(given, Exception):
            raise given
        if callable(given):
            return given(lambda: true(client, operation, arguments), arguments)
        return given

    monkeypatch.setattr(BaseClient, "_make_api_call", call)
    return calls


def refusal(operation: str, code: str, message: str = "refused", status: int = 400) -> ClientError:
    """What boto3 raises when AWS refuses."""
    return ClientError(
        {
            "Error": {"Code": code, "Message": message},
            "ResponseMetadata": {"HTTPStatusCode": status},
        },
        operation,
    )


def refused(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 2) -> str:
    """The one line with which a command ends that must end with this status."""
    capsys.readouterr()
    assert main(["cloud", *arguments]) == status
    # What is above may be a bar.
    lines = capsys.readouterr().err.splitlines()
    assert not [line for line in lines if line.startswith(("Traceback", "  File"))], lines
    assert [line for line in lines if line.startswith("fruits: ")] == lines[-1:]
    return lines[-1]


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command prints that must succeed."""
    capsys.readouterr()
    status = main(["cloud", *arguments])
    out, err = capsys.readouterr()
    assert status == 0, err
    return out
