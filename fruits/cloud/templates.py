"""The templates of deploy/: where they are, what they ask for, and how they are recognised."""

import re
import sysconfig
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fruits
from fruits.cloud.account import Account
from fruits.cloud.failures import aws_errors
from fruits.errors import CloudError

TEMPLATES = {
    "single": "ec2-single.yaml",
    "cluster": "ec2-cluster.yaml",
    "emr": "emr.yaml",
    "app": "app.yaml",
}
# The key in a template's Metadata by which it says that it is ours, and which architecture it is.
IDENTITY = "FruitsArchitecture"
# What CloudFormation accepts as the text of a template.
MOST_BYTES = 51_200


def template(architecture: str, file: str | None = None) -> str:
    """The text of a template.

    Args:
        architecture: a key of :data:`TEMPLATES`.
        file: its path, or ``None`` for the template that comes with the package.

    Raises:
        CloudError: when it does not exist, or is too long.
    """
    path = Path(file) if file else deploy_folder() / TEMPLATES[architecture]
    try:
        body = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise CloudError(
            f"template: wanted {path}; {error}; name the file with --template: it is in the folder "
            "deploy of the source"
        ) from None
    if len(body.encode()) > MOST_BYTES:
        raise CloudError(f"{path}: wanted {MOST_BYTES:,} bytes at most; there are {len(body):,}")
    return body


def deploy_folder() -> Path:
    """The folder of the templates and of EMR's bootstrap: of the checkout, or as installed."""
    checkout = Path(fruits.__file__).parents[1] / "deploy"
    if (checkout / TEMPLATES["single"]).exists():
        return checkout
    return Path(sysconfig.get_path("data")) / "share" / "fruits" / "deploy"


@dataclass(frozen=True)
class Summary:
    """The parameters and resources of a template.

    Attributes:
        architecture: that its metadata names; empty if it is not a template of this tool.
        defaults: by parameter; ``None`` where a value must be given.
        resources: the largest number of each type.
    """

    architecture: str
    defaults: Mapping[str, str | None]
    resources: Mapping[str, int]


def summarize(account: Account, body: str) -> Summary:
    """The parameters and resources of a template, as CloudFormation reads it."""
    with aws_errors("template"):
        return _summary(account.client("cloudformation").get_template_summary(TemplateBody=body))


def summarize_stack(account: Account, stack_id: str) -> Summary:
    """The same of the template that a stack has now."""
    with aws_errors(f"stack {stack_id}"):
        return _summary(account.client("cloudformation").get_template_summary(StackName=stack_id))


def _summary(answer: Mapping[str, Any]) -> Summary:
    return Summary(
        _architecture(answer.get("Metadata") or ""),
        {p["ParameterKey"]: p.get("DefaultValue") for p in answer.get("Parameters", ())},
        Counter(answer.get("ResourceTypes", ())),
    )


def _architecture(metadata: str) -> str:
    """The architecture that the metadata of a template names, or nothing."""
    # AWS gives JSON, stand-ins for it Python's notation.
    found = re.search(rf"""["']{IDENTITY}["']: ?["'](\w+)["']""", metadata)
    return found.group(1) if found else ""
