"""Reads the description of a network in a folder.

The folder has an ONNX file, an OpenVINO IR or a Keras 3 archive, and the preprocessing in a file of
Hugging Face, timm, OpenVINO or ``input.json``. Reading needs neither an engine nor Keras.
"""

import hashlib
import json
import posixpath
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fruits.errors import BackboneError, one_line
from fruits.networks import huggingface, model_info, timm_config
from fruits.networks.folder_files import opened, read_content, read_json, sha256_of
from fruits.networks.onnx_file import references
from fruits.networks.recipe import EXAMPLE, Recipe, recipe
from fruits.storage.failures import store_errors
from fruits.storage.location import Location

# The kinds of networks by the suffix of the file, in the order for messages.
KINDS = {".onnx": "onnx", ".xml": "openvino", ".keras": "keras"}

_MOST_MODEL = 2 << 30


@dataclass(frozen=True)
class Sought:
    """The purpose of reading a folder, for messages.

    Attributes:
        option: The option of a run that names the folder.
        wanted: The values that the option accepts.
    """

    option: str
    wanted: str


BACKBONE = Sought(
    "backbone", "the name of a network (see `fruits run --help`) or a folder with a network"
)
DETECTOR = Sought("crop", "a folder with a detector")


@dataclass(frozen=True)
class NetworkFolder:
    """A network in a folder.

    Attributes:
        place: The location of the folder.
        kind: The kind of network, a value of :data:`KINDS`.
        files: The names of the needed files in the folder, that of the network first.
        recipe: The preprocessing, and the output to use.
        features: The numbers of features that the folder names.
        classes: The numbers of classes that the folder names.
        sha256: The SHA-256 of everything that affects the features, in hexadecimal.
        detector: The object ``detector`` in ``input.json``; None if there is none.
    """

    place: Location
    kind: str
    files: tuple[str, ...]
    recipe: Recipe
    features: frozenset[int]
    classes: frozenset[int]
    sha256: str = field(repr=False)
    detector: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        """The name of the network, which is the name of the folder."""
        return posixpath.basename(self.place.path.rstrip("/")) or "network"

    @contextmanager
    def copied(self, sought: Sought = BACKBONE) -> Iterator[Path]:
        """Yields a temporary folder of the same name with the needed files and the descriptions.

        An engine that opens the copy can then read no other files.

        Args:
            sought: the purpose, for messages.

        Raises:
            BackboneError: the files cannot be copied.
        """
        with ExitStack() as stack:
            try:
                target = Path(stack.enter_context(tempfile.TemporaryDirectory())) / self.name
                with store_errors(self.place.uri):
                    self._copy_to(target)
            except OSError as error:
                raise BackboneError(
                    f"{sought.option}: {self.place} cannot be copied into a temporary folder "
                    f"({one_line(error)}): free some space, or set TMPDIR to another folder"
                ) from error
            yield target

    def _copy_to(self, target: Path) -> None:
        for name in (*self.files, *_SAYING):
            if name not in self.files and not self.place.filesystem.exists(_below(self, name)):
                continue
            copy = target / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            with opened(self.place, name) as source, copy.open("wb") as file:
                shutil.copyfileobj(source, file)


_PREPROCESSOR, _PROCESSOR = "preprocessor_config.json", "processor_config.json"


_SAYING = ("input.json", _PREPROCESSOR, _PROCESSOR, "config.json")


def read_folder(place: str | Path, sought: Sought = BACKBONE) -> NetworkFolder:
    """Reads the description of the network in a folder.

    Args:
        place: path or URI of the folder.
        sought: the purpose of reading it.

    Raises:
        BackboneError: there is no network, or its description is incomplete; the message begins
            with the option.
    """
    location = Location.of(str(place))
    with _errors(location, str(place), sought):
        own = read_json(location, "input.json")
        detector = own.pop("detector", None)
        if not isinstance(detector, dict | None):
            raise BackboneError("input.json: wanted detector as an object")
        files = _files(location, own.get("file"))
        kind = KINDS[posixpath.splitext(files[0])[1].lower()]
        config = read_json(location, "config.json")
        said, sources = _said(location, own, config, files[0] if kind == "openvino" else None)
        found = recipe(said, sources)
        about = timm_config if timm_config.is_timm(config) else huggingface
        features, classes = about.widths(config)
        digests = [sha256_of(location, name) for name in files]
    said_all = asdict(found)
    # Earlier versions had no crop: without it, digests do not change.
    del said_all["input"]["crop"]
    decides = [said_all, sorted(features), sorted(classes), digests]
    return NetworkFolder(
        location,
        kind,
        files,
        found,
        frozenset(features),
        frozenset(classes),
        hashlib.sha256(json.dumps(decides).encode()).hexdigest(),
        detector,
    )


