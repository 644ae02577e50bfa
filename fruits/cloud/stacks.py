"""Stacks of CloudFormation: which are ours; making, changing, waiting, deleting, failing."""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from fruits.cloud.account import Account
from fruits.cloud.failures import aws_errors, line, of_resource, plain, printable
from fruits.cloud.templates import TEMPLATES, Summary, summarize_stack
from fruits.errors import CloudError

NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,127}")
# The tag of each stack; CloudFormation copies it to all resources. Its value is the stack's name.
TAG = "fruits:stack"
POLL_SECONDS = 5.0
# The clocks of AWS and of this machine may differ by this much.
CLOCK_TOLERANCE = timedelta(minutes=2)
WORKING = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE")


@dataclass(frozen=True)
class Stack:
    """A stack as CloudFormation describes it.

    Attributes:
        name: as given by the user.
        id: its ARN, which identifies it even after it was deleted.
        status: such as ``CREATE_COMPLETE``.
        created: when.
        parameters: values by name.
        outputs: values by name.
        tags: values by key.
    """

    name: str
    id: str
    status: str
    created: datetime
    parameters: Mapping[str, str]
    outputs: Mapping[str, str]
    tags: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, description: Mapping[str, Any]) -> "Stack":
        """From an element of DescribeStacks."""
        return cls(
            description["StackName"],
            description["StackId"],
            description["StackStatus"],
            description["CreationTime"],
            {p["ParameterKey"]: p["ParameterValue"] for p in description.get("Parameters", ())},
            {o["OutputKey"]: o.get("OutputValue", "") for o in description.get("Outputs", ())},
            {tag["Key"]: tag["Value"] for tag in description.get("Tags", ())},
        )

    @property
    def is_tagged(self) -> bool:
        """Whether ``fruits cloud launch`` made it: it carries the tag with its own name."""
        return self.tags.get(TAG) == self.name

    def output(self, name: str, pattern: re.Pattern[str] | None = None) -> str:
        """The value of an output.

        Args:
            name: of the output.
            pattern: that the value must match.

        Raises:
            CloudError: when the stack is not up, has no such output, or its value does not match.
        """
        if self.status not in WORKING:
            raise CloudError(
                line(
                    f"stack {self.name}",
                    f"wanted a stack that is up; it is {self.status}",
                    self.status,
                    f"wait, or see why with fruits cloud status; fruits cloud terminate --name "
                    f"{self.name} removes it",
                )
            )
        value = self.outputs.get(name)
        if not value:
            advice = "was it made by another template?"
            if name == "ClusterId" and self.outputs.get("Architecture") == "emr":
                advice = (
                    f"it has no cluster yet: fruits cloud launch emr --name {self.name} --wheels"
                )
            raise CloudError(f"stack {self.name}: wanted the output {name}; {advice}")
        if pattern and not pattern.fullmatch(value):
            raise CloudError(
                f"stack {self.name}: wanted an output {name} of the form {pattern.pattern}; got "
                f"{printable(repr(value))}; was it made by another template?"
            )
        return value


def find(account: Account, name: str) -> Stack | None:
    """The stack with that name or ARN; ``None`` if there is none."""
    try:
        with aws_errors(f"stack {name}"):
            answer = account.client("cloudformation").describe_stacks(StackName=name)
    except CloudError as error:
        # CloudFormation has no error code of its own for this.
        if "does not exist" in str(error):
            return None
        raise
    return Stack.of(answer["Stacks"][0])


def require(account: Account, name: str) -> Stack:
    """The stack with that name or ARN.

    Raises:
        CloudError: when there is none.
    """
    stack = find(account, name)
    if stack is None:
        raise CloudError(
            line(
                f"stack {name}",
                f"there is none in {account.region}",
                "ValidationError",
                "look at fruits cloud status, and choose with --name and --region",
            )
        )
    return stack


def checked_name(name: str) -> str:
    """The name, if a stack can have it.

    Raises:
        CloudError: when it cannot.
    """
    if not NAME.fullmatch(name):
        raise CloudError(
            f"name: wanted letters, digits and hyphens, a letter first; got {printable(repr(name))}"
        )
    return name


def ours(account: Account) -> list[Stack]:
    """All stacks that this tool or one of its templates made, except deleted ones."""
    with aws_errors("stacks"):
        found = account.pages("cloudformation", "describe_stacks", "Stacks")
        stacks = [Stack.of(description) for description in found]
        return [
            stack
            for stack in stacks
            if stack.is_tagged
            or (stack.outputs.get("Architecture") in TEMPLATES and has_our_template(account, stack))
        ]


