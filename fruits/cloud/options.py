"""The options of ``fruits cloud launch``, and the parameters of the templates that they set."""

import argparse
from collections.abc import Mapping
from typing import Any

from fruits.errors import ConfigError

ARCHITECTURES = ("single", "cluster", "emr", "app")
PARAMETERS = {
    "bucket": ("Bucket", "S3 bucket for photographs and results; created if it does not exist"),
    "prefix": ("Prefix", "the only folder of the bucket that the stack may use"),
    "image": ("Image", "container image, in a registry that the hosts can reach"),
    "instance_type": ("InstanceType", "instance type of all hosts"),
    "workers": ("Workers", "number of workers"),
    "key_name": ("KeyName", "EC2 key pair for SSH"),
    "ssh_cidr": (
        "SshCidr",
        "address range that may use SSH, such as 203.0.113.7/32; default: none",
    ),
    "vpc": ("VpcId", "VPC; default: the default VPC of the account"),
    "subnet": (
        "SubnetId",
        "subnet; default: a default subnet of the VPC; app: two or more, separated by commas",
    ),
    "release_label": ("ReleaseLabel", "release of EMR"),
    "model": ("Model", "app: the output of a run in S3, such as s3://my-fruits/fruits/out"),
    "certificate": ("CertificateArn", "app: ARN of the certificate for HTTPS, in ACM"),
    "token_secret": ("TokenArn", "app: ARN of a secret with the token; default: no token"),
    "tasks": ("Tasks", "app: minimum number of tasks"),
    "max_tasks": ("MaxTasks", "app: maximum number of tasks"),
}
SWITCHES = {
    "spot": ("Spot", "use Spot instances for the workers"),
    "waf": ("Waf", "app: limit the requests of each address with AWS WAF"),
}


def add_launch_options(launch: argparse.ArgumentParser) -> None:
    """Adds the options of ``fruits cloud launch`` to its parser."""
    launch.add_argument("architecture", choices=ARCHITECTURES)
    for option, (_, help_) in PARAMETERS.items():
        launch.add_argument("--" + option.replace("_", "-"), help=help_)
    for option, (_, help_) in SWITCHES.items():
        launch.add_argument(f"--{option}", action=argparse.BooleanOptionalAction, help=help_)
    launch.add_argument("--wheels", metavar="DIR", help="EMR: folder made by deploy/emr/wheels.sh")
    launch.add_argument(
        "--versioning",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="turn on versioning in an existing bucket, so that a job cannot destroy results",
    )
    launch.add_argument(
        "-p",
        "--parameter",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="set any parameter of the template",
    )
    launch.add_argument("--template", metavar="FILE", help="template to use instead of the default")
    launch.add_argument("--yes", action="store_true", help="do not ask for confirmation")


def given_parameters(architecture: str, options: Mapping[str, Any]) -> dict[str, str]:
    """The values of a template's parameters from the options.

    Args:
        architecture: One of :data:`ARCHITECTURES`.
        options: The options by name; ``None`` for options that are not given. ``parameter`` has
            the texts of ``-p``.

    Raises:
        ConfigError: A text of ``-p`` is not NAME=VALUE.
    """
    named = {name: options[option] for option, (name, _) in PARAMETERS.items()}
    given = {name: str(value) for name, value in named.items() if value is not None}
    for option, (name, _) in SWITCHES.items():
        if options[option] is not None:
            given[name] = str(options[option]).lower()
    if architecture == "app" and "SubnetId" in given:
        given["PublicSubnets"] = given["TaskSubnets"] = given.pop("SubnetId")
    for text in options["parameter"]:
        key, sign, value = text.partition("=")
        if not sign:
            raise ConfigError(f"parameter: wanted NAME=VALUE; got {text!r}")
        given[key] = value
    return given
