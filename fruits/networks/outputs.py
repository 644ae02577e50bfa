"""Finds the output of a network with the features, and pools it to one vector.

Scores of classes are not features: they are refused unless the user names the output.
"""

from collections.abc import Collection, Iterator
from typing import Any

from fruits.errors import BackboneError
from fruits.networks.recipe import Recipe

# Names that exporters use for one vector per image.
POOLED = frozenset(
    ("pooler_output", "image_embeds", "image_embedding", "image_embeddings", "image_features")
)


SCORES = frozenset(("logits", "logits_per_image", "probs", "probabilities", "scores"))


# Operations that may be between the scores and the end of the network, and between the last layer
# and the end.
_WRAPPED = ("Result", "Identity", "Convert", "Reshape", "Squeeze")
_PASSED = (*_WRAPPED, "Softmax", "LogSoftmax", "Sigmoid", "Add", "Multiply")


def feature_output(
    model: Any, recipe: Recipe, widths: tuple[Collection[int], Collection[int]]
) -> Any:
    """The output, or inner tensor, with the features.

    Args:
        model: an ``openvino.Model``.
        recipe: may name the output.
        widths: the known numbers of features, and of classes.

    Returns:
        An ``openvino.Output``.

    Raises:
        BackboneError: there are several candidates, or the only one has scores of classes.
    """
    if recipe.output:
        return named_output(model, recipe.output)
    pooled = [port for port in model.outputs if POOLED & port.get_names()]
    if len(pooled) == 1 and recipe.pooling in (None, "none"):
        return pooled[0].get_node().input_value(0)
    if recipe.pooling not in (None, "none"):
        pooled = [port for port in model.outputs if _rank(port) > 2]
        _refuse_scores(pooled, widths)
    else:
        vectors = [port for port in model.outputs if _is_vector(port)]
        pooled = [port for port in vectors if _width(port) in {*widths[0]} - {*widths[1]}]
        if len(pooled) != 1 or SCORES & pooled[0].get_names():
            _refuse_scores(vectors, widths)
    if len(pooled) != 1:
        usable = [port for port in model.outputs if _rank(port) > 1]
        if not usable:
            for port in model.outputs:
                _require_rank(port)
        raise BackboneError(
            f"wanted the name of the output with the features; there {_list(model.outputs)}: write "
            f"into input.json {_example((usable or model.outputs)[0])}"
        )
    return pooled[0].get_node().input_value(0)


def vector_of(port: Any, recipe: Recipe, layout: str) -> Any:
    """Pools an output to one vector for each image.

    Args:
        port: an output of shape (n, d), (n, d, 1, 1), (n, tokens, d), or a map in the layout.
        recipe: the kind of pooling.
        layout: the layout of the input, and so of a map.

    Returns:
        An ``openvino.Node`` of shape (n, d), float32.

    Raises:
        BackboneError: the pooling does not fit the shape.
    """
    from openvino import opset13 as ops

    _require_rank(port)
    pooling, rank = recipe.pooling or "none", _rank(port)
    ways = {2: ["none"], 3: ["class_token", "mean", "mean_patches"], 4: ["mean"]}.get(rank, [])
    if _is_vector(port):
        ways = ["none"]
    if pooling not in ways:
        raise BackboneError(
            f"wanted pooling as one of {', '.join(ways) or 'none for this shape'}, for the output "
            f"{_name(port)} of shape {_shape(port)}; got {pooling}: write into input.json "
            f"{_example(port)}"
        )
    if pooling == "class_token":
        port = ops.gather(port, ops.constant(0), ops.constant(1)).output(0)
    elif pooling == "none" and rank > 2:
        port = ops.squeeze(port, ops.constant(list(range(2, rank)))).output(0)
    elif pooling != "none":
        if pooling == "mean_patches":
            begin, end, step = [recipe.prefix_tokens], [2**31 - 1], [1]
            parts = (ops.constant(values) for values in (begin, end, step, [1]))
            port = ops.slice(port, *parts).output(0)
        map_axes = [2, 3] if layout == "NCHW" else [1, 2]
        axes = [1] if rank == 3 else map_axes
        port = ops.reduce_mean(port, ops.constant(axes)).output(0)
    return ops.convert(port, "f32")


