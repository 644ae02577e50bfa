"""docs/kubernetes.md on a real cluster of one node; see ``make test-kubernetes``."""

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from containers import ROOT, say, wait_for

from fruits.sample import draw_sample

HERE = Path(__file__).parent
FOLDER = ROOT / "data/kubernetes"
PROGRAMS = ("kube-apiserver", "kubelet", "etcd", "containerd", "coredns")
[STORE] = re.findall(r"chrislusf/seaweedfs:[\d.]+", (ROOT / "docker-compose.yml").read_text())
KEYS = {
    "AWS_ACCESS_KEY_ID": "fruits-test",
    "AWS_SECRET_ACCESS_KEY": "fruits-test-secret",
    "AWS_REGION": "eu-west-1",
    "AWS_ENDPOINT_URL": "http://s3:8333",
}

pytestmark = pytest.mark.cluster


@dataclass
class Cluster:
    store: Any

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        command = ["kubectl", "--kubeconfig", str(FOLDER / "run/admin.conf")]
        done = subprocess.run([*command, *arguments], input=text, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def submit(self, name: str, images: str, output: str) -> "subprocess.Popen[str]":
        """Starts the spark-submit of docs/kubernetes.md, for a small machine."""
        settings = {
            "spark.kubernetes.namespace": "fruits",
            "spark.kubernetes.container.image": "fruits:latest",
            "spark.kubernetes.authenticate.driver.serviceAccountName": "fruits-spark",
            "spark.kubernetes.driver.podTemplateFile": "deploy/kubernetes/pod.yaml",
            "spark.kubernetes.executor.podTemplateFile": "deploy/kubernetes/pod.yaml",
            "spark.kubernetes.driver.request.cores": "200m",
            "spark.kubernetes.executor.request.cores": "200m",
            "spark.executor.instances": "2",
            "spark.driver.memory": "1g",
            "spark.executor.memory": "1g",
            "spark.executor.memoryOverhead": "1500m",
        }
        variables = {
            "SPARK_CONF_DIR": "conf",
            "KUBECONFIG": str(FOLDER / "run/admin.conf"),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        return subprocess.Popen(
            [
                *("spark-submit", "--master", "k8s://https://127.0.0.1:16443"),
                *("--deploy-mode", "cluster", "--name", name),
                *(word for pair in settings.items() for word in ("--conf", "=".join(pair))),
                *("local:///opt/fruits/run.py", "run", "--images", f"s3a://fruits/{images}"),
                *("--output", f"s3a://fruits/{output}", "--backbone", "EfficientNetLite0"),
                *("--chunk", "60"),
            ],
            cwd=ROOT,
            env={k: v for k, v in os.environ.items() if not k.startswith("SPARK_")} | variables,
            text=True,
        )

    def ended(self, name: str) -> tuple[int, str]:
        """The status and the log of a driver that has ended."""
        [pod] = json.loads(
            self.kubectl(
                "get", "pods", "-o", "json", "-l", f"spark-app-name={name},spark-role=driver"
            )
        )["items"]
        [container] = pod["status"]["containerStatuses"]
        return container["state"]["terminated"]["exitCode"], self.kubectl(
            "logs", pod["metadata"]["name"]
        )

    def features(self, output: str) -> int:
        listed = self.store.list_objects_v2(Bucket="fruits", Prefix=f"{output}/features/")
        return int(listed["KeyCount"])


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    missing = [name for name in PROGRAMS if not (FOLDER / "bin" / name).exists()]
    missing += [name for name in ("kubectl", "runc", "docker") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} missing: see make test-kubernetes")
    script = (str(HERE / "cluster.sh"), "up", str(FOLDER), "fruits:latest", "fruits-app:latest")
    say(str(HERE / "cluster.sh"), "down", str(FOLDER))
    try:
        done = say(*script, STORE, timeout=900)
        assert done.returncode == 0, done.stdout[-4000:]
        store = boto3.client(
            "s3",
            endpoint_url="http://10.96.0.83:8333",
            aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
            region_name="eu-west-1",
        )
        started = Cluster(store)
        objects = (HERE / "objects.yaml").read_text().replace("STORE", STORE)
        started.kubectl("create", "-f", "-", text=objects)
        keys = [f"--from-literal={name}={value}" for name, value in KEYS.items()]
        started.kubectl("create", "secret", "generic", "fruits-s3", *keys)
        started.kubectl("apply", "-f", str(ROOT / "deploy/kubernetes/spark.yaml"))
        started.kubectl("wait", "--for=condition=Ready", "pod/s3", "--timeout=120s")
        sample = tmp_path_factory.mktemp("sample")
        draw_sample(str(sample), classes=6, per_class=200)
        store.create_bucket(Bucket="fruits")

        def put(file: Path) -> None:
            key = file.relative_to(sample).as_posix()
            store.put_object(Bucket="fruits", Key=key, Body=file.read_bytes())

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(put, sample.rglob("*.jpg")))
        yield started
    finally:
        say(str(HERE / "cluster.sh"), "down", str(FOLDER))


def test_a_run_finishes_although_an_executor_is_deleted(cluster: Cluster) -> None:
    with cluster.submit("run", "Training", "out") as submitted:
        wait_for(lambda: cluster.features("out") > 3, 300)
        executors = cluster.kubectl(
            "get", "pods", "-o", "name", "-l", "spark-role=executor"
        ).split()
        assert len(executors) == 2
        cluster.kubectl("delete", executors[0])
        assert submitted.wait(600) == 0
    status, log = cluster.ended("run")
    assert status == 0, log
    assert "1,200 images: 1,200 extracted" in log
    assert "decommissioned message" in log


def test_wrong_input_is_one_line_and_the_status_of_the_driver(cluster: Cluster) -> None:
    with cluster.submit("wrong", "nothing", "none") as submitted:
        assert submitted.wait(300) == 0
    status, log = cluster.ended("wrong")
    assert status == 2
    [line] = log.strip().splitlines()
    assert line.startswith("fruits: images: wanted a folder of images; s3a://fruits/nothing")


def test_the_application_serves_the_model_of_the_run(cluster: Cluster) -> None:
    assert cluster.features("out")
    manifest = (ROOT / "deploy/kubernetes/app.yaml").read_text()
    for old, new in (
        ("image: fruits-app:latest", "image: fruits-app:latest\n          imagePullPolicy: Never"),
        ("s3://bucket/output", "s3://fruits/out"),
        ('cpu: "1"', "cpu: 200m"),
    ):
        assert old in manifest
        manifest = manifest.replace(old, new)
    token = "0123456789abcdef"
    cluster.kubectl("create", "secret", "generic", "fruits-token", f"--from-literal=token={token}")
    cluster.kubectl("apply", "-f", "-", text=manifest)
    cluster.kubectl("rollout", "status", "deployment/fruits-app", "--timeout=180s")
    address = cluster.kubectl("get", "service", "fruits-app", "-o", "jsonpath={.spec.clusterIP}")
    key = cluster.store.list_objects_v2(Bucket="fruits", Prefix="Test/Apple")["Contents"][0]["Key"]
    photograph = cluster.store.get_object(Bucket="fruits", Key=key)["Body"].read()
    request = urllib.request.Request(
        f"http://{address}/predict", photograph, {"Authorization": f"Bearer {token}"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        [predicted] = json.load(answer)["predictions"]
    assert predicted["label"] == key.split("/")[1]
