"""Replaces responses of moto by others that moto cannot produce."""

from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError

from fruits.cli import main

Answers = dict[str, Any]


def answer(monkeypatch: pytest.MonkeyPatch, answers: Answers) -> list[tuple[str, dict[str, Any]]]:
    """Replaces the responses of some operations; returns a list to which all calls are added.

    A replacement is an exception, a value, or a function of the real call and the arguments.
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


def update_or_refuse(true: Callable[[], Any], arguments: dict[str, Any]) -> Any:
    """UpdateStack as in AWS, which refuses a request that changes nothing; moto accepts it.

    Otherwise, nothing is done, because moto cannot change a stack of the templates.
    """
    client, name = boto3.client("cloudformation"), arguments["StackName"]
    there = client.describe_stacks(StackName=name)["Stacks"][0]["Parameters"]
    values = {one["ParameterKey"]: one["ParameterValue"] for one in there}
    same = all(
        one.get("UsePreviousValue") or one["ParameterValue"] == values.get(one["ParameterKey"])
        for one in arguments["Parameters"]
    )
    template = client.get_template(StackName=name)["TemplateBody"]
    if same and template == arguments["TemplateBody"]:
        text = "No updates are to be performed."
        raise refusal("UpdateStack", "ValidationError", text)
    return {}


def refusal(operation: str, code: str, message: str = "refused", status: int = 400) -> ClientError:
    """The error that boto3 raises if AWS refuses a call."""
    return ClientError(
        {
            "Error": {"Code": code, "Message": message},
            "ResponseMetadata": {"HTTPStatusCode": status},
        },
        operation,
    )


def refused(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 2) -> str:
    """Runs a command that must end with this status and one line; returns the line."""
    capsys.readouterr()
    assert main(["cloud", *arguments]) == status
    # The lines before it may be a progress bar.
    lines = capsys.readouterr().err.splitlines()
    assert not [line for line in lines if line.startswith(("Traceback", "  File"))], lines
    assert [line for line in lines if line.startswith("fruits: ")] == lines[-1:]
    return lines[-1]


def output_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Runs a command that must succeed; returns its output."""
    capsys.readouterr()
    status = main(["cloud", *arguments])
    out, err = capsys.readouterr()
    assert status == 0, err
    return out
