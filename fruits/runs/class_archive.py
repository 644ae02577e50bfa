"""Archives Spark's classes as Java has them in memory: Spark then starts in half the time.

``python -m fruits.runs.class_archive`` makes the archive, of 160 MB, next to PySpark's jars. Local
runs with the configuration of this project use it (``conf/spark-env.sh``) as long as Java and the
jars are those that it was made with. Its source is Java's class data sharing (JEP 350).
"""

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pyspark

from fruits.errors import ConfigError, FruitsError, OutputError, one_line
from fruits.runs.config import RunConfig
from fruits.runs.pipeline import run
from fruits.sample import draw_sample
from fruits.spark.own_session import own_spark


def archive_path() -> Path:
    """Where ``conf/spark-env.sh`` looks: ``FRUITS_CLASS_ARCHIVE``, else next to PySpark's jars."""
    named = os.environ.get("FRUITS_CLASS_ARCHIVE")
    return Path(named) if named else Path(pyspark.__file__).parent / "fruits-classes.jsa"


def make_archive(archive: Path) -> None:
    """Writes what Java has loaded at the end of a small run; a process can do so once.

    Args:
        archive: a file, which is replaced when the new one is complete.

    Raises:
        ConfigError: when Java wrote no archive, as when Spark's configuration is another one or
            has files that Java must read from their folder.
        OutputError: when the file cannot be written.
        FruitsError: when the run fails.
    """
    try:
        with TemporaryDirectory(dir=archive.parent, prefix=f"{archive.name}.") as folder:
            new = Path(folder, archive.name)
            os.environ["FRUITS_NEW_CLASS_ARCHIVE"] = str(new)
            _run_and_end_java(Path(folder))
            if not new.is_file():
                raise ConfigError(
                    f"{archive}: Java wrote no archive; wanted a local run with the conf/ of "
                    "this project: unset SPARK_CONF_DIR, HADOOP_CONF_DIR and PYSPARK_SUBMIT_ARGS"
                )
            new.replace(archive)
    except OSError as error:
        raise OutputError(f"{archive}: cannot be written: {error.strerror}") from error


def _run_and_end_java(folder: Path) -> None:
    """Runs what a run loads: all stages, on images that are drawn."""
    draw_sample(str(folder / "images"), classes=2, per_class=12)
    with own_spark():
        run(RunConfig(images=str(folder / "images"), output=str(folder / "out"), weights="random"))
    gateway = pyspark.SparkContext._gateway
    assert gateway is not None
    # Java ends when nobody can write to it, and writes the archive then, in some seconds.
    gateway.proc.communicate()


def main() -> int:
    """The command; returns its exit status."""
    archive = archive_path()
    try:
        make_archive(archive)
    except FruitsError as error:
        print(f"fruits: {one_line(error)}", file=sys.stderr)
        return 2
    print(f"{archive}: {archive.stat().st_size / 1e6:.0f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
