"""A compiled graph as a value: its identity, and its files in one archive."""

import io
import json
import zipfile
from dataclasses import asdict, dataclass, field

from fruits.errors import BackboneError, one_line

ENGINES = ("openvino", "tensorflow")


PRECISIONS = ("f32", "bf16")


@dataclass(frozen=True)
class CompiledGraph:
    """A backbone with its weights and preprocessing, ready to be sent to the workers.

    Attributes:
        backbone: name of the network.
        weights_sha256: SHA-256 of its weights, in hexadecimal.
        engine: what can run it, one of :data:`ENGINES`.
        precision: of the arithmetic, one of :data:`PRECISIONS`.
        side: height and width of the input, in pixels.
        dimension: number of features.
        parts: the engine's own files by name.
        exact_decode: its pixels are those of JPEG files decoded at full scale.
    """

    backbone: str
    weights_sha256: str
    engine: str
    precision: str
    side: int
    dimension: int
    parts: dict[str, bytes] = field(repr=False)
    exact_decode: bool = False

    @property
    def identity(self) -> dict[str, str]:
        """What decides the features: those of another identity must not be mixed with these."""
        names = ("backbone", "weights_sha256", "engine", "precision")
        identity = {name: getattr(self, name) for name in names}
        # Named only where it is not as usual, which features of earlier versions are.
        return identity | ({"decode": "exact"} if self.exact_decode else {})

    def to_bytes(self) -> bytes:
        """The graph as one archive."""
        meta = asdict(self) | {"parts": sorted(self.parts)}
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("graph.json", json.dumps(meta))
            for name, content in self.parts.items():
                archive.writestr(name, content)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> "CompiledGraph":
        """The graph of an archive that :meth:`to_bytes` made.

        Raises:
            BackboneError: when ``data`` is not such an archive.
        """
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                meta = json.loads(archive.read("graph.json"))
                meta["parts"] = {name: archive.read(name) for name in meta["parts"]}
            return cls(**meta)
        except Exception as error:  # A damaged archive can raise nearly anything.
            raise BackboneError(
                f"wanted a compiled graph; the data is damaged: {one_line(error)}"
            ) from error
