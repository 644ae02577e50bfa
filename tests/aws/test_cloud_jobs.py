"""``fruits cloud submit``, ``logs`` and ``tunnel``, on the three architectures."""

import gzip
import os
import shlex
import stat
from pathlib import Path
from typing import Any

import boto3
import pytest
from cloud_answers import answer, output_of, refusal, refused
from stacks import create

from fruits.cloud import jobs
from fruits.runs.config import RunConfig

CREATE = {"single": "ec2-single", "cluster": "ec2-cluster", "emr": "emr"}


@pytest.fixture(scope="module")
def made(aws: str) -> dict[str, dict[str, str]]:
    """The outputs of one stack for each architecture, by the name of the architecture."""
    ssh = {"SshCidr": "203.0.113.7/32", "KeyName": "mine"}
    boto3.client("ec2").create_key_pair(KeyName="mine")
    stacks = {name: create(file, name) for name, file in CREATE.items()}
    stacks |= {f"{name}-ssh": create(file, f"{name}-ssh", **ssh) for name, file in CREATE.items()}
    # moto immediately ends clusters that CloudFormation creates, so another one replaces them.
    live = boto3.client("emr").run_job_flow(
        Name="live",
        ReleaseLabel="emr-spark-8.1.0",
        LogUri=f"s3://{stacks['emr']['Bucket']}/fruits/emr/logs/",
        Instances={
            "MasterInstanceType": "m5.xlarge",
            "SlaveInstanceType": "m5.xlarge",
            "InstanceCount": 2,
            "KeepJobFlowAliveWhenNoSteps": True,
        },
        JobFlowRole="nodes",
        ServiceRole="service",
    )["JobFlowId"]
    for name in ("emr", "emr-ssh"):
        stacks[name]["ClusterId"] = live
    return stacks


