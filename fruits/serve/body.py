"""Reads the body of a request, counts its bytes while they arrive, and parses forms."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from email.message import Message

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.requests import ClientDisconnect, Request

from fruits.serve.refusal import Refused
from fruits.serve.settings import MAX_BUFFERED, Settings

# After this many seconds without data, the upload is aborted.
MAX_GAP = 10.0

# The most fields of a form that are not files, and the most bytes of one.
MAX_FIELDS = 8
MAX_FIELD = 1024

_FILE_TYPES = (b"image/", b"application/octet-stream")


@dataclass(eq=False)
class Upload:
    """A file or a field of a request.

    Attributes:
        part: The name in the form; empty if the body is one file.
        name: The name of the file from the sender; None for a field.
        content: The content.
    """

    part: str = ""
    name: str | None = None
    content: bytearray = field(default_factory=bytearray)


class Bodies:
    """Reads bodies within the limits of the settings, and counts the buffered bytes."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.buffered = 0

    async def files(self, request: Request) -> tuple["Buffered", list[Upload], dict[str, str]]:
        """Reads the photographs of a request, and the fields of its form.

        Returns:
            The buffered bytes, to be released at the end of the request; the photographs; the
            fields.

        Raises:
            Refused: the body is too large, too slow, empty or an invalid form, or has too many
                files.
        """
        buffered = Buffered(self)
        try:
            kind, options = parse_options_header(request.headers.get("content-type"))
            if kind == b"multipart/form-data":
                uploads = await self._form(self._stream(request, buffered), options)
            else:
                uploads = [await self._raw(self._stream(request, buffered))]
            photographs = [one for one in uploads if one.name is not None]
            if not any(one.content for one in photographs):
                raise Refused(400, "empty", "wanted at least one photograph; got none")
        except BaseException:
            buffered.release()
            raise
        fields = {
            one.part: one.content.decode("utf-8", "replace") for one in uploads if one.name is None
        }
        return buffered, photographs, fields

    async def whole(self, request: Request) -> tuple["Buffered", bytes]:
        """Reads the body of a request without parsing it.

        Raises:
            Refused: the body is too large or too slow.
        """
        buffered = Buffered(self)
        try:
            return buffered, b"".join([part async for part in self._stream(request, buffered)])
        except BaseException:
            buffered.release()
            raise

    async def _raw(self, stream: AsyncIterator[bytes]) -> Upload:
        upload = Upload(name="")
        async for part in stream:
            upload.content += part
            self.require_size(len(upload.content))
        return upload

    async def _form(
        self, stream: AsyncIterator[bytes], options: dict[bytes, bytes]
    ) -> list[Upload]:
        try:
            form = _Form(self, options.get(b"boundary", b""))
            async for part in stream:
                form.parser.write(part)
            form.parser.finalize()
        except FormParserError:
            raise _wrong_form("an invalid one") from None
        if not form.ended:
            raise _wrong_form("an incomplete one")
        return form.uploads

    def require_size(self, size: int) -> None:
        """Checks the size of one photograph.

        Raises:
            Refused: the photograph is too large.
        """
        limit = self.settings.most_of_a_file
        if size > limit:
            raise _too_much("file size", f"{limit} bytes per photograph")

    async def _stream(self, request: Request, buffered: "Buffered") -> AsyncIterator[bytes]:
        """Yields the parts of a body, and counts them, because Content-Length may be wrong."""
        limit, seconds = self.settings.max_body, self.settings.upload_seconds
        too_large = _too_much("body size", f"{limit} bytes per request")
        if request.headers.get("content-encoding", "").strip().lower() not in ("", "identity"):
            wanted = "wanted a body without Content-Encoding; got a compressed one"
            raise Refused(415, "encoding", f"{wanted}: send it as it is")
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > limit:
            raise too_large
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        parts = request.stream()
        while True:
            try:
                async with asyncio.timeout_at(min(end, loop.time() + MAX_GAP)):
                    part = await anext(parts)
            except StopAsyncIteration:
                return
            except ClientDisconnect:
                raise Refused(400, "gone", "the client disconnected") from None
            except TimeoutError:
                raise Refused(408, "slow upload", "the upload was too slow") from None
            buffered.add(len(part))
            if buffered.bytes > limit:
                raise too_large
            yield part


