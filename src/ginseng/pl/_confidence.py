from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from ginseng import _keys
from ginseng._docs import document
from ginseng.pl import _figure, _tables

#: Minimum number of cells for a box plot.
BOX = 5


@document
def confidence(
    adata: AnnData,
    label_key: str | None = None,
    *,
    key: str = _keys.DEFAULT,
    n_bins: int = 10,
    palette: _figure.Palette | None = None,
    ax: Axes | Sequence[Axes] | None = None,
    show: bool | None = None,
    return_fig: bool = False,
) -> Axes | list[Axes] | Figure | None:
    """Plot the confidence per predicted type and, given true labels, the calibration of the model.

    The first panel has one row per predicted type, sorted by median confidence. Boxes show quartiles and median,
    whiskers the 5th and 95th percentile; types with fewer than five cells are drawn as single cells. The number of
    cells is shown beside each row. A dotted line marks the threshold of ``gs.tl.classify(..., min_confidence=)``.

    With `label_key`, the second panel is a reliability diagram (Guo et al. 2017): the fraction of correct labels among
    cells of similar confidence, with 95% Wilson intervals. On the diagonal, confidence equals the probability of being
    correct; below it, the model is overconfident. Grey bars show the fraction of cells per bin. The expected
    calibration error (ECE) is the mean distance to the diagonal over cells. Cells without a label are left out.

    Parameters
    ----------
    %(adata_labelled)s
    label_key
        Column of `adata.obs` with the true labels. Without it there is no reliability diagram.
    %(key)s
    n_bins
        Number of equal-width confidence bins in the reliability diagram.
    %(palette)s
    ax
        Axes to draw into, one per panel.
    %(show)s
    %(return_fig)s

    Returns
    -------
    `None` if the plot is shown, else the axes (a list if there are two panels), or the figure if `return_fig=True`.

    Raises
    ------
    KeyError
        If there are no predicted labels, or a column does not exist.
    ValueError
        If no cell has both labels, or there are no cells.

    References
    ----------
    Guo et al. 2017, On Calibration of Modern Neural Networks, https://proceedings.mlr.press/v70/guo17a.html
    """
    if n_bins < 1:
        msg = f"`n_bins` must be at least 1, not {n_bins}."
        raise ValueError(msg)
    frame = _tables.confidence(adata, label_key, key)
    if frame.empty:
        msg = "No cell has a predicted label and a confidence: there is nothing to plot."
        raise ValueError(msg)
    name = _tables.unassigned(adata, key)
    medians = frame.groupby("predicted", sort=False)["confidence"].median().sort_values(ascending=False, kind="stable")
    labels = sorted(medians.index, key=lambda label: label == name)
    columns = [*([label_key] if label_key else []), _keys.cell_type(key)]
    colors = _figure.label_colors(adata, columns, labels, palette, key)
    threshold = float(adata.uns.get(key, {}).get("unassigned", {}).get("min_confidence", 0))

    size = _figure.text_size(len(labels))
    sizes = [(2.0, max(0.5, len(labels) * size / 72 * 1.45)), (2.0, 2.0)][: 1 if label_key is None else 2]
    fig, axes = _figure.make_axes(len(sizes), ax, (6, 3))
    _boxes(axes[0], frame, labels, colors, threshold, size)
    if label_key is not None:
        _reliability(axes[1], _tables.reliability(frame, n_bins))
    if ax is None:
        _figure.arrange(fig, axes, sizes)
    return _figure.finish(axes, ax=ax, show=show, return_fig=return_fig)


def _boxes(
    ax: Axes, frame: pd.DataFrame, labels: list[str], colors: dict[str, str], threshold: float, size: float
) -> None:
    values = {label: cells.to_numpy() for label, cells in frame.groupby("predicted")["confidence"]}
    for row, label in enumerate(labels):
        cells = values[label]
        if len(cells) < BOX:
            ax.plot(cells, np.full(len(cells), row), ls="", marker="o", ms=2.5, mew=0, color=colors[label])
        else:
            dark = np.dot(to_rgb(colors[label]), (0.299, 0.587, 0.114)) < 0.35  # luminance, by Rec. 601
            line: Any = {"color": "0.2", "linewidth": 0.6}
            ax.boxplot(
                cells, positions=[row], orientation="horizontal", widths=0.7, whis=(5, 95), showfliers=False,
                patch_artist=True, manage_ticks=False, capprops=line, whiskerprops=line,
                boxprops={"facecolor": colors[label], "edgecolor": "0.2", "linewidth": 0.6},
                medianprops={"color": "white" if dark else "black", "linewidth": 1.1},
            )  # fmt: skip
        number: Any = {"va": "center", "fontsize": 0.85 * size, "color": "0.3"}
        ax.text(1.03, row, f"{len(cells):,}", transform=ax.get_yaxis_transform(), **number)
    ax.text(1.03, -0.75, "cells", transform=ax.get_yaxis_transform(), va="bottom", fontsize=0.85 * size, color="0.3")
    if threshold:
        ax.axvline(threshold, color="0.4", lw=1, ls=":", zorder=0)
    ax.set(xlim=(-0.02, 1.02), ylim=(len(labels) - 0.4, -0.6))
    ax.set_yticks(np.arange(len(labels)), labels, fontsize=size)
    _figure.literal(ax.get_yticklabels())
    ax.set_xlabel("Confidence", fontsize="small")
    _axes(ax)
    ax.tick_params(axis="y", length=0, labelsize=size)


def _reliability(ax: Axes, bins: pd.DataFrame) -> None:
    width = (bins["right"] - bins["left"]).to_numpy()
    share = bins["n"] / bins["n"].sum()
    ax.bar(bins["left"], share, width, align="edge", color="0.85", label="fraction of cells")
    ax.plot((0, 1), (0, 1), color="0.5", lw=0.8, ls="--")
    error = np.abs(bins[["low", "high"]].to_numpy().T - bins["accuracy"].to_numpy())
    ax.errorbar(
        bins["confidence"], bins["accuracy"], error,
        color=_figure.OKABE_ITO[0], marker="o", ms=3.5, lw=1.2, elinewidth=0.8, label="right labels",
    )  # fmt: skip
    ax.set(xlim=(-0.02, 1.02), ylim=(0, 1.02))
    ax.set_xlabel("Confidence", fontsize="small")
    ax.set_ylabel("Fraction of right labels", fontsize="small")
    _axes(ax)
    ax.set_title(f"ECE {_tables.calibration_error(bins):.3f}", fontsize="small")
    ax.legend(loc="upper left", fontsize="x-small", frameon=False, handlelength=1.2, borderaxespad=0.2, borderpad=0.2)


def _axes(ax: Axes) -> None:
    ax.tick_params(labelsize="small", width=0.6, length=2.5)
    ax.set_xticks((0, 0.5, 1), ("0", "0.5", "1"))
    ax.spines[["top", "right"]].set_visible(False)
