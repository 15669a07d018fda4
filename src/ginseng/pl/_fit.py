"""Sizes of panels: what their text takes, and how it adapts to a panel of another size."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast
from weakref import WeakKeyDictionary

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator
from matplotlib.transforms import Bbox

from ginseng.pl._parts import LEGENDS, TO_SCALE, legend

#: Sizes of text and dots before they were adapted to a panel of another size.
_FIRST: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()


def put(ax: Axes, box: tuple[float, float, float, float], whole: tuple[float, float]) -> None:
    """Place a panel at `(left, bottom, width, height)` in a figure of `whole` width and height, in inches."""
    x, y, width, height = box
    ax.set_position((x / whole[0], y / whole[1], width / whole[0], height / whole[1]))
    ax.set_in_layout(True)  # undone by `set_position`


def margins(ax: Axes, size: tuple[float, float]) -> np.ndarray:
    """Give a panel its size and return what its text takes to the left, below, to the right and above, in inches."""
    fig = cast(Figure, ax.figure)
    put(ax, (0, 0, *size), tuple(fig.get_size_inches()))
    box = cast(Bbox, ax.get_tightbbox()).transformed(fig.dpi_scale_trans.inverted())
    return np.maximum(0, [-box.x0, -box.y0, box.x1 - size[0], box.y1 - size[1]])


def rescale(ax: Axes, scale: np.ndarray, names: float = 1.0) -> None:
    """Adapt a panel to `scale` times the width and height that it needs, and its text to `names` times that.

    Text never grows. Dots keep to their rows.
    """

    def first(artist: Any, value: Any) -> Any:
        return _FIRST.setdefault(artist, value)

    def resize(texts: Iterable[Text], factor: float) -> None:
        for text in texts:
            text.set_fontsize(max(3.0, first(text, text.get_fontsize()) * names * min(1.0, factor)))

    wide, high = scale
    for axis, factor in ((ax.yaxis, high), (ax.xaxis, wide)):
        named = isinstance(axis.get_major_locator(), FixedLocator)
        if named and (axis is ax.yaxis or len(axis.get_majorticklocs()) > 3):
            resize(axis.get_majorticklabels(), factor)
    resize(ax.texts, scale.min())
    for dots in ax.collections:
        if isinstance(dots, PathCollection) and dots.get_gid() == TO_SCALE:
            dots.set_sizes(first(dots, dots.get_sizes()) * scale.min() ** 2)
    drawn = ax.get_legend()
    if drawn in LEGENDS:  # anew: it has room for other numbers of rows
        how = LEGENDS[drawn]
        for mark in how["marks"].values():
            if isinstance(mark, Line2D) and mark.get_gid() == TO_SCALE:
                mark.set_markersize(first(mark, mark.get_markersize()) * scale.min())
        legend(ax, **{**how, "shrunk": float(np.clip(names * scale.min(), 0.5, 1))})


def fit_into(ax: Axes, natural: tuple[float, float]) -> None:
    """Shrink a panel of the caller's figure if its names and legends would leave the figure or cross other panels."""
    fig = cast(Figure, ax.get_figure(root=True))
    fig.draw_without_rendering()  # so that the positions are final
    whole, inches = fig.get_size_inches(), fig.dpi_scale_trans.inverted()
    slot = ax.get_position(original=True).transformed(fig.transFigure).transformed(inches)
    tight = cast(Bbox, ax.get_tightbbox()).transformed(inches)
    low, high = np.array([0.0, 0.0]), np.array(whole)
    for other in fig.axes:
        if other is ax or not other.get_visible():
            continue
        its = other.get_position(original=True).transformed(fig.transFigure).transformed(inches)
        text = cast(Bbox, other.get_tightbbox()).transformed(inches)
        for side, across in ((0, 1), (1, 0)):
            if its.min[across] < slot.max[across] and its.max[across] > slot.min[across]:
                if its.min[side] >= slot.max[side] - 1e-6:
                    high[side] = min(high[side], max(text.min[side], slot.min[side]))
                elif its.max[side] <= slot.min[side] + 1e-6:
                    low[side] = max(low[side], min(text.max[side], slot.max[side]))
    start, stop, names = np.array(slot.min), np.array(slot.max), 1.0
    for _ in range(10):  # a panel of fixed aspect may need several steps
        lack = np.maximum(0, low + 0.03 - tight.min), np.maximum(0, tight.max - high + 0.03)
        if max(lack[0].max(), lack[1].max()) < 0.01:
            break
        start, stop = start + lack[0], stop - lack[1]
        if (stop - start < 0.5 * np.asarray(slot.size)).any():
            names *= 0.75  # smaller names leave more room
        stop = np.maximum(stop, start + 0.25 * np.asarray(slot.size))
        put(ax, (*start, *(stop - start)), tuple(whole))
        rescale(ax, (stop - start) / natural, names)
        tight = cast(Bbox, ax.get_tightbbox()).transformed(inches)
