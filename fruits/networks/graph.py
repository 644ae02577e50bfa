"""A compiled graph as a value, with its files in one archive."""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import Any

from fruits.errors import BackboneError, one_line
from fruits.images.resize import InputSpec
from fruits.networks.detector import PARTS as DETECTOR_PARTS
from fruits.networks.detector import PREFIX, Detector

__all__ = ["BATCH_SIZES", "ENGINES", "PRECISIONS", "CompiledGraph", "InputSpec"]

ENGINES = ("openvino", "tensorflow")


PRECISIONS = ("f32", "bf16")


# The files of each engine's graph.
PARTS = {"openvino": ("graph.bin", "graph.xml"), "tensorflow": ("graph.pb",)}


# Increase it if the archive changes: graphs of another format are compiled again.
FORMAT = 3


HEADER_BYTES = 64 << 10


# The default batch sizes. OpenVINO: the intermediate results of two images fit in a core's cache;
# MobileNetV2 in float32 is 20 % faster than with 8 images, and no network of the catalogue is more
# than 5 % slower than with its best batch size. TensorFlow: on processors without AVX-512, the last
# bits of features depend on the position in the batch, so it gets one image at a time.
BATCH_SIZES = {"openvino": 2, "tensorflow": 1}


MOST_BATCH = 64


@dataclass(frozen=True)
class CompiledGraph:
    """A backbone with its weights and preprocessing, ready to be sent to the workers.

    Attributes:
        backbone: The name of the network.
        weights_sha256: The SHA-256 of its weights, in hexadecimal.
        engine: The engine that runs it, one of :data:`ENGINES`.
        precision: The precision of the arithmetic, one of :data:`PRECISIONS`.
        input: The input of the network.
        dimension: The number of features.
        parts: The files of the engine by name, see :data:`PARTS`.
        exact_decode: Whether JPEG files are decoded at full scale.
        batch: The batch size; by default that of :data:`BATCH_SIZES`. It affects only the speed,
            not the features.
        detector: The detector that finds the boxes to featurize; None to featurize whole
            photographs. Its files are in the parts, see :data:`fruits.networks.detector.PARTS`.
    """

    backbone: str
    weights_sha256: str
    engine: str
    precision: str
    input: InputSpec
    dimension: int
    parts: dict[str, bytes] = field(repr=False)
    exact_decode: bool = False
    batch: int = 0
    detector: Detector | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "batch", self.batch or BATCH_SIZES.get(self.engine, 1))
        if type(self.batch) is not int or not 1 <= self.batch <= MOST_BATCH:
            raise BackboneError(f"wanted a batch of 1 to {MOST_BATCH} images; got {self.batch!r}")

    @property
    def identity(self) -> dict[str, str]:
        """What the features depend on; features with different identities must not be mixed."""
        names = ("backbone", "weights_sha256", "engine", "precision")
        identity = {name: getattr(self, name) for name in names}
        # Only if it is not the default, so that features of earlier versions stay valid.
        identity |= {"decode": "exact"} if self.exact_decode else {}
        crop = f"{PREFIX}{self.detector.sha256}" if self.detector else self.input.crop
        return identity | ({"crop": crop} if crop else {})

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of everything in the graph, in hexadecimal."""
        return hashlib.sha256(json.dumps(self._header(), sort_keys=True).encode()).hexdigest()

    def require(self, **wanted: Any) -> None:
        """Checks that attributes of the graph have the wanted values.

        Raises:
            BackboneError: an attribute differs.
        """
        for name, value in wanted.items():
            if getattr(self, name) != value:
                raise BackboneError(
                    f"wanted a compiled graph with {name} {value!r}; "
                    f"got {getattr(self, name)!r}: delete the file, so that it is compiled again"
                )

    def to_bytes(self) -> bytes:
        """The graph as one archive."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("graph.json", json.dumps(self._header()))
            for name, content in self.parts.items():
                archive.writestr(name, content)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> "CompiledGraph":
        """The graph in an archive that :meth:`to_bytes` made.

        The archive has nothing else and is not compressed, so reading needs no more memory than
        ``data``. The operations of the graph are checked when it is loaded.

        Raises:
            BackboneError: ``data`` is not such an archive.
        """
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                _require_plain(archive.infolist(), len(data))
                header = json.loads(archive.read("graph.json"))
                if header.pop("format") != FORMAT:
                    raise ValueError("made by another version of fruits")
                digests = header.pop("parts")
                parts = {name: archive.read(name) for name in digests}
            graph = cls(**values_of(header), parts=parts)
            if graph._header()["parts"] != digests:
                raise ValueError("a part has another SHA-256 than announced")
            graph._require_valid()
        except Exception as error:  # A damaged archive can raise nearly anything.
            raise BackboneError(
                f"wanted a compiled graph; the data is damaged: {one_line(error)}"
            ) from error
        return graph

    def _header(self) -> dict[str, Any]:
        digests = {name: hashlib.sha256(self.parts[name]).hexdigest() for name in self.parts}
        return self.describe() | {"parts": digests, "format": FORMAT}

    def describe(self) -> dict[str, Any]:
        """Everything but the files, ready for JSON; :func:`values_of` is the inverse."""
        values = {own.name: getattr(self, own.name) for own in fields(self) if own.name != "parts"}
        values["input"] = asdict(self.input)
        # Graphs without a detector keep the digests of earlier versions, which had none.
        del values["detector"]
        return values | ({"detector": asdict(self.detector)} if self.detector else {})

    def _require_valid(self) -> None:
        if not all(isinstance(value, str) for value in self.identity.values()):
            raise ValueError("a name is not text")
        if self.engine not in ENGINES or self.precision not in PRECISIONS:
            raise ValueError("unknown engine or precision")
        if type(self.exact_decode) is not bool:
            raise ValueError("exact_decode is neither true nor false")
        if type(self.dimension) is not int or self.dimension < 1:
            raise ValueError("no number of features")
        if tuple(sorted(self.parts)) != names_of_parts(self.engine, self.detector is not None):
            raise ValueError(f"not the files of a graph for {self.engine}")


