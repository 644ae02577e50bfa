"""The last step of a run: the model, the predictor, the plots and run.json."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
from numpy.typing import NDArray

from fruits.classify.evaluate import Evaluation, labels_by_similarity
from fruits.features.rows import matrix, sample_batches
from fruits.features.table import open_features
from fruits.predictor import write_predictor
from fruits.predictor.files import MANIFEST, Folder, upload
from fruits.runs.basis import Basis, KeptClassifier
from fruits.runs.classify import Classified
from fruits.runs.extract import Extracted
from fruits.runs.fingerprint import options_digest
from fruits.runs.held_out import HELD_OUT_FILE, held_out_bytes
from fruits.runs.made import PAGE
from fruits.runs.material import collect
from fruits.runs.outputs import Outputs
from fruits.runs.quality import Quality
from fruits.runs.reduce import Reduced
from fruits.runs.summary import describe, figures, total_seconds
from fruits.runs.versions import package_versions
from fruits.runs.work import Work
from fruits.spark.model_files import model_files
from fruits.spark.models import pipeline_model
from fruits.storage.location import Location

PUBLISHED = (
    *("rejected", "pca", "predictions", "pca.csv", "quality", "atlas.parquet"),
    *("model", "predictor", "plots", PAGE),
)

# Points of the PC1/PC2 plot: more would hide each other.
PLOTTED_IMAGES = 20_000


def save_model(
    work: Work, extracted: Extracted, reduced: Reduced, classified: Classified | None
) -> Future[None]:
    """Begins to save the Spark ML model, and what later runs take from it."""
    kept = (
        KeptClassifier(classified.classifier, classified.most_frequent, classified.about)
        if classified
        else None
    )
    basis = Basis(
        reduced.moments,
        reduced.reduction.scaler,
        reduced.reduction.components,
        work.graph.identity,
        kept,
    )
    model = pipeline_model(
        {label: count for label, count in extracted.labels.items() if label is not None},
        work.graph,
        reduced.reduction,
        classified.classifier if classified else None,
        work.config.naming.label,
    )

    kept_files = basis.files()
    if classified and classified.held_out and classified.held_out.paths:
        kept_files[HELD_OUT_FILE] = held_out_bytes(classified.held_out)

    def save() -> None:
        for name, content in model_files(model, work.spark.version):
            work.staged.write(f"model/{name}", content)
        for name, content in kept_files.items():
            work.staged.write(name, content)

    return work.background.submit(save)


def save_predictor(
    work: Work,
    extracted: Extracted,
    reduced: Reduced,
    classified: Classified,
    evaluations: list[Evaluation],
) -> None:
    """Stages the folder ``predictor``: that of the run whose model is used, or a new one."""
    with work.stages("predictor"):
        if work.basis is not None:
            _copy_predictor(str(work.config.model), work.staged.uri("predictor"))
            return
        about = {
            "images": work.config.images,
            "counts": extracted.counts.as_dict(),
            "classifier": classified.about,
            "evaluation": [figures(one) for one in evaluations],
            "versions": package_versions(),
        }
        write_predictor(
            *(work.staged.uri("predictor"), work.graph, reduced.reduction, classified.classifier),
            rows=_training_rows(work, reduced.side),
            thumbnails=work.store.thumbnails(),
            about=about,
        )


def draw_plots(
    work: Work, reduced: Reduced, classified: Classified | None, evaluations: list[Evaluation]
) -> None:
    """Stages the pictures."""
    from fruits import plots

    with work.stages("plots"):
        variance = reduced.reduction.explained_variance
        components = reduced.reduction.components
        work.staged.write_figure(plots.scree(variance, components), "plots/scree.png")
        points, labels = pc1_pc2(work.staged)
        work.staged.write_figure(plots.scatter(points, labels, variance), "plots/pc1_pc2.png")
        if classified and evaluations:
            order = labels_by_similarity(classified.classifier)
            # The first one is of images unlike those that were trained on, where there is one.
            confusion = plots.confusion(evaluations[0], order)
            work.staged.write_figure(confusion, "plots/confusion.png")
            work.staged.write_figure(plots.calibration(evaluations), "plots/calibration.png")


def describe_results(
    work: Work,
    extracted: Extracted,
    reduced: Reduced,
    classified: Classified | str,
    evaluations: list[Evaluation],
    quality: Quality,
) -> dict[str, Any]:
    """The content of run.json, with the seconds of the stages that have ended."""
    # A comparison publishes other options than those that its run began with.
    fingerprint = work.fingerprint | {"options": options_digest(work.config)}
    report = describe(
        *(work.config, extracted.counts, work.graph, reduced.reduction, reduced.turned),
        *(work.stages.seconds, work.spark, work.store.ran()),
        passed_over=work.found.passed_over,
        fingerprint=None if extracted.unreadable else fingerprint,
    )
    report["split"] = {
        "images": {side or "none": count for side, count in extracted.sides.items()},
        "fitted_to": reduced.side or "all",
    }
    report["classifier"] = (
        {"skipped": classified} if isinstance(classified, str) else classified.about
    )
    report["evaluation"] = [one.to_json() for one in evaluations]
    report["quality"] = quality.as_dict()
    return report


def write_page(
    work: Work,
    extracted: Extracted,
    reduced: Reduced,
    classified: Classified | None,
    evaluations: list[Evaluation],
    report: dict[str, Any],
) -> None:
    """Stages ``report.html``."""
    from fruits.report.document import render

    with work.stages("report"):
        material = collect(work, extracted, reduced, classified, evaluations, report)
        work.staged.write(PAGE, render(material))


def publish_results(work: Work, report: dict[str, Any]) -> None:
    """Puts everything that is staged into its place, and adds the last seconds to run.json."""
    report["seconds"] = total_seconds(work.stages.seconds)
    work.outputs.publish(work.lock, *PUBLISHED, report=report)


def pc1_pc2(outputs: Outputs) -> tuple[NDArray[np.float32], list[str]]:
    """The first two components of the images, for a plot, and their labels.

    Returns:
        float32 of shape (n, 2), or (n, 1) where there is only one component, with n of
        :data:`PLOTTED_IMAGES` at most, spread evenly over the paths; and n labels, empty where
        there is none.
    """
    # Not by Spark, whose first query takes seconds.
    files = outputs.files("pca")
    paths, filesystem = [file.path for file in files], outputs.root.filesystem
    table = pads.dataset(paths, filesystem=filesystem, format="parquet")
    points, labels = [np.empty((0, 1), np.float32)], list[str]()
    for some in sample_batches(table, PLOTTED_IMAGES, ["label", "pca"]):
        points.append(matrix(pc.list_slice(some["pca"], 0, 2)))
        labels += pc.fill_null(some["label"].cast(pa.string()), "").to_pylist()
    return np.concatenate(points[1:] or points), labels


def _training_rows(work: Work, side: str | None) -> Iterator[pa.RecordBatch]:
    """The training images in the order of their paths: path, label, sha256 and pca."""
    digests = open_features(work.config.output).to_table(columns=["path", "sha256"])
    pca = work.staged.root / "pca"
    components = pads.dataset(pca.path, filesystem=pca.filesystem, format="parquet")
    for batch in components.to_batches(batch_size=4096):
        own = batch if side is None else batch.filter(pc.equal(batch["split"], side))
        if own.num_rows:
            sha256 = digests["sha256"].take(pc.index_in(own["path"], digests["path"]))
            columns = {name: own[name] for name in ("path", "label", "pca")}
            yield pa.record_batch({**columns, "sha256": sha256.combine_chunks()})


def _copy_predictor(model: str, place: str) -> None:
    """Copies the predictor of a finished run, where it has one."""
    old = Location.of(model) / "predictor"
    if old.filesystem.exists((old / MANIFEST).path):
        upload(Folder.of(str(old)).path, Location.of(place))
