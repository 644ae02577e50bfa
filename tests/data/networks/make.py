"""Makes the networks and the expected values in this folder, with the libraries that define them.

    python -m venv /tmp/reference
    /tmp/reference/bin/pip install torch==2.15.0 transformers==5.24.0 timm==1.0.31 \
        onnx==1.23.2 onnxruntime==1.32.0 onnxscript==0.7.2
    PYTHONPATH=tests/networks:tests/images /tmp/reference/bin/python tests/data/networks/make.py

These libraries take 4 GB, so the tests use the stored values. The weights are random.
"""

import json
import os
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import timm
import torch
import transformers
from pictures import SIZES, drawn, places
from PIL import Image
from transformers import (
    ConvNextConfig,
    ConvNextModel,
    Dinov2Config,
    Dinov2Model,
    SiglipVisionConfig,
    SiglipVisionModel,
    ViTConfig,
    ViTForImageClassification,
    ViTModel,
)

HERE = Path(__file__).parent
PICTURES = [Image.fromarray(drawn(*size)) for size in SIZES]
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}


class Outputs(torch.nn.Module):
    """A network of transformers with selected outputs, in order."""

    def __init__(self, model, names):
        super().__init__()
        self.model, self.names = model, names

    def forward(self, pixel_values):
        found = self.model(pixel_values=pixel_values)
        return tuple(getattr(found, name) for name in self.names)


def export(folder, model, side, names, dynamo=False):
    folder.mkdir(exist_ok=True)
    axes = {name: {0: "batch"} for name in ("pixel_values", *names)}
    shapes = {"pixel_values": {0: torch.export.Dim.DYNAMIC}} if dynamo else None
    torch.onnx.export(
        model.eval(),
        (torch.zeros(2, 3, side, side),),
        folder / "model.onnx",
        input_names=["pixel_values"],
        output_names=names,
        dynamic_axes=None if dynamo else axes,
        dynamic_shapes=tuple(shapes.values()) if shapes else None,
        dynamo=dynamo,
        external_data=dynamo,
    )
    if dynamo:
        without_traces(folder / "model.onnx")


def without_traces(path):
    """Removes the exporter's stack traces: half of a small file, with names of local folders."""
    graph = onnx.load(path, load_external_data=False)
    for part in (graph, graph.graph, *graph.graph.node, *graph.graph.value_info):
        del part.metadata_props[:]
    for part in (*graph.graph.initializer, *graph.graph.input, *graph.graph.output):
        del part.metadata_props[:]
    onnx.save(graph, path)


def processor_of(config):
    """The slow processor for a configuration, or the fast one if there is no slow one."""
    name = config["image_processor_type"]
    return getattr(transformers, f"{name}Pil", getattr(transformers, name))(**config)


def preprocessed(config):
    """The input as float32 (pictures, 3, height, width), by the library of the configuration."""
    if "pretrained_cfg" in config:
        about = timm.data.resolve_data_config(pretrained_cfg=config["pretrained_cfg"])
        transform = timm.data.create_transform(**about)
        return np.stack([transform(picture).numpy() for picture in PICTURES])
    processor = processor_of(config)
    made = [processor(picture, return_tensors="np")["pixel_values"][0] for picture in PICTURES]
    return np.stack(made).astype(np.float32)


def sampled(pixels):
    chosen = places(pixels.shape[1:])
    return np.stack([one.ravel()[chosen] for one in pixels])


def expected(folder, config, output, pooled):
    pixels = preprocessed(config)
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    [values] = session.run([output], {"pixel_values": pixels})
    np.savez_compressed(folder / "expected.npz", pixels=sampled(pixels), features=pooled(values))
    print(folder.name, pixels.shape, pooled(values).shape, flush=True)


def hugging_face(
    name, model, processor, names, output, pooled=lambda values: values, description=None
):
    folder = HERE / name
    config = json.loads(processor.to_json_string())
    side = (config.get("crop_size") or config["size"]).get("height") or 64
    export(folder, Outputs(model, names), side, names)
    (folder / "preprocessor_config.json").write_text(json.dumps(config, indent=1))
    about = {"model_type": model.config.model_type, "num_labels": model.config.num_labels}
    for key in ("hidden_size", "hidden_sizes"):
        about |= {key: getattr(model.config, key)} if hasattr(model.config, key) else {}
    (folder / "config.json").write_text(json.dumps(about, indent=1))
    if description:
        (folder / "input.json").write_text(json.dumps(description, indent=1))
    expected(folder, config, output, pooled)


def of_timm(name, architecture, dynamo=False, **options):
    folder, changed = HERE / name, options.pop("pretrained_cfg_overlay")
    model = timm.create_model(
        architecture, num_classes=0, pretrained_cfg_overlay=changed, **options
    )
    export(folder, model, changed["input_size"][1], ["features"], dynamo)
    about = {"architecture": architecture, "num_classes": 0, "num_features": model.num_features}
    unused = ("url", "hf_hub_id")
    about["pretrained_cfg"] = {k: v for k, v in model.pretrained_cfg.items() if k not in unused}
    (folder / "config.json").write_text(json.dumps(about, indent=1, default=str))
    expected(folder, json.loads((folder / "config.json").read_text()), "features", lambda v: v)


