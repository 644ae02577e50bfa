"""The settings of ``fruits serve``, checked when they are created."""

import ipaddress
import os
import re
from dataclasses import dataclass

from fruits.errors import ConfigError
from fruits.storage.location import Location

TOKEN_VARIABLE = "FRUITS_TOKEN"

MIB = 1 << 20

# The most buffered bytes of all requests; above it, clients must retry later.
MAX_BUFFERED = 256 * MIB

# The timeout for the prediction of one request, in seconds.
ANSWER_SECONDS = 60

# A shorter token could be guessed.
MIN_TOKEN = 16


@dataclass(frozen=True)
class Settings:
    """The settings of ``fruits serve``.

    Attributes:
        model: The output of a finished run, or its folder ``predictor/``; a path or URI.
        host: The address to listen on.
        port: The TCP port; 0 for a free port.
        name: The name of the model in the paths of the API.
        workers: The number of processes that predict.
        token_file: A file with the bearer token that requests must have.
        public: Whether everyone who can reach the address may use it without a token.
        max_file: The most bytes of one photograph; see :attr:`most_of_a_file`.
        max_body: The most bytes of one request.
        max_files: The most photographs of one request.
        queue: The most photographs that may wait.
        image_seconds: The limit of CPU seconds for one photograph or one batch.
        upload_seconds: The timeout for the body of one request, in seconds.
        reload_seconds: The interval for checking for a new model, in seconds; 0 for never.
        credit: A line on the page about the licence of the training photographs.
        keep_uploads: The folder for photographs whose sender agrees to storing them; a path or URI.

    Raises:
        ConfigError: a value is invalid.
        StorageError: the scheme of a URI is unknown.
    """

    model: str
    host: str = "127.0.0.1"
    port: int = 8000
    name: str = "fruits"
    workers: int = 1
    token_file: str | None = None
    public: bool = False
    max_file: int = 20 * MIB
    max_body: int = 64 * MIB
    max_files: int = 32
    queue: int = 128
    image_seconds: float = 10.0
    upload_seconds: float = 60.0
    reload_seconds: float = 10.0
    credit: str | None = None
    keep_uploads: str | None = None

    def __post_init__(self) -> None:
        _require("port", self.port, 0, 65535)
        for name in ("workers", "max_file", "max_files", "queue"):
            _require(name, getattr(self, name), 1, 1 << 40)
        _require("max_body", self.max_body, 1, MAX_BUFFERED)
        _require("image_seconds", self.image_seconds, 0.1, ANSWER_SECONDS)
        _require("upload_seconds", self.upload_seconds, 0.1, 3600)
        _require("reload_seconds", self.reload_seconds, 0, 86400)
        if self.queue < self.max_files:
            raise ConfigError(
                f"queue: wanted at least the {self.max_files} photographs of one request; got "
                f"{self.queue}"
            )
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", self.name):
            raise ConfigError(
                f"name: wanted at most 64 letters, digits, '.', '_' and '-'; got {self.name!r}"
            )
        for place in filter(None, (self.model, self.keep_uploads)):
            Location.of(place)

    @property
    def most_of_a_file(self) -> int:
        """The most bytes of one photograph: `max_file`, but no more than one request."""
        return min(self.max_file, self.max_body)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the address."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def token(self) -> str | None:
        """The token that requests must have; None if they need none.

        Raises:
            ConfigError: the token is missing although the address is not loopback, or is too short.
        """
        token = self._given_token()
        if token is None:
            if not self.is_loopback and not self.public:
                raise ConfigError(
                    f"host: wanted a token for {self.host}, which other machines can reach; got "
                    f"none: give --token-file or set {TOKEN_VARIABLE}, or give --public"
                )
            return None
        if self.public:
            raise ConfigError("public: wanted either a token or --public; got both: leave out one")
        if len(token) < MIN_TOKEN or not re.fullmatch(r"[!-~]+", token):
            raise ConfigError(
                f"token: wanted at least {MIN_TOKEN} ASCII letters, digits and signs, without "
                f"spaces; got {len(token)} characters: make one with `openssl rand -hex 32`"
            )
        return token

    def _given_token(self) -> str | None:
        if self.token_file is None:
            return os.environ.get(TOKEN_VARIABLE, "").strip() or None
        try:
            with open(self.token_file, encoding="utf-8") as file:
                return file.read(4096).strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"token_file: wanted a text file; got {self.token_file}: {error}"
            ) from None


def _require(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise ConfigError(f"{name}: wanted {least} to {most}; got {value}")
