"""The application's CloudFormation template, checked like in a security review."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from evaluator import allows
from stacks import load, path

VALUES = {
    "Bucket": "photos",
    "Model": "fruits/output",
    "AWS::Partition": "aws",
    "AWS::AccountId": "123456789012",
    "AWS::Region": "eu-west-1",
    "TokenArn": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:token",
}
BUCKET = "arn:aws:s3:::photos"


def resolved(value: Any) -> Any:
    """A part of the template with the values of parameters, with a token."""
    if isinstance(value, list):
        return [resolved(one) for one in value]
    if not isinstance(value, dict):
        return value
    if "Fn::Sub" in value:
        text = value["Fn::Sub"]
        for name, replacement in VALUES.items():
            text = text.replace("${" + name + "}", replacement)
        return text
    if "Ref" in value:
        return VALUES.get(value["Ref"], value["Ref"])
    if "Fn::GetAtt" in value:
        return value["Fn::GetAtt"][0]
    if "Fn::If" in value:
        return resolved(value["Fn::If"][1])
    return {key: resolved(one) for key, one in value.items()}


@pytest.fixture(scope="module")
def resources() -> dict[str, Any]:
    found: dict[str, Any] = load("app")["Resources"]
    return {name: resolved(one["Properties"]) for name, one in found.items() if "Properties" in one}


def policies(resources: dict[str, Any], role: str) -> list[dict[str, Any]]:
    return [one["PolicyDocument"] for one in resources[role]["Policies"]]


def test_cfn_lint_finds_no_problem() -> None:
    lint = Path(sys.executable).with_name("cfn-lint")
    done = subprocess.run([lint, path("app")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_tasks_may_read_the_model_and_nothing_else(resources: dict[str, Any]) -> None:
    given = policies(resources, "TaskRole")
    account = {"aws__ResourceAccount": "123456789012"}
    model = f"{BUCKET}/fruits/output/predictor/graph.bin"
    assert allows(given, "s3:GetObject", model, **account)
    assert not allows(given, "s3:GetObject", model, aws__ResourceAccount="210987654321")
    for prefix in ("fruits/output", "fruits/output/predictor"):
        assert allows(given, "s3:ListBucket", BUCKET, s3__prefix=prefix, **account)
    for prefix in ("", "fruits", "fruits/output2/x"):
        assert not allows(given, "s3:ListBucket", BUCKET, s3__prefix=prefix, **account)
    for other in (
        f"{BUCKET}/fruits/output2/x",
        f"{BUCKET}/other",
        "arn:aws:s3:::else/fruits/output/x",
    ):
        assert not allows(given, "s3:GetObject", other, **account)
    for action in (
        "s3:PutObject",
        "s3:DeleteObject",
        "secretsmanager:GetSecretValue",
        "sts:AssumeRole",
    ):
        assert not allows(given, action, model, **account)
        assert not allows(given, action, VALUES["TokenArn"], **account)


def test_the_role_that_starts_tasks_reads_the_token_and_no_photographs(
    resources: dict[str, Any],
) -> None:
    given = policies(resources, "ExecutionRole")
    assert allows(given, "secretsmanager:GetSecretValue", VALUES["TokenArn"])
    assert not allows(given, "secretsmanager:GetSecretValue", VALUES["TokenArn"] + "-of-others")
    assert not allows(given, "s3:GetObject", f"{BUCKET}/fruits/output/x")
    assert not allows(given, "ecr:PutImage", "arn:aws:ecr:eu-west-1:123456789012:repository/app")


def test_only_the_load_balancer_reaches_the_tasks(resources: dict[str, Any]) -> None:
    [rule] = resources["TaskGroup"]["SecurityGroupIngress"]
    assert rule["SourceSecurityGroupId"] == "BalancerGroup"
    assert "CidrIp" not in rule
    assert {one["FromPort"] for one in resources["BalancerGroup"]["SecurityGroupIngress"]} == {
        80,
        443,
    }


def test_clients_use_https_and_cannot_see_the_metrics(resources: dict[str, Any]) -> None:
    assert resources["Https"]["Protocol"] == "HTTPS"
    assert "TLS13" in resources["Https"]["SslPolicy"]
    [redirect] = resources["Http"]["DefaultActions"]
    assert redirect["RedirectConfig"]["Protocol"] == "HTTPS"
    [condition] = resources["MetricsRule"]["Conditions"]
    assert condition["PathPatternConfig"]["Values"] == ["/metrics"]


def test_the_container_can_change_only_its_copy_of_the_model(
    resources: dict[str, Any],
) -> None:
    [container] = resources["Task"]["ContainerDefinitions"]
    assert container["ReadonlyRootFilesystem"] is True
    assert [one["ContainerPath"] for one in container["MountPoints"]] == ["/tmp"]
    assert container["StopTimeout"] > 30
    assert container["Secrets"] == [{"Name": "FRUITS_TOKEN", "ValueFrom": VALUES["TokenArn"]}]
    given = {one["Name"]: one["Value"] for one in container["Environment"]}
    assert given["FRUITS_SERVE_MODEL"] == "s3://photos/fruits/output"
    assert given["FRUITS_SERVE_PUBLIC"] == "false"
