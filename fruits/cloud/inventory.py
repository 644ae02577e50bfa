"""All that costs money: stacks of this tool, what they hold, and what was left behind.

What belongs to a stack is known by the stack's own list, and by the tag that CloudFormation puts on
everything it makes, which is still there when the stack is not.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from fruits.cloud.account import Account
from fruits.cloud.costs import Prices
from fruits.cloud.failures import aws_errors
from fruits.cloud.stacks import TAG, Stack, ours, resources
from fruits.errors import CloudError

LIVE_CLUSTERS = ("STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING", "TERMINATING")
LIVE_INSTANCES = ("pending", "running", "stopping", "stopped", "shutting-down")
# EC2 takes no more values of a filter in one request.
MOST_VALUES = 200
# Kinds that cost by being there and are not looked at one by one.
CHARGED = {
    "secretsmanager:secret": "secret",
    "kms:key": "key",
    "ec2:natgateway": "NAT gateway",
    "ec2:elastic-ip": "address",
    "ec2:vpc-endpoint": "endpoint",
    "ec2:snapshot": "snapshot",
}


@dataclass(frozen=True)
class Item:
    """One thing that is there.

    Attributes:
        kind: ``stack``, ``instance``, ``volume``, ``cluster``, ``bucket``, ``secret`` and so on.
        name: by which AWS knows it.
        stack: the name of the stack that made it, if that is known.
        state: as AWS calls it.
        since: when it was made, if AWS tells.
        dollars: an hour; ``None`` where that is not known here.
        detail: its size or type.
    """

    kind: str
    name: str
    stack: str
    state: str
    since: datetime | None
    dollars: float | None
    detail: str

    @property
    def hours(self) -> float | None:
        """Its age."""
        return (
            None if self.since is None else (datetime.now(UTC) - self.since).total_seconds() / 3600
        )


@dataclass
class Inventory:
    """What was found, and what could not be looked at.

    Attributes:
        items: all that is there.
        unseen: why kinds of things could not be listed; they may be there.
    """

    items: list[Item]
    unseen: list[str]

    @property
    def dollars(self) -> float:
        """An hour, of all whose price is known."""
        return sum(item.dollars or 0 for item in self.items)


def inventory(account: Account) -> Inventory:
    """Looks at all that costs money in the account's region."""
    found = Inventory([], [])

    def look(items: Callable[[], Iterator[Item]], kind: str) -> None:
        try:
            with aws_errors(kind):
                found.items.extend(items())
        except CloudError as error:
            found.unseen.append(str(error))

    stacks: list[Stack] = []
    made: dict[str, dict[str, str]] = {}

    def of_stacks() -> Iterator[Item]:
        for stack in ours(account):
            stacks.append(stack)
            kind = stack.outputs.get("Architecture", "")
            yield Item("stack", stack.name, stack.name, stack.status, stack.created, 0.0, kind)
            for type_, name in resources(account, stack):
                made.setdefault(type_, {})[name] = stack.name

    look(of_stacks, "stacks")
    look(lambda: _clusters(account, made.get("AWS::EMR::Cluster", {})), "EMR clusters")
    groups = made.get("AWS::AutoScaling::AutoScalingGroup", {})
    instances = made.get("AWS::EC2::Instance", {})
    look(lambda: _instances(account, instances, groups), "instances")
    held = {item.name: item.stack for item in found.items if item.kind == "instance"}
    look(lambda: _volumes(account, held), "volumes")
    named = {s.outputs["Bucket"]: s.name for s in stacks if s.outputs.get("Bucket")}
    look(lambda: _tagged(account, named | made.get("AWS::S3::Bucket", {})), "what is tagged")
    return found


def _stack_of(tags: Any) -> str:
    by_key = {tag["Key"]: tag["Value"] for tag in tags or ()}
    names = (TAG, "aws:cloudformation:stack-name", "fruits:cluster")
    return next((by_key[name] for name in names if name in by_key), "")


def _clusters(account: Account, of_stacks: dict[str, str]) -> Iterator[Item]:
    for told in account.pages(
        "emr", "list_clusters", "Clusters", ClusterStates=list(LIVE_CLUSTERS)
    ):
        cluster = account.client("emr").describe_cluster(ClusterId=told["Id"])["Cluster"]
        stack = of_stacks.get(told["Id"]) or _stack_of(cluster.get("Tags"))
        if stack:
            since = told["Status"]["Timeline"]["CreationDateTime"]
            detail = f"{cluster.get('ReleaseLabel', '')}, EMR's charge beside its instances"
            yield Item("cluster", told["Id"], stack, told["Status"]["State"], since, None, detail)


