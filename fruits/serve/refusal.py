"""A request that is not answered, and why."""


class Refused(Exception):
    """The server does not do what a request asks for.

    Attributes:
        status: of HTTP.
        kind: one word, for the metrics.
        reason: for the client, one line.
        retry_after: seconds after which a repetition may succeed.
    """

    def __init__(self, status: int, kind: str, reason: str, retry_after: int | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.kind = kind
        self.reason = reason
        self.retry_after = retry_after

    @property
    def headers(self) -> dict[str, str]:
        """What the answer carries."""
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
