"""What a run and a plan begin with: the images, and the compiled network. Knows no Spark."""

from __future__ import annotations

from fruits.networks.compile import compile_backbone
from fruits.networks.graph import CompiledGraph
from fruits.runs.config import RunConfig
from fruits.runs.progress import Stages
from fruits.sources.open_source import open_source
from fruits.sources.parts import Found, Parts
from fruits.sources.source import Source


def list_images(config: RunConfig, stages: Stages) -> tuple[Source, Found, Parts]:
    """The source, all of its images, and those that the run uses, which ``limit`` may make fewer.

    Raises:
        InputError: there is no image, or some part of the source cannot be listed.
        StorageError: the store cannot be used.
    """
    with stages("list"):
        source = open_source(config.images, config.naming)
        found = source.found()
        return source, found, found.images.evenly(config.limit)


def compile_network(config: RunConfig, stages: Stages) -> CompiledGraph:
    """The network of a run, from the cache if it is there.

    Raises:
        BackboneError: it cannot be compiled.
    """
    with stages("compile"):
        return compile_backbone(
            config.backbone,
            config.weights,
            config.engine,
            config.precision,
            config.exact_decode,
            config.crop,
        )
