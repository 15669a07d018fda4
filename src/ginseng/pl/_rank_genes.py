from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import matplotlib.pyplot as plt
import numpy as np
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ginseng import _keys
from ginseng._docs import document
from ginseng.pl import _figure, _tables


@document
def rank_genes(
    adata: AnnData,
    *,
    kind: Literal["dotplot", "heatmap"] = "dotplot",
    n_genes: int | None = None,
    groups: Sequence[str] | None = None,
    min_logfoldchange: float | None = None,
    key: str = _keys.DEFAULT,
    cmap: str | Colormap | None = None,
    ax: Axes | None = None,
    show: bool | None = None,
    return_fig: bool = False,
) -> Axes | Figure | None:
    """Plot the genes that drive the label of each type.

    Rows are groups. Columns are the top genes of each group in turn, so that the genes of a type lie on the diagonal.

    Parameters
    ----------
    adata
        Annotated data with the results of :func:`ginseng.tl.rank_genes`.
    kind
        `"dotplot"` shows the expression: mean as colour, fraction of expressing cells as dot size. `"heatmap"` shows
        the scores: the contribution of each gene to the label of each group.
    n_genes
        Number of top genes per group. By default 5, fewer for more than 24 groups.
    groups
        Groups to plot, in this order; all if None.
    min_logfoldchange
        Show only genes with a log fold change above this. 0 removes genes that mark a group by their absence.
    key
        Prefix under which the ranks were written.
    cmap
        Colour map. By default `"Reds"` for expression and `"RdBu_r"` for scores.
    ax
        Axes to draw into. By default a new figure, large enough for all labels.
    %(show)s
    %(return_fig)s

    Returns
    -------
    `None` if the plot is shown, else the axes, or the figure if `return_fig=True`.

    Raises
    ------
    KeyError
        If there are no ranked genes under `key`, or for a group.
    """
    if kind not in ("dotplot", "heatmap"):
        msg = f"`kind` must be 'dotplot' or 'heatmap', not {kind!r}."
        raise ValueError(msg)
    if n_genes is not None and n_genes < 1:
        msg = f"`n_genes` must be at least 1, not {n_genes}."
        raise ValueError(msg)
    scores = _tables.ranked_genes(adata, key, groups, n_genes, min_logfoldchange)
    names, genes = list(scores.index), list(scores.columns)
    size = plt.rcParams["font.size"] * (0.83 if len(genes) <= 60 else 0.6)
    cell = size / 72 * 1.5  # inches
    width, height = len(genes) * cell, len(names) * cell
    fig, (panel,) = _figure.make_axes(1, ax, (width, height))
    if kind == "heatmap":
        values = scores.to_numpy(float)
        limit = float(np.nanmax(np.abs(values))) or 1.0
        style: Any = {"edgecolors": "0.9", "linewidth": 0.3, "antialiased": True}
        mappable: Any = panel.pcolormesh(values, cmap=cmap or "RdBu_r", vmin=-limit, vmax=limit, **style)
        title = "Contribution\nto the label"
    else:
        mean, share = _tables.expression(adata, genes, names, key)
        x, y = np.meshgrid(np.arange(len(genes)) + 0.5, np.arange(len(names)) + 0.5)
        largest = (0.9 * cell * 72) ** 2  # points squared
        mappable = panel.scatter(
            x.ravel(), y.ravel(), s=largest * share.to_numpy().ravel(), c=mean.to_numpy().ravel(), cmap=cmap or "Reds",
            vmin=0, edgecolors="0.5", linewidths=0.2,
        )  # fmt: skip
        title = "Mean expression\n(log1p)"
    panel.set(xlim=(0, len(genes)), ylim=(len(names), 0), aspect="equal")
    panel.set_xticks(np.arange(len(genes)) + 0.5, genes, rotation=90, fontsize=size)
    panel.set_yticks(np.arange(len(names)) + 0.5, names, fontsize=size)
    _figure.literal([*panel.get_xticklabels(), *panel.get_yticklabels()])
    panel.tick_params(length=0)
    panel.spines[:].set(visible=True, linewidth=0.5)
    if ax is None:
        panel.set_position((0, 0, 1, 1))
    _figure.colorbar(panel, mappable, title)
    if kind == "dotplot":
        _sizes(panel, largest)
    if ax is None:
        _figure.wrap(fig, panel, width, height)
    return _figure.finish([panel], ax=ax, show=show, return_fig=return_fig)


def _sizes(ax: Axes, largest: float) -> None:
    """Draw a legend of the dot sizes, to the right of the colour bar."""
    box: Any = ax.get_tightbbox()
    edge = ax.transAxes.inverted().transform((box.x1, box.y1))[0]
    dots = [
        Line2D(
            [], [], ls="", marker="o", ms=np.sqrt(largest * share), mfc="0.6", mec="0.5", mew=0.2, label=f"{share:.0%}"
        )
        for share in (0.2, 0.6, 1.0)
    ]
    ax.legend(
        handles=dots, title="Cells with\ncounts", loc="lower left", bbox_to_anchor=(edge, 0), fontsize="small",
        title_fontsize="small", frameon=False, handletextpad=0.4, labelspacing=0.6, borderaxespad=0.6, borderpad=0,
    )  # fmt: skip
