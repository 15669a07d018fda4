"""Figures of the page: dots as images, since there may be a million; everything else as SVG or HTML."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba_array
from matplotlib.figure import Figure

from ginseng._report.markup import Markup, tag

#: Cells drawn at most, and bytes of an image.
MOST_DOTS, MOST_BYTES = 100_000, 450_000


def sample(n: int) -> np.ndarray:
    """Return the cells to draw, in random order so that no type hides the others."""
    return np.random.default_rng(0).permutation(n)[:MOST_DOTS]


def dots(xy: np.ndarray, colors: Any, alt: str) -> Markup:
    """Return an image of dots without a background, so that it fits light and dark pages.

    Parameters
    ----------
    xy
        (cells, 2) coordinates.
    colors
        (cells,) names of colours, or (cells, 4).
    alt
        What it shows, for those who do not see it.
    """
    size = float(np.clip(40_000 / max(len(xy), 1), 0.6, 22))
    there = np.isfinite(xy).all(axis=1)
    rgba = to_rgba_array(colors)
    for pixels in (900, 640, 450, 300):
        figure = Figure(figsize=(6, 6), dpi=pixels / 6)
        figure.patch.set_alpha(0)
        ax = figure.add_axes((0.01, 0.01, 0.98, 0.98))
        ax.axis("off")
        ax.scatter(xy[there, 0], xy[there, 1], c=rgba[there], s=size, linewidths=0)
        buffer = io.BytesIO()
        FigureCanvasAgg(figure).print_png(buffer)
        if len(buffer.getvalue()) <= MOST_BYTES:
            break
    data = base64.b64encode(buffer.getvalue()).decode()
    return tag("img", src=f"data:image/png;base64,{data}", alt=alt, width=pixels, height=pixels)


def shades(values: np.ndarray) -> np.ndarray:
    """Return a colour for each number from 0 to 1, grey where it is missing."""
    rgba = np.asarray(colormaps["viridis"](np.clip(np.nan_to_num(values), 0, 1)))
    rgba[np.isnan(values)] = (0.7, 0.7, 0.7, 1)
    return rgba


def ramp() -> str:
    """Return the colours of :func:`shades` as a gradient of CSS."""
    stops = (colormaps["viridis"](x) for x in np.linspace(0, 1, 7))
    return f"linear-gradient(to right, {', '.join(f'rgb({r:.0%} {g:.0%} {b:.0%})' for r, g, b, _ in stops)})"


def histogram(values: np.ndarray, threshold: float | None, label: str) -> Markup:
    """Return the distribution of numbers from 0 to 1, with a line at a threshold."""
    counts, edges = np.histogram(values[np.isfinite(values)], bins=25, range=(0, 1))
    highest = max(int(counts.max()), 1)
    width, height = 500, 150
    bars = [
        tag(
            "rect",
            x=f"{left * width + 1:.1f}", y=f"{height * (1 - n / highest):.1f}",
            width=f"{width / len(counts) - 2:.1f}", height=f"{height * n / highest:.1f}",
        )
        for left, n in zip(edges, counts, strict=False)
    ]  # fmt: skip
    line: Sequence[Markup] = ()
    if threshold:
        x = f"{threshold * width:.1f}"
        line = [tag("line", x1=x, x2=x, y1="0", y2=str(height), class_="threshold")]
    ticks = [
        tag("text", f"{x:g}", x=f"{x * width:.0f}", y=str(height + 18), text_anchor=anchor)
        for x, anchor in ((0, "start"), (0.25, "middle"), (0.5, "middle"), (0.75, "middle"), (1, "end"))
    ]
    base = tag("line", x1="0", x2=str(width), y1=str(height), y2=str(height), class_="axis")
    box = f"0 0 {width} {height + 24}"
    return tag("svg", bars, line, base, ticks, viewBox=box, role="img", aria_label=label, class_="histogram")


def range_bar(low: float, middle: float, high: float) -> Markup:
    """Return quartiles of numbers from 0 to 1 as a bar with a mark at the median."""
    if not np.isfinite([low, middle, high]).all():
        return Markup("")
    inner = (
        tag("span", class_="box", style=f"left:{low:.1%};width:{max(high - low, 0.01):.1%}"),
        tag("span", class_="mark", style=f"left:{middle:.1%}"),
    )
    return tag("span", inner, class_="range", title=f"{low:.2f} to {high:.2f}, median {middle:.2f}")


def share_bar(share: float, color: str) -> Markup:
    """Return a share as a bar."""
    return tag("span", tag("span", style=f"width:{share:.1%};background:{color}"), class_="share")


def swatch(color: str) -> Markup:
    """Return a dot of a colour."""
    return tag("span", class_="swatch", style=f"background:{color}")
