"""The account's default network, for stacks that are given none."""

from collections.abc import Collection
from typing import Any

from fruits.cloud.account import Account
from fruits.cloud.failures import aws_errors
from fruits.errors import CloudError


def choose_network(account: Account, given: dict[str, str], known: Collection[str]) -> None:
    """Adds the default VPC and its default subnets, where none is given.

    Args:
        account: where.
        given: values of parameters, which are added to.
        known: the parameters of the template.

    Raises:
        CloudError: there is no default network.
    """
    if {"VpcId", "SubnetId"} <= set(known) and "SubnetId" not in given:
        given["SubnetId"] = _default_subnets(account, given)[0]["SubnetId"]
    if "PublicSubnets" in known:
        _choose_application_network(account, given)


def _choose_application_network(account: Account, given: dict[str, str]) -> None:
    if "PublicSubnets" not in given:
        subnets = _default_subnets(account, given)
        if len({subnet["AvailabilityZone"] for subnet in subnets}) < 2:
            raise CloudError(
                f"network: wanted default subnets in two zones; {given['VpcId']} has one; give "
                "--vpc and --subnet"
            )
        given["PublicSubnets"] = ",".join(subnet["SubnetId"] for subnet in subnets)
    given.setdefault("TaskSubnets", given["PublicSubnets"])
    if given["TaskSubnets"] == given["PublicSubnets"]:
        # The way out of a public subnet is an internet gateway, which needs a public address.
        given.setdefault("AssignPublicIp", "ENABLED")


def _default_subnets(account: Account, given: dict[str, str]) -> list[dict[str, Any]]:
    """The default subnets of the VPC, which is added if it is missing, by zone."""
    ec2 = account.client("ec2")
    with aws_errors("network"):
        if "VpcId" not in given:
            found = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
            if not found:
                raise CloudError(
                    f"network: {account.region} has no default VPC; give --vpc and --subnet"
                )
            given["VpcId"] = found[0]["VpcId"]
        filters = [
            {"Name": "vpc-id", "Values": [given["VpcId"]]},
            {"Name": "default-for-az", "Values": ["true"]},
        ]
        subnets = ec2.describe_subnets(Filters=filters)["Subnets"]
    if not subnets:
        raise CloudError(f"network: {given['VpcId']} has no default subnet; give --subnet")
    return sorted(subnets, key=lambda subnet: str(subnet["AvailabilityZone"]))
