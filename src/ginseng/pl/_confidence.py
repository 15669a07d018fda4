from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ginseng import _keys
from ginseng._docs import document
from ginseng.pl import _boxes, _figure, _tables

#: Thresholds that are marked on the curve of coverage and accuracy.
MARKED = (0.5, 0.7, 0.8, 0.9, 0.95, 0.99)


@_figure.themed
@document
def confidence(
    adata: AnnData,
    label_key: str | None = None,
    *,
    groupby: str | None = None,
    key: str = _keys.DEFAULT,
    n_bins: int = 10,
    palette: _figure.Palette | None = None,
    title: _figure.Title | None = None,
    figsize: tuple[float, float] | None = None,
    save: _figure.Save | None = None,
    ax: Axes | Sequence[Axes] | None = None,
    show: bool | None = None,
    return_fig: bool = False,
) -> Axes | list[Axes] | Figure | None:
    """Plot the confidence and novelty of each predicted type or cluster and, given true labels, what they are worth.

    The first panel has one row per predicted type, or per value of `groupby`, sorted by median confidence. Boxes show
    quartiles and median, whiskers the 5th and 95th percentile; groups with fewer than five cells are drawn as single
    cells. The number of cells is shown beside each row. A dotted line marks the threshold of
    ``gs.tl.classify(..., min_confidence=)``. If the cells have a novelty, a second panel shows it for the same rows.

    With `label_key`, two more panels follow. The reliability diagram (Guo et al. 2017) shows the fraction of correct
    labels among cells of similar confidence, with 95% Wilson intervals. On the diagonal, confidence equals the
    probability of being correct; below it, the model is overconfident. Bars show the fraction of cells per bin. The
    expected calibration error (ECE) is the mean distance to the diagonal over cells.

    The last panel serves to choose a threshold: for each minimum confidence, the fraction of the cells that keep their
    label (coverage) and the fraction of these labels that are correct (accuracy), with some thresholds marked. Cells
    without a true label are left out.

    Parameters
    ----------
    %(adata_labelled)s
    label_key
        Column of `adata.obs` with the true labels. Without it, only confidence and novelty are plotted.
    groupby
        Column of `adata.obs` with clusters, samples or other groups, to plot instead of the predicted types.
    %(key)s
    n_bins
        Number of equal-width confidence bins in the reliability diagram.
    %(palette)s
    %(title)s
    %(figsize)s
    ax
        Axes to draw into, one per panel.
    %(save)s
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

    Examples
    --------
    >>> import ginseng as gs
    >>> adata = gs.datasets.pbmc68k()
    >>> ref, query = adata[::2].copy(), adata[1::2].copy()
    >>> gs.tl.train(ref, "cell_type", architecture="linear", epochs=2, silent=True)
    >>> gs.tl.classify(query, ref, silent=True)
    >>> axes = gs.pl.confidence(query, "cell_type", show=False)
    >>> axes[0].get_xlabel(), axes[-1].get_xlabel()
    ('Confidence', 'Fraction of cells with a label')
    """
    if n_bins < 1:
        msg = f"`n_bins` must be at least 1, not {n_bins}."
        raise ValueError(msg)
    frame = _tables.confidence(adata, label_key, key, groupby)
    if frame.empty:
        msg = "No cell has a predicted label and a confidence: there is nothing to plot."
        raise ValueError(msg)
    rows = _boxes.by_median(frame, "group", "confidence", [_tables.unassigned(adata, key)])
    if groupby is None:
        columns = [*([label_key] if label_key else []), _keys.cell_type(key)]
        colors = _figure.label_colors(adata, columns, rows, palette, key)
    else:
        colors = _figure.group_colors(adata, groupby, rows, palette)
    limits = _tables.thresholds(adata, key)
    cells = frame["group"].value_counts()

    shown = ["confidence", *(["novelty"] if "novelty" in frame else [])]
    u = _figure.unit()
    sizes = [_boxes.size_of(len(rows))] * len(shown) + [(2.0 * u, 2.0 * u)] * (0 if label_key is None else 2)
    sheet = _figure.Sheet(sizes, ax)
    for axis, name in zip(sheet.axes, shown, strict=False):
        _boxes.draw(
            axis, _boxes.by_group(frame, "group", name, rows), colors, name.capitalize(), limit=limits.get(name)
        )
        _figure.share_axis(axis)
    for axis in sheet.axes[1 : len(shown)] if ax is None else []:
        axis.tick_params(axis="y", labelleft=False)
    _figure.number_rows(sheet.axes[len(shown) - 1], cells[rows], _figure.text_size(len(rows)))
    if label_key is not None:
        _reliability(sheet.axes[-2], _tables.reliability(frame, n_bins))
        _coverage(sheet.axes[-1], _tables.coverage(frame))
    return sheet.finish("confidence", title=title, figsize=figsize, save=save, show=show, return_fig=return_fig)


