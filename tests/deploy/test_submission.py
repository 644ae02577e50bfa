"""The objects that spark-submit creates on Kubernetes with the command of docs/kubernetes.md."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from api_server import api_server
from image_roles import ROOT, SPARK_HOME, environment, started

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def objects() -> list[dict[str, Any]]:
    """The objects that the command in the documentation creates."""
    text = (ROOT / "docs/kubernetes.md").read_text()
    [recipe] = re.findall(r"^SPARK_CONF_DIR=conf spark-submit (.*?)^```", text, re.M | re.S)
    variables = {**os.environ, "SPARK_CONF_DIR": "conf", "SPARK_HOME": str(SPARK_HOME)}
    variables.pop("PYSPARK_SUBMIT_ARGS", None)
    with api_server() as server:
        words = shlex.split(
            recipe.replace("\\\n", " ").replace("https://API-SERVER:6443", server.url)
        )
        words = ["--conf", "spark.kubernetes.submission.waitAppCompletion=false", *words]
        command = [f"{SPARK_HOME}/bin/spark-submit", *words]
        done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return server.objects


def one(objects: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    [found] = [each for each in objects if each["kind"] == kind]
    return found


def test_all_submitted_objects_are_valid(objects: list[dict[str, Any]]) -> None:
    assert {"Pod", "Service", "ConfigMap"} <= {each["kind"] for each in objects}
    for each in objects:
        kubernetes_validate.validate(each, "1.37", strict=True)


def test_the_pod_of_the_driver_is_that_of_the_template(objects: list[dict[str, Any]]) -> None:
    spec = one(objects, "Pod")["spec"]
    [container] = spec["containers"]
    assert spec["serviceAccountName"] == "fruits-spark"
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["envFrom"] == [{"secretRef": {"name": "fruits-s3", "optional": True}}]
    assert container["resources"]["limits"]["memory"] == "4096Mi"


def test_the_settings_of_the_project_are_submitted(objects: list[dict[str, Any]]) -> None:
    texts = [each.get("data", {}) for each in objects if each["kind"] == "ConfigMap"]
    [properties] = [data["spark.properties"] for data in texts if "spark.properties" in data]
    lines = dict(line.split("=", 1) for line in properties.splitlines() if "=" in line)
    assert lines["spark.driver.memory"] == "2g"
    assert lines["spark.decommission.enabled"] == "true"
    assert lines["spark.network.crypto.enabled"] == "true"
    assert lines["spark.dynamicAllocation.enabled"] == "true"
    assert lines["spark.kubernetes.executor.podTemplateFile"].startswith("/opt/spark/pod-template/")
    assert not [name for name in lines if "secret" in name.lower()]


def test_the_image_understands_the_arguments_and_variables_of_the_pod(
    objects: list[dict[str, Any]], tmp_path: Path
) -> None:
    [container] = one(objects, "Pod")["spec"]["containers"]
    given = {each["name"]: each.get("value", "10.1.2.4") for each in container["env"]}
    submit = tmp_path / "home/bin/spark-submit"
    submit.parent.mkdir(parents=True)
    submit.write_text(f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n")
    submit.chmod(0o755)
    here = {"SPARK_HOME": str(tmp_path / "home"), "HOME": str(tmp_path)}
    words = started(container["args"], environment(tmp_path, **{**given, **here}))
    assert words[:2] == ["--conf", "spark.driver.bindAddress=10.1.2.4"]
    assert words[-6:] == json.loads(
        '["local:///opt/fruits/run.py", "run", "--images", "s3a://bucket/photographs", '
        '"--output", "s3a://bucket/results"]'
    )
