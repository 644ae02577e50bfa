"""Lists everything that costs money: stacks of this tool, their resources, and leftovers.

The resources of a stack are found by the stack's list of resources, and by the tag that
CloudFormation adds to all resources, which remains when the stack is deleted.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from fruits.cloud.account import Account
from fruits.cloud.costs import Prices
from fruits.cloud.failures import aws_errors
from fruits.cloud.machines import BILLED_CLUSTERS, BILLED_INSTANCES
from fruits.cloud.services import balancers, services
from fruits.cloud.stacks import TAG, Stack, ours, resources
from fruits.errors import CloudError

# The tag of EMR's resources, which do not have the tag of the stack.
CLUSTER_TAG = "fruits:cluster"
# The maximum number of values of a filter in a request to EC2.
MOST_VALUES = 200
# Kinds of resources that cost money all the time, and are listed without details.
CHARGED = {
    "secretsmanager:secret": "secret",
    "kms:key": "key",
    "ec2:natgateway": "NAT gateway",
    "ec2:elastic-ip": "address",
    "ec2:vpc-endpoint": "endpoint",
    "ec2:snapshot": "snapshot",
    "wafv2:regional": "web ACL",
}


@dataclass(frozen=True)
class Item:
    """A resource.

    Attributes:
        kind: ``stack``, ``instance``, ``volume``, ``cluster``, ``service``, ``balancer``,
            ``bucket``, ``secret`` and so on.
        name: The identifier in AWS.
        stack: The name of its stack, if known.
        state: The state, in the words of AWS.
        since: The time of the creation, if AWS gives it.
        dollars: Dollars per hour; ``None`` if the price is not known here.
        detail: The size or type.
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
        """The age in hours."""
        if self.since is None:
            return None
        return (datetime.now(UTC) - self.since).total_seconds() / 3600


@dataclass
class Inventory:
    """The resources that were found, and the kinds that could not be listed.

    Attributes:
        items: The resources.
        not_seen: The reasons why some kinds could not be listed. They may have resources.
    """

    items: list[Item]
    not_seen: list[str]

    @property
    def dollars(self) -> float:
        """Dollars per hour of all items with a known price."""
        return sum(item.dollars or 0 for item in self.items)


def inventory(account: Account) -> Inventory:
    """Lists everything of this tool that costs money in the account's region."""
    found = Inventory([], [])

    def collect(items: Callable[[], Iterator[Item]], kind: str) -> None:
        try:
            with aws_errors(kind):
                found.items.extend(items())
        except CloudError as error:
            found.not_seen.append(str(error))

    stacks: list[Stack] = []
    # The names of stacks by the identifiers of their resources, by type.
    owners: dict[str, dict[str, str]] = {}

    def list_stacks() -> Iterator[Item]:
        for stack in ours(account):
            stacks.append(stack)
            kind = stack.outputs.get("Architecture", "")
            yield Item("stack", stack.name, stack.name, stack.status, stack.created, 0.0, kind)
            for type_, name in resources(account, stack):
                owners.setdefault(type_, {})[name] = stack.name

    collect(list_stacks, "stacks")
    collect(lambda: _clusters(account, owners.get("AWS::EMR::Cluster", {})), "EMR clusters")
    groups = owners.get("AWS::AutoScaling::AutoScalingGroup", {})
    instances = owners.get("AWS::EC2::Instance", {})
    collect(lambda: _instances(account, instances, groups), "instances")
    hosts = {item.name: item.stack for item in found.items if item.kind == "instance"}
    collect(lambda: _volumes(account, hosts), "volumes")
    tasks = owners.get("AWS::ECS::Service", {})
    collect(lambda: (Item(**fields) for fields in services(account, tasks)), "services")
    named = owners.get("AWS::ElasticLoadBalancingV2::LoadBalancer", {})
    collect(lambda: (Item(**fields) for fields in balancers(account, named)), "balancers")
    buckets = {s.outputs["Bucket"]: s.name for s in stacks if s.outputs.get("Bucket")}
    buckets |= owners.get("AWS::S3::Bucket", {})
    collect(lambda: _tagged(account, buckets), "tagged resources")
    return found


def _stack_of(tags: Iterable[Mapping[str, str]] | None) -> str:
    by_key = {tag["Key"]: tag["Value"] for tag in tags or ()}
    names = (TAG, "aws:cloudformation:stack-name", CLUSTER_TAG)
    return next((by_key[name] for name in names if name in by_key), "")


