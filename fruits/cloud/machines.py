"""Finds the hosts of a stack and the cluster of EMR, and checks that they run."""

import re
from typing import Any

from fruits.cloud.account import Account
from fruits.cloud.failures import aws_errors, line
from fruits.cloud.stacks import Stack
from fruits.errors import CloudError

# The states of an EMR cluster that accepts jobs now or soon.
USABLE_CLUSTERS = ("STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING")
# States in which a cluster costs money.
BILLED_CLUSTERS = (*USABLE_CLUSTERS, "TERMINATING")
BILLED_INSTANCES = ("pending", "running", "stopping", "stopped", "shutting-down")

# Outputs of a stack become arguments of other programs, so their form is checked.
INSTANCE_ID = re.compile(r"i-[0-9a-f]{8,17}")
CLUSTER_ID = re.compile(r"j-[0-9A-Z]{6,}")


def job_host(stack: Stack) -> str:
    """The identifier of the instance on which an EC2 stack runs jobs."""
    single = stack.output("Architecture") == "single"
    return stack.output("InstanceId" if single else "MasterInstanceId", INSTANCE_ID)


def running_instance(account: Account, instance_id: str) -> dict[str, Any]:
    """The description of a running instance by EC2.

    Raises:
        CloudError: The instance does not run.
    """
    with aws_errors(f"instance {instance_id}"):
        answer = account.client("ec2").describe_instances(InstanceIds=[instance_id])
    found: dict[str, Any] = answer["Reservations"][0]["Instances"][0]
    state = found["State"]["Name"]
    if state != "running":
        reason = found.get("StateReason", {})
        advice = "fruits cloud terminate, and launch again"
        if state == "stopped":
            advice = f"aws ec2 start-instances --instance-ids {instance_id} starts it again"
        raise CloudError(
            line(
                f"instance {instance_id}",
                f"wanted it running; it is {state}. {reason.get('Message', '')}",
                reason.get("Code") or state,
                advice,
            )
        )
    return found


def usable_cluster(account: Account, stack: Stack) -> str:
    """The identifier of a stack's EMR cluster that accepts jobs.

    Raises:
        CloudError: There is none, or it has ended. The message has the reason from EMR.
    """
    cluster_id = stack.output("ClusterId", CLUSTER_ID)
    with aws_errors(f"cluster {cluster_id}"):
        answer = account.client("emr").describe_cluster(ClusterId=cluster_id)
    status = answer["Cluster"]["Status"]
    if status["State"] not in USABLE_CLUSTERS:
        reason = status.get("StateChangeReason", {})
        raise CloudError(
            line(
                f"cluster {cluster_id}",
                f"wanted it running; it is {status['State']}. {reason.get('Message', '')}",
                reason.get("Code") or status["State"],
                "see fruits cloud logs; then fruits cloud terminate, and launch again",
            )
        )
    return cluster_id


def primary_node(account: Account, stack: Stack) -> str:
    """The instance identifier of the primary node of a stack's EMR cluster.

    Raises:
        CloudError: The cluster has ended, or the node does not run yet.
    """
    cluster_id = usable_cluster(account, stack)
    with aws_errors(f"cluster {cluster_id}"):
        found = account.client("emr").list_instances(
            ClusterId=cluster_id, InstanceGroupTypes=["MASTER"], InstanceStates=["RUNNING"]
        )["Instances"]
    if not found:
        raise CloudError(f"cluster {cluster_id}: its primary node does not run yet; try again")
    return str(found[0]["Ec2InstanceId"])
