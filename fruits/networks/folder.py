"""A folder that holds a network: which of its files count, and what they say.

The folder has an ONNX file, an OpenVINO IR or a Keras 3 archive, and its preprocessing as Hugging
Face, timm, OpenVINO or an ``input.json`` says it. Reading needs neither an engine nor Keras.
"""

import hashlib
import json
import os
import posixpath
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fruits.errors import BackboneError, one_line
from fruits.networks import huggingface, model_info, timm_config
from fruits.networks.onnx_file import references
from fruits.networks.recipe import EXAMPLE, Recipe, recipe
from fruits.storage.failures import store_errors
from fruits.storage.location import Location, is_local

# The files of a network by suffix, in the order in which they are named to the user.
KINDS = {".onnx": "onnx", ".xml": "openvino", ".keras": "keras"}


_MOST_JSON = 1 << 20


_MOST_MODEL = 2 << 30


@dataclass(frozen=True)
class NetworkFolder:
    """A network in a folder.

    Attributes:
        place: of the folder.
        kind: of its file, a value of :data:`KINDS`.
        files: names of the files that are needed, the network's own first, below the folder.
        recipe: its preprocessing, and which output counts.
        features: numbers of features that the folder names.
        classes: numbers of classes that the folder names.
        sha256: of everything that decides the features, in hexadecimal.
        detector: what ``input.json`` says of the network as a detector; None if nothing.
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
        """What the network is called: the name of the folder."""
        return posixpath.basename(self.place.path.rstrip("/")) or "network"

    def copy_to(self, folder: Path) -> Path:
        """Copies the files that are needed, and what they say, into a folder of its name.

        Nothing else can then be read by an engine that opens the copy.
        """
        target = folder / self.name
        for name in (*self.files, *_SAYING):
            if name not in self.files and not self.place.filesystem.exists(_below(self, name)):
                continue
            copy = target / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            with _reading(self.place, name) as source, copy.open("wb") as file:
                shutil.copyfileobj(source, file)
        return target


_SAYING = ("input.json", "preprocessor_config.json", "config.json")


def read_folder(place: str | Path) -> NetworkFolder:
    """What is in the folder of a network.

    Raises:
        BackboneError: when it is none, or does not say all that has to be known.
    """
    location = Location.of(str(place))
    with _errors(location, str(place)):
        own = _json(location, "input.json")
        detector = own.pop("detector", None)
        if not isinstance(detector, dict | None):
            raise BackboneError("input.json: wanted detector as an object")
        files = _files(location, own.get("file"))
        kind = KINDS[posixpath.splitext(files[0])[1].lower()]
        config = _json(location, "config.json")
        said, sources = _said(location, own, config, files[0] if kind == "openvino" else None)
        found = recipe(said, str(place), sources)
        about = timm_config if timm_config.is_timm(config) else huggingface
        features, classes = about.widths(config)
        digests = [_sha256(location, name) for name in files]
    said_all = asdict(found)
    # The networks of earlier versions keep their digests.
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
    """The file of the network, and those that it needs."""
    if named is not None:
        name = _inner(named, "input.json names the file")
    else:
        listed = location.filesystem.ls(location.path, detail=False)
        names = sorted(posixpath.basename(path.rstrip("/")) for path in listed)
        found = [one for one in names if posixpath.splitext(one)[1].lower() in KINDS]
        if len(found) != 1:
            there = f"{', '.join(found) or 'none of them'}"
            hint = f': write {{"file": "{found[0]}"}} into input.json there' if found else ""
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
    return name, *_external(name, _content(location, name, _MOST_MODEL))


def _external(name: str, content: bytes) -> list[str]:
    """Names of the files next to an ONNX file that hold its constants."""
    referred = references(content)
    if referred.domains:
        raise BackboneError(
            f"wanted an ONNX file of standard operations; {name} has some of "
            f"{', '.join(map(one_line, sorted(referred.domains)))}: export it without them"
        )
    folder = posixpath.dirname(name)
    inner = [_inner(file, f"{name} has values in the file") for file in sorted(referred.files)]
    return [posixpath.join(folder, file) for file in inner]


def _inner(name: Any, what: str) -> str:
    """A name of a file below the folder."""
    good = isinstance(name, str) and name and "\\" not in name and "\0" not in name
    if not good or name.startswith("/") or ".." in name.split("/") or ":" in name:
        raise BackboneError(f"wanted all files inside of the folder; {what} {one_line(repr(name))}")
    return posixpath.normpath(str(name))


def _said(
    location: Location, own: dict[str, Any], config: dict[str, Any], xml: str | None
) -> tuple[dict[str, Any], str]:
    """What all files say together, and their names."""
    if _is_complete(own):
        return own, "input.json"
    sources: dict[str, Callable[[], dict[str, Any]]] = {}
    if preprocessor := _json(location, "preprocessor_config.json"):
        sources["preprocessor_config.json"] = lambda: huggingface.preprocessing(preprocessor)
    if timm_config.is_timm(config):
        sources["config.json"] = lambda: timm_config.preprocessing(config)
    if xml is not None:
        content = _content(location, xml, _MOST_MODEL)
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
        if differing := [key for key in new if said.get(key, new[key]) != new[key]]:
            raise BackboneError(
                f"wanted one preprocessing; {' and '.join(sources)} differ in "
                f"{', '.join(differing)}: write the right one into input.json, such as {EXAMPLE}"
            )
        said |= new
    return said | own, ", ".join([*sources, *(["input.json"] if own else [])])


def _is_complete(own: dict[str, Any]) -> bool:
    try:
        recipe(own, "", "")
    except BackboneError:
        return False
    return True


def _json(location: Location, name: str) -> dict[str, Any]:
    """The content of a JSON file of the folder; nothing where there is none."""
    if not location.filesystem.exists((location / name).path):
        return {}
    try:
        found = json.loads(_content(location, name, _MOST_JSON))
    except (ValueError, RecursionError) as error:
        raise BackboneError(f"{name} is not JSON: {one_line(error)}") from None
    if not isinstance(found, dict):
        raise BackboneError(f"{name}: wanted an object; got {type(found).__name__}")
    return found


def _content(location: Location, name: str, most: int) -> bytes:
    with _reading(location, name) as file:
        content: bytes = file.read(most + 1)
    if len(content) > most:
        raise BackboneError(f"{name}: wanted {most:,} bytes at most")
    return content


def _sha256(location: Location, name: str) -> str:
    with _reading(location, name) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _reading(location: Location, name: str) -> Iterator[Any]:
    """Opens a file of the folder.

    A link may lead to elsewhere in the folder, or to where Hugging Face's cache keeps the files of
    the same repository.
    """
    path = (location / name).path
    if is_local(location.filesystem):
        folder = os.path.realpath(location.path)
        blobs = os.path.join(os.path.dirname(os.path.dirname(folder)), "blobs")
        real = os.path.realpath(path)
        if not any(real.startswith(f"{parent}/") for parent in (folder, blobs)):
            raise BackboneError(
                f"wanted all files inside of the folder; {name} is a link to {real}"
            )
    with location.filesystem.open(path, "rb") as file:
        yield file


def _below(folder: NetworkFolder, name: str) -> str:
    return (folder.place / name).path


@contextmanager
def _errors(location: Location, place: str) -> Iterator[None]:
    """Puts the folder in front of what is wrong with it.

    Raises:
        BackboneError: for each error of the folder's files.
    """
    try:
        with store_errors(location.uri):
            yield
    except BackboneError as error:
        begin = "backbone: "
        text = str(error)
        raise BackboneError(text if text.startswith(begin) else f"{begin}{place}: {text}") from None
    except OSError as error:
        missing = getattr(error, "filename", None) or place
        reason = getattr(error, "strerror", None) or one_line(error)
        raise BackboneError(
            f"backbone: wanted a network of the catalogue, or a folder with one; "
            f"{missing} cannot be read: {reason}"
        ) from None
