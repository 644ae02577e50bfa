"""HTTP connections that end when nothing useful comes or goes through them."""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

# For the headers of a request to come, and for what follows a refused one, in seconds.
HEADER_SECONDS = 10.0

# For a client to take an answer that fills the buffers, in seconds.
SEND_SECONDS = 30.0

# Between two requests, in seconds: longer than load balancers keep a connection (60).
IDLE_SECONDS = 75

# For a request that was on its way when the server was asked to end, in seconds.
GRACE_SECONDS = 0.5

# Connections at the same time. One more ends one that is idle, or is closed itself.
MAX_CONNECTIONS = 500


class PatientProtocol(H11Protocol):
    """Like uvicorn's, but slow clients are dropped.

    uvicorn itself waits without end for the headers of a request, reads what follows a refused one
    without end, and waits without end for a client to take its answer.
    """

    _is_ending = False
    _arrival: asyncio.TimerHandle | None = None
    _departure: asyncio.TimerHandle | None = None

    @property
    def is_idle(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: Any) -> None:
        """Starts the clock for the first headers."""
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            idle = (c for c in self.connections if c is not self and _is_idle(c))
            next(idle, self).transport.abort()
        self._expect()

    def data_received(self, data: bytes) -> None:
        """Stops the clock where a request has begun; starts it where headers have."""
        super().data_received(data)
        self._expect()
        if self._is_ending and not self.is_idle:
            self.cycle.keep_alive = False

    def shutdown(self) -> None:
        """Ends the connection after its request, which may still be on its way."""
        self._is_ending = True
        if self.is_idle:
            self.loop.call_later(GRACE_SECONDS, self._end_if_idle)
        else:
            super().shutdown()

    def on_response_complete(self) -> None:
        """Starts the clock where a refused body still comes."""
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY:
            self._expect()

    def pause_writing(self) -> None:
        """Starts the clock for the client to take what is in the buffers."""
        super().pause_writing()
        self._departure = self.loop.call_later(SEND_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Stops that clock."""
        super().resume_writing()
        self._departure = _stop(self._departure)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops all clocks."""
        self._arrival, self._departure = _stop(self._arrival), _stop(self._departure)
        super().connection_lost(exc)

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
