"""The commands of ``fruits cloud``, which import boto3 when they run."""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fruits.cloud.options import add_launch_options, given_parameters
from fruits.errors import CloudError

if TYPE_CHECKING:
    from fruits.cloud.inventory import Inventory, Item


def add_cloud(
    commands: Any, add_run_options: Callable[..., None], defaults: Mapping[str, object]
) -> None:
    """Adds ``fruits cloud`` to the commands of ``fruits``.

    Args:
        commands: The result of ``add_subparsers``.
        add_run_options: A function that adds the options of ``fruits run`` to a parser.
        defaults: The defaults of these options.
    """
    cloud = commands.add_parser(
        "cloud",
        help="run the package on AWS: upload, launch, submit, logs, status, tunnel, terminate",
    )
    cloud.set_defaults(parser=cloud)
    actions = cloud.add_subparsers(metavar="COMMAND")

    def action(name: str, function: Callable[..., None], help: str, named: bool = True) -> Any:
        parser = actions.add_parser(name, help=help)
        parser.set_defaults(command=function, parser=parser)
        parser.add_argument("--region", help="AWS region; default: that of the environment")
        if named:
            parser.add_argument("--name", default="fruits", help="name of the stack (%(default)s)")
        return parser

    upload = action("upload", _upload, "upload a folder to S3", named=False)
    upload.add_argument("folder", help="folder to upload, with its subfolders")
    upload.add_argument("uri", metavar="URI", help="destination: s3://bucket/prefix")

    launch = action(
        "launch",
        _launch,
        "create a stack, or change an existing stack of emr or app; asks for confirmation",
    )
    add_launch_options(launch)

    submit = action("submit", _submit, "run the package on a stack")
    submit.add_argument(
        "--deploy-mode",
        choices=("cluster", "client"),
        default="cluster",
        help="deploy mode of Spark's driver on EMR (%(default)s)",
    )
    add_run_options(submit)
    submit.set_defaults(run_defaults=defaults)

    status = action("status", _status, "list everything that costs money", named=False)
    status.add_argument("--json", action="store_true", dest="as_json", help="print JSON")

    logs = action("logs", _logs, "show the state and the output of a job")
    logs.add_argument("--job", help="job, as printed by submit; default: the last one")
    logs.add_argument(
        "--lines", type=int, default=50, help="number of lines of each file (%(default)s)"
    )

    tunnel = action("tunnel", _tunnel, "show how to reach JupyterLab and Spark's pages")
    tunnel.add_argument(
        "--page", help="page to show: notebook, master, history or yarn; default: all"
    )
    tunnel.add_argument("-i", "--identity", metavar="FILE", help="private key for SSH")
    tunnel.add_argument("--open", action="store_true", dest="opens", help="run the commands")

    terminate = action("terminate", _terminate, "delete a stack; the bucket stays")
    terminate.add_argument("--yes", action="store_true", help="do not ask for confirmation")


