"""Figures -> PNG files."""

from __future__ import annotations

import io

from matplotlib.figure import Figure

_DPI = 150

_PADDING = 0.1
"""The margin around everything that is drawn, in inches."""


def png(figure: Figure) -> bytes:
    """The figure as a PNG file. It must not be used afterwards.

    The file is that of ``savefig(bbox_inches="tight")``, which would draw everything twice.
    """
    figure.set_dpi(_DPI)
    if engine := figure.get_layout_engine():
        engine.execute(figure)
        figure.set_layout_engine(None)
    box = figure.get_tightbbox().padded(_PADDING)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, bbox_inches=box)
    return buffer.getvalue()
