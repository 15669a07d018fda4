from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure

from ginseng import _keys
from ginseng._docs import document
from ginseng.pl import _figure, _tables


@_figure.themed
@document
def clusters(
    adata: AnnData,
    groupby: str = "leiden",
    label_key: str | None = None,
    *,
    key: str = _keys.DEFAULT,
    min_fraction: float = 0.01,
    cmap: str | Colormap | None = None,
    title: _figure.Title | None = None,
    figsize: tuple[float, float] | None = None,
    save: _figure.Save | None = None,
    ax: Axes | None = None,
    show: bool | None = None,
    return_fig: bool = False,
) -> Axes | Figure | None:
    """Plot clusters, or labels of your own, against the predicted labels.

    Rows are clusters and columns are predicted labels, ordered so that most cells lie near the diagonal. The size of a
    dot is the fraction of the cluster's cells with that label, its colour the mean confidence of these cells. The
    number of cells is shown beside each row.

    Parameters
    ----------
    %(adata_labelled)s
    groupby
        Column of `adata.obs` with clusters, or with the labels of an author to compare with.
    label_key
        Column of `adata.obs` with the labels, such as `"ginseng_vote"`. By default the predicted labels.
    %(key)s
    min_fraction
        Leave out labels that have less than this fraction of each cluster.
    cmap
        Colour map of the confidence. By default from the background to blue.
    %(title)s
    %(figsize)s
    ax
        Axes to draw into. By default a new figure, large enough for all names.
    %(save)s
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
        If no cell has both a cluster and a label, or no label reaches `min_fraction`.

    Examples
    --------
    >>> import ginseng as gs
    >>> adata = gs.datasets.pbmc68k()
    >>> ref, query = adata[::2].copy(), adata[1::2].copy()
    >>> gs.tl.train(ref, "cell_type", architecture="linear", epochs=2, silent=True)
    >>> gs.tl.classify(query, ref, silent=True)
    >>> ax = gs.pl.clusters(query, "cell_type", show=False)
    >>> ax.get_ylabel()
    'cell_type'
    """
    if not 0 <= min_fraction <= 1:
        msg = f"`min_fraction` must be between 0 and 1, not {min_fraction}."
        raise ValueError(msg)
    if label_key is None:
        label_key = _keys.cell_type(key)
        _tables.predicted_labels(adata, label_key)
    table = _tables.clusters(adata, groupby, label_key, key)
    kept = table.groupby("label")["fraction"].max() >= min_fraction
    if not kept.any():
        msg = f"No label has {min_fraction:.0%} of the cells of any cluster. Lower `min_fraction`."
        raise ValueError(msg)
    table = table[table["label"].map(kept)]
    rows, columns = _tables.diagonal(table.pivot_table(index="group", columns="label", values="fraction", fill_value=0))

    size = _figure.text_size(max(len(rows), len(columns)))
    cell = size / 72 * 1.6  # inches
    sheet = _figure.Sheet([(len(columns) * cell, len(rows) * cell)], ax)
    (panel,) = sheet.axes
    largest = (0.9 * cell * 72) ** 2  # points squared
    x, y = pd.Index(columns).get_indexer(pd.Index(table["label"])), pd.Index(rows).get_indexer(pd.Index(table["group"]))
    sure = table["confidence"].notna().any()
    shades: Any = {
        "c": table["confidence"],
        "cmap": _figure.sequential(cmap),
        "vmin": 0,
        "vmax": 1,
        "plotnonfinite": True,
    }
    dots = panel.scatter(
        x + 0.5, y + 0.5, s=largest * table["fraction"], edgecolors=_figure.ink(0.5), linewidths=0.3,
        gid=_figure.TO_SCALE, **(shades if sure else {"color": _figure.accent()}),
    )  # fmt: skip
    panel.set(xlim=(0, len(columns)), ylim=(len(rows), 0), aspect="equal")
    panel.set_xticks(np.arange(len(columns)) + 0.5, columns, rotation=90, fontsize=size)
    panel.set_yticks(np.arange(len(rows)) + 0.5, rows, fontsize=size)
    _figure.literal([*panel.get_xticklabels(), *panel.get_yticklabels()])
    panel.tick_params(length=0)
    panel.spines[:].set(visible=True, linewidth=0.5, edgecolor=_figure.ink(0.6))
    panel.set_xlabel("Predicted label" if label_key == _keys.cell_type(key) else label_key, fontsize="small")
    panel.set_ylabel(groupby, fontsize="small", parse_math=False)
    panel.xaxis.label.set_parse_math(False)
    _figure.number_rows(panel, table.drop_duplicates("group").set_index("group").loc[rows, "total"], size, at=0.5)
    if sure:
        _figure.colorbar(panel, dots, "Mean\nconfidence")
    _figure.size_legend(panel, largest, "Fraction\nof row")
    return sheet.finish("clusters", title=title, figsize=figsize, save=save, show=show, return_fig=return_fig)
