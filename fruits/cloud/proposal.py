"""The proposal of a launch: the parameters of a stack, and the text to confirm before costs."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fruits.cloud import application, stacks, templates
from fruits.cloud.account import Account
from fruits.cloud.buckets import KEPT_DAYS, SOFTWARE, Versioning, versioning
from fruits.cloud.costs import Estimate, estimate
from fruits.cloud.failures import line, printable
from fruits.cloud.network import choose_network
from fruits.cloud.stacks import Stack
from fruits.cloud.templates import Summary
from fruits.errors import CloudError

# Whenever CloudFormation changes one of these stacks, it takes the latest machine image, and then
# replaces the host and its disk. Hosts read most parameters only at their first start.
UNCHANGEABLE = ("single", "cluster")
# The parameters that are whole numbers, except those of the application.
NUMBERS = ("Workers", "MinWorkers", "MaxWorkers", "IdleTimeout", "StopAfterHours")


@dataclass(frozen=True)
class Proposal:
    """A stack to create or to change.

    Attributes:
        architecture: ``single``, ``cluster``, ``emr`` or ``app``.
        name: The name of the stack.
        body: The text of the template.
        summary: The summary of the template.
        given: The values of parameters to send to CloudFormation.
        parameters: All values, including defaults and unchanged ones.
        existing: The existing stack with this name; None if there is none.
        wheels: The folder of wheels to upload first.
        bucket: The versioning of the bucket, if it exists already.
        enables_versioning: Whether versioning will be turned on in the bucket.
        estimate: The estimated costs.
        region: The region.
    """

    architecture: str
    name: str
    body: str
    summary: Summary
    given: Mapping[str, str]
    parameters: Mapping[str, str]
    existing: Stack | None
    wheels: str | None
    bucket: Versioning | None
    enables_versioning: bool
    estimate: Estimate
    region: str

    @property
    def software(self) -> str:
        """The URI of the software for the nodes of EMR, which they cannot write."""
        return f"s3://{self.parameters['Bucket']}/{SOFTWARE}"

    @property
    def is_launched(self) -> bool:
        """Whether the stack exists with these parameters and must not be changed."""
        return self.existing is not None and self.architecture in UNCHANGEABLE

    def text(self) -> str:
        """The text to confirm."""
        verb = "change" if self.existing else "create"
        types = [
            f"{count} x {type_}" if count > 1 else type_
            for type_, count in sorted(
                (type_.removeprefix("AWS::"), n) for type_, n in self.summary.resources.items()
            )
        ]
        shown = [f"{name}={value}" for name, value in self.parameters.items() if value]
        lines = [
            f"{verb:10} stack {self.name} ({self.architecture}) in {self.region}",
            f"with       {', '.join(shown)}",
            f"resources  at most {', '.join(types)}",
        ]
        if self.wheels:
            lines.append(f"wheels     {self.wheels} to {self.software}")
        if self.bucket and self.enables_versioning:
            lines.append(
                f"bucket     versioning will be turned on: files that a job deletes or overwrites "
                f"can be restored for {KEPT_DAYS} days"
            )
        elif self.bucket and not self.bucket.enabled:
            lines.append("bucket     versioning is off: a job can destroy all files of the prefix")
        lines.append(self.estimate.text())
        hours = self.parameters.get("StopAfterHours")
        if hours and hours != "0":
            lines.append(f"ends       the hosts stop {hours} hours after they start")
        if idle := self.parameters.get("IdleTimeout"):
            lines.append(f"ends       the cluster ends after {int(idle) / 60:.0f} idle minutes")
        if self.architecture == "app":
            lines += application.notes(self.name, self.parameters)
        return printable("\n".join(lines))


def propose(
    account: Account,
    architecture: str,
    name: str,
    given: Mapping[str, str],
    file: str | None = None,
    wheels: str | None = None,
    with_versioning: bool = True,
) -> Proposal:
    """Prepares a launch, without changes in AWS.

    Args:
        account: The account.
        architecture: A key of :data:`fruits.cloud.templates.TEMPLATES`.
        name: The name of the stack; if it exists and is of EMR or the application, it is changed.
        given: The values of the template's parameters.
        file: A template to use instead of the package's template.
        wheels: The folder from deploy/emr/wheels.sh, for EMR.
        with_versioning: Whether to turn on versioning in an existing bucket without it.

    Raises:
        CloudError: A parameter is unknown, missing or no number; or a stack with that name cannot
            be changed; or the bucket is in another region or account.
    """
    stacks.checked_name(name)
    body = templates.template(architecture, file)
    summary = templates.summarize(account, body)
    if summary.architecture != architecture:
        raise CloudError(
            f"template: wanted one whose Metadata has {templates.IDENTITY}: {architecture}, like "
            f"those in deploy/; got {summary.architecture or 'none'}"
        )
    existing = stacks.find(account, name)
    if existing:
        _require_changeable(existing, architecture)
    before = dict(existing.parameters) if existing else {}
    given = dict(given)
    if wheels:
        given |= {"WheelsSha256": _wheels_sha256(wheels), "BootstrapSha256": bootstrap()[1]}
    _require_accepted(account, summary, existing, given)
    if not existing:
        choose_network(account, given, summary.defaults)
    if architecture == "app":
        given = application.checked_parameters(account, given)
    bucket = given.get("Bucket") or before.get("Bucket")
    # The application only reads its bucket, so versioning is not needed.
    found = _existing_bucket(account, bucket) if bucket and architecture != "app" else None
    if not existing and bucket and "CreateBucket" in summary.defaults:
        given.setdefault("CreateBucket", "false" if found else "true")
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
    return Proposal(
        architecture=architecture,
        name=name,
        body=body,
        summary=summary,
        given=given,
        parameters=values,
        existing=existing,
        wheels=wheels,
        bucket=found,
        # CloudFormation turns on versioning in a bucket that it creates.
        enables_versioning=bool(
            with_versioning and found and not found.enabled and values.get("CreateBucket") != "true"
        ),
        estimate=_estimate(architecture, values, account.region),
        region=account.region,
    )


def _estimate(architecture: str, parameters: Mapping[str, str], region: str) -> Estimate:
    if architecture != "app":
        return estimate(architecture, parameters, region)
    application.require_counts(parameters)
    return application.estimate_application(parameters, region)


def _existing_bucket(account: Account, bucket: str) -> Versioning | None:
    if account.bucket_region(bucket) is None:
        return None
    account.require_bucket(bucket)
    return versioning(account, bucket)


def _require_changeable(existing: Stack, architecture: str) -> None:
    if existing.status not in stacks.WORKING:
        command = f"fruits cloud terminate --name {existing.name}"
        raise CloudError(
            line(
                f"stack {existing.name}",
                f"exists, and is {existing.status}",
                "AlreadyExistsException",
                f"wait until it is ready, or remove it: {command}; or give another --name",
            )
        )
    found = existing.outputs.get("Architecture") if existing.is_tagged else None
    if found != architecture:
        raise CloudError(
            line(
                f"stack {existing.name}",
                f"exists, and is {found or 'not from fruits cloud'}",
                "AlreadyExistsException",
                "give another --name",
            )
        )


def _require_accepted(
    account: Account, summary: Summary, existing: Stack | None, given: Mapping[str, str]
) -> None:
    """Refuses given parameters that the template or the existing stack does not accept."""
    unknown = given.keys() - summary.defaults.keys()
    if unknown:
        raise CloudError(
            f"{summary.architecture}: has no parameter {printable(', '.join(sorted(unknown)))}; "
            f"it has {', '.join(summary.defaults)}"
        )
    _require_numbers(given)
    if not existing:
        return
    if summary.architecture in UNCHANGEABLE:
        _require_unchanged(account, existing, given)
    before = existing.parameters
    if before.get("WheelsSha256") and not (
        before.get("BootstrapSha256") or given.get("BootstrapSha256")
    ):
        raise CloudError(
            f"stack {existing.name}: an earlier version created it, with the software of the nodes "
            "in another folder; give --wheels"
        )


def _require_numbers(given: Mapping[str, str]) -> None:
    for name in NUMBERS:
        value = given.get(name, "0")
        if not re.fullmatch(r"[0-9]{1,9}", value):
            found = printable(repr(value))
            raise CloudError(f"{name}: wanted a whole number such as 3; got {found}")


def _require_unchanged(account: Account, existing: Stack, given: Mapping[str, str]) -> None:
    before = {name: existing.parameters.get(name, "") for name in given}
    changed = [name for name in given if given[name] != before[name]]
    if not changed:
        return
    wanted, there = (", ".join(f"{n}={of[n]}" for n in changed) for of in (given, before))
    advice = (
        f"fruits cloud terminate --name {existing.name}, and launch again (the bucket stays, the "
        "disks of the hosts do not); or give another --name"
    )
    if changed == ["Workers"]:
        advice = (
            f"to change the number of workers, even during a run: aws autoscaling "
            f"set-desired-capacity --region {account.region} --auto-scaling-group-name "
            f"{existing.name}-workers --desired-capacity {given['Workers']}"
        )
    raise CloudError(
        printable(
            f"stack {existing.name}: wanted {wanted}; it has {there}, and a change by "
            f"CloudFormation would replace or restart its hosts; {advice}"
        )
    )


def _wheels_sha256(folder: str) -> str:
    try:
        return hashlib.sha256((Path(folder) / "requirements.txt").read_bytes()).hexdigest()
    except OSError:
        raise CloudError(
            f"{folder}: wanted a folder made by deploy/emr/wheels.sh, with its requirements.txt"
        ) from None


def bootstrap() -> tuple[bytes, str]:
    """The bootstrap script of EMR's nodes, and its SHA-256."""
    script = templates.deploy_folder() / "emr" / "bootstrap.sh"
    try:
        content = script.read_bytes()
    except OSError as error:
        raise CloudError(f"{script}: wanted the script of EMR's nodes; {error}") from None
    return content, hashlib.sha256(content).hexdigest()
