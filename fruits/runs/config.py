"""The options of a run, which are checked when the object is created."""

from dataclasses import asdict, dataclass
from typing import Any

from fruits.classify.model import CLASSIFIERS
from fruits.classify.transforms import TRANSFORMS
from fruits.errors import ConfigError
from fruits.images.crop import CROPS
from fruits.networks.catalogue import CHOICES
from fruits.networks.detector import PREFIX
from fruits.networks.graph import ENGINES, PRECISIONS
from fruits.options import option, options
from fruits.reduction.fit import SCALERS
from fruits.sources.naming import Naming


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """The options of ``fruits run``, which are the parameters of the notebook.

    The meaning of each option is its ``help``, which ``fruits run --help`` prints.

    Raises:
        ConfigError: A value is out of range or unknown.
    """

    images: str = option(
        metavar="URI", help="folder of images, archive or table; separate several by commas"
    )
    output: str = option(metavar="URI", help="folder for the results", changes_results=False)
    backbone: str = option(
        "MobileNetV2",
        choices=CHOICES,
        help="folder with a network, or a name (EfficientNetLite0 needs no download)",
        varied=True,
        of_model=True,
    )
    weights: str = option(
        "imagenet",
        metavar="WEIGHTS",
        help="imagenet, random, or the path or URI of a Keras weights file",
        of_model=True,
    )
    engine: str = option(
        "openvino", choices=ENGINES, help="runtime that executes the network", of_model=True
    )
    precision: str = option(
        "f32",
        choices=PRECISIONS,
        help="precision of the network; bf16 is faster where it is supported",
        of_model=True,
    )
    exact_decode: bool = option(
        False,
        help="decode JPEG files at full resolution, as Keras does; slower for large files",
        of_model=True,
    )
    crop: str | None = option(
        None,
        metavar="CROP",
        help="centre, saliency (the most salient region) or detector:FOLDER; default: whole image",
        of_model=True,
    )
    scaler: str = option(
        "minmax",
        choices=SCALERS,
        help="scaler for the features before PCA",
        varied=True,
        of_model=True,
    )
    components: int | float = option(
        0.97,
        metavar="N",
        help="share of variance to keep, such as 0.97, or number of components, such as 600",
        varied=True,
        of_model=True,
    )
    classifier: str = option(
        "lda",
        choices=CLASSIFIERS,
        help="classifier to train on the features of the labelled images",
        varied=True,
        of_model=True,
    )
    transform: str = option(
        "auto",
        choices=("auto", *TRANSFORMS),
        help="transform of the features; auto chooses the best",
        varied=True,
        of_model=True,
    )
    label: str | None = option(
        None,
        metavar="RULE",
        help="parent (default), grandparent, column:NAME, or an expression with (?P<label>...)",
        of_model=True,
    )
    split: str = option(
        "auto",
        metavar="RULE",
        help="auto (folders named train, test, validation), none (train on all), or column:NAME",
        of_model=True,
    )
    group: str | None = option(
        None,
        metavar="EXPRESSION",
        help="expression with (?P<group>...) for images of one object; default: guessed from paths",
        of_model=True,
    )
    chunk: int = option(
        10_000,
        metavar="N",
        help="maximum number of images to commit together",
        changes_results=False,
    )
    max_rejected: float = option(
        0.05, metavar="SHARE", help="maximum share of rejected images; with more, the run fails"
    )
    csv: bool = option(True, help="also write the components as one CSV file")
    atlas: bool = option(
        False, help="also write atlas.parquet, a map of the images for Embedding Atlas"
    )
    limit: int | None = option(
        None, metavar="N", help="maximum number of images to use, evenly sampled; default: all"
    )
    model: str | None = option(
        None,
        metavar="OUTPUT",
        help="use the scaler, PCA and classifier of this finished run; default: fit new ones",
    )
    allow_removed: bool = option(
        False,
        help="continue if more than a fifth of the images of earlier runs are missing",
        changes_results=False,
    )
    overwrite: bool = option(
        False, help="delete earlier results in the output first", changes_results=False
    )

    def __post_init__(self) -> None:
        for name in ("images", "output", "weights"):
            _require(bool(getattr(self, name)), name, "a path or URI", getattr(self, name))
        # Arrow, which writes the results, refuses other names.
        _require(_is_unicode(self.output), "output", "a path or URI in UTF-8", self.output)
        for about in options(RunConfig):
            value = getattr(self, about.name)
            if about.choices:
                wanted = "one of " + ", ".join(about.choices)
                wanted += ", or a folder with a network" if about.name == "backbone" else ""
                _require(value in about.choices, about.name, wanted, value)
            if about.parse is bool:
                _require(isinstance(value, bool), about.name, "true or false", value)
        _require(
            self.crop is None or self.crop in CROPS or _names_detector(self.crop),
            "crop",
            f"one of {', '.join(CROPS)}, detector:FOLDER, or nothing for whole images",
            self.crop,
        )
        _require(
            _is_count(self.components)
            or (isinstance(self.components, float) and 0 < self.components <= 1),
            "components",
            "a whole number of components from 1, or a share of variance in (0, 1] such as 0.97",
            self.components,
        )
        _require(_is_count(self.chunk), "chunk", "a whole number of images from 1", self.chunk)
        _require(
            _is_number(self.max_rejected) and 0 <= self.max_rejected <= 1,
            "max_rejected",
            "a share from 0 to 1, such as 0.05",
            self.max_rejected,
        )
        _require(
            self.limit is None or _is_count(self.limit),
            "limit",
            "a whole number of images from 1, or nothing for all",
            self.limit,
        )
        _require(
            self.model is None or bool(self.model),
            "model",
            "the output of a finished run, or nothing to fit a new model",
            self.model,
        )

        # Raises an error if a rule cannot be used.
        _ = self.naming

    @property
    def naming(self) -> Naming:
        """The rules that give the label, split and group of an image from its path.

        Raises:
            ConfigError: An expression is not valid, or does not have the named group.
        """
        # A model of labelled tables is also for photographs that no table describes.
        return Naming(self.label or "parent", self.split, self.group, bool(self.model))

    def as_dict(self) -> dict[str, Any]:
        """The options by name, ready for JSON."""
        return asdict(self)


def _names_detector(crop: str) -> bool:
    return crop.startswith(PREFIX) and crop != PREFIX


def _is_unicode(text: str) -> bool:
    return text.isascii() or text.encode("utf-8", "replace").decode() == text


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _require(holds: bool, name: str, wanted: str, value: object) -> None:
    if not holds:
        raise ConfigError(f"{name}: wanted {wanted}; got {value!r}")
