"""Stacks of CloudFormation: their templates, what they will hold, their life and their failures."""

import sysconfig
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fruits
from fruits.cloud.account import Account
from fruits.cloud.failures import aws_errors, line, of_resource, plain
from fruits.errors import CloudError

TEMPLATES = {"single": "ec2-single.yaml", "cluster": "ec2-cluster.yaml", "emr": "emr.yaml"}
# On each stack; CloudFormation hands it on to what the stack makes. Its value is the stack's name.
TAG = "fruits:stack"
MOST_BYTES = 51_200
POLL_SECONDS = 5.0
# Clocks of AWS and of this machine differ.
CLOCKS = timedelta(minutes=2)
WORKING = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE")


@dataclass(frozen=True)
class Stack:
    """A stack as CloudFormation describes it.

    Attributes:
        name: and
        id: which names it even when it is deleted.
        status: such as ``CREATE_COMPLETE``.
        created: when.
        parameters: and
        outputs: by name.
        tags: by key.
    """

    name: str
    id: str
    status: str
    created: datetime
    parameters: Mapping[str, str]
    outputs: Mapping[str, str]
    tags: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> "Stack":
        """From an element of DescribeStacks."""
        return cls(
            told["StackName"],
            told["StackId"],
            told["StackStatus"],
            told["CreationTime"],
            {p["ParameterKey"]: p["ParameterValue"] for p in told.get("Parameters", ())},
            {o["OutputKey"]: o.get("OutputValue", "") for o in told.get("Outputs", ())},
            {tag["Key"]: tag["Value"] for tag in told.get("Tags", ())},
        )

    @property
    def is_ours(self) -> bool:
        """Whether this tool made it, or one of its templates."""
        return TAG in self.tags or self.outputs.get("Architecture") in TEMPLATES

    def output(self, name: str) -> str:
        """An output.

        Raises:
            CloudError: when the stack is not up, or has none of that name.
        """
        if self.status not in WORKING:
            raise CloudError(
                line(
                    f"stack {self.name}",
                    f"wanted one that is up; it is {self.status}",
                    self.status,
                    f"wait, or see why with fruits cloud status; fruits cloud terminate --name "
                    f"{self.name} removes it",
                )
            )
        if not self.outputs.get(name):
            advice = "was it made by another template?"
            if name == "ClusterId" and self.outputs.get("Architecture") == "emr":
                advice = (
                    f"it has no cluster yet: fruits cloud launch emr --name {self.name} --wheels"
                )
            raise CloudError(f"stack {self.name}: wanted the output {name}; {advice}")
        return self.outputs[name]


def find(account: Account, name: str) -> Stack | None:
    """The stack of that name, or with that identity; ``None`` if there is none."""
    try:
        with aws_errors(f"stack {name}"):
            told = account.client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]
    except CloudError as error:
        # CloudFormation has no code of its own for that.
        if "does not exist" in str(error):
            return None
        raise
    return Stack.of(told)


