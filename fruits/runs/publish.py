"""The last step of a run: the model, the predictor, the plots and run.json."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fruits.classify.evaluate import Evaluation, labels_by_similarity
from fruits.features.rows import matrix, sample_batches
from fruits.predictor import write_predictor
from fruits.predictor.files import MANIFEST, Folder, upload
from fruits.predictor.write_images import BATCH, MOST_NEIGHBOURS
from fruits.runs.basis import Basis, KeptClassifier
from fruits.runs.classify import Classified
from fruits.runs.context import RunContext
from fruits.runs.extract import Extracted
from fruits.runs.fingerprint import require_same_model
from fruits.runs.held_out import HELD_OUT_FILE, held_out_bytes
from fruits.runs.output_record import PAGE, PUBLISHED
from fruits.runs.reduce import Reduced
from fruits.runs.report_data import collect_report_data
from fruits.runs.run_json import total_seconds
from fruits.runs.versions import package_versions
from fruits.spark.model_files import model_files
from fruits.spark.models import pipeline_stages
from fruits.storage.files import paths_in
from fruits.storage.location import Location
from fruits.tasks.project import DIGESTS

if TYPE_CHECKING:
    # The import takes half a second.
    import pyarrow.dataset as pads

# Points in the plot of PC1 and PC2: more points would hide each other.
PLOTTED_IMAGES = 20_000

# Rows of components in memory at a time.
_SLAB = 65_536


def save_model(
    context: RunContext, extracted: Extracted, reduced: Reduced, classified: Classified | None
) -> Future[None]:
    """Starts to save the Spark ML model and the basis for later runs, in the background."""
    kept = (
        KeptClassifier(
            classified.classifier,
            classified.most_frequent,
            classified.about,
            classified.baselines,
        )
        if classified
        else None
    )
    basis = Basis(
        reduced.moments,
        reduced.reduction.scaler,
        reduced.reduction.components,
        context.graph.identity,
        kept,
    )
    stages = pipeline_stages(
        extracted.labels,
        context.graph,
        reduced.reduction,
        classified.classifier if classified else None,
        context.config.naming,
    )

    kept_files = basis.files()
    if classified and classified.held_out and classified.held_out.paths:
        kept_files[HELD_OUT_FILE] = held_out_bytes(classified.held_out)

    def save() -> None:
        for name, content in model_files(stages):
            context.staged.write(f"model/{name}", content)
        for name, content in kept_files.items():
            context.staged.write(name, content)

    return context.background.submit(save)


def save_predictor(
    context: RunContext,
    extracted: Extracted,
    reduced: Reduced,
    classified: Classified,
    evaluations: list[Evaluation],
) -> None:
    """Stages the folder ``predictor``: a copy from the model that is used, or a new one."""
    with context.stages("predictor"):
        if context.basis is not None:
            place = context.staged.root / "predictor"
            _copy_predictor(Location.of(str(context.config.model)), place)
            return
        about = {
            "images": context.config.images,
            "counts": extracted.counts.as_dict(),
            "classifier": classified.about,
            "evaluation": [one.figures() for one in evaluations],
            "versions": package_versions(),
        }
        write_predictor(
            context.staged.root / "predictor",
            context.graph,
            reduced.reduction,
            classified.classifier,
            rows=_evenly(
                _training_rows(context, reduced.side),
                classified.about["training_images"],
                MOST_NEIGHBOURS,
            ),
            thumbnails=context.store.thumbnails(),
            about=about,
        )


def draw_plots(
    context: RunContext,
    reduced: Reduced,
    classified: Classified | None,
    evaluations: list[Evaluation],
) -> None:
    """Stages the plots."""
    from fruits import plots

    with context.stages("plots"):
        variance = reduced.reduction.explained_variance
        components = reduced.reduction.components
        scree = plots.scree(variance, components)
        context.staged.write("plots/scree.png", plots.png(scree))
        points, labels = pc1_pc2(context.staged.dataset("pca"))
        scatter = plots.scatter(points, labels, variance)
        context.staged.write("plots/pc1_pc2.png", plots.png(scatter))
        if classified and evaluations:
            order = labels_by_similarity(classified.classifier)
            # The first evaluation is the one on held-out groups, if there is one.
            confusion = plots.confusion(evaluations[0], order)
            context.staged.write("plots/confusion.png", plots.png(confusion))
            calibration = plots.calibration(evaluations)
            context.staged.write("plots/calibration.png", plots.png(calibration))
        # The parts of a figure refer to each other, so reference counts alone do not free them.
        gc.collect()


def write_page(
    context: RunContext,
    extracted: Extracted,
    reduced: Reduced,
    classified: Classified | None,
    evaluations: list[Evaluation],
    report: dict[str, Any],
) -> None:
    """Stages ``report.html``."""
    from fruits.report.document import render

    with context.stages("report"):
        data = collect_report_data(context, extracted, reduced, classified, evaluations, report)
        context.staged.write(PAGE, render(data))


def publish_results(context: RunContext, report: dict[str, Any]) -> None:
    """Publishes all staged results, and adds the last seconds to run.json.

    Raises:
        OutputError: The model that is used was fitted again during the run.
    """
    require_same_model(context.config, context.fingerprint)
    report["seconds"] = total_seconds(context.stages.seconds)
    context.outputs.publish(context.lock, *PUBLISHED, report=report)


def pc1_pc2(table: pads.Dataset) -> tuple[NDArray[np.float32], list[str | None]]:
    """The first two components of the images, for a plot, and their labels.

    Args:
        table: The table ``pca``.

    Returns:
        The components, float32 of shape (n, 2), or (n, 1) if there is only one; and the n labels,
        None for images without one. At most :data:`PLOTTED_IMAGES` images are sampled evenly.
    """
    points, labels = [np.empty((0, 1), np.float32)], list[str | None]()
    for some in sample_batches(table, PLOTTED_IMAGES, ["label", "pca"]):
        points.append(matrix(pc.list_slice(some["pca"], 0, 2)))
        labels += some["label"].to_pylist()
    return np.concatenate(points[1:] or points), labels


def _training_rows(context: RunContext, side: str | None) -> Iterator[pa.RecordBatch]:
    """The labelled training images, ordered by path: path, label, pca and sha256."""
    pca, digests = context.staged.root / "pca", context.staged.root / DIGESTS
    names = [path.rpartition("/")[2] for path in paths_in(pca)]
    for name in sorted(name for name in names if name.endswith(".parquet")):
        for rows, others in zip(_slabs(pca / name), _slabs(digests / name), strict=True):
            if others["path"] != rows["path"]:
                raise RuntimeError(f"wanted the images of {pca / name} among the digests")
            rows = rows.append_column("sha256", others["sha256"])
            own = rows.filter(pc.is_valid(rows["label"]))
            if side is not None:
                own = own.filter(pc.equal(own["split"], side))
            yield from own.select(["path", "label", "pca", "sha256"]).to_batches(BATCH)


def _slabs(place: Location) -> Iterator[pa.Table]:
    """The rows of a file, in tables of limited size."""
    with place.filesystem.open(place.path, "rb") as file, pq.ParquetFile(file) as parquet:
        for batch in parquet.iter_batches(_SLAB, use_threads=False):
            yield pa.Table.from_batches([batch])


def _evenly(batches: Iterable[pa.RecordBatch], count: int, most: int) -> Iterator[pa.RecordBatch]:
    """An even sample of at most ``most`` of ``count`` rows."""
    before = 0
    for batch in batches:
        numbers = np.arange(before, before + batch.num_rows, dtype=np.int64)
        before += batch.num_rows
        some = (numbers + 1) * most // count > numbers * most // count
        yield batch if most >= count else batch.filter(pa.array(some))


def _copy_predictor(model: Location, place: Location) -> None:
    """Copies the predictor of a finished run, if it has one."""
    old = model / "predictor"
    if old.filesystem.exists((old / MANIFEST).path):
        upload(Folder.of(old).path, place)
