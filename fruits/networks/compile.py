"""Compiles a backbone with its weights into a graph, once, and caches it on disk."""

import hashlib
import importlib
import json
import os
import stat
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fruits.errors import BackboneError, FruitsError, one_line
from fruits.networks import keras_weights as weight_files
from fruits.networks.catalogue import BACKBONES, require_known
from fruits.networks.compile_detector import compile_detector
from fruits.networks.compile_process import disable_telemetry, run_module, write_result
from fruits.networks.convert import graph_of, network_files
from fruits.networks.detector import PREFIX
from fruits.networks.folder import read_folder
from fruits.networks.graph import BATCH_SIZES, ENGINES, FORMAT, PRECISIONS, CompiledGraph
from fruits.networks.traced import as_openvino, frozen_graph
from fruits.storage.cache import cache_folder
from fruits.storage.files import sha256_of
from fruits.storage.location import Location
from fruits.storage.processes import ending

# The largest network of the catalogue has 94 MB.
MAX_GRAPH_BYTES = 2 << 30

# The packages whose versions change a compiled graph. Only networks of Keras depend on the first.
_MADE_BY = ("keras", "openvino")


def compile_backbone(
    name: str,
    weights: str = "imagenet",
    engine: str = "openvino",
    precision: str = "f32",
    exact_decode: bool = False,
    crop: str | None = None,
) -> CompiledGraph:
    """The graph of a backbone without its last layer: pixels in, average-pooled features out.

    TensorFlow is loaded only if the graph is not in the cache (``$FRUITS_CACHE``, by default
    ``~/.cache/fruits``). Networks of the catalogue and ``.keras`` files always need an installed
    Keras, because its version identifies their graphs. Other networks need neither.

    Args:
        name: a key of :data:`BACKBONES`, or the path or URI of a folder with a network
            (:mod:`fruits.networks.folder`).
        weights: ``"imagenet"``, ``"random"``, or the path or URI of a Keras weights or model file;
            a folder has its own weights.
        engine: one of :data:`fruits.networks.graph.ENGINES`.
        precision: one of :data:`fruits.networks.graph.PRECISIONS`.
        exact_decode: whether workers decode JPEG files at full scale.
        crop: one of :data:`fruits.images.crop.CROPS`, ``detector:`` and the path or URI of a
            folder with a detector (:mod:`fruits.networks.compile_detector`), or None for whole
            images.

    Raises:
        BackboneError: the weights cannot be found or do not fit the backbone.
    """
    for value, known in ((engine, ENGINES), (precision, PRECISIONS)):
        if value not in known:
            raise BackboneError(f"wanted one of {', '.join(known)}; got {value!r}")
    graph = (
        _of_catalogue(name, weights, engine)
        if name in BACKBONES
        else _of_folder(name, weights, engine)
    )
    # Workers apply these options when they load the graph, so one cached graph is enough. If large
    # images are not reduced while they are decoded, decoding is always exact.
    exact_decode = exact_decode and graph.input.reduce
    graph = replace(graph, precision=precision, exact_decode=exact_decode)
    if crop and crop.startswith(PREFIX):
        detector, parts = compile_detector(crop.removeprefix(PREFIX))
        # Boxes may be small parts of a photograph, so photographs are always decoded at full scale.
        return replace(graph, exact_decode=False, detector=detector, parts=graph.parts | parts)
    return replace(graph, input=replace(graph.input, crop=crop or ""))


def _of_catalogue(name: str, weights: str, engine: str) -> CompiledGraph:
    made_from = weight_files.identity(weights)
    wanted = {
        "backbone": name,
        "engine": engine,
        "precision": "f32",
        "input": BACKBONES[name].input,
        "dimension": BACKBONES[name].dimension,
    }
    if made_from != weights:  # It is the SHA-256 of a file.
        wanted["weights_sha256"] = made_from
    cached = cache_folder() / f"{name}-{_cache_key(name, made_from, engine, _MADE_BY)}.graph"
    return _cached(cached, wanted) or _compile_into(cached, wanted, name, weights, engine)


def _of_folder(place: str, weights: str, engine: str) -> CompiledGraph:
    require_known(place)
    if engine != "openvino":
        raise BackboneError(f"engine: wanted openvino for the network in {place}; got {engine}")
    if weights != "imagenet":
        raise BackboneError(
            f"weights: wanted none, because the network in {place} has its own; got {weights!r}: "
            "leave out the option"
        )
    folder = read_folder(place)
    wanted = {
        "backbone": folder.name,
        "weights_sha256": folder.sha256,
        "engine": engine,
        "precision": "f32",
        "input": folder.recipe.input,
    }
    made_by = _MADE_BY if folder.kind == "keras" else _MADE_BY[1:]
    key = _cache_key(folder.name, folder.sha256, engine, made_by)
    cached = cache_folder() / f"folder-{key}.graph"
    if graph := _cached(cached, wanted):
        return graph
    with folder.copied() as local:
        return _compile_into(cached, wanted, str(local), weights, engine)


