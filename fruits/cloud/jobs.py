"""Runs the package on a stack: as a step of EMR, or by Systems Manager on a host of EC2."""

import re
import secrets
import shlex
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from fruits.cloud.account import Account
from fruits.cloud.buckets import SOFTWARE, bucket_and_key
from fruits.cloud.failures import aws_errors, line, printable
from fruits.cloud.machines import job_host, running_instance, usable_cluster
from fruits.cloud.stacks import Stack
from fruits.errors import CloudError

# The program that Spark starts on EMR: a file of root, which the bootstrap action wrote.
ENTRY = "/opt/fruits/run.py"
# The prefix of the systemd units on a host, one for each job.
UNIT = "fruits-job-"
# A host must answer a short command within this time.
TIMEOUT_SECONDS = 60
POLL_SECONDS = 2.0
# Between two places of images. Another comma is a part of a name.
BETWEEN_PLACES = re.compile(r"\s*,\s*(?=\w+://|/)")
UNFINISHED = ("Pending", "InProgress", "Delayed", "Cancelling")


def require_within(stack: Stack, uri: str) -> None:
    """Checks that a stack may use a URI.

    Raises:
        CloudError: It may not.
    """
    bucket, key = bucket_and_key(uri)
    allowed, prefix = stack.output("Bucket"), stack.output("Prefix").strip("/")
    if bucket != allowed or not f"{key}/".startswith(f"{prefix}/"):
        raise CloudError(
            f"{printable(uri)}: wanted a URI below s3://{printable(f'{allowed}/{prefix}')}, the "
            f"only folder that stack {stack.name} may use"
        )
    if f"{key}/".startswith(f"{SOFTWARE}/"):
        raise CloudError(
            f"{printable(uri)}: wanted a URI outside of s3://{bucket}/{SOFTWARE}, which no stack "
            "may write"
        )


def submit(account: Account, stack: Stack, options: Mapping[str, Any], mode: str) -> str:
    """Starts a run, and returns the identifier of the job for ``logs``.

    Args:
        account: The account.
        stack: The stack, which must be up.
        options: The options of ``fruits run`` by name, with ``images`` and ``output``.
        mode: The deploy mode of Spark's driver on EMR: ``cluster`` or ``client``.

    Raises:
        CloudError: The stack may not use the URIs, or cannot start the run.
    """
    architecture = stack.output("Architecture")
    if architecture == "app":
        raise CloudError(
            f"stack {stack.name}: wanted one that can run jobs; this one serves a model: fruits "
            "cloud launch single creates one, under another --name"
        )
    for place in (*BETWEEN_PLACES.split(options["images"]), options["output"]):
        require_within(stack, place)
    job = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
    if architecture == "emr":
        return _submit_step(account, stack, options, mode, job)
    host = job_host(stack)
    running_instance(account, host)
    parameters = [word for n, v in options.items() for word in ("-p", n, str(v))]
    # A systemd unit continues after the command that started it, and its journal remains.
    command = shlex.join(
        [
            *("systemd-run", "--quiet", "--remain-after-exit", f"--unit={UNIT}{job}"),
            *("--", "/usr/local/sbin/fruits-run", *parameters),
        ]
    )
    busy = "docker ps --quiet --filter name=^fruits-run$ | grep -q . && "
    busy += "{ echo 'another run is active on this host' >&2; exit 75; }"
    run_on_host(account, host, f"{busy}\n{command}")
    return f"{UNIT}{job}"


def arguments(options: Mapping[str, Any]) -> list[str]:
    """The command line of ``fruits run`` with some options.

    The name and the value are one word, so that no value is read as an option.
    """
    words: list[str] = []
    for name, value in options.items():
        option = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        else:
            words.append(f"--{option}={value}")
    return words


def _submit_step(
    account: Account, stack: Stack, options: Mapping[str, Any], mode: str, job: str
) -> str:
    cluster_id = usable_cluster(account, stack)
    name = f"fruits {job}"
    command = ["spark-submit", "--master", "yarn", "--deploy-mode", mode, "--name", name]
    step = {
        "Name": name,
        "ActionOnFailure": "CONTINUE",
        "HadoopJarStep": {
            "Jar": "command-runner.jar",
            "Args": [*command, ENTRY, "run", *arguments(options)],
        },
    }
    with aws_errors(f"cluster {cluster_id}"):
        answer = account.client("emr").add_job_flow_steps(JobFlowId=cluster_id, Steps=[step])
    return str(answer["StepIds"][0])


def run_on_host(account: Account, host: str, script: str) -> str:
    """Runs a short script as root on a host, and returns its output.

    Raises:
        CloudError: The host cannot be reached, or the script fails.
    """
    ssm = account.client("ssm")
    with aws_errors(f"instance {host}"):
        command = ssm.send_command(
            InstanceIds=[host],
            DocumentName="AWS-RunShellScript",
            Comment="fruits",
            Parameters={
                "commands": script.splitlines(),
                "executionTimeout": [str(TIMEOUT_SECONDS)],
            },
        )["Command"]["CommandId"]
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while True:
            time.sleep(POLL_SECONDS)
            try:
                answer = ssm.get_command_invocation(CommandId=command, InstanceId=host)
            except ssm.exceptions.InvocationDoesNotExist:
                # A new command is not listed immediately.
                answer = {"Status": "Pending"}
            if answer["Status"] not in UNFINISHED or time.monotonic() > deadline:
                break
    if answer["Status"] != "Success":
        errors = answer.get("StandardErrorContent", "").strip().splitlines() or ["no answer"]
        raise CloudError(
            line(
                f"instance {host}",
                errors[-1],
                answer["Status"],
                f"see aws ssm get-command-invocation --command-id {command} --instance-id {host}",
            )
        )
    return str(answer.get("StandardOutputContent", ""))
