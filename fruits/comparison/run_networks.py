"""Compares networks on the same images: runs each of them and writes one table of figures."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, TextIO

from fruits.classify.evaluate import Evaluation
from fruits.comparison.grid import ComparisonGrid
from fruits.comparison.network_plans import plan_comparison
from fruits.comparison.results import (
    CSV,
    JSON,
    PLOT,
    Comparison,
    Network,
    ReductionResult,
    Tried,
    best_of,
)
from fruits.errors import ConfigError, FruitsError, InputError, OutputError
from fruits.planning.probe import Probe, probe
from fruits.reduction.fit import choose_components, fit_reduction
from fruits.runs.checks import require_apart
from fruits.runs.classify import Classified, train_classifier
from fruits.runs.config import RunConfig
from fruits.runs.context import RunContext, open_context
from fruits.runs.extract import Extracted, extract_features
from fruits.runs.inputs import list_images
from fruits.runs.output_record import LOCK, RECORD
from fruits.runs.outputs import Outputs
from fruits.runs.prepare import prepare_run
from fruits.runs.progress import Stages
from fruits.runs.project import project_features
from fruits.runs.reduce import Reduced, reduce_features
from fruits.runs.steps import finish
from fruits.sources.parts import Found, Parts
from fruits.spark.failures import java_ended, spark_errors
from fruits.storage.files import delete
from fruits.storage.files import replace as replace_file
from fruits.storage.lock import exclusive, is_free_or_lock

Listed = tuple[Found, Parts]


def compare(
    config: RunConfig,
    *,
    progress: TextIO | None = None,
    **values: Sequence[Any],
) -> Comparison:
    """Extracts the features of each network once, and tries all classifiers and reductions.

    Each network gets a finished run in ``config.output/NAME``, with the classifier that has the
    best grouped accuracy.

    Args:
        config: The options that all runs share. Its backbone is ignored.
        progress: The stream for lines about the progress; stderr by default.
        values: Several values of an option in :data:`fruits.comparison.grid.VARIED`, by its
            name, such as ``backbone=["EfficientNetLite0", "MobileNetV2"]``. Networks must be
            given; other options default to the value in ``config``.

    Raises:
        FruitsError: Nothing can be compared. If only one network fails, the reason is its
            :attr:`~fruits.comparison.results.Network.error`.
        KeyboardInterrupt: The message names the finished networks.
    """
    progress = progress or sys.stderr
    grid = ComparisonGrid.of(config, values)
    done: dict[str, Network] = {}
    try:
        with spark_errors():
            for network in _networks(config, grid, progress):
                done[network.name] = network
    except KeyboardInterrupt as stop:
        finished = ", ".join(name for name, one in done.items() if not one.error) or "none"
        raise KeyboardInterrupt(
            f"interrupted; finished networks, which are kept: {finished}; "
            "the same command continues"
        ) from stop
    return Comparison(list(done.values()))


def _networks(config: RunConfig, grid: ComparisonGrid, progress: TextIO) -> Iterator[Network]:
    """Runs the networks one after the other, and writes the tables after each of them."""
    outputs = Outputs.of(config.output)
    before = _comparison_there(outputs)
    require_apart(config)
    listed = list_images(config, Stages(progress))
    require_apart(config, listed[0].linked)
    known = {one.backbone: before.get(one.backbone) for one in grid.runs}
    with exclusive(outputs.uri(LOCK)):
        new = [one for one in grid.runs if not _is_finished(known[one.backbone], config)]
        planned = plan_comparison(new, grid, listed[1], progress)
        for line in planned.lines():
            print(line, file=progress)
        for number, run in enumerate(grid.runs, 1):
            print(f"network {number} of {len(known)}: {run.backbone}", file=progress, flush=True)
            tried = planned.probe_of(run.backbone)
            found = _network(run, grid, listed, progress, known[run.backbone], tried)
            known[run.backbone] = found
            _write(outputs, Comparison([one for one in known.values() if one]))
            yield found


def _comparison_there(outputs: Outputs) -> dict[str, Network]:
    """The networks of an earlier comparison in the folder, by name.

    Raises:
        OutputError: The folder is the output of a run, or has other files with our names.
    """
    if outputs.exists(RECORD):
        raise OutputError(
            f"output: wanted a new folder, or that of an earlier comparison; {outputs.root} is the "
            "output of a run: give another output"
        )
    if outputs.exists(JSON):
        try:
            return {one.backbone: one for one in Comparison.from_json(outputs.read(JSON)).networks}
        except ValueError as error:
            raise OutputError(
                f"output: {outputs.uri(JSON)} is damaged, or not of a comparison ({error}): move "
                "it away, or give another output"
            ) from error
    names = [name for name in (CSV, PLOT) if outputs.exists(name)]
    if not is_free_or_lock(outputs.root / LOCK):
        names.append(LOCK)
    if names:
        raise OutputError(
            f"output: {outputs.uri(names[0])} is not of a comparison and would be replaced: move "
            "it away, or give another output"
        )
    return {}


def _is_finished(network: Network | None, config: RunConfig) -> bool:
    return network is not None and not network.error and not config.overwrite


def _network(
    config: RunConfig,
    grid: ComparisonGrid,
    listed: Listed,
    progress: TextIO,
    earlier: Network | None,
    tried: Probe | None,
) -> Network:
    """Runs one network; if that fails, the result has the reason."""
    try:
        prepared = prepare_run(config, Stages(progress), listed)
        with open_context(prepared, tried=grid.tried(prepared.config)) as context:
            found = _run(context, grid, tried)
    except FruitsError as error:
        if java_ended():  # The other networks would fail too.
            raise
        print(f"fruits: {config.backbone} failed: {error}", file=progress)
        found = Network(backbone=config.backbone, output=config.output, error=str(error))
    if earlier is None or config.overwrite:
        return found
    # Features of earlier comparisons are not extracted again: their time counts too.
    return replace(
        found,
        extracted=found.extracted + earlier.extracted,
        extract_seconds=round(found.extract_seconds + earlier.extract_seconds, 3),
    )


def _run(context: RunContext, grid: ComparisonGrid, probed: Probe | None) -> Network:
    extracted = extract_features(context)
    reduced = reduce_features(context, extracted)
    trials = [_train(context, extracted, reduced, one) for one in grid.tried(context.config)]
    place = best_of([one.tried for one in trials])
    tried = [
        one.tried if number == place else _evaluated(one, extracted, reduced, number)
        for number, one in enumerate(trials)
    ]
    if tried[place].skipped:
        context.stages.seconds.pop("classify", None)
    else:
        context.stages.seconds["classify"] = tried[place].seconds
    result = finish(trials[place].context, extracted, reduced, trials[place].trained)
    tried[place] = replace(tried[place], evaluations=_figures(result.evaluations))
    counts, seconds = result.report["counts"], result.report["seconds"]
    return Network(
        backbone=context.config.backbone,
        output=context.config.output,
        dimension=context.graph.dimension,
        components=result.report["components"],
        explained_variance=sum(result.report["explained_variance"]),
        image_seconds=_image_seconds(context, probed),
        extracted=counts["extracted"],
        extract_seconds=seconds["extract"] if counts["extracted"] else 0.0,
        fit_seconds=seconds["fit"],
        features_bytes=_bytes(context.outputs, "features"),
        predictor_bytes=_bytes(context.outputs, "predictor") if result.classified else None,
        tried=tried,
        published=place if result.classified else None,
        reductions=_reductions(reduced, grid),
    )


@dataclass(frozen=True)
class _Trial:
    """A trained classifier, the context of a run with its options, and its figures."""

    context: RunContext
    trained: Classified | str
    tried: Tried


def _train(
    context: RunContext, extracted: Extracted, reduced: Reduced, config: RunConfig
) -> _Trial:
    context = replace(context, config=config)
    trained = train_classifier(context, extracted, reduced)
    if isinstance(trained, str):
        return _Trial(context, trained, Tried(classifier=config.classifier, skipped=trained))
    tried = Tried(
        classifier=config.classifier,
        transform=trained.classifier.transform,
        shrinkage=trained.classifier.shrinkage,
        seconds=context.stages.seconds["classify"],
        evaluations=_figures([trained.evaluation] if trained.evaluation else []),
    )
    return _Trial(context, trained, tried)


def _evaluated(trial: _Trial, extracted: Extracted, reduced: Reduced, number: int) -> Tried:
    """Evaluates a classifier that is not published on the held-out sides of the split."""
    if isinstance(trial.trained, str):
        return trial.tried
    # Its tables are not published.
    staged = Outputs(trial.context.staged.root / f"trial-{number}")
    context = replace(trial.context, staged=staged, config=replace(trial.context.config, csv=False))
    found = project_features(context, extracted, reduced, trial.trained)
    return replace(trial.tried, evaluations=trial.tried.evaluations + _figures(found))


def _figures(evaluations: Sequence[Evaluation]) -> list[dict[str, object]]:
    return [one.figures() for one in evaluations]


def _reductions(reduced: Reduced, grid: ComparisonGrid) -> list[ReductionResult]:
    """The results of each scaler with each number of components, from the moments alone."""
    found = []
    for scaler in grid.scalers:
        explained = fit_reduction(reduced.moments, scaler, 1).explained_variance
        possible = explained[: min(reduced.moments.count, explained.size)]
        for wanted in grid.components:
            count = None
            with suppress(ConfigError):
                count = choose_components(possible, wanted)
            share = None if count is None else float(possible[:count].sum())
            found.append(
                ReductionResult(
                    scaler=scaler, wanted=wanted, components=count, explained_variance=share
                )
            )
    return found


def _image_seconds(context: RunContext, probed: Probe | None) -> float | None:
    """The seconds of one core for one image; None if an image of the probe crashes the decoder.

    Args:
        context: The context of the network's run.
        probed: The measurements of the plan, if there are any.
    """
    with suppress(InputError), context.stages("probe"):
        tried = probed or probe(context.listing, context.graph)
        return tried.read + tried.decode + tried.network
    return None


def _bytes(outputs: Outputs, name: str) -> int:
    """The bytes of all files below a folder."""
    place = outputs.root / name
    place.filesystem.invalidate_cache()
    return int(place.filesystem.du(place.path))


def _write(outputs: Outputs, comparison: Comparison) -> None:
    """Writes the tables and the plot."""
    from fruits import plots

    replace_file(outputs.root / CSV, comparison.to_csv())
    points = comparison.points
    if points:
        best = comparison.best
        figure = plots.tradeoff(points, best.name if best else None)
        outputs.write(PLOT, plots.png(figure))
    elif outputs.exists(PLOT):
        delete(outputs.root / PLOT)
    replace_file(outputs.root / JSON, comparison.to_json())
