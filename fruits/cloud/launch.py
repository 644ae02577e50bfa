"""Launches a proposal: creates a stack, or changes an existing one."""

import base64
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from tqdm import tqdm

from fruits.cloud import stacks
from fruits.cloud.account import Account
from fruits.cloud.buckets import SOFTWARE, enable_versioning
from fruits.cloud.failures import aws_errors, printable
from fruits.cloud.proposal import Proposal, bootstrap
from fruits.cloud.stacks import Stack
from fruits.cloud.upload import upload


def launch(account: Account, proposal: Proposal) -> Stack:
    """Creates or changes the stack of a proposal, and waits for it.

    Raises:
        CloudError: AWS refuses, or the stack fails.
    """
    given = dict(proposal.given)
    if proposal.bucket and proposal.enables_versioning:
        values = proposal.parameters
        enable_versioning(account, values["Bucket"], proposal.bucket, values["Prefix"].strip("/"))
    if proposal.wheels:
        if not proposal.existing and given.get("CreateBucket") == "true":
            # First the bucket, then the software for the nodes, then the nodes.
            _start(account, proposal, given | {"WheelsSha256": "", "BootstrapSha256": ""})
        _upload_software(account, proposal)
    return _start(account, proposal, given)


def _upload_software(account: Account, proposal: Proposal) -> None:
    """Uploads the software for the nodes, under names with its SHA-256.

    So nodes of other stacks with other wheels are not affected.
    """
    upload(account, str(proposal.wheels), f"{proposal.software}/{proposal.given['WheelsSha256']}")
    content, sha256 = bootstrap()
    key = f"{SOFTWARE}/bootstrap-{sha256}.sh"
    with aws_errors(f"{proposal.software}/bootstrap-{sha256}.sh"):
        account.client("s3").put_object(
            Bucket=proposal.parameters["Bucket"],
            Key=key,
            Body=content,
            ChecksumAlgorithm="SHA256",
            ChecksumSHA256=base64.b64encode(bytes.fromhex(sha256)).decode(),
        )


def _start(account: Account, proposal: Proposal, given: Mapping[str, str]) -> Stack:
    begin = datetime.now(UTC)
    stack_id = stacks.start(account, proposal.name, proposal.body, given, proposal.summary)
    if stack_id is None:
        print(f"stack {proposal.name} exists with these parameters; it is not changed")
        return stacks.require(account, proposal.name)
    with Progress("launch", sum(proposal.summary.resources.values())) as show:
        return stacks.wait(account, stack_id, begin, show)


class Progress:
    """A progress bar of the ready resources, for :func:`fruits.cloud.stacks.wait`."""

    def __init__(self, what: str, total: int) -> None:
        # miniters=0 also redraws the bar without changes, so that its time advances.
        self._bar = tqdm(total=total, desc=what, unit=" resources", delay=0.5, miniters=0)

    def __enter__(self) -> Callable[[int, str], None]:
        return self._show

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def _show(self, ready: int, last: str) -> None:
        self._bar.total = max(self._bar.total, ready)
        self._bar.set_postfix_str(printable(last), refresh=False)
        self._bar.update(ready - self._bar.n)
