"""Deleting a stack, and saying what is left."""

from fruits.cloud import stacks
from fruits.cloud.account import Account
from fruits.cloud.inventory import inventory
from fruits.cloud.launch import Progress
from fruits.cloud.stacks import Stack
from fruits.errors import CloudError

KEPT = "AWS::S3::"


def what_goes(account: Account, name: str) -> tuple[Stack, str]:
    """A stack of this tool, and what is deleted with it, for people to read.

    Raises:
        CloudError: when there is none, or it is somebody else's.
    """
    stack = stacks.require(account, name)
    if not stack.is_ours:
        raise CloudError(f"stack {name}: it was not made by this tool, which leaves it alone")
    goes = [f"{type_} {id_}" for type_, id_ in stacks.resources(account, stack)]
    kept = stack.outputs.get("Bucket") or stack.parameters.get("Bucket", "")
    lines = [f"delete     stack {name} in {account.region}, {stack.status}, with"]
    lines += [f"  {text.removeprefix('AWS::')}" for text in goes if not text.startswith(KEPT)]
    if kept:
        lines.append(f"keep       s3://{kept} with all that is in it")
    return stack, "\n".join(lines)


def terminate(account: Account, stack: Stack) -> None:
    """Deletes a stack, and waits until it is gone.

    Raises:
        CloudError: when something of it cannot be deleted.
    """
    count = sum(1 for _ in stacks.resources(account, stack))
    begin = stacks.delete(account, stack)
    with Progress("terminate", count) as told:
        stacks.wait(account, stack.id, begin, told)


def left(account: Account, stack: Stack) -> str:
    """What is still there of a stack that was deleted, and costs money, for people to read."""
    lines = [f"stack {stack.name} is deleted"]
    bucket = stack.outputs.get("Bucket") or stack.parameters.get("Bucket", "")
    if bucket and account.bucket_region(bucket):
        lines.append(
            f"still there, and to be paid: s3://{bucket}; aws s3 rb --force s3://{bucket} deletes "
            "it with all that is in it"
        )
    found = inventory(account)
    lines += [
        f"still there, and to be paid: {item.kind} {item.name} ({item.state})"
        for item in found.items
        if item.stack == stack.name and item.name != bucket and item.state != "shutting-down"
    ]
    lines += [f"could not be looked at: {reason}" for reason in found.unseen]
    return "\n".join(lines)
