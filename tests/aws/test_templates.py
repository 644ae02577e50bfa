"""Checks of the templates for security and costs."""

import ipaddress
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from stacks import NAMES, listed, load, nodes, path, resources, statements

from fruits.cloud.buckets import KEPT_DAYS, RULE, SOFTWARE
from fruits.cloud.jobs import ENTRY
from fruits.cloud.templates import IDENTITY, TEMPLATES

# Calls that cannot be limited to resources.
WITHOUT_RESOURCES = re.compile(
    r"ec2:Describe\w+|ssm:UpdateInstanceInformation|ssmmessages:\w+|ec2messages:\w+"
    r"|ecr:GetAuthorizationToken"
)

COMMON = {"Bucket", "CreateBucket", "Prefix", "VpcId", "SubnetId", "KeyName", "SshCidr"}
PARAMETERS = {
    "ec2-single": COMMON | {"InstanceType", "Image"},
    "ec2-cluster": COMMON | {"InstanceType", "Image", "Workers", "Spot"},
    "emr": COMMON
    | {"InstanceType", "Workers", "Spot", "ReleaseLabel", "WheelsSha256", "BootstrapSha256"},
}
OUTPUTS = {
    "ec2-single": {"InstanceId", "MasterDns"},
    "ec2-cluster": {"MasterInstanceId", "WorkerGroup", "MasterDns"},
    "emr": {"ClusterId"},
}


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def template(name: str) -> dict[str, Any]:
    return load(name)


@pytest.mark.parametrize("name", [*NAMES, "app"])
def test_cfn_lint_finds_no_problem(name: str) -> None:
    lint = Path(sys.executable).with_name("cfn-lint")
    done = subprocess.run([lint, path(name)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_it_is_small_enough_to_be_sent_as_it_is(name: str) -> None:
    assert path(name).stat().st_size < 51_200


def test_parameters_and_outputs_have_the_names_that_others_rely_on(
    name: str, template: dict[str, Any]
) -> None:
    assert PARAMETERS[name] <= template["Parameters"].keys()
    always = {"Architecture", "Bucket", "Prefix", "Region", "SshUser", "AccessMode"}
    assert template["Outputs"].keys() == always | OUTPUTS[name]


def test_what_users_chose_by_hand_is_the_default(name: str, template: dict[str, Any]) -> None:
    defaults = {key: p.get("Default") for key, p in template["Parameters"].items()}
    assert defaults["InstanceType"] == "m5.xlarge"
    successors = {"m7i.xlarge", "m8i.xlarge", "m7g.xlarge", "m8g.xlarge"}
    assert successors <= set(template["Parameters"]["InstanceType"]["AllowedValues"])
    assert defaults.get("Workers", 3) == 3
    assert defaults.get("ReleaseLabel", "emr-spark-8.1.0") == "emr-spark-8.1.0"


def test_every_type_that_may_be_chosen_has_its_sizes(template: dict[str, Any]) -> None:
    allowed = template["Parameters"]["InstanceType"]["AllowedValues"]
    assert set(allowed) == template["Mappings"]["Types"].keys()
    for kind, sizes in template["Mappings"]["Types"].items():
        # The letter after the generation: g is Graviton.
        arm = re.fullmatch(r"m\d(\w*)\..*", kind)[1] == "g"  # type: ignore[index]
        assert sizes.get("Architecture", "arm" if arm else "x86") == ("arm" if arm else "x86")


def test_what_templates_share_they_have_word_for_word() -> None:
    single, cluster, emr = (load(name) for name in NAMES)
    for other in (cluster, emr):
        for resource in ("Store", "StorePolicy"):
            assert other["Resources"][resource] == single["Resources"][resource]
        for parameter in ("Bucket", "CreateBucket", "SshCidr", "KeyName"):
            assert other["Parameters"][parameter] == single["Parameters"][parameter]
        ours = {s["Sid"]: s for _, s in statements(single) if "Sid" in s}
        theirs = {s["Sid"]: s for _, s in statements(other) if "Sid" in s}
        shared = {"ListThePrefix", "KnowTheBucket", "AskForThePrefix", "UseThePrefix"}
        shared |= {"NeverChangeTheSoftware", "NeverDestroyVersions"}
        for sid in shared | {"AnswerSessions"}:
            assert theirs[sid] == ours[sid]


# ---- Incoming and outgoing traffic


def test_nobody_comes_in_but_by_ssh_from_the_given_range_and_from_the_cluster_itself(
    template: dict[str, Any],
) -> None:
    rules = [
        rule
        for group in resources(template, "AWS::EC2::SecurityGroup").values()
        for rule in nodes(group.get("SecurityGroupIngress", []))
        if "IpProtocol" in rule
    ] + list(resources(template, "AWS::EC2::SecurityGroupIngress").values())
    assert rules
    for rule in rules:
        assert "CidrIpv6" not in rule
        if "SourceSecurityGroupId" in rule:
            assert "CidrIp" not in rule
        else:
            assert (rule["FromPort"], rule["ToPort"]) == (22, 22)
            assert rule["CidrIp"] == {"Ref": "SshCidr"}


def test_the_way_out_is_https(template: dict[str, Any]) -> None:
    for name, group in resources(template, "AWS::EC2::SecurityGroup").items():
        # Without a rule, EC2 allows all outgoing traffic.
        assert group["SecurityGroupEgress"], name
        for rule in group["SecurityGroupEgress"]:
            if "CidrIp" in rule:
                assert (rule["IpProtocol"], rule["FromPort"], rule["ToPort"]) == ("tcp", 443, 443)


def test_a_range_is_somebody_and_never_the_world(template: dict[str, Any]) -> None:
    pattern = template["Parameters"]["SshCidr"]["AllowedPattern"]
    for world in ("0.0.0.0/0", "::/0", "0.0.0.0/1", "128.0.0.0/1", "1.2.3.4/0", "10.0.0.0/8"):
        assert not re.fullmatch(pattern, world)
    for wrong in ("203.0.113.7", "256.0.0.1/32", "203.0.113.7/33", "203.0.113.7/032", "any"):
        assert not re.fullmatch(pattern, wrong)
    for address in ("203.0.113.7", "10.1.0.0", "0.0.0.0", "255.255.255.255"):
        for mask in range(33):
            assert ipaddress.ip_network(f"{address}/{mask}", strict=False)
            assert bool(re.fullmatch(pattern, f"{address}/{mask}")) == (mask >= 16)
    assert re.fullmatch(pattern, "")


def test_ssh_needs_a_key(template: dict[str, Any]) -> None:
    rule = template["Rules"]["SshNeedsAKey"]
    assert rule["RuleCondition"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "SshCidr"}, ""]}]}
    assert rule["Assertions"][0]["Assert"] == {
        "Fn::Not": [{"Fn::Equals": [{"Ref": "KeyName"}, ""]}]
    }


