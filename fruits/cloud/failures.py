"""What AWS refuses, in one line: what was wanted, what AWS said with its code, what to do next."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import (  # type: ignore[import-untyped]
    BotoCoreError,
    ClientError,
)
from botocore.parsers import ResponseParserError  # type: ignore[import-untyped]

from fruits.errors import CloudError

# What to do, by the codes of AWS and the exceptions of botocore.
ADVICE = {
    "get credentials: aws configure, aws sso login, or AWS_PROFILE": (
        *("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"),
        *("ProfileNotFound", "NoAuthTokenError"),
    ),
    "the credentials are over: get new ones (aws sso login, or new keys), and run it again": (
        *("ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"),
        *("UnauthorizedSSOTokenError", "SSOTokenLoadError", "TokenRetrievalError"),
    ),
    "AWS does not know these credentials: see aws sts get-caller-identity": (
        *("InvalidAccessKeyId", "InvalidClientTokenId", "UnrecognizedClientException"),
        *("SignatureDoesNotMatch", "InvalidSignatureException", "IncompleteSignature"),
        *("AuthFailure", "InvalidToken", "MissingAuthenticationToken"),
    ),
    "set this machine's clock": ("RequestTimeTooSkewed",),
    "ask whoever manages the account to allow that": (
        *("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "Forbidden", "403"),
        *("AuthorizationError", "UnauthorizedAccess", "AllAccessDisabled"),
    ),
    "name a region: --region, AWS_REGION, or aws configure": (
        *("NoRegionError", "InvalidRegionError"),
    ),
    "give the bucket's own region with --region, or use another bucket": (
        *("PermanentRedirect", "AuthorizationHeaderMalformed", "301", "IncorrectEndpoint"),
        *("IllegalLocationConstraintException",),
    ),
    "check the bucket's name": ("NoSuchBucket", "404", "InvalidBucketName"),
    "the bucket is somebody else's: choose another name": ("BucketAlreadyExists",),
    "raise the quota in the console's Service Quotas, or take fewer or smaller instances": (
        *("VcpuLimitExceeded", "InstanceLimitExceeded", "MaxSpotInstanceCountExceeded"),
        *("LimitExceeded", "LimitExceededException", "ServiceQuotaExceededException"),
        *("VolumeLimitExceeded", "TooManyBuckets", "AddressLimitExceeded", "QuotaExceeded"),
    ),
    "take another instance type or a subnet in another zone, or try later": (
        *("InsufficientInstanceCapacity", "InsufficientHostCapacity", "Unsupported"),
        *("SpotMaxPriceTooLow", "InsufficientCapacity"),
    ),
    "AWS asks for patience: run it again in a minute": (
        *("Throttling", "ThrottlingException", "RequestLimitExceeded", "SlowDown"),
        *("TooManyRequestsException", "ServiceUnavailable", "InternalError", "InternalFailure"),
    ),
    "the account is not signed up for that here: see the console, or choose another region": (
        *("OptInRequired", "SubscriptionRequiredException", "InvalidRegion"),
    ),
    "Systems Manager does not reach the host: it may still start, be stopped, or have no way out; "
    "see fruits cloud status": ("InvalidInstanceId", "TargetNotConnected"),
    "a file changed while it was read, or was damaged on its way: run it again": (
        *("BadDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"),
    ),
    "check the network, and AWS_ENDPOINT_URL if it is set": (
        *("EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError"),
        *("ConnectionClosedError", "ProxyConnectionError", "SSLError", "HTTPClientError"),
        *("ResponseStreamingError", "ResponseParserError"),
    ),
}
BY_CODE = {code: advice for advice, codes in ADVICE.items() for code in codes}

# Resources of a stack often say in words only what went wrong in the service behind them.
BY_WORDS = {
    r"vCPU|quota|limit (of|exceeded)|exceeded.*limit": BY_CODE["VcpuLimitExceeded"],
    r"not authorized|access denied": BY_CODE["AccessDenied"],
    r"capacity": BY_CODE["InsufficientInstanceCapacity"],
    r"signal": "the host did not come up; aws ec2 get-console-output may tell why",
}
NOT_KNOWN = "see what there is with fruits cloud status"


@contextmanager
def aws_errors(wanted: str) -> Iterator[None]:
    """Turns what boto3 raises inside into one clear line.

    Args:
        wanted: what was to be done or looked at; the line begins with it.

    Raises:
        CloudError: with the code of AWS, or the name of botocore's exception.
    """
    try:
        yield
    except ClientError as error:
        told = error.response.get("Error", {})
        code = str(told.get("Code") or type(error).__name__)
        message = f"{error.operation_name}: {told.get('Message') or 'refused'}"
        raise CloudError(line(wanted, message, code)) from error
    except (BotoCoreError, ResponseParserError) as error:
        raise CloudError(line(wanted, str(error), type(error).__name__)) from error


def line(wanted: str, message: str, code: str, advice: str | None = None) -> str:
    """One line: what was wanted, what AWS said, its code, the next step."""
    return f"{wanted}: {plain(message)} (AWS: {code}); {advice or BY_CODE.get(code, NOT_KNOWN)}"


def plain(message: str) -> str:
    """A message of AWS on one line, without what only AWS can read."""
    message = re.sub(r"\s*Encoded authorization failure message: \S+", "", message)
    message = re.sub(r"\s*\((RequestToken|Service): [^)]*\)", "", message)
    message = re.sub(r'^Resource handler returned message: "(.*)"\s*$', r"\1", message.strip())
    return " ".join(message.split()).rstrip(" .")


def of_resource(reason: str, status: str) -> tuple[str, str]:
    """The code in the reason that a resource of a stack gives, and what to do.

    Args:
        reason: in words, with a code of the service somewhere, or none.
        status: of the resource, which stands for a code where there is none.
    """
    words = re.findall(r"\b[A-Z]\w+", reason)
    known = next((word for word in words if word in BY_CODE), "")
    handler = re.search(r"(?:HandlerErrorCode|Error Code): (\w+)", reason)
    advice = BY_CODE.get(known) or next(
        (a for said, a in BY_WORDS.items() if re.search(said, reason, re.IGNORECASE)), "mend that"
    )
    return known or (handler.group(1) if handler else status), advice
