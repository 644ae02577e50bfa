"""Access to the web pages of a stack by commands of ssh or Session Manager."""

import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from fruits.cloud.account import Account
from fruits.cloud.failures import printable
from fruits.cloud.machines import job_host, primary_node, running_instance
from fruits.cloud.stacks import Stack
from fruits.errors import CloudError

# The user and the host become one argument of ssh.
USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,254}")


@dataclass(frozen=True)
class Page:
    """A web page of a stack.

    Attributes:
        port: The port on the host and on this machine.
        on_loopback: Whether it listens on the host's loopback, or only on its private address.
    """

    port: int
    on_loopback: bool


PAGES = {
    "single": {"notebook": Page(8888, True)},
    "cluster": {
        "notebook": Page(8888, True),
        "master": Page(8080, False),
        "history": Page(18080, True),
    },
    "emr": {
        "notebook": Page(8888, True),
        "yarn": Page(8088, False),
        "history": Page(18080, False),
    },
}
# The command on the host that prints JupyterLab's token.
TOKEN_COMMAND = {
    "single": "sudo docker logs fruits-notebook",
    "cluster": "sudo docker logs fruits-notebook",
    "emr": "fruits-env jupyter server list",
}


@dataclass(frozen=True)
class Tunnel:
    """The commands and addresses to reach a stack.

    Attributes:
        commands: The commands that keep the tunnel open while they run.
        pages: The addresses on this machine, by name.
        token: The command that prints JupyterLab's address with its token.
    """

    commands: list[list[str]]
    pages: dict[str, str]
    token: list[str]

    def text(self) -> str:
        """Lines for the terminal."""
        lines = [shlex.join(command) for command in self.commands]
        lines += [f"  {name:9} {address}" for name, address in self.pages.items()]
        lines += ["to print JupyterLab's token:", f"  {shlex.join(self.token)}"]
        return printable("\n".join(lines))


def tunnel(
    account: Account, stack: Stack, page: str | None = None, identity: str | None = None
) -> Tunnel:
    """The tunnel to the pages of a stack.

    Args:
        account: The account.
        stack: The stack, which must be up.
        page: One of its pages, or ``None`` for all.
        identity: The file of the private key for ssh.

    Raises:
        CloudError: The host does not run, has no such page, or has an invalid user or host name.
    """
    architecture = stack.output("Architecture")
    pages = PAGES.get(architecture, {})
    if page and page not in pages:
        raise CloudError(
            f"page: {printable(architecture)} has {', '.join(pages) or 'none'}; got {page!r}"
        )
    if page:
        pages = {page: pages[page]}
    if not pages:
        raise CloudError(
            f"stack {stack.name}: wanted one of {', '.join(PAGES)}; it is "
            f"{printable(repr(architecture))}"
        )
    host = primary_node(account, stack) if architecture == "emr" else job_host(stack)
    described = running_instance(account, host)
    token = TOKEN_COMMAND[architecture]
    addresses = {name: f"http://localhost:{p.port}" for name, p in pages.items()}
    if stack.output("AccessMode") == "ssh":
        commands, options = _by_ssh(stack, described, pages, identity)
        return Tunnel(commands, addresses, ["ssh", *options, token])
    session = ["aws", "ssm", "start-session", "--region", account.region, "--target", host]
    forwards = [
        [*session, *_forward_by_session_manager(p, _address(described))] for p in pages.values()
    ]
    interactive = ["--document-name", "AWS-StartInteractiveCommand", "--parameters"]
    return Tunnel(forwards, addresses, [*session, *interactive, f"command={token}"])


def _by_ssh(
    stack: Stack, described: dict[str, Any], pages: dict[str, Page], identity: str | None
) -> tuple[list[list[str]], list[str]]:
    """The command that forwards all pages, and the arguments of ssh for the host."""
    # Not from the outputs of the stack: a host has another name after a stop and a start.
    name = described.get("PublicDnsName") or described["PrivateDnsName"]
    if not HOST.fullmatch(name):
        raise CloudError(f"stack {stack.name}: wanted a host name; got {printable(repr(name))}")
    private = _address(described)
    key = ["-i", identity] if identity else []
    # Arguments after "--" are never read as options.
    target = ["--", f"{stack.output('SshUser', USER)}@{name}"]
    forward = [
        word
        for p in pages.values()
        for word in ("-L", f"{p.port}:{'localhost' if p.on_loopback else private}:{p.port}")
    ]
    command = ["ssh", "-N", "-o", "ExitOnForwardFailure=yes", *key, *forward, *target]
    return [command], [*key, *target]


def _address(described: dict[str, Any]) -> str:
    try:
        return str(ip_address(described["PrivateIpAddress"]))
    except ValueError:
        got = printable(repr(described["PrivateIpAddress"]))
        raise CloudError(f"instance: wanted an address; got {got}") from None


def _forward_by_session_manager(page: Page, address: str) -> list[str]:
    document = "AWS-StartPortForwardingSession"
    parameters = f"portNumber={page.port},localPortNumber={page.port}"
    if not page.on_loopback:
        document += "ToRemoteHost"
        parameters += f",host={address}"
    return ["--document-name", document, "--parameters", parameters]


def open_tunnel(way: Tunnel) -> int:
    """Runs the commands until one ends or the user stops them.

    Returns:
        The exit status of the first command.

    Raises:
        CloudError: A program is missing.
    """
    programs = {command[0] for command in way.commands}
    if "aws" in programs:
        programs.add("session-manager-plugin")
    for program in sorted(programs):
        if not shutil.which(program):
            raise CloudError(
                f"tunnel: wanted the program {program}; install it, or use another machine"
            )
    running = [subprocess.Popen(command) for command in way.commands]
    try:
        return running[0].wait()
    except KeyboardInterrupt:
        return 0
    finally:
        for process in running:
            process.terminate()
            process.wait()
