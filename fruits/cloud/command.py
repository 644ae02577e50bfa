"""The options of ``fruits cloud``; boto3 is imported when a command runs, not before."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fruits.errors import CloudError, ConfigError

if TYPE_CHECKING:
    from fruits.cloud.inventory import Inventory

ARCHITECTURES = ("single", "cluster", "emr")
# Options of launch that are parameters of the templates.
PARAMETERS = {
    "bucket": ("Bucket", "S3 bucket of photographs and results; made if it is not there"),
    "prefix": ("Prefix", "the folder of the bucket that the stack may touch"),
    "image": ("Image", "of containers, in a registry that the hosts reach"),
    "instance_type": ("InstanceType", "of all hosts"),
    "workers": ("Workers", "how many"),
    "key_name": ("KeyName", "EC2 key pair for SSH"),
    "ssh_cidr": ("SshCidr", "who may use SSH, such as 203.0.113.7/32; nobody by default"),
    "vpc": ("VpcId", "the account's default by default"),
    "subnet": ("SubnetId", "likewise"),
    "release_label": ("ReleaseLabel", "of EMR"),
}


def add_cloud(
    commands: Any, add_run_options: Callable[..., None], defaults: Mapping[str, object]
) -> None:
    """Adds ``fruits cloud`` to the commands of ``fruits``.

    Args:
        commands: what ``add_subparsers`` returned.
        add_run_options: adds the options of ``fruits run`` to a parser.
        defaults: of those options.
    """
    cloud = commands.add_parser("cloud", help="AWS: upload, launch, submit, status, terminate")
    cloud.set_defaults(parser=cloud)
    actions = cloud.add_subparsers(metavar="COMMAND")

    def action(name: str, function: Callable[..., None], help: str, named: bool = True) -> Any:
        parser = actions.add_parser(name, help=help)
        parser.set_defaults(command=function, parser=parser)
        parser.add_argument("--region", help="of AWS; by default the environment's")
        if named:
            parser.add_argument("--name", default="fruits", help="of the stack (%(default)s)")
        return parser

    uploading = action("upload", _upload, "a folder to S3", named=False)
    uploading.add_argument("folder", help="with its subfolders")
    uploading.add_argument("uri", metavar="URI", help="s3://bucket/prefix")

    launching = action("launch", _launch, "make a stack, or change one; says the cost and asks")
    launching.add_argument("architecture", choices=ARCHITECTURES)
    for option, (_, help_) in PARAMETERS.items():
        launching.add_argument("--" + option.replace("_", "-"), help=help_)
    launching.add_argument("--spot", action=argparse.BooleanOptionalAction, help="Spot workers")
    launching.add_argument("--wheels", metavar="DIR", help="of deploy/emr/wheels.sh, for EMR")
    launching.add_argument(
        *("-p", "--parameter"),
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any parameter of the template",
    )
    launching.add_argument("--template", metavar="FILE", help="instead of the package's own")
    launching.add_argument("--yes", action="store_true", help="do not ask")

    submitting = action("submit", _submit, "run the package on a stack")
    submitting.add_argument(
        *("--deploy-mode",),
        choices=("cluster", "client"),
        default="cluster",
        help="of Spark's driver on EMR (%(default)s)",
    )
    add_run_options(submitting)
    submitting.set_defaults(run_defaults=defaults)

    telling = action("status", _status, "all that costs money", named=False)
    telling.add_argument("--json", action="store_true", dest="as_json", help="for machines")

    logging = action("logs", _logs, "state and output of a job")
    logging.add_argument("--job", help="as submit printed it; the last one by default")
    logging.add_argument("--lines", type=int, default=50, help="of each file (%(default)s)")

    tunneling = action("tunnel", _tunnel, "the way to JupyterLab and Spark's pages")
    tunneling.add_argument("--page", help="notebook, master, history or yarn; all by default")
    tunneling.add_argument("-i", "--identity", metavar="FILE", help="private key for ssh")
    tunneling.add_argument("--open", action="store_true", dest="opens", help="execute it")

    ending = action("terminate", _terminate, "delete a stack; the bucket stays")
    ending.add_argument("--yes", action="store_true", help="do not ask")


def ask(question: str, yes: bool) -> None:
    """Asks before something is spent or lost.

    Raises:
        CloudError: when the answer is not yes, or nobody is there to answer.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise CloudError(f"{question}: nobody is there to answer; --yes says it for scripts")
    try:
        answer = input(f"{question}? [y/N] ")
    except (EOFError, KeyboardInterrupt):
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        raise CloudError(f"{question}: not agreed to; nothing was done")


def _upload(region: str | None, folder: str, uri: str) -> None:
    from fruits.cloud.account import Account
    from fruits.cloud.upload import upload

    try:
        done = upload(Account.of(region), folder, uri)
    except KeyboardInterrupt:
        raise CloudError(f"{uri}: interrupted; the same command goes on where it stopped") from None
    print(
        f"{done.sent:,} files sent ({done.bytes / 1e6:,.1f} MB), {done.there:,} were there: {uri}"
    )


