"""Launching: what a stack is given, what is said before money is spent, and its making."""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tqdm import tqdm

from fruits.cloud import stacks
from fruits.cloud.account import Account
from fruits.cloud.costs import Estimate, estimate
from fruits.cloud.failures import aws_errors, line
from fruits.cloud.stacks import Stack, Summary
from fruits.cloud.upload import bucket_and_key, upload
from fruits.errors import CloudError

NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,127}")


@dataclass(frozen=True)
class Proposal:
    """What is to be made, or changed.

    Attributes:
        architecture: ``single``, ``cluster`` or ``emr``.
        name: of the stack.
        body: of its template.
        summary: of its template.
        given: values of parameters that go to CloudFormation.
        parameters: all values, defaults and those that stay among them.
        there: the stack that is there already.
        wheels: folder of wheels that go to the bucket first.
        estimate: what it costs.
        region: where.
    """

    architecture: str
    name: str
    body: str
    summary: Summary
    given: Mapping[str, str]
    parameters: Mapping[str, str]
    there: Stack | None
    wheels: str | None
    estimate: Estimate
    region: str

    @property
    def emr_folder(self) -> str:
        """Where EMR's nodes find what they start with."""
        return f"s3://{self.parameters['Bucket']}/{self.parameters['Prefix'].strip('/')}/emr"

    def text(self) -> str:
        """For people to read before they agree."""
        verb = "change" if self.there else "create"
        kinds = [
            f"{count} x " * (count > 1) + type_.removeprefix("AWS::")
            for type_, count in sorted(self.summary.resources.items())
        ]
        shown = [f"{name}={value}" for name, value in self.parameters.items() if value]
        lines = [
            f"{verb:10} stack {self.name} ({self.architecture}) in {self.region}",
            f"with       {', '.join(shown)}",
            f"resources  {', '.join(kinds)}; as its conditions have it",
        ]
        if self.wheels:
            lines.append(f"wheels     {self.wheels} to {self.emr_folder}")
        lines.append(self.estimate.text())
        hours = self.parameters.get("StopAfterHours")
        if hours and hours != "0":
            lines.append(f"ends       the hosts stop {hours} hours after their start")
        if idle := self.parameters.get("IdleTimeout"):
            lines.append(f"ends       the cluster ends after {int(idle) / 60:.0f} idle minutes")
        return "\n".join(lines)


def propose(
    account: Account,
    architecture: str,
    name: str,
    given: Mapping[str, str],
    file: str | None = None,
    wheels: str | None = None,
) -> Proposal:
    """What launching would do; nothing is made yet.

    Args:
        account: where.
        architecture: a key of :data:`fruits.cloud.stacks.TEMPLATES`.
        name: of the stack, which is changed if it is there.
        given: values of the template's parameters.
        file: a template of one's own.
        wheels: what deploy/emr/wheels.sh has made, for EMR.

    Raises:
        CloudError: when the template does not know a parameter, or misses one; when there is a
            stack of that name that cannot be changed; when the bucket is elsewhere.
    """
    if not NAME.fullmatch(name):
        raise CloudError(f"name: wanted letters, digits and hyphens, a letter first; got {name!r}")
    body = stacks.template(architecture, file)
    summary = stacks.summarize(account, body)
    there = stacks.find(account, name)
    if there:
        _require_changeable(there, architecture)
    given = dict(given)
    if wheels:
        given["WheelsSha256"] = _wheels_sum(wheels)
    unknown = given.keys() - summary.defaults.keys()
    if unknown:
        raise CloudError(
            f"{architecture}: has no parameter {', '.join(sorted(unknown))}; "
            f"it has {', '.join(summary.defaults)}"
        )
    before = dict(there.parameters) if there else {}
    if not there:
        _choose_network(account, given, summary)
    bucket = given.get("Bucket") or before.get("Bucket")
    if bucket:
        region = account.bucket_region(bucket)
        if region is not None:
            account.require_bucket(bucket)
        if not there and "CreateBucket" in summary.defaults:
            given.setdefault("CreateBucket", "false" if region else "true")
    parameters = {
        key: given.get(key, before.get(key, default)) for key, default in summary.defaults.items()
    }
    missing = [key for key, value in parameters.items() if value is None]
    if missing:
        raise CloudError(
            f"{architecture}: wanted values for {', '.join(missing)}; give them by their options, "
            "or by --parameter NAME=VALUE"
        )
    values = {key: str(value) for key, value in parameters.items()}
    cost = estimate(architecture, values, account.region)
    return Proposal(
        architecture, name, body, summary, given, values, there, wheels, cost, account.region
    )


