"""The message of a build whose downloads fail, and the certificates that a build trusts."""

import http.server
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "deploy/docker/download.sh"
ADVICE = "set CA_CERTIFICATES to a PEM file"
HOST, MINE = "/of/this/machine.pem", "/of/mine.pem"


def download(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", SCRIPT, *command], capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with an unknown certificate."""
    folder = tmp_path_factory.mktemp("gateway")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"https://localhost:{server.server_port}/"
    server.shutdown()


def test_an_unknown_certificate_is_named_as_the_reason(gateway: str) -> None:
    pip = (sys.executable, "-m", "pip", "--isolated", "install", "--retries", "0", "--no-deps")
    done = download(*pip, "--index-url", gateway, "no-such-package-as-this-one")
    assert done.returncode == 1
    assert ADVICE in done.stderr
    assert done.stderr.count("\n") == 1
    assert "ERROR" not in done.stdout


@pytest.mark.parametrize(
    "line",
    [
        "[ERROR] ... PKIX path building failed: unable to find valid certification path",
        "BackboneError: <urlopen error [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed>",
    ],
)
def test_certificates_that_java_and_keras_refuse_are_recognised(line: str) -> None:
    done = download("sh", "-c", 'echo "$1"; exit 3', "sh", line)
    assert done.returncode == 3
    assert ADVICE in done.stderr


def test_any_other_failure_is_shown_as_it_is() -> None:
    done = download("sh", "-c", "echo fine; echo 'ERROR: no such version' >&2; exit 5")
    assert done.returncode == 5
    assert done.stdout == "fine\n"
    assert done.stderr == "ERROR: no such version\n"


def test_a_successful_command_is_not_changed() -> None:
    done = download("sh", "-c", "echo fine; echo more >&2")
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(done.stdout.split()) == ["fine", "more"]


@pytest.mark.parametrize("target", ["image", "app-image"])
@pytest.mark.parametrize(
    ("host", "environment", "dotenv", "passed"),
    [
        (HOST, {}, "", HOST),
        (HOST, {}, f"#CA_CERTIFICATES={MINE}\n", HOST),
        (HOST, {"CA_CERTIFICATES": MINE}, "", MINE),
        # Compose reads the file itself.
        (HOST, {}, f"WORKERS=3\nCA_CERTIFICATES={MINE}\n", "nothing"),
        ("", {}, "", "nothing"),
        ("", {"CA_CERTIFICATES": MINE}, "", MINE),
    ],
)
def test_make_passes_the_certificates_of_this_machine_unless_others_are_set(
    tmp_path: Path,
    target: str,
    host: str,
    environment: dict[str, str],
    dotenv: str,
    passed: str,
) -> None:
    docker = tmp_path / "docker"
    docker.write_text('#!/bin/sh\necho "passed ${CA_CERTIFICATES-nothing}"\n')
    docker.chmod(0o755)
    (tmp_path / ".env").write_text(dotenv)
    # The tests may have been started by make.
    ignored = ("CA_CERTIFICATES", "MAKEFLAGS", "MFLAGS", "MAKELEVEL")
    kept = {name: value for name, value in os.environ.items() if name not in ignored}
    done = subprocess.run(
        ["make", "-s", "-f", ROOT / "Makefile", "-C", tmp_path, target, f"CA={host}"],
        capture_output=True,
        text=True,
        env=kept | environment | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )
    assert done.stdout == f"passed {passed}\n", done.stderr