def differing(identity: Mapping[str, str], other: Mapping[str, str]) -> tuple[str, str]:
    """What differs between two identities, for messages: the values of each; "" if nothing does.

    >>> differing({"backbone": "A", "engine": "E", "decode": "exact"}, {"engine": "E"})
    ('backbone A, decode exact', 'backbone (default), decode (default)')
    """
    names = [n for n in dict.fromkeys([*identity, *other]) if identity.get(n) != other.get(n)]
    one, two = (
        ", ".join(f"{name} {of.get(name, '(default)')}" for name in names)
        for of in (identity, other)
    )
    return one, two


def names_of_parts(engine: str, with_detector: bool) -> tuple[str, ...]:
    """The names of the files of a graph, in order."""
    return tuple(sorted((*PARTS[engine], *(DETECTOR_PARTS if with_detector else ()))))


def values_of(described: dict[str, Any]) -> dict[str, Any]:
    """The attributes of a graph without its files; the inverse of :meth:`CompiledGraph.describe`.

    Raises:
        BackboneError: a value is invalid.
        KeyError, TypeError: a value is missing or of another type.
    """
    values = described | {"input": InputSpec(**described["input"])}
    if detector := values.get("detector"):
        spec = InputSpec(**detector["input"])
        values["detector"] = Detector(**detector | {"input": spec})
    return values


def _require_plain(members: Sequence[zipfile.ZipInfo], size: int) -> None:
    """Checks the members of an archive before they are read.

    Raises:
        ValueError: it has unknown members, or members that are larger than the archive.
    """
    names = [member.filename for member in members]
    allowed = {"graph.json", *DETECTOR_PARTS, *(name for own in PARTS.values() for name in own)}
    if len(set(names)) != len(names) or not set(names) <= allowed:
        raise ValueError("unknown members")
    for member in members:
        if member.compress_type != zipfile.ZIP_STORED or member.file_size > size:
            raise ValueError(f"{member.filename} is compressed, or larger than the archive")
        if member.filename == "graph.json" and member.file_size > HEADER_BYTES:
            raise ValueError("graph.json is too large")
