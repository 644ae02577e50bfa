"""Writes an archive of the Java classes that Spark loads, which halves the start time of Spark.

``python -m fruits.runs.class_archive`` writes the archive, 160 MB, next to PySpark's jars. Local
runs with the configuration of this project use it (``conf/spark-env.sh``) until Java or the jars
change. The mechanism is Java's class data sharing (JEP 350).
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
from fruits.spark.session import get_spark


def archive_path() -> Path:
    """The path that ``conf/spark-env.sh`` uses: ``FRUITS_CLASS_ARCHIVE``, or next to the jars."""
    named = os.environ.get("FRUITS_CLASS_ARCHIVE")
    return Path(named) if named else Path(pyspark.__file__).parent / "fruits-classes.jsa"


def make_archive(archive: Path) -> None:
    """Writes the classes that Java has loaded after a small run. Call it once in a process.

    Args:
        archive: The file. It is replaced when the new archive is complete.

    Raises:
        ConfigError: Java wrote no archive, for example because Spark has another configuration.
        OutputError: The file cannot be written.
        FruitsError: The run failed.
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
    """Runs all stages on generated images, to load all classes, and ends Java."""
    draw_sample(str(folder / "images"), classes=2, per_class=12)
    with own_spark():
        get_spark()  # A run of so few images would start no Spark.
        images, output = str(folder / "images"), str(folder / "out")
        # Java has no part in the network. This one needs neither TensorFlow nor a download.
        run(RunConfig(images=images, output=output, backbone="EfficientNetLite0"))
    gateway = pyspark.SparkContext._gateway
    assert gateway is not None
    # Java ends when its input is closed. It then takes some seconds to write the archive.
    gateway.proc.communicate()


def main() -> int:
    """Runs the command and returns its exit status."""
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
