"""Buckets: places in them, and versioning, by which a job cannot destroy results."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from fruits.cloud.account import Account
from fruits.cloud.failures import aws_errors, printable
from fruits.errors import CloudError

# What the nodes execute is below this prefix, which the role of no node may write. The templates
# have it too, and refuse it as the prefix of a stack.
SOFTWARE = "software"
# For so many days a file that was deleted or overwritten can be brought back, as in the templates.
KEPT_DAYS = 30
RULE = "end-old-versions"


def bucket_and_key(uri: str) -> tuple[str, str]:
    """The bucket and the key, without slashes at its ends, of ``s3://bucket/key``.

    Raises:
        CloudError: when it is something else.
    """
    parts = urlsplit(uri)
    if parts.scheme not in ("s3", "s3a") or not parts.netloc or parts.query or parts.fragment:
        raise CloudError(
            f"{printable(uri)}: wanted a place in S3 such as s3://bucket/fruits/photographs"
        )
    return parts.netloc, parts.path.strip("/")


@dataclass(frozen=True)
class Versioning:
    """Whether a bucket keeps the versions of its objects.

    Attributes:
        status: ``Enabled``, ``Suspended``, or empty where it never was enabled.
        rules: of its lifecycle, as S3 gives them.
    """

    status: str
    rules: tuple[Mapping[str, Any], ...]

    @property
    def enabled(self) -> bool:
        """Whether deleted and overwritten objects can be brought back."""
        return self.status == "Enabled"


def versioning(account: Account, bucket: str) -> Versioning:
    """Reads the versioning and the lifecycle of a bucket."""
    client = account.client("s3")
    with aws_errors(f"s3://{bucket}"):
        status = client.get_bucket_versioning(Bucket=bucket).get("Status", "")
    try:
        with aws_errors(f"s3://{bucket}"):
            rules = client.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    except CloudError as error:
        if "NoSuchLifecycleConfiguration" not in str(error):
            raise
        rules = []
    return Versioning(status or "", tuple(rules))


def enable_versioning(account: Account, bucket: str, before: Versioning, prefix: str) -> None:
    """Makes a bucket keep the versions of its objects for :data:`KEPT_DAYS` days.

    Old versions that the bucket may hold already are not touched: where versioning was suspended,
    the rule that ends old versions applies to the prefix only.

    Args:
        account: that owns the bucket.
        bucket: its name.
        before: its present settings; the rules stay.
        prefix: of the stack.
    """
    client = account.client("s3")
    rule = {
        "ID": RULE,
        "Status": "Enabled",
        "Filter": {"Prefix": f"{prefix}/" if before.status else ""},
        "NoncurrentVersionExpiration": {"NoncurrentDays": KEPT_DAYS},
    }
    rules = [rule for rule in before.rules if rule.get("ID") != RULE]
    with aws_errors(f"s3://{bucket}"):
        client.put_bucket_lifecycle_configuration(
            Bucket=bucket, LifecycleConfiguration={"Rules": [*rules, rule]}
        )
        client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
