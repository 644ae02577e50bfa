"""A cluster with several workers, some of which are killed or stopped, and a restarted master."""

import json
import subprocess
import threading
from pathlib import Path

import pytest
from containers import ROOT, RUN, Compose, assert_same_bits, fetch, say, wait_for


class Running(threading.Thread):
    """A run on the cluster, with small chunks, so that it can be interrupted between commits."""

    def __init__(self, cluster: Compose, sample: str, name: str) -> None:
        super().__init__(daemon=True)
        self.cluster, self.sample, self.output = cluster, sample, cluster.data / name
        self.name, self.failure = name, ""

    def run(self) -> None:
        try:
            self.cluster.fruits(
                "run", *RUN, "--images", self.sample, "--output", f"/data/{self.name}"
            )
        except AssertionError as error:
            self.failure = str(error)

    def __enter__(self) -> "Running":
        """Waits until some chunks are committed, and others are not."""
        self.start()
        wait_for(lambda: self.failure or any(self.output.glob("features/*.parquet")), 300, 0.1)
        assert not self.failure, self.failure
        return self

    def __exit__(self, *_: object) -> None:
        assert self.is_alive(), "the run was over before anything happened to it"
        self.join(600)
        assert not self.is_alive()
        assert not self.failure, self.failure


def report(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "run.json").read_text())
    return found


@pytest.fixture
def two_workers(cluster: Compose) -> Compose:
    cluster.workers(2)
    return cluster


@pytest.mark.parametrize("count", [1, 2, 3])
def test_any_number_of_workers_gives_the_same_bits(
    cluster: Compose, sample: str, local: Path, count: int
) -> None:
    cluster.workers(count)
    cluster.fruits("run", *RUN, "--images", sample, "--output", f"/data/workers-{count}")
    assert report(cluster.data / f"workers-{count}")["spark"] == {
        "master": "spark://master:7077",
        "executors": count,
    }
    assert_same_bits(cluster.data / f"workers-{count}", local)


def test_a_killed_worker_loses_nothing(two_workers: Compose, sample: str, local: Path) -> None:
    with Running(two_workers, sample, "killed") as run:
        victim = two_workers.containers("worker")[0]
        assert say("docker", "kill", "--signal", "KILL", victim).returncode == 0
    assert_same_bits(run.output, local)


def test_a_killed_executor_loses_nothing(two_workers: Compose, sample: str, local: Path) -> None:
    with Running(two_workers, sample, "executor") as run:
        victim = two_workers.containers("worker")[0]
        kill = (
            "for p in /proc/[0-9]*; do grep -qa CoarseGrainedExecutorBackend $p/cmdline"
            " && [ $(cat $p/comm) = java ] && kill -9 ${p#/proc/} && echo killed; done; true"
        )
        assert "killed" in say("docker", "exec", victim, "bash", "-c", kill).stdout
    assert_same_bits(run.output, local)


def test_a_stopped_worker_migrates_its_blocks(
    two_workers: Compose, sample: str, local: Path
) -> None:
    with Running(two_workers, sample, "stopped") as run:
        victim = two_workers.containers("worker")[0]
        stop = subprocess.Popen(["docker", "stop", "--time", "120", victim], stdout=subprocess.PIPE)
        states = wait_for(lambda: "DECOMMISSIONED" in master_state(two_workers), 60, 0.2)
        assert states
        stop.wait(150)
        # It ended before the timeout after which Docker would have killed it.
        assert exit_code(victim) != 137
    assert_same_bits(run.output, local)


def test_a_restarted_master_keeps_the_application(
    two_workers: Compose, sample: str, local: Path
) -> None:
    with Running(two_workers, sample, "restarted") as run:
        before = applications(two_workers)
        two_workers.ok("--profile", "cluster", "kill", "-s", "KILL", "master")
        two_workers.ok("--profile", "cluster", "start", "master")
        after = wait_for(lambda: applications(two_workers), 120)
        assert before == after
    wait_for(lambda: two_workers.alive() == 2)
    assert_same_bits(run.output, local)


def test_a_driver_with_another_secret_is_refused(two_workers: Compose, sample: str) -> None:
    before = json.loads(master_state(two_workers))
    done = two_workers(
        *("run", "--rm", "--no-deps", "-T", "--entrypoint", "roles", "run", "fruits", "run"),
        *(*RUN, "--images", sample, "--output", "/data/refused"),
        SPARK_SECRET="0" * 40,
        timeout=300,
    )
    assert done.returncode == 2
    last = done.stdout.splitlines()[-1]
    assert last.startswith("fruits: the master at spark://master:7077 refuses the secret"), last
    # There are no tracebacks of Java or Python.
    assert "\tat " not in done.stdout
    assert "Traceback" not in done.stdout
    assert not list((two_workers.data / "refused").glob("features/*.parquet"))
    after = json.loads(master_state(two_workers))
    assert after["activeapps"] == []
    assert len(after["completedapps"]) == len(before["completedapps"])


