"""The roles of the image on Kubernetes, started like Spark's own image, with a stub of Java."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from image_roles import EXECUTOR, ROOT, SPARK_HOME, START, environment, start, started


def test_an_executor_is_the_java_command_of_sparks_own_image(tmp_path: Path) -> None:
    # Options are sorted by number: as text, 10 would be before 2.
    options = {f"SPARK_JAVA_OPT_{n}": f"-Doption.{n}=a b" for n in (10, 2, 0)}
    words = started(["executor"], environment(tmp_path, **EXECUTOR, **options))
    assert words == [
        *("-Doption.0=a b", "-Doption.2=a b", "-Doption.10=a b"),
        *("-Xms2048m", "-Xmx2048m"),
        *("-cp", f"{tmp_path}/spark:{SPARK_HOME}/jars/*"),
        "org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend",
        *("--driver-url", "spark://CoarseGrainedScheduler@run-1-driver-svc.fruits.svc:7078"),
        *("--executor-id", "3"),
        *("--cores", "4"),
        *("--app-id", "spark-0f3a"),
        *("--hostname", "10.1.2.3"),
        *("--resourceProfileId", "0"),
        *("--podName", "run-1-exec-3"),
    ]


def test_the_class_of_executors_is_in_the_jars_of_pyspark() -> None:
    import zipfile

    from_roles = "org/apache/spark/scheduler/cluster/k8s/KubernetesExecutorBackend.class"
    [jar] = SPARK_HOME.glob("jars/spark-kubernetes_*.jar")
    assert from_roles in zipfile.ZipFile(jar).namelist()
    assert list(SPARK_HOME.glob("jars/kubernetes-client-*.jar"))
    # The script that makes the image smaller does not delete them.
    assert "kubernetes" not in (ROOT / "deploy/docker/trim.sh").read_text()


def test_jars_of_the_application_come_before_those_of_spark(tmp_path: Path) -> None:
    variables = environment(
        tmp_path,
        **EXECUTOR,
        SPARK_CLASSPATH="/app/*",
        HADOOP_CONF_DIR="/hadoop",
        SPARK_EXTRA_CLASSPATH="/extra/*",
        SPARK_DIST_CLASSPATH="/dist/*",
    )
    words = started(["executor"], variables)
    assert words[words.index("-cp") + 1] == (
        f"{tmp_path}/spark:/hadoop:/app/*:{SPARK_HOME}/jars/*:/extra/*:/dist/*"
    )


def test_the_configuration_of_the_pod_is_added_to_that_of_the_image(tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.mkdir()
    (given / "spark.properties").write_text("spark.app.name=run\n")
    (given / "core-site.xml").write_text("<configuration/>")
    (given / "spark-env.sh").write_text("exit 1\n")
    (given / "..data").mkdir()
    started(["executor"], environment(tmp_path, **EXECUTOR, SPARK_CONF_DIR=str(given)))
    own = tmp_path / "spark"
    assert {file.name for file in own.iterdir()} == {
        *("core-site.xml", "log4j2.properties", "spark-env.sh", "spark-defaults.conf")
    }
    assert (own / "spark-env.sh").read_text() == (ROOT / "conf/spark-env.sh").read_text()
    assert sorted(file.name for file in given.iterdir()) == [
        *("..data", "core-site.xml", "spark-env.sh", "spark.properties")
    ]


def test_a_driver_is_spark_submit_with_the_settings_of_the_pod_first(tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.mkdir()
    properties = given / "spark.properties"
    properties.write_text("spark.driver.memory=2g\nspark.master=k8s://https://10.0.0.1\n")
    variables = environment(
        tmp_path,
        SPARK_CONF_DIR=str(given),
        SPARK_DRIVER_BIND_ADDRESS="10.1.2.4",
        AWS_REGION="eu-west-1",
        # spark-submit gets its command from Spark's launcher, which is a Java program.
        SPARK_HOME=str(tmp_path / "home"),
    )
    submit = tmp_path / "home/bin/spark-submit"
    submit.parent.mkdir(parents=True)
    submit.symlink_to(tmp_path / "bin/java")
    arguments = [
        *("--properties-file", str(properties)),
        *("--class", "org.apache.spark.deploy.PythonRunner", "local:///opt/fruits/run.py"),
        *("run", "--images", "s3a://bucket/a"),
    ]
    words = started(["driver", *arguments], variables)
    assert words == [
        *("--conf", "spark.driver.bindAddress=10.1.2.4"),
        *("--deploy-mode", "client", "--load-spark-defaults"),
        *arguments,
    ]
    lines = (tmp_path / "spark/spark-defaults.conf").read_text().splitlines()
    settings = dict(line.split(None, 1) for line in lines if line and not line.startswith("#"))
    assert settings["spark.hadoop.fs.s3a.endpoint.region"] == "eu-west-1"
    # Without this size, the driver could be larger than its pod, and would be killed.
    assert settings["spark.driver.memory"] == "1g"
    assert not {"spark.master", "spark.eventLog.enabled"} & settings.keys()


@pytest.mark.parametrize(
    ("options", "loopback"),
    [
        ((), True),
        (("--properties-file", "LOCAL"), True),
        (("--properties-file", "POD"), False),
        (("--properties-file", "LOCAL", "--master", "k8s://https://10.0.0.1"), False),
        (("--master", "local[2]", "--properties-file", "POD"), True),
    ],
)
def test_only_a_local_driver_listens_on_loopback(
    tmp_path: Path, options: tuple[str, ...], loopback: bool
) -> None:
    files = {"LOCAL": "spark.app.name=run\n", "POD": "spark.master=k8s\\://https\\://10.0.0.1\n"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    words = [str(tmp_path / word) if word in files else word for word in options]
    script = f'. {ROOT}/conf/spark-env.sh; echo "${{SPARK_LOCAL_IP:-every}}"'
    command = ["bash", "-c", script, "spark-env", "org.apache.spark.deploy.SparkSubmit", *words]
    variables = {"PATH": os.environ["PATH"], "SPARK_CONF_DIR": str(ROOT / "conf")}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    assert done.stdout == ("127.0.0.1\n" if loopback else "every\n")


@pytest.mark.parametrize("missing", [*EXECUTOR])
def test_an_executor_outside_of_kubernetes_ends_with_one_line(tmp_path: Path, missing: str) -> None:
    variables = {name: value for name, value in EXECUTOR.items() if name != missing}
    done = start(["executor"], environment(tmp_path, **variables))
    assert done.returncode == 2
    assert done.stderr == (
        f"executor: {missing}: wanted the value that Spark on Kubernetes sets; got none\n"
    )


UNKNOWN_USER = "import os; os.getuid = lambda: 4_000_000_000\n"


def test_a_user_without_a_name_gets_one(tmp_path: Path) -> None:
    (tmp_path / "passwd").write_text("root:x:0:0:root:/root:/bin/bash\n")
    command = [sys.executable, "-c", UNKNOWN_USER + START, "executor"]
    done = subprocess.run(
        command, env=environment(tmp_path, **EXECUTOR), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    name, _, user, *_ = (tmp_path / "passwd").read_text().splitlines()[-1].split(":")
    assert (name, user) == ("fruits-4000000000", "4000000000")


def test_a_user_that_can_get_no_name_ends_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "passwd").mkdir()
    command = [sys.executable, "-c", UNKNOWN_USER + START, "executor"]
    done = subprocess.run(
        command, env=environment(tmp_path, **EXECUTOR), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("executor: user: wanted one that ")
    assert "set runAsUser: 1000" in done.stderr
    assert done.stderr.count("\n") == 1
