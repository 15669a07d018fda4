from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ginseng import _keys
from ginseng._docs import document
from ginseng.pl import _metric_tables, _palette, _parts, _sheet, _theme


@_sheet.plot
@document
def history(
    adata: AnnData | Any,
    *,
    key: str = _keys.DEFAULT,
    palette: _palette.Palette | None = None,
    **options: Unpack[_sheet.Options],
) -> Axes | list[Axes] | Figure | None:
    """Plot the training history: the losses and, with a holdout, its accuracy and macro F1 per epoch.

    A dotted line marks the epoch whose weights were kept or, if that is not recorded, the one with the lowest holdout
    loss.

    Parameters
    ----------
    adata
        Annotated data with a model trained by :func:`ginseng.tl.train`, a trained state, or its `history`.
    key
        Entry of `adata.uns` with the model.
    palette
        Colours of `"training"`, `"holdout"`, `"accuracy"` and `"macro F1"`.
    %(plot_options)s

    Returns
    -------
    `None` if the plot is shown, else the axes (a list if there are two panels), or the figure if `return_fig=True`.

    Raises
    ------
    KeyError
        If `adata` has no history.

    Examples
    --------
    >>> import ginseng as gs
    >>> adata = gs.datasets.pbmc68k()
    >>> ref, query = adata[::2].copy(), adata[1::2].copy()
    >>> gs.tl.train(ref, "cell_type", architecture="linear", epochs=2, silent=True)
    >>> axes = gs.pl.history(ref, show=False)
    >>> [ax.get_ylabel() for ax in axes]
    ['Loss', 'On holdout cells']
    """
    frame, best = _metric_tables.history(adata, key)
    frame["line"] = frame["split"].where(frame["metric"] == "loss", frame["metric"])
    is_loss = frame["metric"] == "loss"
    panels = {"Loss": frame[is_loss], "On holdout cells": frame[~is_loss]}
    panels = {name: lines for name, lines in panels.items() if not lines.empty}
    colors = _palette.colors(["training", "holdout", "accuracy", "macro F1"], palette)

    u = _theme.unit()
    sheet = _sheet.Sheet([(2.7 * u, 1.9 * u)] * len(panels), **options)
    for axis, (name, lines) in zip(sheet.axes, panels.items(), strict=True):
        _draw(axis, lines, colors, best)
        axis.set_ylabel(name, fontsize="small")
    return sheet.finish("history")


def _draw(ax: Axes, lines: Any, colors: Mapping[str, str], best: int | None) -> None:
    first, last = lines["epoch"].min(), lines["epoch"].max()
    marker = "o" if last - first < 30 else None
    for name, line in lines.groupby("line", sort=False):
        style: Any = {"color": colors[name], "lw": 1.3, "marker": marker, "ms": 3, "zorder": 2}
        ax.plot(line["epoch"], line["value"], label=name, **style)
    if best is not None:
        ax.axvline(best, color=_theme.ink(0.6), lw=1, ls=":", zorder=1, label=f"kept epoch ({best})")
    if first == last:
        ax.set_xlim(first - 0.9, first + 0.9)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.set_xlabel("Epoch", fontsize="small")
    _parts.simple(ax)
    _parts.legend_above(ax, ncols=3)
