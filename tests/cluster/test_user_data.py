"""Runs the user data of deploy/ec2-*.yaml in containers instead of EC2 instances.

The user data are those that CloudFormation gives to an instance, except for the master's address.
``instance.py`` replaces the commands of AWS and Docker, and starts the image's roles in the same
container.
"""

import json
import secrets
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from containers import ROOT, fetch, say, wait_for
from moto import mock_aws

from fruits.planning.resources import available_cores
from fruits.sample import draw_sample

sys.path.append(str(ROOT / "tests" / "aws"))
from stacks import create, decoded, group_template, instance_script

PROGRAMS = ("aws", "curl", "dnf", "docker", "shutdown", "systemctl")
SECRET = secrets.token_hex(32)


@dataclass
class Instance:
    """A container instead of an EC2 instance."""

    container: str
    address: str

    def bash(self, script: str) -> tuple[int, str]:
        done = say("docker", "exec", self.container, "bash", "-c", f"PATH=/shims:$PATH; {script}")
        return done.returncode, done.stdout

    def ok(self, script: str) -> str:
        status, output = self.bash(script)
        assert status == 0, output[-4000:]
        return output

    def log(self) -> str:
        return self.ok("cat /instance/log")


@dataclass
class Region:
    """The network and the image for instances."""

    image: str
    network: str
    folder: Path
    running: list[str]

    def start(self, script: str) -> Instance:
        """Starts an instance, and waits until its user data have run."""
        number = len(self.running)
        shims = self.folder / "shims"
        file = self.folder / f"user-data-{number}"
        file.write_text(script)
        started = say(
            *("docker", "run", "-d", "--user", "root", "--network", self.network),
            *("-v", f"{shims}:/shims:ro", "-v", f"{file}:/user-data:ro"),
            *("-v", f"{self.folder / 'data'}:/data", "--entrypoint", "sleep"),
            *(self.image, "infinity"),
        )
        container = started.stdout.strip()
        self.running.append(container)
        form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        address = say("docker", "inspect", "-f", form, container).stdout.strip()
        instance = Instance(container, address)
        identity = next(iter(secret_names(script)), "none")
        instance.ok(
            "install -d -m 0777 /instance /opt/aws/bin && install -d /etc/systemd/system && "
            f"printf %s {SECRET} >/instance/{identity} && "
            "cp /shims/cfn-signal /opt/aws/bin/ && touch /instance/log && chmod 0666 /instance/log"
        )
        instance.ok("bash /user-data")
        return instance


def secret_names(script: str) -> list[str]:
    lines = [line.strip() for line in script.splitlines()]
    return [line.split("'")[1] for line in lines if line.startswith("secret='")]


