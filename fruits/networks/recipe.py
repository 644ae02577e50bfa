"""What has to be known of a network that a user brings: its preprocessing, and which output counts.

Everything is said in the words of ``input.json``; what other files say is translated into them.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from fruits.errors import BackboneError, FruitsError
from fruits.sources.resize import InputSpec

CHANNELS = ("RGB", "BGR")


LAYOUTS = ("NCHW", "NHWC")


# How one vector is made of an output: it is one already; the first token; the mean over all tokens,
# or over the height and width of a map; the mean over the tokens of patches alone.
POOLINGS = ("none", "class_token", "mean", "mean_patches")


# Of an input.json that says all there is to say where nothing else does.
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
    """How an image becomes what a network takes, and which of its outputs are the features.

    A value of a pixel, from 0 to 255, becomes ``(value * rescale - mean) / std``.

    Attributes:
        input: the shape, and how an image is brought to it.
        rescale: factor of the values.
        mean: of each channel, in the network's order of channels.
        std: of each channel.
        channels: their order, one of :data:`CHANNELS`.
        layout: one of :data:`LAYOUTS`; None where it follows from the network's shape.
        output: name of an output, of a tensor inside or of a layer; None where there is one choice.
        pooling: one of :data:`POOLINGS`; None where the output is one vector already.
        prefix_tokens: tokens before those of the patches, which ``mean_patches`` leaves out.
        file: name of the network's file; None where there is one only.

    Raises:
        BackboneError: when a value is not one that can be prepared for.
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
        """Whether the network takes the values from 0 to 255 themselves."""
        return (self.rescale, self.mean, self.std) == (1, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def recipe(said: Mapping[str, Any], folder: str, sources: str) -> Recipe:
    """The recipe that files say together.

    Args:
        said: by the words of ``input.json``.
        folder: where the network is, for messages.
        sources: names of the files that said it, for messages.

    Raises:
        BackboneError: when something is missing or unknown. Nothing is guessed.
    """
    known = {*_REQUIRED, *_OPTIONAL, *_INPUT}
    if unknown := sorted(set(said) - known):
        raise BackboneError(
            f"backbone: {folder}: wanted input.json with {', '.join(sorted(known))}; "
            f"got {', '.join(unknown)}"
        )
    if missing := [name for name in _REQUIRED if name not in said]:
        raise BackboneError(
            f"backbone: {folder}: wanted the preprocessing of the network; "
            f"{sources or 'there is no file that'} says nothing about {', '.join(missing)}: "
            f"write what it was trained with into input.json there, such as {EXAMPLE}"
        )
    try:
        spec = InputSpec(**{"reduce": False} | {n: said[n] for n in _INPUT if n in said})
        return Recipe(spec, **{name: said[name] for name in said if name not in _INPUT})
    except (FruitsError, TypeError) as error:
        raise BackboneError(f"backbone: {folder}: {sources}: {error}") from None


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]


def _require(holds: bool, name: str, wanted: str, recipe: Recipe) -> None:
    if not holds:
        raise BackboneError(f"wanted {name} as {wanted}; got {getattr(recipe, name)!r}")
