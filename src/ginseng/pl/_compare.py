from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Unpack

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure

from ginseng import _keys
from ginseng._docs import document
from ginseng.pl import _metric_tables, _parts, _sheet, _theme
from ginseng.pl._confusion import Matrix, write_values

_TITLES = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced\naccuracy",
    "macro_f1": "Macro\nF1",
    "weighted_f1": "Weighted\nF1",
    "macro_precision": "Macro\nprecision",
    "macro_recall": "Macro\nrecall",
    "fit_seconds": "Fit\n(s)",
    "predict_seconds": "Predict\n(s)",
}
#: Maximum width of the figure before matrices wrap to the next row, in inches.
_WIDEST = 13
_CELL = (0.78, 0.27)


@_sheet.plot
@document
def compare(
    adata: AnnData,
    models: Sequence[str] | None = None,
    *,
    key: str = _keys.DEFAULT,
    normalize: bool = True,
    annotate: bool | Literal["auto"] = "auto",
    order: _metric_tables.Order = "cluster",
    cmap: str | Colormap | None = None,
    **options: Unpack[_sheet.Options],
) -> list[Axes] | Figure | None:
    """Plot a comparison of models: a table of the metrics, and one confusion matrix per model.

    The table is the first panel. Its best value of each column is bold. Values are shaded from worst to best; times are
    not shaded. All matrices have the same rows and columns, with labels that are only predicted as the last columns.

    Parameters
    ----------
    adata
        Annotated data with the results of :func:`ginseng.tl.compare`.
    models
        Models to plot, in this order; all if None.
    key
        Entry of `adata.uns` with the comparison.
    normalize
        Plot the fraction of each true label instead of numbers of cells.
    annotate
        Write the values into the matrices; with `"auto"`, for up to 12 labels. Values that round to zero are omitted.
    order
        `"cluster"` groups labels that the models tend to confuse; `"alphabetical"`; or a list of labels, followed by
        those that it omits.
    cmap
        Colour map. By default from the background to blue.
    %(plot_options)s

    Returns
    -------
    `None` if the plot is shown, else the axes, with that of the table first, or the figure if `return_fig=True`.

    Raises
    ------
    KeyError
        If there is no comparison, or it lacks a model.

    Examples
    --------
    >>> import ginseng as gs
    >>> adata = gs.datasets.pbmc68k()
    >>> table = gs.tl.compare(adata, "cell_type", ["linear", "logistic_regression"], epochs=2, silent=True)
    >>> axes = gs.pl.compare(adata, show=False)
    >>> [ax.get_title() for ax in axes[1:]]
    ['linear', 'logistic_regression']
    """
    table, counts = _metric_tables.comparison(adata, models, key, order)
    n_labels = max(one.shape[1] for one in counts.values())
    annotate = n_labels <= 12 if annotate == "auto" else annotate
    matrices = [Matrix(one, normalize=normalize, annotate=annotate) for one in counts.values()]
    if not normalize:  # a common scale
        for matrix in matrices:
            matrix.top = max(one.to_numpy().max() for one in counts.values())

    u = _theme.unit()
    cells = (_CELL[0] * u * len(_TITLES), _CELL[1] * u * len(table))
    sheet = _sheet.Sheet([cells, *(matrix.size for matrix in matrices)], **options)
    axes = sheet.axes
    _table(axes[0], table, cmap)
    for name, matrix, axis in zip(counts, matrices, axes[1:], strict=True):
        mesh = matrix.draw(axis, cmap)
        _parts.literal([axis.set_title(name, fontsize="medium", color=plt.rcParams["text.color"])])
    matrices[-1].number_rows(axes[-1])
    _parts.colorbar(axes[-1], mesh, matrices[-1].unit)
    if sheet.is_new:
        sheet.flow = _WIDEST * u
    return sheet.finish("compare")


def _table(ax: Axes, table: pd.DataFrame, cmap: str | Colormap | None) -> None:
    """Draw the table as text on a shaded background."""
    columns = [name for name in _TITLES if name in table]
    values = table[columns].to_numpy(float)
    is_time = np.array([name.endswith("_seconds") for name in columns])
    low, high = values.min(axis=0), values.max(axis=0)
    shades = np.where(is_time | (high == low), 0, 0.6 * (values - low) / np.where(high > low, high - low, 1))
    mesh = ax.pcolormesh(
        shades,
        cmap=_theme.sequential(cmap),
        vmin=0,
        vmax=1,
        edgecolors=_theme.ink(0.12),
        linewidth=0.4,
        antialiased=True,
    )
    texts = [[_seconds(v) if t else f"{v:.3f}" for v, t in zip(row, is_time, strict=True)] for row in values]
    font = 0.83 * plt.rcParams["font.size"]
    write_values(ax, mesh, shades, texts, font)
    best = np.where(is_time, low, high)
    for text, (i, j) in zip(ax.texts, np.ndindex(values.shape), strict=True):
        if values[i, j] == best[j] and len(values) > 1:
            text.set_fontweight("bold")
    ax.invert_yaxis()
    ax.set_xticks(np.arange(len(columns)) + 0.5, [_TITLES[name] for name in columns], fontsize=font)
    ax.set_yticks(np.arange(len(table)) + 0.5, table.index, fontsize=font)
    _parts.literal(ax.get_yticklabels())
    ax.tick_params(length=0, labeltop=True, labelbottom=False)
    _parts.frame(ax)


def _seconds(value: float) -> str:
    return f"{value:.2f}" if value < 9.95 else f"{value:,.0f}"
