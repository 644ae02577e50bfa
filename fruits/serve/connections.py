"""HTTP connections with timeouts for slow clients."""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.flow_control import CLOSE_HEADER
from uvicorn.protocols.http.h11_impl import H11Protocol

# The timeout for the headers of a request, and for the rest of a refused body, in seconds.
HEADER_SECONDS = 10.0

# The timeout for a client to read a response that fills the buffers, in seconds.
SEND_SECONDS = 30.0

# The timeout between two requests, in seconds: longer than that of load balancers (60).
IDLE_SECONDS = 75

# How long to wait for a request that is on its way when the server is stopped, in seconds.
GRACE_SECONDS = 0.5

# The most connections. Another one replaces an idle one, or is closed.
MAX_CONNECTIONS = 500


class PatientProtocol(H11Protocol):
    """Like uvicorn's protocol, but disconnects slow clients.

    uvicorn itself has no timeout for the headers of a request, for the rest of a refused body, and
    for a client that does not read its response.
    """

    _is_ending = False
    _arrival: asyncio.TimerHandle | None = None
    _departure: asyncio.TimerHandle | None = None

    @property
    def is_idle(self) -> bool:
        """Whether no request is in progress."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: Any) -> None:
        """Starts the timeout for the first headers."""
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            idle = (c for c in self.connections if c is not self and _is_idle(c))
            next(idle, self).transport.abort()
        self._expect()

    def data_received(self, data: bytes) -> None:
        """Stops the timeout if a request has begun; starts it if headers have begun."""
        super().data_received(data)
        self._expect()
        if self._is_ending and not self.is_idle:
            self._end_after_answer()

    def shutdown(self) -> None:
        """Closes the connection after its request, which may still be on its way."""
        self._is_ending = True
        if self.is_idle:
            self.loop.call_later(GRACE_SECONDS, self._end_if_idle)
        else:
            self._end_after_answer()

    def on_response_complete(self) -> None:
        """Starts the timeout if a refused body is still being sent."""
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY:
            self._expect()

    def pause_writing(self) -> None:
        """Starts the timeout for the client to read the buffers."""
        super().pause_writing()
        self._departure = self.loop.call_later(SEND_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Stops the timeout for reading the buffers."""
        super().resume_writing()
        self._departure = _stop(self._departure)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops all timeouts."""
        self._arrival, self._departure = _stop(self._arrival), _stop(self._departure)
        super().connection_lost(exc)

    def _end_after_answer(self) -> None:
        """Closes the connection after the present response, and tells the client so.

        Otherwise, the client would send its next request to a connection that is being closed. This
        acts as if the client had requested the end, because uvicorn has no other way.
        """
        self.cycle.keep_alive = False
        scope = self.cycle.scope
        if CLOSE_HEADER not in scope["headers"]:
            scope["headers"] = [*scope["headers"], CLOSE_HEADER]

    def _end_if_idle(self) -> None:
        if self.is_idle and not self.transport.is_closing():
            super().shutdown()

    def _expect(self) -> None:
        if not self.is_idle or self.transport.is_closing():
            self._arrival = _stop(self._arrival)
        elif self._arrival is None:
            self._arrival = self.loop.call_later(HEADER_SECONDS, self.transport.abort)


def _is_idle(connection: Any) -> bool:
    return isinstance(connection, PatientProtocol) and connection.is_idle


def _stop(timer: asyncio.TimerHandle | None) -> asyncio.TimerHandle | None:
    if timer is not None:
        timer.cancel()
    return None
