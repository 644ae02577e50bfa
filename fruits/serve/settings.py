"""The settings of ``fruits serve``, checked when they are created."""

import ipaddress
import os
import re
from dataclasses import dataclass

from fruits.errors import ConfigError
from fruits.options import option
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

    The meaning of each setting is its ``help``, which ``fruits serve --help`` prints.

    Raises:
        ConfigError: a value is invalid.
        StorageError: the scheme of a URI is unknown.
    """

    model: str = option(metavar="URI", help="output of a finished run, or its folder predictor/")
    host: str = option("127.0.0.1", metavar="ADDRESS", help="address to listen on")
    port: int = option(8000, metavar="PORT", help="TCP port; 0 chooses a free one")
    name: str = option("fruits", metavar="NAME", help="name of the model in the URLs of the API")
    workers: int = option(1, metavar="N", help="number of processes that predict")
    token_file: str | None = option(
        None,
        metavar="FILE",
        help=f"file with the bearer token that requests must have; or set {TOKEN_VARIABLE}",
    )
    public: bool = option(
        False, help="require no token: anyone who can reach the address may use it"
    )
    max_file: int = option(20 * MIB, metavar="BYTES", help="maximum size of a photograph")
    max_body: int = option(64 * MIB, metavar="BYTES", help="maximum size of a request")
    max_files: int = option(32, metavar="N", help="maximum number of photographs in a request")
    queue: int = option(128, metavar="N", help="maximum number of photographs that wait")
    image_seconds: float = option(
        10.0, metavar="SECONDS", help="maximum CPU time for one photograph or one batch"
    )
    upload_seconds: float = option(
        60.0, metavar="SECONDS", help="maximum time to receive one request"
    )
    reload_seconds: float = option(
        10.0, metavar="SECONDS", help="time between two checks for a new model; 0: no checks"
    )
    credit: str | None = option(
        None,
        metavar="TEXT",
        help="credit line for the training photographs, shown on the page",
    )
    keep_uploads: str | None = option(
        None, metavar="URI", help="folder for uploaded photographs whose sender agrees"
    )

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
