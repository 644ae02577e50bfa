"""The way to the pages of a stack: lines of ssh, or of Session Manager, printed or executed."""

import shlex
import shutil
import subprocess
from dataclasses import dataclass

from fruits.cloud.account import Account
from fruits.cloud.failures import aws_errors
from fruits.cloud.jobs import cluster, host_of, instance
from fruits.cloud.stacks import Stack
from fruits.errors import CloudError


@dataclass(frozen=True)
class Page:
    """A page of a stack.

    Attributes:
        port: on the host, and on this machine.
        on_loopback: whether it is on the host's loopback, or on its private address only.
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
# What tells the token of JupyterLab, on the host.
TOKEN = {
    "single": "sudo docker logs fruits-notebook",
    "cluster": "sudo docker logs fruits-notebook",
    "emr": "fruits-env jupyter server list",
}


@dataclass(frozen=True)
class Tunnel:
    """How to reach a stack.

    Attributes:
        commands: that hold the tunnel open while they run.
        pages: addresses on this machine by name.
        token: the command that tells JupyterLab's address with its token.
    """

    commands: list[list[str]]
    pages: dict[str, str]
    token: list[str]

    def text(self) -> str:
        """For people to read."""
        lines = [shlex.join(command) for command in self.commands]
        lines += [f"  {name:9} {address}" for name, address in self.pages.items()]
        return "\n".join([*lines, "JupyterLab's token is told by", f"  {shlex.join(self.token)}"])


def tunnel(
    account: Account, stack: Stack, page: str | None = None, identity: str | None = None
) -> Tunnel:
    """How to reach the pages of a stack.

    Args:
        account: where.
        stack: that is up.
        page: one of them, or ``None`` for all.
        identity: file of the private key for ssh.

    Raises:
        CloudError: when the host does not run, or has no such page.
    """
    architecture = stack.output("Architecture")
    pages = PAGES[architecture]
    if page and page not in pages:
        raise CloudError(f"page: {architecture} has {', '.join(pages)}; got {page!r}")
    if page:
        pages = {page: pages[page]}
    host = host_of(stack) if architecture != "emr" else _primary(account, stack)
    told = instance(account, host)
    private = told.get("PrivateIpAddress", "")
    token = TOKEN[architecture]
    addresses = {name: f"http://localhost:{p.port}" for name, p in pages.items()}
    if stack.output("AccessMode") == "ssh":
        # Not the stack's output: a host that was stopped and started has another name.
        name = told.get("PublicDnsName") or told["PrivateDnsName"]
        key = ["-i", identity] if identity else []
        target = f"{stack.output('SshUser')}@{name}"
        forward = [
            word
            for p in pages.values()
            for word in ("-L", f"{p.port}:{'localhost' if p.on_loopback else private}:{p.port}")
        ]
        return Tunnel(
            [["ssh", "-N", "-o", "ExitOnForwardFailure=yes", *key, *forward, target]],
            addresses,
            ["ssh", *key, target, token],
        )
    session = ["aws", "ssm", "start-session", "--region", account.region, "--target", host]
    commands = []
    for p in pages.values():
        document = "AWS-StartPortForwardingSession"
        parameters = f"portNumber={p.port},localPortNumber={p.port}"
        if not p.on_loopback:
            document += "ToRemoteHost"
            parameters += f",host={private}"
        commands.append([*session, "--document-name", document, "--parameters", parameters])
    interactive = ["--document-name", "AWS-StartInteractiveCommand", "--parameters"]
    return Tunnel(commands, addresses, [*session, *interactive, f"command={token}"])


def _primary(account: Account, stack: Stack) -> str:
    """The instance of the cluster's primary node."""
    identity = stack.output("ClusterId")
    cluster(account, identity)
    with aws_errors(f"cluster {identity}"):
        found = account.client("emr").list_instances(
            ClusterId=identity, InstanceGroupTypes=["MASTER"], InstanceStates=["RUNNING"]
        )["Instances"]
    if not found:
        raise CloudError(f"cluster {identity}: its primary node does not run yet; try again")
    return str(found[0]["Ec2InstanceId"])


def open_tunnel(way: Tunnel) -> int:
    """Executes the commands, until one of them ends or the user ends them; the first one's status.

    Raises:
        CloudError: when a program is missing.
    """
    programs = {command[0] for command in way.commands}
    if "aws" in programs:
        programs.add("session-manager-plugin")
    for program in sorted(programs):
        if not shutil.which(program):
            raise CloudError(f"tunnel: wanted the program {program}; install it, or run elsewhere")
    running = [subprocess.Popen(command) for command in way.commands]
    try:
        return running[0].wait()
    except KeyboardInterrupt:
        return 0
    finally:
        for process in running:
            process.terminate()
            process.wait()
