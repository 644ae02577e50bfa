"""Measures the fit of scaler and PCA against Spark's own fit, and with a small driver.

    python -m benchmarks.fit [--rows N] [--features N] [--large-rows N] [--large-features N]

The features are random: of low rank with noise, and not negative, like those of a network. Our fit
reads them from disk, in the chunks of a run; Spark's fit reads vectors from a cached table, and the
time to read the table from disk into the cache is measured separately. Our fit has two steps: the
moments in Spark's tasks, and then the scaler and the PCA on the driver. Before the comparison, both
fits are called once with a small table: a run has used its workers before it fits, and Java has
compiled Spark's code. Each part is a separate process, whose memory is measured; all times are
those of a single call.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.ml.feature import PCA, MinMaxScaler, PCAModel
from pyspark.ml.functions import array_to_vector
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from benchmarks.inputs import DATA, ROOT
from benchmarks.ours import last_line
from benchmarks.report import table, write_json
from benchmarks.watch import run_watched
from fruits.features.rows import REJECTED, lists, write_rows
from fruits.features.table import FeatureTable
from fruits.features.writer import FeatureWriter
from fruits.reduction.fit import Reduction, fit_reduction
from fruits.spark.parquet import read_features
from fruits.spark.session import get_spark
from fruits.spark.workers import SparkWorkers
from fruits.storage.location import Location
from fruits.storage.lock import exclusive
from fruits.tasks import measure_moments
from fruits.tasks.project import project

RANK = 200
LABELS = 131
CHUNK = 10_000  # The rows of a chunk that `fruits run` commits.
PARTITIONS = 8
WARM_ROWS = 2_000
FOLDER = DATA / "fit"
LARGE_DRIVER = "2g"


def main() -> None:
    options = _options()
    if options.part:
        _PARTS[options.part](options)
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    report: dict[str, Any] = {}
    for part, driver in (("against-spark", None), ("large", LARGE_DRIVER)):
        print(f"{part} ...", flush=True)
        log, command = FOLDER / f"{part}.log", [sys.executable, "-m", "benchmarks.fit"]
        # This setting of the driver's memory takes precedence over the one in conf/.
        submit = f"--driver-memory {driver} pyspark-shell" if driver else "pyspark-shell"
        watched = run_watched(
            [*command, *sys.argv[1:], "--part", part], log, {"PYSPARK_SUBMIT_ARGS": submit}
        )
        if watched.status:
            report[part] = {"error": last_line(log)}
        else:
            figures = json.loads((FOLDER / f"{part}.json").read_text())
            report[part] = figures | {"memory_mb": watched.memory}
    print("\n" + describe(report))
    write_json(report, DATA / "fit.json")


def describe(report: dict[str, Any]) -> str:
    """The seconds of each step and the memory of each part."""
    steps, notes = [], []
    for part, figures in report.items():
        if "error" in figures:
            notes.append(f"{part} could not be run: {figures['error']}")
            continue
        size = f"{figures['rows']:,} x {figures['features']:,}"
        steps += [[step, size, value] for step, value in figures["seconds"].items()]
        notes.append(f"{part}: {_measured(figures)}")
        peaks = {role: peak.get("pss") for role, peak in figures["memory_mb"].items()}
        notes.append(f"{part}: peak MB {peaks}")
    if "error" not in report["against-spark"]:
        figures = report["against-spark"]
        seconds = figures["seconds"]
        notes += [
            f"the fit is {_ratio(seconds, 'fit, Spark')} x as fast as Spark's of the cached table, "
            f"and {_ratio(seconds, 'read, Spark', 'fit, Spark')} x as fast as Spark's with reading",
            "projecting and writing take "
            f"{seconds['project and write'] / seconds['write alone, Spark']:.2f} x as long as "
            "Spark's writing of the same components alone",
            f"explained variance differs by {figures['difference']:.1e} at most",
        ]
    return "\n".join([table(steps, ["", "table", "seconds"]), "", *notes])


def _ratio(seconds: dict[str, float], *steps: str) -> str:
    """How many times as fast our fit is as some steps of Spark."""
    return f"{sum(seconds[step] for step in steps) / seconds['fit, fruits']:.1f}"


def _measured(figures: dict[str, Any]) -> str:
    """What was measured, and on which machine."""
    return (
        f"min-max scaler and {figures['components']} components; {figures['chunks']} chunks in "
        f"{figures['files']} files, without stored moments; Spark's master is "
        f"{figures['master']}, with {figures['slots']} tasks at a time; the load was "
        f"{figures['load']:.1f} when our fit began"
    )


@contextmanager
def drawn(spark: SparkSession, part: str, rows: int, features: int) -> Iterator[FeatureWriter]:
    """Random features on disk, in committed chunks like those of a run."""

    root = f"{FOLDER}/{part}"
    shutil.rmtree(root, ignore_errors=True)

    def block(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        basis = np.random.default_rng(0).standard_normal((RANK, features), np.float32)
        basis *= np.geomspace(1, 0.01, RANK, dtype=np.float32)[:, np.newaxis]
        for batch in batches:
            file = f"{batch['id'][0].as_py():09}.parquet"
            rng = np.random.default_rng(batch["id"].to_numpy())
            x = rng.standard_normal((len(batch), RANK), np.float32) @ basis
            x += 0.1 * rng.standard_normal(x.shape, np.float32)
            names = batch["id"].cast(pa.string())
            columns = {
                "path": names,
                "label": [f"label {row % LABELS}" for row in batch["id"].to_pylist()],
                "sha256": names,
                "length": batch["id"],
                "modified": pa.nulls(len(batch), pa.timestamp("us", tz="UTC")),
                "features": lists(np.maximum(x, 0)),
            }
            write_rows(Location.of(f"{root}/features/_staged/{file}"), pa.table(columns))
            yield pa.record_batch({"file": [file]})

    with exclusive(f"{root}/_lock") as lock:
        store = FeatureWriter(Location.of(f"{root}/features"), lock)
        for start in range(0, rows, CHUNK):
            numbers = spark.range(start, min(start + CHUNK, rows), 1, PARTITIONS)
            files = numbers.mapInArrow(block, "file string").toArrow()["file"].to_pylist()
            store.commit(files, REJECTED.empty_table())
        yield store


def kept(table: DataFrame) -> DataFrame:
    """The table, all of it in Spark's cache."""
    cached = table.cache()
    cached.count()
    return cached


