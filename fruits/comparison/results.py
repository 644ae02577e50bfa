"""The results of a comparison of networks, for JSON, CSV and the terminal. Imports no Spark."""

from __future__ import annotations

import csv
import io
import json
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from fruits.classify.train import SCHEME as GROUPED

JSON, CSV, PLOT = "compare.json", "compare.csv", "plots/compare.png"
"""The files of a comparison in its folder."""

FORMAT = "fruits compare 1"
"""The value of ``format`` in the JSON file of a comparison."""


@dataclass(frozen=True, kw_only=True)
class Tried:
    """One classifier that was tried on the features of one network.

    Attributes:
        classifier: The kind of the classifier, as in the options.
        transform: The transform of the features that was chosen; None without a classifier.
        shrinkage: The shrinkage that was chosen; None without a classifier.
        seconds: The seconds to choose, fit and cross-validate the classifier.
        evaluations: The figures by name, of the cross-validation and of each held-out side.
        skipped: The reason why there is no classifier; None if there is one.
    """

    classifier: str
    transform: str | None = None
    shrinkage: float | None = None
    seconds: float = 0.0
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    skipped: str | None = None

    def figures(self, scheme: str) -> dict[str, Any]:
        """The figures of one scheme; empty if there is no such evaluation."""
        return next((one for one in self.evaluations if one["scheme"] == scheme), {})

    @property
    def rank(self) -> tuple[float, float]:
        """A key to sort by, best first: by grouped accuracy, then by grouped log loss."""
        grouped = self.figures(GROUPED)
        if not grouped:
            return 1.0, 0.0
        loss = grouped["log_loss"]
        return -grouped["accuracy"], float("inf") if loss is None else loss


@dataclass(frozen=True, kw_only=True)
class ReductionResult:
    """The result of one scaler and one number of components for one network.

    Attributes:
        scaler: The name of the scaler.
        wanted: The number of components, or the share of the variance, as in the options.
        components: The number of components; None if that many are not possible.
        explained_variance: The share of the variance of the scaled features that they explain.
    """

    scaler: str
    wanted: int | float
    components: int | None
    explained_variance: float | None


@dataclass(frozen=True, kw_only=True)
class Network:
    """The costs and results of one network, or the reason why it failed.

    Attributes:
        backbone: The network, as in the options.
        output: The output folder of its run.
        error: The reason of the failure in one line; None if the run succeeded.
        dimension: The number of features.
        components: The number of components of the run.
        explained_variance: The share of the variance that these components explain.
        image_seconds: The seconds of one core to read, decode and run one image; None if they were
            not measured.
        extracted: The images that went through the network, in all calls of this comparison.
        extract_seconds: The seconds for these images, with the start of the workers.
        fit_seconds: The seconds to fit scaler and PCA.
        features_bytes: The bytes of the folder ``features``.
        predictor_bytes: The bytes of the folder ``predictor``; None without a classifier.
        tried: The classifiers in the order of the options.
        published: The index of the run's classifier in ``tried``; None if the run has none.
        reductions: The results of each scaler with each number of components.
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
    reductions: list[ReductionResult] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The name of its output folder."""
        return posixpath.basename(self.output)

    @property
    def best(self) -> Tried | None:
        """The classifier that the run has."""
        return None if self.published is None else self.tried[self.published]


@dataclass(frozen=True)
class Comparison:
    """The networks of a comparison, in the order of the options."""

    networks: list[Network]

    @property
    def best(self) -> Network | None:
        """The network with the best grouped accuracy; None if no network has one."""
        evaluated = [
            (one.best.rank, number)
            for number, one in enumerate(self.networks)
            if one.best and one.best.figures(GROUPED)
        ]
        return self.networks[min(evaluated)[1]] if evaluated else None

    @property
    def points(self) -> dict[str, tuple[float, float]]:
        """The seconds per image and the grouped accuracy by network, if both are known."""
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
        """The other schemes, such as "split: test"."""
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
            ValueError: The file is damaged, or not of a comparison.
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
        # The reason of a failure is long, so it is the last column.
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
        # The predictor has only the published classifier.
        own = tried is not None and tried is network.best
        row["predictor_bytes"] = network.predictor_bytes if own else None
        row["classify_seconds"] = tried and tried.seconds
        row["error"] = network.error or (tried.skipped if tried else None)
        return row


def best_of(tried: Sequence[Tried]) -> int:
    """The index of the best classifier; 0 if nothing was evaluated."""
    return min(range(len(tried)), key=lambda index: tried[index].rank)


def _network(content: dict[str, Any]) -> Network:
    tried = [Tried(**one) for one in content["tried"]]
    reductions = [ReductionResult(**one) for one in content["reductions"]]
    return Network(**content | {"tried": tried, "reductions": reductions})
