"""What instances cost an hour, from fruits/prices.json, and what that does not tell."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

NOT_PRICED = "disks, addresses, traffic, S3, keys and secrets"


@dataclass(frozen=True)
class Prices:
    """Prices of instances on demand.

    Attributes:
        date: when they were looked up, year and month.
        region: where they hold.
        types: dollars an hour by instance type.
    """

    date: str
    region: str
    types: Mapping[str, float]

    @classmethod
    def load(cls) -> "Prices":
        """Those that come with the package."""
        content = json.loads((files("fruits") / "prices.json").read_text())
        types = {name: terms["dollars_per_hour"] for name, terms in content["types"].items()}
        return cls(content["date"], content["region"], types)

    def of(self, count: int, type_: str) -> float | None:
        """Dollars an hour of so many instances; ``None`` where the type has no price here."""
        price = self.types.get(type_)
        return None if price is None else count * price

    def terms(self, region: str, emr: bool = False, spot: bool = False) -> str:
        """What must be known to read the figures, in one line."""
        elsewhere = f"; {region} may differ" if region != self.region else ""
        beside = NOT_PRICED + (", EMR's own charge (about a quarter of the instances')" * emr)
        beside += "; Spot costs less, by how much is not known here" * spot
        return f"prices on demand, {self.region}, {self.date}{elsewhere}; not in them: {beside}"


@dataclass(frozen=True)
class Estimate:
    """What a stack will cost.

    Attributes:
        count: of instances to begin with.
        most: to which managed scaling may take that.
        type: of the instances.
        dollars: an hour to begin with; ``None`` where the type has no price here.
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
        return f"instances  {self.count} x {self.type}: {price}{more}\n           ({self.terms})"


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
        prices.of(count, type_),
        prices.of(most, type_),
        prices.terms(region, emr=architecture == "emr", spot=spot),
    )
