"""Shows the state of a job and the end of its output.

A job writes its own logs, so they are not trusted: they are read up to a limit, and shown without
control characters.
"""

import re
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

from fruits.cloud.account import Account
from fruits.cloud.buckets import bucket_and_key
from fruits.cloud.failures import aws_errors, printable
from fruits.cloud.jobs import UNIT, run_on_host
from fruits.cloud.machines import CLUSTER_ID, job_host, running_instance
from fruits.cloud.stacks import Stack
from fruits.errors import CloudError

# Systems Manager keeps the first 24,000 characters of a script's output, so the script prints less.
MOST_OUTPUT = 20_000
# The maximum bytes of each of EMR's log files that are unpacked, and that are shown from its end.
MOST_UNPACKED = 256 * 2**20
MOST_SHOWN = 2**20
MOST_FILES = 20
LOG_GROUP = re.compile(r"[a-zA-Z0-9_/.#-]{1,512}")
STEP_ID = re.compile(r"s-[0-9A-Z]{6,}")


def logs(account: Account, stack: Stack, job: str | None, lines: int) -> str:
    """The state of a job, and the end of its output.

    Args:
        account: The account.
        stack: The stack, which must be up.
        job: The job that ``fruits cloud submit`` printed; ``None`` for the last one. The
            application has no jobs; the output of its tasks is shown.
        lines: The number of lines of each file.

    Raises:
        CloudError: There is no such job, or its host does not run.
    """
    if lines < 1:
        raise CloudError(f"lines: wanted 1 or more; got {lines}")
    if stack.output("Architecture") == "app":
        return printable(_application_logs(account, stack.output("Logs", LOG_GROUP), lines))
    on_emr = stack.output("Architecture") == "emr"
    pattern, example = (STEP_ID, "s-...") if on_emr else (_unit_pattern(), f"{UNIT}...")
    if job and not pattern.fullmatch(job):
        raise CloudError(
            f"job: wanted one as fruits cloud submit prints it, {example}; got "
            f"{printable(repr(job))}"
        )
    if on_emr:
        cluster_id = stack.output("ClusterId", CLUSTER_ID)
        return printable(_step_logs(account, cluster_id, job, lines))
    host = job_host(stack)
    running_instance(account, host)
    latest = f"systemctl list-units --all --plain --no-legend '{UNIT}*' | awk '{{print $1}}'"
    unit = job or f"$({latest} | sort | tail -n 1)"
    text = run_on_host(
        account,
        host,
        f'unit={unit}\n[ -n "$unit" ] || {{ echo "no job was submitted" >&2; exit 66; }}\n'
        f'systemctl show -p Id,ActiveState,SubState,Result,ExecMainStatus -- "$unit"\n'
        f'journalctl --no-pager -o cat -n {lines} -u "$unit" | tail -c {MOST_OUTPUT}',
    )
    return printable(text)


def _application_logs(account: Account, group: str, lines: int) -> str:
    """The last lines of the tasks with the latest output."""
    client = account.client("logs")
    parts: list[str] = []
    with aws_errors(f"logs {group}"):
        streams = client.describe_log_streams(
            logGroupName=group, orderBy="LastEventTime", descending=True, limit=MOST_FILES
        )["logStreams"]
        for stream in streams:
            name = stream["logStreamName"]
            found = client.get_log_events(
                logGroupName=group, logStreamName=name, limit=lines, startFromHead=False
            )["events"]
            parts += [f"==> {name}", *(event["message"] for event in found)]
    return "\n".join(parts) or f"logs {group}: no task has printed anything yet"


def _unit_pattern() -> re.Pattern[str]:
    return re.compile(UNIT + r"[0-9TZa-f-]+")


def _step_logs(account: Account, cluster_id: str, job: str | None, lines: int) -> str:
    emr = account.client("emr")
    with aws_errors(f"cluster {cluster_id}"):
        chosen: dict[str, Any] = {"StepIds": [job]} if job else {}
        steps = list(account.pages("emr", "list_steps", "Steps", ClusterId=cluster_id, **chosen))
        if not steps:
            raise CloudError(
                f"cluster {cluster_id}: no job was submitted; see fruits cloud submit --help"
            )
        step = max(steps, key=lambda s: s["Status"]["Timeline"]["CreationDateTime"])
        root = emr.describe_cluster(ClusterId=cluster_id)["Cluster"].get("LogUri", "")
    parts = [f"{step['Id']} {step['Name']}: {step['Status']['State']}"]
    failed = step["Status"].get("FailureDetails", {})
    parts += [f"{name}: {failed[name]}" for name in ("Reason", "Message") if failed.get(name)]
    bucket, prefix = bucket_and_key(re.sub("^s3n:", "s3:", root))
    texts = _read(account, bucket, f"{prefix}/{cluster_id}/steps/{step['Id']}/")
    # In YARN's cluster mode, the driver's output is in the log of its container.
    application = re.search(r"application_\d+_\d+", "\n".join(texts.values()))
    if application:
        containers = f"{prefix}/{cluster_id}/containers/{application.group()}/"
        texts |= _read(account, bucket, containers, "_000001/")
    if not texts:
        parts.append("its logs are not in S3 yet; EMR copies them every few minutes")
    for key, text in texts.items():
        parts += [f"==> {key}", *text.splitlines()[-lines:]]
    return "\n".join(parts)


def _read(account: Account, bucket: str, prefix: str, part: str = "") -> dict[str, str]:
    """The end of each log file below a prefix whose key contains ``part``."""
    client = account.client("s3")
    texts: dict[str, str] = {}
    with aws_errors(f"s3://{bucket}/{prefix}"):
        for item in account.pages(
            "s3", "list_objects_v2", "Contents", Bucket=bucket, Prefix=prefix
        ):
            key = item["Key"]
            if part in key and re.search(r"/(stdout|stderr|controller)(\.gz)?$", key):
                if len(texts) == MOST_FILES:
                    texts[prefix] = f"more than {MOST_FILES} files: the others are not shown"
                    break
                body = client.get_object(Bucket=bucket, Key=key)["Body"]
                texts[key] = _end(body.iter_chunks(2**16), key.endswith(".gz"))
    return texts


def _end(chunks: Iterable[bytes], is_gzip: bool) -> str:
    """The end of a file, which may be a small archive with very large content."""
    end, size = b"", 0
    for chunk in _unpacked(chunks) if is_gzip else chunks:
        end = (end + chunk)[-MOST_SHOWN:]
        size += len(chunk)
        if size > MOST_UNPACKED:
            end += f"\n(only the first {size / 2**20:.0f} MiB were read)".encode()
            break
    return end.decode(errors="replace")


def _unpacked(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The unpacked content of gzip chunks, in pieces of at most 1 MiB."""
    unpacker = zlib.decompressobj(wbits=31)
    try:
        for chunk in chunks:
            rest = chunk
            while rest:
                yield unpacker.decompress(rest, 2**20)
                rest = unpacker.unconsumed_tail
                if unpacker.eof and unpacker.unused_data:
                    # The file has several gzip members, one after the other.
                    rest = unpacker.unused_data
                    unpacker = zlib.decompressobj(wbits=31)
    except zlib.error as error:
        yield f"\n(not a valid gzip file: {error})".encode()