def has_our_template(account: Account, stack: Stack) -> bool:
    """Whether the template that a stack was made from is one of this tool, by its metadata."""
    return summarize_stack(account, stack.id).architecture in TEMPLATES


def start(
    account: Account, name: str, body: str, given: Mapping[str, str], summary: Summary
) -> str:
    """Starts to make a stack, or to change the one with that name; returns its ARN.

    Args:
        account: where.
        name: of the stack.
        body: of its template.
        given: values of parameters; the others keep theirs, or have their defaults.
        summary: of the template.
    """
    client = account.client("cloudformation")
    existing = find(account, name)
    request: dict[str, Any] = {
        "StackName": name,
        "TemplateBody": body,
        "Capabilities": ["CAPABILITY_IAM"],
        "Tags": [{"Key": TAG, "Value": name}],
        "Parameters": [
            {"ParameterKey": key, "ParameterValue": value} for key, value in given.items()
        ],
    }
    with aws_errors(f"stack {name}"):
        if existing is None:
            return str(client.create_stack(**request, OnFailure="ROLLBACK")["StackId"])
        request["Parameters"] += [
            {"ParameterKey": key, "UsePreviousValue": True}
            for key in summary.defaults
            if key in existing.parameters and key not in given
        ]
        client.update_stack(**request)
    return existing.id


def events(account: Account, stack_id: str, since: datetime) -> list[dict[str, Any]]:
    """The events of a stack since a time, the latest first."""
    found = []
    for event in account.pages(
        "cloudformation", "describe_stack_events", "StackEvents", StackName=stack_id
    ):
        if event["Timestamp"] < since - CLOCK_TOLERANCE:
            break
        found.append(event)
    return found


def wait(
    account: Account, stack_id: str, since: datetime, progress: Callable[[int, str], None]
) -> Stack:
    """Waits until a stack is made, changed or deleted.

    Args:
        account: where.
        stack_id: its ARN.
        since: when that began.
        progress: is called with the number of resources that are ready and the name of the one
            that changed last.

    Raises:
        CloudError: when it fails, with the reason of the first resource that did.
    """
    while True:
        with aws_errors("stack"):
            stack = require(account, stack_id)
            happened = events(account, stack_id, since)
        own = [e for e in happened if e["PhysicalResourceId"] != stack.id]
        ready = {e["LogicalResourceId"] for e in own if e["ResourceStatus"].endswith("_COMPLETE")}
        progress(len(ready), own[0]["LogicalResourceId"] if own else "")
        if not stack.status.endswith("_IN_PROGRESS"):
            break
        time.sleep(POLL_SECONDS)
    if "ROLLBACK" in stack.status or stack.status.endswith("FAILED"):
        raise CloudError(failure(stack, happened))
    return stack


def failure(stack: Stack, happened: list[dict[str, Any]]) -> str:
    """Why a stack failed, in one line: the reason of the first resource that did."""
    for event in reversed(happened):
        reason = event.get("ResourceStatusReason", "")
        # Resources that were being made when the first one failed are cancelled: not the reason.
        if event["ResourceStatus"].endswith("_FAILED") and "cancelled" not in reason.lower():
            what = f"{event['LogicalResourceId']} ({event['ResourceType']}): {plain(reason)}"
            break
    else:
        what, reason = "AWS gives no reason", ""
    code, advice = of_resource(reason, stack.status)
    command = f"fruits cloud terminate --name {stack.name}"
    if stack.status.startswith("UPDATE"):
        command = f"fruits cloud launch --name {stack.name} again"
    elif not stack.status.startswith("DELETE"):
        command += ", and launch again"
    return line(f"stack {stack.name} is {stack.status}", what, code, f"{advice}; then {command}")


def delete(account: Account, stack: Stack) -> datetime:
    """Starts to delete a stack; returns when it did."""
    begin = datetime.now(UTC)
    with aws_errors(f"stack {stack.name}"):
        account.client("cloudformation").delete_stack(StackName=stack.id)
    return begin


def resources(account: Account, stack: Stack) -> Iterator[tuple[str, str]]:
    """The type and the identifier of each resource that a stack has."""
    with aws_errors(f"stack {stack.name}"):
        for item in account.pages(
            *("cloudformation", "list_stack_resources", "StackResourceSummaries"),
            StackName=stack.id,
        ):
            gone = item["ResourceStatus"] in ("DELETE_COMPLETE", "DELETE_SKIPPED")
            if item.get("PhysicalResourceId") and not gone:
                yield item["ResourceType"], item["PhysicalResourceId"]
