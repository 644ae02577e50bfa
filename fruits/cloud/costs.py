"""The hourly costs of stacks, from fruits/prices.json, and what they do not include."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

NOT_INCLUDED = "addresses, traffic, S3, keys and secrets"
# The size of a host's disks, as in the templates. A node of EMR has a root disk and a data disk.
DISK_GIB = {"single": 64, "cluster": 64, "emr": 128}
HOURS_A_MONTH = 730


def amount(dollars: float | None) -> str:
    """An amount as text, such as ``$0.199``."""
    return "price not known" if dollars is None else f"${dollars:,.3f}"


@dataclass(frozen=True)
class Prices:
    """On-demand prices.

    Attributes:
        date: The year and month of the prices.
        region: The region of the prices.
        types: Dollars per hour by instance type.
        disk_gib_month: Dollars per month for one GiB of a gp3 disk.
        emr_share: The charge of EMR for an instance, as a share of the instance's price.
        vcpu: Dollars per hour for one vCPU of a task on Fargate.
        gib: Dollars per hour for one GiB of memory of a task on Fargate.
        balancer: Dollars per hour for one load balancer, without its requests.
        waf_month: Dollars per month for a web ACL of AWS WAF with one rule.
    """

    date: str
    region: str
    types: Mapping[str, float]
    disk_gib_month: float
    emr_share: float
    vcpu: float
    gib: float
    balancer: float
    waf_month: float

    @classmethod
    def load(cls) -> "Prices":
        """The prices that come with the package."""
        content = json.loads((files("fruits") / "prices.json").read_text())
        types = {name: terms["dollars_per_hour"] for name, terms in content["types"].items()}
        return cls(
            content["date"],
            content["region"],
            types,
            content["disk_dollars_per_gib_month"],
            content["emr_share"],
            content["fargate"]["dollars_per_vcpu_hour"],
            content["fargate"]["dollars_per_gib_hour"],
            content["balancer_dollars_per_hour"],
            content["waf_dollars_per_month"],
        )

    def instances(self, count: int, type_: str) -> float | None:
        """Dollars an hour for ``count`` instances; ``None`` if the type has no price here."""
        price = self.types.get(type_)
        return None if price is None else count * price

    def tasks(self, count: int, vcpus: float, gib: float) -> float:
        """Dollars an hour for ``count`` tasks of that size on Fargate."""
        return count * (vcpus * self.vcpu + gib * self.gib)

    def disks(self, gib: float) -> float:
        """Dollars an hour for gp3 disks."""
        return gib * self.disk_gib_month / HOURS_A_MONTH

    def hosts(self, count: int, type_: str, architecture: str) -> float | None:
        """Dollars an hour for ``count`` hosts with their disks, with EMR's charge on EMR."""
        instances = self.instances(count, type_)
        if instances is None:
            return None
        charge = instances * self.emr_share if architecture == "emr" else 0.0
        return instances + charge + self.disks(count * DISK_GIB[architecture])

    def terms(self, region: str, spot: bool = False) -> str:
        """The terms of the figures in one line."""
        parts = [f"on-demand prices, {self.region}, {self.date}"]
        if region != self.region:
            parts.append(f"prices in {region} may differ")
        parts.append(f"not included: {NOT_INCLUDED}")
        if spot:
            parts.append("Spot costs less; its price is not known here")
        return "; ".join(parts)


@dataclass(frozen=True)
class Estimate:
    """The estimated costs of a stack.

    Attributes:
        count: The number of instances or tasks at the start.
        most: The maximum number of them after scaling.
        type: The type of the instances, or the size of a task.
        dollars: Dollars per hour at the start, with disks and EMR's charge, or with the load
            balancer; ``None`` if the type has no price here.
        most_dollars: The maximum dollars per hour.
        terms: The terms of the figures.
        kind: ``instances`` or ``tasks``.
        extras: The other costs that the dollars include.
    """

    count: int
    most: int
    type: str
    dollars: float | None
    most_dollars: float | None
    terms: str
    kind: str = "instances"
    extras: str = "with disks"

    def text(self) -> str:
        """Lines for the terminal."""
        if not self.count:
            return "instances  none yet"
        hourly = amount(self.dollars)
        if self.dollars is not None:
            hourly += " an hour"
        if self.most > self.count:
            hourly += f"; up to {self.most} by {self.scaling}: {amount(self.most_dollars)}"
        what = f"{self.kind:10} {self.count} x {self.type} {self.extras}"
        return f"{what}: {hourly}\n           ({self.terms})"

    @property
    def scaling(self) -> str:
        """The name of the service that changes the number."""
        return "managed scaling" if self.kind == "instances" else "autoscaling"


def estimate(architecture: str, parameters: Mapping[str, Any], region: str) -> Estimate:
    """Estimates the hourly costs of a stack.

    Args:
        architecture: ``single``, ``cluster`` or ``emr``.
        parameters: All parameters of the stack by name.
        region: The region of the stack.
    """
    prices = Prices.load()
    workers = int(parameters.get("Workers") or 0)
    spot = parameters.get("Spot") == "true"
    count = most = 1
    if architecture == "cluster":
        count = most = 1 + workers
    elif architecture == "emr" and parameters.get("WheelsSha256") == "":
        count = most = 0
    elif architecture == "emr":
        # With Spot, one more on-demand node stores HDFS.
        core = 1 if spot else 0
        count = 1 + workers + core
        most = max(count, 1 + int(parameters.get("MaxWorkers") or 0))
    type_ = str(parameters.get("InstanceType"))
    return Estimate(
        count,
        most,
        type_,
        prices.hosts(count, type_, architecture),
        prices.hosts(most, type_, architecture),
        prices.terms(region, spot=spot),
    )
