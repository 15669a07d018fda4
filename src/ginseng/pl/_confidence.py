from __future__ import annotations

from typing import Any, Unpack

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ginseng import _keys
from ginseng._docs import document
from ginseng.pl import _boxes, _metric_tables, _palette, _parts, _sheet, _tables, _theme

#: Thresholds that are marked on the curve of coverage and accuracy.
MARKED = (0.5, 0.7, 0.8, 0.9, 0.95, 0.99)


@_sheet.plot
@document
def confidence(
    adata: AnnData,
    label_key: str | None = None,
    *,
    groupby: str | None = None,
    key: str = _keys.DEFAULT,
    n_bins: int = 10,
    palette: _palette.Palette | None = None,
    **options: Unpack[_sheet.Options],
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
    %(plot_options)s

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
    colors = _palette.row_colors(adata, label_key, groupby, rows, palette, key)
    panels = {name: name.capitalize() for name in ("confidence", "novelty") if name in frame}
    sheet = _boxes.sheet(frame, panels, rows, colors, n_more=0 if label_key is None else 2, **options)
    limits = _tables.thresholds(adata, key)
    for axis, name in zip(sheet.axes, panels, strict=False):
        if name in limits:
            axis.axvline(limits[name], color=_theme.ink(0.6), lw=1, ls=":", zorder=0)
        _parts.share_axis(axis)
    if label_key is not None:
        _reliability(sheet.axes[-2], _metric_tables.reliability(frame, n_bins))
        _coverage(sheet.axes[-1], _metric_tables.coverage(frame))
    return sheet.finish("confidence")


def _reliability(ax: Axes, bins: pd.DataFrame) -> None:
    width = (bins["right"] - bins["left"]).to_numpy()
    share = bins["n"] / bins["n"].sum()
    ax.bar(bins["left"], share, width, align="edge", color=_theme.ink(0.18), label="fraction of cells")
    ax.plot((0, 1), (0, 1), color=_theme.ink(0.5), lw=0.8, ls="--")
    error = np.abs(bins[["low", "high"]].to_numpy().T - bins["accuracy"].to_numpy())
    ax.errorbar(
        bins["confidence"], bins["accuracy"], error,
        color=_theme.accent(), marker="o", ms=3.5, lw=1.2, elinewidth=0.8, label="correct labels",
    )  # fmt: skip
    _parts.share_axis(ax)
    ax.set_ylim(0, 1.02)
    ax.set_xlabel("Confidence", fontsize="small")
    ax.set_ylabel("Fraction of correct labels", fontsize="small")
    _parts.simple(ax)
    _parts.legend_above(ax, f"ECE {_metric_tables.calibration_error(bins):.3f}")


def _coverage(ax: Axes, curve: pd.DataFrame) -> None:
    ax.plot(curve["coverage"], curve["accuracy"], color=_theme.accent(), lw=1.4)
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
        ax.plot([x], [y], ls="", marker="o", ms=4, color=_theme.accent(), mec=_theme.paper(), mew=0.6)
        right, up = x < 0.2, y < low + 0.15 * (1 - low)  # so that no number crosses an axis
        ax.annotate(
            f"{threshold:g}", (x, y), (3 if right else -3, 3 if up else -3), textcoords="offset points",
            ha="left" if right else "right", va="bottom" if up else "top", fontsize="x-small", color=_theme.ink(),
        )  # fmt: skip
    _parts.share_axis(ax)
    ax.set_ylim(low, 1 + 0.04 * (1 - low))
    ax.locator_params(axis="y", nbins=5)
    ax.set_xlabel("Fraction of cells with a label", fontsize="small")
    ax.set_ylabel("Fraction of correct labels", fontsize="small")
    ax.set_title("numbers: minimum confidence", fontsize="small", loc="left", color=plt.rcParams["text.color"])
    _parts.simple(ax)
