"""Reads the templates of deploy/, creates stacks from them, and reads the resulting resources."""

import ast
import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
from cfnlint.decode import cfn_yaml

ROOT = Path(__file__).parent.parent.parent
NAMES = ("ec2-single", "ec2-cluster", "emr")

# The parameters without a default, except those of the network; and those for an EMR cluster.
NEEDED = {
    "ec2-single": {"Image": "registry.example/fruits:1"},
    "ec2-cluster": {"Image": "registry.example/fruits:1"},
    "emr": {"WheelsSha256": "0" * 64, "BootstrapSha256": "1" * 64},
}
SSH = {"SshCidr": "203.0.113.7/32", "KeyName": "mine"}


def path(name: str) -> Path:
    return ROOT / "deploy" / f"{name}.yaml"


def load(name: str) -> dict[str, Any]:
    """A template as CloudFormation sees it: !Ref X is {"Ref": X}."""
    return dict(cfn_yaml.load(str(path(name))))


def resources(template: dict[str, Any], kind: str) -> dict[str, Any]:
    """The properties of all resources of a type."""
    return {
        name: resource["Properties"]
        for name, resource in template["Resources"].items()
        if resource["Type"] == kind
    }


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    """Every mapping in a value, in all branches of conditions."""
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from nodes(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from nodes(inner)


def statements(template: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every statement of every policy, with the name of its resource."""
    for name, resource in template["Resources"].items():
        for node in nodes(resource):
            if "Effect" in node:
                yield name, node


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def create(name: str, stack: str, **changes: str) -> dict[str, str]:
    """Creates a stack in the default network; returns its outputs."""
    ec2, cloudformation = boto3.client("ec2"), boto3.client("cloudformation")
    parameters = {
        "Bucket": f"{stack}-bucket",
        "VpcId": ec2.describe_vpcs()["Vpcs"][0]["VpcId"],
        "SubnetId": ec2.describe_subnets()["Subnets"][0]["SubnetId"],
        **NEEDED[name],
        **changes,
    }
    cloudformation.create_stack(
        StackName=stack,
        TemplateBody=path(name).read_text(),
        Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in parameters.items()],
        Capabilities=["CAPABILITY_IAM"],
    )
    made = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
    assert made["StackStatus"] == "CREATE_COMPLETE"
    return {o["OutputKey"]: o["OutputValue"] for o in made["Outputs"] if "OutputValue" in o}


def instance_script(instance: str) -> str:
    """The user data of an instance."""
    attribute = boto3.client("ec2").describe_instance_attribute(
        InstanceId=instance, Attribute="userData"
    )
    return decoded(attribute["UserData"]["Value"])


def group_template(group: str) -> dict[str, Any]:
    """The launch template of an Auto Scaling group."""
    made = boto3.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[group])
    policy = made["AutoScalingGroups"][0]["MixedInstancesPolicy"]["LaunchTemplate"]
    wanted = policy["LaunchTemplateSpecification"]
    versions = boto3.client("ec2").describe_launch_template_versions(
        LaunchTemplateId=wanted["LaunchTemplateId"], Versions=[wanted["Version"]]
    )
    return dict(versions["LaunchTemplateVersions"][0]["LaunchTemplateData"])


def decoded(text: str) -> str:
    """Decodes Base64; moto encodes some values twice."""
    plain = base64.b64decode(text).decode()
    return plain if plain.startswith("#!") else base64.b64decode(plain).decode()


def role_policies(role: str) -> list[dict[str, Any]]:
    """All policies of a role; none may be a managed policy, which its owner can change."""
    iam = boto3.client("iam")
    inline = [
        iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
        for name in iam.list_role_policies(RoleName=role)["PolicyNames"]
    ]
    assert not iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]
    # moto stores policies from CloudFormation as the text of Python objects.
    found = [ast.literal_eval(p) if isinstance(p, str) else p for p in inline]
    for statement in (node for policy in found for node in nodes(policy) if "Resource" in node):
        # None stands for AWS::NoValue.
        statement["Resource"] = [r for r in listed(statement["Resource"]) if r is not None]
    for policy in found:
        policy["Statement"] = [s for s in listed(policy["Statement"]) if s is not None]
    return found


def roles(stack: str) -> dict[str, str]:
    """The names of a stack's roles, by their names in the template."""
    found = boto3.client("cloudformation").list_stack_resources(StackName=stack)
    return {
        resource["LogicalResourceId"]: resource["PhysicalResourceId"]
        for resource in found["StackResourceSummaries"]
        if resource["ResourceType"] == "AWS::IAM::Role"
    }
