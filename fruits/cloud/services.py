"""The running parts of the application and their costs: tasks on Fargate, load balancers."""

from collections.abc import Iterator, Mapping
from typing import Any

from fruits.cloud.account import Account
from fruits.cloud.costs import Prices
from fruits.cloud.stacks import TAG

# The maximum number of load balancers in a request for tags.
MOST_TAGGED = 20


def services(account: Account, owners: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """The ECS services of stacks, as fields of items of the inventory.

    Args:
        account: The account.
        owners: The names of stacks by the ARNs of their services.
    """
    ecs, prices = account.client("ecs"), Prices.load()
    for arn, stack in owners.items():
        # arn:aws:ecs:REGION:ACCOUNT:service/CLUSTER/SERVICE
        _, cluster, name = arn.split("/")
        for service in ecs.describe_services(cluster=cluster, services=[arn])["services"]:
            task = ecs.describe_task_definition(taskDefinition=service["taskDefinition"])
            # Strings; a definition for Fargate always has both.
            vcpus, gib = (
                int(task["taskDefinition"].get(name) or 0) / 1024 for name in ("cpu", "memory")
            )
            # A task is billed from the pull of its image.
            count = service["runningCount"] + service["pendingCount"]
            yield {
                "kind": "service",
                "name": name,
                "stack": stack,
                "state": service["status"],
                "since": service.get("createdAt"),
                "dollars": prices.tasks(count, vcpus, gib) if vcpus and gib else None,
                "detail": f"{count} of {service['desiredCount']} tasks of {vcpus:g} vCPU and "
                f"{gib:g} GiB",
            }


def balancers(account: Account, owners: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """The load balancers of present and deleted stacks, as fields of items of the inventory.

    Args:
        account: The account.
        owners: The names of stacks by the ARNs of their load balancers.
    """
    client, price = account.client("elbv2"), Prices.load().balancer
    found = {
        balancer["LoadBalancerArn"]: balancer
        for balancer in account.pages("elbv2", "describe_load_balancers", "LoadBalancers")
    }
    arns = sorted(found)
    tagged: dict[str, str] = {}
    for start in range(0, len(arns), MOST_TAGGED):
        answer = client.describe_tags(ResourceArns=arns[start : start + MOST_TAGGED])
        for one in answer["TagDescriptions"]:
            values = [t["Value"] for t in one["Tags"] if t["Key"] == TAG]
            tagged[one["ResourceArn"]] = "".join(values)
    for arn in arns:
        if stack := owners.get(arn) or tagged.get(arn):
            yield {
                "kind": "balancer",
                "name": found[arn]["LoadBalancerName"],
                "stack": stack,
                "state": found[arn]["State"]["Code"],
                "since": found[arn]["CreatedTime"],
                "dollars": price,
                "detail": f"{found[arn]['DNSName']}, without its requests",
            }
