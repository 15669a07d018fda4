from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ginseng import _keys
from ginseng._docs import document
from ginseng.pl import _gene_tables, _palette, _parts, _sheet, _theme

_MOST = 6


@_sheet.plot
@document
def explain(
    adata: AnnData,
    cells: str | Sequence[str] | None = None,
    *,
    key: str = _keys.DEFAULT,
    palette: _palette.Palette | None = None,
    **options: Unpack[_sheet.Options],
) -> Axes | list[Axes] | Figure | None:
    """Plot the genes for and against the labels of single cells.

    Bars to the right support the label, bars to the left the label that it is compared with; both are named above.
    Hatched bars are genes without counts in the cell, which contribute by their absence.

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
    %(plot_options)s

    Returns
    -------
    `None` if the plot is shown, else the axes (a list if there are several cells), or the figure if `return_fig=True`.

    Raises
    ------
    KeyError
        If there is no explanation under `key`, or a cell has none.
    ValueError
        If there are more than six cells.

    Examples
    --------
    >>> import ginseng as gs
    >>> adata = gs.datasets.pbmc68k()
    >>> ref, query = adata[::2].copy(), adata[1::2].copy()
    >>> gs.tl.train(ref, "cell_type", architecture="linear", epochs=2, silent=True)
    >>> gs.tl.classify(query, ref, silent=True)
    >>> gs.tl.explain(query, ref, query.obs_names[:2], silent=True)
    >>> axes = gs.pl.explain(query, show=False)
    >>> [ax.get_title() == cell for ax, cell in zip(axes, query.obs_names[:2])]
    [True, True]
    """
    tables = _gene_tables.explanation(adata, cells, key)
    if cells is None:
        tables = dict(list(tables.items())[:_MOST])
    if len(tables) > _MOST:
        msg = f"`cells` names {len(tables)} cells, but a figure has room for {_MOST}."
        raise ValueError(msg)
    colors = _palette.colors(["for", "against"], palette, {"for": _theme.accent(0), "against": _theme.accent(1)})
    u = _theme.unit()
    sizes = [(2.3 * u, max(1.0 * u, 1.35 * _size(len(table)) / 72 * len(table))) for table in tables.values()]
    sheet = _sheet.Sheet(sizes, 2 if len(tables) == 4 else 3, **options)
    absent = False
    for panel, (cell, table) in zip(sheet.axes, tables.items(), strict=True):
        _bars(panel, cell, table, colors)
        absent |= bool((table["expression"] <= 0).any())
    marks: dict[str, Any] = {
        "for the label": Patch(fc=colors["for"], lw=0),
        "against the label": Patch(fc=colors["against"], lw=0),
    }
    if absent:
        hatch: Any = {"hatch": "/////", "edgecolor": _theme.paper(), "lw": 0}
        marks["no counts\nin the cell"] = Patch(fc=_theme.ink(0.5), **hatch)
    _parts.legend(sheet.axes[sheet.n_columns - 1], marks, n_rows=3)
    return sheet.finish("explain")


def _size(n: int) -> float:
    return plt.rcParams["font.size"] * (0.83 if n <= 40 else 0.6)


def _bars(ax: Axes, cell: str, table: pd.DataFrame, colors: dict[str, str]) -> None:
    """Draw the contributions of the genes in a cell."""
    place, size = np.arange(len(table)), _size(len(table))
    ax.barh(
        place,
        table["contribution"],
        color=[colors[direction] for direction in table["direction"]],
        hatch=["" if value > 0 else "/////" for value in table["expression"]],
        edgecolor=_theme.paper(),
        linewidth=0,
        height=0.8,
    )
    ax.axvline(0, color=_theme.ink(0.8), lw=0.6)
    _parts.simple(ax, left=True)
    ax.set_yticks(place, table["gene"], fontsize=size)
    ax.set_ylim(len(table) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel("Contribution (difference of logits)", fontsize="small")
    ax.locator_params(axis="x", nbins=4)  # more would overlap if the numbers are long, such as -0.15
    # what each side speaks for, above it: at least a fifth of the width to either side, to have room
    low, high = min(0.0, float(table["contribution"].min())), max(0.0, float(table["contribution"].max()))
    whole = (high - low) or 1.0
    ax.set_xlim(min(low * 1.05, -0.2 * whole), max(high * 1.05, 0.2 * whole))
    first, head = table.iloc[0], ax.get_xaxis_transform()
    side: Any = {"textcoords": "offset points", "va": "bottom", "fontsize": "small", "parse_math": False}
    names = [_parts.wrapped(str(first[name]), 16) for name in ("versus", "label")]
    color = plt.rcParams["text.color"]
    ax.annotate(f"\u2190 {names[0]}", (0, 1), (-5, 3), xycoords=head, ha="right", color=color, **side)
    ax.annotate(f"{names[1]} \u2192", (0, 1), (5, 3), xycoords=head, ha="left", color=color, **side)
    lines = max(name.count("\n") + 1 for name in names)
    ax.set_title(cell, fontsize="small", color=color, pad=7 + lines * 1.22 * 0.833 * plt.rcParams["font.size"])
    _parts.literal([*ax.get_yticklabels(), ax.title])
