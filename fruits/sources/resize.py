"""What shape the pixels of an image are brought to, and how."""

from dataclasses import dataclass

from PIL import Image

from fruits.errors import BackboneError
from fruits.sources.crop import CROPS, SMALLEST

# ``squash`` brings both sides to the wanted ones and does not keep the proportions;
# ``shortest_edge`` keeps them and cuts out the centre; ``pad`` keeps them and fills the borders.
RESIZES = ("squash", "shortest_edge", "pad")


INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "lanczos": Image.Resampling.LANCZOS,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
}


# Where a crop begins when an odd number of pixels is cut off: at the pixel before the centre, as
# Hugging Face's processors do, or at the nearest even one, as torchvision and timm do.
ROUNDINGS = ("down", "even")


MOST_PIXELS = 4096


# Pixels of the resized image for each that is cut out of it: of an image 16 times as long as wide,
# the rest is not made at all.
MOST_RESIZED = 20


@dataclass(frozen=True)
class InputSpec:
    """What a network takes, and how an image becomes it.

    A compiled graph takes uint8 RGB of shape (n, height, width, 3); its own scaling of the values
    (mean and standard deviation), layout and order of channels are part of the graph.

    Attributes:
        height: in pixels.
        width: in pixels; that of the height where it is left out.
        resize: one of :data:`RESIZES`.
        interpolation: one of :data:`INTERPOLATIONS`.
        edge: pixels of the shortest edge (of both, for ``squash``) before the centre is cut out;
            the smaller side where it is left out, which for ``squash`` cuts nothing off.
        rounding: of the place where the crop begins, one of :data:`ROUNDINGS`.
        fill: the colour of the borders of ``pad``, as RGB.
        reduce: a large image is first brought to twice the wanted size at least in the fastest way
            (JPEG decoded at a smaller scale, blocks of pixels averaged), which changes values by
            little.
        crop: the part of the image that counts, one of :data:`fruits.sources.crop.CROPS`; empty
            for all of it. It is not the network's, but a choice of the run.

    Raises:
        BackboneError: when a value is not one that images can be prepared for.
    """

    height: int = 224
    width: int = 0
    resize: str = "squash"
    interpolation: str = "bicubic"
    edge: int = 0
    rounding: str = "down"
    fill: tuple[int, ...] = (0, 0, 0)
    reduce: bool = True
    crop: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "width", self.width or self.height)
        object.__setattr__(self, "fill", tuple(self.fill))
        for name, least in (("height", 1), ("width", 1), ("edge", 0)):
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= MOST_PIXELS:
                raise BackboneError(
                    f"input: wanted {name} of {least} to {MOST_PIXELS} pixels; got {value!r}"
                )
        choices = {"resize": RESIZES, "interpolation": INTERPOLATIONS, "rounding": ROUNDINGS}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise BackboneError(
                    f"input: wanted {name} as one of {', '.join(known)}; "
                    f"got {getattr(self, name)!r}"
                )
        self._require_crop_inside()
        if len(self.fill) != 3 or not all(type(n) is int and 0 <= n <= 255 for n in self.fill):
            raise BackboneError(
                f"input: wanted fill as three numbers from 0 to 255; got {self.fill!r}"
            )
        if self.crop not in ("", *CROPS):
            raise BackboneError(
                f"input: wanted crop as one of {', '.join(CROPS)}, or empty; got {self.crop!r}"
            )
        if type(self.reduce) is not bool:
            raise BackboneError(f"input: wanted reduce as true or false; got {self.reduce!r}")

    def _require_crop_inside(self) -> None:
        if self.edge and self.resize == "pad":
            raise BackboneError("input: wanted no edge with resize 'pad', which cuts nothing off")
        if self.edge and self.edge < max(self.height, self.width):
            raise BackboneError(
                f"input: wanted an edge of {max(self.height, self.width)} pixels or more, from "
                f"which {self.height} x {self.width} can be cut out; got {self.edge}"
            )

    @property
    def is_squeezed_square(self) -> bool:
        """Whether all of an image goes into a square: then it may be turned before or after."""
        whole = not self.edge and not self.crop
        return self.resize == "squash" and self.height == self.width and whole

    def target(self, width: int, height: int) -> tuple[int, int]:
        """Width and height that an image of this width and height is resized to."""
        if self.resize == "squash":
            return (self.edge, self.edge) if self.edge else (self.width, self.height)
        if self.resize == "shortest_edge":
            edge = self.edge or max(self.width, self.height)
            if width <= height:
                return edge, int(edge * height / width)
            return int(edge * width / height), edge
        scale = min(self.width / width, self.height / height)
        return max(round(width * scale), 1), max(round(height * scale), 1)

    def least_side(self) -> int | None:
        """The smallest side at which an image may be decoded; None where it must be in full."""
        if not self.reduce or self.resize == "pad":
            return None
        # The box around what stands out is a part of the image only.
        times = SMALLEST if self.crop == "saliency" else 2
        return times * (self.edge or max(self.height, self.width))


def resize(image: Image.Image, spec: InputSpec) -> Image.Image:
    """An upright image, brought to the shape that a network takes."""
    width, height = spec.target(image.width, image.height)
    left = _begin(width - spec.width, spec.rounding)
    top = _begin(height - spec.height, spec.rounding)
    if spec.resize == "pad":
        return _padded(_resized(image, spec, (width, height)), spec)
    if width * height <= MOST_RESIZED * spec.width * spec.height:
        image = _resized(image, spec, (width, height))
        whole = (left, top, width, height) == (0, 0, spec.width, spec.height)
        return image if whole else image.crop((left, top, left + spec.width, top + spec.height))
    # A picture of one row, say: in full, it would be resized to gigabytes.
    across, down = image.width / width, image.height / height
    right, bottom = (left + spec.width) * across, (top + spec.height) * down
    box = (left * across, top * down, min(right, image.width), min(bottom, image.height))
    return _resized(image, spec, (spec.width, spec.height), box)


def _resized(
    image: Image.Image,
    spec: InputSpec,
    size: tuple[int, int],
    box: tuple[float, float, float, float] | None = None,
) -> Image.Image:
    gap = 3.0 if spec.reduce else None
    return image.resize(size, INTERPOLATIONS[spec.interpolation], box, reducing_gap=gap)


def _padded(image: Image.Image, spec: InputSpec) -> Image.Image:
    place = (spec.width - image.width) // 2, (spec.height - image.height) // 2
    whole = Image.new("RGB", (spec.width, spec.height), spec.fill)
    whole.paste(image, place)
    return whole


def _begin(cut_off: int, rounding: str) -> int:
    # Python rounds halves to the even number, and so does torchvision, which is Python.
    return round(cut_off / 2) if rounding == "even" else cut_off // 2
