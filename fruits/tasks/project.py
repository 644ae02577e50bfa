"""Projection: the committed features -> components and predictions, ordered by path.

Workers read, multiply and write. The order does not depend on how the features were committed: the
tasks of a first job each write a sorted file, and those of a second job each merge one range of
paths from these files. If a range is in very many of them, they are merged first. With the tables
of an earlier run, only rows that may differ are projected, and files without changes are reused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from fruits.classify.rows import TablePredictor
from fruits.features.file_groups import TASK_BYTES, TASK_FILES, task_groups
from fruits.features.rows import SCANNED_ROWS, lists, matrix, read_rows, write_rows
from fruits.features.table import FeatureTable
from fruits.reduction.fit import Reduction
from fruits.reduction.transform import affine
from fruits.sources.listing import in_sorted
from fruits.storage.files import delete_folder
from fruits.storage.location import Location
from fruits.tasks import path_ranges as ranges
from fruits.tasks.merge_sorted import few_files
from fruits.tasks.path_ranges import Earlier, Range, Sorted
from fruits.tasks.workers import Workers

# The columns of features that a task reads.
COLUMNS = ["path", "label", "split", "sha256", "features"]


DIGESTS = "predictions/_digests"
"""The digests of the images in ``predictions``, in the same order; readers ignore the folder."""


SCORES_FOLDER = "predictions/_scores"
"""The scores of evaluated images, in files with the same names."""


@dataclass(frozen=True)
class _Projection:
    """Projects rows and writes sorted files.

    Attributes:
        reduction: The reduction from features to components.
        prediction: The predictor of images; None to write ``pca`` only.
        listing: The paths of the images that count, sorted; None for all.
        folder: The folder of the sorted files.
        bounds: The first path of each file of the earlier run.
        group: The number of rows of a row group of a sorted file; its first path is a sample.
    """

    reduction: Reduction
    prediction: TablePredictor | None
    listing: pa.ChunkedArray | None
    folder: Location
    bounds: list[str]
    group: int

    def sort(self, job: tuple[int, list[Location]]) -> Sorted | None:
        """Writes the rows of some files of features as one sorted file per table.

        Returns:
            The description of the sorted file; None if there are no rows.
        """
        number, group = job
        read = [read_rows(file, COLUMNS) for file in group]
        if self.listing is not None:
            read = [rows.filter(in_sorted(rows["path"], self.listing)) for rows in read]
        rows = pa.concat_tables(read).sort_by("path").combine_chunks()
        if not rows.num_rows:
            return None
        name = f"{number:09}.parquet"
        for table, content in self._tables(rows).items():
            write_rows(self.folder / table / name, content, self.group)
        return Sorted.of(name, rows["path"].to_pylist(), self.group, self.bounds)

    def _tables(self, rows: pa.Table) -> dict[str, pa.Table]:
        features = matrix(rows["features"].chunk(0))
        plain = rows.select(["path", "label", "split"])
        components = affine(features, self.reduction.weights, self.reduction.offset)
        tables = {"pca": plain.append_column("pca", lists(components))}
        if self.prediction is not None:
            predictions, scores = self.prediction.tables(plain, features)
            digests = rows.select(["path", "label", "split", "sha256"])
            tables |= {"predictions": predictions, DIGESTS: digests, SCORES_FOLDER: scores}
        return tables


def project(
    workers: Workers,
    store: FeatureTable,
    reduction: Reduction,
    place: Location,
    listing: pa.Table | None = None,
    prediction: TablePredictor | None = None,
    earlier: Earlier | None = None,
) -> int:
    """Writes the components of all committed features, or of the features of some files.

    Args:
        workers: The workers.
        store: The features.
        reduction: The reduction from d features to k components.
        place: The folder of the table ``pca``: Parquet files of path, label, split (strings) and
            pca ``array<float>``. Rows are ordered by path over all files, by code points, as
            Python compares strings. With a prediction, there are files of the same names in
            ``predictions``, of :data:`fruits.classify.rows.PREDICTIONS`; in :data:`DIGESTS`, of
            path, label, split and sha256; and in :data:`SCORES_FOLDER`, with the evaluated images,
            of :data:`fruits.classify.rows.SCORES`.
        listing: A table with the ``path`` of the files that count, sorted; None for all.
        prediction: The predictor of images; None to write ``pca`` only.
        earlier: The tables of an earlier run with the same reduction and prediction, whose rows
            are reused; None to project all rows.

    Returns:
        The number of images.
    """
    files = earlier.fresh if earlier else store.files()
    old = ranges.old_files(workers, earlier) if earlier else []
    groups = task_groups(store.root, files, TASK_BYTES, TASK_FILES)
    # A single sorted file needs no merge.
    single = len(groups) == 1 and not earlier
    folder = place if single else place / "unsorted"
    group = SCANNED_ROWS if single else ranges.ROWS_OF_A_SAMPLE
    tables = ["pca", *(["predictions", DIGESTS, SCORES_FOLDER] if prediction is not None else [])]
    paths = None if listing is None else listing["path"]
    bounds = [file.first for file in old]
    projection = _Projection(reduction, prediction, paths, folder, bounds, group)
    what = f"project: {len(files):,} files of features"
    with workers.share(projection) as shared:
        done = workers.run(lambda job: shared.value.sort(job), list(enumerate(groups)), what)
    written = [one for one in done if one]
    if single:
        return sum(file.rows for file in written)
    source = earlier.root if earlier else None

    def spans_of(files: Sequence[Sorted]) -> list[Range]:
        return ranges.changed(old, files, earlier.gone) if earlier else ranges.of_all(files)

    spans = few_files(workers, written, spans_of, tables, folder, bounds)
    rows = workers.run(
        lambda job: ranges.write(job[1], tables, folder, place, job[0], source),
        list(enumerate(spans)),
        f"project: {len(spans):,} files in the order of the paths",
    )
    delete_folder(folder)
    return sum(rows)
