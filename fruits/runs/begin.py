"""How a run begins: what it shall do, what there is, and whether that goes together. No Spark."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TextIO

from fruits.errors import ConfigError, InputError
from fruits.networks.graph import CompiledGraph
from fruits.runs.basis import Basis
from fruits.runs.checks import chosen_basis, require_apart
from fruits.runs.config import RunConfig
from fruits.runs.fingerprint import Fingerprint, fingerprint
from fruits.runs.inputs import compile_network, list_images
from fruits.runs.outputs import Outputs
from fruits.runs.progress import Stages
from fruits.sources.parts import Found, Parts
from fruits.sources.source import Source


@dataclass(frozen=True)
class Begun:
    """A run of which nothing is done yet, but that can be.

    Attributes:
        config: what to do; scaler and components are those of the model that is used.
        progress: where lines about the progress go.
        stages: the seconds of its steps.
        source: the images.
        found: all of them.
        listing: those that the run uses, which ``limit`` may make fewer.
        graph: the compiled backbone.
        basis: of the finished run whose model is used; None where a new one is fitted.
        outputs: the output folder.
        fingerprint: what the results will follow from.
    """

    config: RunConfig
    progress: TextIO
    stages: Stages
    source: Source
    found: Found
    listing: Parts
    graph: CompiledGraph
    basis: Basis | None
    outputs: Outputs
    fingerprint: Fingerprint


def begin(
    config: RunConfig, progress: TextIO, listed: tuple[Source, Found, Parts] | None = None
) -> Begun:
    """Lists the images, compiles the network, and finds out what cannot end well.

    Args:
        config: what to do.
        progress: where lines about the progress go.
        listed: from :func:`fruits.runs.inputs.list_images`, where the images are listed already.

    Raises:
        FruitsError: something is wrong that the caller can fix; one clear line.
    """
    stages = Stages(progress)
    outputs = Outputs.of(config.output)
    source, found, listing = listed or list_images(config, stages)
    graph = compile_network(config, stages)
    require_apart(config, found.linked)
    basis = chosen_basis(config, graph)
    if basis:
        config = replace(config, scaler=basis.scaler, components=basis.components)
    else:
        _require_images(config, listing.num_rows, graph)
    outputs.check(graph.identity, config.overwrite)
    return Begun(
        *(config, progress, stages, source, found, listing, graph, basis, outputs),
        fingerprint=fingerprint(config, found, graph.identity),
    )


def _require_images(config: RunConfig, found: int, graph: CompiledGraph) -> None:
    """Finds out before any long work what cannot end well.

    Raises:
        ConfigError: more components are wanted than there can be.
        InputError: fewer than two images.
    """
    if found < 2:
        raise InputError(f"images: wanted two at least for a PCA; found {found} in {config.images}")
    # A photograph may have any number of boxes.
    possible = graph.dimension if graph.detector else min(found, graph.dimension)
    if isinstance(config.components, int) and config.components > possible:
        raise ConfigError(
            f"components: wanted at most {possible} ({found} images, {graph.dimension} features "
            f"of {graph.backbone}); got {config.components}"
        )
