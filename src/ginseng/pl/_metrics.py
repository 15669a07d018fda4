from __future__ import annotations

from typing import Any, Literal, Unpack

import numpy as np
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ginseng import _keys
from ginseng._docs import document
from ginseng.pl import _metric_tables, _palette, _parts, _sheet, _theme

_NAMES = {"precision": "precision", "recall": "recall", "f1": "F1"}
_MARKERS = {"precision": "<", "recall": ">", "f1": "o"}


@_sheet.plot
@document
def metrics(
    adata: AnnData,
    label_key: str | None = None,
    *,
    key: str = _keys.DEFAULT,
    sort_by: Literal["f1", "precision", "recall", "support", "name"] = "f1",
    palette: _palette.Palette | None = None,
    **options: Unpack[_sheet.Options],
) -> Axes | Figure | None:
    """Plot precision, recall and F1 of each type, with its number of cells.

    Precision is the fraction of the cells predicted as a type that are of this type, recall the fraction of the cells
    of a type that are predicted as such, and F1 their harmonic mean. Undefined ratios are zero. A dotted line marks the
    mean F1 of the true types.

    Parameters
    ----------
    %(adata_labelled)s
    label_key
        Column of `adata.obs` with the true labels. By default, the metrics that :func:`ginseng.tl.evaluate` or
        :func:`ginseng.tl.cross_validate` wrote to `adata.uns` are plotted.
    key
        Prefix under which the labels or the metrics were written.
    sort_by
        Order of the types: the highest value of this on top, or alphabetical for `"name"`.
    palette
        Colours of `"precision"`, `"recall"` and `"f1"`.
    %(plot_options)s

    Returns
    -------
    `None` if the plot is shown, else the axes, or the figure if `return_fig=True`.

    Raises
    ------
    KeyError
        If the metrics or the labels do not exist.

    Examples
    --------
    >>> import ginseng as gs
    >>> adata = gs.datasets.pbmc68k()
    >>> gs.tl.cross_validate(adata, "cell_type", "linear", n_folds=3, epochs=2, silent=True)
    >>> ax = gs.pl.metrics(adata, key="ginseng_cv", show=False)
    >>> len(ax.get_yticklabels())
    10
    """
    if sort_by not in (*_NAMES, "support", "name"):
        msg = f"`sort_by` must be 'f1', 'precision', 'recall', 'support' or 'name', not {sort_by!r}."
        raise ValueError(msg)
    table = _metric_tables.per_class(_metric_tables.confusion(adata, label_key, key))
    if sort_by == "name":
        table = table.sort_index()
    else:
        table = table.sort_values([sort_by, "support"], ascending=False, kind="stable")
    known = {name: _theme.accent(i) for i, name in enumerate(("precision", "recall"))} | {"f1": _theme.ink(0.85)}
    colors = _palette.colors(list(_NAMES), palette, known)

    u, size, rows = _theme.unit(), _theme.text_size(len(table)), np.arange(len(table))
    sheet = _sheet.Sheet([(2.6 * u, max(0.6 * u, len(table) * size / 72 * 1.45))], **options)
    (panel,) = sheet.axes
    low, high = table[["precision", "recall"]].min(axis=1), table[["precision", "recall"]].max(axis=1)
    panel.hlines(rows, low, high, color=_theme.ink(0.3), lw=1.2 * u, zorder=1)
    for i, (name, text) in enumerate(_NAMES.items()):
        style: Any = {"ls": "", "marker": _MARKERS[name], "ms": 4.5 * u, "mec": _theme.paper(), "mew": 0.4}
        panel.plot(table[name], rows, color=colors[name], label=text, zorder=2 + i, clip_on=False, **style)
    panel.axvline(table["f1"].mean(), color=_theme.ink(0.6), lw=1, ls=":", zorder=0)
    _parts.simple(panel, left=True)
    _parts.share_axis(panel)
    _parts.name_rows(panel, [str(name) for name in table.index], size)
    _parts.number_rows(panel, table["support"], size)
    panel.set_xlabel(f"Score (mean F1 {table['f1'].mean():.3f})", fontsize="small")
    _parts.legend(panel, {str(line.get_label()): line for line in panel.lines[:3]})
    return sheet.finish("metrics")
