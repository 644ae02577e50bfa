"""Runs of the package on a stack: by a step of EMR, or by Systems Manager on a host of EC2."""

import gzip
import re
import secrets
import shlex
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from fruits.cloud.account import Account
from fruits.cloud.failures import aws_errors, line
from fruits.cloud.stacks import Stack
from fruits.cloud.upload import bucket_and_key
from fruits.errors import CloudError

# What Spark starts: the command fruits, from the environment of the nodes.
ENTRY = "import sys\n\nfrom fruits.cli import main\n\nsys.exit(main())\n"
# Units of systemd on a host; the last one is the job that logs are about.
UNIT = "fruits-job-"
# Seconds that a host has to answer a short command.
PATIENCE = 60
POLL_SECONDS = 2.0
# Systems Manager keeps the first 24,000 characters that a script prints; the last ones are wanted.
MOST_OUTPUT = 20_000
LIVE_CLUSTERS = ("STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING")
UNDER_WAY = ("Pending", "InProgress", "Delayed", "Cancelling")


def host_of(stack: Stack) -> str:
    """The output that names the instance on which a stack of EC2 runs jobs."""
    single = stack.output("Architecture") == "single"
    return stack.output("InstanceId" if single else "MasterInstanceId")


def instance(account: Account, identity: str) -> dict[str, Any]:
    """A running instance, as EC2 describes it.

    Raises:
        CloudError: when it does not run.
    """
    with aws_errors(f"instance {identity}"):
        told = account.client("ec2").describe_instances(InstanceIds=[identity])
    found: dict[str, Any] = told["Reservations"][0]["Instances"][0]
    state = found["State"]["Name"]
    if state != "running":
        reason = found.get("StateReason", {})
        advice = "fruits cloud terminate, and launch again"
        if state == "stopped":
            advice = f"aws ec2 start-instances --instance-ids {identity} starts it again"
        raise CloudError(
            line(
                f"instance {identity}",
                f"wanted it running; it is {state}. {reason.get('Message', '')}",
                reason.get("Code") or state,
                advice,
            )
        )
    return found


def cluster(account: Account, identity: str) -> dict[str, Any]:
    """A live cluster, as EMR describes it.

    Raises:
        CloudError: when it has ended, with the reason that EMR gives.
    """
    with aws_errors(f"cluster {identity}"):
        told = account.client("emr").describe_cluster(ClusterId=identity)
    found: dict[str, Any] = told["Cluster"]
    status = found["Status"]
    if status["State"] not in LIVE_CLUSTERS:
        reason = status.get("StateChangeReason", {})
        raise CloudError(
            line(
                f"cluster {identity}",
                f"wanted it live; it is {status['State']}. {reason.get('Message', '')}",
                reason.get("Code") or status["State"],
                "fruits cloud logs tells more; fruits cloud terminate, and launch again",
            )
        )
    return found


def require_within(stack: Stack, uri: str) -> None:
    """Sees that a place is one that the stack may touch.

    Raises:
        CloudError: when it is not.
    """
    bucket, key = bucket_and_key(uri)
    wanted, prefix = stack.output("Bucket"), stack.output("Prefix").strip("/")
    if bucket != wanted or not f"{key}/".startswith(f"{prefix}/"):
        raise CloudError(
            f"{uri}: wanted a place below s3://{wanted}/{prefix}, which is all that stack "
            f"{stack.name} may touch"
        )


def submit(account: Account, stack: Stack, options: Mapping[str, Any], mode: str) -> str:
    """Starts a run and returns its identity, under which its logs are.

    Args:
        account: where.
        stack: that is up.
        options: of ``fruits run`` by name, ``images`` and ``output`` among them.
        mode: of the driver under YARN: ``cluster`` or ``client``.

    Raises:
        CloudError: when the stack may not touch the places, or cannot take the run.
    """
    for name in ("images", "output"):
        require_within(stack, options[name])
    when = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
    if stack.output("Architecture") == "emr":
        return _step(account, stack, options, mode, when)
    host = host_of(stack)
    instance(account, host)
    parameters = [word for n, v in options.items() for word in ("-p", n, str(v))]
    # A unit outlives the command that starts it, and its journal the container.
    command = shlex.join(
        [
            *("systemd-run", "--quiet", "--remain-after-exit", f"--unit={UNIT}{when}"),
            *("/usr/local/sbin/fruits-run", *parameters),
        ]
    )
    busy = "docker ps --quiet --filter name=^fruits-run$ | grep -q . && "
    busy += "{ echo 'a run is under way there already' >&2; exit 75; }"
    on_host(account, host, f"{busy}\n{command}")
    return f"{UNIT}{when}"


def arguments(options: Mapping[str, Any]) -> list[str]:
    """The options of ``fruits run`` as its command line has them."""
    words: list[str] = []
    for name, value in options.items():
        option = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        else:
            words += [f"--{option}", str(value)]
    return words


