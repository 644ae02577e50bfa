"""``fruits cloud launch app``: its checks, resources, costs, and the permissions of the tasks."""

import contextlib
import io
import json
import time
from typing import Any

import boto3
import pytest
from cloud_answers import answer, output_of, refused
from evaluator import allows
from stacks import load, resources, role_policies, roles

from fruits.cli import main
from fruits.cloud.application import TASK_GIB, TASK_VCPUS
from fruits.predictor.files import MANIFEST

NAME, BUCKET = "served", "fruits-served"
# Dollars per hour: a task on Fargate, a load balancer, a web ACL of AWS WAF with one rule.
TASK, BALANCER, WAF = 0.04048 + 2 * 0.004445, 0.0225, 6 / 730


@pytest.fixture(scope="module")
def certificate(aws: str) -> str:
    """Creates a bucket with the output of a run, and a certificate; returns its ARN."""
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key=f"fruits/out/predictor/{MANIFEST}", Body=b"{}")
    made = boto3.client("acm").request_certificate(DomainName="fruits.example")
    return str(made["CertificateArn"])


@pytest.fixture(scope="module")
def options(certificate: str) -> tuple[str, ...]:
    model = ("--model", f"s3://{BUCKET}/fruits/out")
    image = ("--image", "registry.example/fruits-app:1")
    return ("--yes", *model, *image, "--certificate", certificate)


