"""Chooses the batch size of a network: the fastest one that does not change its features."""

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fruits.errors import BackboneError
from fruits.networks.graph import MOST_BATCH
from fruits.networks.openvino_network import compile_openvino, drawn_pictures, network_of

# Two is best for small convolutional networks, whose intermediate results then fit in a core's
# cache. Larger batches are better if reading the weights of a layer dominates.
BATCHES = (1, 2, 4, 8)


# A larger batch needs more memory, so it must be at least 3 % faster.
WORTH = 0.97


# A batch is measured for so many seconds, or so many times if that takes less.
SECONDS = 1.0
MOST_RUNS = 200


Pixels = NDArray[np.uint8]


Features = NDArray[np.float32]


def fastest_batch(model: Any) -> tuple[int, int, Any]:
    """Measures which batch size takes the least time per image.

    Args:
        model: an ``openvino.Model`` from uint8 (n, height, width, 3) to float32 (n, d).

    Returns:
        The batch size, the number of features, and the model for this batch.

    Raises:
        BackboneError: the model runs with none of the batch sizes.
    """
    sides = tuple(side.get_length() for side in list(model.input(0).get_partial_shape())[1:3])
    pixels = drawn_pictures(max(_batches(model)), *sides)
    candidates = [one for batch in _batches(model) if (one := _candidate(model, batch)) is not None]
    if not candidates:
        raise BackboneError(
            f"wanted a network for a batch of {' or '.join(map(str, _batches(model)))} images; "
            "it takes none of these: export it for one of them"
        )
    alone = _features(candidates[0], pixels)
    best, *others = candidates
    least = _seconds(best, pixels)
    for one in others:
        if not _agree(_features(one, pixels), alone):
            continue
        if (seconds := _seconds(one, pixels)) < WORTH * least:
            best, least = one, seconds
    return best.batch, alone.shape[1], best.model


def _batches(model: Any) -> list[int]:
    """The batch sizes to try, including the one for which the network was exported."""
    exported = model.input(0).get_partial_shape()[0]
    fixed = [exported.get_length()] if exported.is_static else []
    return sorted({*BATCHES, *(one for one in fixed if one <= MOST_BATCH)})


class _Candidate:
    """A model for a batch size, compiled in the same way as in a worker."""

    def __init__(self, model: Any, batch: int) -> None:
        self.model, self.batch = model.clone(), batch
        height, width = list(model.input(0).get_partial_shape())[1:3]
        self.model.reshape([batch, height, width, 3])
        shape = self.model.output(0).get_partial_shape()
        if shape.is_dynamic or shape.rank.get_length() != 2 or shape[0] != batch:
            raise ValueError(f"its output has the shape {shape}")
        self.network = network_of(compile_openvino(self.model, "f32"))

    def __call__(self, pixels: Pixels) -> Features:
        return self.network(pixels)


def _candidate(model: Any, batch: int) -> _Candidate | None:
    """The model for a batch size; None if it does not support it."""
    try:
        return _Candidate(model, batch)
    except (RuntimeError, ValueError):
        return None


def _features(candidate: _Candidate, pixels: Pixels) -> Features:
    """The features of the pictures that fill complete batches."""
    size = candidate.batch
    starts = range(0, len(pixels) - size + 1, size)
    return np.concatenate([candidate(pixels[start : start + size]) for start in starts])


def _agree(some: Features, others: Features) -> bool:
    """Whether the common pictures have the same features, bit for bit."""
    count = min(len(some), len(others))
    return np.array_equal(some[:count], others[:count], equal_nan=True)


def _seconds(candidate: _Candidate, pixels: Pixels) -> float:
    """The shortest time per image, because other processes can only increase the time."""
    times: list[float] = []
    end = time.perf_counter() + SECONDS
    while len(times) < 3 or (len(times) < MOST_RUNS and time.perf_counter() < end):
        begin = time.perf_counter()
        candidate(pixels[: candidate.batch])
        times.append((time.perf_counter() - begin) / candidate.batch)
    return min(times)
