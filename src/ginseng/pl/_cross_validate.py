from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ginseng import _keys
from ginseng._docs import document
from ginseng._errors import suggest
from ginseng.pl import _metric_tables, _palette, _parts, _sheet, _tables, _theme

_NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "weighted_f1": "weighted F1",
    "macro_precision": "macro precision",
    "macro_recall": "macro recall",
}
_MARKERS = "osD^v<"


@_sheet.plot
@document
def cross_validate(
    adata: AnnData,
    metrics: str | Sequence[str] = ("accuracy", "balanced_accuracy", "macro_f1"),
    *,
    key: str = _keys.CROSS_VALIDATION,
    palette: _palette.Palette | None = None,
    **options: Unpack[_sheet.Options],
) -> Axes | Figure | None:
    """Plot the metrics of each fold of a cross-validation, and their mean and standard deviation.

    One row per fold, with its number of cells; the last row is the mean over the folds, with one standard deviation to
    either side. Folds of donors have their names, which shows for which donor the model works less well.

    Parameters
    ----------
    adata
        Annotated data with the results of :func:`ginseng.tl.cross_validate`.
    metrics
        Which ones: `"accuracy"`, `"balanced_accuracy"`, `"macro_f1"`, `"weighted_f1"`, `"macro_precision"`,
        `"macro_recall"`.
    key
        Prefix under which the cross-validation was written.
    palette
        Colours of the metrics.
    %(plot_options)s

    Returns
    -------
    `None` if the plot is shown, else the axes, or the figure if `return_fig=True`.

    Raises
    ------
    KeyError
        If there is no cross-validation under `key`, or it lacks a metric.

    Examples
    --------
    >>> import ginseng as gs
    >>> adata = gs.datasets.pbmc68k()
    >>> gs.tl.cross_validate(adata, "cell_type", "linear", n_folds=3, epochs=2, silent=True)
    >>> ax = gs.pl.cross_validate(adata, show=False)
    >>> [text.get_text() for text in ax.get_yticklabels()]
    ['1', '2', '3', 'mean ± sd']
    """
    table, _, by = _metric_tables.folds(adata, key)
    wanted = [metrics] if isinstance(metrics, str) else [str(name) for name in metrics]
    if not wanted:
        msg = "`metrics` is empty. Name one or more metrics."
        raise ValueError(msg)
    if unknown := [name for name in wanted if name not in table or name not in _NAMES]:
        msg = f"The folds have no metric {unknown[0]!r}. {suggest(unknown[0], [n for n in _NAMES if n in table])}"
        raise _tables.MissingKeyError(msg)
    colors = _palette.colors(wanted, palette, {name: _theme.accent(i) for i, name in enumerate(wanted)})

    names = [*table.index, "mean ± sd"]
    u, size, rows = _theme.unit(), _theme.text_size(len(names)), np.arange(len(table))
    sheet = _sheet.Sheet([(2.6 * u, max(0.6 * u, len(names) * size / 72 * (1.3 + 0.15 * len(wanted))))], **options)
    (panel,) = sheet.axes
    marks: dict[str, Any] = {}
    for i, name in enumerate(wanted):
        y = 0.6 * ((i + 0.5) / len(wanted) - 0.5)  # side by side, so that none hides another
        style: Any = {"color": colors[name], "marker": _MARKERS[i], "mec": _theme.paper(), "mew": 0.4}
        mean, sd = table[name].mean(), table[name].std() if len(table) > 1 else 0.0
        panel.axvline(mean, color=colors[name], lw=0.8, ls=":", zorder=0)
        (marks[_NAMES[name]],) = panel.plot(table[name], rows + y, ls="", ms=4 * u, clip_on=False, **style)
        panel.errorbar(mean, len(table) + y, xerr=sd, ms=5 * u, elinewidth=1.2 * u, clip_on=False, **style)
    panel.axhline(len(table) - 0.5, color=_theme.ink(0.5), lw=0.6)
    low = min(float(table[wanted].min().min()), float((table[wanted].mean() - table[wanted].std().fillna(0)).min()))
    panel.set_xlim(max(0.0, low - 0.1 * (1 - low)), 1.0)
    _parts.simple(panel, left=True)
    _parts.name_rows(panel, names, size)
    panel.locator_params(axis="x", nbins=5)
    if "n_test" in table:
        _parts.number_rows(panel, table["n_test"].astype(int), size)
    panel.set_xlabel("Score", fontsize="small")
    panel.set_ylabel("Fold" if by == "cell" else f"Fold ({by})", fontsize="small", parse_math=False)
    _parts.legend(panel, marks)
    return sheet.finish("cross_validate")