class Buffered:
    """The buffered bytes of one request, which count until they are released."""

    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies
        self.bytes = 0

    def add(self, count: int) -> None:
        """Adds bytes.

        Raises:
            Refused: all requests together have too many buffered bytes.
        """
        self.bytes += count
        self._bodies.buffered += count
        if self._bodies.buffered > MAX_BUFFERED:
            raise Refused(429, "memory", "too many large requests: try again later", 5)

    def release(self) -> None:
        """Releases the bytes."""
        self._bodies.buffered -= self.bytes
        self.bytes = 0


class _Form:
    """Parses a form while its bytes arrive; nothing is written to disk."""

    def __init__(self, bodies: Bodies, boundary: bytes) -> None:
        self._bodies = bodies
        self._limit = bodies.settings.max_files
        self._header: list[bytes] = [b"", b""]
        self._current = Upload()
        self._unchosen = 0
        self.uploads: list[Upload] = []
        self.ended = False
        self.parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": lambda data, start, end: self._more(0, data[start:end]),
                "on_header_value": lambda data, start, end: self._more(1, data[start:end]),
                "on_header_end": self._header_end,
                "on_part_data": self._data,
                "on_part_end": self._part_end,
                "on_end": self._end,
            },
        )

    def _begin(self) -> None:
        self._current = Upload()

    def _more(self, place: int, data: bytes) -> None:
        self._header[place] += data

    def _header_end(self) -> None:
        name, value = self._header
        self._header = [b"", b""]
        current = self._current
        if name.lower() == b"content-disposition":
            _, options = parse_options_header(value)
            current.part = options.get(b"name", b"").decode("utf-8", "replace")
            if b"filename" in options:
                current.name = options[b"filename"].decode("utf-8", "replace")
            elif b"filename*" in value:
                current.name = _extended_name(value)
        elif name.lower() == b"content-type" and value.lower().startswith(_FILE_TYPES):
            # Some programs send a file without a name.
            current.name = current.name or ""

    def _data(self, data: bytes, start: int, end: int) -> None:
        current = self._current
        current.content += data[start:end]
        if current.name is not None:
            self._bodies.require_size(len(current.content))
        elif len(current.content) > MAX_FIELD:
            hint = ": a photograph has a filename, as in curl -F files=@photo.jpg"
            raise _too_much("field size", f"fields of {MAX_FIELD} bytes", hint)

    def _part_end(self) -> None:
        if self._current.name == "" and not self._current.content:
            self._unchosen += 1  # A browser's field for files where none was chosen.
        else:
            self.uploads.append(self._current)
        files = sum(one.name is not None for one in self.uploads)
        if files > self._limit:
            raise _too_much("files", f"{self._limit} photographs")
        if len(self.uploads) - files + self._unchosen > MAX_FIELDS:
            raise _too_much("fields", f"{MAX_FIELDS} fields")

    def _end(self) -> None:
        self.ended = True


def _extended_name(header: bytes) -> str:
    """The name of a file as RFC 5987 writes it, which older clients send; "" if it is malformed."""
    message = Message()
    message["content-disposition"] = header.decode("latin-1")
    try:
        return message.get_filename("")
    except (TypeError, ValueError, LookupError):
        return ""


def _too_much(kind: str, limit: str, hint: str = "") -> Refused:
    return Refused(413, kind, f"wanted at most {limit}; got more{hint}")


def _wrong_form(what: str) -> Refused:
    return Refused(400, "form", f"wanted a form (multipart/form-data); got {what}")