def test_what_is_put_into_scripts_holds_nothing_of_a_shell(template: dict[str, Any]) -> None:
    for parameter in ("Image", "EcrRepository", "Prefix", "Bucket"):
        if pattern := template["Parameters"].get(parameter, {}).get("AllowedPattern"):
            for evil in ("a'; reboot; '", "a$(reboot)", "a`b`", "a b", "a\nb", "a*", "a${b}"):
                assert not re.fullmatch(pattern, evil), parameter


# ---- Permissions


def test_policies_name_their_calls_and_their_resources(template: dict[str, Any]) -> None:
    for where, statement in statements(template):
        assert not {"NotAction", "NotResource", "NotPrincipal"} & statement.keys(), where
        if statement["Effect"] == "Deny" or where == "Key":
            continue
        for action in listed(statement["Action"]):
            assert "*" not in action, (where, action)
            if "*" in listed(statement.get("Resource", [])):
                assert WITHOUT_RESOURCES.fullmatch(action), (where, action)


def test_only_services_of_amazon_take_the_roles(template: dict[str, Any]) -> None:
    for role in resources(template, "AWS::IAM::Role").values():
        (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
        service = trust["Principal"]["Service"]
        assert service in ("ec2.amazonaws.com", "elasticmapreduce.amazonaws.com")
        if service.startswith("elastic"):
            assert trust["Condition"].keys() == {"StringEquals", "ArnLike"}
        # No managed policy, because Amazon or another owner may extend it.
        assert "ManagedPolicyArns" not in role


def test_a_role_is_passed_to_machines_only_and_is_the_nodes_own() -> None:
    passing = [s for _, s in statements(load("emr")) if "iam:PassRole" in listed(s["Action"])]
    (statement,) = passing
    assert statement["Resource"] == {"Fn::GetAtt": ["InstanceRole", "Arn"]}
    assert statement["Condition"] == {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}


def test_a_template_says_which_it_is(name: str, template: dict[str, Any]) -> None:
    assert TEMPLATES[template["Metadata"][IDENTITY]] == f"{name}.yaml"


def test_the_software_is_nobodys_prefix(template: dict[str, Any]) -> None:
    pattern = template["Parameters"]["Prefix"]["AllowedPattern"]
    for prefix in (SOFTWARE, f"{SOFTWARE}/x", f"{SOFTWARE}/x/y"):
        assert not re.fullmatch(pattern, prefix)
    for prefix in ("fruits", f"{SOFTWARE}s", f"my-{SOFTWARE}", f"fruits/{SOFTWARE}", "a/b_c/d-1"):
        assert re.fullmatch(pattern, prefix)


def test_all_that_nodes_of_emr_execute_is_in_the_software_and_has_its_digest() -> None:
    template = load("emr")
    (cluster,) = resources(template, "AWS::EMR::Cluster").values()
    (action,) = cluster["BootstrapActions"]
    script = action["ScriptBootstrapAction"]
    assert script["Path"] == {
        "Fn::Sub": f"s3://${{Bucket}}/{SOFTWARE}/bootstrap-${{BootstrapSha256}}.sh"
    }
    options = dict(zip(script["Args"][::2], script["Args"][1::2], strict=True))
    wheels = {"Fn::Sub": f"s3://${{Bucket}}/{SOFTWARE}/${{WheelsSha256}}"}
    assert options["--wheels"] == wheels
    assert options["--sha256"] == {"Ref": "WheelsSha256"}
    # Jobs start with a file of root next to the environment.
    assert options["--python"].replace("bin/python", "run.py") == ENTRY
    assert "Steps" not in cluster
    certificates = template["Parameters"]["TlsCertificates"]["AllowedPattern"]
    assert re.fullmatch(certificates, f"s3://my-fruits/{SOFTWARE}/tls.zip")
    for place in ("s3://my-fruits/fruits/emr/tls.zip", "s3://my-fruits/tls.zip", "tls.zip"):
        assert not re.fullmatch(certificates, place)


def test_wheels_start_no_cluster_without_the_digest_of_the_bootstrap() -> None:
    rule = load("emr")["Rules"]["WheelsNeedTheBootstrap"]
    given = {"Fn::Not": [{"Fn::Equals": [{"Ref": "WheelsSha256"}, ""]}]}
    assert rule["RuleCondition"] == given
    assert rule["Assertions"][0]["Assert"] == {
        "Fn::Not": [{"Fn::Equals": [{"Ref": "BootstrapSha256"}, ""]}]
    }


# ---- Disks, metadata, secrets, the bucket


def test_disks_are_encrypted_and_go_with_their_machine(name: str, template: dict[str, Any]) -> None:
    disks = [node["Ebs"] for node in nodes(template["Resources"]) if "Ebs" in node]
    for disk in disks:
        assert disk == {
            "VolumeSize": 64,
            "VolumeType": "gp3",
            "Encrypted": True,
            "DeleteOnTermination": True,
        }
    if name == "emr":
        (security,) = resources(template, "AWS::EMR::SecurityConfiguration").values()
        encryption = security["SecurityConfiguration"]["EncryptionConfiguration"]
        assert encryption["EnableAtRestEncryption"] is True
        at_rest = encryption["AtRestEncryptionConfiguration"]
        assert at_rest["LocalDiskEncryptionConfiguration"]["EnableEbsEncryption"] is True
        for node in nodes(template["Resources"]["Cluster"]):
            if "VolumeSpecification" in node:
                assert node["VolumeSpecification"] == {"SizeInGB": 64, "VolumeType": "gp3"}
    else:
        machines = resources(template, "AWS::EC2::Instance") | resources(
            template, "AWS::EC2::LaunchTemplate"
        )
        assert len(disks) == len(machines)


def test_metadata_is_given_by_tokens_and_to_containers(name: str, template: dict[str, Any]) -> None:
    if name == "emr":
        (security,) = resources(template, "AWS::EMR::SecurityConfiguration").values()
        # EMR does not use containers.
        assert security["SecurityConfiguration"]["InstanceMetadataServiceConfiguration"] == {
            "MinimumInstanceMetadataServiceVersion": 2,
            "HttpPutResponseHopLimit": 1,
        }
        assert template["Resources"]["Cluster"]["Properties"]["SecurityConfiguration"] == {
            "Ref": "Security"
        }
        return
    machines = list(resources(template, "AWS::EC2::Instance").values())
    machines += [
        launch["LaunchTemplateData"]
        for launch in resources(template, "AWS::EC2::LaunchTemplate").values()
    ]
    for machine in machines:
        assert machine["MetadataOptions"] == {
            "HttpTokens": "required",
            "HttpPutResponseHopLimit": 2,
        }


def test_no_secret_is_in_a_template(template: dict[str, Any]) -> None:
    assert "resolve:secretsmanager" not in str(template)
    for parameter in template["Parameters"]:
        assert not re.search("secret|password|token", parameter, re.IGNORECASE)
    for secret in resources(template, "AWS::SecretsManager::Secret").values():
        assert secret["GenerateSecretString"]["PasswordLength"] >= 32
        assert "SecretString" not in secret


def test_the_bucket_is_private_keeps_versions_and_ends_stale_uploads(
    template: dict[str, Any],
) -> None:
    (bucket,) = resources(template, "AWS::S3::Bucket").values()
    names = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
    assert bucket["PublicAccessBlockConfiguration"] == dict.fromkeys(names, True)
    assert bucket["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    assert not {"AccessControl", "WebsiteConfiguration", "CorsConfiguration"} & bucket.keys()
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    rules = {rule["Id"]: rule for rule in bucket["LifecycleConfiguration"]["Rules"]}
    assert {rule["Status"] for rule in rules.values()} == {"Enabled"}
    # They delete unfinished uploads, old versions and useless markers, but never current objects.
    actions = {name: rule.keys() - {"Id", "Status"} for name, rule in rules.items()}
    assert actions == {
        "end-stale-uploads": {"AbortIncompleteMultipartUpload"},
        RULE: {"NoncurrentVersionExpiration"},
        "end-delete-markers": {"ExpiredObjectDeleteMarker"},
    }
    uploads = rules["end-stale-uploads"]["AbortIncompleteMultipartUpload"]
    assert uploads["DaysAfterInitiation"] <= 7
    assert rules[RULE]["NoncurrentVersionExpiration"] == {"NoncurrentDays": KEPT_DAYS}


def test_the_bucket_outlives_the_stack(template: dict[str, Any]) -> None:
    for resource in ("Store", "StorePolicy"):
        assert template["Resources"][resource]["DeletionPolicy"] == "Retain"
        assert template["Resources"][resource]["UpdateReplacePolicy"] == "Retain"


# ---- Costs


def test_what_is_forgotten_ends_by_itself(name: str, template: dict[str, Any]) -> None:
    if name == "emr":
        cluster = template["Resources"]["Cluster"]["Properties"]
        assert cluster["AutoTerminationPolicy"] == {"IdleTimeout": {"Ref": "IdleTimeout"}}
        assert 60 <= template["Parameters"]["IdleTimeout"]["Default"] <= 4 * 3600
        assert cluster["Instances"]["TerminationProtected"] is False
        limits = cluster["ManagedScalingPolicy"]["ComputeLimits"]
        assert limits["MinimumCapacityUnits"] == {"Ref": "MinWorkers"}
        assert limits["MaximumCapacityUnits"] == {"Ref": "MaxWorkers"}
    else:
        assert 0 < template["Parameters"]["StopAfterHours"]["Default"] <= 24


def test_releases_without_spark_4_1_are_refused() -> None:
    pattern = load("emr")["Parameters"]["ReleaseLabel"]["AllowedPattern"]
    assert re.fullmatch(pattern, "emr-spark-8.1.0")
    assert re.fullmatch(pattern, "emr-spark-8.2.1")
    for old in ("emr-spark-8.0.0", "emr-7.14.0", "emr-spark-8.1.0-latest"):
        assert not re.fullmatch(pattern, old)
