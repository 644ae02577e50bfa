"""The typical page for a Keras model: ``gr.Interface`` around ``predict``.

python -m benchmarks.contenders.gradio_app ARCHIVE PORT
"""

import json
import sys
from pathlib import Path

import gradio as gr
import keras
import numpy as np
from PIL import Image

archive, port = sys.argv[1:]
model = keras.saving.load_model(archive)
labels = json.loads(Path(archive).with_suffix(".json").read_text())
side = model.input_shape[1]


def classify(picture: Image.Image) -> dict[str, float]:
    """The probability of each label."""
    pixels = np.asarray(picture.convert("RGB").resize((side, side)), "float32")
    scores = model.predict(pixels[np.newaxis], verbose=0)[0]
    return dict(zip(labels, map(float, scores), strict=True))


page = gr.Interface(classify, gr.Image(type="pil"), gr.Label(num_top_classes=5), api_name="predict")
page.launch(server_name="127.0.0.1", server_port=int(port), quiet=True)
