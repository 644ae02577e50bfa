"""The steps of a run that has work to do, from the features to the published results."""

from __future__ import annotations

from fruits.runs.atlas import write_atlas
from fruits.runs.classify import Classified, train_classifier
from fruits.runs.extract import Extracted, extract_features
from fruits.runs.finished import Results, Run
from fruits.runs.project import project_features
from fruits.runs.publish import (
    describe_results,
    draw_plots,
    publish_results,
    save_model,
    save_predictor,
    write_page,
)
from fruits.runs.quality import find_quality
from fruits.runs.reduce import Reduced, reduce_features
from fruits.runs.work import Work


def execute(work: Work) -> Run:
    """Does what a run shall do.

    Raises:
        FruitsError: something is wrong that the caller can fix; one clear line.
    """
    extracted = extract_features(work)
    reduced = reduce_features(work, extracted)
    trained = train_classifier(work, extracted, reduced)
    return finish(work, extracted, reduced, trained)


def finish(work: Work, extracted: Extracted, reduced: Reduced, trained: Classified | str) -> Run:
    """Writes and publishes the results of a run, after its classifier was trained.

    Args:
        work: the run.
        extracted: from its first step.
        reduced: from its second step.
        trained: from its third step: the classifier, or why there is none.
    """
    classified = None if isinstance(trained, str) else trained
    model = save_model(work, extracted, reduced, classified)
    evaluations = project_features(work, extracted, reduced, classified)
    if classified and classified.evaluation:
        evaluations.insert(0, classified.evaluation)
    if classified:
        save_predictor(work, extracted, reduced, classified, evaluations)
    draw_plots(work, reduced, classified, evaluations)
    quality = find_quality(work, extracted, reduced, classified)
    write_atlas(work)
    report = describe_results(work, extracted, reduced, trained, evaluations, quality)
    write_page(work, extracted, reduced, classified, evaluations, report)
    with work.stages("model"):
        model.result()
    publish_results(work, report)
    results = Results(reduced.reduction, classified, evaluations)
    return Run(work.outputs, report, work.spark, results)
