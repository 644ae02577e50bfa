"""The manifests for runs match the schemas of Kubernetes and of the Spark operator."""

import copy
import importlib.metadata
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from pydantic import ValidationError

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy/kubernetes"
ACCOUNT = {one["kind"]: one for one in yaml.safe_load_all((FOLDER / "spark.yaml").read_text())}
POD = yaml.safe_load((FOLDER / "pod.yaml").read_text())
RUN = yaml.safe_load((FOLDER / "run.yaml").read_text())
RELEASES = ("1.30", "1.33", "1.37")


@pytest.mark.parametrize("release", RELEASES)
def test_every_object_is_valid(release: str) -> None:
    for one in (*ACCOUNT.values(), with_image(POD)):
        assert kubernetes_validate.validate(one, release, strict=True) == release


def with_image(template: dict[str, Any]) -> dict[str, Any]:
    """The pod as completed by Spark, because the template has no image and no name."""
    pod = copy.deepcopy(template)
    pod["metadata"]["name"] = "run-exec-1"
    pod["spec"]["containers"][0]["image"] = "fruits:1"
    return pod


def through_the_operator(application: dict[str, Any]) -> dict[str, Any]:
    """The application with only the fields that the operator knows."""
    # Not at the top: it takes a second, which every process that collects tests would wait.
    from kubeflow_spark_api.models import SparkV1beta2SparkApplication

    known = SparkV1beta2SparkApplication.from_dict(application)
    assert known
    return known.to_dict()


def test_the_run_has_only_fields_of_the_operator_with_values_of_their_types() -> None:
    assert through_the_operator(RUN) == RUN


def test_an_unknown_field_or_a_wrong_type_of_the_run_would_be_found() -> None:
    unknown = copy.deepcopy(RUN)
    unknown["spec"]["driver"]["memoryOverheads"] = "1g"
    assert through_the_operator(unknown) != unknown
    wrong = copy.deepcopy(RUN)
    wrong["spec"]["executor"]["cores"] = "four"
    with pytest.raises(ValidationError):
        through_the_operator(wrong)


def test_pods_are_the_same_by_spark_submit_and_by_the_operator() -> None:
    template = {"metadata": POD["metadata"], "spec": POD["spec"]}
    assert RUN["spec"]["driver"]["template"] == template
    assert RUN["spec"]["executor"]["template"] == template


def test_a_pod_has_no_rights_and_writes_to_its_own_volumes_only() -> None:
    [container] = POD["spec"]["containers"]
    assert POD["spec"]["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    mounted = [one["mountPath"] for one in container["volumeMounts"]]
    assert mounted == ["/tmp", "/dev/shm"]
    for variable in container["env"]:
        assert variable["value"].startswith("/tmp")


def test_a_released_executor_hands_over_its_blocks_and_is_not_kept_for_them() -> None:
    assert RUN["spec"]["dynamicAllocation"]["shuffleTrackingEnabled"] is False
    # Spark refuses dynamic allocation without either.
    for name in ("decommission", "storage.decommission", "storage.decommission.shuffleBlocks"):
        assert RUN["spec"]["sparkConf"][f"spark.{name}.enabled"] == "true"


def test_the_driver_may_use_its_own_namespace_only() -> None:
    assert ACCOUNT.keys() == {"ServiceAccount", "Role", "RoleBinding"}
    [rule] = ACCOUNT["Role"]["rules"]
    assert "secrets" not in rule["resources"]
    assert "*" not in (*rule["resources"], *rule["verbs"], *rule["apiGroups"])
    name = ACCOUNT["ServiceAccount"]["metadata"]["name"]
    assert ACCOUNT["RoleBinding"]["subjects"] == [{"kind": "ServiceAccount", "name": name}]
    assert RUN["spec"]["driver"]["serviceAccount"] == name


def test_a_pod_lives_long_enough_to_hand_over() -> None:
    source = (ROOT / "deploy/docker/roles/pods.py").read_text()
    [seconds] = [line for line in source.splitlines() if line.startswith("DECOMMISSION_TIMEOUT = ")]
    assert POD["spec"]["terminationGracePeriodSeconds"] > int(seconds.split("=")[1])


def test_the_run_uses_the_spark_and_the_program_of_the_image() -> None:
    spec = RUN["spec"]
    assert spec["sparkVersion"] == importlib.metadata.version("pyspark")
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert "COPY deploy/docker/run.py /opt/fruits/" in dockerfile
    assert spec["mainApplicationFile"] == "local:///opt/fruits/run.py"
    # The default path of the script in Spark.
    assert "COPY deploy/docker/decom.sh /opt/" in dockerfile
