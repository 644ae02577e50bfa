"""Converts the network in a folder to "uint8 RGB (n, height, width, 3) in, float32 (n, d) out"."""

import tempfile
from pathlib import Path
from typing import Any

from fruits.errors import BackboneError, FruitsError, one_line
from fruits.networks.batch import fastest_batch
from fruits.networks.folder import NetworkFolder, read_folder
from fruits.networks.graph import CompiledGraph
from fruits.networks.graph_check import require_pure, require_safe_openvino
from fruits.networks.outputs import feature_output, vector_of
from fruits.networks.recipe import Recipe


def graph_of(place: Path) -> CompiledGraph:
    """Compiles the network of a local folder.

    Raises:
        BackboneError: it is not a network for images, or has operations that no network needs.
    """
    folder = read_folder(place)
    if folder.detector is not None:
        raise BackboneError(
            f"backbone: {folder.name}: wanted a network for features; its input.json describes a "
            "detector: use the folder with the option crop, as detector:FOLDER"
        )
    try:
        model = _pixels_to_features(read_network(folder, place), folder)
        require_pure(model)
        batch, dimension, model = fastest_batch(model)
    except FruitsError as error:
        raise BackboneError(f"backbone: {folder.name}: {error}") from None
    parts = network_files(model)
    require_safe_openvino(parts["graph.xml"], parts["graph.bin"])
    return CompiledGraph(
        backbone=folder.name,
        weights_sha256=folder.sha256,
        engine="openvino",
        precision="f32",
        input=folder.recipe.input,
        dimension=dimension,
        parts=parts,
        batch=batch,
    )


def read_network(folder: NetworkFolder, place: Path) -> Any:
    """Reads the network from its file, without changes."""
    import openvino

    path = place / folder.files[0]
    if folder.kind == "keras":
        from fruits.networks.keras_file import converted

        return converted(path, folder.recipe.output)
    if folder.kind == "openvino":
        require_safe_openvino(
            path.read_bytes(),
            (place / folder.files[1]).read_bytes(),
            "export the network without that, or copy its files again if they are damaged",
        )
    try:
        return openvino.Core().read_model(path)
    except Exception as error:  # OpenVINO raises RuntimeError and others for unknown contents.
        raise BackboneError(
            f"OpenVINO cannot read {folder.files[0]}: {engine_reason(error)}"
        ) from error


def _pixels_to_features(model: Any, folder: NetworkFolder) -> Any:
    """The network with preprocessing and pooling; the batch size is dynamic."""
    import openvino

    recipe = folder.recipe
    port, layout = image_input(model, recipe)
    set_size(model, port, layout, recipe)
    if folder.kind == "keras":  # The wanted layer is already the only output.
        feature = model.outputs[0].get_node().input_value(0)
    else:
        feature = feature_output(model, recipe, (folder.features, folder.classes))
    features = vector_of(feature, recipe, layout)
    features.output(0).set_names({"features"})
    model = openvino.Model([features], [port.get_node()], "fruits")
    return with_preprocessing(model, layout, recipe)


def image_input(model: Any, recipe: Recipe) -> tuple[Any, str]:
    """The only input of a network, and its layout."""
    names = ", ".join(port.get_any_name() for port in model.inputs)
    if len(model.inputs) != 1:
        raise BackboneError(
            f"wanted a network whose only input is an image; got the inputs {names}"
        )
    [port] = model.inputs
    shape = port.get_partial_shape()
    if shape.rank.is_dynamic or shape.rank.get_length() != 4:
        raise BackboneError(f"wanted an input of four dimensions; {names} has the shape {shape}")
    axes = {"NCHW": 1, "NHWC": 3}
    if recipe.layout:
        axes = {recipe.layout: axes[recipe.layout]}
    fixed = [layout for layout, axis in axes.items() if shape[axis] == 3 and shape[axis].is_static]
    # A dynamic side could be three as well.
    possible = fixed or [layout for layout, axis in axes.items() if shape[axis].is_dynamic]
    if len(possible) != 1:
        raise BackboneError(
            f"wanted an input of three channels; {names} has the shape {shape}"
            + (": write into input.json whether its layout is NCHW or NHWC" if possible else "")
            + (_other_layout(shape, recipe.layout) if recipe.layout and not possible else "")
        )
    return port, possible[0]


def _other_layout(shape: Any, layout: str) -> str:
    """The message about a shape that does not fit the layout in the files."""
    other, axis = ("NHWC", 3) if layout == "NCHW" else ("NCHW", 1)
    fits = shape[axis].is_static and shape[axis] == 3
    hint = f': write {{"layout": "{other}"}} into input.json' if fits else ""
    return f", which is not {layout}{hint}"


def set_size(model: Any, port: Any, layout: str, recipe: Recipe) -> None:
    """Fixes height and width, so that only the batch size is dynamic."""
    height, width = recipe.input.height, recipe.input.width
    shape = port.get_partial_shape()
    sides = [shape[0], 3, height, width] if layout == "NCHW" else [shape[0], height, width, 3]
    fixed = [
        (side.get_length(), wanted)
        for side, wanted in list(zip(shape, sides, strict=True))[1:]
        if side.is_static
    ]
    if any(have != wanted for have, wanted in fixed):
        raise BackboneError(
            f"wanted a network for images of {height} x {width} pixels, the size in the "
            f"preprocessing; got one for the shape {shape}: export it for that size, or correct "
            "input.json"
        )
    try:
        import openvino

        model.reshape({port: openvino.PartialShape(sides)})
    except RuntimeError as error:
        raise BackboneError(
            f"the network does not support {height} x {width} pixels: {engine_reason(error)}"
        ) from error


def with_preprocessing(model: Any, layout: str, recipe: Recipe) -> Any:
    """Adds the preprocessing to the network, whose input becomes uint8 RGB, NHWC."""
    from openvino import Layout, Type
    from openvino.preprocess import ColorFormat, PrePostProcessor

    steps = PrePostProcessor(model)
    pixels = steps.input()
    pixels.tensor().set_element_type(Type.u8).set_layout(Layout("NHWC"))
    pixels.tensor().set_color_format(ColorFormat.RGB)
    pixels.model().set_layout(Layout(layout))
    if recipe.channels == "BGR":
        pixels.preprocess().convert_color(ColorFormat.BGR)
    if not recipe.is_identity:
        if not model.input(0).get_element_type().is_real():
            raise BackboneError(
                "wanted rescale 1, mean 0 and std 1, because the network takes integers: "
                "correct input.json"
            )
        pixels.preprocess().convert_element_type(Type.f32)
        # In the units of the pixels: value * rescale - mean is (value - mean / rescale) * rescale.
        pixels.preprocess().mean([mean / recipe.rescale for mean in recipe.mean])
        pixels.preprocess().scale([std / recipe.rescale for std in recipe.std])
    built = steps.build()
    built.input(0).set_names({"pixels"})
    return built


def network_files(model: Any) -> dict[str, bytes]:
    """The files of the IR of a model, by their names in a compiled graph."""
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.xml"
        # float16 weights would need half the bytes, but the features would differ.
        openvino.save_model(model, path, compress_to_fp16=False)
        return {file.name: file.read_bytes() for file in Path(folder).iterdir()}


def engine_reason(error: Exception) -> str:
    """OpenVINO's error message, without the positions in its source code."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    useful = [line for line in lines if not line.startswith(("Exception from", "Check '"))]
    return one_line(" ".join(useful or lines))[:300]
