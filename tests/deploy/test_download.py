"""deploy/docker/download.sh: the message of a build whose downloads fail."""

import http.server
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "deploy/docker/download.sh"
ADVICE = "set CA_CERTIFICATES to a PEM file"


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
