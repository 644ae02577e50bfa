"""The templates of deploy/: their files, parameters and resources."""

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
# The key in the Metadata of our templates whose value is the architecture.
IDENTITY = "FruitsArchitecture"
# The maximum size of a template for CloudFormation.
MOST_BYTES = 51_200


def template(architecture: str, file: str | None = None) -> str:
    """The text of a template.

    Args:
        architecture: A key of :data:`TEMPLATES`.
        file: The path of a template, or ``None`` for that of the package.

    Raises:
        CloudError: It does not exist, or is too long.
    """
    path = Path(file) if file else deploy_folder() / TEMPLATES[architecture]
    try:
        body = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise CloudError(
            f"template: wanted {path}; {error}; give the file with --template: it is in the folder "
            "deploy of the source"
        ) from None
    if len(body.encode()) > MOST_BYTES:
        raise CloudError(f"{path}: wanted at most {MOST_BYTES:,} bytes; got {len(body):,}")
    return body


def deploy_folder() -> Path:
    """The folder of the templates and of EMR's bootstrap, in a checkout or as installed."""
    checkout = Path(fruits.__file__).parents[1] / "deploy"
    if (checkout / TEMPLATES["single"]).exists():
        return checkout
    return Path(sysconfig.get_path("data")) / "share" / "fruits" / "deploy"


@dataclass(frozen=True)
class Summary:
    """The parameters and resources of a template.

    Attributes:
        architecture: The architecture in its metadata; empty if it is no template of this tool.
        defaults: The defaults by parameter; ``None`` if a value must be given.
        resources: The maximum number of resources of each type.
    """

    architecture: str
    defaults: Mapping[str, str | None]
    resources: Mapping[str, int]


def summarize(account: Account, body: str) -> Summary:
    """The parameters and resources of a template, from CloudFormation."""
    with aws_errors("template"):
        return _summary(account.client("cloudformation").get_template_summary(TemplateBody=body))


def summarize_stack(account: Account, stack_id: str) -> Summary:
    """The parameters and resources of a stack's current template."""
    with aws_errors(f"stack {stack_id}"):
        return _summary(account.client("cloudformation").get_template_summary(StackName=stack_id))


def _summary(answer: Mapping[str, Any]) -> Summary:
    return Summary(
        _architecture(answer.get("Metadata") or ""),
        {p["ParameterKey"]: p.get("DefaultValue") for p in answer.get("Parameters", ())},
        Counter(answer.get("ResourceTypes", ())),
    )


def _architecture(metadata: str) -> str:
    """The architecture in the metadata of a template, or an empty text."""
    # AWS returns JSON; moto returns the text of a Python dictionary.
    found = re.search(rf"""["']{IDENTITY}["']: ?["'](\w+)["']""", metadata)
    return found.group(1) if found else ""
