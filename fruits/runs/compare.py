"""Several networks on the same images: a finished run of each, and their figures in one table."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TextIO

from fruits.classify.evaluate import Evaluation
from fruits.errors import ConfigError, FruitsError, InputError, OutputError
from fruits.reduction.fit import choose_components, fit_reduction
from fruits.runs.begin import begin
from fruits.runs.checks import require_apart
from fruits.runs.choices import Choices
from fruits.runs.classify import Classified, train_classifier
from fruits.runs.comparison import Comparison, Network, Reduction, Tried, best_of
from fruits.runs.config import RunConfig
from fruits.runs.extract import Extracted, extract_features
from fruits.runs.inputs import list_images
from fruits.runs.made import LOCK, RECORD
from fruits.runs.outputs import Outputs
from fruits.runs.probe import probe
from fruits.runs.progress import Stages
from fruits.runs.project import project_features
from fruits.runs.reduce import Reduced, reduce_features
from fruits.runs.steps import finish
from fruits.runs.summary import figures
from fruits.runs.work import Work, open_work
from fruits.sources.parts import Found, Parts
from fruits.sources.source import Source
from fruits.spark.failures import java_ended, spark_errors
from fruits.storage.files import delete
from fruits.storage.files import replace as replace_file
from fruits.storage.lock import exclusive, is_free_or_lock

JSON, CSV, PLOT = "compare.json", "compare.csv", "plots/compare.png"

Listed = tuple[Source, Found, Parts]


def compare(
    config: RunConfig,
    *,
    backbone: Sequence[str],
    scaler: Sequence[str] = (),
    components: Sequence[int | float] = (),
    classifier: Sequence[str] = (),
    transform: Sequence[str] = (),
    progress: TextIO | None = None,
) -> Comparison:
    """Extracts the features of each network once, and tries what can follow from them.

    Each network has a finished run of its own in ``config.output/NAME``, with the classifier that
    is best by grouped accuracy. An empty sequence stands for the value in ``config``.

    Args:
        config: what all runs share; its backbone does not count.
        backbone: the networks.
        scaler: names of scalers.
        components: numbers of components, or shares of the variance.
        classifier: kinds of classifier.
        transform: of the features before the classifier.
        progress: where lines about the progress go; by default stderr.

    Raises:
        FruitsError: nothing can be compared. What is wrong with one network only is its
            :attr:`~fruits.runs.comparison.Network.error`.
        KeyboardInterrupt: with a line that says what is finished.
    """
    progress = progress or sys.stderr
    choices = Choices.of(config, backbone, scaler, components, classifier, transform)
    done: dict[str, Network] = {}
    try:
        with spark_errors():
            for network in _networks(config, choices, progress):
                done[network.name] = network
    except KeyboardInterrupt as stop:
        finished = ", ".join(name for name, one in done.items() if not one.error) or "none"
        raise KeyboardInterrupt(
            f"interrupted; finished networks, which are kept: {finished}; the same command goes on"
        ) from stop
    return Comparison(list(done.values()))


def _networks(config: RunConfig, choices: Choices, progress: TextIO) -> Iterator[Network]:
    """The networks one after the other; the tables are written again after each."""
    outputs = Outputs.of(config.output)
    before = _comparison_there(outputs)
    listed = list_images(config, Stages(progress))
    require_apart(config, listed[1].linked)
    known = {one.backbone: before.get(one.backbone) for one in choices.runs}
    with exclusive(outputs.uri(LOCK)):
        for number, run in enumerate(choices.runs, 1):
            print(f"network {number} of {len(known)}: {run.backbone}", file=progress, flush=True)
            found = _network(run, choices, listed, progress, known[run.backbone])
            known[run.backbone] = found
            _write(outputs, Comparison([one for one in known.values() if one]))
            yield found


def _comparison_there(outputs: Outputs) -> dict[str, Network]:
    """The networks of an earlier comparison in the folder, by name.

    Raises:
        OutputError: the folder is that of a run, or has files of somebody else with our names.
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


def _network(
    config: RunConfig, choices: Choices, listed: Listed, progress: TextIO, earlier: Network | None
) -> Network:
    """The run of one network; if it cannot be done, the reason."""
    try:
        with open_work(begin(config, progress, listed)) as work:
            found = _run(work, choices)
    except FruitsError as error:
        if java_ended():  # No other network can be run either.
            raise
        print(f"fruits: {config.backbone} failed: {error}", file=progress)
        found = Network(backbone=config.backbone, output=config.output, error=str(error))
    if earlier is None or config.overwrite:
        return found
    # What earlier comparisons have extracted is not extracted again, and took its time.
    return replace(
        found,
        extracted=found.extracted + earlier.extracted,
        extract_seconds=round(found.extract_seconds + earlier.extract_seconds, 3),
    )