def _cached(path: Path, wanted: dict[str, Any]) -> CompiledGraph | None:
    """The graph in a file of the cache; None if there is no file that can be trusted.

    The file decides what is executed, so it is used only if no other user can have written it, and
    if it is the wanted graph. Otherwise, the graph is compiled again and the file replaced.
    """
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode) or not _is_private(about):
                return None
            graph = CompiledGraph.from_bytes(file.read(MAX_GRAPH_BYTES))
        graph.require(**wanted)
    except (OSError, BackboneError):
        return None
    return graph


def _is_private(about: os.stat_result) -> bool:
    """Whether only this user and root can write a file."""
    writable_by_others = about.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return about.st_uid in (os.getuid(), 0) and not writable_by_others


def _compile_into(path: Path, wanted: dict[str, Any], *arguments: str) -> CompiledGraph:
    """Compiles a graph into a file of the cache, which is written atomically."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            part = Path(folder) / path.name
            _compile_in_subprocess(*arguments, str(part))
            part.chmod(0o600)
            graph = CompiledGraph.from_bytes(part.read_bytes())
            graph.require(**wanted)
            part.replace(path)
    except OSError as error:
        raise BackboneError(
            f"the compiled graph cannot be stored in {path.parent}: {error}: "
            "set FRUITS_CACHE to a folder that can be written"
        ) from error
    return graph


def _compile_in_subprocess(*arguments: str) -> None:
    """Runs :func:`_compile` in a child process: TensorFlow needs 500 MB and writes to stderr.

    Raises:
        BackboneError: the process refused the network, with the reason in one line.
    """
    done = run_module("fruits.networks.compile", *arguments)
    if done.returncode < 0 and arguments[0] not in BACKBONES:
        raise BackboneError(
            f"backbone: {Path(arguments[0]).name}: the engine crashed with "
            f"{ending(done.returncode)} while reading it: use another file of the network"
        )
    if done.returncode:
        raise RuntimeError(
            f"compiling {arguments[0]} ended with status {done.returncode}:\n{done.stderr}"
        )


def _compile(name: str, weights: str, engine: str, target: str) -> None:
    disable_telemetry()
    if name not in BACKBONES:
        write_result(Path(target), graph_of(Path(name)).to_bytes())
        return
    model, sha256 = keras_model(name, weights)
    graph = CompiledGraph(
        backbone=name,
        weights_sha256=sha256,
        engine=engine,
        precision="f32",
        input=BACKBONES[name].input,
        dimension=model.output_shape[-1],
        parts=_COMPILERS[engine](_traced(name, model, BATCH_SIZES[engine])),
    )
    write_result(Path(target), graph.to_bytes())


def keras_model(name: str, weights: str = "imagenet") -> tuple[Any, str]:
    """The Keras model of a backbone, and the SHA-256 of its weights.

    The digest is that of the weights' file; random weights, which have no file, are hashed variable
    by variable.

    Raises:
        BackboneError: the weights cannot be found or do not fit the backbone.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras

    side = BACKBONES[name].input.height
    module = importlib.import_module(BACKBONES[name].module)
    # Some constructors, such as MobileNetV3Large, are only in keras.applications itself.
    constructor = getattr(module, name, None) or getattr(keras.applications, name)

    def build(source: str | None) -> Any:
        return constructor(
            weights=source, include_top=False, pooling="avg", input_shape=(side, side, 3)
        )

    model, sha256 = weight_files.weighted(name, build, module.preprocess_input, weights)
    if weights == "imagenet" and hasattr(module, "weights_file"):
        sha256 = sha256_of(Location.of(str(module.weights_file())))
    return model, sha256


def _traced(name: str, model: Any, batch: int) -> Any:
    """The backbone with its preprocessing, as a TensorFlow function of uint8 pixels."""
    import tensorflow as tf

    side = BACKBONES[name].input.height
    preprocess = importlib.import_module(BACKBONES[name].module).preprocess_input

    def features(pixels: Any) -> Any:
        return model(preprocess(tf.cast(pixels, tf.float32)), training=False)

    signature = tf.TensorSpec((batch, side, side, 3), tf.uint8, name="pixels")
    return tf.function(features, autograph=False).get_concrete_function(signature)


def _openvino_parts(function: Any) -> dict[str, bytes]:
    return network_files(as_openvino(function))


def _tensorflow_parts(function: Any) -> dict[str, bytes]:
    return {"graph.pb": frozen_graph(function)}


_COMPILERS = {"openvino": _openvino_parts, "tensorflow": _tensorflow_parts}


def _cache_key(name: str, made_from: str, engine: str, made_by: Sequence[str]) -> str:
    versions = [version(package) for package in made_by]
    identity = [name, made_from, engine, BATCH_SIZES[engine], FORMAT, *versions]
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]


if __name__ == "__main__":
    try:
        _compile(*sys.argv[1:])
    except FruitsError as error:
        print(one_line(error), file=sys.stderr)
        sys.exit(2)
