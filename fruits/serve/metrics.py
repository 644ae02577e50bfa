"""Metrics for Prometheus: requests, refusals, results, and drift.

To detect drift, ``fruits_distance`` counts photographs by their distance to the nearest label's
mean, relative to the threshold for unknown. Of the held-out training photographs, 1 % are above 1;
of photographs of new objects, more.
"""

from collections.abc import Callable, Iterable
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

SECONDS = (0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
DISTANCES = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 2, 3, 5)

# The prefixes of decoders' reasons; others are counted together.
REASONS = ("not an image", "damaged", "too large", "too slow", "crashed", "unsupported layout")


class Metrics:
    """The metrics of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        own: Any = {"registry": self.registry}
        self.requests = Counter(
            "fruits_requests",
            "Requests by path and HTTP status.",
            ["path", "status"],
            **own,
        )
        self.seconds = Histogram(
            "fruits_request_seconds",
            "Time from the first byte of a request to the last byte of its response.",
            ["path"],
            buckets=SECONDS,
            **own,
        )
        self.refused = Counter(
            "fruits_refused_requests",
            "Refused requests, by kind.",
            ["kind"],
            **own,
        )
        self.images = Counter(
            "fruits_images", "Photographs: known, unknown or rejected.", ["outcome"], **own
        )
        self.rejected = Counter(
            "fruits_rejected_images",
            "Rejected photographs, by reason.",
            ["reason"],
            **own,
        )
        self.distance = Histogram(
            "fruits_distance",
            "Distance to the nearest label, relative to the threshold for unknown.",
            buckets=DISTANCES,
            **own,
        )
        self.kept = Counter("fruits_kept_uploads", "Photographs stored with consent.", **own)
        self.reloads = Counter(
            "fruits_model_loads", "New models: taken over, refused or failed.", ["outcome"], **own
        )
        self.place = Gauge(
            "fruits_model_place_readable",
            "Whether the location of the model could be read at the last check: 1 or 0.",
            **own,
        )
        self.place.set(1)
        self._model = Gauge("fruits_model_info", "The present model.", ["version"], **own)
        for outcome in ("known", "unknown", "rejected"):
            self.images.labels(outcome)

    def watch(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Adds a gauge that computes its value when it is read."""
        Gauge(name, text, registry=self.registry).set_function(value)

    def model(self, version: str) -> None:
        """Sets the version of the present model."""
        self._model.clear()
        self._model.labels(version).set(1)

    def answered(self, answers: Iterable[dict[str, Any]], threshold: float | None) -> None:
        """Counts the results of photographs."""
        for answer in answers:
            if "error" in answer:
                self.images.labels("rejected").inc()
                self.rejected.labels(_kind(answer["error"])).inc()
                continue
            self.images.labels("unknown" if answer["unknown"] else "known").inc()
            if threshold:
                self.distance.observe(answer["distance"] / threshold)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)


def _kind(reason: str) -> str:
    kind = reason.partition(":")[0]
    return kind if kind in REASONS else "other"
