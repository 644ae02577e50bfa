"""The containers of the application, and their documentation."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from fruits.cli.serve import variable
from fruits.options import options
from fruits.serve.settings import Settings

ROOT = Path(__file__).parents[2]
OBJECTS: dict[str, Any] = {
    one["kind"]: one
    for one in yaml.safe_load_all((ROOT / "deploy/kubernetes/app.yaml").read_text())
}
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["app"]
OPTIONS = options(Settings)
VARIABLES = {variable(option.name) for option in OPTIONS}


def locked(name: str) -> dict[str, str]:
    text = (ROOT / name).read_text()
    return dict(re.findall(r"^([a-z0-9-]+)==(.*?) ?\\", text, re.MULTILINE))


def test_every_option_is_documented() -> None:
    text = (ROOT / "docs/serve.md").read_text()
    for option in OPTIONS:
        assert option.flag in text


@pytest.mark.parametrize("name", ["docker-compose.yml", "deploy/kubernetes/app.yaml", "Dockerfile"])
def test_environment_variables_match_options(name: str) -> None:
    used = set(re.findall(r"\bFRUITS_SERVE_\w+", (ROOT / name).read_text()))
    assert used
    assert used <= VARIABLES


def test_the_lock_of_the_image_is_a_part_of_the_full_lock() -> None:
    small, whole = locked("requirements-serve.lock"), locked("requirements.lock")
    assert {"fastapi", "openvino", "s3fs", "pi-heif"} <= small.keys()
    assert not {"pyspark", "tensorflow", "tensorflow-cpu", "jupyterlab"} & small.keys()
    assert {name: whole[name] for name in small} == small


def test_compose_serves_only_on_loopback_without_privileges() -> None:
    assert COMPOSE["profiles"] == ["app"]
    assert all(port.startswith("127.0.0.1:") for port in COMPOSE["ports"])
    assert COMPOSE["read_only"] is True
    assert COMPOSE["cap_drop"] == ["ALL"]
    assert all(volume.endswith(":ro") for volume in COMPOSE["volumes"])


def test_the_pod_has_no_unnecessary_privileges() -> None:
    pod = OBJECTS["Deployment"]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    token = next(one for one in container["env"] if one["name"] == "FRUITS_TOKEN")
    assert "secretKeyRef" in token["valueFrom"]


def test_the_objects_refer_to_each_other() -> None:
    deployment = OBJECTS["Deployment"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    for found in (
        deployment["spec"]["selector"]["matchLabels"],
        OBJECTS["Service"]["spec"]["selector"],
        OBJECTS["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
    ):
        assert found == labels
    target = OBJECTS["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert target["name"] == deployment["metadata"]["name"]
    assert OBJECTS["Service"]["spec"]["ports"][0]["targetPort"] == "http"
    # The autoscaler sets the number of replicas: a number here would reset it at each apply.
    assert "replicas" not in deployment["spec"]


def test_the_grace_period_of_the_pod_is_longer_than_that_of_the_server() -> None:
    from fruits.serve.web import DRAIN_SECONDS

    pod = OBJECTS["Deployment"]["spec"]["template"]["spec"]
    pause = int(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > DRAIN_SECONDS + pause
    assert int(COMPOSE["stop_grace_period"].rstrip("s")) > DRAIN_SECONDS
