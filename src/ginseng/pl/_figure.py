"""Shared by all plots: axes, colours, legends, colour bars, and showing or returning the result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox

from ginseng import _keys
from ginseng._cells.colors import MISSING, OKABE_ITO, UNASSIGNED, distinct
from ginseng._settings import settings
from ginseng.pl import _tables

__all__ = ["MISSING", "OKABE_ITO"]

Palette = str | Sequence[Any] | Mapping[str, Any]


def make_axes(n: int, ax: Axes | Sequence[Axes] | None, size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    """Return a new figure with `n` panels side by side (`size` in inches), or the given axes and their figure."""
    if ax is None:
        fig, axes = plt.subplots(1, n, figsize=size, layout="constrained", squeeze=False)
        return fig, list(axes[0])
    given = [ax] if isinstance(ax, Axes) else list(ax)
    if len(given) != n:
        msg = f"This plot has {n} panels, but `ax` has {len(given)}. Pass a list of {n} axes."
        raise ValueError(msg)
    return cast(Figure, given[0].get_figure(root=True)), given


def finish(axes: list[Axes], *, ax: Any, show: bool | None, return_fig: bool) -> Any:
    """Show or return the plot. By default, axes passed by the caller are not shown."""
    if return_fig:
        return axes[0].get_figure(root=True)
    if show or (show is None and settings.autoshow and ax is None):
        plt.show()
        return None
    return axes if len(axes) > 1 else axes[0]


def wrap(fig: Figure, ax: Axes, width: float, height: float) -> None:
    """Fit a figure to its single panel of `width` x `height` inches and all text around it."""
    fig.set_layout_engine("none")
    fig.set_size_inches(width, height)
    ax.set_position((0, 0, 1, 1))
    box = cast(Bbox, ax.get_tightbbox()).transformed(fig.dpi_scale_trans.inverted()).padded(0.05)
    fig.set_size_inches(box.width, box.height)
    # so that anything the user adds, such as a title, gets its space
    ax.set_position((-box.x0 / box.width, -box.y0 / box.height, width / box.width, height / box.height))
    ax.set_in_layout(True)  # undone by `set_position`
    fig.set_layout_engine("constrained", w_pad=0.05, h_pad=0.05)


def colorbar(ax: Axes, mappable: ScalarMappable, label: str = "", *, length: float = 1.2) -> None:
    """Draw a colour bar of at most `length` inches to the right of `ax`, without shrinking `ax`."""
    box = ax.get_window_extent().transformed(ax.figure.dpi_scale_trans.inverted())
    width, height = 0.09 / box.width, min(1.0, length / box.height)
    cax = ax.inset_axes((1 + width, 0, width, height))
    bar = ax.figure.colorbar(mappable, cax=cax)
    bar.set_label(label, fontsize="small")
    bar.outline.set_linewidth(0.5)
    cax.tick_params(labelsize="small", width=0.5, length=2)


def shortened(name: str, n: int = 30) -> str:
    """Truncate a name to `n` characters, to fit above a panel."""
    return name if len(name) <= n else f"{name[: n - 1]}…"


def literal(texts: Iterable[Any]) -> None:
    """Disable mathtext, so that dollar signs in labels are drawn as such."""
    for text in texts:
        text.set_parse_math(False)


def colors(
    labels: Sequence[str], palette: Palette | None = None, known: Mapping[str, Any] | None = None
) -> dict[str, str]:
    """Return a colour for each label.

    Parameters
    ----------
    palette
        A palette's name, one colour per label in order, or a mapping from some labels to colours.
    known
        Existing colours of some labels. The others get colours that are still free.
    """
    fixed: dict[str, Any] = {}
    if palette is None:
        fixed = dict(known or {})
    elif isinstance(palette, Mapping):
        fixed = {**(known or {}), **palette}
    elif isinstance(palette, str):
        fixed = dict(zip(labels, sns.color_palette(palette, len(labels)), strict=False))
    else:
        if len(palette) < len(labels):
            msg = f"`palette` has {len(palette)} colours for {len(labels)} labels."
            raise ValueError(msg)
        fixed = dict(zip(labels, palette, strict=False))
    fixed = {label: to_hex(fixed[label]) for label in labels if label in fixed}
    return {label: to_hex(color) for label, color in distinct(labels, fixed).items()}


def label_colors(
    adata: AnnData, columns: Sequence[str], present: Sequence[str], palette: Palette | None, key: str
) -> dict[str, str]:
    """Return a colour for each label that is present, the same in every plot.

    By default it is the colour in `adata.uns` for the first of `columns` or the predicted labels, as stored by
    :func:`ginseng.tl.classify` and scanpy. Labels without a colour take the next ones of the palette: predicted labels
    first and then those of `columns`, so that adding true labels to a plot changes no colours. Cells without a label
    are grey.
    """
    if palette is not None and not isinstance(palette, Mapping):
        return colors(present, palette)
    predicted = [name for name in (_keys.cell_type(key),) if name in adata.obs]
    known = {_tables.unassigned(adata, key): UNASSIGNED}
    for column in (*predicted, *reversed(columns)):
        known |= _tables.known_colors(adata, column)
    every = dict.fromkeys([*_tables.all_labels(adata, [*predicted, *columns]), *present])
    found = colors(list(every), palette, known)
    return {label: found[label] for label in present}


def legend(
    parent: Figure | Axes, colors: Mapping[str, str], n_columns: int, where: Any, *, marker: str = "o", **kwargs: Any
) -> Legend:
    """Draw a legend of the labels."""
    marks = [Line2D([], [], ls="", marker=marker, ms=4.5, mew=0, color=color) for color in colors.values()]
    drawn = parent.legend(
        marks,
        [" "] * len(marks),  # the names are set below, since matplotlib hides those with a leading underscore
        loc=where,
        ncols=n_columns,
        fontsize="small" if len(colors) <= 20 else "x-small",
        frameon=False,
        labelspacing=0.3,
        handletextpad=0.1,
        columnspacing=0.8,
        borderaxespad=0.1,
        **kwargs,
    )
    literal(drawn.get_texts())
    for text, label in zip(drawn.get_texts(), colors, strict=True):
        text.set_text(label)
    return drawn


def legend_beside(ax: Axes, colors: Mapping[str, str], *, n_rows: int = 16, marker: str = "o") -> Legend:
    """Draw a legend to the right of `ax` and its text, in columns of up to `n_rows`."""
    box = ax.get_tightbbox()
    assert box is not None
    edge = ax.transAxes.inverted().transform((box.x1, box.y1))[0]
    n_columns = int(np.ceil(len(colors) / n_rows))
    return legend(ax, colors, n_columns, "upper left", marker=marker, bbox_to_anchor=(edge + 0.02, 1))


def arrange(fig: Figure, axes: Sequence[Axes], sizes: Sequence[tuple[float, float]], gap: float = 0.15) -> None:
    """Place panels side by side, aligned at the top, and fit the figure to them; `sizes` and `gap` in inches.

    Like :func:`wrap`, for any number of panels.
    """
    if len(axes) == 1:
        return wrap(fig, axes[0], *sizes[0])
    fig.set_layout_engine("none")
    whole = np.array([sum(width for width, _ in sizes), max(height for _, height in sizes)])
    fig.set_size_inches(*whole)
    boxes = []
    for ax, (width, height) in zip(axes, sizes, strict=True):
        ax.set_position((0, 0, width / whole[0], height / whole[1]))
        boxes.append(cast(Bbox, ax.get_tightbbox()).transformed(fig.dpi_scale_trans.inverted()).padded(0.05))
    above = max(box.y1 - height for box, (_, height) in zip(boxes, sizes, strict=True))
    below = max(height - box.y0 for box, (_, height) in zip(boxes, sizes, strict=True))
    total = sum(box.width for box in boxes) + gap * (len(boxes) - 1), above + below
    fig.set_size_inches(*total)
    x = 0.0
    for ax, box, (width, height) in zip(axes, boxes, sizes, strict=True):
        ax.set_position(((x - box.x0) / total[0], (below - height) / total[1], width / total[0], height / total[1]))
        x += box.width + gap
    return None


def text_size(n: int) -> float:
    """Return the font size in points for the names of `n` rows, smaller above 30 to fit on a page."""
    return plt.rcParams["font.size"] * (0.83 if n <= 30 else 0.6)
