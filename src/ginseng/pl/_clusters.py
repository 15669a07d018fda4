from __future__ import annotations

from typing import Any, Unpack

import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure

from ginseng import _keys
from ginseng._docs import document
from ginseng.pl import _parts, _sheet, _tables, _theme


@_sheet.plot
@document
def clusters(
    adata: AnnData,
    groupby: str = "leiden",
    label_key: str | None = None,
    *,
    key: str = _keys.DEFAULT,
    min_fraction: float = 0.01,
    cmap: str | Colormap | None = None,
    **options: Unpack[_sheet.Options],
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
    %(plot_options)s

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

    size = _theme.text_size(max(len(rows), len(columns)))
    cell = size / 72 * 1.6  # inches
    sheet = _sheet.Sheet([(len(columns) * cell, len(rows) * cell)], **options)
    (panel,) = sheet.axes
    largest = (0.9 * cell * 72) ** 2  # points squared
    x, y = pd.Index(columns).get_indexer(pd.Index(table["label"])), pd.Index(rows).get_indexer(pd.Index(table["group"]))
    sure = table["confidence"].notna().any()
    shades: Any = {
        "c": table["confidence"],
        "cmap": _theme.sequential(cmap),
        "vmin": 0,
        "vmax": 1,
        "plotnonfinite": True,
    }
    dots = panel.scatter(
        x + 0.5, y + 0.5, s=largest * table["fraction"], edgecolors=_theme.ink(0.5), linewidths=0.3,
        gid=_parts.TO_SCALE, **(shades if sure else {"color": _theme.accent()}),
    )  # fmt: skip
    _parts.name_cells(panel, rows, columns, size)
    panel.set_xlabel("Predicted label" if label_key == _keys.cell_type(key) else label_key, fontsize="small")
    panel.set_ylabel(groupby, fontsize="small", parse_math=False)
    panel.xaxis.label.set_parse_math(False)
    _parts.number_rows(panel, table.drop_duplicates("group").set_index("group").loc[rows, "total"], size, at=0.5)
    if sure:
        _parts.colorbar(panel, dots, "Mean\nconfidence")
    _parts.size_legend(panel, largest, "Fraction\nof row")
    return sheet.finish("clusters")
