"""A backbone's name and weights -> a compiled graph, made once and cached on disk."""

import hashlib
import importlib
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fruits.errors import BackboneError, FruitsError, one_line
from fruits.networks import keras_weights as weight_files
from fruits.networks.catalogue import BACKBONES
from fruits.networks.graph import ENGINES, PRECISIONS, CompiledGraph
from fruits.networks.runtime import BATCH_SIZES
from fruits.storage.files import sha256_of


def compile_backbone(
    name: str,
    weights: str = "imagenet",
    engine: str = "openvino",
    precision: str = "f32",
    exact_decode: bool = False,
) -> CompiledGraph:
    """The graph of a backbone without its last layer: pixels in, average-pooled features out.

    TensorFlow and Keras are needed only when the graph is not in the cache
    (``$FRUITS_CACHE``, by default ``~/.cache/fruits``).

    Args:
        name: a key of :data:`BACKBONES`.
        weights: ``"imagenet"``, ``"random"``, or the path or URI of a Keras weights or model file.
        engine: one of :data:`fruits.networks.graph.ENGINES`.
        precision: one of :data:`fruits.networks.graph.PRECISIONS`.
        exact_decode: the workers decode JPEG files at full scale.

    Raises:
        BackboneError: when the weights are out of reach or do not fit the backbone.
    """
    for value, known in ((name, BACKBONES), (engine, ENGINES), (precision, PRECISIONS)):
        if value not in known:
            raise BackboneError(f"wanted one of {', '.join(known)}; got {value!r}")
    cached = _cache_folder() / f"{name}-{_cache_key(name, weights, engine)}.graph"
    graph = _cached(cached) or _cached_anew(cached, name, weights, engine)
    # These are the workers' choice when they load the graph: one cached graph serves all.
    return replace(graph, precision=precision, exact_decode=exact_decode)


def _cached(path: Path) -> CompiledGraph | None:
    """The graph in a file of the cache; None when it is missing or damaged, to be made anew."""
    try:
        return CompiledGraph.from_bytes(path.read_bytes())
    except (OSError, BackboneError):
        return None


def _cached_anew(path: Path, *arguments: str) -> CompiledGraph:
    """Compiles a graph into a file of the cache, which appears there whole."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            part = Path(folder) / path.name
            _run_apart(*arguments, str(part))
            graph = CompiledGraph.from_bytes(part.read_bytes())
            part.replace(path)
    except OSError as error:
        raise BackboneError(
            f"the compiled graph cannot be kept in {path.parent}: {error}; "
            "set FRUITS_CACHE to a folder that can be written"
        ) from error
    return graph


def _run_apart(*arguments: str) -> None:
    """Compiles in a process of its own: TensorFlow takes half a gigabyte, and writes to stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "fruits.networks.compile", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    if done.returncode == 2:
        raise BackboneError(done.stderr.splitlines()[-1])
    if done.returncode:
        raise RuntimeError(
            f"compiling {arguments[0]} ended with status {done.returncode}:\n{done.stderr}"
        )


def _compile(name: str, weights: str, engine: str, target: str) -> None:
    model, sha256 = keras_model(name, weights)
    graph = CompiledGraph(
        backbone=name,
        weights_sha256=sha256,
        engine=engine,
        precision="f32",
        side=BACKBONES[name].side,
        dimension=model.output_shape[-1],
        parts=_COMPILERS[engine](_traced(name, model, BATCH_SIZES[engine])),
    )
    Path(target).write_bytes(graph.to_bytes())


def keras_model(name: str, weights: str = "imagenet") -> tuple[Any, str]:
    """The Keras model of a backbone, and the SHA-256 of its weights.

    The digest is that of the weights' file; random weights, which have none, are digested
    variable by variable.

    Raises:
        BackboneError: when the weights are out of reach or do not fit the backbone.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras

    side = BACKBONES[name].side
    module = importlib.import_module(BACKBONES[name].module)
    # Keras keeps some constructors, such as MobileNetV3Large, one level up.
    constructor = getattr(module, name, None) or getattr(keras.applications, name)

    def build(source: str | None) -> Any:
        return constructor(
            weights=source, include_top=False, pooling="avg", input_shape=(side, side, 3)
        )

    model, sha256 = weight_files.weighted(name, build, module.preprocess_input, weights)
    if weights == "imagenet" and hasattr(module, "weights_file"):
        sha256 = sha256_of(str(module.weights_file()))
    return model, sha256


def _traced(name: str, model: Any, batch: int) -> Any:
    """The backbone with its own preprocessing, as a TensorFlow function of uint8 pixels."""
    import tensorflow as tf

    side = BACKBONES[name].side
    preprocess = importlib.import_module(BACKBONES[name].module).preprocess_input

    def features(pixels: Any) -> Any:
        return model(preprocess(tf.cast(pixels, tf.float32)), training=False)

    signature = tf.TensorSpec((batch, side, side, 3), tf.uint8, name="pixels")
    return tf.function(features, autograph=False).get_concrete_function(signature)


def _openvino_parts(function: Any) -> dict[str, bytes]:
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.xml"
        # By a file: given the function itself, OpenVINO 2026.4 fails on Python 3.13.
        frozen = Path(folder) / "graph.pb"
        frozen.write_bytes(_tensorflow_parts(function)["graph.pb"])
        # float16 weights would save half the bytes and cost agreement with Keras.
        openvino.save_model(openvino.convert_model(frozen), path, compress_to_fp16=False)
        frozen.unlink()
        return {file.name: file.read_bytes() for file in Path(folder).iterdir()}


def _tensorflow_parts(function: Any) -> dict[str, bytes]:
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    frozen = convert_variables_to_constants_v2(function)
    with frozen.graph.as_default():
        tf.identity(frozen.outputs[0], name="features")
    return {"graph.pb": frozen.graph.as_graph_def().SerializeToString()}


_COMPILERS = {"openvino": _openvino_parts, "tensorflow": _tensorflow_parts}


def _cache_folder() -> Path:
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fruits"
    return Path(os.environ.get("FRUITS_CACHE") or default)


def _cache_key(name: str, weights: str, engine: str) -> str:
    made_by = [version(package) for package in ("keras", "openvino")]
    identity = [name, weight_files.identity(weights), engine, BATCH_SIZES[engine], *made_by]
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]


if __name__ == "__main__":
    # OpenVINO's converter reports its use to Intel through this package where it is installed;
    # None makes its import fail, and the converter goes on without.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    try:
        _compile(*sys.argv[1:])
    except FruitsError as error:
        print(one_line(error), file=sys.stderr)
        sys.exit(2)
