"""Creates stacks with the AWS CLI, and runs the commands of docs/aws.md.

The CLI needs another version of botocore, so it is installed in a separate environment below data/.
"""

import json
import shutil
import subprocess
import venv
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from stacks import NAMES, NEEDED, ROOT, path

VERSION = "1.46.3"
PLACE = ROOT / "data" / f"awscli-{VERSION}"


@pytest.fixture(scope="module")
def cli(aws: str) -> Callable[..., Any]:
    """Runs ``aws ...``; returns its output, parsed if it is JSON."""
    program = shutil.which("aws") or str(PLACE / "bin" / "aws")
    if program.startswith(str(PLACE)) and not (PLACE / "ready").exists():
        venv.create(PLACE, clear=True, with_pip=True)
        pip = [str(PLACE / "bin" / "pip"), "install", "--quiet", f"awscli=={VERSION}"]
        done = subprocess.run(pip, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no aws on the PATH, and it cannot be installed: {done.stderr[-300:]}")
        (PLACE / "ready").touch()

    def cli(*arguments: str) -> Any:
        command = [program, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        try:
            return json.loads(done.stdout)
        except json.JSONDecodeError:
            return done.stdout.strip()

    return cli


@pytest.mark.parametrize("name", NAMES)
def test_a_stack_is_created_described_and_deleted(cli: Callable[..., Any], name: str) -> None:
    body = f"file://{path(name)}"
    cli("cloudformation", "validate-template", "--template-body", body)
    network = cli("ec2", "describe-subnets", "--query", "Subnets[0]")
    values = {"Bucket": f"{name}-by-cli", "VpcId": network["VpcId"], **NEEDED[name]}
    values["SubnetId"] = network["SubnetId"]
    parameters = [f"ParameterKey={k},ParameterValue={v}" for k, v in values.items()]
    cli(
        *("cloudformation", "create-stack", "--stack-name", f"cli-{name}"),
        *("--template-body", body, "--capabilities", "CAPABILITY_IAM"),
        *("--parameters", *parameters),
    )
    cli("cloudformation", "wait", "stack-create-complete", "--stack-name", f"cli-{name}")
    (stack,) = cli("cloudformation", "describe-stacks", "--stack-name", f"cli-{name}")["Stacks"]
    outputs = {o["OutputKey"]: o.get("OutputValue") for o in stack["Outputs"]}
    assert outputs["Bucket"] == values["Bucket"]
    assert outputs["Architecture"] == name.removeprefix("ec2-")
    cli("cloudformation", "delete-stack", "--stack-name", f"cli-{name}")
    cli("cloudformation", "wait", "stack-delete-complete", "--stack-name", f"cli-{name}")
    assert boto3.client("s3").head_bucket(Bucket=values["Bucket"])


def test_the_number_of_workers_is_changed_as_the_guide_says(cli: Callable[..., Any]) -> None:
    network = cli("ec2", "describe-subnets", "--query", "Subnets[0]")
    values = {"Bucket": "more", "VpcId": network["VpcId"], "SubnetId": network["SubnetId"]}
    values |= NEEDED["ec2-cluster"]
    cli(
        *("cloudformation", "create-stack", "--stack-name", "peaches"),
        *("--template-body", f"file://{path('ec2-cluster')}", "--capabilities", "CAPABILITY_IAM"),
        *("--parameters", *(f"ParameterKey={k},ParameterValue={v}" for k, v in values.items())),
    )
    guide = (ROOT / "docs" / "aws.md").read_text()
    query = "Stacks[0].Outputs[?OutputKey==`WorkerGroup`].OutputValue"
    assert f"'{query}'" in guide
    group = cli(
        *("cloudformation", "describe-stacks", "--stack-name", "peaches"),
        *("--query", query, "--output", "text"),
    )
    cli(
        *("autoscaling", "set-desired-capacity", "--auto-scaling-group-name", group),
        *("--desired-capacity", "6"),
    )
    (there,) = cli("autoscaling", "describe-auto-scaling-groups")["AutoScalingGroups"]
    assert len(there["Instances"]) == 6