def ask(question: str, yes: bool) -> None:
    """Asks the user before money is spent or something is deleted.

    Raises:
        CloudError: The answer is not yes, or there is no terminal.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise CloudError(f"{question}: wanted a terminal to confirm; in a script, add --yes")
    try:
        answer = input(f"{question}? [y/N] ")
    except EOFError:
        answer = ""
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"{question}: interrupted; nothing was done") from None
    if answer.strip().lower() not in ("y", "yes"):
        raise CloudError(f"{question}: the answer was not yes; nothing was done")


def _upload(region: str | None, folder: str, uri: str) -> None:
    from fruits.cloud.account import Account
    from fruits.cloud.upload import upload

    try:
        done = upload(Account.of(region), folder, uri)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"{uri}: interrupted; the same command continues where it stopped"
        ) from None
    print(
        f"{done.sent:,} files sent ({done.bytes / 1e6:,.1f} MB), "
        f"{done.there:,} were there already: {uri}"
    )


def _launch(
    region: str | None,
    name: str,
    architecture: str,
    template: str | None,
    wheels: str | None,
    versioning: bool,
    yes: bool,
    **options: Any,
) -> None:
    from fruits.cloud.account import Account
    from fruits.cloud.failures import printable
    from fruits.cloud.launch import launch
    from fruits.cloud.proposal import propose

    given = given_parameters(architecture, options)
    account = Account.of(region)
    proposal = propose(account, architecture, name, given, template, wheels, versioning)
    if proposal.is_launched:
        print(f"stack {name} exists with these parameters; it is not changed")
        if proposal.bucket and proposal.enables_versioning:
            bucket = proposal.parameters["Bucket"]
            print(
                "versioning is off, so a job can destroy results; to turn it on: aws s3api "
                f"put-bucket-versioning --bucket {bucket} --versioning-configuration Status=Enabled"
            )
        return
    print(proposal.text(), flush=True)
    ask("launch", yes)
    try:
        stack = launch(account, proposal)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"stack {name}: interrupted; AWS continues to create it, and it costs money: see "
            f"fruits cloud status, and fruits cloud terminate --name {name}"
        ) from None
    print(f"stack {name} is {stack.status}")
    for key, value in filter(all, stack.outputs.items()):
        print(printable(f"  {key:16} {value}"))
    if architecture == "emr" and not stack.outputs.get("ClusterId"):
        print("there is no cluster yet: launch again with --wheels, see deploy/emr/wheels.sh")
    if architecture == "app":
        print(
            "add a CNAME or alias to your DNS that points the name of the certificate to the "
            "load balancer"
        )


def _submit(
    region: str | None,
    name: str,
    deploy_mode: str,
    run_defaults: Mapping[str, object],
    **options: Any,
) -> None:
    from fruits.cloud import jobs
    from fruits.cloud.account import Account
    from fruits.cloud.stacks import checked_name, require
    from fruits.runs.config import RunConfig

    RunConfig(**options)
    account = Account.of(region)
    stack = require(account, checked_name(name))
    changed = {n: value for n, value in options.items() if value != run_defaults.get(n)}
    job = jobs.submit(account, stack, changed, deploy_mode)
    print(f"{job} is submitted; to see its output: fruits cloud logs --name {name} --job {job}")


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
    if found.not_seen:
        raise CloudError(
            f"some items could not be listed, and may cost money: {'; '.join(found.not_seen)}"
        )


def _table(found: "Inventory", region: str, terms: str) -> str:
    from fruits.cloud.costs import amount
    from fruits.cloud.failures import printable

    if not found.items:
        # This is certain only if everything could be listed.
        return "" if found.not_seen else f"fruits cloud has created nothing in {region}"
    lines = [f"{'':9} {'in ' + region:24} {'stack':14} {'state':16} {'age':>8} {'an hour':>8}"]
    lines += [
        f"{item.kind:9} {item.name:24} {item.stack:14} {item.state:16} {_age(item):>8} "
        f"{_price(item):>8}  {item.detail}".rstrip()
        for item in found.items
    ]
    lines.append(f"{amount(found.dollars)} an hour, without the items marked ? ({terms})")
    return printable("\n".join(lines))


def _age(item: "Item") -> str:
    if item.hours is None:
        return ""
    return f"{item.hours:.1f} h" if item.hours < 48 else f"{item.hours / 24:.0f} d"


def _price(item: "Item") -> str:
    from fruits.cloud.costs import amount

    if item.dollars is None:
        return "?"
    return amount(item.dollars) if item.dollars else "-"


def _logs(region: str | None, name: str, job: str | None, lines: int) -> None:
    from fruits.cloud import logs
    from fruits.cloud.account import Account
    from fruits.cloud.stacks import checked_name, require

    account = Account.of(region)
    print(logs.logs(account, require(account, checked_name(name)), job, lines))


def _tunnel(
    region: str | None, name: str, page: str | None, identity: str | None, opens: bool
) -> None:
    from fruits.cloud import tunnel
    from fruits.cloud.account import Account
    from fruits.cloud.stacks import checked_name, require

    account = Account.of(region)
    way = tunnel.tunnel(account, require(account, checked_name(name)), page, identity)
    print(way.text(), flush=True)
    if opens and (status := tunnel.open_tunnel(way)):
        raise CloudError(f"tunnel: it ended with status {status}; its messages are above")


def _terminate(region: str | None, name: str, yes: bool) -> None:
    from fruits.cloud.account import Account
    from fruits.cloud.terminate import plan_termination, remaining, terminate

    account = Account.of(region)
    stack, text = plan_termination(account, name)
    print(text, flush=True)
    ask("terminate", yes)
    try:
        terminate(account, stack)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"stack {name}: interrupted; AWS continues to delete it: see fruits cloud status"
        ) from None
    print(remaining(account, stack))