def _instances(
    account: Account, of_stacks: dict[str, str], groups: dict[str, str]
) -> Iterator[Item]:
    members = dict(of_stacks)
    if groups:
        for group in account.pages(
            *("autoscaling", "describe_auto_scaling_groups", "AutoScalingGroups"),
            AutoScalingGroupNames=list(groups),
        ):
            stack = groups[group["AutoScalingGroupName"]]
            members |= {member["InstanceId"]: stack for member in group["Instances"]}
    prices = Prices.load()
    filters: list[dict[str, Any]] = [
        {"Name": "tag-key", "Values": [TAG]},
        # Those of EMR have the cluster's own tags.
        {"Name": "tag-key", "Values": ["fruits:cluster"]},
        *_by_values("instance-id", members),
    ]
    seen: set[str] = set()
    for filter_ in filters:
        for reservation in account.pages(
            "ec2", "describe_instances", "Reservations", Filters=[filter_]
        ):
            for told in reservation["Instances"]:
                state = told["State"]["Name"]
                if told["InstanceId"] in seen or state not in LIVE_INSTANCES:
                    continue
                seen.add(told["InstanceId"])
                spot = told.get("InstanceLifecycle") == "spot"
                yield Item(
                    kind="instance",
                    name=told["InstanceId"],
                    stack=members.get(told["InstanceId"]) or _stack_of(told.get("Tags")),
                    state=state,
                    since=told["LaunchTime"],
                    # A stopped host costs its disks; what Spot costs is not known here.
                    dollars=0.0
                    if state == "stopped"
                    else None
                    if spot
                    else prices.instances(1, told["InstanceType"]),
                    detail=told["InstanceType"] + " spot" * spot,
                )


def _volumes(account: Account, instances: dict[str, str]) -> Iterator[Item]:
    prices = Prices.load()
    seen: set[str] = set()
    filters = [
        {"Name": "tag-key", "Values": [TAG]},
        {"Name": "tag-key", "Values": ["fruits:cluster"]},
        *_by_values("attachment.instance-id", instances),
    ]
    for filter_ in filters:
        for told in account.pages("ec2", "describe_volumes", "Volumes", Filters=[filter_]):
            if told["VolumeId"] in seen:
                continue
            seen.add(told["VolumeId"])
            host = next((a["InstanceId"] for a in told.get("Attachments", ())), "")
            yield Item(
                kind="volume",
                name=told["VolumeId"],
                stack=instances.get(host) or _stack_of(told.get("Tags")),
                state=told["State"],
                since=told["CreateTime"],
                dollars=prices.disks(told["Size"]) if told.get("VolumeType") == "gp3" else None,
                detail=f"{told['Size']} GiB {told.get('VolumeType', '')}"
                + (f" of {host}" if host else ", of no instance"),
            )


def _by_values(name: str, values: Any) -> list[dict[str, Any]]:
    every = sorted(values)
    return [
        {"Name": name, "Values": every[start : start + MOST_VALUES]}
        for start in range(0, len(every), MOST_VALUES)
    ]


def _tagged(account: Account, buckets: dict[str, str]) -> Iterator[Item]:
    others = {}
    for told in account.pages(
        *("resourcegroupstaggingapi", "get_resources", "ResourceTagMappingList"),
        TagFilters=[{"Key": TAG}],
    ):
        _, _, service, _, _, rest = told["ResourceARN"].split(":", 5)
        if service == "s3":
            buckets.setdefault(rest, _stack_of(told["Tags"]))
        else:
            kind, _, name = rest.replace(":", "/").partition("/")
            others[f"{service}:{kind}", name] = _stack_of(told["Tags"])
    for bucket, stack in sorted(buckets.items()):
        if item := _bucket(account, bucket, stack):
            yield item
    for (kind, name), stack in sorted(others.items()):
        if kind in CHARGED:
            yield Item(CHARGED[kind], name, stack, "", None, None, "")


def _bucket(account: Account, bucket: str, stack: str) -> Item | None:
    """A bucket with its size of a day or two ago, which CloudWatch tells without listing it."""
    if account.bucket_region(bucket) is None:
        return None
    now = datetime.now(UTC)
    measured = {}
    for metric, storage in (
        ("BucketSizeBytes", "StandardStorage"),
        ("NumberOfObjects", "AllStorageTypes"),
    ):
        points = account.client("cloudwatch").get_metric_statistics(
            Namespace="AWS/S3",
            MetricName=metric,
            Dimensions=[
                {"Name": "BucketName", "Value": bucket},
                {"Name": "StorageType", "Value": storage},
            ],
            StartTime=now - timedelta(days=3),
            EndTime=now + timedelta(days=1),
            Period=86_400,
            Statistics=["Average"],
        )["Datapoints"]
        if points:
            measured[metric] = max(points, key=lambda point: point["Timestamp"])["Average"]
    detail = "size not known yet"
    if measured:
        size, count = (measured.get(name, 0) for name in ("BucketSizeBytes", "NumberOfObjects"))
        detail = f"{size / 1e9:,.2f} GB in {count:,.0f} objects, a day ago or two"
    return Item("bucket", bucket, stack, "", None, None, detail)