def _step(account: Account, stack: Stack, options: Mapping[str, Any], mode: str, when: str) -> str:
    identity = stack.output("ClusterId")
    cluster(account, identity)
    bucket, key = stack.output("Bucket"), f"{stack.output('Prefix').strip('/')}/emr/run.py"
    with aws_errors(f"s3://{bucket}/{key}"):
        account.client("s3").put_object(Bucket=bucket, Key=key, Body=ENTRY.encode())
    name = f"fruits {when}"
    command = ["spark-submit", "--master", "yarn", "--deploy-mode", mode, "--name", name]
    step = {
        "Name": name,
        "ActionOnFailure": "CONTINUE",
        "HadoopJarStep": {
            "Jar": "command-runner.jar",
            "Args": [*command, f"s3a://{bucket}/{key}", "run", *arguments(options)],
        },
    }
    with aws_errors(f"cluster {identity}"):
        answer = account.client("emr").add_job_flow_steps(JobFlowId=identity, Steps=[step])
    return str(answer["StepIds"][0])


def on_host(account: Account, host: str, script: str) -> str:
    """Runs a short script as root on a host, and returns what it prints.

    Raises:
        CloudError: when the host cannot be reached, or the script fails.
    """
    ssm = account.client("ssm")
    with aws_errors(f"instance {host}"):
        command = ssm.send_command(
            InstanceIds=[host],
            DocumentName="AWS-RunShellScript",
            Comment="fruits",
            Parameters={"commands": script.splitlines(), "executionTimeout": [str(PATIENCE)]},
        )["Command"]["CommandId"]
        deadline = time.monotonic() + PATIENCE
        while True:
            time.sleep(POLL_SECONDS)
            try:
                answer = ssm.get_command_invocation(CommandId=command, InstanceId=host)
            except ssm.exceptions.InvocationDoesNotExist:
                # A moment after it was sent.
                answer = {"Status": "Pending"}
            if answer["Status"] not in UNDER_WAY or time.monotonic() > deadline:
                break
    if answer["Status"] != "Success":
        told = answer.get("StandardErrorContent", "").strip().splitlines() or ["no answer"]
        raise CloudError(
            line(
                f"instance {host}",
                told[-1],
                answer["Status"],
                f"see aws ssm get-command-invocation --command-id {command} --instance-id {host}",
            )
        )
    return str(answer.get("StandardOutputContent", ""))


def logs(account: Account, stack: Stack, job: str | None, lines: int) -> str:
    """The state of a job, the last one if none is named, and the end of what it has printed.

    Raises:
        CloudError: when there is no such job, or nobody to ask.
    """
    if stack.output("Architecture") == "emr":
        return _step_logs(account, stack.output("ClusterId"), job, lines)
    host = host_of(stack)
    instance(account, host)
    if job and not re.fullmatch(UNIT + r"[0-9TZa-f-]+", job):
        raise CloudError(f"{job}: wanted a job as fruits cloud submit prints it: {UNIT}...")
    latest = f"systemctl list-units --all --plain --no-legend '{UNIT}*' | awk '{{print $1}}'"
    unit = job or f"$({latest} | sort | tail -n 1)"
    return on_host(
        account,
        host,
        f'unit={unit}\n[ -n "$unit" ] || {{ echo "no job was submitted" >&2; exit 66; }}\n'
        f'systemctl show -p Id,ActiveState,SubState,Result,ExecMainStatus "$unit"\n'
        f'journalctl --no-pager -o cat -n {lines} -u "$unit" | tail -c {MOST_OUTPUT}',
    )


def _step_logs(account: Account, identity: str, job: str | None, lines: int) -> str:
    emr = account.client("emr")
    with aws_errors(f"cluster {identity}"):
        wanted: dict[str, Any] = {"StepIds": [job]} if job else {}
        steps = list(account.pages("emr", "list_steps", "Steps", ClusterId=identity, **wanted))
        if not steps:
            raise CloudError(f"cluster {identity}: no job was submitted; fruits cloud submit does")
        # EMR lists the latest first.
        step = max(steps, key=lambda s: s["Status"]["Timeline"]["CreationDateTime"])
        root = emr.describe_cluster(ClusterId=identity)["Cluster"].get("LogUri", "")
    told = [f"{step['Id']} {step['Name']}: {step['Status']['State']}"]
    failed = step["Status"].get("FailureDetails", {})
    told += [f"{name}: {failed[name]}" for name in ("Reason", "Message") if failed.get(name)]
    bucket, prefix = bucket_and_key(re.sub("^s3n:", "s3:", root))
    read = _reader(account, bucket)
    text = read(f"{prefix}/{identity}/steps/{step['Id']}/")
    # In YARN's cluster mode the driver prints where YARN runs it.
    application = re.search(r"application_\d+_\d+", "\n".join(text.values()))
    if application:
        text |= read(f"{prefix}/{identity}/containers/{application.group()}/", "_000001/")
    if not text:
        told.append("its logs are not in S3 yet; EMR brings them there every few minutes")
    for key, content in text.items():
        told += [f"==> {key}", *content.splitlines()[-lines:]]
    return "\n".join(told)


def _reader(account: Account, bucket: str) -> Callable[..., dict[str, str]]:
    def read(prefix: str, part: str = "") -> dict[str, str]:
        with aws_errors(f"s3://{bucket}/{prefix}"):
            found = account.pages("s3", "list_objects_v2", "Contents", Bucket=bucket, Prefix=prefix)
            keys = [o["Key"] for o in found if part in o["Key"]]
            client = account.client("s3")
            texts = {}
            for key in keys:
                if re.search(r"/(stdout|stderr|controller)(\.gz)?$", key):
                    content = client.get_object(Bucket=bucket, Key=key)["Body"].read()
                    content = gzip.decompress(content) if key.endswith(".gz") else content
                    texts[key] = content.decode(errors="replace")
            return texts

    return read
