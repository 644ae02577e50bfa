"""An estimate for a run without images, for tests of estimates."""

import dataclasses

import pyarrow as pa

from fruits.networks.graph import CompiledGraph, InputSpec
from fruits.planning.estimate import estimate_from_probe
from fruits.planning.plan import Plan
from fruits.planning.probe import Probe
from fruits.planning.resources import Resources
from fruits.runs.config import RunConfig
from fruits.sources.listing import LISTING
from fruits.sources.parts import Parts

CONFIG = RunConfig(images="in", output="out", components=100)
RESOURCES = Resources(cores=4, local=True, heap=3 << 30, memory=16 << 30)
PROBE = Probe(
    images=48,
    rejected=0,
    read=0.001,
    decode=0.002,
    network=0.008,
    load=1.0,
    memory=150_000_000,
    row=4000,
    thumbnail=2000,
    pixels=10_000,
    most_pixels=20_000,
)


def graph_of(dimension: int = 1280, size: int = 10_000_000) -> CompiledGraph:
    return CompiledGraph(
        "Net", "", "openvino", "f32", InputSpec(), dimension, {"graph.bin": bytes(size)}
    )


def predicted(
    images: int,
    config: RunConfig = CONFIG,
    resources: Resources = RESOURCES,
    labels: int = 1,
    tested: int = 0,
    **probe: int,
) -> Plan:
    """The plan for images with this number of labels; the first images are test images."""
    sides = ["test"] * tested + ["train"] * (images - tested) if tested else [None] * images
    columns = {
        "path": [f"file:/{n}.jpg" for n in range(images)],
        "label": [f"label {n % labels}" for n in range(images)],
        "split": sides,
        "length": [5000] * images,
        "modified": [0] * images,
    }
    listing = Parts.of(pa.table(columns, LISTING))
    seconds = {"list": 1.0, "compile": 2.0, "session": 3.0}
    probed = dataclasses.replace(PROBE, **probe)
    return estimate_from_probe(config, listing, graph_of(), probed, resources, seconds)
