from __future__ import annotations

from typing import Any, Literal

import matplotlib.pyplot as plt
import numpy as np
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure

from ginseng import _keys

from . import _figure, _frames


def confusion(
    adata: AnnData,
    label_key: str | None = None,
    *,
    key: str = _keys.DEFAULT,
    normalize: bool = True,
    annotate: bool | Literal["auto"] = "auto",
    order: _frames.Order = "cluster",
    cmap: str | Colormap = "Blues",
    ax: Axes | None = None,
    show: bool | None = None,
    return_fig: bool = False,
) -> Axes | Figure | None:
    """Draw which labels are mistaken for which.

    True labels are rows; predicted ones are columns in the same order, so that right answers lie on the
    diagonal. Labels that are predicted, but true of no cell, are the last columns.

    Parameters
    ----------
    adata
        Annotated data, labelled by :func:`ginseng.tl.classify`.
    label_key
        Column of `adata.obs` with the true labels. By default the table that :func:`ginseng.tl.evaluate`
        wrote into `adata.uns` is drawn.
    key
        Prefix under which the labels or the metrics were written.
    normalize
        Draw the fraction of each true label; otherwise numbers of cells.
    annotate
        Write the values into the table; `"auto"` does so for up to 20 labels. What rounds to zero is left
        empty.
    order
        `"cluster"` puts labels that are mistaken for each other side by side; `"alphabetical"`; or a list of
        labels, which those that it leaves out follow.
    cmap
        Colour map.
    ax
        Axes to draw into. By default a figure is made in which every label is readable.
    show
        Show the plot. By default as :attr:`ginseng.settings.autoshow` says, and not if `ax` is given.
    return_fig
        Return the figure, and do not show it.

    Returns
    -------
    `None` if the plot is shown, else the axes, or the figure if `return_fig=True`.

    Raises
    ------
    KeyError
        If there are no metrics or no labels under these names.
    """
    counts = _frames.ordered(_frames.confusion(adata, label_key, key), order)
    values = counts.to_numpy()
    n_rows, n_columns = values.shape
    shown = values / values.sum(axis=1, keepdims=True) if normalize else values
    texts = [[_text(value, normalize) for value in row] for row in shown]
    annotate = n_columns <= 20 if annotate == "auto" else annotate

    # past 30 labels the figure would outgrow a page
    size = plt.rcParams["font.size"] * (0.83 if n_columns <= 30 else 0.6)
    longest = max(len(text) for row in texts for text in row) if annotate else 0
    cell = size / 72 * max(2.2 if annotate else 1.45, 0.6 * longest + 0.4)  # inches
    width, height = n_columns * cell, n_rows * cell
    fig, (panel,) = _figure.make_axes(1, ax, (width, height))

    grid: Any = {"edgecolors": "0.9", "linewidth": 0.4 if n_columns <= 30 else 0.15, "antialiased": True}
    mesh = panel.pcolormesh(shown, cmap=cmap, vmin=0, vmax=1 if normalize else None, **grid)
    panel.set_aspect("equal")
    panel.invert_yaxis()
    panel.set_xticks(np.arange(n_columns) + 0.5, counts.columns, rotation=90, fontsize=size)
    panel.set_yticks(np.arange(n_rows) + 0.5, counts.index, fontsize=size)
    _figure.literal([*panel.get_xticklabels(), *panel.get_yticklabels()])
    panel.tick_params(length=0)
    panel.spines[:].set(visible=True, linewidth=0.5)
    panel.set_xlabel("Predicted label", fontsize="small")
    panel.set_ylabel("True label", fontsize="small")
    if annotate:
        shades = mesh.to_rgba(shown)[..., :3] @ (0.299, 0.587, 0.114)  # luminance, by Rec. 601
        for (i, j), shade in np.ndenumerate(shades):
            color = "black" if shade > 0.5 else "white"
            panel.text(j + 0.5, i + 0.5, texts[i][j], ha="center", va="center", fontsize=0.85 * size, color=color)
    if ax is None:
        panel.set_position((0, 0, 1, 1))
    _figure.colorbar(panel, mesh, "Fraction of true label" if normalize else "Cells")
    if ax is None:
        _figure.wrap(fig, panel, width, height)
    return _figure.finish([panel], ax=ax, show=show, return_fig=return_fig)


def _text(value: float, normalize: bool) -> str:
    text = f"{value:.2f}" if normalize else f"{value:d}"
    return "" if text in ("0.00", "0") else text
