"""Buckets of S3: their URIs, and versioning, so that a job cannot destroy results."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fruits.cloud.account import Account
from fruits.cloud.failures import aws_errors, printable
from fruits.errors import CloudError

# The prefix of the software that nodes execute, which their roles cannot write. The templates have
# the same prefix, and refuse it as the prefix of a stack.
SOFTWARE = "software"
# Deleted or overwritten files can be restored for this many days, as in the templates.
KEPT_DAYS = 30
# Keys are not escaped: "#", "?" and "%" are parts of them.
URI = re.compile(r"(?i:s3a?)://([^/?#]+)(?:/(.*))?", re.DOTALL)
RULE = "end-old-versions"


def bucket_and_key(uri: str) -> tuple[str, str]:
    """The bucket and the key, without slashes at its ends, of ``s3://bucket/key``.

    Raises:
        CloudError: It is no such URI.
    """
    found = URI.fullmatch(uri)
    if found is None:
        raise CloudError(
            f"{printable(uri)}: wanted a URI in S3 such as s3://bucket/fruits/photographs"
        )
    return found[1], (found[2] or "").strip("/")


@dataclass(frozen=True)
class Versioning:
    """Whether a bucket keeps the versions of its objects.

    Attributes:
        status: ``Enabled``, ``Suspended``, or empty if it never was enabled.
        rules: The lifecycle rules of the bucket, in the form of S3.
    """

    status: str
    rules: tuple[Mapping[str, Any], ...]

    @property
    def enabled(self) -> bool:
        """Whether deleted and overwritten objects can be restored."""
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
    """Lets a bucket keep old versions of its objects for :data:`KEPT_DAYS` days.

    Versions that the bucket has already are not deleted: if versioning was suspended, the rule that
    deletes old versions applies to the prefix only.

    Args:
        account: The account that owns the bucket.
        bucket: The name of the bucket.
        before: The present settings. Their other rules stay.
        prefix: The prefix of the stack.
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