@pytest.fixture(autouse=True)
def _with_the_live_cluster(
    made: dict[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def described(true: Any, arguments: Any) -> Any:
        found = true()
        for stack in found["Stacks"]:
            for output in stack.get("Outputs", ()):
                if output["OutputKey"] == "ClusterId":
                    output["OutputValue"] = made["emr"]["ClusterId"]
        return found

    answer(monkeypatch, {"DescribeStacks": described})
    monkeypatch.setattr(jobs, "POLL_SECONDS", 0.01)


def places(outputs: dict[str, str]) -> tuple[str, ...]:
    root = f"s3://{outputs['Bucket']}/{outputs['Prefix']}"
    return ("--images", f"{root}/Training", "--output", f"{root}/out 1")


def commands(calls: list[tuple[str, dict[str, Any]]]) -> list[list[str]]:
    """The scripts that were sent to hosts, split into words."""
    sent = [a["Parameters"]["commands"] for name, a in calls if name == "SendCommand"]
    return [shlex.split(script[-1]) for script in sent]


@pytest.mark.parametrize("name", ["single", "cluster"])
def test_a_host_runs_the_notebook_with_the_options_that_differ_from_the_defaults(
    made: dict[str, dict[str, str]],
    name: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = answer(monkeypatch, {})
    options = ("--backbone", "EfficientNetLite0", "--components", "3", "--no-csv")
    out = output_of(capsys, "submit", "--name", name, *places(made[name]), *options)
    (words,) = commands(calls)
    at = words.index("/usr/local/sbin/fruits-run")
    given = words[at + 1 :]
    assert given[::3] == ["-p"] * 5
    root = f"s3://{made[name]['Bucket']}/fruits"
    assert dict(zip(given[1::3], given[2::3], strict=True)) == {
        "images": f"{root}/Training",
        "output": f"{root}/out 1",
        "backbone": "EfficientNetLite0",
        "components": "3",
        "csv": "False",
    }
    assert words[0] == "systemd-run"
    (unit,) = (w.removeprefix("--unit=") for w in words if w.startswith("--unit="))
    assert f"{unit} is submitted" in out
    host = made[name]["InstanceId" if name == "single" else "MasterInstanceId"]
    known = boto3.client("ssm").list_commands(InstanceId=host)["Commands"]
    assert any(unit in " ".join(c["Parameters"]["commands"]) for c in known)


@pytest.mark.parametrize("mode", ["cluster", "client"])
def test_emr_gets_a_step_that_runs_the_package_under_yarn(
    made: dict[str, dict[str, str]],
    mode: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = answer(monkeypatch, {})
    outputs = made["emr"]
    options = ("--deploy-mode", mode, "--scaler", "none", "--limit", "5", "--overwrite")
    out = output_of(capsys, "submit", "--name", "emr", *places(outputs), *options)
    identity = out.split()[0]
    (step,) = boto3.client("emr").list_steps(ClusterId=outputs["ClusterId"], StepIds=[identity])[
        "Steps"
    ]
    words = step["Config"]["Args"]
    assert step["Config"]["Jar"] == "command-runner.jar"
    assert step["ActionOnFailure"] == "CONTINUE"
    assert words[:5] == ["spark-submit", "--master", "yarn", "--deploy-mode", mode]
    at = words.index("run")
    root = f"s3://{outputs['Bucket']}/fruits"
    assert words[at:] == [
        *("run", f"--images={root}/Training", f"--output={root}/out 1"),
        *("--scaler=none", "--limit=5", "--overwrite"),
    ]
    # A file on the node, not one in the bucket, to which jobs can write.
    assert words[at - 1] == jobs.ENTRY == "/opt/fruits/run.py"
    assert "PutObject" not in [name for name, _ in calls]


def test_the_step_s_arguments_mean_the_same_to_fruits_run() -> None:
    from fruits.cli.commands import make_parser

    options = {"images": "s3://b/i", "output": "s3://b/o", "csv": False, "components": 0.5}
    options |= {"model": "s3://b/m", "allow_removed": True, "max_rejected": 0.1}
    _, parsed = make_parser().parse(["run", *jobs.arguments(options)])
    assert RunConfig(**parsed) == RunConfig(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("images", "wanted"),
    [
        ("s3://elsewhere/fruits/Training", "wanted a URI below s3://single-bucket/fruits"),
        ("s3://single-bucket/fruits2/Training", "wanted a URI below s3://single-bucket/fruits"),
        ("/data/Training", "wanted a URI in S3"),
        ("s3://single-bucket/fruits/a, s3://elsewhere/b", "s3://elsewhere/b: wanted a URI below"),
        ("s3://elsewhere/b,s3://single-bucket/fruits/a", "s3://elsewhere/b: wanted a URI below"),
        ("s3://single-bucket/fruits/a,/data/Training", "/data/Training: wanted a URI in S3"),
    ],
)
def test_uris_that_the_stack_may_not_use_are_refused(
    made: dict[str, dict[str, str]],
    images: str,
    wanted: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = answer(monkeypatch, {})
    output = places(made["single"])[2:]
    assert wanted in refused(capsys, "submit", "--name", "single", "--images", images, *output)
    assert not commands(calls)
    line = refused(capsys, "submit", *places(made["single"]), "--components", "0")
    assert "components: wanted" in line


@pytest.mark.parametrize(
    "names",
    [["Training", "More"], ["lot #3"], ["which?", "100 %"], ["Apples, red"]],
    ids=" ".join,
)
def test_several_places_and_names_that_urls_would_escape_are_submitted_as_they_are(
    made: dict[str, dict[str, str]],
    names: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = answer(monkeypatch, {})
    root = f"s3://{made['single']['Bucket']}/fruits"
    places = [f"{root}/{name}" for name in names]
    words = [word for place in places for word in ("--images", place)]
    output_of(capsys, "submit", "--name", "single", *words, "--output", f"{root}/out #1")
    (command,) = commands(calls)
    at = command.index("images")
    assert command[at + 1] == ",".join(places)
    assert command[command.index("output") + 1] == f"{root}/out #1"


def test_a_host_that_is_busy_unknown_or_stopped_is_one_line(
    made: dict[str, dict[str, str]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments = ("submit", "--name", "single", *places(made["single"]))
    busy = {
        "Status": "Failed",
        "StandardErrorContent": "x\nanother run is active on this host\n",
    }
    answer(monkeypatch, {"GetCommandInvocation": busy})
    assert "another run is active on this host (AWS: Failed)" in refused(capsys, *arguments)
    monkeypatch.undo()
    monkeypatch.setattr(jobs, "POLL_SECONDS", 0.01)
    unknown = refusal("SendCommand", "InvalidInstanceId", "Instances not in a valid state")
    answer(monkeypatch, {"SendCommand": unknown})
    assert "(AWS: InvalidInstanceId); Systems Manager cannot reach the host" in refused(
        capsys, *arguments
    )
    monkeypatch.undo()
    host = made["single"]["InstanceId"]
    ec2 = boto3.client("ec2")
    ec2.stop_instances(InstanceIds=[host])
    try:
        for command in (arguments, ("logs", "--name", "single"), ("tunnel", "--name", "single")):
            line = refused(capsys, *command)
            assert f"instance {host}: wanted it running; it is stopped" in line
            assert f"aws ec2 start-instances --instance-ids {host}" in line
    finally:
        ec2.start_instances(InstanceIds=[host])


def test_the_reason_why_a_cluster_ended_is_shown(
    made: dict[str, dict[str, str]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def dead(true: Any, arguments: Any) -> Any:
        found = true()
        found["Cluster"]["Status"] = {
            "State": "TERMINATED_WITH_ERRORS",
            "StateChangeReason": {
                "Code": "BOOTSTRAP_FAILURE",
                "Message": "On the master instance (i-1), bootstrap action 1 returned a non-zero "
                "return code",
            },
        }
        return found

    answer(monkeypatch, {"DescribeCluster": dead})
    for command in (("submit", *places(made["emr"])), ("tunnel",)):
        line = refused(capsys, *command, "--name", "emr")
        assert "wanted it running; it is TERMINATED_WITH_ERRORS. On the master instance" in line
        assert "(AWS: BOOTSTRAP_FAILURE); see fruits cloud logs" in line


def test_logs_of_a_host_are_its_journal(
    made: dict[str, dict[str, str]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = {"Status": "Success", "StandardOutputContent": "Result=success\n12 images\n"}
    calls = answer(monkeypatch, {"GetCommandInvocation": output})
    job = "fruits-job-20260624T101500Z-0a1b"
    out = output_of(capsys, "logs", "--name", "single", "--job", job, "--lines", "7")
    assert "12 images" in out
    (script,) = [a["Parameters"]["commands"] for n, a in calls if n == "SendCommand"]
    assert script[0] == f"unit={job}"
    assert '-n 7 -u "$unit"' in script[-1]
    line = refused(capsys, "logs", "--name", "single", "--job", "x; reboot")
    assert "wanted one as fruits cloud submit prints it" in line
    assert len([n for n, _ in calls if n == "SendCommand"]) == 1


def test_logs_of_emr_are_the_end_of_the_step_s_and_of_the_driver_s(
    made: dict[str, dict[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = made["emr"]
    job = output_of(capsys, "submit", "--name", "emr", *places(outputs)).split()[0]
    out = output_of(capsys, "logs", "--name", "emr", "--job", job)
    assert f"{job} fruits 2" in out
    assert "not in S3 yet" in out
    root = f"fruits/emr/logs/{outputs['ClusterId']}"
    application = "application_1700000000000_0007"
    files = {
        f"steps/{job}/stderr.gz": "\n".join(f"line {n}" for n in range(99)) + f"\n{application}",
        f"steps/{job}/controller.gz": "INFO waitProcessCompletion ended with exit code 0",
        f"containers/{application}/container_1_0007_01_000001/stdout.gz": "12 images: 12 extracted",
        f"containers/{application}/container_1_0007_01_000002/stdout.gz": "a worker's",
    }
    s3 = boto3.client("s3")
    for key, text in files.items():
        body = gzip.compress(text.encode())
        s3.put_object(Bucket=outputs["Bucket"], Key=f"{root}/{key}", Body=body)
    out = output_of(capsys, "logs", "--name", "emr", "--job", job, "--lines", "3")
    assert "line 98" in out
    assert "line 97" in out
    assert "line 96" not in out
    assert "12 images: 12 extracted" in out
    assert "a worker's" not in out
    line = refused(capsys, "logs", "--name", "nothing")
    assert "stack nothing: there is none in us-east-1" in line


@pytest.mark.parametrize("name", ["single", "cluster"])
def test_session_manager_forwards_each_page_where_no_port_is_open(
    made: dict[str, dict[str, str]], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = output_of(capsys, "tunnel", "--name", name)
    host = made[name]["InstanceId" if name == "single" else "MasterInstanceId"]
    lines = [shlex.split(line) for line in out.splitlines() if line.startswith("aws ssm")]
    assert all(words[words.index("--target") + 1] == host for words in lines)
    parameters = [words[-1] for words in lines]
    assert parameters[0] == "portNumber=8888,localPortNumber=8888"
    if name == "cluster":
        answer = boto3.client("ec2").describe_instances(InstanceIds=[host])
        address = answer["Reservations"][0]["Instances"][0]["PrivateIpAddress"]
        # Spark's master listens on the address of the host, not on loopback.
        assert parameters[1] == f"portNumber=8080,localPortNumber=8080,host={address}"
        assert len(lines) == 3
    assert "http://localhost:8888" in out
    assert "command=sudo docker logs fruits-notebook" in out


def test_ssh_forwards_all_pages_at_once_and_one_if_asked(
    made: dict[str, dict[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    out = output_of(capsys, "tunnel", "--name", "cluster-ssh", "-i", "my key.pem")
    words = shlex.split(out.splitlines()[0])
    assert words[:2] == ["ssh", "-N"]
    assert words[words.index("-i") + 1] == "my key.pem"
    forwarded = [words[n + 1] for n, word in enumerate(words) if word == "-L"]
    assert forwarded[0] == "8888:localhost:8888"
    assert [f.split(":")[0] for f in forwarded] == ["8888", "8080", "18080"]
    host = made["cluster-ssh"]["MasterInstanceId"]
    answer = boto3.client("ec2").describe_instances(InstanceIds=[host])
    master = answer["Reservations"][0]["Instances"][0]
    assert words[-1] == f"ec2-user@{master.get('PublicDnsName') or master['PrivateDnsName']}"
    one = output_of(capsys, "tunnel", "--name", "single-ssh", "--page", "notebook").splitlines()[0]
    assert one.count("-L") == 1
    line = refused(capsys, "tunnel", "--name", "single-ssh", "--page", "yarn")
    assert "single has notebook; got 'yarn'" in line


def test_the_tunnel_to_emr_ends_at_its_primary_node(
    made: dict[str, dict[str, str]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # moto's clusters have no instances.
    host = made["single"]["InstanceId"]
    nodes = {"Instances": [{"Ec2InstanceId": host}]}
    calls = answer(monkeypatch, {"ListInstances": nodes})
    out = output_of(capsys, "tunnel", "--name", "emr", "--page", "yarn")
    assert f"--target {host} " in out
    assert "portNumber=8088" in out
    (asked,) = [a for name, a in calls if name == "ListInstances"]
    assert asked["InstanceGroupTypes"] == ["MASTER"]
    out = output_of(capsys, "tunnel", "--name", "emr-ssh")
    assert "hadoop@" in out


def test_open_executes_the_line_and_names_a_missing_program(
    made: dict[str, dict[str, str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ssh = tmp_path / "ssh"
    ssh.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{tmp_path}/arguments\nexit "$STATUS"\n')
    ssh.chmod(ssh.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("STATUS", "0")
    out = output_of(capsys, "tunnel", "--name", "single-ssh", "--open")
    given = (tmp_path / "arguments").read_text().splitlines()
    assert shlex.split(out.splitlines()[0])[1:] == given
    monkeypatch.setenv("STATUS", "255")
    line = refused(capsys, "tunnel", "--name", "single-ssh", "--open")
    assert "it ended with status 255" in line
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    line = refused(capsys, "tunnel", "--name", "single", "--open")
    assert "wanted the program aws; install it" in line
