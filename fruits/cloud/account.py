"""The account and the region that commands speak to, by boto3's own chain of credentials."""

import os
from dataclasses import dataclass, field
from typing import Any

import boto3  # type: ignore[import-untyped]
from botocore.config import Config  # type: ignore[import-untyped]

from fruits.cloud.failures import aws_errors, line
from fruits.errors import CloudError

# Files that go up, and requests that are under way, at a time.
CONNECTIONS = 32
# A service that is away is given up in about a minute.
CONFIG = Config(
    connect_timeout=5,
    read_timeout=60,
    max_pool_connections=CONNECTIONS,
    retries={"mode": "standard", "total_max_attempts": 5},
)


@dataclass
class Account:
    """Clients of one region.

    Attributes:
        region: where everything is.
    """

    region: str
    _session: Any = field(repr=False)
    _clients: dict[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, region: str | None = None) -> "Account":
        """The account of boto3's default chain.

        Args:
            region: or ``None`` for the one of the environment or the profile.

        Raises:
            CloudError: when there is no region, or the profile is not there.
        """
        with aws_errors("credentials"):
            session = boto3.Session()
            region = region or os.environ.get("AWS_REGION") or session.region_name
        if not region:
            raise CloudError(line("region", "wanted one; there is none", "NoRegionError"))
        return cls(region, session)

    def client(self, service: str) -> Any:
        """The client of a service; the same each time."""
        if service not in self._clients:
            with aws_errors(service):
                self._clients[service] = self._session.client(
                    service, region_name=self.region, config=CONFIG
                )
        return self._clients[service]

    def pages(self, service: str, operation: str, result: str, **arguments: Any) -> Any:
        """What an operation lists under the name ``result``, page by page, one by one."""
        for page in self.client(service).get_paginator(operation).paginate(**arguments):
            yield from page.get(result, ())

    def bucket_region(self, bucket: str) -> str | None:
        """The region of a bucket; ``None`` where there is no bucket of that name.

        Raises:
            CloudError: when it is somebody else's, or AWS refuses for another reason.
        """
        client = self.client("s3")
        try:
            with aws_errors(f"s3://{bucket}"):
                answer = client.head_bucket(Bucket=bucket)
        except CloudError as error:
            told = getattr(error.__cause__, "response", {}).get("ResponseMetadata", {})
            if told.get("HTTPStatusCode") == 404:
                return None
            if not told:
                raise
            # An answer to HEAD has no body and so no code, such as that of expired credentials.
            with aws_errors(f"s3://{bucket}"):
                answer = client.list_objects_v2(Bucket=bucket, MaxKeys=1)
        headers = answer["ResponseMetadata"]["HTTPHeaders"]
        return str(answer.get("BucketRegion") or headers.get("x-amz-bucket-region") or self.region)

    def require_bucket(self, bucket: str) -> None:
        """Sees that a bucket is there, and in this region.

        Raises:
            CloudError: when it is not.
        """
        there = self.bucket_region(bucket)
        if there is None:
            raise CloudError(line(f"s3://{bucket}", "there is no such bucket", "NoSuchBucket"))
        if there != self.region:
            raise CloudError(
                line(
                    f"s3://{bucket}",
                    f"wanted a bucket in {self.region}; this one is in {there}",
                    "PermanentRedirect",
                    f"use --region {there}, or a bucket in {self.region}",
                )
            )
