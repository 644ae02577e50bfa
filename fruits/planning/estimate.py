"""What a run from scratch will take: memory by process, time by stage, bytes written, dollars."""

import json
import math
import sys
from dataclasses import replace
from importlib.resources import files
from typing import TextIO

from fruits.networks.graph import CompiledGraph
from fruits.planning.capacity import components_refusal, refusal
from fruits.planning.plan import Plan
from fruits.planning.probe import Probe, probe
from fruits.planning.resources import (
    Resources,
    available_disk,
    local_resources,
    session_resources,
)
from fruits.planning.run_costs import RunCosts
from fruits.runs.config import RunConfig
from fruits.runs.inputs import compile_network, list_images
from fruits.runs.progress import Stages
from fruits.runs.unchanged import seconds_if_unchanged
from fruits.runs.workers import local_processes
from fruits.sources.parts import Parts
from fruits.spark.early_start import start_java_early


def estimate(config: RunConfig, progress: TextIO | None = None) -> Plan:
    """Lists the images, tries some of them, and estimates what a run takes.

    Args:
        config: The options of the run.
        progress: The stream for lines about the progress; stderr by default.

    Raises:
        FruitsError: The caller can fix the problem; the message is one line.
    """
    stages = Stages(progress or sys.stderr)
    listed = list_images(config, stages)
    listing = listed[-1]
    processes = local_processes(replace(config, overwrite=True), listing.num_rows)
    if processes is None:
        start_java_early()
    graph = compile_network(config, stages)
    unchanged = seconds_if_unchanged(config, listed, stages)
    resources = local_resources(processes) if processes else _session_resources(stages)
    seconds = {name: took for name, took in stages.seconds.items() if name != "check"}
    with stages("probe"):
        probed = probe(listing, graph)
    there = resources, seconds, available_disk(config.output)
    found = estimate_from_probe(config, listing, graph, probed, *there)
    return replace(found, unchanged=unchanged)


def _session_resources(stages: Stages) -> Resources:
    """The resources of a Spark session, which is started now."""
    from fruits.spark.session import get_spark

    with stages("session"):
        return session_resources(get_spark())


def estimate_from_probe(
    config: RunConfig,
    listing: Parts,
    graph: CompiledGraph,
    probe: Probe,
    resources: Resources,
    seconds: dict[str, float],
    disk: float = math.inf,
) -> Plan:
    """Estimates what a run takes.

    Args:
        config: The options of the run.
        listing: The images, rows of :data:`fruits.sources.listing.LISTING`.
        graph: The backbone.
        probe: The measurements on some of the images.
        resources: The cores and the memory that the run has.
        seconds: The seconds of the stages ``list``, ``compile`` and ``session``.
        disk: The bytes that the output may take.
    """
    run = RunCosts(config, listing, graph, probe, resources, seconds)
    prices = json.loads((files("fruits") / "prices.json").read_text())
    # A run checks the components earlier, before Spark starts.
    error = components_refusal(config, listing, graph) or refusal(
        config, listing, graph, resources, disk
    )
    return Plan(
        images=run.images,
        bytes=run.listed.bytes,
        largest=run.listed.largest,
        probe=probe,
        resources=resources,
        work=run.work(),
        memory=run.memory(resources.cores, resources.local),
        seconds=run.stages(resources.cores),
        output=run.output(),
        offers=[run.offer(type_, **terms) for type_, terms in prices["types"].items()],
        prices=f"{prices['terms']}, {prices['region']}, {prices['date']}",
        refusal=str(error) if error else None,
    )
