"""The permissions of the stacks' roles, and the resources of created stacks."""

import json
from typing import Any

import boto3
import pytest
from evaluator import allows as evaluate
from stacks import NAMES, SSH, create, group_template, load, resources, role_policies, roles

REGION, ACCOUNT = "us-east-1", "123456789012"
BUCKET = "arn:aws:s3:::{}-bucket"
EC2 = f"arn:aws:ec2:{REGION}:{ACCOUNT}"


def allows(given: list[dict[str, Any]], action: str, resource: str = "*", **context: Any) -> bool:
    """Whether a role may make a call in the account of the tests."""
    return evaluate(given, action, resource, **{"aws__ResourceAccount": ACCOUNT, **context})


@pytest.fixture(scope="module")
def outputs(aws: str) -> dict[str, dict[str, str]]:
    return {name: create(name, name) for name in NAMES}


@pytest.fixture(scope="module")
def policies(outputs: dict[str, dict[str, str]]) -> dict[str, list[dict[str, Any]]]:
    """The policies in IAM, by role, such as ``ec2-cluster.WorkerRole``."""
    return {
        f"{name}.{role}": role_policies(real)
        for name in NAMES
        for role, real in roles(name).items()
    }


MACHINES = {
    "ec2-single.Role": "ec2-single",
    "ec2-cluster.MasterRole": "ec2-cluster",
    "ec2-cluster.WorkerRole": "ec2-cluster",
    "emr.InstanceRole": "emr",
}

# The calls of boto3, s3fs and S3A in a run, for objects below the prefix, or for the prefix.
WORK = ("s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload")


@pytest.mark.parametrize("role", MACHINES)
def test_machines_work_in_their_prefix_and_nowhere_else(
    policies: dict[str, list[dict[str, Any]]], role: str
) -> None:
    given, bucket = policies[role], BUCKET.format(MACHINES[role])
    for action in WORK:
        assert allows(given, action, f"{bucket}/fruits/results/pca.csv")
        assert not allows(given, action, f"{bucket}/other/results/pca.csv")
        assert not allows(given, action, f"{bucket}/fruits-of-others/x")
        assert not allows(given, action, "arn:aws:s3:::another-bucket/fruits/results/pca.csv")
    for prefix in ("fruits", "fruits/", "fruits/images/Apple"):
        assert allows(given, "s3:ListBucket", bucket, s3__prefix=prefix)
    for prefix in ("", "other/", "fruits-of-others/"):
        assert not allows(given, "s3:ListBucket", bucket, s3__prefix=prefix)
    assert not allows(given, "s3:ListBucket", bucket)
    assert not allows(given, "s3:ListBucket", "arn:aws:s3:::another-bucket", s3__prefix="fruits/")


