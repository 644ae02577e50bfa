"""Stacks of CloudFormation: finds, creates, changes and deletes ours, and explains failures."""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError  # type: ignore[import-untyped]

from fruits.cloud.account import Account
from fruits.cloud.failures import aws_errors, line, of_resource, plain, printable
from fruits.cloud.templates import TEMPLATES, Summary, summarize_stack
from fruits.errors import CloudError

NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,127}")
# The tag with the name of the stack, which CloudFormation copies to all resources.
TAG = "fruits:stack"
POLL_SECONDS = 5.0
# The clocks of AWS and of this machine may differ by this much.
CLOCK_TOLERANCE = timedelta(minutes=2)
WORKING = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE")


@dataclass(frozen=True)
class Stack:
    """The description of a stack by CloudFormation.

    Attributes:
        name: The name from the user.
        id: The ARN, which identifies the stack even after its deletion.
        status: The status, such as ``CREATE_COMPLETE``.
        created: The time of the creation.
        parameters: The parameters by name.
        outputs: The outputs by name.
        tags: The tags by key.
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
        """The stack of an element of DescribeStacks."""
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
        """Whether ``fruits cloud launch`` created it: it has the tag with its own name."""
        return self.tags.get(TAG) == self.name

    def output(self, name: str, pattern: re.Pattern[str] | None = None) -> str:
        """The value of an output.

        Args:
            name: The name of the output.
            pattern: The pattern that the value must match.

        Raises:
            CloudError: The stack is not up, has no such output, or its value does not match.
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
            advice = "was it created from another template?"
            if name == "ClusterId" and self.outputs.get("Architecture") == "emr":
                advice = (
                    f"it has no cluster yet: fruits cloud launch emr --name {self.name} --wheels"
                )
            raise CloudError(f"stack {self.name}: wanted the output {name}; {advice}")
        if pattern and not pattern.fullmatch(value):
            raise CloudError(
                f"stack {self.name}: wanted an output {name} of the form {pattern.pattern}; got "
                f"{printable(repr(value))}; was it created from another template?"
            )
        return value


def find(account: Account, name: str) -> Stack | None:
    """The stack with that name or ARN; ``None`` if there is none."""
    try:
        with aws_errors(f"stack {name}"):
            answer = account.client("cloudformation").describe_stacks(StackName=name)
    except CloudError as error:
        # CloudFormation has no specific error code for this.
        if "does not exist" in str(error):
            return None
        raise
    return Stack.of(answer["Stacks"][0])


def require(account: Account, name: str) -> Stack:
    """The stack with that name or ARN.

    Raises:
        CloudError: There is none.
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
    """Returns a valid name of a stack.

    Raises:
        CloudError: The name is not valid.
    """
    if not NAME.fullmatch(name):
        raise CloudError(
            "name: wanted letters, digits and hyphens, starting with a letter; got "
            f"{printable(repr(name))}"
        )
    return name


def ours(account: Account) -> list[Stack]:
    """All stacks of this tool or of its templates, except deleted ones."""
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
    """Whether the template of a stack is one of this tool, by its metadata."""
    return summarize_stack(account, stack.id).architecture in TEMPLATES


def start(
    account: Account, name: str, body: str, given: Mapping[str, str], summary: Summary
) -> str | None:
    """Starts to create a stack, or to change the one with that name.

    Returns its ARN, or None if the stack has this template and these parameters already.

    Args:
        account: The account.
        name: The name of the stack.
        body: The text of the template.
        given: The values of parameters. Others keep their values or have their defaults.
        summary: The summary of the template.
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
        try:
            client.update_stack(**request)
        except ClientError as error:
            # CloudFormation has no specific error code for this.
            if "No updates are to be performed" in str(error):
                return None
            raise
    return existing.id


def events(account: Account, stack_id: str, since: datetime) -> list[dict[str, Any]]:
    """The events of a stack since some time, the latest first."""
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
    """Waits until a stack is created, changed or deleted.

    Args:
        account: The account.
        stack_id: The ARN of the stack.
        since: The start of the operation.
        progress: Called with the number of ready resources and the name of the resource that
            changed last.

    Raises:
        CloudError: The operation failed. The message has the reason of the first failed resource.
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
    """The reason of the first resource that failed, in one line."""
    for event in reversed(happened):
        reason = event.get("ResourceStatusReason", "")
        # Resources that are cancelled after the first failure are not the reason.
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
    """Starts to delete a stack, and returns the time."""
    begin = datetime.now(UTC)
    with aws_errors(f"stack {stack.name}"):
        account.client("cloudformation").delete_stack(StackName=stack.id)
    return begin


def resources(account: Account, stack: Stack) -> Iterator[tuple[str, str]]:
    """The type and the identifier of each resource of a stack."""
    with aws_errors(f"stack {stack.name}"):
        for item in account.pages(
            "cloudformation",
            "list_stack_resources",
            "StackResourceSummaries",
            StackName=stack.id,
        ):
            gone = item["ResourceStatus"] in ("DELETE_COMPLETE", "DELETE_SKIPPED")
            if item.get("PhysicalResourceId") and not gone:
                yield item["ResourceType"], item["PhysicalResourceId"]
