"""The grid of a comparison: networks, scalers, components, classifiers. Imports no Spark."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fruits.comparison.results import CSV, JSON, PLOT
from fruits.errors import ConfigError
from fruits.options import options
from fruits.runs.config import RunConfig
from fruits.runs.output_record import LOCK

VARIED = tuple(option.name for option in options(RunConfig) if option.varied)
"""The options that may have several values in a comparison."""

# The files of the comparison in its folder.
_OWN = (posixpath.dirname(PLOT), CSV, JSON, LOCK)


@dataclass(frozen=True)
class ComparisonGrid:
    """The values that a comparison combines.

    Attributes:
        runs: A run for each network, with the first scaler and number of components.
        scalers: The names of the scalers.
        components: The numbers of components, or shares of the variance.
        classifiers: The pairs of classifier and transform.
    """

    runs: list[RunConfig]
    scalers: list[str]
    components: list[int | float]
    classifiers: list[tuple[str, str]]

    @classmethod
    def of(cls, config: RunConfig, values: Mapping[str, Sequence[Any]]) -> ComparisonGrid:
        """Checks all values.

        Args:
            config: The options that all runs share.
            values: The values of options in :data:`VARIED`, by name. The default is the value in
                ``config``; networks must be given.

        Raises:
            ConfigError: A value cannot be used, no network is given, or two have the same name.
        """
        if config.model is not None:
            raise ConfigError(
                f"model: wanted none, since a comparison fits its own models; got {config.model}: "
                "leave it out"
            )
        if unknown := [name for name in values if name not in VARIED]:
            raise ConfigError(
                f"{unknown[0]}: wanted several values of {', '.join(VARIED)} only: "
                "give this one in the configuration"
            )
        if not values.get("backbone"):
            raise ConfigError("backbone: wanted at least one network; got none: name some")
        several = {name: _different(values.get(name) or [getattr(config, name)]) for name in VARIED}
        for name, found in several.items():
            for one in found:
                replace(config, **{name: one})
        # Without a classifier, there is nothing to transform.
        pairs = [
            (kind, how if kind != "none" else config.transform)
            for kind in several["classifier"]
            for how in several["transform"]
        ]
        scalers, numbers = several["scaler"], several["components"]
        first = replace(config, scaler=scalers[0], components=numbers[0])
        runs = [
            replace(first, backbone=one, output=f"{config.output.rstrip('/')}/{name}")
            for one, name in _names(several["backbone"]).items()
        ]
        return cls(runs, scalers, numbers, _different(pairs))

    def tried(self, run: RunConfig) -> list[RunConfig]:
        """The options of the run of a network with each classifier."""
        return [
            replace(run, classifier=kind, transform=transform)
            for kind, transform in self.classifiers
        ]


def _different(values: Iterable[Any]) -> list[Any]:
    """The values in their order, each once."""
    return list(dict.fromkeys(values))


def _names(backbones: list[str]) -> dict[str, str]:
    """The name of the output of each network: the last part of its name or path."""
    names = {one: posixpath.basename(one.rstrip("/")) for one in backbones}
    counts = Counter(name.lower() for name in names.values())
    for one, name in names.items():
        if name.startswith(("_", ".")) or name in (*_OWN, ""):
            raise ConfigError(
                f"backbone: wanted a folder whose name can also name an output; got {one}: "
                "rename it"
            )
        if counts[name.lower()] > 1:
            raise ConfigError(
                f"backbone: wanted networks with different names, since they name the outputs; "
                f"got {name} more than once: rename a folder"
            )
    return names