def against_spark(options: argparse.Namespace) -> None:
    """Compares the two fits, and our projection with Spark's writing of the same components."""
    spark, clock = get_spark(), Clock()
    k = min(options.components, options.features)
    with drawn(spark, "warm-up", min(WARM_ROWS, options.rows), options.features) as store:
        both_fits(spark, store, 1, Clock())
        spark.catalog.clearCache()
    with drawn(spark, "against-spark", options.rows, options.features) as store:
        conditions = _conditions(spark, store, k)
        own, theirs = both_fits(spark, store, k, clock)
        target = Location.of(f"file:{FOLDER}/against-spark")
        clock("project and write", project, SparkWorkers(spark), store, own, target)
        components = kept(spark.read.parquet(f"{target.uri}/pca").select("pca"))
        clock("write alone, Spark", components.write.parquet, f"{FOLDER}/against-spark/again")
    difference = np.abs(own.explained_variance[:k] - theirs.explainedVariance.toArray()).max()
    conditions["difference"] = float(difference)
    _save("against-spark", options.rows, options.features, clock, conditions)


def both_fits(
    spark: SparkSession, store: FeatureTable, k: int, clock: Clock
) -> tuple[Reduction, PCAModel]:
    """Our fit, which reads the table from disk, and Spark's fit of the same table in its cache."""
    own = fit(spark, store, k, clock)
    vector = array_to_vector(F.col("features")).alias("vector")
    cached = clock("read, Spark", kept, read_features(spark, store).select("features", vector))
    minmax = MinMaxScaler(inputCol="vector", outputCol="scaled")
    scaler = clock("scaler, Spark", minmax.fit, cached)
    pca = PCA(k=k, inputCol="scaled", outputCol="pca")
    theirs: PCAModel = clock("PCA, Spark", pca.fit, scaler.transform(cached))
    clock.seconds["fit, Spark"] = clock.seconds["scaler, Spark"] + clock.seconds["PCA, Spark"]
    return own, theirs


def large(options: argparse.Namespace) -> None:
    """Our fit of the features of a wider network, with little memory for the driver."""
    spark, clock = get_spark(), Clock()
    k = min(options.components, options.large_features)
    with drawn(spark, "large", options.large_rows, options.large_features) as store:
        conditions = _conditions(spark, store, k)
        own = fit(spark, store, k, clock)
        clock(
            "project and write",
            project,
            SparkWorkers(spark),
            store,
            own,
            Location.of(f"file:{FOLDER}/large"),
        )
    conditions["driver_memory"] = spark.conf.get("spark.driver.memory")
    _save("large", options.large_rows, options.large_features, clock, conditions)


def fit(spark: SparkSession, store: FeatureTable, components: int, clock: Clock) -> Reduction:
    """Our fit in its two steps, as in a run."""
    moments = clock("moments, fruits", measure_moments.moments, SparkWorkers(spark), store)
    step = "scaler and PCA, fruits"
    own: Reduction = clock(step, fit_reduction, moments, "minmax", components)
    clock.seconds["fit, fruits"] = clock.seconds["moments, fruits"] + clock.seconds[step]
    return own


class Clock:
    """The seconds of named calls."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def __call__(self, name: str, work: Callable[..., Any], *arguments: Any) -> Any:
        """Calls a function, and records its time."""
        begin = time.perf_counter()
        result = work(*arguments)
        self.seconds[name] = time.perf_counter() - begin
        return result


def _conditions(spark: SparkSession, store: FeatureTable, components: int) -> dict[str, Any]:
    """What will be measured, and on which machine."""
    return {
        "components": components,
        "chunks": len(store.chunks()),
        "files": len(store.files()),
        "master": spark.sparkContext.master,
        "slots": spark.sparkContext.defaultParallelism,
        "load": os.getloadavg()[0],
    }


def _save(part: str, rows: int, features: int, clock: Clock, conditions: dict[str, Any]) -> None:
    figures = {"rows": rows, "features": features, "seconds": clock.seconds} | conditions
    (FOLDER / f"{part}.json").write_text(json.dumps(figures))


_PARTS = {"against-spark": against_spark, "large": large}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fit", description=__doc__)
    parser.add_argument("--rows", type=int, default=22_688)
    parser.add_argument("--features", type=int, default=1_280)
    parser.add_argument("--large-rows", type=int, default=90_000)
    parser.add_argument("--large-features", type=int, default=2_048)
    parser.add_argument("--components", type=int, default=600)
    parser.add_argument("--part", choices=_PARTS, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    os.chdir(ROOT)
    main()
