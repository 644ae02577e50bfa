"""What one run is asked to do, checked when it is made."""

from dataclasses import asdict, dataclass
from typing import Any

from fruits.errors import ConfigError
from fruits.networks.catalogue import BACKBONES
from fruits.networks.graph import ENGINES, PRECISIONS
from fruits.reduction.fit import SCALERS


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """The options of ``fruits run``, which are the parameters of the notebook.

    Attributes:
        images: URI of the folder of images (``file:``, ``s3a:``, ``s3:``, or a plain path); the
            label of an image is its parent folder.
        output: URI of the folder that receives the results.
        backbone: a name in :data:`fruits.networks.catalogue.BACKBONES`.
        weights: ``"imagenet"``, ``"random"``, or the path or URI of a Keras weights or model file.
        engine: what runs the network, one of :data:`fruits.networks.graph.ENGINES`.
        precision: of the network's arithmetic, one of :data:`fruits.networks.graph.PRECISIONS`.
        scaler: applied to the features before PCA, one of :data:`fruits.reduction.SCALERS`.
        components: an ``int`` is a number of components; a ``float`` in (0, 1] is the share of the
            variance that they shall explain.
        chunk: images committed at a time; what an interrupted run may have to do again.
        max_rejected: share of the images, in [0, 1], that may be rejected before the run fails.
        csv: also write the components as one CSV file.
        limit: use at most so many images, spread evenly over the listing; ``None`` for all.
        keep_basis: project with the scaler and the PCA of the last run instead of fitting new ones.
        overwrite: delete earlier results in ``output`` first.

    Raises:
        ConfigError: when a value is out of range or unknown.
    """

    images: str
    output: str
    backbone: str = "MobileNetV2"
    weights: str = "imagenet"
    engine: str = "openvino"
    precision: str = "f32"
    scaler: str = "minmax"
    components: int | float = 0.97
    chunk: int = 10_000
    max_rejected: float = 0.05
    csv: bool = True
    limit: int | None = None
    keep_basis: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        for name in ("images", "output", "weights"):
            _require(bool(getattr(self, name)), name, "a path or URI", getattr(self, name))
        _one_of("backbone", self.backbone, BACKBONES)
        _one_of("engine", self.engine, ENGINES)
        _one_of("precision", self.precision, PRECISIONS)
        _one_of("scaler", self.scaler, SCALERS)
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
        for name in ("csv", "keep_basis", "overwrite"):
            _require(
                isinstance(getattr(self, name), bool), name, "true or false", getattr(self, name)
            )

        _require(
            not (self.keep_basis and self.overwrite),
            "keep_basis",
            "an output whose results stay, or no overwrite",
            self.keep_basis,
        )

    def as_dict(self) -> dict[str, Any]:
        """The options by name, ready for JSON."""
        return asdict(self)


def _is_int(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _one_of(name: str, value: object, choices: Any) -> None:
    _require(value in choices, name, "one of " + ", ".join(choices), value)


def _require(holds: bool, name: str, wanted: str, value: object) -> None:
    if not holds:
        raise ConfigError(f"{name}: wanted {wanted}; got {value!r}")
