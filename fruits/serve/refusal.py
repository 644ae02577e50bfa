"""The error of a refused request."""


class Refused(Exception):
    """The server refuses a request.

    Attributes:
        status: The HTTP status.
        kind: A short name for the metrics.
        reason: The reason for the client, in one line.
        retry_after: The seconds after which a retry may succeed.
    """

    def __init__(self, status: int, kind: str, reason: str, retry_after: int | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.kind = kind
        self.reason = reason
        self.retry_after = retry_after

    @property
    def headers(self) -> dict[str, str]:
        """The additional headers of the response."""
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