def require(account: Account, name: str) -> Stack:
    """The stack of that name.

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
                "see fruits cloud status; --name and --region say which",
            )
        )
    return stack


def ours(account: Account) -> list[Stack]:
    """All stacks of this tool that are not deleted."""
    with aws_errors("stacks"):
        told = account.pages("cloudformation", "describe_stacks", "Stacks")
        return [stack for stack in map(Stack.of, told) if stack.is_ours]


def template(architecture: str, file: str | None = None) -> str:
    """The text of a template.

    Args:
        architecture: a key of :data:`TEMPLATES`.
        file: its path, or ``None`` for the one that comes with the package.

    Raises:
        CloudError: when it is not there, or too long.
    """
    path = Path(file) if file else deploy_folder() / TEMPLATES[architecture]
    try:
        body = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise CloudError(
            f"template: wanted {path}; {error}; --template names the file, which is in the folder "
            "deploy of a checkout"
        ) from None
    if len(body.encode()) > MOST_BYTES:
        raise CloudError(f"{path}: wanted {MOST_BYTES:,} bytes at most; there are {len(body):,}")
    return body


def deploy_folder() -> Path:
    """The folder of templates and of what nodes start with: of the checkout, or installed."""
    checkout = Path(fruits.__file__).parents[1] / "deploy"
    if (checkout / TEMPLATES["single"]).exists():
        return checkout
    return Path(sysconfig.get_path("data")) / "share" / "fruits" / "deploy"


@dataclass(frozen=True)
class Summary:
    """What a template asks for and makes.

    Attributes:
        defaults: by parameter; ``None`` where a value must be given.
        resources: how many at most of each type.
    """

    defaults: Mapping[str, str | None]
    resources: Mapping[str, int]


def summarize(account: Account, body: str) -> Summary:
    """What a template asks for and makes, by CloudFormation itself."""
    with aws_errors("template"):
        told = account.client("cloudformation").get_template_summary(TemplateBody=body)
    return Summary(
        {p["ParameterKey"]: p.get("DefaultValue") for p in told["Parameters"]},
        Counter(told.get("ResourceTypes", ())),
    )


def start(account: Account, name: str, body: str, given: Mapping[str, str], known: Summary) -> str:
    """Begins to make a stack, or to change the one that is there; returns its identity.

    Args:
        account: where.
        name: of the stack.
        body: of its template.
        given: values of parameters; the others keep theirs, or have their defaults.
        known: what the template asks for.
    """
    client = account.client("cloudformation")
    there = find(account, name)
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
        if there is None:
            return str(client.create_stack(**request, OnFailure="ROLLBACK")["StackId"])
        request["Parameters"] += [
            {"ParameterKey": key, "UsePreviousValue": True}
            for key in known.defaults
            if key in there.parameters and key not in given
        ]
        client.update_stack(**request)
    return there.id


def events(account: Account, stack_id: str, since: datetime) -> list[dict[str, Any]]:
    """What happened in a stack since then, the latest first."""
    found = []
    for event in account.pages(
        "cloudformation", "describe_stack_events", "StackEvents", StackName=stack_id
    ):
        if event["Timestamp"] < since - CLOCKS:
            break
        found.append(event)
    return found


def wait(
    account: Account, stack_id: str, since: datetime, progress: Callable[[int, str], None]
) -> Stack:
    """Waits until a stack is made, changed or deleted.

    Args:
        account: where.
        stack_id: its identity.
        since: when that began.
        progress: is told how many resources are ready, and the one that changed last.

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
        # What was under way when the first one failed is cancelled, which tells nothing.
        if event["ResourceStatus"].endswith("_FAILED") and "cancelled" not in reason.lower():
            what = f"{event['LogicalResourceId']} ({event['ResourceType']}): {plain(reason)}"
            break
    else:
        what, reason = "AWS gives no reason", ""
    code, advice = of_resource(reason, stack.status)
    command = f"fruits cloud terminate --name {stack.name}"
    if not stack.status.startswith(("DELETE", "UPDATE")):
        command += ", and launch again"
    elif stack.status.startswith("UPDATE"):
        command = f"fruits cloud launch --name {stack.name} again"
    return line(f"stack {stack.name} is {stack.status}", what, code, f"{advice}; then {command}")


def delete(account: Account, stack: Stack) -> datetime:
    """Begins to delete a stack; returns when."""
    begin = datetime.now(UTC)
    with aws_errors(f"stack {stack.name}"):
        account.client("cloudformation").delete_stack(StackName=stack.id)
    return begin


def resources(account: Account, stack: Stack) -> Iterator[tuple[str, str]]:
    """The type and the name of each thing that a stack has."""
    with aws_errors(f"stack {stack.name}"):
        for item in account.pages(
            *("cloudformation", "list_stack_resources", "StackResourceSummaries"),
            StackName=stack.id,
        ):
            gone = item["ResourceStatus"] in ("DELETE_COMPLETE", "DELETE_SKIPPED")
            if item.get("PhysicalResourceId") and not gone:
                yield item["ResourceType"], item["PhysicalResourceId"]
