"""The steps of a run, from the features to the published results."""

from __future__ import annotations

from fruits.runs.atlas import write_atlas
from fruits.runs.classify import Classified, train_classifier
from fruits.runs.context import RunContext
from fruits.runs.extract import Extracted, extract_features
from fruits.runs.finished import Results, Run
from fruits.runs.project import project_features
from fruits.runs.publish import (
    draw_plots,
    publish_results,
    save_model,
    save_predictor,
    write_page,
)
from fruits.runs.quality import find_quality
from fruits.runs.reduce import Reduced, reduce_features
from fruits.runs.run_json import describe


def execute(context: RunContext) -> Run:
    """Does all steps of a run.

    Raises:
        FruitsError: The caller can fix the problem; the message is one line.
    """
    extracted = extract_features(context)
    reduced = reduce_features(context, extracted)
    trained = train_classifier(context, extracted, reduced)
    return finish(context, extracted, reduced, trained)


def finish(
    context: RunContext, extracted: Extracted, reduced: Reduced, trained: Classified | str
) -> Run:
    """Writes and publishes the results of a run, after its classifier was trained.

    Args:
        context: The run.
        extracted: The result of the first step.
        reduced: The result of the second step.
        trained: The result of the third step: the classifier, or the reason why there is none.
    """
    classified = None if isinstance(trained, str) else trained
    model = save_model(context, extracted, reduced, classified)
    evaluations = project_features(context, extracted, reduced, classified)
    if classified and classified.evaluation:
        evaluations.insert(0, classified.evaluation)
    if classified:
        save_predictor(context, extracted, reduced, classified, evaluations)
    draw_plots(context, reduced, classified, evaluations)
    quality = find_quality(context, extracted, reduced, classified)
    write_atlas(context)
    report = describe(context, extracted, reduced, trained, evaluations, quality)
    write_page(context, extracted, reduced, classified, evaluations, report)
    with context.stages("model"):
        model.result()
    publish_results(context, report)
    results = Results(reduced.reduction, classified, evaluations)
    return Run(context.outputs, report, context.session, results)
