"""The body of a request: its bytes are counted as they come, and files taken out of forms."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.requests import ClientDisconnect, Request

from fruits.serve.refusal import Refused
from fruits.serve.settings import MIB, Settings

# A sender that sends nothing for so long, in seconds, has gone.
MAX_GAP = 10.0

# Of all requests together. Beyond that, clients are asked to try again later.
MAX_BUFFERED = 256 * MIB

# Of a form: fields that are no files, and bytes of one.
MAX_FIELDS = 8
MAX_FIELD = 1024


@dataclass(eq=False)
class Upload:
    """One file, or one field, of a request.

    Attributes:
        part: name in the form; empty for a body that is one file.
        name: of the file, as its sender calls it; None for a field.
        content: its bytes.
    """

    part: str = ""
    name: str | None = None
    content: bytearray = field(default_factory=bytearray)


class Bodies:
    """Reads bodies within the limits of the settings; counts what all requests have buffered."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.buffered = 0

    async def files(self, request: Request) -> tuple["Buffered", list[Upload], dict[str, str]]:
        """The photographs of a request, and the fields of its form.

        Returns:
            What is buffered, to be released when the request is done; the photographs; the fields.

        Raises:
            Refused: the body is too large, too slow, too many files, no form, or empty.
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
        """The body of a request as it is.

        Raises:
            Refused: it is too large or too slow.
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
            raise _wrong_form("a damaged one") from None
        if not form.ended:
            raise _wrong_form("a part of one")
        return form.uploads

    def require_size(self, size: int) -> None:
        """Checks the size of one photograph.

        Raises:
            Refused: it is too large.
        """
        limit = self.settings.max_file
        if size > limit:
            raise _too_much("file size", f"photographs of {limit} bytes")

    async def _stream(self, request: Request, buffered: "Buffered") -> AsyncIterator[bytes]:
        """The parts of a body, counted, whatever Content-Length says."""
        limit, seconds = self.settings.max_body, self.settings.upload_seconds
        too_large = _too_much("body size", f"a body of {limit} bytes")
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
                raise Refused(400, "gone", "the sender has gone") from None
            except TimeoutError:
                raise Refused(408, "slow upload", "the body came too slowly") from None
            buffered.add(len(part))
            if buffered.bytes > limit:
                raise too_large
            yield part


class Buffered:
    """The bytes of one request's body; counted until they are released."""

    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies
        self.bytes = 0

    def add(self, count: int) -> None:
        """Counts more of them.

        Raises:
            Refused: all requests together hold too much.
        """
        self.bytes += count
        self._bodies.buffered += count
        if self._bodies.buffered > MAX_BUFFERED:
            raise Refused(429, "memory", "too many large requests at once: try again later", 5)

    def release(self) -> None:
        """Counts them no more."""
        self._bodies.buffered -= self.bytes
        self.bytes = 0


class _Form:
    """Takes the parts out of a form as its bytes come; nothing is written to a disk."""

    def __init__(self, bodies: Bodies, boundary: bytes) -> None:
        self._bodies = bodies
        self._limit = bodies.settings.max_files
        self._header: list[bytes] = [b"", b""]
        self._current = Upload()
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
        if name.lower() == b"content-disposition":
            _, options = parse_options_header(value)
            self._current.part = options.get(b"name", b"").decode("utf-8", "replace")
            if b"filename" in options:
                self._current.name = options[b"filename"].decode("utf-8", "replace")

    def _data(self, data: bytes, start: int, end: int) -> None:
        current = self._current
        current.content += data[start:end]
        if current.name is not None:
            self._bodies.require_size(len(current.content))
        elif len(current.content) > MAX_FIELD:
            raise _too_much("field size", f"fields of {MAX_FIELD} bytes")

    def _part_end(self) -> None:
        self.uploads.append(self._current)
        files = sum(one.name is not None for one in self.uploads)
        if files > self._limit:
            raise _too_much("files", f"{self._limit} photographs")
        if len(self.uploads) - files > MAX_FIELDS:
            raise _too_much("fields", f"{MAX_FIELDS} fields")

    def _end(self) -> None:
        self.ended = True


def _too_much(kind: str, limit: str) -> Refused:
    return Refused(413, kind, f"wanted {limit} at most; got more")


def _wrong_form(what: str) -> Refused:
    return Refused(400, "form", f"wanted a form (multipart/form-data); got {what}")
