from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Unpack

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure

from ginseng import _keys
from ginseng._docs import document
from ginseng.pl import _gene_tables, _parts, _sheet, _theme


@_sheet.plot
@document
def rank_genes(
    adata: AnnData,
    *,
    kind: Literal["dotplot", "heatmap"] = "dotplot",
    n_genes: int | None = None,
    groups: Sequence[str] | None = None,
    min_logfoldchange: float | None = 0,
    standard_scale: Literal["var", "group"] | None = None,
    key: str = _keys.DEFAULT,
    cmap: str | Colormap | None = None,
    **options: Unpack[_sheet.Options],
) -> Axes | Figure | None:
    """Plot the genes that drive the label of each type.

    Rows are groups. Columns are the top genes of each group in turn, so that the genes of a type lie on the diagonal;
    brackets name the groups. A gene of several groups is shown with the first of them.

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
        Show only genes with a log fold change above this. The default leaves out genes that mark a group by their
        absence; None shows all.
    standard_scale
        Scale the colours of the dots from 0 to 1: per gene (`"var"`) or per group (`"group"`), as in scanpy.
    key
        Prefix under which the ranks were written.
    cmap
        Colour map. By default from the background to red for expression, and `"RdBu_r"` for scores.
    %(plot_options)s

    Returns
    -------
    `None` if the plot is shown, else the axes, or the figure if `return_fig=True`.

    Raises
    ------
    KeyError
        If there are no ranked genes under `key`, or for a group.

    Examples
    --------
    >>> import ginseng as gs
    >>> adata = gs.datasets.pbmc68k()
    >>> ref, query = adata[::2].copy(), adata[1::2].copy()
    >>> gs.tl.train(ref, "cell_type", architecture="linear", epochs=2, silent=True)
    >>> gs.tl.classify(query, ref, silent=True)
    >>> gs.tl.rank_genes(query, ref, silent=True)
    >>> ax = gs.pl.rank_genes(query, n_genes=2, groups=["CD19+ B", "CD56+ NK"], show=False)
    >>> [text.get_text() for text in ax.get_yticklabels()]
    ['CD19+ B', 'CD56+ NK']
    """
    if kind not in ("dotplot", "heatmap"):
        msg = f"`kind` must be 'dotplot' or 'heatmap', not {kind!r}."
        raise ValueError(msg)
    if n_genes is not None and n_genes < 1:
        msg = f"`n_genes` must be at least 1, not {n_genes}."
        raise ValueError(msg)
    if standard_scale not in ("var", "group", None):
        msg = f"`standard_scale` must be 'var', 'group' or None, not {standard_scale!r}."
        raise ValueError(msg)
    scores, of_group = _gene_tables.ranked_genes(adata, key, groups, n_genes, min_logfoldchange)
    names, genes = list(scores.index), list(scores.columns)
    size = plt.rcParams["font.size"] * (0.83 if len(genes) <= 60 else 0.6)
    cell = size / 72 * 1.5  # inches
    sheet = _sheet.Sheet([(len(genes) * cell, len(names) * cell)], **options)
    (panel,) = sheet.axes
    largest = (0.9 * cell * 72) ** 2  # points squared
    if kind == "heatmap":
        values = scores.to_numpy(float)
        limit = float(np.nanmax(np.abs(values))) or 1.0
        style: Any = {"edgecolors": _theme.ink(0.12), "linewidth": 0.3, "antialiased": True}
        mappable: Any = panel.pcolormesh(values, cmap=_theme.diverging(cmap), vmin=-limit, vmax=limit, **style)
        unit = "Contribution\nto the label"
    else:
        mean, share = _gene_tables.expression(adata, genes, names, key)
        unit = "Mean expression\n(log1p)"
        if standard_scale is not None:
            mean, unit = _scaled(mean, standard_scale), f"Mean expression\n(scaled per {_OF[standard_scale]})"
        x, y = np.meshgrid(np.arange(len(genes)) + 0.5, np.arange(len(names)) + 0.5)
        mappable = panel.scatter(
            x.ravel(), y.ravel(), s=largest * share.to_numpy().ravel(), c=mean.to_numpy().ravel(),
            cmap=_theme.sequential(cmap, "Reds"), vmin=0, edgecolors=_theme.ink(0.5), linewidths=0.2,
            gid=_parts.TO_SCALE,
        )  # fmt: skip
    _parts.name_cells(panel, names, genes, size)
    _brackets(panel, of_group, size)
    _parts.colorbar(panel, mappable, unit)
    if kind == "dotplot":
        _parts.size_legend(panel, largest, "Cells with\ncounts")
    return sheet.finish("rank_genes")


_OF = {"var": "gene", "group": "group"}


def _scaled(values: pd.DataFrame, by: str) -> pd.DataFrame:
    """Scale each gene (column) or group (row) from 0 to 1, as scanpy does."""
    axis: Any = 0 if by == "var" else 1
    low = values.min(axis=axis)
    span = values.sub(low, axis=1 - axis).max(axis=axis)
    return values.sub(low, axis=1 - axis).div(span.where(span > 0, 1), axis=1 - axis)


def _brackets(ax: Axes, of_group: dict[str, int], size: float) -> None:
    """Draw a bracket over the genes of each group, and its name."""
    start, top = 0, ax.get_xaxis_transform()
    line: Any = {"color": _theme.faint(), "lw": 0.7, "clip_on": False, "transform": top + _parts.points(ax, 0, 3)}
    high = 3 / 72 / (ax.get_window_extent().height / ax.figure.dpi)
    for group, n in of_group.items():
        if n:
            a, b = start + 0.15, start + n - 0.15
            ax.plot(
                [a, a, b, b], [1, 1 + high, 1 + high, 1], solid_joinstyle="miter", scalex=False, scaley=False, **line
            )
            ax.annotate(
                _parts.shortened(group, 40), ((a + b) / 2, 1), (0, 8), xycoords=top, textcoords="offset points",
                ha="center", va="bottom", rotation=90, fontsize=size, parse_math=False,
                color=plt.rcParams["text.color"],
            )  # fmt: skip
        start += n
