"""What a comparison varies: networks, and what comes after the features. Knows no Spark."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from fruits.errors import ConfigError
from fruits.runs.config import RunConfig

VARIED = ("backbone", "scaler", "components", "classifier", "transform")
"""Options of a run of which a comparison takes several values."""

# Names that the comparison itself uses in its folder.
_OWN = ("plots", "compare.csv", "compare.json", "_lock")


@dataclass(frozen=True)
class Choices:
    """What is compared.

    Attributes:
        runs: one for each network, with the first scaler and number of components.
        scalers: their names.
        components: numbers of components, or shares of the variance.
        classifiers: pairs of classifier and transform.
    """

    runs: list[RunConfig]
    scalers: list[str]
    components: list[int | float]
    classifiers: list[tuple[str, str]]

    @classmethod
    def of(
        cls,
        config: RunConfig,
        backbone: Sequence[str],
        scaler: Sequence[str] = (),
        components: Sequence[int | float] = (),
        classifier: Sequence[str] = (),
        transform: Sequence[str] = (),
    ) -> Choices:
        """Checks all values; an empty sequence stands for the value in ``config``.

        Raises:
            ConfigError: one of them cannot be used, there is no network, or two have one name.
        """
        if config.model is not None:
            raise ConfigError(
                f"model: wanted none, since each network is fitted anew; got {config.model}: "
                "leave it out"
            )
        scalers = list(dict.fromkeys(scaler or [config.scaler]))
        numbers = list(dict.fromkeys(components or [config.components]))
        # Without a classifier, there is nothing to transform.
        pairs = [
            (one, how if one != "none" else config.transform)
            for one in classifier or [config.classifier]
            for how in transform or [config.transform]
        ]
        for name in scalers:
            replace(config, scaler=name)
        for number in numbers:
            replace(config, components=number)
        for kind, how in pairs:
            replace(config, classifier=kind, transform=how)
        first = replace(config, scaler=scalers[0], components=numbers[0])
        names = _names(list(dict.fromkeys(backbone)))
        runs = [
            replace(first, backbone=one, output=f"{config.output.rstrip('/')}/{name}")
            for one, name in names.items()
        ]
        return cls(runs, scalers, numbers, list(dict.fromkeys(pairs)))


def _names(backbones: list[str]) -> dict[str, str]:
    """The name of the output of each network: the last part of its place."""
    if not backbones:
        raise ConfigError("backbone: wanted one network at least; got none: name some")
    names = {one: posixpath.basename(one.rstrip("/")) for one in backbones}
    counts = Counter(name.lower() for name in names.values())
    for one, name in names.items():
        if name.startswith(("_", ".")) or name in (*_OWN, ""):
            raise ConfigError(
                f"backbone: wanted a folder whose name can be that of an output; got {one}: "
                "rename it"
            )
        if counts[name.lower()] > 1:
            raise ConfigError(
                f"backbone: wanted networks with names of their own, by which their outputs are "
                f"called; got {name} more than once: rename a folder"
            )
    return names
