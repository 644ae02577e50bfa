"""``fruits cloud`` does not trust buckets, stacks, outputs and logs that others may have made."""

import gzip
import json
import re
import shlex
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.httpsession import URLLib3Session
from cloud_answers import answer, output_of, refusal, refused
from stacks import create

from fruits.cloud import logs, stacks, tunnel
from fruits.cloud.account import Account
from fruits.cloud.failures import printable
from fruits.cloud.stacks import Stack
from fruits.errors import CloudError

ACCOUNT = "123456789012"
IMAGE = ("--image", "registry.example/fruits:1")


# ---- Buckets


def test_every_request_to_a_bucket_names_the_owner_that_is_expected(
    aws: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: list[tuple[str, str | None]] = []
    send: Callable[..., Any] = URLLib3Session.send

    def record(session: Any, request: Any) -> Any:
        if "/s3/aws4_request" in str(request.headers.get("Authorization")):
            owner = request.headers.get("x-amz-expected-bucket-owner")
            what = f"{request.method} {request.url.partition('?')[2].partition('=')[0]}"
            owner = owner.decode() if isinstance(owner, bytes) else owner
            requests.append((what, owner))
        return send(session, request)

    boto3.client("s3").create_bucket(Bucket="owned")
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels/requirements.txt").write_text("fruits==1 --hash=sha256:00\n")
    (tmp_path / "images").mkdir()
    # Of three parts.
    (tmp_path / "images/large.tif").write_bytes(b"x" * 20 * 2**20)
    monkeypatch.setattr(URLLib3Session, "send", record)
    common = ("--name", "owned", "--bucket", "owned", "--yes")
    output_of(capsys, "launch", "emr", *common, "--wheels", str(tmp_path / "wheels"))
    for _ in range(2):
        output_of(capsys, "upload", str(tmp_path / "images"), "s3://owned/fruits/images")
    output_of(capsys, "status")
    cluster = stacks.require(Account.of(), "owned").outputs["ClusterId"]
    boto3.client("emr").add_job_flow_steps(
        JobFlowId=cluster, Steps=[{"Name": "x", "HadoopJarStep": {"Jar": "command-runner.jar"}}]
    )
    output_of(capsys, "logs", "--name", "owned")
    output_of(capsys, "terminate", "--name", "owned", "--yes")
    assert {"HEAD ", "PUT ", "GET versioning", "PUT lifecycle"} <= {what for what, _ in requests}
    assert {"POST uploads", "PUT uploadId", "POST uploadId"} <= {what for what, _ in requests}
    assert {owner for _, owner in requests} == {ACCOUNT}, requests


def test_nothing_is_sent_to_a_bucket_of_another_account(
    aws: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.jpg").write_bytes(b"mine")
    # The response of S3 if the bucket has another owner than expected.
    denied = {
        "HeadBucket": refusal("HeadBucket", "403", "Forbidden", 403),
        "ListObjectsV2": refusal("ListObjectsV2", "AccessDenied", "Access Denied", 403),
    }
    calls = answer(monkeypatch, denied)
    commands = (
        ("upload", str(tmp_path), "s3://theirs/fruits"),
        ("launch", "single", "--name", "x", "--bucket", "theirs", "--yes", *IMAGE),
    )
    for command in commands:
        assert "s3://theirs: ListObjectsV2: Access Denied (AWS: AccessDenied)" in refused(
            capsys, *command
        )
    assert not {"PutObject", "CreateStack", "CreateMultipartUpload"} & {name for name, _ in calls}


@pytest.fixture
def bucket(aws: str, request: pytest.FixtureRequest) -> str:
    name = re.sub("[^a-z]", "-", request.node.name.lower())[-40:].strip("-")
    boto3.client("s3").create_bucket(Bucket=name)
    return name


def settings(bucket: str) -> tuple[str | None, list[dict[str, Any]]]:
    s3 = boto3.client("s3")
    status = s3.get_bucket_versioning(Bucket=bucket).get("Status")
    try:
        return status, s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    except s3.exceptions.ClientError:
        return status, []


def launch(capsys: pytest.CaptureFixture[str], bucket: str, *options: str) -> str:
    common = ("--name", bucket, "--bucket", bucket, "--yes")
    return output_of(capsys, "launch", "single", *common, *IMAGE, *options)


def test_launch_turns_versioning_on_so_that_a_job_cannot_destroy_results(
    bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = launch(capsys, bucket)
    assert "versioning will be turned on" in out
    status, (rule,) = settings(bucket)
    assert status == "Enabled"
    assert rule["Filter"] == {"Prefix": ""}
    assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}
    # A malicious job can overwrite and delete objects.
    s3 = boto3.client("s3")
    s3.put_object(Bucket=bucket, Key="fruits/out/pca.csv", Body=b"results")
    s3.put_object(Bucket=bucket, Key="fruits/out/pca.csv", Body=b"rubbish")
    s3.delete_object(Bucket=bucket, Key="fruits/out/pca.csv")
    old = boto3.resource("s3").Bucket(bucket).object_versions.filter(Prefix="fruits/out/")
    bodies = [v.get()["Body"].read() for v in old if v.size is not None]
    assert b"results" in bodies
    # A second stack with this bucket need not turn it on.
    assert "versioning" not in launch(capsys, bucket, "--name", f"{bucket}-2")


def test_existing_settings_of_a_bucket_stay(
    bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    s3 = boto3.client("s3")
    theirs = {
        "ID": "theirs",
        "Status": "Enabled",
        "Filter": {"Prefix": "logs/"},
        "Expiration": {"Days": 7},
    }
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [theirs]})
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    launch(capsys, bucket)
    status, rules = settings(bucket)
    assert status == "Enabled"
    assert rules[0] == theirs
    # Older versions may belong to somebody: only the stack's own prefix gets a lifecycle rule.
    assert rules[1]["Filter"] == {"Prefix": "fruits/"}


def test_a_bucket_with_versioning_is_not_changed(
    bucket: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    versioning = {"Status": "Enabled"}
    boto3.client("s3").put_bucket_versioning(Bucket=bucket, VersioningConfiguration=versioning)
    calls = answer(monkeypatch, {})
    launch(capsys, bucket)
    assert not [name for name, _ in calls if name.startswith("PutBucket")]


def test_launch_warns_if_versioning_stays_off(
    bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = launch(capsys, bucket, "--no-versioning")
    assert "versioning is off: a job can destroy all files of the prefix" in out
    assert settings(bucket) == (None, [])


def test_the_command_that_terminate_prints_deletes_a_bucket_with_its_old_versions(
    aws: str, capsys: pytest.CaptureFixture[str]
) -> None:
    launch(capsys, "all-gone")
    s3 = boto3.client("s3")
    for body in (b"first", b"second"):
        s3.put_object(Bucket="all-gone", Key="fruits/a", Body=body)
    s3.delete_object(Bucket="all-gone", Key="fruits/a")
    out = output_of(capsys, "terminate", "--name", "all-gone", "--yes")
    command = re.search(r"old versions too: (.+)", out)
    assert command
    assert shlex.split(command[1])[0] == sys.executable
    subprocess.run(["sh", "-c", command[1]], check=True)
    assert "all-gone" not in [b["Name"] for b in s3.list_buckets()["Buckets"]]


# ---- Stacks

TOPIC = {"Topic": {"Type": "AWS::SNS::Topic"}}
OURS = {"FruitsArchitecture": "single"}
OUTPUTS = {"Architecture": {"Value": "single"}, "Bucket": {"Value": "somebody-elses"}}


@pytest.mark.parametrize(
    ("tag", "template", "missing"),
    [
        # The outputs and even the template are ours, but this tool did not launch the stack.
        (None, {"Outputs": OUTPUTS, "Metadata": OURS}, "no tag fruits:stack=fake"),
        # The tag was copied from another stack.
        ("another", {"Outputs": OUTPUTS, "Metadata": OURS}, "no tag fruits:stack=fake"),
        # The right tag on a stack of another template.
        ("fake", {"Outputs": OUTPUTS}, "no template of fruits cloud"),
        ("fake", {"Metadata": {"FruitsArchitecture": "bank"}}, "no template of fruits cloud"),
    ],
)
def test_a_stack_that_only_looks_like_ours_is_not_deleted(
    aws: str,
    capsys: pytest.CaptureFixture[str],
    tag: str | None,
    template: dict[str, Any],
    missing: str,
) -> None:
    cloudformation = boto3.client("cloudformation")
    tags = [{"Key": "fruits:stack", "Value": tag}] if tag else []
    body = json.dumps({"Resources": TOPIC, **template})
    cloudformation.create_stack(StackName="fake", TemplateBody=body, Tags=tags)
    try:
        line = refused(capsys, "terminate", "--name", "fake", "--yes")
        assert missing in line
        assert "not deleted; if it is yours: aws cloudformation delete-stack" in line
        found = cloudformation.describe_stacks(StackName="fake")["Stacks"][0]
        assert found["StackStatus"] == "CREATE_COMPLETE"
    finally:
        cloudformation.delete_stack(StackName="fake")


def test_stacks_with_outputs_like_ours_are_not_listed(
    aws: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cloudformation = boto3.client("cloudformation")
    body = json.dumps({"Resources": TOPIC, "Outputs": OUTPUTS})
    cloudformation.create_stack(StackName="theirs", TemplateBody=body)
    create("ec2-single", "by-hand")
    listed = json.loads(output_of(capsys, "status", "--json"))["items"]
    names = {item["name"] for item in listed if item["kind"] == "stack"}
    # A stack that another program created from our template costs money, too.
    assert "by-hand" in names
    assert "theirs" not in names


def test_launch_refuses_a_template_that_terminate_would_not_delete(
    aws: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({"Resources": TOPIC}))
    common = ("launch", "single", "--name", "mine", "--yes", "--template", str(file))
    line = refused(capsys, *common)
    assert "wanted one whose Metadata has FruitsArchitecture: single" in line


@pytest.mark.parametrize("name", ["-x", "--profile", "a b", "a;b", "", "\x1b[2J", "1a"])
@pytest.mark.parametrize("command", ["terminate", "tunnel", "logs"])
def test_a_name_that_no_stack_can_have_is_one_line(
    aws: str, capsys: pytest.CaptureFixture[str], command: str, name: str
) -> None:
    line = refused(capsys, command, f"--name={name}")
    assert "name: wanted letters, digits and hyphens, starting with a letter" in line
    assert line.isprintable()


def test_an_invalid_region_is_one_line(aws: str, capsys: pytest.CaptureFixture[str]) -> None:
    for region in ("--profile", "us_east", "evil.example/", "us-east-1\n"):
        line = refused(capsys, "status", f"--region={region}")
        assert "wanted a region such as us-east-1; got" in line


# ---- Outputs that become arguments of other programs

INSTANCE = {
    "State": {"Name": "running"},
    "PrivateIpAddress": "10.0.0.7",
    "PublicDnsName": "ec2-203-0-113-7.compute-1.amazonaws.com",
    "PrivateDnsName": "ip-10-0-0-7.ec2.internal",
}
SINGLE = {
    "Architecture": "single",
    "AccessMode": "ssh",
    "SshUser": "ec2-user",
    "InstanceId": "i-0123456789abcdef0",
}


def reach(monkeypatch: pytest.MonkeyPatch, outputs: dict[str, str], **instance: str) -> Any:
    described = {"Reservations": [{"Instances": [INSTANCE | instance]}]}
    answer(monkeypatch, {"DescribeInstances": described})
    up = Stack("x", "x", "CREATE_COMPLETE", datetime.now(UTC), {}, SINGLE | outputs)
    return tunnel.tunnel(Account.of("us-east-1"), up)


def test_ssh_reads_neither_user_nor_host_as_an_option(
    aws: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    way = reach(monkeypatch, {})
    for command in (*way.commands, way.token):
        at = command.index("--")
        assert command[at + 1] == f"ec2-user@{INSTANCE['PublicDnsName']}"
        assert not [word for word in command[at + 1 :] if word.startswith("-")]


@pytest.mark.parametrize(
    ("outputs", "instance"),
    [
        ({"SshUser": "-oProxyCommand=touch /tmp/x;"}, {}),
        ({"SshUser": "root -oProxyCommand=x"}, {}),
        ({}, {"PublicDnsName": "-oProxyCommand=touch"}),
        ({}, {"PublicDnsName": "host.example;reboot"}),
        ({"InstanceId": "--profile=theirs"}, {}),
        ({"AccessMode": "ssm", "InstanceId": "-h"}, {}),
        ({"Architecture": "\x1b[31mbank"}, {}),
    ],
)
def test_an_output_of_another_stack_is_refused(
    aws: str, monkeypatch: pytest.MonkeyPatch, outputs: dict[str, str], instance: dict[str, str]
) -> None:
    with pytest.raises(CloudError, match="wanted ") as caught:
        reach(monkeypatch, outputs, **instance)
    assert str(caught.value).isprintable()


def test_an_invalid_address_is_refused(aws: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CloudError, match=r"wanted an address; got '-D1080'"):
        reach(monkeypatch, {}, PrivateIpAddress="-D1080")


# ---- What machines print


def test_control_characters_are_escaped_and_lines_stay() -> None:
    text = "a\tb\nc\x1b[2J\x07\r\x9b31m\u202egpj.exe\u2066\ud800é果"
    assert printable(text) == r"a" + "\tb\nc" + r"\x1b[2J\x07\r\x9b31m\u202egpj.exe\u2066\ud800é果"


def test_logs_cannot_control_the_terminal(
    aws: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = create("emr", "loud")
    cluster = outputs["ClusterId"]
    emr = boto3.client("emr")
    step = {"Name": "\x1b]0;title\x07", "HadoopJarStep": {"Jar": "command-runner.jar"}}
    (job,) = emr.add_job_flow_steps(JobFlowId=cluster, Steps=[step])["StepIds"]
    boto3.client("s3").put_object(
        Bucket=outputs["Bucket"],
        Key=f"fruits/emr/logs/{cluster}/steps/{job}/stderr.gz",
        Body=gzip.compress(b"fine\n\x1b[2J\x1b[1;1Hfruits: all done\r\xff\n"),
    )
    out = output_of(capsys, "logs", "--name", "loud")
    assert r"\x1b[2J\x1b[1;1Hfruits: all done" in out
    assert r"\x1b]0;title\x07" in out
    assert out.replace("\n", "").isprintable()


def test_the_output_of_a_host_cannot_control_the_terminal(
    aws: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    create("ec2-single", "loud-host")
    monkeypatch.setattr("fruits.cloud.jobs.POLL_SECONDS", 0.01)
    printed = {"Status": "Success", "StandardOutputContent": "ok\x1b[8m\n"}
    answer(monkeypatch, {"GetCommandInvocation": printed})
    assert r"ok\x1b[8m" in output_of(capsys, "logs", "--name", "loud-host")
    failed = {"Status": "Failed", "StandardErrorContent": "x\x1b[2J\n"}
    answer(monkeypatch, {"GetCommandInvocation": failed})
    assert r"x\x1b[2J (AWS: Failed)" in refused(capsys, "logs", "--name", "loud-host")


def test_a_log_that_unpacks_to_gigabytes_takes_little_memory() -> None:
    packed = gzip.compress(b"\0" * 2**20) * 1024
    tracemalloc.start()
    text = logs._end([packed[n : n + 2**16] for n in range(0, len(packed), 2**16)], True)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert text.endswith("MiB were read)")
    assert peak < 16 * 2**20


def test_damaged_and_too_many_logs_are_shown_as_far_as_they_go(
    aws: str, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = create("emr", "many")
    cluster = outputs["ClusterId"]
    step = {"Name": "x", "HadoopJarStep": {"Jar": "command-runner.jar"}}
    (job,) = boto3.client("emr").add_job_flow_steps(JobFlowId=cluster, Steps=[step])["StepIds"]
    s3 = boto3.client("s3")
    for n in range(30):
        key = f"fruits/emr/logs/{cluster}/steps/{job}/{n:02}/stdout.gz"
        s3.put_object(Bucket=outputs["Bucket"], Key=key, Body=b"no gzip")
    out = output_of(capsys, "logs", "--name", "many", "--job", job)
    assert out.count("not a valid gzip file") == logs.MOST_FILES
    assert "more than 20 files: the others are not shown" in out
    assert "lines: wanted 1 or more; got 0" in refused(capsys, "logs", "--lines=0", "--name=many")
