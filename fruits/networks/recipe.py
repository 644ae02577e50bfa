"""The description of a user's network: its preprocessing, and the output with the features.

All values have the names of ``input.json``; values of other files are translated to these.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from fruits.errors import BackboneError, FruitsError
from fruits.images.resize import InputSpec

CHANNELS = ("RGB", "BGR")


LAYOUTS = ("NCHW", "NHWC")


# How an output becomes one vector: it already is one; the first token; the mean over all tokens, or
# over the height and width of a map; the mean over the tokens of patches only.
POOLINGS = ("none", "class_token", "mean", "mean_patches")


# A complete input.json, for messages.
EXAMPLE = (
    '{"height": 224, "width": 224, "resize": "squash", "interpolation": "bicubic", '
    '"rescale": 0.00392156862745098, "mean": [0.485, 0.456, 0.406], '
    '"std": [0.229, 0.224, 0.225], "channels": "RGB"}'
)


_REQUIRED = ("height", "resize", "interpolation", "rescale", "mean", "std", "channels")


_OPTIONAL = ("layout", "output", "pooling", "prefix_tokens", "file")


# A crop is a choice of the run, not of the network.
_INPUT = tuple(own.name for own in fields(InputSpec) if own.name != "crop")


@dataclass(frozen=True)
class Recipe:
    """The preprocessing of a network, and its output with the features.

    A pixel value from 0 to 255 becomes ``(value * rescale - mean) / std``.

    Attributes:
        input: The shape of the input, and how to resize images.
        rescale: The factor for pixel values.
        mean: The mean of each channel, in the network's order of channels.
        std: The standard deviation of each channel, in the same order.
        channels: The order of the channels, one of :data:`CHANNELS`.
        layout: The layout, one of :data:`LAYOUTS`; None to derive it from the network's shape.
        output: The name of an output, inner tensor or layer; None if there is only one candidate.
        pooling: The pooling, one of :data:`POOLINGS`; None if the output already is one vector.
        prefix_tokens: The number of tokens before the patches, which ``mean_patches`` ignores.
        file: The name of the network's file; None if there is only one.

    Raises:
        BackboneError: a value is invalid.
    """

    input: InputSpec
    rescale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channels: str
    layout: str | None = None
    output: str | None = None
    pooling: str | None = None
    prefix_tokens: int = 1
    file: str | None = None

    def __post_init__(self) -> None:
        _require(_is_number(self.rescale) and self.rescale > 0, "rescale", "a number above 0", self)
        for name in ("mean", "std"):
            values = getattr(self, name)
            numbers = isinstance(values, list | tuple) and len(values) == 3
            numbers = numbers and all(map(_is_number, values))
            _require(numbers, name, "three numbers, one for each channel", self)
            object.__setattr__(self, name, tuple(map(float, values)))
        _require(min(self.std) > 0, "std", "three numbers above 0", self)
        for name, known in (("channels", CHANNELS), ("layout", LAYOUTS), ("pooling", POOLINGS)):
            optional = (None,) if name in _OPTIONAL else ()
            wanted = f"one of {', '.join(known)}"
            _require(getattr(self, name) in (*known, *optional), name, wanted, self)
        for name in ("output", "file"):
            value = getattr(self, name)
            _require(
                value is None or (isinstance(value, str) and value != ""), name, "a name", self
            )
        counted = type(self.prefix_tokens) is int and self.prefix_tokens >= 0
        _require(counted, "prefix_tokens", "a number of tokens", self)

    @property
    def is_identity(self) -> bool:
        """Whether the network takes pixel values from 0 to 255 unchanged."""
        return (self.rescale, self.mean, self.std) == (1, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def recipe(said: Mapping[str, Any], sources: str) -> Recipe:
    """Makes a recipe from the merged values of description files.

    Args:
        said: the values, with the names of ``input.json``.
        sources: the names of the files, for messages.

    Raises:
        BackboneError: a value is missing or unknown; nothing is guessed.
    """
    known = {*_REQUIRED, *_OPTIONAL, *_INPUT}
    if unknown := sorted(set(said) - known):
        raise BackboneError(
            f"wanted input.json with {', '.join(sorted(known))}; got {', '.join(unknown)}"
        )
    if missing := [name for name in _REQUIRED if name not in said]:
        raise BackboneError(
            f"wanted the preprocessing of the network; "
            f"{sources or 'there is no file that'} says nothing about {', '.join(missing)}: "
            f"write what it was trained with into input.json there, such as {EXAMPLE}"
        )
    try:
        spec = InputSpec(**{"reduce": False} | {n: said[n] for n in _INPUT if n in said})
        return Recipe(spec, **{name: said[name] for name in said if name not in _INPUT})
    except (FruitsError, TypeError) as error:
        raise BackboneError(f"{sources}: {error}") from None


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]


def _require(holds: bool, name: str, wanted: str, recipe: Recipe) -> None:
    if not holds:
        raise BackboneError(f"wanted {name} as {wanted}; got {getattr(recipe, name)!r}")
