"""The start of a run, without Spark: compiles the network, and checks it and the images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from fruits.errors import ConfigError, InputError
from fruits.networks.graph import CompiledGraph
from fruits.planning.capacity import components_refusal
from fruits.runs.basis import Basis
from fruits.runs.checks import chosen_basis, require_apart
from fruits.runs.config import RunConfig
from fruits.runs.fingerprint import Fingerprint, fingerprint, model_digest
from fruits.runs.inputs import compile_network
from fruits.runs.outputs import Outputs
from fruits.runs.progress import Stages
from fruits.sources.parts import Found, Parts
from fruits.sources.selection import other_files
from fruits.wording import counted


@dataclass(frozen=True)
class PreparedRun:
    """A run whose inputs are checked, before its first step.

    Attributes:
        config: The options. With ``model``, scaler and components are those of the model.
        stages: The seconds of the steps, and the stream for lines about the progress.
        found: All images of the source.
        listing: The images that the run uses; ``limit`` may select some of them.
        graph: The compiled backbone.
        basis: The basis of the run whose model is used; None if a new one is fitted.
        outputs: The output folder.
        fingerprint: The digests of everything that determines the results.
    """

    config: RunConfig
    stages: Stages
    found: Found
    listing: Parts
    graph: CompiledGraph
    basis: Basis | None
    outputs: Outputs
    fingerprint: Fingerprint


def prepare_run(config: RunConfig, stages: Stages, listed: tuple[Found, Parts]) -> PreparedRun:
    """Compiles the network, and refuses a run that cannot succeed.

    Args:
        config: The options.
        stages: The finished stages, which are part of the run.
        listed: The result of :func:`fruits.runs.inputs.list_images`.

    Raises:
        FruitsError: The caller can fix the problem; the message is one line.
    """
    outputs = Outputs.of(config.output)
    found, listing = listed
    graph = compile_network(config, stages)
    require_apart(config, found.linked)
    model = model_digest(config)  # Before the model is read: see `require_same_model`.
    basis = chosen_basis(config, graph)
    if basis:
        config = replace(config, scaler=basis.scaler, components=basis.components)
    else:
        _require_images(config, listing, graph, found.passed_over)
        _require_labels(config, listing)
        _require_groups(config, listing)
    outputs.check(graph.identity, config.overwrite)
    return PreparedRun(
        config=config,
        stages=stages,
        found=found,
        listing=listing,
        graph=graph,
        basis=basis,
        outputs=outputs,
        fingerprint=fingerprint(config, found, graph.identity, model),
    )


def _require_labels(config: RunConfig, listing: Parts) -> None:
    """Refuses an expression for labels that matches no image, before any long computation.

    Raises:
        ConfigError: No image would have a label.
    """
    if not config.naming.is_searched:
        return
    if all(part["label"].null_count == part.num_rows for part in listing):
        raise _unmatched("label", config.label, listing)


def _require_groups(config: RunConfig, listing: Parts) -> None:
    """Refuses an expression for groups that matches no image, before any long computation.

    Raises:
        ConfigError: Every image would be a separate group.
    """
    if config.group is None or config.classifier == "none":
        return
    rules = config.naming
    for part in listing:
        if any(rules.group_of(path) is not None for path in part["path"].to_pylist()):
            return
    raise _unmatched("group", config.group, listing)


def _unmatched(option: str, expression: str | None, listing: Parts) -> ConfigError:
    example = next(path for part in listing for path in part["path"].to_pylist())
    return ConfigError(
        f"{option}: wanted an expression that matches paths such as {example}; {expression!r} "
        f"matches none of {counted(listing.num_rows, 'image')}: correct it, or leave out {option}"
    )


def _require_images(
    config: RunConfig, listing: Parts, graph: CompiledGraph, passed_over: Mapping[str, int]
) -> None:
    """Refuses a run that cannot succeed, before any long computation.

    Raises:
        ConfigError: The number of components is too large.
        InputError: There are fewer than two images.
    """
    if listing.num_rows < 2:
        others = other_files(passed_over, ", which also has")
        raise InputError(
            f"images: wanted at least two for a PCA; found {listing.num_rows} in "
            f"{config.images}{others}"
        )
    if error := components_refusal(config, listing, graph):
        raise error
