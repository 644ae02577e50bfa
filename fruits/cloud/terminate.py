"""Deletes a stack, and lists what remains."""

import shlex
import sys

from fruits.cloud import stacks
from fruits.cloud.account import Account
from fruits.cloud.failures import printable
from fruits.cloud.inventory import inventory
from fruits.cloud.launch import Progress
from fruits.cloud.stacks import Stack
from fruits.errors import CloudError

RETAINED = "AWS::S3::"


def plan_termination(account: Account, name: str) -> tuple[Stack, str]:
    """Finds a stack of this tool, and describes what will be deleted.

    A stack is only deleted if it has the tag of ``fruits cloud launch`` with its own name, and if
    its current template is one of this tool.

    Raises:
        CloudError: There is no such stack, or it is not one of this tool.
    """
    stack = stacks.require(account, stacks.checked_name(name))
    if not stack.is_tagged or not stacks.has_our_template(account, stack):
        missing = "template of fruits cloud" if stack.is_tagged else f"tag {stacks.TAG}={name}"
        raise CloudError(
            f"stack {name}: wanted a stack that fruits cloud launch created; it has no {missing}, "
            f"so it is not deleted; if it is yours: aws cloudformation delete-stack "
            f"--stack-name {name}"
        )
    deleted = [f"{type_} {id_}" for type_, id_ in stacks.resources(account, stack)]
    bucket = _bucket(stack)
    lines = [f"delete     stack {name} in {account.region}, {stack.status}, with"]
    lines += [
        f"  {text.removeprefix('AWS::')}" for text in deleted if not text.startswith(RETAINED)
    ]
    if bucket:
        lines.append(f"keep       s3://{bucket} with everything in it")
    return stack, printable("\n".join(lines))


def terminate(account: Account, stack: Stack) -> None:
    """Deletes a stack, and waits for the end.

    Raises:
        CloudError: A resource cannot be deleted.
    """
    count = sum(1 for _ in stacks.resources(account, stack))
    begin = stacks.delete(account, stack)
    with Progress("terminate", count) as show:
        stacks.wait(account, stack.id, begin, show)


def remaining(account: Account, stack: Stack) -> str:
    """Lines about the resources of a deleted stack that remain and cost money."""
    lines = [f"stack {stack.name} is deleted"]
    bucket = _bucket(stack)
    if bucket and account.bucket_region(bucket):
        # aws s3 rb --force does not delete old versions, and then fails.
        python = shlex.quote(sys.executable)
        command = f"b = boto3.resource('s3').Bucket('{bucket}')"
        lines.append(
            f"still there, and billed: s3://{bucket}; to delete it with everything in it, old "
            f'versions too: {python} -c "import boto3; {command}; b.object_versions.delete(); '
            'b.delete()"'
        )
    found = inventory(account)
    lines += [
        f"still there, and billed: {item.kind} {item.name} ({item.state})"
        for item in found.items
        if item.stack == stack.name and item.name != bucket and item.state != "shutting-down"
    ]
    lines += [f"could not be listed: {reason}" for reason in found.not_seen]
    return printable("\n".join(lines))


def _bucket(stack: Stack) -> str:
    return stack.outputs.get("Bucket") or stack.parameters.get("Bucket", "")
