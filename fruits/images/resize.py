"""Resizes images to the input shape of a network."""

from dataclasses import dataclass

from PIL import Image

from fruits.errors import BackboneError
from fruits.images.crop import CROPS, SMALLEST

# ``squash`` resizes both sides and does not keep the proportions; ``shortest_edge`` keeps them and
# crops the centre; ``pad`` keeps them and fills the borders.
RESIZES = ("squash", "shortest_edge", "pad")


INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "lanczos": Image.Resampling.LANCZOS,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
}


# Where a crop begins if an odd number of pixels is cut off: rounded down, as in Hugging Face's
# processors, or to the nearest even pixel, as in torchvision and timm.
ROUNDINGS = ("down", "even")


MOST_PIXELS = 4096


# If a resized image had more than this many pixels per pixel of the crop (as for a very long, thin
# image), only the crop is resized.
MOST_RESIZED = 20


@dataclass(frozen=True)
class InputSpec:
    """The input of a network, and how an image is resized to it.

    A compiled graph takes uint8 RGB of shape (n, height, width, 3); scaling of the values (mean and
    standard deviation), layout and order of channels are part of the graph.

    Attributes:
        height: The height in pixels.
        width: The width in pixels; by default, the height.
        resize: The way of resizing, one of :data:`RESIZES`.
        interpolation: The interpolation, one of :data:`INTERPOLATIONS`.
        edge: The shortest edge (both edges, for ``squash``) in pixels before the centre is cropped;
            by default, the larger of height and width, and no crop for ``squash``.
        rounding: The rounding of the position of the crop, one of :data:`ROUNDINGS`.
        fill: The colour of the borders of ``pad``, as RGB.
        reduce: Whether a large image is first reduced in the fastest way (JPEG decoded at a smaller
            scale, blocks of pixels averaged) to at least twice the wanted size. This changes pixels
            only slightly.
        crop: The part of the image to use, one of :data:`fruits.images.crop.CROPS`; empty for the
            whole image. It is a choice of the run, not of the network.

    Raises:
        BackboneError: a value is invalid.
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
            raise BackboneError("input: wanted no edge with resize 'pad', which does not crop")
        if self.edge and self.edge < max(self.height, self.width):
            raise BackboneError(
                f"input: wanted an edge of {max(self.height, self.width)} pixels or more, from "
                f"which {self.height} x {self.width} can be cut out; got {self.edge}"
            )

    @property
    def is_squashed_square(self) -> bool:
        """Whether the whole image is resized to a square, so it may be rotated afterwards."""
        whole = not self.edge and not self.crop
        return self.resize == "squash" and self.height == self.width and whole

    def target(self, width: int, height: int) -> tuple[int, int]:
        """The width and height to which an image of this width and height is resized."""
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
        """The smallest side at which an image may be decoded; None for full scale."""
        if not self.reduce or self.resize == "pad":
            return None
        # The salient box is only a part of the image.
        times = SMALLEST if self.crop == "saliency" else 2
        return times * (self.edge or max(self.height, self.width))


def resize(image: Image.Image, spec: InputSpec) -> Image.Image:
    """Resizes an upright image to the input shape of a network."""
    width, height = spec.target(image.width, image.height)
    left = _begin(width - spec.width, spec.rounding)
    top = _begin(height - spec.height, spec.rounding)
    if spec.resize == "pad":
        return _padded(_resized(image, spec, (width, height)), spec)
    if width * height <= MOST_RESIZED * spec.width * spec.height:
        image = _resized(image, spec, (width, height))
        whole = (left, top, width, height) == (0, 0, spec.width, spec.height)
        return image if whole else image.crop((left, top, left + spec.width, top + spec.height))
    # For example, a picture with one row: resizing all of it would need gigabytes.
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
    # Python rounds halves to the even number, and torchvision uses Python's rounding.
    return round(cut_off / 2) if rounding == "even" else cut_off // 2
