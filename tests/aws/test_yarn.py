"""Runs the steps of ``fruits cloud submit`` on real YARN and HDFS, with the settings of emr.yaml.

moto replaces S3, and an archive of the packages replaces the bootstrap action. ``make test-yarn``
runs these tests.
"""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pyspark
import pytest
import s3fs
from hadoop import Hadoop
from stacks import ROOT, load, resources

from fruits.cloud.account import Account
from fruits.cloud.jobs import ENTRY, arguments, submit
from fruits.cloud.stacks import Stack
from fruits.cloud.upload import upload
from fruits.sample import draw_sample

pytestmark = pytest.mark.yarn

BUCKET = "orchard"
ARCHIVE = ROOT / "data" / "environment.tar.gz"
RUN = {"backbone": "EfficientNetLite0", "chunk": 40, "components": 20}


@pytest.fixture(scope="module")
def jars(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A class path: Spark's jars, those for s3a:// and Hadoop's daemons."""
    folder = tmp_path_factory.mktemp("jars")
    for pom in (ROOT / "conf" / "jars" / "pom.xml", Path(__file__).with_name("hadoop.pom.xml")):
        maven = ["mvn", "-B", "-q", "-f", str(pom), "dependency:copy-dependencies"]
        subprocess.run([*maven, f"-DoutputDirectory={folder}"], check=True)
    return f"{Path(pyspark.__file__).parent}/jars/*:{folder}/*"


@pytest.fixture(scope="module")
def hadoop(jars: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hadoop]:
    """YARN with two nodes, and HDFS that contains the archive."""
    hadoop = Hadoop(tmp_path_factory.mktemp("hadoop"), jars)
    try:
        hadoop.start()
        hadoop.put(ARCHIVE, f"/{ARCHIVE.name}")
        yield hadoop
    finally:
        hadoop.stop()


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    draw_sample(str(folder), classes=4, per_class=60)
    return folder / "Training"


@pytest.fixture(scope="module")
def local(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a run with ``local[*]``."""
    output = tmp_path_factory.mktemp("local") / "output"
    options = {"images": photographs, "output": output, **RUN}
    subprocess.run(
        [sys.executable, "-m", "fruits.cli", "run", *arguments(options)],
        check=True,
        env=os.environ | {"PYSPARK_SUBMIT_ARGS": "pyspark-shell"},
    )
    return output


def settings(hadoop: Hadoop, jars: str, endpoint: str) -> dict[str, str]:
    """spark-defaults of deploy/emr.yaml on m5.xlarge, with replacements for Amazon's services."""
    template = load("emr")
    (cluster,) = resources(template, "AWS::EMR::Cluster").values()
    (emr,) = (
        part["ConfigurationProperties"]
        for part in cluster["Configurations"]
        if part["Classification"] == "spark-defaults"
    )
    sizes = template["Mappings"]["Types"]["m5.xlarge"]

    def plain(value: Any) -> str:
        if isinstance(value, str):
            return value.replace("/opt/fruits/", "./environment/")
        if "Fn::FindInMap" in value:
            return str(sizes[value["Fn::FindInMap"][2]])
        text: str = value["Fn::Sub"]
        return text.replace("${Bucket}", BUCKET).replace("${Prefix}", "fruits")

    defaults = {name: plain(value) for name, value in emr.items()}
    # On EMR, these come from the instance profile.
    for name in ("AWS_ENDPOINT_URL", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        defaults[f"spark.executorEnv.{name}"] = os.environ[name]
        defaults[f"spark.yarn.appMasterEnv.{name}"] = os.environ[name]
    return defaults | {
        "spark.archives": f"hdfs:///{ARCHIVE.name}#environment",
        "spark.executor.instances": str(len(hadoop.nodes)),
        # These sizes are for one machine instead of four.
        "spark.executor.cores": "1",
        "spark.yarn.jars": ",".join(f"local:{path}" for path in jars.split(":")),
        "spark.hadoop.fs.s3a.endpoint": endpoint,
        "spark.hadoop.fs.s3a.endpoint.region": os.environ["AWS_REGION"],
        "spark.hadoop.fs.s3a.path.style.access": "true",
    }


@dataclass
class Yarn:
    """A cluster to which jobs are submitted."""

    hadoop: Hadoop
    folder: Path
    environment: dict[str, str]
    stack: Stack
    store: s3fs.S3FileSystem

    def submit(self, output: str, mode: str, images: str = "Training") -> "Submitted":
        """Executes the step that ``fruits cloud submit`` makes, like EMR."""
        root = f"s3://{BUCKET}/fruits"
        options = {"images": f"{root}/{images}", "output": f"{root}/{output}", **RUN}
        identity = submit(Account.of(), self.stack, options, mode)
        cluster = self.stack.output("ClusterId")
        described = boto3.client("emr").describe_step(ClusterId=cluster, StepId=identity)
        # This folder contains the file that the bootstrap action writes on a node of EMR.
        command = [
            word.replace(ENTRY, str(self.folder / "run.py"))
            for word in described["Step"]["Config"]["Args"]
        ]
        submitted = Submitted(self, command)
        submitted.start()
        return submitted

    def committed(self, output: str) -> list[str]:
        """The committed chunks of a run."""
        return list(self.store.glob(f"{BUCKET}/fruits/{output}/features/_chunks/*.json"))

    def assert_same_bits(self, output: str, local: Path) -> None:
        """Checks that features and components equal those of a local run."""
        for name in ("features", "pca"):
            here = results(str(local / name))
            assert here.num_rows == 240
            assert here.equals(results(f"{BUCKET}/fruits/{output}/{name}", self.store))


class Submitted(threading.Thread):
    """``spark-submit``, which runs in the background."""

    def __init__(self, yarn: Yarn, command: list[str]) -> None:
        super().__init__(daemon=True)
        self.yarn, self.command = yarn, command
        self.before = len(yarn.hadoop.applications())
        self.done: subprocess.CompletedProcess[str]

    def run(self) -> None:
        self.done = subprocess.run(
            self.command,
            cwd=self.yarn.folder,
            env=self.yarn.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    @property
    def application(self) -> dict[str, Any]:
        """The application as YARN describes it."""
        found = self.yarn.hadoop.applications()
        return found[self.before] if len(found) > self.before else {}

    def wait_until(self, happened: Callable[[], object]) -> None:
        """Waits for a condition that must become true before the end."""
        self.yarn.hadoop.wait_for(lambda: not self.is_alive() or happened(), 240)
        assert self.is_alive(), self.done.stdout[-6000:]

    def end(self) -> int:
        """Waits for the end; returns the exit status."""
        self.join(400)
        assert not self.is_alive()
        return self.done.returncode

    def output(self) -> str:
        """The output of the command and of all its containers."""
        containers = self.yarn.hadoop.containers(self.application["id"])
        parts = [f"==> {name}\n{text}" for name, text in containers.items()]
        return "\n".join([self.done.stdout, *parts])


def results(folder: str, files: s3fs.S3FileSystem | None = None) -> pa.Table:
    """The numbers of each image, by the part of the path that all runs share."""
    rows = pq.read_table(folder, filesystem=files)
    column = "features" if "sha256" in rows.column_names else "pca"
    short = [path.as_py().rpartition("/Training/")[2] for path in rows["path"]]
    table = pa.table({"path": short, "label": rows["label"], "numbers": rows[column]})
    return table.sort_by("path").combine_chunks()


def processes(main: str, application: str) -> list[int]:
    """The Java processes of an application that run a class."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            environment = (folder / "environ").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if main in command and command[0].endswith("java") and application in environment:
            found.append(int(folder.name))
    return found


@pytest.fixture(scope="module")
def yarn(
    aws: str,
    hadoop: Hadoop,
    jars: str,
    photographs: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Yarn:
    folder = tmp_path_factory.mktemp("submit")
    # In client mode, the driver's environment has the same path as that of the executors.
    (folder / "environment").mkdir()
    subprocess.run(["tar", "-xzf", ARCHIVE, "-C", folder / "environment"], check=True)
    bootstrap = (ROOT / "deploy" / "emr" / "bootstrap.sh").read_text()
    (program,) = re.findall(r"printf '(.*)' \| as_root tee .*/run\.py\"", bootstrap)
    (folder / "run.py").write_text(program.replace("\\n", "\n"))
    conf = folder / "conf"
    conf.mkdir()
    lines = (f"{name} {value}\n" for name, value in settings(hadoop, jars, aws).items())
    (conf / "spark-defaults.conf").write_text("".join(lines))

    boto3.client("s3").create_bucket(Bucket=BUCKET)
    # Like the bootstrap action.
    boto3.client("s3").put_object(Bucket=BUCKET, Key="fruits/emr/history/", Body=b"")
    upload(Account.of(), str(photographs), f"s3://{BUCKET}/fruits/Training")
    live = boto3.client("emr").run_job_flow(
        Name="live",
        ReleaseLabel="emr-spark-8.1.0",
        Instances={"InstanceCount": 1, "KeepJobFlowAliveWhenNoSteps": True},
    )["JobFlowId"]
    outputs = {"Architecture": "emr", "Bucket": BUCKET, "Prefix": "fruits", "ClusterId": live}
    stack = Stack("orchard", "orchard", "CREATE_COMPLETE", datetime.now(UTC), {}, outputs)
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "PYSPARK", "SPARK", "VIRTUAL_ENV"))
    }
    environment |= {
        "SPARK_HOME": str(Path(pyspark.__file__).parent),
        "SPARK_CONF_DIR": str(conf),
        "HADOOP_CONF_DIR": str(hadoop.conf),
        # spark-submit itself also reads s3a://.
        "SPARK_DIST_CLASSPATH": jars,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    store = s3fs.S3FileSystem(endpoint_url=aws, use_listings_cache=False, skip_instance_cache=True)
    return Yarn(hadoop, folder, environment, stack, store)


@pytest.mark.parametrize("mode", ["client", "cluster"])
def test_the_results_are_those_of_a_local_run(yarn: Yarn, local: Path, mode: str) -> None:
    job = yarn.submit(mode, mode)
    assert job.end() == 0, job.output()[-8000:]
    assert job.application["finalStatus"] == "SUCCEEDED"
    yarn.assert_same_bits(mode, local)
    # The executors ran on nodes of YARN, and the event log is in S3. In the first job, the one in
    # client mode, a node may still unpack the archive when the run ends, and has no executor then.
    containers = yarn.hadoop.containers(job.application["id"])
    started = len({name.split("/")[0] for name in containers})
    assert started in ((3,) if mode == "cluster" else (2, 3))
    history = yarn.store.find(f"{BUCKET}/fruits/emr/history")
    assert any(job.application["id"] in name for name in history)
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in job.output()


def test_a_killed_executor_loses_nothing(yarn: Yarn, local: Path) -> None:
    job = yarn.submit("executor", "cluster")
    job.wait_until(lambda: yarn.committed("executor"))
    main = "org.apache.spark.executor.YarnCoarseGrainedExecutorBackend"
    os.kill(processes(main, job.application["id"])[0], signal.SIGKILL)
    assert job.end() == 0, job.output()[-8000:]
    yarn.assert_same_bits("executor", local)


def test_a_killed_driver_starts_again_and_goes_on(yarn: Yarn, local: Path) -> None:
    job = yarn.submit("driver", "cluster")
    job.wait_until(lambda: yarn.committed("driver"))
    main = "org.apache.spark.deploy.yarn.ApplicationMaster"
    os.kill(processes(main, job.application["id"])[0], signal.SIGKILL)
    kept = {name: yarn.store.modified(name) for name in yarn.committed("driver")}
    assert job.end() == 0, job.output()[-8000:]
    yarn.assert_same_bits("driver", local)
    # Chunks that were committed before have not changed.
    assert {name: yarn.store.modified(name) for name in kept} == kept


def test_bad_input_is_one_line_in_the_drivers_log(yarn: Yarn) -> None:
    job = yarn.submit("nothing", "cluster", images="nowhere")
    assert job.end() != 0
    assert job.application["finalStatus"] == "FAILED"
    containers = yarn.hadoop.containers(job.application["id"])
    lines = [line for text in containers.values() for line in text.splitlines()]
    errors = {line for line in lines if line.startswith("fruits: ")}
    assert len(errors) == 1, errors
    assert f"wanted a folder of images; s3://{BUCKET}/fruits/nowhere does not exist" in errors.pop()
    assert not any("Traceback" in line for line in lines)
    assert not yarn.store.exists(f"{BUCKET}/fruits/nothing/run.json")
