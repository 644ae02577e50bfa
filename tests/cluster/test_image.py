"""The contents of the image, and its errors for invalid settings."""

import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from containers import ROOT, Compose, say

MISUSES = {
    "missing secret": (["worker"], {}, "SPARK_SECRET"),
    "unknown role": (["wroker"], {}, "wroker: is neither a role"),
    "empty token": (["notebook"], {"JUPYTER_TOKEN": ""}, "JUPYTER_TOKEN"),
    "no size": (["notebook"], {"DRIVER_MEMORY": "lots"}, "DRIVER_MEMORY"),
    "driver too large": (["notebook"], {"DRIVER_MEMORY": "9000g"}, "DRIVER_MEMORY"),
    "no master": (
        ["run"],
        {"SPARK_MASTER": "spark://nowhere.invalid:7077"},
        "SPARK_SECRET",
    ),
}


def inspect(image: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(say("docker", "image", "inspect", image).stdout)[0]
    return found


def inside(image: str, command: str) -> str:
    done = say("docker", "run", "--rm", image, "bash", "-c", command)
    assert done.returncode == 0, done.stdout
    return done.stdout.strip()


def test_it_is_small_labelled_and_watched(image: str) -> None:
    found = inspect(image)
    assert found["Size"] <= 2.4e9  # type: ignore[operator]
    config = found["Config"]
    assert config["User"] == "1000"  # type: ignore[index]
    assert config["Healthcheck"]["Test"] == ["CMD", "roles", "healthy"]  # type: ignore[index]
    assert config["Labels"]["org.opencontainers.image.title"] == "fruits"  # type: ignore[index]
    assert config["Entrypoint"][0] == "tini"  # type: ignore[index]


def test_a_command_is_run_as_an_unprivileged_user(image: str) -> None:
    assert inside(image, "id -u") == "1000"


def test_it_can_make_stacks(image: str) -> None:
    folder = "python -c 'from fruits.cloud.templates import deploy_folder as d; print(d())'"
    found = inside(image, f"cd $({folder}) && find . -type f | sort").split()
    assert found == [
        *("./app.yaml", "./ec2-cluster.yaml", "./ec2-single.yaml"),
        *("./emr.yaml", "./emr/bootstrap.sh"),
    ]


def test_no_build_tools_are_left(image: str) -> None:
    tools = "gcc cc make mvn javac pip pip3 strip zip git"
    assert inside(image, f"for t in {tools}; do command -v $t; done; true") == ""


def test_its_bill_of_materials_lists_debian_python_and_java(image: str) -> None:
    script = (ROOT / "deploy/docker/sbom.py").read_bytes()
    command = ["docker", "run", "--rm", "-i", "--network", "none", "--entrypoint", "python"]
    made = subprocess.run([*command, image, "-"], input=script, capture_output=True, check=True)
    # Importing it takes three seconds, which would delay each collection of tests.
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(made.stdout.decode()) is None

    listed = {c["name"]: c["version"] for c in json.loads(made.stdout)["components"]}
    assert {"openjdk-21-jre-headless", "hadoop-aws", "pyspark", "fruits"} <= listed.keys()
    openvino = "import importlib.metadata as m; print(m.version('openvino'))"
    assert listed["openvino"] == inside(image, f'python -c "{openvino}"')


def test_the_image_has_no_telemetry(image: str) -> None:
    found = inside(
        image,
        "find / -xdev -name 'openvino_telemetry*' 2>/dev/null;"
        'python -c "from fruits.networks.compile import compile_backbone as c;'
        "c('MobileNetV2', 'random')\"; ls ~/intel 2>/dev/null; true",
    )
    assert found == ""


def test_the_deleted_files_are_not_needed(image: str) -> None:
    modules = "tensorflow, keras, openvino, pyarrow.dataset, pandas, pyspark.ml, jupyterlab, s3fs"
    inside(image, f"python -c 'import {modules}'")
    compiled = (
        "from fruits.networks.compile import compile_backbone as c;"
        "print([c('MobileNetV2', 'random', e).dimension for e in ('openvino', 'tensorflow')])"
    )
    assert inside(image, f'python -c "{compiled}"').splitlines()[-1] == "[1280, 1280]"


def test_the_bundle_has_only_the_services_of_s3a(image: str) -> None:
    code = (
        "import zipfile, glob, os;"
        "jar = glob.glob(os.environ['SPARK_HOME'] + '/jars/bundle-*.jar')[0];"
        "names = [n.split('/') for n in zipfile.ZipFile(jar).namelist()];"
        "print(*sorted({n[4] for n in names if n[3:4] == ['services'] and len(n) > 5}))"
    )
    assert inside(image, f'python -c "{code}"') == "kms s3 sso ssooidc sts"


def test_java_and_python_trust_the_public_authorities(image: str) -> None:
    listed = "keytool -list -cacerts -storepass changeit 2>/dev/null | grep -c trustedCertEntry"
    assert int(inside(image, listed)) > 100
    code = "import ssl; print(len(ssl.create_default_context().get_ca_certs()))"
    assert int(inside(image, f"python -c '{code}'")) > 100


def test_a_role_refuses_root(image: str) -> None:
    done = say("docker", "run", "--rm", "--user", "0", image, "notebook")
    assert (done.returncode, done.stdout.count("\n")) == (2, 1)
    assert "refuses to run as root" in done.stdout


@pytest.mark.parametrize("misuse", MISUSES)
def test_a_role_that_cannot_work_ends_with_one_line(image: str, misuse: str) -> None:
    command, environment, expected = MISUSES[misuse]
    variables = [f"--env={name}={value}" for name, value in environment.items()]
    done = say("docker", "run", "--rm", *variables, image, *command)
    assert done.returncode == 2
    assert done.stdout.count("\n") == 1, done.stdout
    assert expected in done.stdout


def test_a_worker_larger_than_the_machine_ends_with_one_line(compose: Compose) -> None:
    done = compose("run", "--rm", "--no-deps", "-T", "worker", WORKER_MEMORY="9000g")
    assert done.returncode == 2
    assert "WORKER_MEMORY: wanted at most" in done.stdout


def test_a_worker_too_small_for_its_cores_ends_with_one_line(compose: Compose) -> None:
    done = compose("run", "--rm", "--no-deps", "-T", "worker", WORKER_MEMORY="1g")
    assert done.returncode == 2
    assert "WORKER_MEMORY: wanted at least 1792m for 1 cores; got 1024m" in done.stdout


@pytest.fixture
def another(image: str, tmp_path: Path) -> Iterator[Compose]:
    """A project without running containers."""
    another = Compose(tmp_path, "fruits-another")
    yield another
    another("--profile", "*", "down", "--volumes")


def test_compose_names_the_secret_that_is_missing(another: Compose) -> None:
    done = another("--profile", "cluster", "up", "--no-build", SPARK_SECRET=None, timeout=60)
    assert done.returncode != 0
    assert 'environment variable "SPARK_SECRET"' in done.stdout


def test_compose_names_the_port_that_is_taken(another: Compose) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", another.ports["NOTEBOOK_PORT"]))
        taken.listen()
        done = another("up", "-d", "--no-build", "notebook", timeout=60)
    assert done.returncode != 0
    assert "address already in use" in done.stdout