def _clusters(account: Account, owners: Mapping[str, str]) -> Iterator[Item]:
    for listed in account.pages(
        "emr", "list_clusters", "Clusters", ClusterStates=list(BILLED_CLUSTERS)
    ):
        id_, status = listed["Id"], listed["Status"]
        cluster = account.client("emr").describe_cluster(ClusterId=id_)["Cluster"]
        stack = owners.get(id_) or _stack_of(cluster.get("Tags"))
        if stack:
            since = status["Timeline"]["CreationDateTime"]
            detail = f"{cluster.get('ReleaseLabel', '')}, EMR's charge, without its instances"
            yield Item("cluster", id_, stack, status["State"], since, None, detail)


def _instances(
    account: Account, owners: Mapping[str, str], groups: Mapping[str, str]
) -> Iterator[Item]:
    members = dict(owners)
    if groups:
        for group in account.pages(
            "autoscaling",
            "describe_auto_scaling_groups",
            "AutoScalingGroups",
            AutoScalingGroupNames=list(groups),
        ):
            stack = groups[group["AutoScalingGroupName"]]
            members |= {member["InstanceId"]: stack for member in group["Instances"]}
    prices = Prices.load()
    seen: set[str] = set()
    for filter_ in _filters("instance-id", members):
        for reservation in account.pages(
            "ec2", "describe_instances", "Reservations", Filters=[filter_]
        ):
            for instance in reservation["Instances"]:
                id_, state = instance["InstanceId"], instance["State"]["Name"]
                if id_ in seen or state not in BILLED_INSTANCES:
                    continue
                seen.add(id_)
                spot = instance.get("InstanceLifecycle") == "spot"
                type_ = instance["InstanceType"]
                yield Item(
                    kind="instance",
                    name=id_,
                    stack=members.get(id_) or _stack_of(instance.get("Tags")),
                    state=state,
                    since=instance["LaunchTime"],
                    dollars=_instance_dollars(prices, type_, state, spot),
                    detail=f"{type_} spot" if spot else type_,
                )


def _instance_dollars(prices: Prices, type_: str, state: str, spot: bool) -> float | None:
    if state == "stopped":
        # Its disks are listed as separate items.
        return 0.0
    return None if spot else prices.instances(1, type_)


def _volumes(account: Account, hosts: Mapping[str, str]) -> Iterator[Item]:
    prices = Prices.load()
    seen: set[str] = set()
    for filter_ in _filters("attachment.instance-id", hosts):
        for volume in account.pages("ec2", "describe_volumes", "Volumes", Filters=[filter_]):
            id_, type_, size = volume["VolumeId"], volume.get("VolumeType", ""), volume["Size"]
            if id_ in seen:
                continue
            seen.add(id_)
            host = next((a["InstanceId"] for a in volume.get("Attachments", ())), "")
            yield Item(
                kind="volume",
                name=id_,
                stack=hosts.get(host) or _stack_of(volume.get("Tags")),
                state=volume["State"],
                since=volume["CreateTime"],
                dollars=prices.disks(size) if type_ == "gp3" else None,
                detail=f"{size} GiB {type_}" + (f" of {host}" if host else ", of no instance"),
            )


def _filters(name: str, values: Iterable[str]) -> list[dict[str, Any]]:
    """Alternative filters of EC2: by our tags, or by the values of a name."""
    every = sorted(values)
    return [
        {"Name": "tag-key", "Values": [TAG, CLUSTER_TAG]},
        *(
            {"Name": name, "Values": every[start : start + MOST_VALUES]}
            for start in range(0, len(every), MOST_VALUES)
        ),
    ]


def _tagged(account: Account, owners: Mapping[str, str]) -> Iterator[Item]:
    buckets = dict(owners)
    others = {}
    for resource in account.pages(
        "resourcegroupstaggingapi",
        "get_resources",
        "ResourceTagMappingList",
        TagFilters=[{"Key": TAG}],
    ):
        _, _, service, _, _, rest = resource["ResourceARN"].split(":", 5)
        if service == "s3":
            buckets.setdefault(rest, _stack_of(resource["Tags"]))
        else:
            kind, _, name = rest.replace(":", "/").partition("/")
            others[f"{service}:{kind}", name] = _stack_of(resource["Tags"])
    for bucket, stack in sorted(buckets.items()):
        if item := _bucket(account, bucket, stack):
            yield item
    for (kind, name), stack in sorted(others.items()):
        if kind in CHARGED:
            yield Item(CHARGED[kind], name, stack, "", None, None, "")


def _bucket(account: Account, bucket: str, stack: str) -> Item | None:
    """A bucket with its size one or two days ago, which CloudWatch gives without a listing."""
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
        detail = f"{size / 1e9:,.2f} GB in {count:,.0f} objects, one or two days ago"
    return Item("bucket", bucket, stack, "", None, None, detail)