def named_output(model: Any, name: str) -> Any:
    """The output, or inner tensor, with a name.

    Raises:
        BackboneError: there is no such output.
    """
    for operation in model.get_ordered_ops():
        for port in operation.outputs():
            if name in port.get_names() or (name == operation.get_friendly_name()):
                result = operation.get_type_name() == "Result"
                return operation.input_value(0) if result else port
    raise BackboneError(f"wanted the output {name}; there {_list(model.outputs)}")


def _require_rank(port: Any) -> None:
    """Checks that the number of dimensions of an output is known before the network runs."""
    if port.get_partial_shape().rank.is_dynamic:
        raise BackboneError(
            f"wanted an output with a fixed number of dimensions; {_name(port)} may have any: "
            "export the network again, for example with flatten(1) instead of squeeze(), or name "
            "another output in input.json"
        )


def _refuse_scores(ports: Collection[Any], widths: tuple[Collection[int], Collection[int]]) -> None:
    features, classes = widths
    for port in ports:
        counted = _width(port) in classes and _width(port) not in features
        if counted or SCORES & port.get_names() or _ends_in_softmax(port):
            inner = _before_last_layer(port)
            hint = f'; the features before its last layer: {{"output": "{inner}"}}' if inner else ""
            raise BackboneError(
                f"wanted features; the output {_name(port)!r} of shape {_shape(port)} contains "
                f'scores of classes: write into input.json {{"output": "{_name(port)}"}} if you '
                f"want those{hint}"
            )


def _back(port: Any, steps: Collection[str]) -> Iterator[Any]:
    """Yields the operations before an output while their types are in `steps`, and one more."""
    node = port.get_node()
    for _ in range(20):
        yield node
        if node.get_type_name() not in steps:
            return
        node = node.input_value(0).get_node()


def _ends_in_softmax(port: Any) -> bool:
    return any("Softmax" in node.get_type_name() for node in _back(port, _WRAPPED))


def _before_last_layer(port: Any) -> str | None:
    """The name of the input of the layer that computes the scores."""
    *_, last = _back(port, _PASSED)
    if last.get_type_name() not in ("MatMul", "Convolution"):
        return None
    return _name(last.input_value(0))


def _rank(port: Any) -> int:
    """The number of dimensions; 0 also if it is not fixed."""
    rank = port.get_partial_shape().rank
    return int(rank.get_length()) if rank.is_static else 0


def _is_vector(port: Any) -> bool:
    """Whether the shape is (n, d), or (n, d, 1, 1)."""
    if _rank(port) < 2:
        return False
    others = list(port.get_partial_shape())[2:]
    return all(side.is_static and side.get_length() == 1 for side in others)


def _width(port: Any) -> int:
    width = port.get_partial_shape()[2 if _rank(port) == 3 else 1]
    return int(width.get_length()) if width.is_static else 0


def _name(port: Any) -> str:
    names = sorted(port.get_names(), key=lambda name: (len(name), name))
    return str(names[0] if names else port.get_node().get_friendly_name())


def _shape(port: Any) -> str:
    if port.get_partial_shape().rank.is_dynamic:
        return "(any shape)"
    sides = [str(s.get_length()) if s.is_static else "n" for s in port.get_partial_shape()]
    return f"({', '.join(['n', *sides[1:]][: len(sides)])})"


def shapes_of(model: Any) -> str:
    """The outputs of a network, for a message: "is output (n, 5)"."""
    return _list(model.outputs)


def _list(ports: Collection[Any]) -> str:
    named = ", ".join(f"{_name(port)} {_shape(port)}" for port in ports)
    return f"{'is' if len(ports) == 1 else 'are'} {named}"


def _example(port: Any) -> str:
    if _is_vector(port):
        return f'{{"output": "{_name(port)}"}}'
    pooling = "class_token" if _rank(port) == 3 else "mean"
    other = ' (or "mean", "mean_patches")' if _rank(port) == 3 else ""
    return f'{{"output": "{_name(port)}", "pooling": "{pooling}"}}{other}'
