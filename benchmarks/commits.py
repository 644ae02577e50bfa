"""Measures the cost of new images after many commits: manifests, the next commit, moments.

    python -m benchmarks.commits [--growths N] [--rows N] [--features N] [--plain]

The features are random, and everything runs without Spark: the compaction in a local process, the
rest in this one. So only the costs that grow with the number of commits are measured. ``--plain``
leaves out the compaction.
"""

import argparse
import os
import shutil
import time
from functools import reduce

import numpy as np
import pyarrow as pa

from benchmarks.inputs import DATA, ROOT
from benchmarks.report import table
from fruits.features.moments import Moments, measured_by_label
from fruits.features.moments_file import read_moments
from fruits.features.rows import FEATURES, REJECTED, lists, write_rows
from fruits.features.table import THUMBNAILS, THUMBNAILS_FOLDER
from fruits.features.writer import FeatureWriter
from fruits.storage.files import replace
from fruits.storage.location import Location
from fruits.storage.lock import exclusive
from fruits.tasks.compact import compact
from fruits.tasks.local import LocalWorkers

FOLDER = DATA / "commits"
LABELS = 131


def main() -> None:
    options = _options()
    shutil.rmtree(FOLDER, ignore_errors=True)
    seconds: list[float] = []
    lines = []
    with exclusive(f"file:{FOLDER}/_lock") as lock, LocalWorkers(1) as workers:
        workers.start()
        writer = FeatureWriter(Location.of(f"{FOLDER}/features"), lock)
        for number in range(options.growths):
            rows = drawn(number, options.rows, options.features)
            begin = time.perf_counter()
            grow(writer, number, rows, None if options.plain else workers)
            seconds.append(time.perf_counter() - begin)
            if (number + 1) % max(1, options.growths // 10) == 0:
                recent = seconds[-max(1, options.growths // 10) :]
                chunks = writer.chunks()
                files = sum(len(chunk.files) for chunk in chunks)
                lines.append(
                    [f"{number + 1:,}", len(chunks), files, np.median(recent), max(recent)]
                )
                print(f"{number + 1:,} growths", flush=True)
    head = ["growths", "chunks", "files", "seconds per growth, median", "maximum"]
    print("\n" + table(lines, head))


def grow(
    writer: FeatureWriter, number: int, rows: pa.Table, workers: LocalWorkers | None
) -> Moments:
    """Does what a run with some new images does, except Spark jobs; returns all moments.

    Without workers, chunks are not compacted.
    """
    writer.sweep()
    if workers:
        compact(workers, writer)
    name = f"{number:032x}.parquet"
    pictures = pa.table([rows["sha256"], [b"thumbnail" * 200] * rows.num_rows], schema=THUMBNAILS)
    write_rows(writer.root / THUMBNAILS_FOLDER / name, pictures)
    write_rows(writer.staged / name, rows)
    chunk = writer.commit([name], REJECTED.empty_table())
    own = measured_by_label(rows.select(["label", "features"]).to_batches())
    replace(writer.side_file(chunk.number, "moments"), own.to_bytes())
    kept = (read_moments(writer.side_file(one.number, "moments")) for one in writer.chunks())
    return reduce(Moments.merge, kept)


def drawn(number: int, rows: int, features: int) -> pa.Table:
    """Random features in rows, as a run writes them."""
    rng = np.random.default_rng(number)
    names = [f"{number:08}-{row:06}" for row in range(rows)]
    columns = {
        "path": [f"file:/images/{name}.jpg" for name in names],
        "label": [f"label {row % LABELS}" for row in range(rows)],
        "split": ["train"] * rows,
        "sha256": [name.rjust(64, "0") for name in names],
        "length": pa.array([5_000] * rows, pa.int64()),
        "modified": pa.array([0] * rows, pa.timestamp("us", tz="UTC")),
        "features": lists(np.maximum(rng.standard_normal((rows, features), np.float32), 0)),
    }
    return pa.table(columns, schema=FEATURES)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.commits", description=__doc__)
    parser.add_argument("--growths", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--features", type=int, default=1_280)
    parser.add_argument("--plain", action="store_true", help="without compaction")
    return parser.parse_args()


if __name__ == "__main__":
    os.chdir(ROOT)
    main()
