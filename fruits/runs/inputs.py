"""The inputs of a run or a plan: the images and the compiled network. Imports no Spark."""

from __future__ import annotations

from fruits.networks.compile import compile_backbone
from fruits.networks.graph import CompiledGraph
from fruits.runs.config import RunConfig
from fruits.runs.progress import Stages
from fruits.sources.open_source import open_source
from fruits.sources.parts import Found, Parts


def list_images(config: RunConfig, stages: Stages) -> tuple[Found, Parts]:
    """All images of the source, and the images that the run uses (see ``limit``).

    Raises:
        InputError: There is no image, or a part of the source cannot be listed.
        StorageError: The store cannot be used.
    """
    with stages("list"):
        found = open_source(config.images, config.naming).found()
        return found, found.images.sample_evenly(config.limit)


def compile_network(config: RunConfig, stages: Stages) -> CompiledGraph:
    """Compiles the network of a run, or reads it from the cache.

    Raises:
        BackboneError: The network cannot be compiled.
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
