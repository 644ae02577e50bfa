"""The application on Fargate: the checks before the launch, and its costs."""

import re
from collections.abc import Iterator, Mapping

from fruits.cloud.account import Account
from fruits.cloud.buckets import bucket_and_key
from fruits.cloud.costs import HOURS_A_MONTH, Estimate, Prices
from fruits.cloud.failures import aws_errors, printable
from fruits.errors import CloudError
from fruits.predictor.files import MANIFEST

# The size of a task in the template.
TASK_VCPUS, TASK_GIB = 1.0, 2.0
CERTIFICATE = re.compile(r"arn:aws[a-z-]*:acm:([a-z0-9-]+):\d{12}:certificate/[a-zA-Z0-9-]+")


def checked_parameters(account: Account, given: Mapping[str, str]) -> dict[str, str]:
    """The checked parameters for CloudFormation: the URI of a model becomes a bucket and a folder.

    Raises:
        CloudError: There is no model at the URI, or the certificate is in another region.
    """
    values = dict(given)
    if "Model" in values:
        if "://" in values["Model"]:
            values["Bucket"], values["Model"] = bucket_and_key(values["Model"])
        _require_model(account, values)
    if "CertificateArn" in values:
        _require_certificate(account, values["CertificateArn"])
    return values


def _require_model(account: Account, values: Mapping[str, str]) -> None:
    if "Bucket" not in values:
        raise CloudError(
            f"model: wanted a URI in S3 such as s3://my-fruits/fruits/out; got "
            f"{printable(values['Model'])}"
        )
    bucket, model = values["Bucket"], values["Model"]
    account.require_bucket(bucket)
    for key in (f"{model}/predictor/{MANIFEST}", f"{model}/{MANIFEST}"):
        with aws_errors(f"s3://{bucket}/{key}"):
            found = account.client("s3").list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1)
        if found.get("Contents"):
            return
    raise CloudError(
        printable(
            f"model: wanted the output of a run that has trained a classifier; s3://{bucket}/"
            f"{model} has no predictor/{MANIFEST}: wait for the run's end, or give another --model"
        )
    )


def _require_certificate(account: Account, arn: str) -> None:
    found = CERTIFICATE.fullmatch(arn)
    if found is None:
        raise CloudError(
            f"certificate: wanted the ARN of a certificate in ACM, such as arn:aws:acm:"
            f"{account.region}:123456789012:certificate/…; got {printable(arn)}: see aws acm "
            "list-certificates"
        )
    if found[1] != account.region:
        raise CloudError(
            f"certificate: wanted one in {account.region}, where the load balancer is; got one in "
            f"{found[1]}: request one in {account.region}, or give --region {found[1]}"
        )


def require_counts(parameters: Mapping[str, str]) -> None:
    """Checks the numbers of tasks.

    Raises:
        CloudError: They are no numbers, or the minimum is larger than the maximum.
    """
    counts = [parameters[name] for name in ("Tasks", "MaxTasks")]
    if not all(count.isdecimal() and 1 <= int(count) <= 50 for count in counts):
        raise CloudError(
            f"tasks: wanted numbers from 1 to 50; got {printable(' and '.join(counts))}: give "
            "--tasks and --max-tasks"
        )
    if int(counts[0]) > int(counts[1]):
        raise CloudError(
            f"tasks: wanted at most {counts[1]}, the value of --max-tasks; got {counts[0]}: give a "
            "larger --max-tasks as well"
        )


def estimate_application(parameters: Mapping[str, str], region: str) -> Estimate:
    """The hourly costs of the application: its tasks, the load balancer and AWS WAF."""
    prices = Prices.load()
    fixed = prices.balancer
    if parameters["Waf"] == "true":
        fixed += prices.waf_month / HOURS_A_MONTH
    count, most = int(parameters["Tasks"]), int(parameters["MaxTasks"])
    task = prices.tasks(1, TASK_VCPUS, TASK_GIB)
    return Estimate(
        count=count,
        most=most,
        type=f"{TASK_VCPUS:.0f} vCPU and {TASK_GIB:.0f} GiB",
        dollars=fixed + count * task,
        most_dollars=fixed + most * task,
        terms=f"{prices.terms(region)}, logs, requests",
        kind="tasks",
        extras="with the load balancer",
    )


def notes(name: str, parameters: Mapping[str, str]) -> Iterator[str]:
    """Notes to show before the application is launched."""
    if parameters["TokenArn"]:
        yield "access     only with the token"
    else:
        yield (
            f"access     without a token, from {parameters['ClientCidr']}; --token-secret requires "
            "one"
        )
    yield f"ends       only by fruits cloud terminate --name {name}"
