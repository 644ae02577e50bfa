"""What stacks cost an hour, from fruits/prices.json, and what that does not tell."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

NOT_PRICED = "addresses, traffic, S3, keys and secrets"
# Of a host's disks, as the templates have them: EMR's nodes have one for the data beside the root.
DISK_GIB = {"single": 64, "cluster": 64, "emr": 128}
HOURS_A_MONTH = 730


@dataclass(frozen=True)
class Prices:
    """Prices on demand.

    Attributes:
        date: when they were looked up, year and month.
        region: where they hold.
        types: dollars an hour by instance type.
        disk_gib_month: dollars of a GiB of a disk of type gp3.
        emr_share: what EMR charges for an instance, as a share of the instance's price.
    """

    date: str
    region: str
    types: Mapping[str, float]
    disk_gib_month: float
    emr_share: float

    @classmethod
    def load(cls) -> "Prices":
        """Those that come with the package."""
        content = json.loads((files("fruits") / "prices.json").read_text())
        types = {name: terms["dollars_per_hour"] for name, terms in content["types"].items()}
        return cls(
            content["date"],
            content["region"],
            types,
            content["disk_dollars_per_gib_month"],
            content["emr_share"],
        )

    def instances(self, count: int, type_: str) -> float | None:
        """Dollars an hour of so many instances; ``None`` where the type has no price here."""
        price = self.types.get(type_)
        return None if price is None else count * price

    def disks(self, gib: float) -> float:
        """Dollars an hour of disks of type gp3."""
        return gib * self.disk_gib_month / HOURS_A_MONTH

    def hosts(self, count: int, type_: str, architecture: str) -> float | None:
        """Dollars an hour of so many hosts with their disks, and of EMR where it runs them."""
        instances = self.instances(count, type_)
        if instances is None:
            return None
        charge = instances * self.emr_share * (architecture == "emr")
        return instances + charge + self.disks(count * DISK_GIB[architecture])

    def terms(self, region: str, spot: bool = False) -> str:
        """What must be known to read the figures, in one line."""
        elsewhere = f"; {region} may differ" if region != self.region else ""
        beside = NOT_PRICED + "; Spot costs less, by how much is not known here" * spot
        return f"prices on demand, {self.region}, {self.date}{elsewhere}; not in them: {beside}"


@dataclass(frozen=True)
class Estimate:
    """What a stack will cost.

    Attributes:
        count: of instances to begin with.
        most: to which managed scaling may take that.
        type: of the instances.
        dollars: an hour to begin with, disks and EMR's charge included; ``None`` where the type
            has no price here.
        most_dollars: an hour at most.
        terms: how to read the figures.
    """

    count: int
    most: int
    type: str
    dollars: float | None
    most_dollars: float | None
    terms: str

    def text(self) -> str:
        """For people to read."""
        if not self.count:
            return "instances  none yet"
        price = "price not known" if self.dollars is None else f"{self.dollars:.4g} $ an hour"
        more = ""
        if self.most > self.count:
            most = "price not known" if self.most_dollars is None else f"{self.most_dollars:.4g} $"
            more = f"; up to {self.most} by managed scaling: {most}"
        told = f"{self.count} x {self.type} with disks: {price}{more}"
        return f"instances  {told}\n           ({self.terms})"


def estimate(architecture: str, parameters: Mapping[str, Any], region: str) -> Estimate:
    """What a stack will cost an hour.

    Args:
        architecture: ``single``, ``cluster`` or ``emr``.
        parameters: of the stack, all of them, by name.
        region: where it will be.
    """
    prices = Prices.load()
    workers = int(parameters.get("Workers") or 0)
    spot = parameters.get("Spot") == "true"
    count = most = 1
    if architecture == "cluster":
        count = most = 1 + workers
    elif architecture == "emr":
        # With Spot, one core node on demand holds HDFS beside the workers.
        count = 1 + workers + spot
        most = max(count, 1 + int(parameters.get("MaxWorkers") or 0))
        if parameters.get("WheelsSha256") == "":
            count = most = 0
    type_ = str(parameters.get("InstanceType"))
    return Estimate(
        count,
        most,
        type_,
        prices.hosts(count, type_, architecture),
        prices.hosts(most, type_, architecture),
        prices.terms(region, spot=spot),
    )