def _launch(
    region: str | None,
    name: str,
    architecture: str,
    parameter: list[str],
    template: str | None,
    wheels: str | None,
    spot: bool | None,
    yes: bool,
    **options: str | None,
) -> None:
    from fruits.cloud import launch
    from fruits.cloud.account import Account

    given = {PARAMETERS[option][0]: value for option, value in options.items() if value is not None}
    if spot is not None:
        given["Spot"] = str(spot).lower()
    for text in parameter:
        key, sign, value = text.partition("=")
        if not sign:
            raise ConfigError(f"parameter: wanted NAME=VALUE; got {text!r}")
        given[key] = value
    account = Account.of(region)
    proposal = launch.propose(account, architecture, name, given, template, wheels)
    print(proposal.text(), flush=True)
    ask("launch", yes)
    try:
        stack = launch.make(account, proposal)
    except KeyboardInterrupt:
        raise CloudError(
            f"stack {name}: no longer waited for; AWS goes on and it costs money: see fruits cloud "
            f"status, and fruits cloud terminate --name {name}"
        ) from None
    print(f"stack {name} is {stack.status}")
    for key, value in filter(all, stack.outputs.items()):
        print(f"  {key:16} {value}")
    if architecture == "emr" and not stack.outputs.get("ClusterId"):
        print("there is no cluster yet: launch again with --wheels, from deploy/emr/wheels.sh")


def _submit(
    region: str | None,
    name: str,
    deploy_mode: str,
    run_defaults: Mapping[str, object],
    **options: Any,
) -> None:
    from fruits.cloud import jobs
    from fruits.cloud.account import Account
    from fruits.cloud.stacks import require
    from fruits.runs.config import RunConfig

    RunConfig(**options)
    account = Account.of(region)
    stack = require(account, name)
    said = {n: value for n, value in options.items() if value != run_defaults.get(n)}
    job = jobs.submit(account, stack, said, deploy_mode)
    print(f"{job} is submitted; fruits cloud logs --name {name} --job {job}")


def _status(region: str | None, as_json: bool) -> None:
    from fruits.cloud.account import Account
    from fruits.cloud.costs import Prices
    from fruits.cloud.inventory import inventory

    account = Account.of(region)
    found = inventory(account)
    if as_json:
        print(json.dumps({**asdict(found), "dollars": found.dollars}, indent=2, default=str))
    else:
        print(_table(found, account.region, Prices.load().terms(account.region)))
    if found.unseen:
        raise CloudError(f"not all could be seen, more may cost money: {'; '.join(found.unseen)}")


def _table(found: "Inventory", region: str, terms: str) -> str:
    if not found.items:
        return f"nothing of this tool is there in {region}" * (not found.unseen)
    lines = [f"{'':9} {'in ' + region:24} {'stack':14} {'state':16} {'age':>8} {'$/hour':>7}"]
    for item in found.items:
        hours = item.hours
        age = "" if hours is None else f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.0f} d"
        price = "?" if item.dollars is None else f"{item.dollars:.4g}" if item.dollars else "-"
        lines.append(
            f"{item.kind:9} {item.name:24} {item.stack:14} {item.state:16} {age:>8} {price:>7}  "
            f"{item.detail}".rstrip()
        )
    lines.append(f"{found.dollars:.4g} $ an hour, and what stands as ? ({terms})")
    return "\n".join(lines)


def _logs(region: str | None, name: str, job: str | None, lines: int) -> None:
    from fruits.cloud import jobs
    from fruits.cloud.account import Account
    from fruits.cloud.stacks import require

    account = Account.of(region)
    print(jobs.logs(account, require(account, name), job, lines))


def _tunnel(
    region: str | None, name: str, page: str | None, identity: str | None, opens: bool
) -> None:
    from fruits.cloud import tunnel
    from fruits.cloud.account import Account
    from fruits.cloud.stacks import require

    account = Account.of(region)
    way = tunnel.tunnel(account, require(account, name), page, identity)
    print(way.text(), flush=True)
    if opens and (status := tunnel.open_tunnel(way)):
        raise CloudError(f"tunnel: it ended with status {status}; what it said is above")


def _terminate(region: str | None, name: str, yes: bool) -> None:
    from fruits.cloud.account import Account
    from fruits.cloud.terminate import left, terminate, what_goes

    account = Account.of(region)
    stack, text = what_goes(account, name)
    print(text, flush=True)
    ask("terminate", yes)
    try:
        terminate(account, stack)
    except KeyboardInterrupt:
        raise CloudError(
            f"stack {name}: no longer waited for; AWS goes on deleting it: see fruits cloud status"
        ) from None
    print(left(account, stack))