def _run(work: Work, choices: Choices) -> Network:
    extracted = extract_features(work)
    reduced = reduce_features(work, extracted)
    trials = [_train(work, extracted, reduced, *pair) for pair in choices.classifiers]
    place = best_of([one.tried for one in trials])
    tried = [
        one.tried if number == place else _evaluated(one, extracted, reduced, number)
        for number, one in enumerate(trials)
    ]
    if tried[place].skipped:
        work.stages.seconds.pop("classify", None)
    else:
        work.stages.seconds["classify"] = tried[place].seconds
    result = finish(trials[place].work, extracted, reduced, trials[place].trained)
    tried[place] = replace(tried[place], evaluations=_figures(result.evaluations))
    counts, seconds = result.report["counts"], result.report["seconds"]
    return Network(
        backbone=work.config.backbone,
        output=work.config.output,
        dimension=work.graph.dimension,
        components=result.report["components"],
        explained_variance=sum(result.report["explained_variance"]),
        image_seconds=_image_seconds(work),
        extracted=counts["extracted"],
        extract_seconds=seconds["extract"] if counts["extracted"] else 0.0,
        fit_seconds=seconds["fit"],
        features_bytes=_bytes(work.outputs, "features"),
        predictor_bytes=_bytes(work.outputs, "predictor") if result.classified else None,
        tried=tried,
        published=place if result.classified else None,
        reductions=_reductions(reduced, choices),
    )


@dataclass(frozen=True)
class _Trial:
    """A classifier that was trained: the run as it would have it, and what is known of it."""

    work: Work
    trained: Classified | str
    tried: Tried


def _train(work: Work, extracted: Extracted, reduced: Reduced, kind: str, transform: str) -> _Trial:
    work = replace(work, config=replace(work.config, classifier=kind, transform=transform))
    trained = train_classifier(work, extracted, reduced)
    if isinstance(trained, str):
        return _Trial(work, trained, Tried(classifier=kind, skipped=trained))
    tried = Tried(
        classifier=kind,
        transform=trained.classifier.transform,
        shrinkage=trained.classifier.shrinkage,
        seconds=work.stages.seconds["classify"],
        evaluations=_figures([trained.evaluation] if trained.evaluation else []),
    )
    return _Trial(work, trained, tried)


def _evaluated(trial: _Trial, extracted: Extracted, reduced: Reduced, number: int) -> Tried:
    """A classifier that the run does not have, with the figures of the held-out sides."""
    if isinstance(trial.trained, str):
        return trial.tried
    # What it writes stays apart from the results that are published.
    staged = Outputs(trial.work.staged.root / f"trial-{number}")
    work = replace(trial.work, staged=staged, config=replace(trial.work.config, csv=False))
    found = project_features(work, extracted, reduced, trial.trained)
    return replace(trial.tried, evaluations=trial.tried.evaluations + _figures(found))


def _figures(evaluations: Sequence[Evaluation]) -> list[dict[str, object]]:
    return [figures(one) for one in evaluations]


def _reductions(reduced: Reduced, choices: Choices) -> list[Reduction]:
    """Each scaler with each number of components, from the moments alone."""
    found = []
    for scaler in choices.scalers:
        explained = fit_reduction(reduced.moments, scaler, 1).explained_variance
        possible = explained[: min(reduced.moments.count, explained.size)]
        for wanted in choices.components:
            count = None
            with suppress(ConfigError):
                count = choose_components(possible, wanted)
            share = None if count is None else float(possible[:count].sum())
            found.append(
                Reduction(scaler=scaler, wanted=wanted, components=count, explained_variance=share)
            )
    return found


def _image_seconds(work: Work) -> float | None:
    """Of one core, for one image; None where one of those that are tried crashes the decoder."""
    with suppress(InputError), work.stages("probe"):
        tried = probe(work.listing, work.graph)
        return tried.read + tried.decode + tried.network
    return None


def _bytes(outputs: Outputs, name: str) -> int:
    """Of all files below a folder."""
    place = outputs.root / name
    place.filesystem.invalidate_cache()
    return int(place.filesystem.du(place.path))


def _write(outputs: Outputs, comparison: Comparison) -> None:
    """Writes the tables and the plot."""
    from fruits import plots

    replace_file(outputs.uri(CSV), comparison.to_csv())
    points = comparison.points
    if points:
        best = comparison.best
        figure = plots.tradeoff(points, best.name if best else None)
        outputs.write_figure(figure, PLOT)
    elif outputs.exists(PLOT):
        delete(outputs.uri(PLOT))
    replace_file(outputs.uri(JSON), comparison.to_json())
