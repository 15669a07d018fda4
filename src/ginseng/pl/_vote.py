from __future__ import annotations

from typing import Any, Unpack

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path

from ginseng import _keys
from ginseng._docs import document
from ginseng.pl import _metric_tables, _palette, _sheet, _tables, _theme

#: Width of the blocks; the bands between them have width 1.
BLOCK = 0.05


@_sheet.plot
@document
def vote(
    adata: AnnData,
    *,
    key: str = _keys.DEFAULT,
    palette: _palette.Palette | None = None,
    **options: Unpack[_sheet.Options],
) -> Axes | Figure | None:
    """Plot the labels of the cells of each cluster as a flow diagram.

    Clusters are blocks on the left and labels on the right, with heights proportional to their number of cells. Bands
    are the cells with a given cluster and label; the band of the winning label is the most opaque. The fraction of the
    winning label is shown beside each cluster, in brackets if it is too low and the cluster has no label.

    Parameters
    ----------
    adata
        Annotated data with the results of :func:`ginseng.tl.vote`.
    key
        Prefix under which the vote was written.
    palette
        A palette's name, one colour per label, or a dictionary from labels to colours. By default as in
        :func:`ginseng.pl.embedding`. Clusters have the colours that scanpy stores for them, if any.
    %(plot_options)s

    Returns
    -------
    `None` if the plot is shown, else the axes, or the figure if `return_fig=True`.

    Raises
    ------
    KeyError
        If there are no results of a vote.
    ValueError
        If there are no clusters.

    Examples
    --------
    >>> import ginseng as gs
    >>> adata = gs.datasets.pbmc68k()
    >>> ref, query = adata[::2].copy(), adata[1::2].copy()
    >>> gs.tl.train(ref, "cell_type", architecture="linear", epochs=2, silent=True)
    >>> gs.tl.classify(query, ref, silent=True)
    >>> query.obs["cluster"] = (query.obsm["X_umap"][:, 0] > 0).astype(int)
    >>> gs.tl.vote(query, "cluster")
    >>> fig = gs.pl.vote(query, return_fig=True)
    >>> len(fig.axes)
    1
    """
    table, counts, how = _metric_tables.vote(adata, key)
    if counts.empty:
        msg = "The vote has no clusters: there is nothing to plot."
        raise ValueError(msg)
    table, counts = _in_order(table, counts, str(how["unassigned"]))
    columns = [column for column in (str(how["prediction_key"]),) if column in adata.obs]
    colors = _palette.label_colors(adata, columns, list(counts.columns), palette, key)
    of_cluster = _tables.known_colors(adata, str(how["groupby"])) if str(how["groupby"]) in adata.obs else {}

    n = max(counts.shape)
    size = _theme.text_size(n)
    line = size / 72 * 1.25  # inches
    sides = counts.sum(axis=1).to_numpy(), counts.sum(axis=0).to_numpy()
    sheet = _sheet.Sheet([(2.6 * _theme.unit(), max(2.2 * _theme.unit(), 1.25 * n * line))], **options)
    (panel,) = sheet.axes
    height = sheet.sizes[0][1]
    scale = _scale(sides, height, line)
    left, right = (_places(cells * scale, height, line) for cells in sides)

    _bands(panel, table, counts, scale, left, right, colors)
    text: Any = {"va": "center", "fontsize": size, "parse_math": False}
    for i, (cluster, fraction, decided) in enumerate(
        zip(table.index, table["fraction"], table["decided"], strict=True)
    ):
        share = f"{fraction:.0%}" if decided else f"({fraction:.0%})"
        y, high = left[i], sides[0][i] * scale
        panel.add_patch(
            Rectangle((-BLOCK, y), BLOCK, high, color=_theme.visible(of_cluster.get(cluster, _theme.ink(0.65))), lw=0)
        )
        panel.text(-BLOCK - 0.02, y + high / 2, f"{cluster}  {share}", ha="right", **text)
    for j, label in enumerate(counts.columns):
        y, high = right[j], sides[1][j] * scale
        panel.add_patch(Rectangle((1, y), BLOCK, high, color=colors[label], lw=0))
        panel.text(1 + BLOCK + 0.02, y + high / 2, label, ha="left", **text)
    head: Any = {"va": "bottom", "fontsize": "small", "parse_math": False}
    panel.text(-BLOCK, -0.5 * line, str(how["groupby"]), ha="left", **head)
    panel.text(1 + BLOCK, -0.5 * line, "Label", ha="right", **head)
    panel.set(xlim=(-BLOCK, 1 + BLOCK), ylim=(height, 0))
    panel.set_axis_off()
    return sheet.finish("vote")


def _in_order(table: pd.DataFrame, counts: pd.DataFrame, unassigned: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Order labels by size and clusters by label, so that most bands are horizontal."""
    total = counts.sum().drop(unassigned, errors="ignore").sort_values(ascending=False, kind="stable")
    labels = [*total.index, *([unassigned] if unassigned in counts else [])]
    winner = table["label"].map({label: i for i, label in enumerate(labels)}).fillna(len(labels))
    order = np.lexsort((-table["fraction"], winner))
    # labels that win no cluster go next to the clusters with most of their cells
    shares = counts.iloc[order][labels]
    centre = (shares.to_numpy() * np.arange(len(order))[:, None]).sum(axis=0) / shares.sum(axis=0).to_numpy()
    labels = [labels[i] for i in np.argsort(centre, kind="stable")]
    return table.iloc[order], counts.iloc[order][labels]


def _scale(sides: tuple[np.ndarray, np.ndarray], height: float, line: float) -> float:
    """Return the inches per cell for which the blocks and their names fill `height`."""

    def needed(scale: float) -> float:
        return max(np.maximum(cells * scale * 1.04, line).sum() for cells in sides)

    low, high = 0.0, height / sides[0].sum()
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if needed(middle) <= height else (low, middle)
    return low


def _places(heights: np.ndarray, height: float, line: float) -> np.ndarray:
    """Return the top of each block, with space for its name and spread over `height`."""
    slots = np.maximum(heights * 1.04, line)
    slots = slots + (height - slots.sum()) / len(slots)
    return np.cumsum(slots) - slots + (slots - heights) / 2


def _bands(
    ax: Axes, table: pd.DataFrame, counts: pd.DataFrame, scale: float, left: np.ndarray, right: np.ndarray,
    colors: dict[str, str],
) -> None:  # fmt: skip
    from_, to = left.copy(), right.copy()
    pale = 0.35 if _theme.luminance(_theme.paper()) > 0.18 else 0.5
    for i, row in enumerate(counts.to_numpy()):
        winner = table["label"].iloc[i] if table["decided"].iloc[i] else None
        for j, label in enumerate(counts.columns):
            high = row[j] * scale
            if not row[j]:
                continue
            (a, b), (c, d) = (from_[i], from_[i] + high), (to[j], to[j] + high)
            from_[i], to[j] = b, d
            curve = [(0, a), (0.5, a), (0.5, c), (1, c), (1, d), (0.5, d), (0.5, b), (0, b), (0, a)]
            codes = [Path.MOVETO, *[Path.CURVE4] * 3, Path.LINETO, *[Path.CURVE4] * 3, Path.CLOSEPOLY]
            alpha = 0.85 if label == winner else pale
            ax.add_patch(PathPatch(Path(curve, codes), facecolor=colors[label], alpha=alpha, lw=0))
