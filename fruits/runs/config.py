"""What one run is asked to do, checked when it is made."""

from dataclasses import asdict, dataclass
from typing import Any

from fruits.classify.model import CLASSIFIERS, TRANSFORMS
from fruits.errors import ConfigError
from fruits.networks.catalogue import CHOICES
from fruits.networks.detector import PREFIX
from fruits.networks.graph import ENGINES, PRECISIONS
from fruits.reduction.fit import SCALERS
from fruits.runs.options import option, options
from fruits.sources.crop import CROPS
from fruits.sources.naming import Naming


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """The options of ``fruits run``, which are the parameters of the notebook.

    What each one means is said once, in its ``help``; ``fruits run --help`` prints it.

    Raises:
        ConfigError: when a value is out of range or unknown.
    """

    images: str = option(
        metavar="URI", help="folder of images, archive or table, or several with commas"
    )
    output: str = option(metavar="URI", help="folder of the results")
    backbone: str = option(
        "MobileNetV2",
        choices=CHOICES,
        help="a network, or a folder with one; EfficientNetLite0 needs no download",
    )
    weights: str = option(
        "imagenet", metavar="WEIGHTS", help="imagenet, random, or the path or URI of a Keras file"
    )
    engine: str = option("openvino", choices=ENGINES, help="what runs the network")
    precision: str = option(
        "f32",
        choices=PRECISIONS,
        help="of the arithmetic; bf16 is faster where the processor has it",
    )
    exact_decode: bool = option(
        False, help="decode JPEG files at full scale, as Keras does; large ones take longer"
    )
    crop: str | None = option(
        None,
        metavar="CROP",
        help="centre, saliency (what stands out) or detector:FOLDER; whole images if left out",
    )
    scaler: str = option("minmax", choices=SCALERS, help="applied to the features before PCA")
    components: int | float = option(
        0.97, metavar="N", help="a share of the variance such as 0.97, or a number such as 600"
    )
    classifier: str = option(
        "lda", choices=CLASSIFIERS, help="trained on the features of the labelled images"
    )
    transform: str = option(
        "auto",
        choices=("auto", *TRANSFORMS),
        help="of the features before the classifier; auto takes the best",
    )
    label: str | None = option(
        None,
        metavar="RULE",
        help="parent (the default), grandparent, or an expression with a group (?P<label>...)",
    )
    split: str = option(
        "auto",
        metavar="RULE",
        help="auto goes by folders named train, test or validation on the path; none: no split",
    )
    group: str | None = option(
        None,
        metavar="EXPRESSION",
        help="with a group (?P<group>...) that images of one object share; guessed if left out",
    )
    chunk: int = option(10_000, metavar="N", help="at most so many images are committed together")
    max_rejected: float = option(
        0.05, metavar="SHARE", help="the run fails if more than this share cannot be used"
    )
    csv: bool = option(True, help="also write the components as one CSV file")
    atlas: bool = option(
        False, help="also write atlas.parquet, a map of the images for Embedding Atlas"
    )
    limit: int | None = option(
        None, metavar="N", help="use at most so many images, evenly chosen; all if left out"
    )
    model: str | None = option(
        None,
        metavar="OUTPUT",
        help="use scaler, PCA and classifier of a finished run; fit new ones if left out",
    )
    allow_removed: bool = option(
        False, help="go on where more than a fifth of the images of earlier runs are gone"
    )
    overwrite: bool = option(False, help="delete earlier results in the output first")

    def __post_init__(self) -> None:
        for name in ("images", "output", "weights"):
            _require(bool(getattr(self, name)), name, "a path or URI", getattr(self, name))
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
            _is_int(self.components, 1)
            or (isinstance(self.components, float) and 0 < self.components <= 1),
            "components",
            "a whole number of components from 1, or a share of variance in (0, 1] such as 0.97",
            self.components,
        )
        _require(_is_int(self.chunk, 1), "chunk", "a whole number of images from 1", self.chunk)
        _require(
            _is_number(self.max_rejected) and 0 <= self.max_rejected <= 1,
            "max_rejected",
            "a share from 0 to 1, such as 0.05",
            self.max_rejected,
        )
        _require(
            self.limit is None or _is_int(self.limit, 1),
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

        # Raises where a rule cannot be used.
        _ = self.naming

    @property
    def naming(self) -> Naming:
        """The rules by which the path of an image is read.

        Raises:
            ConfigError: an expression is not one, or lacks its group.
        """
        return Naming(self.label or "parent", self.split, self.group)

    def as_dict(self) -> dict[str, Any]:
        """The options by name, ready for JSON."""
        return asdict(self)


def _names_detector(crop: str) -> bool:
    return crop.startswith(PREFIX) and crop != PREFIX


def _is_int(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _require(holds: bool, name: str, wanted: str, value: object) -> None:
    if not holds:
        raise ConfigError(f"{name}: wanted {wanted}; got {value!r}")