@pytest.fixture(scope="module")
def launched(options: tuple[str, ...]) -> str:
    """The output of launch."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        command = ["cloud", "launch", "app", "--name", NAME, *options, "--tasks", "2", "--waf"]
        assert main(command) == 0
    return out.getvalue()


def stack() -> dict[str, Any]:
    found = boto3.client("cloudformation").describe_stacks(StackName=NAME)["Stacks"][0]
    return dict(found)


def exists(name: str) -> bool:
    every = boto3.client("cloudformation").describe_stacks()["Stacks"]
    return name in [one["StackName"] for one in every]


def test_launch_creates_the_application_and_shows_its_costs(launched: str) -> None:
    parameters = {p["ParameterKey"]: p["ParameterValue"] for p in stack()["Parameters"]}
    assert (parameters["Bucket"], parameters["Model"]) == (BUCKET, "fruits/out")
    assert (parameters["Tasks"], parameters["MaxTasks"], parameters["Waf"]) == ("2", "4", "true")
    least, most = (f"${WAF + BALANCER + n * TASK:.3f}" for n in (2, 4))
    assert (
        f"tasks      2 x 1 vCPU and 2 GiB with the load balancer: {least} an hour; up to 4 by "
        f"autoscaling: {most}"
    ) in launched
    assert "access     without a token, from 0.0.0.0/0; --token-secret requires one" in launched
    assert "ends       only by fruits cloud terminate --name served" in launched
    # It only reads the bucket, and changes nothing there.
    assert "versioning" not in launched
    assert "Status" not in boto3.client("s3").get_bucket_versioning(Bucket=BUCKET)


def test_the_load_balancer_is_in_two_zones_and_tasks_reach_the_internet(launched: str) -> None:
    [balancer] = boto3.client("elbv2").describe_load_balancers()["LoadBalancers"]
    assert len({zone["ZoneName"] for zone in balancer["AvailabilityZones"]}) >= 2
    assert balancer["DNSName"] in launched
    assert "add a CNAME or alias to your DNS" in launched
    parameters = {p["ParameterKey"]: p["ParameterValue"] for p in stack()["Parameters"]}
    assert parameters["AssignPublicIp"] == "ENABLED"
    assert parameters["TaskSubnets"] == parameters["PublicSubnets"]


def test_the_roles_can_only_read_the_model(launched: str) -> None:
    given = role_policies(roles(NAME)["TaskRole"])
    bucket = f"arn:aws:s3:::{BUCKET}"
    model = f"{bucket}/fruits/out"
    ours, theirs = ({"aws__ResourceAccount": id_} for id_ in ("123456789012", "210987654321"))
    assert allows(given, "s3:GetObject", f"{model}/predictor/{MANIFEST}", **ours)
    assert allows(given, "s3:ListBucket", bucket, s3__prefix="fruits/out/", **ours)
    # A bucket of that name in another account is not read.
    assert not allows(given, "s3:GetObject", f"{model}/predictor/{MANIFEST}", **theirs)
    assert not allows(given, "s3:ListBucket", bucket, s3__prefix="fruits/out/", **theirs)
    assert not allows(given, "s3:ListBucket", bucket, s3__prefix="fruits/", **ours)
    assert not allows(given, "s3:GetObject", f"{model}-of-others/x", **ours)
    assert not allows(given, "s3:GetObject", "arn:aws:s3:::another/fruits/out/x", **ours)
    for action in ("s3:PutObject", "s3:DeleteObject", "ecs:RunTask", "iam:PassRole"):
        assert not allows(given, action, f"{model}/x", **ours), action
    execution = role_policies(roles(NAME)["ExecutionRole"])
    assert not allows(execution, "s3:GetObject", f"{model}/x", **ours)


def test_an_alarm_is_raised_if_no_task_is_healthy_even_without_requests() -> None:
    alarms = resources(load("app"), "AWS::CloudWatch::Alarm")
    [alarm] = [found for found in alarms.values() if found["MetricName"] == "HealthyHostCount"]
    assert {dimension["Name"] for dimension in alarm["Dimensions"]} == {
        "LoadBalancer",
        "TargetGroup",
    }
    assert (alarm["ComparisonOperator"], alarm["Threshold"]) == ("LessThanThreshold", 1)
    # If no task is registered, there are no data.
    assert alarm["TreatMissingData"] == "breaching"
    assert {str(found["AlarmActions"]) for found in alarms.values()} == {str(alarm["AlarmActions"])}


def test_status_sees_tasks_and_balancer_with_their_prices(
    launched: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def running(true: Any, arguments: Any) -> Any:
        found = true()
        found["services"][0] |= {"runningCount": 2, "pendingCount": 1, "desiredCount": 3}
        return found

    def described(true: Any, arguments: Any) -> Any:
        found = true()
        found["taskDefinition"] |= {"cpu": "1024", "memory": "2048"}
        return found

    # moto starts no tasks, and does not store their size.
    answer(monkeypatch, {"DescribeServices": running, "DescribeTaskDefinition": described})
    items = json.loads(output_of(capsys, "status", "--json"))["items"]
    mine = {item["kind"]: item for item in items if item["stack"] == NAME}
    assert mine["service"]["dollars"] == pytest.approx(3 * TASK)
    assert mine["service"]["detail"] == "3 of 3 tasks of 1 vCPU and 2 GiB"
    assert mine["balancer"]["dollars"] == BALANCER
    assert mine["bucket"]["name"] == BUCKET


def test_a_balancer_of_a_deleted_stack_is_listed(
    aws: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ec2, client = boto3.client("ec2"), boto3.client("elbv2")
    subnets = [subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"][:2]]
    for name, key in (("left", "fruits:stack"), ("other", "other")):
        tags = [{"Key": key, "Value": "gone"}]
        client.create_load_balancer(Name=name, Subnets=subnets, Tags=tags)
    items = json.loads(output_of(capsys, "status", "--json"))["items"]
    found = [(item["name"], item["stack"]) for item in items if item["kind"] == "balancer"]
    assert ("left", "gone") in found
    assert "other" not in [name for name, _ in found]
    for balancer in client.describe_load_balancers(Names=["left", "other"])["LoadBalancers"]:
        client.delete_load_balancer(LoadBalancerArn=balancer["LoadBalancerArn"])


def test_logs_shows_the_output_of_the_tasks(
    launched: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "no task has printed anything yet" in output_of(capsys, "logs", "--name", NAME)
    group = next(o["OutputValue"] for o in stack()["Outputs"] if o["OutputKey"] == "Logs")
    client = boto3.client("logs")
    client.create_log_stream(logGroupName=group, logStreamName="app/app/1")
    now = int(time.time() * 1000)
    events = [{"timestamp": now + n, "message": f"line {n}\x1b[2J"} for n in range(5)]
    client.put_log_events(logGroupName=group, logStreamName="app/app/1", logEvents=events)
    out = output_of(capsys, "logs", "--name", NAME, "--lines", "2")
    assert out.splitlines() == ["==> app/app/1", r"line 3\x1b[2J", r"line 4\x1b[2J"]


def test_jobs_and_tunnels_are_for_other_stacks(
    launched: str, capsys: pytest.CaptureFixture[str]
) -> None:
    places = ("--images", f"s3://{BUCKET}/a", "--output", f"s3://{BUCKET}/b")
    assert "wanted one that can run jobs" in refused(capsys, "submit", "--name", NAME, *places)
    assert "wanted one of single" in refused(capsys, "tunnel", "--name", NAME)


def test_another_model_and_image_change_the_stack_and_keep_the_rest(
    launched: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = f"fruits/next/predictor/{MANIFEST}"
    boto3.client("s3").put_object(Bucket=BUCKET, Key=key, Body=b"{}")
    # moto cannot change a stack of this template.
    calls = answer(monkeypatch, {"UpdateStack": {}})
    change = ("--model", f"s3://{BUCKET}/fruits/next", "--name", NAME, "--yes")
    output_of(capsys, "launch", "app", *change)
    [request] = [arguments for operation, arguments in calls if operation == "UpdateStack"]
    given = {p["ParameterKey"]: p.get("ParameterValue") for p in request["Parameters"]}
    changed = {name: value for name, value in given.items() if value is not None}
    assert changed == {"Bucket": BUCKET, "Model": "fruits/next"}
    assert {"CertificateArn", "Image", "PublicSubnets", "Tasks"} <= given.keys()


@pytest.mark.parametrize(
    ("changed", "wanted"),
    [
        (("--model", f"s3://{BUCKET}/nothing"), f"nothing has no predictor/{MANIFEST}"),
        (("--model", "s3://nowhere-at-all/out"), "there is no such bucket (AWS: NoSuchBucket)"),
        (("--model", "fruits/out"), "wanted a URI in S3"),
        (("--certificate", "mine"), "certificate: wanted the ARN of a certificate in ACM"),
        (
            ("--certificate", "arn:aws:acm:eu-west-1:123456789012:certificate/abc"),
            "wanted one in us-east-1, where the load balancer is; got one in eu-west-1",
        ),
        (("--tasks", "6"), "tasks: wanted at most 4, the value of --max-tasks; got 6"),
        (("--tasks", "none"), "tasks: wanted numbers from 1 to 50; got none and 4"),
        (("--max-tasks", "60"), "tasks: wanted numbers from 1 to 50; got 1 and 60"),
        (("--workers", "3"), "app: has no parameter Workers"),
        (("--vpc", "vpc-00000000"), "has no default subnet; give --subnet"),
    ],
)
def test_a_launch_that_cannot_work_is_refused_before_anything_is_created(
    options: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
    changed: tuple[str, ...],
    wanted: str,
) -> None:
    assert wanted in refused(capsys, "launch", "app", "--name", "never", *options, *changed)
    assert not exists("never")


def test_without_a_certificate_or_an_image_it_says_which_is_missing(
    certificate: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ("--model", f"s3://{BUCKET}/fruits/out")
    line = refused(capsys, "launch", "app", "--name", "never", "--yes", *model)
    assert "app: wanted values for Image, CertificateArn" in line


def test_the_price_is_that_of_the_tasks_of_the_template() -> None:
    task = load("app")["Resources"]["Task"]["Properties"]
    assert int(task["Cpu"]) == 1024 * TASK_VCPUS
    assert int(task["Memory"]) == 1024 * TASK_GIB


def test_terminate_deletes_everything_but_the_model(
    launched: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = output_of(capsys, "terminate", "--name", NAME, "--yes")
    assert "ElasticLoadBalancingV2::LoadBalancer" in out
    assert f"keep       s3://{BUCKET}" in out
    assert not exists(NAME)
    assert boto3.client("elbv2").describe_load_balancers()["LoadBalancers"] == []
    boto3.client("s3").head_object(Bucket=BUCKET, Key=f"fruits/out/predictor/{MANIFEST}")
