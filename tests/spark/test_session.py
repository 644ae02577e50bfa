"""The addresses on which a session listens, and the descriptions of its jobs."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from fruits.spark.configuration import CHECKOUT
from fruits.spark.workers import SparkWorkers

pytestmark = pytest.mark.spark

SHOW_PAGE = (
    "from fruits.spark.session import get_spark\n"
    "print(get_spark().sparkContext.uiWebUrl, flush=True)\n"
    "input()\n"
)


def answers(address: str, port: int) -> bool:
    """Whether a program listens on this port."""
    with socket.socket() as client:
        client.settimeout(5)
        return client.connect_ex((address, port)) == 0


def test_the_page_of_a_local_run_is_on_loopback_only() -> None:
    clean = {n: v for n, v in os.environ.items() if n not in ("SPARK_LOCAL_IP", "SPARK_ENV_LOADED")}
    with subprocess.Popen(
        [sys.executable, "-c", SHOW_PAGE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=clean | {"PYSPARK_SUBMIT_ARGS": "--master local[1] pyspark-shell"},
    ) as program:
        try:
            assert program.stdout
            port = int(program.stdout.readline().rpartition(":")[2])
            assert answers("127.0.0.1", port)
            elsewhere = subprocess.run(["hostname", "-I"], capture_output=True, text=True)
            for address in elsewhere.stdout.split():
                if "." in address:
                    assert not answers(address, port), address
        finally:
            program.communicate("\n", timeout=60)


@pytest.mark.parametrize(
    ("arguments", "configured", "expected"),
    [
        ("org.apache.spark.deploy.SparkSubmit pyspark-shell", "", "127.0.0.1"),
        ("org.apache.spark.deploy.SparkSubmit --master local[2] x", "", "127.0.0.1"),
        ("--master local[*]", "", "127.0.0.1"),
        ("org.apache.spark.deploy.SparkSubmit --master yarn x.py", "", ""),
        ("org.apache.spark.deploy.SparkSubmit --master=yarn x.py", "", ""),
        ("org.apache.spark.deploy.SparkSubmit --conf spark.master=spark://m:7077 x", "", ""),
        ("org.apache.spark.deploy.SparkSubmit x", "spark.master  spark://m:7077", ""),
        ("org.apache.spark.deploy.SparkSubmit --master local x", "spark.master yarn", "127.0.0.1"),
        ("org.apache.spark.deploy.master.Master", "", ""),
        ("org.apache.spark.deploy.worker.Worker spark://m:7077", "", ""),
    ],
)
def test_only_the_driver_of_a_local_run_is_bound_to_loopback(
    tmp_path: Path, arguments: str, configured: str, expected: str
) -> None:
    (tmp_path / "spark-defaults.conf").write_text(f"{configured}\n")
    script = f'. {CHECKOUT}/spark-env.sh; printf "%s" "$SPARK_LOCAL_IP"'
    done = subprocess.run(
        ["bash", "-c", script, "spark-class", *arguments.split()],
        env={"PATH": os.environ["PATH"], "SPARK_CONF_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == expected


def test_an_address_that_the_user_chose_is_kept(tmp_path: Path) -> None:
    script = f'. {CHECKOUT}/spark-env.sh; printf "%s" "$SPARK_LOCAL_IP"'
    done = subprocess.run(
        ["bash", "-c", script],
        env={"PATH": os.environ["PATH"], "SPARK_LOCAL_IP": "10.1.2.3"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "10.1.2.3"


def test_jobs_say_what_they_do_and_the_users_own_description_comes_back(
    spark: SparkSession,
) -> None:
    context = spark.sparkContext
    context.setJobDescription("mine")
    try:
        SparkWorkers(spark).run(lambda number: number, [1, 2, 3], "count: three numbers")
        spark.range(3).collect()
        assert context._jsc is not None
        listed = context._jsc.sc().statusStore().jobsList(None)
        newest = [listed.apply(n).description().get() for n in (0, 1)]
    finally:
        context.setJobDescription(None)  # type: ignore[arg-type]
    assert newest == ["mine", "count: three numbers"]
