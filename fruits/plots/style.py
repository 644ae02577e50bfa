"""The common style of all figures: colours, axes, fonts, and texts that fit."""

from __future__ import annotations

import textwrap
import unicodedata
import warnings
from functools import cache
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, fontManager
from matplotlib.textpath import text_to_path
from numpy.typing import NDArray

# Labels may be in any script. Letters that no font has are drawn as boxes.
warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")

INK, MUTED, ACCENT, MARK = "#222222", "#c3c9d0", "#3f90da", "#bd1f01"

Array = NDArray[np.floating[Any]]
Numbers = NDArray[np.integer[Any]]


# Fonts for letters that DejaVu Sans, which comes with matplotlib, does not have.
_MORE_FONTS = (
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "WenQuanYi Zen Hei",
    "Noto Sans",
    "Noto Sans Devanagari",
    "Noto Sans Thai",
    "Noto Sans Arabic",
    "Noto Emoji",
    "Arial Unicode MS",
)


def font(size: float) -> FontProperties:
    """The font of labels, with a size in points; installed fonts add missing letters."""
    return FontProperties(family=list(_families()), size=size)


@cache
def _families() -> tuple[str, ...]:
    there = set(fontManager.get_font_names())
    return ("DejaVu Sans", *(name for name in _MORE_FONTS if name in there))


def new_figure(width: float, height: float) -> Figure:
    """An empty white figure with a size in inches and an automatic layout."""
    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def tidy(axes: Axes, grid: Literal["x", "y", "both"]) -> None:
    """Draws a light grid below the data, and removes the frame at the top and on the right."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid, color="#e6e8eb", linewidth=0.8)
    axes.set_axisbelow(True)


def short(text: str, letters: int) -> str:
    """The text on one line, shortened in the middle, since many names differ only at the end."""
    text = " ".join(unicodedata.normalize("NFC", text).split())
    # Fonts have no control characters, and warnings about them must not reach a terminal.
    text = "".join("?" if unicodedata.category(one) in ("Cc", "Cs") else one for one in text)
    if len(text) <= letters:
        return text
    tail = letters // 2
    return f"{text[: letters - 1 - tail].rstrip()}…{text[len(text) - tail :].lstrip()}"


def wrapped(label: str, font: FontProperties, room: float) -> str:
    """The label on at most two lines, none wider than `room` points."""
    for letters in range(int(room / 2), 1, -1):
        lines = textwrap.wrap(label, letters, max_lines=2, placeholder=" …")
        if all(width(line, font) <= room for line in lines):
            return "\n".join(lines)
    return ""


def width(text: str, font: FontProperties) -> float:
    """The width of a text, in points."""
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, False)
    return float(width)
