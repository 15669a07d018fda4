from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import rankdata

from ginseng import _keys
from ginseng._docs import document
from ginseng.pl import _boxes, _figure, _tables

_TITLES = {"uncertainty": "Uncertainty", "spread": "Spread of the probability"}


@_figure.themed
@document
def uncertainty(
    adata: AnnData,
    label_key: str | None = None,
    *,
    groupby: str | None = None,
    key: str = _keys.DEFAULT,
    palette: _figure.Palette | None = None,
    title: _figure.Title | None = None,
    figsize: tuple[float, float] | None = None,
    save: _figure.Save | None = None,
    ax: Axes | Sequence[Axes] | None = None,
    show: bool | None = None,
    return_fig: bool = False,
) -> Axes | list[Axes] | Figure | None:
    """Plot how uncertain the model is of each predicted type or cluster.

    One row per predicted type, or per value of `groupby`, sorted by median uncertainty, the most uncertain on top. The
    first panel shows the entropy of the mean probabilities (0 to 1), the second the standard deviation of the
    probability of the label over passes with dropout. Boxes show quartiles and median, whiskers the 5th and 95th
    percentile.

    With `label_key`, a third panel shows the uncertainty of cells with a correct and with a wrong label as cumulative
    fractions. The area under the ROC curve (AUROC) is the probability that a wrong label is more uncertain than a
    correct one: 0.5 if the uncertainty says nothing, 1 if it finds all errors.

    Parameters
    ----------
    adata
        Annotated data with the results of :func:`ginseng.tl.classify` and :func:`ginseng.tl.uncertainty`.
    label_key
        Column of `adata.obs` with the true labels.
    groupby
        Column of `adata.obs` with clusters, samples or other groups, to plot instead of the predicted types.
    %(key)s
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
    `None` if the plot is shown, else the axes, or the figure if `return_fig=True`.

    Raises
    ------
    KeyError
        If there is no uncertainty, there are no predicted labels, or a column does not exist.
    ValueError
        If no cell has an uncertainty, or none has both labels.

    Examples
    --------
    >>> import ginseng as gs
    >>> adata = gs.datasets.pbmc68k()
    >>> gs.tl.train(adata, "cell_type", layer="counts", epochs=1, silent=True)
    >>> gs.tl.classify(adata, adata, layer="counts", silent=True)
    >>> gs.tl.uncertainty(adata, adata, layer="counts", n_passes=5, silent=True)
    >>> axes = gs.pl.uncertainty(adata, "cell_type", show=False)
    >>> [ax.get_xlabel() for ax in axes]
    ['Uncertainty', 'Spread of the probability', 'Uncertainty']
    """
    frame = _tables.uncertainty(adata, label_key, key, groupby)
    if frame.empty:
        msg = "No cell has a predicted label and an uncertainty: there is nothing to plot."
        raise ValueError(msg)
    rows = _boxes.by_median(frame, "group", "uncertainty", [_tables.unassigned(adata, key)])
    if groupby is None:
        columns = [*([label_key] if label_key else []), _keys.cell_type(key)]
        colors = _figure.label_colors(adata, columns, rows, palette, key)
    else:
        colors = _figure.group_colors(adata, groupby, rows, palette)
    shown = [name for name in _TITLES if name in frame]
    u = _figure.unit()
    sizes = [_boxes.size_of(len(rows))] * len(shown) + [(2.0 * u, 2.0 * u)] * (label_key is not None)
    sheet = _figure.Sheet(sizes, ax)
    for axis, name in zip(sheet.axes, shown, strict=False):
        _boxes.draw(axis, _boxes.by_group(frame, "group", name, rows), colors, _TITLES[name])
        axis.set_xlim(left=0)
        axis.locator_params(axis="x", nbins=4)
    for axis in sheet.axes[1 : len(shown)] if ax is None else []:
        axis.tick_params(axis="y", labelleft=False)
    cells = frame["group"].value_counts()
    _figure.number_rows(sheet.axes[len(shown) - 1], cells[rows], _figure.text_size(len(rows)))
    if label_key is not None:
        _right_and_wrong(sheet.axes[-1], frame.dropna(subset="right"))
    return sheet.finish("uncertainty", title=title, figsize=figsize, save=save, show=show, return_fig=return_fig)


def _right_and_wrong(ax: Axes, frame: pd.DataFrame) -> None:
    right = frame["right"].to_numpy(dtype=bool)
    for i, (name, which) in enumerate((("correct", right), ("wrong", ~right))):
        values = np.sort(frame["uncertainty"].to_numpy()[which])
        if len(values):
            heights = np.arange(1, len(values) + 1) / len(values)
            style: Any = {"color": _figure.accent(i), "lw": 1.4, "label": f"{name} ({len(values):,})"}
            ax.step([0, *values], [0, *heights], where="post", **style)
    _figure.simple(ax)
    ax.set(xlim=(0, None), ylim=(0, 1.02))
    ax.locator_params(nbins=4)
    ax.set_xlabel("Uncertainty", fontsize="small")
    ax.set_ylabel("Cumulative fraction of cells", fontsize="small")
    n_right, n_wrong = int(right.sum()), int((~right).sum())
    area = np.nan
    if n_right and n_wrong:  # the statistic of Mann and Whitney
        ranks = rankdata(frame["uncertainty"].to_numpy())
        area = (ranks[~right].sum() - n_wrong * (n_wrong + 1) / 2) / (n_right * n_wrong)
    color = plt.rcParams["text.color"]
    drawn = ax.legend(
        loc="lower left", bbox_to_anchor=(0, 1), fontsize="small", frameon=False, handlelength=1.2, borderaxespad=0.2,
        borderpad=0, labelspacing=0.2, handletextpad=0.4, labelcolor=color, alignment="left", title_fontsize="small",
        title=f"AUROC {area:.3f}" if np.isfinite(area) else "no wrong label" if n_right else "no correct label",
    )  # fmt: skip
    drawn.get_title().set_color(color)
