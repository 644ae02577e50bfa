"""Compiles OpenVINO models for the threads of a task, for batches and for single images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fruits.networks.graph import CompiledGraph

Network = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def compile_openvino(model: Any, precision: str, threads: int = 1) -> Any:
    """Compiles a model for this machine's processor.

    Args:
        model: an ``openvino.Model``.
        precision: one of `fruits.networks.graph.PRECISIONS`.
        threads: the number of threads of a request.

    Returns:
        An ``openvino.CompiledModel``.
    """
    import openvino

    settings: dict[str, Any] = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
    # Pinning would put the thread of every worker process on the same core.
    settings |= {"ENABLE_CPU_PINNING": False, "INFERENCE_PRECISION_HINT": precision}
    return openvino.Core().compile_model(model, "CPU", settings)


def network_of(compiled: Any) -> Network:
    """Wraps a compiled model as a network; only one thread may use it at a time.

    Args:
        compiled: an ``openvino.CompiledModel`` from uint8 (n, height, width, 3) to float32 (n, d).
    """
    request = compiled.create_infer_request()

    def run(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        # A copy, because the request writes its next result into the same memory.
        return np.array(request.infer([pixels])[0], np.float32)

    return run


def network_for_one(graph: CompiledGraph, network: Network, threads: int = 1) -> Network | None:
    """The network of a graph for one image at a time, if its features have the same bits.

    Args:
        graph: a graph for the engine OpenVINO.
        network: the network of the same graph for batches.
        threads: the number of threads of ``network``.

    Returns:
        None if the graph supports no other batch size, or if the bits differ.
    """
    import openvino

    height, width = graph.input.height, graph.input.width
    model = openvino.Core().read_model(
        model=graph.parts["graph.xml"], weights=graph.parts["graph.bin"]
    )
    try:
        model.reshape([1, height, width, 3])
        if tuple(model.output(0).shape) != (1, graph.dimension):
            return None
        alone = network_of(compile_openvino(model, graph.precision, threads))
    except RuntimeError:  # The batch size is fixed inside the graph.
        return None
    pictures = drawn_pictures(graph.batch, height, width)
    one_by_one = np.concatenate([alone(picture[np.newaxis]) for picture in pictures])
    return alone if np.array_equal(one_by_one, network(pictures), equal_nan=True) else None


def drawn_pictures(count: int, height: int, width: int) -> NDArray[np.uint8]:
    """Different pictures that are smooth like photographs."""
    rng = np.random.default_rng(0)
    coarse = [Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8)) for _ in range(count)]
    return np.stack([np.asarray(few.resize((width, height))) for few in coarse])
