"""Parts of a plot: legends, colour bars, named and numbered rows."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, cast
from weakref import WeakKeyDictionary

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox, ScaledTranslation

from ginseng.pl._theme import faint, ink, unit

#: Mark of dots that have the size of the rows and columns between which they lie.
TO_SCALE = "to scale"
#: How the legends were drawn, to draw them anew for a panel of another size.
LEGENDS: WeakKeyDictionary[Any, dict[str, Any]] = WeakKeyDictionary()


def beside(ax: Axes, dx: float, dy: float = 0.0, corner: tuple[float, float] = (1, 0)) -> Any:
    """Return a transform in inches from a corner of a panel, whatever size the panel will have."""
    inches: Any = ax.figure.dpi_scale_trans
    return inches + ScaledTranslation(*corner, cast(Any, ax.transAxes)) + ScaledTranslation(dx, dy, inches)


def points(ax: Axes, dx: float, dy: float) -> Any:
    """Return a shift in points, to add to a transform."""
    return ScaledTranslation(dx / 72, dy / 72, ax.figure.dpi_scale_trans)


def taken(ax: Axes) -> float:
    """Return the inches to the right of a panel that its text and colour bar take."""
    box = cast(Bbox, ax.get_tightbbox())
    return max(0.0, (box.x1 - ax.get_window_extent().x1) / ax.figure.dpi)


def colorbar(ax: Axes, mappable: ScalarMappable, label: str = "", *, length: float = 1.2) -> Axes:
    """Draw a colour bar of about the height of a panel, at most `length` inches, to the right of it and its text."""
    u = unit()
    height = float(np.clip(ax.get_window_extent().height / ax.figure.dpi, 0.6 * u, length * u))
    cax = ax.inset_axes((0, 0, 0.09 * u, height), transform=beside(ax, taken(ax) + 0.09 * u))
    bar = ax.figure.colorbar(mappable, cax=cax)
    bar.set_label(label, fontsize="small")
    bar.outline.set_linewidth(0.5)
    cax.tick_params(labelsize="small", width=0.5, length=2)
    cax.locator_params(nbins=5 if height > 0.9 * u else 2)  # so that the numbers do not touch
    return cax


def legend(
    ax: Axes,
    marks: Mapping[str, Any],
    *,
    title: str | None = None,
    n_rows: int | None = None,
    low: bool = False,
    shrunk: float = 1.0,
) -> Legend:
    """Draw a legend to the right of a panel and its text, in columns that are not taller than the panel.

    Parameters
    ----------
    marks
        What stands beside each name: a colour, or an artist.
    n_rows
        Maximum number of rows, if not by the height of the panel.
    low
        Align the legend with the lower end of the panel.
    shrunk
        Factor of the size of its text.
    """
    how = {"marks": marks, "title": title, "n_rows": n_rows, "low": low, "shrunk": shrunk}
    if (earlier := ax.get_legend()) is not None:
        earlier.remove()
    u, size = unit() * shrunk, shrunk * plt.rcParams["font.size"] * (0.83 if len(marks) <= 20 else 0.69)
    widest = max((m.get_markersize() for m in marks.values() if isinstance(m, Line2D)), default=0) / size
    spacing = max(0.3, 1.1 * widest - 0.9)
    line = size / 72 * (1.18 + spacing)
    tall = max(ax.get_window_extent().height / ax.figure.dpi, 8 * line)
    n_rows = max(1, int(tall / line)) if n_rows is None else n_rows
    handles = [
        mark if isinstance(mark, Artist) else Line2D(
            [], [], ls="", marker="o", ms=5 * u, mfc=mark, color=mark, mec=ink(0.35), mew=0.3 * u)
        for mark in marks.values()
    ]  # fmt: skip
    drawn = ax.legend(
        handles,
        [" "] * len(handles),  # the names are set below, since matplotlib hides those with a leading underscore
        loc="lower left" if low else "upper left",
        bbox_to_anchor=(0, 0),
        bbox_transform=beside(ax, taken(ax) + 0.04 * u, corner=(1, 0 if low else 1)),
        ncols=int(np.ceil(len(marks) / n_rows)),
        title=title, title_fontsize=size, alignment="left",
        fontsize=size, frameon=False, labelspacing=spacing, handletextpad=0.3, handlelength=max(1.0, widest),
        columnspacing=0.9,
        borderaxespad=0.1, borderpad=0.1, labelcolor=plt.rcParams["text.color"],
    )  # fmt: skip
    drawn.get_title().set_color(plt.rcParams["text.color"])
    literal([*drawn.get_texts(), drawn.get_title()])
    for text, label in zip(drawn.get_texts(), marks, strict=True):
        text.set_text(label)
    LEGENDS[drawn] = how
    return drawn


def legend_above(ax: Axes, title: str | None = None, **how: Any) -> None:
    """Draw a legend of what a panel shows above it, so that it hides nothing."""
    color = plt.rcParams["text.color"]
    drawn = ax.legend(
        loc="lower left", bbox_to_anchor=(0, 1), fontsize="small", frameon=False, borderaxespad=0.2, borderpad=0,
        labelcolor=color, title=title, title_fontsize="small", alignment="left",
        **{"handlelength": 1.2, "labelspacing": 0.2, "handletextpad": 0.4, "columnspacing": 0.9, **how},
    )  # fmt: skip
    drawn.get_title().set_color(color)


def size_legend(ax: Axes, largest: float, title: str) -> None:
    """Draw a legend of dot sizes that stand for fractions, to the right of a panel and its colour bar.

    Parameters
    ----------
    largest
        Area of the dot of all cells, in points squared.
    """
    style: Any = {"ls": "", "marker": "o", "mfc": ink(0.4), "mec": ink(0.5), "mew": 0.2, "gid": TO_SCALE}
    marks = {f"{share:.0%}": Line2D([], [], ms=np.sqrt(largest * share), **style) for share in (0.2, 0.6, 1.0)}
    legend(ax, marks, title=title, n_rows=3, low=True)


def name_rows(ax: Axes, names: Sequence[str], size: float) -> None:
    """Name the rows of a panel, the first on top."""
    ax.set_yticks(np.arange(len(names)), names, fontsize=size)
    literal(ax.get_yticklabels())
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)


def name_cells(ax: Axes, rows: Collection[str], columns: Collection[str], size: float) -> None:
    """Name the rows and columns of a panel of square cells, the first row on top, and frame it."""
    ax.set(xlim=(0, len(columns)), ylim=(len(rows), 0), aspect="equal")
    ax.set_xticks(np.arange(len(columns)) + 0.5, columns, rotation=90, fontsize=size)
    ax.set_yticks(np.arange(len(rows)) + 0.5, rows, fontsize=size)
    literal([*ax.get_xticklabels(), *ax.get_yticklabels()])
    ax.tick_params(length=0)
    frame(ax)


def frame(ax: Axes, linewidth: float = 0.5) -> None:
    """Draw a thin frame around a panel."""
    ax.spines[:].set(visible=True, linewidth=linewidth, edgecolor=ink(0.6))


def number_rows(ax: Axes, numbers: Iterable[int], size: float, head: str = "cells", *, at: float = 0.0) -> None:
    """Write a number, such as that of the cells, to the right of each row; the first row is at the height `at`."""
    across = ax.get_yaxis_transform()
    style: Any = {"fontsize": 0.85 * size, "color": faint(), "textcoords": "offset points", "annotation_clip": False}
    for row, n in enumerate(numbers):
        ax.annotate(f"{n:,}", (1, row + at), (4, 0), xycoords=across, va="center", **style)
    ax.annotate(head, (1, 1), (4, 2), xycoords=ax.transAxes, va="bottom", **style)


def simple(ax: Axes, *, left: bool = False) -> None:
    """Draw the axes of a panel with numbers: thin, without a frame."""
    u = unit()
    ax.tick_params(labelsize="small", width=0.6 * u, length=2.5 * u)
    ax.spines[["top", "right"] + (["left"] if left else [])].set_visible(False)
    ax.spines[:].set(linewidth=0.6 * u, edgecolor=ink(0.6))
    ax.tick_params(color=ink(0.6))


def share_axis(ax: Axes) -> None:
    """Let the x axis of a panel run from 0 to 1."""
    ax.set_xlim(-0.02, 1.02)
    ax.set_xticks((0, 0.5, 1), ("0", "0.5", "1"))


def shortened(name: str, n: int = 30) -> str:
    """Truncate a name to `n` characters."""
    return name if len(name) <= n else f"{name[: n - 1]}\N{HORIZONTAL ELLIPSIS}"


def wrapped(name: str, n: int = 24) -> str:
    """Break a name into lines of at most `n` characters."""
    return "\n".join(textwrap.wrap(name, n, break_on_hyphens=False, break_long_words=False)) or name


def literal(texts: Iterable[Any]) -> None:
    """Disable mathtext, so that dollar signs in labels are drawn as such."""
    for text in texts:
        text.set_parse_math(False)