# A policy that an administrator may later attach to a role.
ANYTHING = {"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


@pytest.mark.parametrize("role", MACHINES)
def test_no_machine_writes_what_machines_execute_whatever_else_it_may_do(
    policies: dict[str, list[dict[str, Any]]], role: str
) -> None:
    software = f"{BUCKET.format(MACHINES[role])}/software"
    keys = ("bootstrap-0123.sh", "0123/requirements.txt", "0123/fruits-1-py3.whl", "tls.zip")
    for given in (policies[role], [*policies[role], ANYTHING]):
        for key in keys:
            for action in ("s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion"):
                assert not allows(given, action, f"{software}/{key}"), (action, key)
        # The permissions for the role's own prefix are not enough either.
        assert allows(given, "s3:PutObject", software.replace("/software", "/fruits/software/x"))


@pytest.mark.parametrize("role", MACHINES)
def test_no_machine_destroys_old_versions_whatever_else_it_may_do(
    policies: dict[str, list[dict[str, Any]]], role: str
) -> None:
    bucket = BUCKET.format(MACHINES[role])
    for given in (policies[role], [*policies[role], ANYTHING]):
        for action in (
            *("s3:PutBucketVersioning", "s3:PutLifecycleConfiguration", "s3:DeleteBucket"),
            *("s3:PutBucketPolicy", "s3:DeleteBucketPolicy"),
        ):
            assert not allows(given, action, bucket), action
        assert not allows(given, "s3:DeleteObjectVersion", f"{bucket}/fruits/results/pca.csv")


def test_nodes_of_emr_read_what_they_install_and_hosts_of_ec2_have_nothing_there(
    policies: dict[str, list[dict[str, Any]]],
) -> None:
    for role, name in MACHINES.items():
        given, bucket = policies[role], BUCKET.format(name)
        reads = name == "emr"
        assert allows(given, "s3:GetObject", f"{bucket}/software/bootstrap-01.sh") == reads
        listing = {"s3__prefix": "software/0123/"}
        assert allows(given, "s3:ListBucket", bucket, **listing) == reads
        assert not allows(given, "s3:GetObject", f"{bucket}/software-of-others/x")


@pytest.mark.parametrize("role", MACHINES)
def test_a_bucket_of_that_name_in_another_account_is_not_used(
    policies: dict[str, list[dict[str, Any]]], role: str
) -> None:
    bucket = BUCKET.format(MACHINES[role])
    theirs = {"aws__ResourceAccount": "210987654321"}
    for action in WORK:
        assert not allows(policies[role], action, f"{bucket}/fruits/results/pca.csv", **theirs)
    for prefix in ("fruits/", "software/0123/"):
        listing = {"s3__prefix": prefix, **theirs}
        assert not allows(policies[role], "s3:ListBucket", bucket, **listing)
    for action in ("s3:GetBucketLocation", "s3:ListBucketMultipartUploads"):
        assert allows(policies[role], action, bucket)
        assert not allows(policies[role], action, bucket, **theirs)


@pytest.mark.parametrize("role", MACHINES)
def test_machines_cannot_change_the_bucket_nor_the_account(
    policies: dict[str, list[dict[str, Any]]], role: str
) -> None:
    given, bucket = policies[role], BUCKET.format(MACHINES[role])
    for action in (
        *("s3:DeleteBucket", "s3:PutBucketPolicy", "s3:PutBucketPublicAccessBlock"),
        *("s3:PutLifecycleConfiguration", "s3:PutEncryptionConfiguration", "s3:PutBucketAcl"),
    ):
        assert not allows(given, action, bucket)
    assert not allows(given, "s3:PutObjectAcl", f"{bucket}/fruits/x")
    for action in (
        *("s3:ListAllMyBuckets", "iam:PassRole", "iam:CreateRole", "sts:AssumeRole"),
        *("ec2:RunInstances", "ec2:TerminateInstances", "ec2:DescribeInstances"),
        *("ssm:GetParameter", "ssm:SendCommand", "ssm:StartSession"),
        *("elasticmapreduce:RunJobFlow", "cloudformation:UpdateStack", "kms:CreateGrant"),
        *("kms:ScheduleKeyDeletion", "secretsmanager:ListSecrets", "logs:PutLogEvents"),
    ):
        assert not allows(given, action, "*"), action
        assert not allows(given, action, f"arn:aws:x:{REGION}:{ACCOUNT}:y/z"), action


@pytest.mark.parametrize("role", MACHINES)
def test_sessions_are_answered(policies: dict[str, list[dict[str, Any]]], role: str) -> None:
    for action in ("ssm:UpdateInstanceInformation", "ssmmessages:OpenDataChannel"):
        assert allows(policies[role], action)


def test_the_secret_is_read_by_the_cluster_and_only_its_own(
    policies: dict[str, list[dict[str, Any]]],
) -> None:
    made = boto3.client("cloudformation").describe_stacks(StackName="ec2-cluster")["Stacks"][0]
    identity = made["StackId"].split("/")[2]
    secrets = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret"
    read = "secretsmanager:GetSecretValue"
    for role in ("ec2-cluster.MasterRole", "ec2-cluster.WorkerRole"):
        assert allows(policies[role], read, f"{secrets}:fruits-{identity}-aB3dE6")
        assert not allows(policies[role], read, f"{secrets}:fruits-{identity}-longer-aB3dE6")
        assert not allows(policies[role], read, f"{secrets}:fruits-another-aB3dE6")
        for action in ("PutSecretValue", "DeleteSecret", "UpdateSecret"):
            secret = f"{secrets}:fruits-{identity}-aB3dE6"
            assert not allows(policies[role], f"secretsmanager:{action}", secret)
    assert not allows(policies["ec2-single.Role"], read, f"{secrets}:fruits-{identity}-aB3dE6")


def test_the_master_ends_its_workers_and_a_worker_says_it_is_done(
    policies: dict[str, list[dict[str, Any]]], outputs: dict[str, dict[str, str]]
) -> None:
    groups = boto3.client("autoscaling").describe_auto_scaling_groups(
        AutoScalingGroupNames=[outputs["ec2-cluster"]["WorkerGroup"]]
    )
    ours = groups["AutoScalingGroups"][0]["AutoScalingGroupARN"]
    another = ours.replace("ec2-cluster-workers", "web")
    size, done = "autoscaling:SetDesiredCapacity", "autoscaling:CompleteLifecycleAction"
    master, worker = policies["ec2-cluster.MasterRole"], policies["ec2-cluster.WorkerRole"]
    assert allows(master, size, ours)
    assert not allows(master, size, another)
    assert allows(worker, done, ours)
    assert not allows(worker, done, another)
    assert not allows(worker, size, ours)
    assert not allows(master, "autoscaling:DeleteAutoScalingGroup", ours)


def test_emr_makes_machines_in_its_subnet_with_its_tag_and_ends_no_others(
    policies: dict[str, list[dict[str, Any]]],
) -> None:
    service = policies["emr.ServiceRole"]
    subnet = boto3.client("ec2").describe_subnets()["Subnets"][0]["SubnetId"]
    run, end = "ec2:RunInstances", "ec2:TerminateInstances"
    ours: dict[str, Any] = {"aws:RequestTag/fruits:cluster": "emr"}
    theirs: dict[str, Any] = {"aws:RequestTag/fruits:cluster": "web"}
    assert allows(service, run, f"{EC2}:subnet/{subnet}")
    assert not allows(service, run, f"{EC2}:subnet/subnet-1")
    assert not allows(service, run, f"{EC2}:security-group/sg-1")
    assert allows(service, run, f"{EC2}:instance/i-1", **ours)
    assert not allows(service, run, f"{EC2}:instance/i-1", **theirs)
    assert not allows(service, run, f"{EC2}:instance/i-1")
    tagged: dict[str, Any] = {"aws:ResourceTag/fruits:cluster": "emr"}
    assert allows(service, end, f"{EC2}:instance/i-1", **tagged)
    assert not allows(service, end, f"{EC2}:instance/i-1")
    # Existing resources cannot be tagged.
    assert not allows(service, "ec2:CreateTags", f"{EC2}:instance/i-1")
    created: dict[str, Any] = {"ec2:CreateAction": "RunInstances"}
    assert allows(service, "ec2:CreateTags", f"{EC2}:instance/i-1", **created)


def test_emr_passes_the_nodes_role_to_machines_and_no_other(
    policies: dict[str, list[dict[str, Any]]],
) -> None:
    service, nodes = policies["emr.ServiceRole"], roles("emr")["InstanceRole"]
    to_ec2: dict[str, Any] = {"iam:PassedToService": "ec2.amazonaws.com"}
    to_lambda: dict[str, Any] = {"iam:PassedToService": "lambda.amazonaws.com"}
    found = f"arn:aws:iam::{ACCOUNT}:role"
    assert allows(service, "iam:PassRole", f"{found}/{nodes}", **to_ec2)
    assert not allows(service, "iam:PassRole", f"{found}/{nodes}", **to_lambda)
    assert not allows(service, "iam:PassRole", f"{found}/Admin", **to_ec2)
    assert not allows(service, "s3:GetObject", "arn:aws:s3:::emr-bucket/fruits/x")


def test_images_are_pulled_from_the_one_repository_that_is_named(aws: str) -> None:
    create("ec2-single", "pull", EcrRepository="team/fruits")
    given = role_policies(roles("pull")["Role"])
    repository = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository"
    assert allows(given, "ecr:GetAuthorizationToken")
    assert allows(given, "ecr:BatchGetImage", f"{repository}/team/fruits")
    assert not allows(given, "ecr:BatchGetImage", f"{repository}/team/fruits2")
    assert not allows(given, "ecr:PutImage", f"{repository}/team/fruits")


# ---- The stacks themselves


@pytest.mark.parametrize("name", NAMES)
def test_the_bucket_is_encrypted_and_is_reached_by_tls_only(
    outputs: dict[str, dict[str, str]], name: str
) -> None:
    s3, bucket = boto3.client("s3"), outputs[name]["Bucket"]
    (rule,) = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    # moto does not create bucket policies from templates, so the test does it.
    (written,) = resources(load(name), "AWS::S3::BucketPolicy").values()
    text = json.dumps(written["PolicyDocument"]).replace("${AWS::Partition}", "aws")
    policy = json.loads(text.replace("${Bucket}", bucket), object_hook=without_sub)
    anybody = {"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    here = f"arn:aws:s3:::{bucket}"
    for resource in (here, f"{here}/fruits/x"):
        plain = {"aws__SecureTransport": "false"}
        assert not allows([policy, anybody], "s3:GetObject", resource, **plain)
        tls = {"aws__SecureTransport": "true"}
        assert allows([policy, anybody], "s3:GetObject", resource, **tls)


@pytest.mark.parametrize("name", NAMES)
def test_without_a_range_no_group_lets_an_address_in(
    outputs: dict[str, dict[str, str]], name: str
) -> None:
    assert outputs[name]["AccessMode"] == "ssm"
    rules = [rule for group in groups(name) for rule in group["IpPermissions"]]
    assert not [rule for rule in rules if rule["IpRanges"] or rule["Ipv6Ranges"]]


@pytest.mark.parametrize("name", NAMES)
def test_with_a_range_ssh_is_let_in_from_it_and_nothing_else(aws: str, name: str) -> None:
    stack = f"{name}-ssh"
    assert create(name, stack, **SSH)["AccessMode"] == "ssh"
    rules = [rule for group in groups(stack) for rule in group["IpPermissions"]]
    (ssh,) = [rule for rule in rules if rule["IpRanges"]]
    assert (ssh["FromPort"], ssh["ToPort"]) == (22, 22)
    assert [r["CidrIp"] for r in ssh["IpRanges"]] == [SSH["SshCidr"]]
    assert not [rule for rule in rules if rule["Ipv6Ranges"]]


def test_workers_start_by_their_template(outputs: dict[str, dict[str, str]]) -> None:
    launch = group_template(outputs["ec2-cluster"]["WorkerGroup"])
    assert launch["MetadataOptions"]["HttpTokens"] == "required"
    assert launch["MetadataOptions"]["HttpPutResponseHopLimit"] == 2
    assert launch["InstanceType"] == "m5.xlarge"
    (disk,) = launch["BlockDeviceMappings"]
    assert disk["Ebs"]["Encrypted"] in (True, "true")


def test_graviton_gets_an_image_of_its_architecture(aws: str) -> None:
    images = {}
    for kind in ("m7i.xlarge", "m7g.xlarge"):
        outputs = create("ec2-single", f"type-{kind[:3]}", InstanceType=kind)
        found = boto3.client("ec2").describe_instances(InstanceIds=[outputs["InstanceId"]])
        images[kind] = found["Reservations"][0]["Instances"][0]["ImageId"]
    for kind, letter in (("m7i.xlarge", "x86_64"), ("m7g.xlarge", "arm64")):
        parameter = f"/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-{letter}"
        wanted = boto3.client("ssm").get_parameter(Name=parameter)["Parameter"]["Value"]
        assert images[kind] == wanted
    assert images["m7i.xlarge"] != images["m7g.xlarge"]


def test_the_emr_cluster_is_the_one_of_the_template(outputs: dict[str, dict[str, str]]) -> None:
    emr = boto3.client("emr")
    cluster = emr.describe_cluster(ClusterId=outputs["emr"]["ClusterId"])["Cluster"]
    assert cluster["ReleaseLabel"] == "emr-spark-8.1.0"
    assert cluster["LogUri"] == "s3://emr-bucket/fruits/emr/logs/"
    assert {"Key": "fruits:cluster", "Value": "emr"} in cluster["Tags"]


def test_without_wheels_there_is_a_bucket_and_no_cluster_and_with_them_the_cluster_comes(
    aws: str,
) -> None:
    outputs = create("emr", "two-steps", WheelsSha256="")
    assert "ClusterId" not in outputs
    boto3.client("s3").head_bucket(Bucket="two-steps-bucket")


def test_the_bucket_stays_when_the_stack_goes(aws: str) -> None:
    create("ec2-single", "gone")
    boto3.client("s3").put_object(Bucket="gone-bucket", Key="fruits/pca.csv", Body=b"x")
    boto3.client("cloudformation").delete_stack(StackName="gone")
    assert boto3.client("s3").head_object(Bucket="gone-bucket", Key="fruits/pca.csv")


def without_sub(node: dict[str, Any]) -> Any:
    return node["Fn::Sub"] if node.keys() == {"Fn::Sub"} else node


def groups(stack: str) -> list[dict[str, Any]]:
    """The security groups of a stack."""
    found = boto3.client("cloudformation").list_stack_resources(StackName=stack)
    names = [
        resource["PhysicalResourceId"]
        for resource in found["StackResourceSummaries"]
        if resource["ResourceType"] == "AWS::EC2::SecurityGroup"
    ]
    assert names
    ec2 = boto3.client("ec2")
    return [dict(group) for group in ec2.describe_security_groups(GroupIds=names)["SecurityGroups"]]
