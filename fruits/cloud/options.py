"""The options of ``fruits cloud launch``, and the parameters of the templates that they set."""

import argparse
from collections.abc import Mapping
from typing import Any

from fruits.errors import ConfigError

ARCHITECTURES = ("single", "cluster", "emr", "app")
PARAMETERS = {
    "bucket": ("Bucket", "S3 bucket for photographs and results; made if it does not exist"),
    "prefix": ("Prefix", "the only folder of the bucket that the stack may use"),
    "image": ("Image", "of the containers, in a registry that the hosts can reach"),
    "instance_type": ("InstanceType", "of all hosts"),
    "workers": ("Workers", "number of workers"),
    "key_name": ("KeyName", "EC2 key pair for SSH"),
    "ssh_cidr": ("SshCidr", "addresses that may use SSH, such as 203.0.113.7/32; default: none"),
    "vpc": ("VpcId", "default: the account's default VPC"),
    "subnet": ("SubnetId", "default: a default subnet of the VPC; app: two or more, with commas"),
    "release_label": ("ReleaseLabel", "release of EMR"),
    "model": ("Model", "app: the output of a run in S3, such as s3://my-fruits/fruits/out"),
    "certificate": ("CertificateArn", "app: ARN of the certificate for HTTPS, in ACM"),
    "token_secret": ("TokenArn", "app: ARN of a secret with the token; default: no token"),
    "tasks": ("Tasks", "app: number of tasks that always run"),
    "max_tasks": ("MaxTasks", "app: number of tasks at most"),
}
SWITCHES = {
    "spot": ("Spot", "Spot workers"),
    "waf": ("Waf", "app: limit the requests of each address with AWS WAF"),
}


def add_launch_options(launch: argparse.ArgumentParser) -> None:
    """Adds the options of ``fruits cloud launch`` to its parser."""
    launch.add_argument("architecture", choices=ARCHITECTURES)
    for option, (_, help_) in PARAMETERS.items():
        launch.add_argument("--" + option.replace("_", "-"), help=help_)
    for option, (_, help_) in SWITCHES.items():
        launch.add_argument(f"--{option}", action=argparse.BooleanOptionalAction, help=help_)
    launch.add_argument("--wheels", metavar="DIR", help="made by deploy/emr/wheels.sh, for EMR")
    launch.add_argument(
        "--versioning",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="turn on versioning in a bucket that exists, so that a job cannot destroy results",
    )
    launch.add_argument(
        "-p",
        "--parameter",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any parameter of the template",
    )
    launch.add_argument("--template", metavar="FILE", help="to use instead of the package's own")
    launch.add_argument("--yes", action="store_true", help="do not ask")


def given_parameters(architecture: str, options: Mapping[str, Any]) -> dict[str, str]:
    """The values of a template's parameters that the options name.

    Args:
        architecture: one of :data:`ARCHITECTURES`.
        options: by name, ``None`` where one was not given; ``parameter`` has the texts of ``-p``.

    Raises:
        ConfigError: a text of ``-p`` is not NAME=VALUE.
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
