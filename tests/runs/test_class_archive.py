"""The archive of Spark's classes, and how ``conf/spark-env.sh`` uses it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fruits.spark.configuration import CHECKOUT

SUBMIT = "org.apache.spark.deploy.SparkSubmit"

# Prints the files that Java has mapped into memory, and Spark's configuration.
SESSION = """
from pathlib import Path
from fruits.spark.session import get_spark
spark = get_spark()
java = spark._jvm.java.lang.ProcessHandle.current().pid()
print(".jsa" in " ".join(Path(f"/proc/{java}/maps").read_text().split("/fruits-test/")[1:]))
print(spark.range(5).count(), spark.conf.get("spark.sql.session.timeZone"))
print(spark._jvm.java.lang.System.getProperty("log4j2.configurationFile"))
print(spark.sparkContext.getConf().get("spark.driver.memory"))
"""


def environment(**changes: str) -> dict[str, str]:
    """The environment of a user, without the settings for tests."""
    dropped = ("PYSPARK_SUBMIT_ARGS", "SPARK_SUBMIT_OPTS", "SPARK_ENV_LOADED", "SPARK_CONF_DIR")
    return {n: v for n, v in os.environ.items() if n not in dropped} | changes


def session(archive: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SESSION],
        env=environment(FRUITS_CLASS_ARCHIVE=str(archive)),
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.spark
@pytest.mark.usefixtures("graph")
def test_java_maps_the_archive_that_was_made_and_has_the_same_settings(
    class_archive: Path, tmp_path: Path
) -> None:
    made = subprocess.run(
        [sys.executable, "-m", "fruits.runs.class_archive"],
        env=environment(FRUITS_CLASS_ARCHIVE=str(class_archive)),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert made.returncode == 0, made.stderr
    assert "Traceback" not in made.stderr
    assert list(class_archive.parent.iterdir()) == [class_archive]
    assert made.stdout.startswith(f"{class_archive}: ")

    with_it = session(class_archive)
    mapped, *settings = with_it.stdout.splitlines()
    assert mapped == "True", with_it.stderr
    assert settings == ["5 UTC", f"{CHECKOUT}/log4j2.properties", "3g"]
    assert with_it.stderr == ""

    # As after an update of Java: archives of another version have another number.
    with class_archive.open("rb") as file:
        content = file.read(2**20)
    other = tmp_path / "fruits-test" / class_archive.name
    other.parent.mkdir()
    other.write_bytes(content[:4] + bytes(60) + content[64:])
    damaged = session(other)
    assert damaged.stdout.splitlines() == ["False", *settings]
    assert damaged.stderr == ""


def options(conf: Path, archive: Path, *arguments: str) -> list[str]:
    """The configuration folder, the Java options and the arguments with which Spark is started."""
    shown = '"$SPARK_CONF_DIR" "$SPARK_SUBMIT_OPTS" "$*"'
    script = f'. {CHECKOUT}/spark-env.sh; printf "%s\\n" {shown}'
    done = subprocess.run(
        ["bash", "-c", script, "spark-class", *arguments],
        env={
            "PATH": os.environ["PATH"],
            "SPARK_HOME": "/spark",
            "SPARK_CONF_DIR": str(conf),
            "SPARK_SUBMIT_OPTS": "-Dmine=1",
            "FRUITS_CLASS_ARCHIVE": str(archive),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "classes.jsa"
    path.touch()
    return path


def test_a_local_driver_finds_its_configuration_by_options(archive: Path) -> None:
    folder, java, arguments = options(CHECKOUT, archive, SUBMIT, "--name", "x", "pyspark-shell")
    assert folder == "/spark/fruits-no-conf"
    assert java.startswith(f'-Dmine=1 "-XX:SharedArchiveFile={archive}"')
    assert java.endswith(f'"-Dlog4j2.configurationFile={CHECKOUT}/log4j2.properties"')
    defaults = CHECKOUT / "spark-defaults.conf"
    assert arguments == f"{SUBMIT} --properties-file {defaults} --name x pyspark-shell"


@pytest.mark.parametrize(
    "arguments",
    [
        (SUBMIT, "--master", "yarn", "x.py"),
        (SUBMIT, "--properties-file", "mine.conf", "x.py"),
        ("org.apache.spark.deploy.worker.Worker", "spark://m:7077"),
    ],
)
def test_other_programs_start_without_the_archive(
    archive: Path, arguments: tuple[str, ...]
) -> None:
    assert options(CHECKOUT, archive, *arguments) == [
        *(str(CHECKOUT), "-Dmine=1", " ".join(arguments))
    ]
    archive.unlink()
    assert options(CHECKOUT, archive, SUBMIT, "x.py")[1] == "-Dmine=1"


def test_a_folder_with_files_of_the_user_stays_on_the_class_path(
    archive: Path, tmp_path: Path
) -> None:
    conf = tmp_path / "conf"
    conf.mkdir()
    (conf / "spark-defaults.conf").touch()
    folder, java, _ = options(conf, archive, SUBMIT, "x.py")
    assert folder == "/spark/fruits-no-conf"
    assert "log4j2" not in java
    (conf / "core-site.xml").touch()
    assert options(conf, archive, SUBMIT, "x.py") == [str(conf), "-Dmine=1", f"{SUBMIT} x.py"]
