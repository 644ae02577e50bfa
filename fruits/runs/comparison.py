"""What a comparison of networks has found, as values: for JSON, CSV and people. Knows no Spark."""

from __future__ import annotations

import csv
import io
import json
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from fruits.classify.train import SCHEME as GROUPED

FORMAT = "fruits compare 1"
"""Says that a JSON file is a comparison."""


@dataclass(frozen=True, kw_only=True)
class Tried:
    """One classifier of the features of one network.

    Attributes:
        classifier: its kind, as asked for.
        transform: of the features, the one that was taken; None without a classifier.
        shrinkage: that was taken; None without a classifier.
        seconds: to choose, fit and evaluate it by cross-validation.
        evaluations: figures by name, the ones of the cross-validation and of each held-out side.
        skipped: why there is no classifier; None if there is one.
    """

    classifier: str
    transform: str | None = None
    shrinkage: float | None = None
    seconds: float = 0.0
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    skipped: str | None = None

    def figures(self, scheme: str) -> dict[str, Any]:
        """The figures of one scheme; empty if it was not evaluated so."""
        return next((one for one in self.evaluations if one["scheme"] == scheme), {})

    @property
    def rank(self) -> tuple[float, float]:
        """Better ones are smaller: by grouped accuracy, then by grouped log loss."""
        grouped = self.figures(GROUPED)
        if not grouped:
            return 1.0, 0.0
        loss = grouped["log_loss"]
        return -grouped["accuracy"], float("inf") if loss is None else loss


@dataclass(frozen=True, kw_only=True)
class Reduction:
    """One scaler and number of components of the features of one network.

    Attributes:
        scaler: its name.
        wanted: components as asked for: a number, or a share of the variance.
        components: how many these are; None if there cannot be so many.
        explained_variance: the share that they explain of the variance of the scaled features.
    """

    scaler: str
    wanted: int | float
    components: int | None
    explained_variance: float | None


@dataclass(frozen=True, kw_only=True)
class Network:
    """One network: what its features cost, and what came of them; or why there are none.

    Attributes:
        backbone: as asked for.
        output: folder of its run, which is complete by itself.
        error: one line; None if all went well.
        dimension: number of features.
        components: of the run.
        explained_variance: by these.
        image_seconds: to read, decode and run one image on one core; None if not measured.
        extracted: images that went through the network in this comparison, all times together.
        extract_seconds: the stage took for these, with the start of the workers.
        fit_seconds: for scaler and PCA.
        features_bytes: of the folder ``features``.
        predictor_bytes: of the folder ``predictor``; None without a classifier.
        tried: classifiers, in the order in which they were asked for.
        published: which of these the run has; None if there is none.
        reductions: each scaler with each number of components.
    """

    backbone: str
    output: str
    error: str | None = None
    dimension: int | None = None
    components: int | None = None
    explained_variance: float | None = None
    image_seconds: float | None = None
    extracted: int = 0
    extract_seconds: float = 0.0
    fit_seconds: float | None = None
    features_bytes: int | None = None
    predictor_bytes: int | None = None
    tried: list[Tried] = field(default_factory=list)
    published: int | None = None
    reductions: list[Reduction] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What it is called: the name of its output."""
        return posixpath.basename(self.output)

    @property
    def best(self) -> Tried | None:
        """The classifier that the run has."""
        return None if self.published is None else self.tried[self.published]


@dataclass(frozen=True)
class Comparison:
    """The networks, in the order in which they were asked for."""

    networks: list[Network]

    @property
    def best(self) -> Network | None:
        """The network with the best grouped accuracy; None where there is no such figure."""
        able = [one for one in self.networks if one.best and one.best.figures(GROUPED)]
        return min(able, key=lambda one: one.best.rank if one.best else (1.0, 0.0), default=None)

    @property
    def points(self) -> dict[str, tuple[float, float]]:
        """Seconds an image and grouped accuracy, by network, where both are known."""
        return {
            one.name: (one.image_seconds, one.best.figures(GROUPED)["accuracy"])
            for one in self.networks
            if one.image_seconds and one.best and one.best.figures(GROUPED)
        }

    @property
    def failed(self) -> list[Network]:
        """The networks without results."""
        return [one for one in self.networks if one.error]

    @property
    def splits(self) -> list[str]:
        """The schemes besides the grouped one, such as "split: test"."""
        found = (
            figures["scheme"]
            for network in self.networks
            for tried in network.tried
            for figures in tried.evaluations
        )
        return [scheme for scheme in dict.fromkeys(found) if scheme != GROUPED]

    def to_json(self) -> bytes:
        """The content of compare.json."""
        best = self.best
        content = {
            "format": FORMAT,
            "best": best.backbone if best else None,
            "networks": [asdict(one) for one in self.networks],
        }
        return (json.dumps(content, indent=2) + "\n").encode()

    @classmethod
    def from_json(cls, content: bytes) -> Comparison:
        """The comparison of a compare.json.

        Raises:
            ValueError: it is damaged, or something else.
        """
        try:
            read = json.loads(content)
            if read["format"] != FORMAT:
                raise ValueError(f"format {read['format']!r}")
            return cls([_network(one) for one in read["networks"]])
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no comparison: {error!r}") from error

    def to_csv(self) -> bytes:
        """The content of compare.csv: a row for each classifier of each network."""
        rows = list(self._rows())
        names = list(dict.fromkeys(name for row in rows for name in row))
        # The reason of a failure is long: it comes last.
        names = [name for name in names if name != "error"] + ["error"]
        file = io.StringIO()
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return file.getvalue().encode()

    def _rows(self) -> Iterator[dict[str, Any]]:
        for network in self.networks:
            if not network.tried:
                yield self._row(network, None)
            for tried in network.tried:
                yield self._row(network, tried)

    def _row(self, network: Network, tried: Tried | None) -> dict[str, Any]:
        row: dict[str, Any] = {
            "backbone": network.backbone,
            "best": network is self.best and tried is network.best,
            "classifier": tried and tried.classifier,
            "transform": tried and tried.transform,
            "shrinkage": tried and tried.shrinkage,
        }
        for scheme in (GROUPED, *self.splits):
            name = "grouped" if scheme == GROUPED else scheme.replace(": ", "_").replace(" ", "_")
            figures = tried.figures(scheme) if tried else {}
            for figure in ("accuracy", "log_loss", "calibration_error", "images"):
                row[f"{figure}_{name}"] = figures.get(figure)
        row |= {
            name: getattr(network, name)
            for name in (
                *("image_seconds", "extracted", "extract_seconds", "fit_seconds", "dimension"),
                *("components", "explained_variance", "features_bytes", "output"),
            )
        }
        # Only the classifier that the run has is in its predictor.
        own = tried is not None and tried is network.best
        row["predictor_bytes"] = network.predictor_bytes if own else None
        row["classify_seconds"] = tried and tried.seconds
        row["error"] = network.error or (tried.skipped if tried else None)
        return row


def best_of(tried: Sequence[Tried]) -> int:
    """The place of the best classifier; the first one where nothing was evaluated."""
    return min(range(len(tried)), key=lambda place: tried[place].rank)


def _network(content: dict[str, Any]) -> Network:
    tried = [Tried(**one) for one in content["tried"]]
    reductions = [Reduction(**one) for one in content["reductions"]]
    return Network(**content | {"tried": tried, "reductions": reductions})
