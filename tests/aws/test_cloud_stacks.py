"""``fruits cloud launch``, ``status`` and ``terminate``: resources, costs, and what remains."""

import hashlib
import io
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from cloud_answers import answer, output_of, refusal, refused, update_or_refuse
from stacks import NAMES, ROOT, load

from fruits.cloud import launch, stacks, templates
from fruits.cloud.account import Account
from fruits.cloud.costs import Prices, estimate
from fruits.errors import CloudError

IMAGE = ("--image", "registry.example/fruits:1")


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """The name of this test's own stack and bucket."""
    return f"s-{hashlib.sha256(request.node.name.encode()).hexdigest()[:10]}"


def launched(capsys: pytest.CaptureFixture[str], kind: str, name: str, *options: str) -> str:
    common = ("--name", name, "--bucket", name, "--yes")
    image = () if kind == "emr" else IMAGE
    return output_of(capsys, "launch", kind, *common, *image, *options)


def statuses(name: str) -> list[str]:
    found = boto3.client("cloudformation").describe_stacks()["Stacks"]
    return [s["StackStatus"] for s in found if s["StackName"] == name]


def instances(name: str) -> list[dict[str, Any]]:
    """The running instances of a stack."""
    found = boto3.client("ec2").describe_instances(
        Filters=[{"Name": "instance-state-name", "Values": ["running"]}]
    )
    every = [i for r in found["Reservations"] for i in r["Instances"]]
    return [i for i in every if any(t["Value"].startswith(name) for t in i.get("Tags", ()))]