def _require_changeable(there: Stack, architecture: str) -> None:
    command = f"fruits cloud terminate --name {there.name}"
    if there.status not in stacks.WORKING:
        raise CloudError(
            line(
                f"stack {there.name}",
                f"is there, and is {there.status}",
                "AlreadyExistsException",
                f"wait until it is ready, or remove it: {command}; or give another --name",
            )
        )
    is_ = there.outputs.get("Architecture")
    if is_ != architecture:
        raise CloudError(
            line(
                f"stack {there.name}",
                f"is there, and is {is_ or 'not of this tool'}",
                "AlreadyExistsException",
                "give another --name",
            )
        )


def _choose_network(account: Account, given: dict[str, str], summary: Summary) -> None:
    """The default network of the account, where none is given."""
    if not {"VpcId", "SubnetId"} <= summary.defaults.keys() or "SubnetId" in given:
        return
    ec2 = account.client("ec2")
    with aws_errors("network"):
        if "VpcId" not in given:
            found = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
            if not found:
                raise CloudError(
                    f"network: {account.region} has no default VPC; give --vpc and --subnet"
                )
            given["VpcId"] = found[0]["VpcId"]
        filters = [
            {"Name": "vpc-id", "Values": [given["VpcId"]]},
            {"Name": "default-for-az", "Values": ["true"]},
        ]
        subnets = ec2.describe_subnets(Filters=filters)["Subnets"]
    if not subnets:
        raise CloudError(f"network: {given['VpcId']} has no default subnet; give --subnet")
    given["SubnetId"] = min(subnets, key=lambda s: str(s["AvailabilityZone"]))["SubnetId"]


def _wheels_sum(folder: str) -> str:
    try:
        return hashlib.sha256((Path(folder) / "requirements.txt").read_bytes()).hexdigest()
    except OSError:
        raise CloudError(
            f"{folder}: wanted what deploy/emr/wheels.sh has made, with its requirements.txt"
        ) from None


def make(account: Account, proposal: Proposal) -> Stack:
    """Makes what was proposed, and waits for it.

    Raises:
        CloudError: when AWS refuses, or the stack fails.
    """
    given = dict(proposal.given)
    if proposal.wheels:
        if not proposal.there and given.get("CreateBucket") == "true":
            # First the bucket, then what nodes start with, then the nodes.
            _make(account, proposal, given | {"WheelsSha256": ""})
        _send_wheels(account, proposal)
    return _make(account, proposal, given)


def _send_wheels(account: Account, proposal: Proposal) -> None:
    root = proposal.emr_folder
    upload(account, str(proposal.wheels), f"{root}/wheels")
    script = stacks.deploy_folder() / "emr" / "bootstrap.sh"
    bucket, key = bucket_and_key(f"{root}/bootstrap.sh")
    try:
        content = script.read_bytes()
    except OSError as error:
        raise CloudError(f"{script}: wanted what EMR's nodes start with; {error}") from None
    with aws_errors(f"{root}/bootstrap.sh"):
        account.client("s3").put_object(Bucket=bucket, Key=key, Body=content)


def _make(account: Account, proposal: Proposal, given: Mapping[str, str]) -> Stack:
    begin = datetime.now(UTC)
    identity = stacks.start(account, proposal.name, proposal.body, given, proposal.summary)
    with Progress("launch", sum(proposal.summary.resources.values())) as told:
        return stacks.wait(account, identity, begin, told)


class Progress:
    """A bar of resources that are ready, for :func:`fruits.cloud.stacks.wait`."""

    def __init__(self, what: str, total: int) -> None:
        # Also shown anew when nothing has changed: the time passes.
        self._bar = tqdm(total=total, desc=what, unit=" resources", delay=0.5, miniters=0)

    def __enter__(self) -> Callable[[int, str], None]:
        return self._tell

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def _tell(self, ready: int, last: str) -> None:
        self._bar.total = max(self._bar.total, ready)
        self._bar.set_postfix_str(last, refresh=False)
        self._bar.update(ready - self._bar.n)
