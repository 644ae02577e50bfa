"""Replaces the model if there is a new one at its location, unless it is damaged or incomplete."""

import asyncio
import logging

from fruits.errors import FruitsError, OutputError
from fruits.serve import snapshot
from fruits.serve.child import ChildDied, ModelRefused
from fruits.serve.engine import Engine
from fruits.serve.metrics import Metrics
from fruits.storage.location import Location

log = logging.getLogger(__name__)

# Errors whose message says enough; others are logged with a traceback.
_EXPECTED = (FruitsError, OSError, ChildDied)

# The most checks from one try to the next, if a model cannot be loaded again and again.
MOST_CHECKS = 32


class Reload:
    """Checks for a new model.

    Args:
        engine: the engine whose model is replaced.
        place: the location of the model.
        metrics: the metrics to update.
    """

    def __init__(self, engine: Engine, place: Location, metrics: Metrics) -> None:
        self._engine, self._place, self._metrics = engine, place, metrics
        assert engine.model is not None
        self._seen = self._tried = engine.model.stamp
        self._wait = self._pause = 0
        metrics.model(engine.model.version)

    async def run(self, seconds: float) -> None:
        """Checks every `seconds` seconds; never if that is 0."""
        while seconds:
            await asyncio.sleep(seconds)
            await self.look()

    async def look(self) -> None:
        """Loads a change after two checks with the same result: it may be incomplete before.

        If it cannot be loaded, it is tried again at the next check, then after 2, 4, 8 checks.
        """
        try:
            stamp = await asyncio.to_thread(snapshot.stamp, self._place)
        except Exception as error:  # Clients of stores raise errors of many types.
            self._metrics.place.set(0)
            reason = "the location of the model cannot be read: %s"
            log.warning(reason, error, exc_info=not isinstance(error, _EXPECTED))
            return
        self._metrics.place.set(1)
        if stamp != self._seen:
            self._wait = self._pause = 0
        elif self._wait > 1:
            self._wait -= 1
        elif stamp != self._tried:
            self._tried = stamp
            await self._take_over()
        self._seen = stamp

    async def _take_over(self) -> None:
        engine, old = self._engine, self._engine.model
        assert old is not None
        new = old
        try:
            new = await snapshot.take(self._place)
            if new.version != old.version:
                await engine.swap(new)
        except (OutputError, ModelRefused) as error:
            self._metrics.reloads.labels("refused").inc()
            log.error("a new model is refused, model %s stays: %s", old.version, error)
        except Exception as error:
            # The model may be good: it is tried again. Each try costs a copy and processes.
            self._tried = ""
            self._wait = self._pause = min(2 * self._pause or 1, MOST_CHECKS)
            self._metrics.reloads.labels("failed").inc()
            reason = "a new model cannot be loaded now, model %s stays: %s"
            expected = isinstance(error, _EXPECTED)
            log.error(reason, old.version, error, exc_info=not expected)
        if engine.model is new and new is not old:
            old.delete()
            self._metrics.reloads.labels("taken over").inc()
            self._metrics.model(new.version)
            log.info("model %s takes over from %s", new.version, old.version)
        elif new is not old:
            new.delete()
