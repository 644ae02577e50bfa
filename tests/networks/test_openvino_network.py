"""A network for one image is used only if it gives the same bits as that for a batch."""

import numpy as np
import pytest

from fruits.networks.graph import CompiledGraph
from fruits.networks.openvino_network import drawn_pictures, network_for_one
from fruits.networks.runtime import compiled_network


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_single_images_have_the_same_features_as_in_a_batch(
    graph: CompiledGraph, count: int
) -> None:
    pictures = drawn_pictures(count, graph.input.height, graph.input.width)
    batches, ran = compiled_network(graph)
    single, ran_single = compiled_network(graph, one_by_one=True)
    assert ran_single == ran
    np.testing.assert_array_equal(single(pictures), batches(pictures))


def test_a_network_for_one_image_with_different_bits_is_not_used(graph: CompiledGraph) -> None:
    assert graph.batch > 1
    network, _ = compiled_network(graph)

    def off_by_one_bit(pixels: np.ndarray) -> np.ndarray:
        return np.nextafter(network(pixels), np.float32(np.inf))

    assert network_for_one(graph, off_by_one_bit) is None


def test_only_a_remaining_image_uses_the_network_for_one_image(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from fruits.networks import runtime

    sizes: list[int] = []

    def network(pixels: np.ndarray) -> np.ndarray:
        sizes.append(len(pixels))
        return pixels.reshape(len(pixels), -1)[:, :4].astype(np.float32)

    pictures = drawn_pictures(5, 8, 8)
    found = runtime._in_batches(network, 2, network)(pictures)
    np.testing.assert_array_equal(found, pictures.reshape(5, -1)[:, :4])
    assert sizes == [2, 2, 1]
