"""The default network of the account, for stacks without another network."""

from collections.abc import Collection
from typing import Any

from fruits.cloud.account import Account
from fruits.cloud.failures import aws_errors
from fruits.errors import CloudError


def choose_network(account: Account, given: dict[str, str], known: Collection[str]) -> None:
    """Adds the default VPC and its default subnets, if none are given.

    Args:
        account: The account.
        given: The values of parameters, to which the network is added.
        known: The parameters of the template.

    Raises:
        CloudError: There is no default network.
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
        # Tasks in a public subnet need a public address to use its internet gateway.
        given.setdefault("AssignPublicIp", "ENABLED")


def _default_subnets(account: Account, given: dict[str, str]) -> list[dict[str, Any]]:
    """The default subnets of the VPC, sorted by zone; adds the default VPC if none is given."""
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
