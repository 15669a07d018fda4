from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ginseng import _keys
from ginseng._docs import document
from ginseng.pl import _figure, _tables

_MOST = 6
_COLORS = {"for": _figure.OKABE_ITO[0], "against": _figure.OKABE_ITO[5]}


@document
def explain(
    adata: AnnData,
    cells: str | Sequence[str] | None = None,
    *,
    key: str = _keys.DEFAULT,
    palette: _figure.Palette | None = None,
    ax: Axes | Sequence[Axes] | None = None,
    show: bool | None = None,
    return_fig: bool = False,
) -> Axes | list[Axes] | Figure | None:
    """Plot the genes for and against the labels of single cells.

    Bars to the right support the label, bars to the left the label that it is compared with. Hatched bars are genes
    without counts in the cell, which contribute by their absence.

    Parameters
    ----------
    adata
        Annotated data with the results of :func:`ginseng.tl.explain`.
    cells
        Name of a cell, or of up to six cells. If None, the first six that were explained.
    key
        Prefix under which the explanation was written.
    palette
        Colours of `"for"` and `"against"`.
    ax
        Axes to draw into, one per cell.
    %(show)s
    %(return_fig)s

    Returns
    -------
    `None` if the plot is shown, else the axes (a list if there are several cells), or the figure if `return_fig=True`.

    Raises
    ------
    KeyError
        If there is no explanation under `key`, or a cell has none.
    ValueError
        If there are more than six cells.
    """
    tables = _tables.explanation(adata, cells, key)
    if cells is None:
        tables = dict(list(tables.items())[:_MOST])
    if len(tables) > _MOST:
        msg = f"`cells` names {len(tables)} cells, but a figure has room for {_MOST}."
        raise ValueError(msg)
    colors = _figure.colors(["for", "against"], palette, _COLORS)
    longest = max(len(table) for table in tables.values())
    size = plt.rcParams["font.size"] * (0.83 if longest <= 40 else 0.6)
    names = max((len(gene) for table in tables.values() for gene in table["gene"]), default=0)
    width, height = 2.6 + 0.6 * size / 72 * names, 0.9 + 1.35 * size / 72 * longest  # inches
    _, axes = _figure.make_axes(len(tables), ax, (width * len(tables), height))
    for panel, (cell, table) in zip(axes, tables.items(), strict=True):
        place = np.arange(len(table))
        panel.barh(
            place,
            table["contribution"],
            color=[colors[direction] for direction in table["direction"]],
            hatch=["" if value > 0 else "/////" for value in table["expression"]],
            edgecolor="white",
            linewidth=0,
            height=0.8,
        )
        panel.axvline(0, color="0.3", lw=0.6)
        panel.set_yticks(place, table["gene"], fontsize=size)
        panel.set_ylim(len(table) - 0.4, -0.6)
        first = table.iloc[0]
        panel.set_title(
            f"{cell}\n{_figure.shortened(first['label'])}\nnot {_figure.shortened(first['versus'])}",
            fontsize="small",
        )
        panel.set_xlabel("Contribution (difference of logits)", fontsize="small")
        panel.locator_params(axis="x", nbins=4)  # more would overlap if the numbers are long, such as -0.15
        panel.tick_params(labelsize="small", width=0.6, length=2.5)
        panel.tick_params(axis="y", labelsize=size, length=0)
        panel.spines[["top", "right", "left"]].set_visible(False)
        _figure.literal([*panel.get_yticklabels(), panel.title])
    return _figure.finish(axes, ax=ax, show=show, return_fig=return_fig)
