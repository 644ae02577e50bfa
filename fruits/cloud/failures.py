"""Errors of AWS as one line: what was wanted, the answer and code of AWS, what to do next."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import (  # type: ignore[import-untyped]
    BotoCoreError,
    ClientError,
)
from botocore.parsers import ResponseParserError  # type: ignore[import-untyped]

from fruits.errors import CloudError

# The advice for error codes of AWS and exceptions of botocore.
ADVICE = {
    "get credentials: aws configure, aws sso login, or AWS_PROFILE": (
        *("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"),
        *("ProfileNotFound", "NoAuthTokenError"),
    ),
    "the credentials have expired: get new ones (aws sso login, or new keys), and run it again": (
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
    "the bucket belongs to another account: choose another name": ("BucketAlreadyExists",),
    "raise the quota in the console's Service Quotas, or use fewer or smaller instances": (
        *("VcpuLimitExceeded", "InstanceLimitExceeded", "MaxSpotInstanceCountExceeded"),
        *("LimitExceeded", "LimitExceededException", "ServiceQuotaExceededException"),
        *("VolumeLimitExceeded", "TooManyBuckets", "AddressLimitExceeded", "QuotaExceeded"),
    ),
    "use another instance type or a subnet in another zone, or try later": (
        *("InsufficientInstanceCapacity", "InsufficientHostCapacity", "Unsupported"),
        *("SpotMaxPriceTooLow", "InsufficientCapacity"),
    ),
    "AWS limits the rate of requests: run it again in a minute": (
        *("Throttling", "ThrottlingException", "RequestLimitExceeded", "SlowDown"),
        *("TooManyRequestsException", "ServiceUnavailable", "InternalError", "InternalFailure"),
    ),
    "the account has not enabled this service here: see the console, or choose another region": (
        *("OptInRequired", "SubscriptionRequiredException", "InvalidRegion"),
    ),
    "Systems Manager cannot reach the host: it may still be starting, be stopped, or have no route "
    "to the internet; see fruits cloud status": ("InvalidInstanceId", "TargetNotConnected"),
    "a file changed while it was read, or was damaged on the way: run it again": (
        *("BadDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"),
    ),
    "check the network, and AWS_ENDPOINT_URL if it is set": (
        *("EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError"),
        *("ConnectionClosedError", "ProxyConnectionError", "SSLError", "HTTPClientError"),
        *("ResponseStreamingError", "ResponseParserError"),
    ),
}
ADVICE_BY_CODE = {code: advice for advice, codes in ADVICE.items() for code in codes}

# Events of a stack often describe errors of other services without an error code.
ADVICE_BY_PATTERN = {
    r"vCPU|quota|limit (of|exceeded)|exceeded.*limit": ADVICE_BY_CODE["VcpuLimitExceeded"],
    r"not authorized|access denied": ADVICE_BY_CODE["AccessDenied"],
    r"capacity": ADVICE_BY_CODE["InsufficientInstanceCapacity"],
    r"signal": "the host did not start correctly; aws ec2 get-console-output may show why",
}
DEFAULT_ADVICE = "look at fruits cloud status"


@contextmanager
def aws_errors(subject: str) -> Iterator[None]:
    """Converts exceptions of boto3 to errors of one line.

    Args:
        subject: The object of the request, with which the line begins.

    Raises:
        CloudError: The error, with the code of AWS or the name of botocore's exception.
    """
    try:
        yield
    except ClientError as error:
        details = error.response.get("Error", {})
        code = str(details.get("Code") or type(error).__name__)
        message = f"{error.operation_name}: {details.get('Message') or 'refused'}"
        raise CloudError(line(subject, message, code)) from error
    except (BotoCoreError, ResponseParserError) as error:
        raise CloudError(line(subject, str(error), type(error).__name__)) from error


def line(subject: str, message: str, code: str, advice: str | None = None) -> str:
    """One line: the subject, the message and the code of AWS, the next step."""
    next_step = advice or ADVICE_BY_CODE.get(code, DEFAULT_ADVICE)
    return printable(f"{subject}: {plain(message)} (AWS: {code}); {next_step}")


def plain(message: str) -> str:
    """A message of AWS on one line, without technical parts that do not help a user."""
    message = re.sub(r"\s*Encoded authorization failure message: \S+", "", message)
    message = re.sub(r"\s*\((RequestToken|Service): [^)]*\)", "", message)
    message = re.sub(r'^Resource handler returned message: "(.*)"\s*$', r"\1", message.strip())
    return " ".join(message.split()).rstrip(" .")


def printable(text: str) -> str:
    r"""Makes text from another program safe to show on a terminal.

    Logs, tags, names and messages come from machines that run other people's code. Characters that
    move the cursor, change colours, or hide or reorder text become escapes such as ``\x1b``; line
    breaks and tabs do not change.
    """
    return "".join(
        letter
        if letter.isprintable() or letter in "\n\t"
        else letter.encode("unicode_escape", "surrogatepass").decode()
        for letter in text
    )


def of_resource(reason: str, status: str) -> tuple[str, str]:
    """The error code in the reason of a failed resource of a stack, and what to do.

    Args:
        reason: A text that may contain an error code of the service.
        status: The status of the resource, which replaces a missing code.
    """
    words = re.findall(r"\b[A-Z]\w+", reason)
    known = next((word for word in words if word in ADVICE_BY_CODE), "")
    advice = ADVICE_BY_CODE.get(known)
    if advice is None:
        matching = (
            text
            for pattern, text in ADVICE_BY_PATTERN.items()
            if re.search(pattern, reason, re.IGNORECASE)
        )
        advice = next(matching, "correct that")
    if known:
        return known, advice
    handler = re.search(r"(?:HandlerErrorCode|Error Code): (\w+)", reason)
    return handler.group(1) if handler else status, advice
