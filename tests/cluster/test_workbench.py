"""JupyterLab with a real browser, through an SSH tunnel to the workbench."""

import getpass
import io
import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import nbformat
import numpy as np
import pytest
from browser import Page, chromium
from containers import ROOT, Compose, fetch, say, wait_for
from PIL import Image
from ports import free_port


@pytest.fixture(scope="module")
def workbench(compose: Compose, sample: str) -> Compose:
    compose.ok("up", "-d", "--no-build", "notebook")
    url = f"http://127.0.0.1:{compose.ports['NOTEBOOK_PORT']}/login"
    wait_for(lambda: fetch(url)[0] == 200, 90)
    return compose


@pytest.fixture(scope="module")
def tunnel(workbench: Compose, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The local address of ``ssh -L`` to the workbench."""
    folder = tmp_path_factory.mktemp("ssh")
    for name in ("host", "user"):
        say("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name))
    (folder / "authorized").write_text((folder / "user.pub").read_text())
    there, here = free_port(), free_port()
    (folder / "config").write_text(
        f"Port {there}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile none\n"
        f"AuthorizedKeysFile {folder}/authorized\nStrictModes no\nPasswordAuthentication no\n"
        "PermitRootLogin prohibit-password\nUsePAM no\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    server = subprocess.Popen(["/usr/sbin/sshd", "-D", "-f", folder / "config"])
    client = subprocess.Popen(
        [
            *("ssh", "-N", "-p", str(there), "-i", folder / "user"),
            *("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"),
            *("-o", "ExitOnForwardFailure=yes", "-o", "ConnectionAttempts=20"),
            *("-L", f"{here}:localhost:{workbench.ports['NOTEBOOK_PORT']}"),
            f"{getpass.getuser()}@127.0.0.1",
        ]
    )
    wait_for(lambda: fetch(f"http://localhost:{here}/login")[0] == 200, 60)
    yield f"http://localhost:{here}"
    client.terminate()
    server.terminate()


def test_without_the_token_there_is_nothing(tunnel: str) -> None:
    for path in (
        "/lab",
        "/tree",
        "/api/contents",
        "/api/kernels",
        "/files/notebooks/",
        "/spark/jobs/",
    ):
        status, text = fetch(tunnel + path)
        assert status in (302, 403), path
        assert "fruits_pca" not in text
    assert fetch(f"{tunnel}/api/contents?token=wrong")[0] == 403
    # A kernel would be a shell.
    request = urllib.request.Request(f"{tunnel}/api/kernels", data=b"{}", method="POST")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request)


def test_a_page_elsewhere_cannot_reach_it_by_another_name(tunnel: str, compose: Compose) -> None:
    request = urllib.request.Request(
        f"{tunnel}/api/contents?token={compose.token}", headers={"Host": "evil.example"}
    )
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request)


def test_a_notebook_runs_in_the_browser_and_shows_its_plots(
    tunnel: str, compose: Compose, sample: str, tmp_path: Path
) -> None:
    notebook = nbformat.read(ROOT / "notebooks/fruits_pca.ipynb", as_version=4)
    parameters = next(c for c in notebook.cells if "parameters" in c.metadata.get("tags", ()))
    parameters.source += (
        f'\nimages = "{sample}"\noutput = "/data/browser"\nbackbone = "EfficientNetLite0"'
    )
    put = urllib.request.Request(
        f"{tunnel}/api/contents/notebooks/browser.ipynb",
        data=json.dumps({"type": "notebook", "content": notebook}).encode(),
        headers={"Authorization": f"token {compose.token}"},
        method="PUT",
    )
    assert urllib.request.urlopen(put).status in (200, 201)

    with chromium(tmp_path) as page:
        page.open(f"{tunnel}/lab/tree/notebooks/browser.ipynb?token={compose.token}&reset")
        wait_for(lambda: page.ask("document.querySelectorAll('.jp-Notebook .jp-Cell').length > 5"))
        wait_for(lambda: page.ask("!!document.querySelector('[data-status=idle]')"), 120)
        wait_for(lambda: run_all(page), 120)
        wait_for((compose.data / "browser" / "run.json").exists, 400)
        # Spark's UI, through JupyterLab. A run of so few images starts no Spark; a later cell does.
        jobs = f"{tunnel}/spark/jobs/?token={compose.token}"
        wait_for(lambda: (found := fetch(jobs))[0] == 200 and "Spark Jobs" in found[1])
        # JupyterLab renders only visible cells: scroll down in steps until a whole plot is visible.
        page.ask(SCROLL.format(-100_000))
        box = wait_for(lambda: page.ask(PLOT) or (page.ask(SCROLL.format(300)) and None), 120, 1)
        screen = page.picture(compose.data.parent / "workbench.png")
    # The plot has coloured points, and is not an empty frame.
    plot = np.asarray(Image.open(io.BytesIO(screen)).convert("RGB").crop(box), int)
    coloured = (plot.max(axis=2) - plot.min(axis=2)) > 40
    assert coloured.mean() > 0.002
    assert (plot.min(axis=2) > 240).mean() > 0.3


def test_the_token_is_made_up_once_where_none_is_given(image: str) -> None:
    container = say("docker", "run", "--rm", "-d", image).stdout.strip()
    try:
        logs = wait_for(
            lambda: (text := say("docker", "logs", container).stdout) and "token=" in text and text
        )
        assert logs.count("token=") == 1
        environment = say("docker", "exec", container, "bash", "-c", "cat /proc/[0-9]*/environ")
        token = logs.split("token=")[1].split()[0]
        assert len(token) == 48
        assert token not in environment.stdout
        assert token not in say("docker", "top", container, "-eo", "pid,args").stdout
    finally:
        say("docker", "kill", container)


def run_all(page: Page) -> bool:
    """Selects Run, Run All Cells in the menu; JupyterLab may be busy and ignore it."""
    page.click(TEXT.format(".lm-MenuBar-item", "Run"))
    time.sleep(1)
    page.click(TEXT.format(".lm-Menu-item", "Run All Cells"))
    time.sleep(5)
    busy = "document.querySelector('.jp-Notebook-ExecutionIndicator').dataset.status != 'idle'"
    return bool(page.ask(busy))


TEXT = (
    "[...document.querySelectorAll('{}')].find(e =>"
    " e.textContent.trim().replace(/\\u2026$/, '').startsWith('{}'))"
)

SCROLL = (
    "(() => {{ const panel = document.querySelector('.jp-WindowedPanel-outer');"
    " panel.scrollTop += {}; return panel.scrollTop; }})()"
)

# The position of the first plot that is completely visible.
PLOT = (
    "[...document.querySelectorAll('.jp-OutputArea-output img')]"
    ".filter(i => i.naturalWidth > 300).map(i => i.getBoundingClientRect())"
    ".filter(b => b.top > 90 && b.bottom < innerHeight)"
    ".map(b => [b.left, b.top, b.right, b.bottom])[0]"
)
