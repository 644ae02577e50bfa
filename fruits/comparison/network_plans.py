"""Estimates a comparison before it starts: the seconds and bytes of the run of each network.

Each network is tried on some of the images, as `fruits plan` does; :mod:`fruits.planning.estimate`
computes the rest. Finished networks are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TextIO

from fruits.comparison.grid import ComparisonGrid
from fruits.errors import FruitsError
from fruits.planning.estimate import estimate_from_probe
from fruits.planning.plan import Plan
from fruits.planning.probe import Probe, probe
from fruits.planning.resources import Resources, available_disk, session_resources
from fruits.runs.config import RunConfig
from fruits.runs.inputs import compile_network
from fruits.runs.progress import Stages
from fruits.sources.parts import Parts
from fruits.spark.session import get_spark
from fruits.wording import counted, size


@dataclass(frozen=True)
class NetworkPlan:
    """The estimate for the run of one network, with all its classifiers.

    Attributes:
        backbone: The name of the network.
        seconds: The seconds from the compilation to the figures.
        bytes: The bytes that the run writes.
        probe: The measurements on some of the images.
        refusal: The reason why the network cannot run here; None if it can, or may.
    """

    backbone: str
    seconds: float
    bytes: int
    probe: Probe
    refusal: str | None = None


@dataclass(frozen=True)
class ComparisonPlan:
    """The estimates for all networks.

    Attributes:
        networks: The networks in the order in which they run.
        failures: The reasons why other networks cannot run, by name.
    """

    networks: list[NetworkPlan] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)

    def lines(self) -> Iterator[str]:
        """Lines for the terminal; none if there is nothing to do."""
        if self.networks:
            seconds = sum(one.seconds for one in self.networks)
            taken = sum(one.bytes for one in self.networks)
            networks = counted(len(self.networks), "network")
            yield f"plan: {networks} from scratch: {_time(seconds)}, {size(taken)} to write"
        for one in self.networks:
            why = f"; will be refused: {one.refusal}" if one.refusal else ""
            yield f"plan: {one.backbone}: {_time(one.seconds)}, {size(one.bytes)}{why}"
        for backbone, reason in self.failures.items():
            yield f"plan: {backbone}: cannot run: {reason}"

    def probe_of(self, backbone: str) -> Probe | None:
        """The measurements of a network; None if it was not tried."""
        return next((one.probe for one in self.networks if one.backbone == backbone), None)


def plan_comparison(
    runs: Sequence[RunConfig], grid: ComparisonGrid, listing: Parts, progress: TextIO
) -> ComparisonPlan:
    """Tries each network and estimates its run.

    Args:
        runs: The runs of the networks that are not finished yet.
        grid: The values that are compared.
        listing: The images.
        progress: The stream for lines about the progress.
    """
    if not runs:
        return ComparisonPlan()
    stages = Stages(progress)
    with stages("session"):
        resources = session_resources(get_spark())
    plan = ComparisonPlan()
    for run in runs:
        try:
            plan.networks.append(_network(run, grid, listing, resources, stages))
        except FruitsError as error:
            plan.failures[run.backbone] = str(error)
    return plan


def _network(
    run: RunConfig, grid: ComparisonGrid, listing: Parts, resources: Resources, stages: Stages
) -> NetworkPlan:
    """The plan of one network.

    Raises:
        FruitsError: The network cannot run.
    """
    graph = compile_network(run, stages)
    with stages("probe"):
        tried = probe(listing, graph)
    seconds = {name: stages.seconds[name] for name in ("compile", "probe")}
    disk = available_disk(run.output)
    plans = [
        estimate_from_probe(one, listing, graph, tried, resources, seconds, disk)
        for one in grid.tried(run)
    ]
    refusal = next((one.refusal for one in plans if one.refusal), None)
    return NetworkPlan(run.backbone, _seconds(plans), plans[0].output["total"], tried, refusal)


def _seconds(plans: Sequence[Plan]) -> float:
    """The seconds of a run with several classifiers.

    Args:
        plans: The plan of a run with each classifier.
    """
    first, *others = (one.seconds for one in plans)
    return first["total"] + sum(one["classify"] + one["project"] for one in others)


def _time(seconds: float) -> str:
    return f"{seconds:,.0f} s" if seconds < 120 else f"{seconds / 60:,.0f} min"