def test_a_run_without_workers_ends_with_one_line(cluster: Compose, tmp_path: Path) -> None:
    # A run waits two minutes for workers that still start; here, ten seconds.
    check = (ROOT / "deploy/docker/roles/cluster.py").read_text()
    assert "\nSTART = 120\n" in check
    (tmp_path / "cluster.py").write_text(check.replace("\nSTART = 120\n", "\nSTART = 10\n"))
    volume = ("-v", f"{tmp_path}/cluster.py:/opt/fruits/roles/cluster.py:ro")
    for worker in cluster.containers("worker"):
        say("docker", "kill", worker)
    try:
        wait_for(lambda: cluster.alive() == 0, 120)
        done = cluster(
            *("run", "--rm", "--no-deps", "-T", *volume, "run", "-p", "images", "/data/none")
        )
        assert done.returncode == 2
        assert "can take an executor of 1024 MB (workers: there are none)" in done.stdout
    finally:
        cluster.workers(1)


def test_the_history_server_shows_finished_applications(cluster: Compose, sample: str) -> None:
    cluster.fruits("run", *RUN, "--images", sample, "--output", "/data/history")
    url = f"http://127.0.0.1:{cluster.ports['HISTORY_PORT']}/api/v1/applications"

    def ended() -> dict[str, str]:
        listed = json.loads(fetch(f"{url}?status=completed")[1])
        return {app["name"]: app["id"] for app in listed}

    names = wait_for(lambda: (found := ended()) and "fruits: /data/history" in found and found)
    assert all(name.startswith("fruits: /data/") for name in names)
    jobs = json.loads(fetch(f"{url}/{names['fruits: /data/history']}/jobs")[1])
    stages = {job.get("description", "no description").partition(":")[0] for job in jobs}
    assert {"extract", "fit", "project", "report"} <= stages
    assert stages.isdisjoint({"model", "plots"})  # they run without Spark jobs
    assert "no description" not in stages


def test_only_loopback_ports_are_published(cluster: Compose) -> None:
    running = cluster.ok("--profile", "*", "ps", "-q").split()
    published = say("docker", "inspect", "--format", "{{json .NetworkSettings.Ports}}", *running)
    hosts = [
        binding["HostIp"]
        for ports in map(json.loads, published.stdout.splitlines())
        for bindings in ports.values()
        for binding in bindings or ()
    ]
    assert hosts
    assert set(hosts) == {"127.0.0.1"}
    # The ports are closed on the other addresses of this machine.
    for address in say("hostname", "-I").stdout.split():
        if ":" not in address and not address.startswith("172."):
            for port in cluster.ports.values():
                with pytest.raises(OSError, match=r"refused|timed out"):
                    fetch(f"http://{address}:{port}/", timeout=3)


def test_nothing_runs_as_root(cluster: Compose) -> None:
    for container in cluster.ok("--profile", "*", "ps", "-q").split():
        users = say("docker", "top", container, "-eo", "pid,uid,comm").stdout.splitlines()[1:]
        assert users
        assert not [line for line in users if line.split()[1] == "0"], users


def test_no_secret_is_in_logs_environments_or_command_lines(
    cluster: Compose, image: str, local: Path
) -> None:
    running = cluster.ok("--profile", "*", "ps", "-q").split()
    history = say("docker", "history", "--no-trunc", image).stdout
    logs = cluster.ok("--profile", "*", "logs", "--no-color")
    definitions = say("docker", "inspect", *running).stdout
    commands = "".join(say("docker", "top", one, "-eo", "pid,args").stdout for one in running)
    assert "org.apache.spark.deploy.master.Master" in commands
    events = cluster.ok(
        *("--profile", "cluster", "exec", "-T", "history", "bash", "-c"),
        "cat /var/log/spark-events/*/* | grep -ac '' ; python - <<'E'\n"
        "import glob, subprocess, sys\n"
        "for name in glob.glob('/var/log/spark-events/*/*'):\n"
        "    data = open(name, 'rb').read()\n"
        "    if name.endswith('.zstd'):\n"
        "        import pyarrow as pa\n"
        "        data = pa.CompressedInputStream(pa.BufferReader(data), 'zstd').read()\n"
        "    sys.stdout.write(data.decode(errors='replace'))\n"
        "E",
    )
    assert "SparkListenerEnvironmentUpdate" in events
    for text in (history, logs, definitions, commands, events):
        assert cluster.secret not in text
    for text in (history, logs, commands, events):
        assert cluster.secret_key not in text
        assert cluster.token not in text
    for service in ("master", "history"):
        container = cluster.containers(service)[0]
        environment = say("docker", "inspect", "--format", "{{.Config.Env}}", container).stdout
        assert cluster.secret_key not in environment


def master_state(cluster: Compose) -> str:
    return fetch(f"http://127.0.0.1:{cluster.ports['MASTER_UI_PORT']}/json/")[1]


def applications(cluster: Compose) -> list[str]:
    return [app["id"] for app in json.loads(master_state(cluster))["activeapps"]]


def exit_code(container: str) -> int:
    return int(say("docker", "inspect", "--format", "{{.State.ExitCode}}", container).stdout)
