"""Data for figures, and the texts in a figure."""

import io
import warnings

import numpy as np
from matplotlib.colors import to_hex
from PIL import Image

LABELS = [f"Variety {number:03d}" for number in range(131)]


def shares(d):
    variance = 1 / np.arange(1, d + 1)
    return variance / variance.sum()


def cloud(count, names, columns=2):
    rng = np.random.default_rng(0)
    numbers = np.arange(count) % len(names)
    centres = rng.normal(scale=4, size=(len(names), columns))
    points = centres[numbers] + rng.normal(size=(count, columns))
    return points.astype(np.float32), [names[number] for number in numbers]


def picture(figure):
    """The figure as a saved picture; all warnings of matplotlib are errors."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(buffer, format="png", bbox_inches="tight")
    return Image.open(buffer)


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def styles(axes):
    return {(line.get_marker(), to_hex(line.get_color())) for line in axes.get_lines()}
