"""The AWS account and region of the commands, from boto3's credential chain."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import boto3  # type: ignore[import-untyped]
from botocore.config import Config  # type: ignore[import-untyped]

from fruits.cloud.failures import aws_errors, line
from fruits.errors import CloudError

# The maximum number of concurrent requests.
CONNECTIONS = 32
# The timeouts give up a service that does not answer after about a minute.
CONFIG = Config(
    connect_timeout=5,
    read_timeout=60,
    max_pool_connections=CONNECTIONS,
    retries={"mode": "standard", "total_max_attempts": 5},
)
REGION = re.compile(r"[a-z]{2,}(-[a-z]+)+-\d{1,2}")


@dataclass
class Account:
    """Clients for one account and one region.

    Attributes:
        region: The region, such as ``us-east-1``.
    """

    region: str
    _session: Any = field(repr=False)
    _clients: dict[str, Any] = field(default_factory=dict, repr=False)
    _id: str = field(default="", repr=False)

    @classmethod
    def of(cls, region: str | None = None) -> "Account":
        """The account of boto3's default credential chain.

        Args:
            region: The region; ``None`` for that of the environment or the profile.

        Raises:
            CloudError: There is no region, it is not valid, or the profile does not exist.
        """
        with aws_errors("credentials"):
            session = boto3.Session()
            region = region or os.environ.get("AWS_REGION") or session.region_name
        if not region:
            raise CloudError(line("region", "wanted a region; none is set", "NoRegionError"))
        if not REGION.fullmatch(region):
            message = f"wanted a region such as us-east-1; got {region!r}"
            raise CloudError(line("region", message, "InvalidRegionError"))
        return cls(region, session)

    @property
    def id(self) -> str:
        """The twelve digits of the account.

        Raises:
            CloudError: The credentials are not valid.
        """
        if not self._id:
            with aws_errors("credentials"):
                self._id = str(self.client("sts").get_caller_identity()["Account"])
        return self._id

    def client(self, service: str) -> Any:
        """The client of a service; all calls return the same one.

        The client of S3 sends this account as the expected owner in every request to a bucket, so
        that no bucket of another account is read or written by mistake.
        """
        if service not in self._clients:
            with aws_errors(service):
                client = self._session.client(service, region_name=self.region, config=CONFIG)
            if service == "s3":
                _expect_owner(client, self.id)
            self._clients[service] = client
        return self._clients[service]

    def pages(
        self, service: str, operation: str, result: str, **arguments: Any
    ) -> Iterator[dict[str, Any]]:
        """Yields the items that an operation lists under the name ``result``, page by page."""
        for page in self.client(service).get_paginator(operation).paginate(**arguments):
            yield from page.get(result, ())

    def bucket_region(self, bucket: str) -> str | None:
        """The region of a bucket; ``None`` if no bucket has that name.

        Raises:
            CloudError: The bucket belongs to another account, or AWS refuses the request.
        """
        client = self.client("s3")
        try:
            with aws_errors(f"s3://{bucket}"):
                answer = client.head_bucket(Bucket=bucket)
        except CloudError as error:
            response = getattr(error.__cause__, "response", {}).get("ResponseMetadata", {})
            if response.get("HTTPStatusCode") == 404:
                return None
            if not response:
                raise
            # The answer to HEAD has no body, and so no error code: ask again for the code.
            with aws_errors(f"s3://{bucket}"):
                answer = client.list_objects_v2(Bucket=bucket, MaxKeys=1)
        headers = answer["ResponseMetadata"]["HTTPHeaders"]
        return str(answer.get("BucketRegion") or headers.get("x-amz-bucket-region") or self.region)

    def require_bucket(self, bucket: str) -> None:
        """Checks that a bucket exists, in this account and in this region.

        Raises:
            CloudError: It does not exist, or is in another account or region.
        """
        region = self.bucket_region(bucket)
        if region is None:
            raise CloudError(line(f"s3://{bucket}", "there is no such bucket", "NoSuchBucket"))
        if region != self.region:
            raise CloudError(
                line(
                    f"s3://{bucket}",
                    f"wanted a bucket in {self.region}; this one is in {region}",
                    "PermanentRedirect",
                    f"use --region {region}, or a bucket in {self.region}",
                )
            )


def _expect_owner(client: Any, account: str) -> None:
    def add_owner(params: dict[str, Any], model: Any, **_: object) -> dict[str, Any] | None:
        # CreateBucket and ListBuckets have no owner to expect.
        if "ExpectedBucketOwner" not in model.input_shape.members:
            return None
        return {**params, "ExpectedBucketOwner": account}

    client.meta.events.register("provide-client-params.s3", add_owner)
