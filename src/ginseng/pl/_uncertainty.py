from __future__ import annotations

from typing import Any, Unpack

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import rankdata

from ginseng import _keys
from ginseng._docs import document
from ginseng.pl import _boxes, _palette, _parts, _sheet, _tables, _theme

_TITLES = {"uncertainty": "Uncertainty", "spread": "Spread of the probability"}


@_sheet.plot
@document
def uncertainty(
    adata: AnnData,
    label_key: str | None = None,
    *,
    groupby: str | None = None,
    key: str = _keys.DEFAULT,
    palette: _palette.Palette | None = None,
    **options: Unpack[_sheet.Options],
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
    %(plot_options)s

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
    colors = _palette.row_colors(adata, label_key, groupby, rows, palette, key)
    panels = {name: title for name, title in _TITLES.items() if name in frame}
    sheet = _boxes.sheet(frame, panels, rows, colors, n_more=0 if label_key is None else 1, **options)
    for axis in sheet.axes[: len(panels)]:
        axis.set_xlim(left=0)
        axis.locator_params(axis="x", nbins=4)
    if label_key is not None:
        _right_and_wrong(sheet.axes[-1], frame.dropna(subset="right"))
    return sheet.finish("uncertainty")


def _right_and_wrong(ax: Axes, frame: pd.DataFrame) -> None:
    right = frame["right"].to_numpy(dtype=bool)
    for i, (name, which) in enumerate((("correct", right), ("wrong", ~right))):
        values = np.sort(frame["uncertainty"].to_numpy()[which])
        if len(values):
            heights = np.arange(1, len(values) + 1) / len(values)
            style: Any = {"color": _theme.accent(i), "lw": 1.4, "label": f"{name} ({len(values):,})"}
            ax.step([0, *values], [0, *heights], where="post", **style)
    _parts.simple(ax)
    ax.set(xlim=(0, None), ylim=(0, 1.02))
    ax.locator_params(nbins=4)
    ax.set_xlabel("Uncertainty", fontsize="small")
    ax.set_ylabel("Cumulative fraction of cells", fontsize="small")
    n_right, n_wrong = int(right.sum()), int((~right).sum())
    area = np.nan
    if n_right and n_wrong:  # the statistic of Mann and Whitney
        ranks = rankdata(frame["uncertainty"].to_numpy())
        area = (ranks[~right].sum() - n_wrong * (n_wrong + 1) / 2) / (n_right * n_wrong)
    head = f"AUROC {area:.3f}" if np.isfinite(area) else "no wrong label" if n_right else "no correct label"
    _parts.legend_above(ax, head)
