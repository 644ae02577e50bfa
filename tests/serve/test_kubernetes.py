"""The application's manifest is valid by the schemas of Kubernetes."""

import copy
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

MANIFEST = Path(__file__).parents[2] / "deploy/kubernetes/app.yaml"
OBJECTS = list(yaml.safe_load_all(MANIFEST.read_text()))
# The oldest supported release is one of them.
RELEASES = ("1.30", "1.33", "1.37")


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("kubernetes_object", OBJECTS, ids=lambda one: str(one["kind"]))
def test_every_object_is_valid(kubernetes_object: dict[str, Any], release: str) -> None:
    assert kubernetes_validate.validate(kubernetes_object, release, strict=True) == release


def test_an_unknown_field_or_a_wrong_type_is_detected() -> None:
    [deployment] = [one for one in OBJECTS if one["kind"] == "Deployment"]
    for name, value in (("livenesProbe", {}), ("ports", {"http": 8000})):
        wrong = copy.deepcopy(deployment)
        wrong["spec"]["template"]["spec"]["containers"][0][name] = value
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(wrong, RELEASES[-1], strict=True)


def test_the_keys_of_a_store_are_in_the_same_secret_as_those_of_runs() -> None:
    [deployment] = [one for one in OBJECTS if one["kind"] == "Deployment"]
    run = yaml.safe_load(MANIFEST.with_name("pod.yaml").read_text())
    secrets = [
        pod["spec"]["containers"][0]["envFrom"] for pod in (deployment["spec"]["template"], run)
    ]
    assert secrets == [[{"secretRef": {"name": "fruits-s3", "optional": True}}]] * 2
