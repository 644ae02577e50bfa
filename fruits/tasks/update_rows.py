"""Drops and relabels committed rows in tasks, and updates the stored moments of their chunks."""

import uuid
from contextlib import suppress

import pyarrow as pa
import pyarrow.compute as pc

from fruits.errors import OutputError
from fruits.features.changes import StoredMoments, changed_copy
from fruits.features.table import THUMBNAILS_FOLDER
from fruits.features.writer import STAGED, FeatureWriter
from fruits.folds.kept_folds import KeptFolds, delete_folds
from fruits.sources.listing import IDENTITY
from fruits.storage.files import link_or_copy
from fruits.tasks.stored_moments import covered_rows, files_of, staged_file, stored_moments
from fruits.tasks.workers import Workers


def update(workers: Workers, writer: FeatureWriter, stale: pa.Table, changed: pa.Table) -> None:
    """Drops committed rows, and gives others the label and the split that they have in a listing.

    New files replace those with such rows, and new chunks their chunks. The sums of dropped rows
    are subtracted exactly from the stored moments of their chunk, unless rows of the chunk get
    another label or split. If a call is interrupted, the next one finishes it.

    Args:
        workers: The workers.
        writer: The features.
        stale: The rows to drop, some of the rows of :func:`fruits.tasks.known.known_rows`.
        changed: The result of :func:`fruits.features.changes.changed_rows`.
    """
    relabelled = set(pc.unique(changed["file"]).to_pylist())
    names = relabelled.union(pc.unique(stale["file"]).to_pylist())
    if not names:
        return
    chunks = [chunk for chunk in writer.chunks() if names & set(chunk.files)]
    jobs = []
    subtracted_from = [chunk for chunk in chunks if not relabelled & set(chunk.files)]
    for chunk, file in stored_moments(writer, subtracted_from):
        files = files_of(writer, chunk)
        touched = [one for one in files if one.name in names]
        target = staged_file(writer, file)
        jobs.append(StoredMoments(files, touched, file, target, *covered_rows(file)))
    what = f"drop: moments of {stale.num_rows:,} removed images"
    new = {name: f"{uuid.uuid4().hex}.parquet" for name in sorted(names)}
    with workers.share((stale.select(IDENTITY), changed.drop_columns(["file"]))) as shared:
        subtracted = workers.run(lambda job: job.subtract(shared.value[0]), jobs, what)
        if stale.num_rows:
            _keep_gone(workers, writer, stale)
        root = writer.root

        def copy(names: tuple[str, str]) -> None:
            old, name = names
            with suppress(FileNotFoundError):  # Earlier versions made no thumbnails.
                link_or_copy(root / THUMBNAILS_FOLDER / old, root / THUMBNAILS_FOLDER / name)
            changed_copy(root / old, root / STAGED / name, *shared.value)

        what = f"update: {stale.num_rows:,} removed images, {changed.num_rows:,} other labels"
        workers.run(copy, [*new.items()], what)
    moments = [job.staged for job, was in zip(jobs, subtracted, strict=True) if was]
    for chunk in chunks:
        kept = [new.get(name, name) for name in chunk.files]
        staged = [new[name] for name in chunk.files if name in new]
        own = [one for one in moments if one.name.startswith(f"{chunk.number:06}.")]
        writer.replace_chunks([chunk], kept, staged, own)
    writer.delete_replaced()


def _keep_gone(workers: Workers, writer: FeatureWriter, stale: pa.Table) -> None:
    """Stores dropped rows until they are subtracted from the moments of folds."""
    kept = KeptFolds.read(writer.root)
    if not kept:
        return
    try:
        own = kept.measured_among(stale)
    except OutputError:
        delete_folds(writer.root)  # All images are measured again.
        return
    prefix = kept.dropped_prefix()
    with workers.share((kept, own.select(IDENTITY))) as shared:
        workers.run(
            lambda file: shared.value[0].keep_dropped(prefix, file, shared.value[1]),
            [writer.root / name for name in sorted(set(own["file"].to_pylist()))],
            f"drop: keep {own.num_rows:,} images for the moments of folds",
        )