def _files(location: Location, named: Any) -> tuple[str, ...]:
    """The names of the network's file and of the other files that it needs."""
    if named is not None:
        name = _inner(named, "input.json names the file")
    else:
        found = _networks(location)
        if len(found) != 1:
            # Repositories for transformers.js have their files in a folder with this name.
            below = location / "onnx"
            has_more = not found and location.filesystem.isdir(below.path)
            inner = [f"onnx/{name}" for name in _networks(below)] if has_more else []
            there = f"{', '.join(found) or 'none of them'}"
            there += f", but {', '.join(inner)}" if inner else ""
            first = min(found + inner, key=len, default="")
            hint = f': write {{"file": "{first}"}} into input.json there' if first else ""
            raise BackboneError(
                "wanted one ONNX file, one OpenVINO IR (.xml) or one .keras file in the folder; "
                f"got {there}{hint}"
            )
        [name] = found
    suffix = posixpath.splitext(name)[1].lower()
    if suffix not in KINDS:
        raise BackboneError(f"wanted a file that ends in {', '.join(KINDS)}; got {name}")
    if suffix == ".xml":
        return name, name[: -len(suffix)] + ".bin"
    if suffix == ".keras":
        return (name,)
    return name, *_external(name, read_content(location, name, _MOST_MODEL))


def _networks(location: Location) -> list[str]:
    """The files in a folder that may be networks, by their names."""
    listed = location.filesystem.ls(location.path, detail=False)
    names = sorted(posixpath.basename(path.rstrip("/")) for path in listed)
    return [one for one in names if posixpath.splitext(one)[1].lower() in KINDS]


def _external(name: str, content: bytes) -> list[str]:
    """The names of the files with the constants of an ONNX file."""
    referred = references(content)
    if referred.domains:
        raise BackboneError(
            f"wanted an ONNX file with standard operations; {name} has operations of "
            f"{', '.join(map(one_line, sorted(referred.domains)))}: export it without them"
        )
    folder = posixpath.dirname(name)
    inner = [_inner(file, f"{name} has values in the file") for file in sorted(referred.files)]
    return [posixpath.join(folder, file) for file in inner]


def _inner(name: Any, what: str) -> str:
    """Checks that a name is that of a file in the folder, and normalises it."""
    good = isinstance(name, str) and name and "\\" not in name and "\0" not in name
    if not good or name.startswith("/") or ".." in name.split("/") or ":" in name:
        raise BackboneError(f"wanted all files inside of the folder; {what} {one_line(repr(name))}")
    return posixpath.normpath(str(name))


def _said(
    location: Location, own: dict[str, Any], config: dict[str, Any], xml: str | None
) -> tuple[dict[str, Any], str]:
    """The merged values of all descriptions, and the names of the files."""
    if _is_complete(own):
        return own, "input.json"
    sources: dict[str, Callable[[], dict[str, Any]]] = {}
    if preprocessor := read_json(location, _PREPROCESSOR):
        sources[_PREPROCESSOR] = lambda: huggingface.preprocessing(preprocessor)
    if isinstance(inner := read_json(location, _PROCESSOR).get("image_processor"), dict):
        sources[_PROCESSOR] = lambda: huggingface.preprocessing(inner, _PROCESSOR)
    if timm_config.is_timm(config):
        sources["config.json"] = lambda: timm_config.preprocessing(config)
    if xml is not None:
        content = read_content(location, xml, _MOST_MODEL)
        sources[xml] = lambda: model_info.preprocessing(content)
    said: dict[str, Any] = {}
    for preprocessing in sources.values():
        try:
            new = preprocessing()
        except BackboneError as error:
            raise BackboneError(
                f"{error}: write what the network was trained with into input.json in the folder, "
                f"such as {EXAMPLE}"
            ) from None
        new = {key: value for key, value in new.items() if key not in own}
        if differing := [key for key in new if said.get(key, new[key]) != new[key]]:
            raise BackboneError(
                f"wanted one preprocessing; {' and '.join(sources)} differ in "
                f"{', '.join(differing)}: write the right one into input.json, such as {EXAMPLE}"
            )
        said |= new
    return said | own, ", ".join([*sources, *(["input.json"] if own else [])])


def _is_complete(own: dict[str, Any]) -> bool:
    try:
        recipe(own, "")
    except BackboneError:
        return False
    return True


def _below(folder: NetworkFolder, name: str) -> str:
    return (folder.place / name).path


@contextmanager
def _errors(location: Location, place: str, sought: Sought) -> Iterator[None]:
    """Adds the option and the folder to the messages of errors.

    Raises:
        BackboneError: instead of each error of the folder's files.
    """
    try:
        with store_errors(location.uri):
            yield
    except BackboneError as error:
        raise BackboneError(f"{sought.option}: {place}: {error}") from None
    except OSError as error:
        if posixpath.splitext(location.path)[1].lower() in KINDS:
            raise BackboneError(
                f"{sought.option}: wanted {sought.wanted}; got the name of a file, {place}: give "
                f"the folder, {posixpath.dirname(place) or '.'}"
            ) from None
        missing = getattr(error, "filename", None) or place
        reason = getattr(error, "strerror", None) or one_line(error)
        raise BackboneError(
            f"{sought.option}: wanted {sought.wanted}; {missing} cannot be read: {reason}"
        ) from None