def _reliability(ax: Axes, bins: pd.DataFrame) -> None:
    width = (bins["right"] - bins["left"]).to_numpy()
    share = bins["n"] / bins["n"].sum()
    ax.bar(bins["left"], share, width, align="edge", color=_figure.ink(0.18), label="fraction of cells")
    ax.plot((0, 1), (0, 1), color=_figure.ink(0.5), lw=0.8, ls="--")
    error = np.abs(bins[["low", "high"]].to_numpy().T - bins["accuracy"].to_numpy())
    ax.errorbar(
        bins["confidence"], bins["accuracy"], error,
        color=_figure.accent(), marker="o", ms=3.5, lw=1.2, elinewidth=0.8, label="correct labels",
    )  # fmt: skip
    _figure.share_axis(ax)
    ax.set_ylim(0, 1.02)
    ax.set_xlabel("Confidence", fontsize="small")
    ax.set_ylabel("Fraction of correct labels", fontsize="small")
    _figure.simple(ax)
    # above the panel, so that it hides no bin
    drawn = ax.legend(
        loc="lower left", bbox_to_anchor=(0, 1), fontsize="small", frameon=False, handlelength=1.2, borderaxespad=0.2,
        borderpad=0, labelspacing=0.2, handletextpad=0.4, labelcolor=plt.rcParams["text.color"],
        title=f"ECE {_tables.calibration_error(bins):.3f}", title_fontsize="small", alignment="left",
    )  # fmt: skip
    drawn.get_title().set_color(plt.rcParams["text.color"])


def _coverage(ax: Axes, curve: pd.DataFrame) -> None:
    ax.plot(curve["coverage"], curve["accuracy"], color=_figure.accent(), lw=1.4)
    low = min(float(curve["accuracy"].min()), 0.999)
    low = low - 0.12 * (1 - low)
    above: list[Any] = []
    for threshold in MARKED:
        kept = curve[curve["threshold"] >= threshold]
        if kept.empty:
            continue
        point = kept.iloc[-1]  # the smallest confidence that reaches it
        x, y = float(point["coverage"]), float(point["accuracy"])
        if any(np.hypot(x - a, 1.6 * (y - b) / (1 - low)) < 0.16 for a, b in above):
            continue  # its number would cover the last
        above.append((x, y))
        ax.plot([x], [y], ls="", marker="o", ms=4, color=_figure.accent(), mec=_figure.paper(), mew=0.6)
        right, up = x < 0.2, y < low + 0.15 * (1 - low)  # so that no number crosses an axis
        ax.annotate(
            f"{threshold:g}", (x, y), (3 if right else -3, 3 if up else -3), textcoords="offset points",
            ha="left" if right else "right", va="bottom" if up else "top", fontsize="x-small", color=_figure.ink(),
        )  # fmt: skip
    _figure.share_axis(ax)
    ax.set_ylim(low, 1 + 0.04 * (1 - low))
    ax.locator_params(axis="y", nbins=5)
    ax.set_xlabel("Fraction of cells with a label", fontsize="small")
    ax.set_ylabel("Fraction of correct labels", fontsize="small")
    ax.set_title("numbers: minimum confidence", fontsize="small", loc="left", color=plt.rcParams["text.color"])
    _figure.simple(ax)