@pytest.fixture(scope="module")
def scripts() -> dict[str, str]:
    """The user data as CloudFormation renders them."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
        environment.delenv("AWS_ENDPOINT_URL", raising=False)
        with mock_aws():
            single = create("ec2-single", "single")
            cluster = create("ec2-cluster", "cluster")
            return {
                "single": instance_script(single["InstanceId"]),
                "master": instance_script(cluster["MasterInstanceId"]),
                "worker": decoded(group_template(cluster["WorkerGroup"])["UserData"]),
            }


@pytest.fixture(scope="module")
def region(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Region]:
    folder = tmp_path_factory.mktemp("region")
    (folder / "shims").mkdir()
    (folder / "data").mkdir(mode=0o777)
    (folder / "data").chmod(0o777)
    for program in (*PROGRAMS, "cfn-signal"):
        shutil.copy(Path(__file__).parent / "instance.py", folder / "shims" / program)
        (folder / "shims" / program).chmod(0o755)
    draw_sample(str(folder / "data" / "sample"), classes=2, per_class=20)
    network = f"fruits-region-{secrets.token_hex(4)}"
    say("docker", "network", "create", network)
    region = Region(image, network, folder, [])
    yield region
    for container in region.running:
        say("docker", "rm", "-f", container)
    say("docker", "network", "rm", network)


@pytest.fixture(scope="module")
def master(region: Region, scripts: dict[str, str]) -> Instance:
    master = region.start(scripts["master"])
    wait_for(lambda: workers(master) == [], 60)
    return master


@pytest.fixture
def worker(region: Region, scripts: dict[str, str], master: Instance) -> Iterator[Instance]:
    """An instance of a worker, which is the only one of the master."""
    (line,) = [li for li in scripts["worker"].splitlines() if li.strip().startswith("master='")]
    worker = region.start(scripts["worker"].replace(line, f"master='{master.address}'"))
    wait_for(lambda: workers(master) == [worker.address], 60)
    yield worker
    say("docker", "rm", "-f", worker.container)


def workers(master: Instance) -> list[str]:
    """The addresses of the workers that are alive according to the master."""
    state = json.loads(fetch(f"http://{master.address}:8080/json/")[1])
    return [worker["host"] for worker in state["workers"] if worker["state"] == "ALIVE"]


@pytest.fixture(scope="module")
def single(region: Region, scripts: dict[str, str]) -> Instance:
    """The single host, after it has run the notebook."""
    host = region.start(scripts["single"])
    run(host, "single")
    return host


def test_the_single_host_is_a_workbench_and_runs_headless(region: Region, single: Instance) -> None:
    assert "cfn-signal -e 0 " in single.log()
    assert "systemctl enable --now fruits-stop.timer" in single.log()
    assert "http://localhost:8888/lab?token=" in logs(single)
    report = json.loads((region.folder / "data" / "single" / "run.json").read_text())
    assert report["counts"]["extracted"] == 40
    # So few images need no Spark.
    assert report["local_processes"] == available_cores()


def test_two_instances_are_a_cluster_and_a_run_uses_it(
    region: Region, single: Instance, master: Instance, worker: Instance
) -> None:
    assert "cfn-signal -e 0 " in master.log()
    assert "cfn-signal -e 0 " in worker.log()
    run(master, "cluster")
    report = json.loads((region.folder / "data" / "cluster" / "run.json").read_text())
    assert report["counts"]["extracted"] == 40
    assert report["spark"]["master"] == f"spark://{master.address}:7077"
    # The same bits as on the single host; only the order of rows may differ.
    found = [region.folder / "data" / place / "pca.csv" for place in ("cluster", "single")]
    assert sorted(found[0].read_text().splitlines()) == sorted(found[1].read_text().splitlines())


def test_jupyterlab_of_the_master_is_on_its_loopback_only(master: Instance) -> None:
    wait_for(lambda: "token=" in logs(master), 60)
    script = (
        "import socket; s = socket.socket(); s.settimeout(5);"
        "raise SystemExit(s.connect_ex(('{}', 8888)))"
    )
    wait_for(lambda: master.bash(f'python3 -c "{script.format("127.0.0.1")}"')[0] == 0, 60)
    assert master.bash(f'python3 -c "{script.format(master.address)}"')[0] != 0


def test_the_secret_is_for_user_1000_and_in_no_log_nor_environment(
    master: Instance, worker: Instance
) -> None:
    for instance in (master, worker):
        assert instance.ok("stat -c '%u %a' /etc/fruits/secret").strip() == "1000 400"
        assert SECRET not in instance.log()
        assert SECRET not in instance.ok("cat /instance/*.out /etc/fruits/env /etc/fruits/host")
        assert SECRET not in instance.ok(
            "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline | tr '\\0' ' '"
        )


def test_a_worker_with_another_secret_is_refused(
    region: Region, scripts: dict[str, str], master: Instance
) -> None:
    (line,) = [li for li in scripts["worker"].splitlines() if li.strip().startswith("master='")]
    script = scripts["worker"].replace(line, f"master='{master.address}'")
    forged = script.replace("fruits-part -d", f"{FORGE}\nfruits-part -d")
    # The stack gets a signal of failure, too.
    with pytest.raises(AssertionError, match="gave up: is_known"):
        region.start(forged)
    stranger = Instance(region.running[-1], "")
    assert "cfn-signal -e 1 " in stranger.log()
    assert workers(master) == []


FORGE = "chmod u+w /etc/fruits/secret; echo 0123456789abcdef0123456789abcdef >/etc/fruits/secret"


def test_a_worker_with_a_spot_notice_migrates_its_blocks_and_leaves(
    master: Instance, worker: Instance
) -> None:
    worker.ok("""echo '{"action": "terminate"}' >/instance/spot.instance-action""")
    wait_for(lambda: workers(master) == [], 60)
    wait_for(lambda: "docker stop -t 110 fruits-worker" in worker.log(), 30)
    assert "Spot takes this instance" in worker.ok("cat /instance/fruits-hand-over.service.out")
    assert "complete-lifecycle-action" not in worker.log()


def test_an_instance_that_its_group_ends_hands_over_and_says_so(
    master: Instance, worker: Instance
) -> None:
    worker.ok("printf Terminated >/instance/autoscaling.target-lifecycle-state")
    wait_for(lambda: workers(master) == [], 60)
    report = wait_for(lambda: "complete-lifecycle-action" in (log := worker.log()) and log, 60)
    (line,) = [li for li in report.splitlines() if "complete-lifecycle-action" in li]
    assert "--auto-scaling-group-name cluster-workers" in line
    assert "--instance-id i-0123456789abcdef0" in line


def test_user_data_that_fails_says_so_to_its_stack(region: Region, scripts: dict[str, str]) -> None:
    broken = scripts["single"].replace("persist docker pull -q", "docker no-such-command")
    with pytest.raises(AssertionError, match="nothing is known of"):
        region.start(broken)
    failed = Instance(region.running[-1], "")
    assert "cfn-signal -e 1 " in failed.log()
    assert "docker run" not in failed.log()


def logs(instance: Instance) -> str:
    return instance.bash("docker logs fruits-notebook")[1]


def run(instance: Instance, output: str) -> None:
    """Calls fruits-run with small parameters, on images of this machine."""
    instance.ok(
        "fruits-run -p images /data/sample/Training -p backbone EfficientNetLite0"
        f" -p components 5 -p output /data/{output}"
    )
