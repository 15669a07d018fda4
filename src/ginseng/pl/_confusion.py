from __future__ import annotations

from typing import Any, Literal, Unpack

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import Colormap
from matplotlib.figure import Figure

from ginseng import _keys
from ginseng._docs import document
from ginseng.pl import _metric_tables, _parts, _sheet, _theme


@_sheet.plot
@document
def confusion(
    adata: AnnData,
    label_key: str | None = None,
    *,
    key: str = _keys.DEFAULT,
    normalize: bool = True,
    annotate: bool | Literal["auto"] = "auto",
    order: _metric_tables.Order = "cluster",
    cmap: str | Colormap | None = None,
    **options: Unpack[_sheet.Options],
) -> Axes | Figure | None:
    """Plot the confusion matrix.

    Rows are true labels and columns are predicted labels in the same order, so correct labels lie on the diagonal.
    Labels that are only predicted are the last columns. The number of cells is shown beside each row.

    Parameters
    ----------
    %(adata_labelled)s
    label_key
        Column of `adata.obs` with the true labels. By default, the confusion matrix that :func:`ginseng.tl.evaluate`
        wrote to `adata.uns` is plotted.
    key
        Prefix under which the labels or the metrics were written.
    normalize
        Plot the fraction of each true label instead of numbers of cells.
    annotate
        Write the values into the matrix; with `"auto"`, for up to 20 labels. Values that round to zero are omitted.
    order
        `"cluster"` groups labels that are often confused; `"alphabetical"`; or a list of labels, followed by those that
        it omits.
    cmap
        Colour map. By default from the background to blue.
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
    >>> ref, query = adata[::2].copy(), adata[1::2].copy()
    >>> gs.tl.train(ref, "cell_type", architecture="linear", epochs=2, silent=True)
    >>> gs.tl.classify(query, ref, silent=True)
    >>> ax = gs.pl.confusion(query, "cell_type", show=False)
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('Predicted label', 'True label')
    """
    counts = _metric_tables.ordered(_metric_tables.confusion(adata, label_key, key), order)
    matrix = Matrix(counts, normalize=normalize, annotate=len(counts.columns) <= 20 if annotate == "auto" else annotate)
    sheet = _sheet.Sheet([matrix.size], **options)
    (panel,) = sheet.axes
    mesh = matrix.draw(panel, cmap)
    matrix.number_rows(panel)
    _parts.colorbar(panel, mesh, matrix.unit)
    return sheet.finish("confusion")


class Matrix:
    """A confusion matrix, and the size at which its labels are readable.

    Parameters
    ----------
    counts
        Number of cells by true (rows) and predicted (columns) label.
    normalize
        Draw the fraction of each true label.
    annotate
        Write the values into the matrix.
    """

    def __init__(self, counts: pd.DataFrame, *, normalize: bool, annotate: bool) -> None:
        values = counts.to_numpy()
        self.rows, self.columns = counts.index, counts.columns
        self.cells = values.sum(axis=1)
        self.shown = values / np.maximum(values.sum(axis=1, keepdims=True), 1) if normalize else values
        self.texts = [[_text(value, normalize) for value in row] for row in self.shown] if annotate else None
        self.top = 1 if normalize else None
        self.unit = "Fraction of true label" if normalize else "Cells"
        self.font = _theme.text_size(len(self.columns))

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in inches, without the labels."""
        longest = max(len(text) for row in self.texts for text in row) if self.texts else 0
        cell = self.font / 72 * max(2.2 if self.texts else 1.45, 0.6 * longest + 0.4)
        return len(self.columns) * cell, len(self.rows) * cell

    def draw(self, panel: Axes, cmap: str | Colormap | None) -> QuadMesh:
        """Draw the matrix and its labels into a panel."""
        few = len(self.columns) <= 30
        lines: Any = {"edgecolors": _theme.ink(0.12), "linewidth": 0.4 if few else 0.15, "antialiased": True}
        shades = _theme.sequential(cmap)
        mesh = panel.pcolormesh(self.shown, cmap=shades, vmin=0, vmax=self.top, **lines)
        _parts.name_cells(panel, self.rows, self.columns, self.font)
        panel.set_xlabel("Predicted label", fontsize="small")
        panel.set_ylabel("True label", fontsize="small")
        if self.texts:
            write_values(panel, mesh, self.shown, self.texts, 0.85 * self.font)
        return mesh

    def number_rows(self, panel: Axes) -> None:
        """Write the number of cells of each true label beside its row."""
        _parts.number_rows(panel, self.cells, self.font, at=0.5)


def write_values(panel: Axes, mesh: QuadMesh, values: np.ndarray, texts: list[list[str]], font: float) -> None:
    """Write a text into each cell of a table, in black or white depending on the background."""
    shades = mesh.to_rgba(values)
    for i, j in np.ndindex(values.shape):
        color = _theme.on(shades[i, j])
        panel.text(j + 0.5, i + 0.5, texts[i][j], ha="center", va="center", fontsize=font, color=color)


def _text(value: float, normalize: bool) -> str:
    text = f"{value:.2f}" if normalize else f"{value:d}"
    return "" if text in ("0.00", "0") else text
