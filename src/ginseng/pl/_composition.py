from __future__ import annotations

from typing import Any

import numpy as np
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator

from ginseng import _keys
from ginseng._docs import document
from ginseng.pl import _figure, _tables


@document
def composition(
    adata: AnnData,
    groupby: str,
    label_key: str | None = None,
    *,
    key: str = _keys.DEFAULT,
    normalize: bool = True,
    palette: _figure.Palette | None = None,
    ax: Axes | None = None,
    show: bool | None = None,
    return_fig: bool = False,
) -> Axes | Figure | None:
    """Plot the cell type composition of each sample, donor or cluster.

    Each bar is a group, and its segments are the labels, both in the order of their categories. The number of cells is
    shown at the end of the bar.

    The fractions of a sample sum to one, so an increase of one type decreases all others. Testing for differences
    between conditions needs a method for compositional data, with samples as replicates.

    Parameters
    ----------
    %(adata_labelled)s
    groupby
        Column of `adata.obs` with the samples or other groups. Cells where it is missing are left out.
    label_key
        Column of `adata.obs` with the labels, such as `"ginseng_vote"`. By default the predicted labels.
    %(key)s
    normalize
        Plot fractions of each group instead of numbers of cells.
    %(palette)s
    ax
        Axes to draw into. By default a new figure, large enough for all names.
    %(show)s
    %(return_fig)s

    Returns
    -------
    `None` if the plot is shown, else the axes, or the figure if `return_fig=True`.

    Raises
    ------
    KeyError
        If a column does not exist, or there are no predicted labels.
    ValueError
        If no cell is in a group.
    """
    if label_key is None:
        label_key = _keys.cell_type(key)
        _tables.predicted_labels(adata, label_key)
    counts = _tables.composition(adata, groupby, label_key)
    colors = _figure.label_colors(adata, [label_key], list(counts.columns), palette, key)
    if "missing" in colors:
        colors["missing"] = _figure.MISSING
    cells = counts.sum(axis=1).to_numpy()
    shown = counts.to_numpy() / (cells[:, None] if normalize else 1)

    size = _figure.text_size(len(counts))
    width, height = 3.0, max(0.6, len(counts) * size / 72 * 1.6)
    fig, (panel,) = _figure.make_axes(1, ax, (width, height))
    rows, start = np.arange(len(counts)), np.zeros(len(counts))
    # thin lines separate segments of similar colour
    edge: Any = {"edgecolor": "white", "linewidth": 0.3}
    for label, values in zip(counts.columns, shown.T, strict=True):
        panel.barh(rows, values, 0.8, left=start, color=colors[label], **edge)
        start = start + values
    for row, n in enumerate(cells):
        where = (start[row], row)
        number: Any = {"va": "center", "fontsize": 0.85 * size, "color": "0.3", "textcoords": "offset points"}
        panel.annotate(f"{n:,}", where, (2, 0), **number)
    panel.set(xlim=(0, start.max()), ylim=(len(counts) - 0.5, -0.5))
    panel.set_yticks(rows, counts.index, fontsize=size)
    _figure.literal(panel.get_yticklabels())
    panel.set_xlabel("Fraction of cells" if normalize else "Cells", fontsize="small")
    panel.set_ylabel(groupby, fontsize="small", parse_math=False)
    panel.xaxis.set_major_locator(FixedLocator((0, 0.5, 1)) if normalize else MaxNLocator(4, integer=True))
    panel.tick_params(axis="x", labelsize="small", width=0.6, length=2.5)
    panel.tick_params(axis="y", length=0)
    panel.spines[["top", "right", "left"]].set_visible(False)
    if ax is None:
        fig.set_layout_engine("none")
        panel.set_position((0, 0, 1, 1))
    tall = max(2.2, height) if ax is None else panel.get_window_extent().height / fig.dpi
    _figure.legend_beside(panel, colors, n_rows=max(8, int(tall / 0.145)), marker="s")
    if ax is None:
        _figure.wrap(fig, panel, width, height)
    return _figure.finish([panel], ax=ax, show=show, return_fig=return_fig)