def networks():
    torch.manual_seed(0)
    square = {"height": 64, "width": 64}
    hugging_face(
        "vit",
        ViTModel(ViTConfig(**SMALL, intermediate_size=32, image_size=64)),
        transformers.ViTImageProcessorPil(size=square),
        ["last_hidden_state", "pooler_output"],
        "pooler_output",
    )
    hugging_face(
        "vit-scores",
        ViTForImageClassification(
            ViTConfig(**SMALL, intermediate_size=32, image_size=64, num_labels=5)
        ),
        transformers.ViTImageProcessorPil(size=square),
        ["logits"],
        "logits",
    )
    hugging_face(
        "dinov2",
        Dinov2Model(Dinov2Config(**SMALL, image_size=56, patch_size=14)),
        transformers.BitImageProcessorPil(
            size={"shortest_edge": 64}, crop_size={"height": 56, "width": 56}
        ),
        ["last_hidden_state"],
        "last_hidden_state",
        lambda tokens: tokens[:, 0],
        {"output": "last_hidden_state", "pooling": "class_token"},
    )
    hugging_face(
        "siglip",
        SiglipVisionModel(SiglipVisionConfig(**SMALL, intermediate_size=32, image_size=64)),
        transformers.SiglipImageProcessorPil(size=square),
        ["last_hidden_state", "pooler_output"],
        "pooler_output",
    )
    hugging_face(
        "convnext",
        ConvNextModel(ConvNextConfig(depths=[1, 1, 1, 1], hidden_sizes=[8, 8, 16, 16])),
        transformers.ConvNextImageProcessorPil(size={"shortest_edge": 64}),
        ["pooler_output"],
        "pooler_output",
    )
    small = {"input_size": (3, 64, 64)}
    of_timm(
        "timm-vit",
        "vit_tiny_patch16_224",
        img_size=64,
        embed_dim=16,
        depth=2,
        num_heads=2,
        pretrained_cfg_overlay=small,
        dynamo=True,
    )
    of_timm(
        "timm-convnext",
        "convnext_atto",
        dims=(8, 8, 16, 16),
        depths=(1, 1, 1, 1),
        pretrained_cfg_overlay=small,
    )


def configurations():
    """Configurations of preprocessing without a network."""
    made = [
        {"image_processor_type": "CLIPImageProcessor"},
        {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 336}}
        | {"crop_size": {"height": 224, "width": 300}},
        {"image_processor_type": "DeiTImageProcessor"},
        {"image_processor_type": "BeitImageProcessor", "resample": 1},
        {"image_processor_type": "MobileNetV2ImageProcessor"},
        {"image_processor_type": "MobileViTImageProcessor", "size": {"shortest_edge": 288}},
        {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 384}},
        {"image_processor_type": "ViTImageProcessor", "size": {"height": 96, "width": 160}},
        {"image_processor_type": "ViTImageProcessor", "resample": 0, "do_normalize": False},
        {"image_processor_type": "ViTImageProcessor", "do_rescale": False, "image_std": [9, 8, 7]},
        {"image_processor_type": "LevitImageProcessor"},
        {"image_processor_type": "PoolFormerImageProcessor", "size": {"height": 192, "width": 192}}
        | {"crop_size": 192, "crop_pct": 0.95},
        {"image_processor_type": "EfficientNetImageProcessor", "size": {"height": 96, "width": 96}}
        | {"resample": 0, "image_std": [0.4785, 0.4733, 0.4743]},
        {"image_processor_type": "EfficientNetImageProcessor", "size": {"height": 96, "width": 96}}
        | {"rescale_factor": 1 / 127.5, "rescale_offset": True, "include_top": False},
        {"image_processor_type": "DINOv3ViTImageProcessor"},
        {"image_processor_type": "RTDetrImageProcessor"},
        {"image_processor_type": "Tipsv2ImageProcessor", "size": {"height": 96, "width": 96}},
    ]
    made = [json.loads(processor_of(config).to_json_string()) for config in made]
    usual = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    for size, interpolation, share, mode in (
        ((224, 224), "bicubic", 0.875, "center"),
        ((256, 256), "bilinear", 0.95, "center"),
        ((224, 224), "bicubic", 0.9, "squash"),
        ((160, 192), "lanczos", 1.0, "squash"),
        ((224, 192), "bicubic", 1.0, "border"),
    ):
        about = {"input_size": [3, *size], "interpolation": interpolation, "crop_pct": share}
        made.append({"pretrained_cfg": about | usual | {"crop_mode": mode}})
    pixels = [sampled(preprocessed(config)) for config in made]
    (HERE / "configurations.json").write_text(json.dumps(made, indent=1))
    np.savez_compressed(HERE / "configurations.npz", pixels=np.stack(pixels))
    print(np.stack(pixels).shape)


if __name__ == "__main__":
    os.chdir(HERE)
    configurations()
    networks()