def test_launch_shows_the_stack_and_its_costs_and_creates_it(
    aws: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = launched(capsys, "single", name)
    assert f"create     stack {name} (single) in us-east-1" in out
    assert "EC2::Instance" in out
    assert "Image=registry.example/fruits:1" in out
    assert "1 x m5.xlarge with disks: $0.199 an hour" in out
    assert "on-demand prices, us-east-1, 2026-06; not included: addresses" in out
    assert "stop 12 hours after they start" in out
    assert statuses(name) == ["CREATE_COMPLETE"]
    (made,) = instances(name)
    assert made["InstanceType"] == "m5.xlarge"
    assert made["InstanceId"] in out
    assert boto3.client("s3").head_bucket(Bucket=name)


@pytest.mark.parametrize("typed", [None, "", "n", "y", "Yes"])
def test_nothing_is_spent_without_a_yes(
    aws: str,
    name: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    typed: str | None,
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return typed is not None

    monkeypatch.setattr(sys, "stdin", Terminal(f"{typed}\n"))
    arguments = ("launch", "single", "--name", name, "--bucket", name, *IMAGE)
    if typed and typed.lower().startswith("y"):
        output_of(capsys, *arguments)
        assert statuses(name) == ["CREATE_COMPLETE"]
        return
    line = refused(capsys, *arguments)
    assert ("in a script, add --yes" if typed is None else "nothing was done") in line
    assert statuses(name) == []
    assert name not in [b["Name"] for b in boto3.client("s3").list_buckets()["Buckets"]]


def interrupted(true: Any, arguments: Any) -> Any:
    raise KeyboardInterrupt


def test_ctrl_c_is_one_line_that_says_what_continues(
    aws: str, name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("launch", "single", "--name", name, "--bucket", name, *IMAGE)

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

        def readline(self, *_: object) -> str:  # type: ignore[override]
            raise KeyboardInterrupt

    monkeypatch.setattr(sys, "stdin", Terminal())
    assert "interrupted; nothing was done" in refused(capsys, *arguments, status=130)
    assert statuses(name) == []
    answer(monkeypatch, {"DescribeStackEvents": interrupted})
    line = refused(capsys, *arguments, "--yes", status=130)
    assert "interrupted; AWS continues to create it, and it costs money" in line
    assert f"fruits cloud terminate --name {name}" in line
    line = refused(capsys, "terminate", "--name", name, "--yes", status=130)
    assert "interrupted; AWS continues to delete it: see fruits cloud status" in line


def test_a_cluster_costs_as_much_as_its_hosts_and_status_sees_each_of_them(
    aws: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = launched(capsys, "cluster", name, "--workers", "2")
    assert "3 x m5.xlarge with disks: $0.597 an hour" in out
    assert len(instances(name)) == 3
    found = json.loads(output_of(capsys, "status", "--json"))
    mine = [item for item in found["items"] if item["stack"] == name]
    assert {i["name"] for i in mine if i["kind"] == "instance"} == {
        i["InstanceId"] for i in instances(name)
    }
    # The same as in the output of launch: hosts and their disks.
    assert sum(i["dollars"] or 0 for i in mine) == pytest.approx(3 * (0.192 + 64 * 0.08 / 730))
    volumes = boto3.client("ec2").describe_volumes(
        Filters=[
            {
                "Name": "attachment.instance-id",
                "Values": [i["InstanceId"] for i in instances(name)],
            }
        ]
    )["Volumes"]
    assert {i["name"] for i in mine if i["kind"] == "volume"} == {v["VolumeId"] for v in volumes}
    assert [i["name"] for i in mine if i["kind"] == "bucket"] == [name]
    assert [i["state"] for i in mine if i["kind"] == "stack"] == ["CREATE_COMPLETE"]


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """A folder like the one that deploy/emr/wheels.sh makes."""
    (tmp_path / "fruits-0.1.0-py3-none-any.whl").write_bytes(b"wheel")
    (tmp_path / "requirements.txt").write_text("fruits==0.1.0 --hash=sha256:00\n")
    return tmp_path


WHEELS_SHA256 = hashlib.sha256(b"fruits==0.1.0 --hash=sha256:00\n").hexdigest()
BOOTSTRAP = (ROOT / "deploy/emr/bootstrap.sh").read_bytes()
BOOTSTRAP_SHA256 = hashlib.sha256(BOOTSTRAP).hexdigest()
# Below the only prefix to which no node may write, with names that contain the SHA-256.
SOFTWARE_KEYS = sorted(
    [
        f"software/bootstrap-{BOOTSTRAP_SHA256}.sh",
        f"software/{WHEELS_SHA256}/fruits-0.1.0-py3-none-any.whl",
        f"software/{WHEELS_SHA256}/requirements.txt",
    ]
)


def test_emr_wheels_are_in_the_bucket_before_the_cluster_starts(
    aws: str, name: str, wheels: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    boto3.client("s3").create_bucket(Bucket=name)
    out = launched(capsys, "emr", name, "--wheels", str(wheels), "--workers", "2")
    assert "3 x m5.xlarge with disks: $0.762 an hour; up to 7 by managed scaling: $1.778" in out
    assert [o.key for o in boto3.resource("s3").Bucket(name).objects.all()] == SOFTWARE_KEYS
    clusters = boto3.client("emr").list_clusters()["Clusters"]
    (cluster,) = (c for c in clusters if c["Name"] == name)
    assert cluster["Id"] in out


def test_a_new_bucket_is_filled_before_the_cluster_is_created(
    aws: str,
    name: str,
    wheels: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # moto cannot change a stack of this template.
    calls = answer(monkeypatch, {"UpdateStack": {}})
    launched(capsys, "emr", name, "--wheels", str(wheels))
    made = {"CreateStack", "PutObject", "UpdateStack"}
    order = [operation for operation, _ in calls if operation in made]
    assert order == ["CreateStack", *["PutObject"] * 3, "UpdateStack"]
    assert [o.key for o in boto3.resource("s3").Bucket(name).objects.all()] == SOFTWARE_KEYS
    first, then = (a for operation, a in calls if operation in ("CreateStack", "UpdateStack"))
    assert values(first)["WheelsSha256"] == values(first)["BootstrapSha256"] == ""
    assert values(then)["WheelsSha256"] == WHEELS_SHA256
    assert values(then)["BootstrapSha256"] == BOOTSTRAP_SHA256
    assert values(then)["CreateBucket"] == "true"


def values(request: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a request by name; True for those that keep their value."""
    return {
        p["ParameterKey"]: p.get("ParameterValue", p.get("UsePreviousValue"))
        for p in request["Parameters"]
    }


def test_without_wheels_emr_has_no_cluster_and_costs_nothing_yet(
    aws: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = launched(capsys, "emr", name)
    assert "instances  none yet" in out
    assert "launch again with --wheels" in out
    line = refused(
        capsys,
        "submit",
        "--name",
        name,
        "--images",
        f"s3://{name}/fruits/a",
        "--output",
        f"s3://{name}/fruits/b",
    )
    assert "wanted the output ClusterId; it has no cluster yet" in line
    assert "--wheels" in line


def test_status_lists_leftovers_of_deleted_stacks(
    aws: str, name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ec2, s3 = boto3.client("ec2"), boto3.client("s3")
    tags = [{"Key": "fruits:stack", "Value": name}]
    volume = ec2.create_volume(
        AvailabilityZone="us-east-1a",
        Size=64,
        TagSpecifications=[{"ResourceType": "volume", "Tags": tags}],
    )["VolumeId"]
    host = ec2.run_instances(
        ImageId=ec2.describe_images()["Images"][0]["ImageId"],
        InstanceType="x9.xlarge",
        MinCount=1,
        MaxCount=1,
        TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
    )["Instances"][0]["InstanceId"]
    cluster = boto3.client("emr").run_job_flow(
        Name="left",
        ReleaseLabel="emr-spark-8.1.0",
        Instances={
            "MasterInstanceType": "m5.xlarge",
            "InstanceCount": 1,
            "KeepJobFlowAliveWhenNoSteps": True,
        },
        Tags=[{"Key": "fruits:cluster", "Value": name}],
        JobFlowRole="nodes",
        ServiceRole="service",
    )["JobFlowId"]
    secret = boto3.client("secretsmanager").create_secret(Name=name, SecretString="x", Tags=tags)
    s3.create_bucket(Bucket=name)
    s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": tags})
    s3.put_object(Bucket=name, Key="a", Body=b"x")

    def measured(true: Any, arguments: Any) -> Any:
        found = true()
        if arguments["MetricName"] == "BucketSizeBytes":
            # moto counts something else.
            found["Datapoints"] = [{"Timestamp": datetime.now(UTC), "Average": 2.5e9}]
        return found

    answer(monkeypatch, {"GetMetricStatistics": measured})
    found = json.loads(output_of(capsys, "status", "--json"))
    mine = {i["name"]: i for i in found["items"] if i["stack"] == name}
    assert mine[volume]["detail"].endswith("of no instance")
    assert mine[host]["state"] == "running"
    assert (mine[cluster]["state"], mine[cluster]["dollars"]) == ("WAITING", None)
    # A type without a known price does not count as free.
    assert mine[host]["dollars"] is None
    assert mine[secret["ARN"].rpartition(":")[2]]["kind"] == "secret"
    assert mine[name]["detail"].startswith("2.50 GB in 1 objects")
    table = output_of(capsys, "status")
    (line,) = (line for line in table.splitlines() if f"instance  {host}" in line)
    assert line.split()[-3:] == ["h", "?", "x9.xlarge"]
    assert "without the items marked ?" in table
    ec2.stop_instances(InstanceIds=[host])
    (line,) = (t for t in output_of(capsys, "status").splitlines() if f"instance  {host}" in t)
    assert line.split()[-3:] == ["h", "-", "x9.xlarge"]
    ec2.terminate_instances(InstanceIds=[host])
    assert f"instance  {host}" not in output_of(capsys, "status")


def test_status_shows_some_kinds_even_if_others_cannot_be_listed(
    aws: str, name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    launched(capsys, "single", name)
    answer(monkeypatch, {"DescribeVolumes": refusal("DescribeVolumes", "UnauthorizedOperation")})
    line = refused(capsys, "status")
    assert "some items could not be listed, and may cost money: volumes: DescribeVolumes" in line
    assert "(AWS: UnauthorizedOperation); ask whoever manages the account" in line


def test_terminate_asks_and_deletes_all_but_the_bucket(
    aws: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    launched(capsys, "single", name)
    assert "--yes" in refused(capsys, "terminate", "--name", name)
    (host,) = instances(name)
    out = output_of(capsys, "terminate", "--name", name, "--yes")
    assert f"EC2::Instance {host['InstanceId']}" in out
    assert f"keep       s3://{name}" in out
    assert f"still there, and billed: s3://{name}" in out
    assert statuses(name) == []
    assert instances(name) == []
    assert boto3.client("s3").head_bucket(Bucket=name)
    assert "there is none in us-east-1" in refused(capsys, "terminate", "--name", name, "--yes")


def test_terminate_names_resources_that_remain(
    aws: str, name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    launched(capsys, "single", name)

    def stuck(true: Any, arguments: Any) -> Any:
        found = true()
        for stack in found["Stacks"]:
            stack["StackStatus"] = "DELETE_FAILED"
        return found

    reason = "resource sg-1 has a dependent object (DependencyViolation)"
    events = [event("Group", "DELETE_FAILED", reason, "AWS::EC2::SecurityGroup")]
    answers = {
        "DeleteStack": {},
        "DescribeStacks": stuck,
        "DescribeStackEvents": {"StackEvents": events},
    }
    answer(monkeypatch, answers)
    line = refused(capsys, "terminate", "--name", name, "--yes")
    assert f"stack {name} is DELETE_FAILED: Group (AWS::EC2::SecurityGroup): {reason}" in line
    assert line.endswith(f"then fruits cloud terminate --name {name}")
    monkeypatch.undo()
    volume = boto3.client("ec2").create_volume(
        AvailabilityZone="us-east-1a",
        Size=64,
        TagSpecifications=[
            {"ResourceType": "volume", "Tags": [{"Key": "fruits:stack", "Value": name}]}
        ],
    )["VolumeId"]
    out = output_of(capsys, "terminate", "--name", name, "--yes")
    assert f"still there, and billed: volume {volume} (available)" in out


def test_stacks_of_others_are_neither_listed_nor_deleted_nor_changed(
    aws: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    body = json.dumps({"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}})
    boto3.client("cloudformation").create_stack(StackName=name, TemplateBody=body)
    assert name not in output_of(capsys, "status")
    assert "is not deleted" in refused(capsys, "terminate", "--name", name, "--yes")
    line = refused(capsys, "launch", "single", "--name", name, "--bucket", name, *IMAGE, "--yes")
    assert "exists, and is not from fruits cloud (AWS: AlreadyExistsException)" in line
    assert statuses(name) == ["CREATE_COMPLETE"]


def test_launch_changes_an_existing_stack_and_keeps_other_parameters(
    aws: str, name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    launched(capsys, "emr", name, "--workers", "1", "--prefix", "mine")
    # moto cannot change a stack of this template.
    calls = answer(monkeypatch, {"UpdateStack": {}})
    out = output_of(capsys, "launch", "emr", "--name", name, "--workers", "3", "--yes")
    assert f"change     stack {name}" in out
    assert "Workers=3" in out
    (request,) = (arguments for operation, arguments in calls if operation == "UpdateStack")
    given = values(request)
    assert given.pop("Workers") == "3"
    assert {"Bucket", "Prefix", "SubnetId", "WheelsSha256"} <= given.keys()
    assert set(given.values()) == {True}


def test_a_repeated_launch_changes_nothing_and_says_so(
    aws: str, name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, {"UpdateStack": update_or_refuse})
    launched(capsys, "emr", name, "--workers", "1")
    out = launched(capsys, "emr", name, "--workers", "1")
    assert f"stack {name} exists with these parameters; it is not changed" in out
    assert f"stack {name} is CREATE_COMPLETE" in out
    assert "not changed" not in launched(capsys, "emr", name, "--workers", "2")


@pytest.mark.parametrize("kind", ["single", "cluster"])
def test_a_stack_of_hosts_is_not_changed_because_they_would_be_replaced_or_restarted(
    aws: str,
    name: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    launched(capsys, kind, name)
    before = instances(name)
    calls = answer(monkeypatch, {"UpdateStack": {}})
    command = ("launch", kind, "--name", name, "--yes")
    other = ("--image", "registry.example/fruits:2")
    line = refused(capsys, *command, *other, "-p", "StopAfterHours=48", "--bucket", name)
    assert (
        f"stack {name}: wanted Image=registry.example/fruits:2, StopAfterHours=48; it has "
        "Image=registry.example/fruits:1, StopAfterHours=12, and a change by CloudFormation would "
        f"replace or restart its hosts; fruits cloud terminate --name {name}, and launch again"
    ) in line
    # The same command again, with all parameters or none.
    for same in (("--bucket", name, *IMAGE), ()):
        assert output_of(capsys, *command, *same) == (
            f"stack {name} exists with these parameters; it is not changed\n"
        )
    assert "UpdateStack" not in [operation for operation, _ in calls]
    assert [host["InstanceId"] for host in instances(name)] == [
        host["InstanceId"] for host in before
    ]


def test_the_command_in_the_refusal_changes_the_number_of_workers(
    aws: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    launched(capsys, "cluster", name, "--workers", "1")
    line = refused(capsys, "launch", "cluster", "--name", name, "--workers", "2", "--yes")
    assert f"stack {name}: wanted Workers=2; it has Workers=1" in line
    words = line.partition(": aws ")[2].split()
    assert words[:2] == ["autoscaling", "set-desired-capacity"]
    given = dict(zip(words[2::2], words[3::2], strict=True))
    assert given.pop("--region") == "us-east-1"
    boto3.client("autoscaling").set_desired_capacity(
        AutoScalingGroupName=given["--auto-scaling-group-name"],
        DesiredCapacity=int(given["--desired-capacity"]),
    )
    # The master and the workers.
    assert len(instances(name)) == 3


@pytest.mark.parametrize(
    ("kind", "parameter"),
    [
        ("single", "StopAfterHours=1.5"),
        ("cluster", "Workers=three"),
        ("emr", "MinWorkers=-1"),
        ("emr", f"MaxWorkers={'9' * 5000}"),
        ("emr", "IdleTimeout=1h"),
    ],
)
def test_a_parameter_that_is_no_whole_number_is_one_line_before_anything_is_created(
    aws: str, name: str, capsys: pytest.CaptureFixture[str], kind: str, parameter: str
) -> None:
    image = () if kind == "emr" else IMAGE
    common = ("launch", kind, "--name", name, "--bucket", name, "--yes")
    key, _, value = parameter.partition("=")
    line = refused(capsys, *common, *image, "-p", parameter)
    assert f"{key}: wanted a whole number such as 3; got '{value}'" in line
    assert statuses(name) == []


def event(resource: str, status: str, reason: str = "", type_: str = "AWS::EC2::Instance") -> Any:
    return {
        "StackId": "id",
        "EventId": resource + status,
        "StackName": "name",
        "LogicalResourceId": resource,
        "PhysicalResourceId": resource,
        "ResourceType": type_,
        "Timestamp": datetime.now(UTC),
        "ResourceStatus": status,
        "ResourceStatusReason": reason,
    }


QUOTA = (
    'Resource handler returned message: "You have requested more vCPU capacity than your current '
    "vCPU limit of 0 allows for the instance bucket. (Service: Ec2, Status Code: 400, Request ID: "
    '1b2c)" (RequestToken: 9d9d, HandlerErrorCode: GeneralServiceException)'
)
DENIED = (
    "API: iam:CreateRole User: arn:aws:iam::123456789012:user/me is not authorized to perform: "
    "iam:CreateRole Encoded authorization failure message: AbCdEf123"
)


@pytest.mark.parametrize(
    ("reason", "wanted", "unwanted"),
    [
        (
            QUOTA,
            "more vCPU capacity than your current vCPU limit of 0 allows for the instance bucket "
            "(AWS: GeneralServiceException); raise the quota",
            "RequestToken",
        ),
        (DENIED, "to perform: iam:CreateRole (AWS: ROLLBACK_COMPLETE); ask whoever", "AbCdEf123"),
        (
            "Received 1 FAILURE signal(s) out of 1. Unable to satisfy 100% MinSuccessfulInstances",
            "the host did not start correctly",
            "quota",
        ),
        (
            "We currently do not have sufficient m5.xlarge capacity (Service: Ec2, Status Code: "
            "500, Error Code: InsufficientInstanceCapacity)",
            "(AWS: InsufficientInstanceCapacity); use another instance type",
            "Status Code",
        ),
    ],
)
def test_the_reason_of_the_first_failure_of_a_stack_is_one_line(
    aws: str,
    name: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    reason: str,
    wanted: str,
    unwanted: str,
) -> None:
    def rolled_back(true: Any, arguments: Any) -> Any:
        answer = true()
        for stack in answer["Stacks"]:
            stack["StackStatus"] = "ROLLBACK_COMPLETE"
        return answer

    events = [
        event(name, "ROLLBACK_COMPLETE", type_="AWS::CloudFormation::Stack"),
        event("Host", "DELETE_COMPLETE"),
        event("Role", "CREATE_FAILED", "Resource creation cancelled", "AWS::IAM::Role"),
        event("Host", "CREATE_FAILED", reason),
        event("Host", "CREATE_IN_PROGRESS"),
        event(name, "CREATE_IN_PROGRESS", "User Initiated", "AWS::CloudFormation::Stack"),
    ]
    answers = {"DescribeStacks": rolled_back, "DescribeStackEvents": {"StackEvents": events}}
    answer(monkeypatch, answers)
    arguments = ("launch", "single", "--name", name, "--bucket", name, *IMAGE, "--yes")
    line = refused(capsys, *arguments)
    assert line.startswith(f"fruits: stack {name} is ROLLBACK_COMPLETE: Host (AWS::EC2::Instance)")
    assert wanted in line
    assert unwanted not in line
    assert f"fruits cloud terminate --name {name}" in line
    # It blocks the next launch until it is deleted, and status shows it.
    assert "exists, and is ROLLBACK_COMPLETE" in refused(capsys, *arguments)
    assert "ROLLBACK_COMPLETE" in output_of(capsys, "status")
    assert "wanted a stack that is up; it is ROLLBACK_COMPLETE" in refused(
        capsys, "tunnel", "--name", name
    )
    monkeypatch.undo()
    output_of(capsys, "terminate", "--name", name, "--yes")


@pytest.mark.parametrize(
    ("operation", "code", "wanted"),
    [
        ("CreateStack", "LimitExceededException", "raise the quota"),
        ("CreateStack", "InsufficientCapabilitiesException", "InsufficientCapabilities"),
        ("GetTemplateSummary", "ExpiredToken", "the credentials have expired"),
        ("DescribeStacks", "AccessDenied", "ask whoever manages"),
    ],
)
def test_a_refusal_of_aws_is_one_line_and_nothing_is_created(
    aws: str,
    name: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    operation: str,
    code: str,
    wanted: str,
) -> None:
    answer(monkeypatch, {operation: refusal(operation, code)})
    line = refused(capsys, "launch", "single", "--name", name, "--bucket", name, *IMAGE, "--yes")
    assert f"{operation}: refused (AWS: {code}); " in line
    assert wanted in line
    monkeypatch.undo()
    assert statuses(name) == []


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (("--name", "1 fruit", *IMAGE), "name: wanted letters"),
        ((), "wanted values for Image"),
        ((*IMAGE, "-p", "Imagee=x"), "has no parameter Imagee; it has Bucket"),
        ((*IMAGE, "--workers", "3"), "has no parameter Workers"),
        ((*IMAGE, "-p", "Image"), "wanted NAME=VALUE"),
        ((*IMAGE, "--template", "nowhere.yaml"), "give the file with --template"),
        ((*IMAGE, "--vpc", "vpc-00000000"), "has no default subnet; give --subnet"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_created(
    aws: str,
    name: str,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    wanted: str,
) -> None:
    given = ("launch", "single", "--name", name, "--bucket", name, "--yes", *arguments)
    assert wanted in refused(capsys, *given)
    assert statuses(name) == []


def test_a_bucket_in_another_region_is_refused_before_anything_is_created(
    aws: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    where = {"LocationConstraint": "eu-west-1"}
    s3 = boto3.client("s3", region_name="eu-west-1")
    s3.create_bucket(Bucket=name, CreateBucketConfiguration=where)
    line = refused(capsys, "launch", "single", "--name", name, "--bucket", name, *IMAGE, "--yes")
    assert "this one is in eu-west-1 (AWS: PermanentRedirect); use --region eu-west-1" in line
    assert statuses(name) == []


def test_prices_of_another_region_are_marked() -> None:
    cost = estimate("cluster", {"InstanceType": "m5.xlarge", "Workers": "3"}, "eu-west-1")
    assert "us-east-1, 2026-06; prices in eu-west-1 may differ" in cost.text()
    unknown = estimate("single", {"InstanceType": "x9.xlarge"}, "us-east-1")
    assert "1 x x9.xlarge with disks: price not known" in unknown.text()
    spot = estimate("emr", {"InstanceType": "m5.xlarge", "Workers": "3", "Spot": "true"}, "x")
    assert spot.count == 5
    assert "Spot costs less" in spot.text()


@pytest.mark.parametrize(
    ("architecture", "dollars"),
    # Instances, a quarter more for EMR, and 0.08 $ per GiB and month for disks of 64 or 2 x 64 GiB.
    [
        ("single", 0.192 + 64 * 0.08 / 730),
        ("cluster", 4 * (0.192 + 64 * 0.08 / 730)),
        ("emr", 4 * (0.192 * 1.25 + 128 * 0.08 / 730)),
    ],
)
def test_an_hour_costs_instances_disks_and_what_emr_charges(
    architecture: str, dollars: float
) -> None:
    cost = estimate(architecture, {"InstanceType": "m5.xlarge", "Workers": "3"}, "us-east-1")
    assert cost.dollars == pytest.approx(dollars)


def test_every_type_of_the_templates_has_a_price() -> None:
    for name in NAMES:
        for type_ in load(name)["Parameters"]["InstanceType"]["AllowedValues"]:
            assert Prices.load().instances(1, type_), f"{name}: {type_}"


def test_an_existing_bucket_is_used(
    aws: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    boto3.client("s3").create_bucket(Bucket=name)
    assert "CreateBucket=false" in launched(capsys, "single", name)


def test_the_bar_shows_the_ready_resources(
    aws: str, name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    launched(capsys, "single", name)
    begin = datetime.now(UTC)
    done = [event(f"R{n}", "CREATE_COMPLETE") for n in range(3)]
    old = event("Before", "CREATE_COMPLETE") | {"Timestamp": begin - timedelta(days=1)}
    polls = iter([1, 2, 3])
    state = {"n": 0}

    def described(true: Any, arguments: Any) -> Any:
        state["n"] = next(polls)
        answer = true()
        if state["n"] < 3:
            answer["Stacks"][0]["StackStatus"] = "CREATE_IN_PROGRESS"
        return answer

    def events(true: Any, arguments: Any) -> Any:
        return {"StackEvents": [*reversed(done[: state["n"]]), old]}

    answer(monkeypatch, {"DescribeStacks": described, "DescribeStackEvents": events})
    shown: list[tuple[int, str]] = []
    stacks.wait(Account.of(), name, begin, lambda ready, last: shown.append((ready, last)))
    assert shown == [(1, "R0"), (2, "R1"), (3, "R2")]
    made = launch.tqdm
    monkeypatch.setattr(launch, "tqdm", lambda **options: made(**{**options, "delay": 0}))
    with launch.Progress("launch", 3) as show:
        show(2, "R1")
    bar = capsys.readouterr().err
    assert "2/3" in bar
    assert "R1" in bar


def test_templates_come_from_the_checkout_or_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(__file__).parents[2]
    assert templates.deploy_folder() == root / "deploy"
    monkeypatch.setattr(templates.fruits, "__file__", str(tmp_path / "lib/fruits/__init__.py"))
    monkeypatch.setattr(templates.sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(CloudError, match=r"share/fruits/deploy/emr\.yaml.*--template"):
        templates.template("emr")
    (tmp_path / "share/fruits/deploy").mkdir(parents=True)
    (tmp_path / "share/fruits/deploy/emr.yaml").write_text("Resources: {}")
    assert templates.template("emr") == "Resources: {}"
    (tmp_path / "long.yaml").write_text("#" * 60_000)
    with pytest.raises(CloudError, match="wanted at most 51,200 bytes"):
        templates.template("emr", str(tmp_path / "long.yaml"))


def test_help_of_other_commands_imports_no_boto3() -> None:
    code = (
        "import sys; from fruits.cli import main\n"
        "try: main(['run', '--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit('boto3' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
