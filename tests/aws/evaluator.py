"""IAM's rules for one principal: calls that are not allowed are denied, and Deny has precedence.

It supports the elements that the templates use, and raises an error for all others.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any


def allows(
    policies: Iterable[Mapping[str, Any]],
    action: str,
    resource: str = "*",
    **context: str,
) -> bool:
    """Whether policies allow a call of a principal.

    Keys of the context are written with two underscores instead of the colon: ``s3__prefix``,
    ``aws__SecureTransport``; keys with other characters as ``**{"aws:RequestTag/a": "b"}``.
    """
    values = {key.replace("__", ":"): value for key, value in context.items()}
    effects = {
        statement["Effect"]
        for policy in policies
        for statement in listed(policy["Statement"])
        if applies(statement, action, resource, values)
    }
    return "Allow" in effects and "Deny" not in effects


def applies(
    statement: Mapping[str, Any], action: str, resource: str, context: Mapping[str, str]
) -> bool:
    unknown = statement.keys() - {"Sid", "Effect", "Principal", "Action", "Resource", "Condition"}
    assert not unknown, unknown
    return (
        # The names of calls are not case-sensitive; those of resources are.
        any(like(pattern.lower(), action.lower()) for pattern in listed(statement["Action"]))
        and any(like(pattern, resource) for pattern in listed(statement["Resource"]))
        and all(
            holds(operator, wanted, context.get(key))
            for operator, tests in statement.get("Condition", {}).items()
            for key, wanted in tests.items()
        )
    )


def holds(operator: str, wanted: Any, value: str | None) -> bool:
    """One test of a condition; it is false if the call does not have the key."""
    if value is None:
        return False
    if operator in ("StringLike", "ArnLike"):
        return any(like(pattern, value) for pattern in listed(wanted))
    if operator == "StringEquals":
        return value in listed(wanted)
    assert operator == "Bool", operator
    return value.lower() == str(wanted).lower()


def like(pattern: str, text: str) -> bool:
    """IAM's wildcards: * for any number of characters, ? for one."""
    parts = (".*" if c == "*" else "." if c == "?" else re.escape(c) for c in pattern)
    return re.fullmatch("".join(parts), text, re.DOTALL) is not None


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
