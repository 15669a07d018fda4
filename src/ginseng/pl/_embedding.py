from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Unpack

import matplotlib.patheffects
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure

from ginseng import _keys
from ginseng._cells.colors import MISSING
from ginseng._docs import document
from ginseng.pl import _palette, _parts, _sheet, _tables, _theme


@_sheet.plot
@document
def embedding(
    adata: AnnData,
    basis: str = "umap",
    label_key: str | None = None,
    *,
    color: str | Sequence[str] | None = None,
    key: str = _keys.DEFAULT,
    components: tuple[int, int] = (1, 2),
    size: float | None = None,
    palette: _palette.Palette | None = None,
    cmap: str | Colormap = "viridis",
    legend_loc: Literal["right margin", "on data"] | None = "right margin",
    ncols: int | None = None,
    **options: Unpack[_sheet.Options],
) -> Axes | list[Axes] | Figure | None:
    """Plot labels, confidence and novelty on an embedding, side by side.

    By default the panels are the true labels (with `label_key`), the predicted labels and the confidence and, where
    they exist, the votes of clusters and the novelty. A label has the same colour in all panels. The panels grow with
    the number of labels.

    Parameters
    ----------
    %(adata_labelled)s
    basis
        Entry of `adata.obsm`, with or without the prefix `X_`.
    label_key
        Column of `adata.obs` with the true labels. If None, the panel of true labels is omitted.
    color
        What to plot instead, one panel each: columns of `adata.obs`, or `"predicted"`, `"vote"`, `"confidence"`,
        `"novelty"` or `"uncertainty"` for those that ginseng wrote with `key`.
    %(key)s
    components
        The two dimensions to plot, counted from 1.
    size
        Area of a dot in points squared. By default it decreases with the number of cells.
    palette
        A palette's name, one colour per label, or a dictionary from labels to colours. By default the colours that
        scanpy stores in `adata.uns`, else a palette that is as friendly to colour-blind readers as the number of labels
        permits. Cells without a label are grey.
    cmap
        Colour map of the confidence and other numbers.
    legend_loc
        `"right margin"` for a legend beside the labels; `"on data"` to write each label on its cells; None for neither.
    ncols
        Number of panels side by side. By default up to four, else three.
    %(plot_options)s

    Returns
    -------
    `None` if the plot is shown, else the axes (a list if there are several panels), or the figure if `return_fig=True`.

    Raises
    ------
    KeyError
        If the embedding, a column or the predicted labels do not exist.

    Examples
    --------
    >>> import ginseng as gs
    >>> adata = gs.datasets.pbmc68k()
    >>> ref, query = adata[::2].copy(), adata[1::2].copy()
    >>> gs.tl.train(ref, "cell_type", architecture="linear", epochs=2, silent=True)
    >>> gs.tl.classify(query, ref, silent=True)
    >>> axes = gs.pl.embedding(query, color=["predicted", "confidence"], legend_loc="on data", show=False)
    >>> [ax.get_title() for ax in axes]
    ['Predicted label', 'Confidence']
    """
    if legend_loc not in ("right margin", "on data", "none", None):
        msg = f"`legend_loc` must be 'right margin', 'on data' or None, not {legend_loc!r}."
        raise ValueError(msg)
    if ncols is not None and ncols < 1:
        msg = f"`ncols` must be at least 1, not {ncols}."
        raise ValueError(msg)
    x, y, names = _tables.coordinates(adata, basis, components)
    panels = _tables.panels(adata, label_key, color, key)
    frame = _tables.embedding(adata, list(panels))
    colors = _colors(adata, frame, label_key, palette, key)
    labelled = list(colors)

    most = max((len(colors[panel]) for panel in labelled), default=0)
    grown = (0.08, 5.2) if legend_loc == "on data" else (0.04, 3.6)
    side = _theme.unit() * float(np.clip(2.2 + grown[0] * (most - 10), 2.2, grown[1]))
    ncols = (4 if len(panels) <= 4 else 3) if ncols is None else ncols
    sheet = _sheet.Sheet([(side, side)] * len(panels), ncols, **options)
    # in random order, so that no label hides the others; missing labels lie beneath
    order = np.random.default_rng(0).permutation(len(frame))
    frame, x, y = frame.iloc[order], x[order], y[order]
    area = float(np.clip(30_000 / max(len(frame), 1) * (side / 2.2) ** 2, 0.3, 12)) if size is None else size
    # rasterised: a million dots would make a PDF that no viewer can open
    style: Any = {"s": area, "linewidths": 0, "rasterized": True, "plotnonfinite": True}
    for axis, (panel, name) in zip(sheet.axes, panels.items(), strict=True):
        values = frame[panel]
        if panel in labelled:
            below = np.argsort(values.notna().to_numpy(), kind="stable")
            shades = [colors[panel][label if isinstance(label, str) else "missing"] for label in values.iloc[below]]
            axis.scatter(x[below], y[below], c=shades, **style)
        else:
            share = panel in (_keys.confidence(key), _keys.novelty(key), _keys.uncertainty(key))
            limits: Any = {"vmin": 0, "vmax": 1} if share else {}
            dots = axis.scatter(x, y, c=values, cmap=cmap, **limits, **style)
            _parts.colorbar(axis, dots)
        text: Any = {"fontsize": "small", "parse_math": False}
        axis.set_title(name, color=plt.rcParams["text.color"], **text)
        axis.set_xlabel(names[0], **text)
        axis.set_ylabel(names[1], **text)
        axis.set(xticks=[], yticks=[])
        _parts.frame(axis, 0.6)
    if legend_loc == "right margin":
        _legends(sheet, list(panels), colors)
    elif legend_loc == "on data":
        for axis, panel in zip(sheet.axes, panels, strict=True):
            if panel in labelled:
                _write_on(axis, frame[panel], x, y)
    return sheet.finish("embedding")


def _colors(
    adata: AnnData, frame: pd.DataFrame, label_key: str | None, palette: _palette.Palette | None, key: str
) -> dict[str, dict[str, str]]:
    """Return the colours of the labels by panel; panels of cell types share theirs, clusters have their own."""
    present = {
        str(panel): [str(label) for label, n in frame[panel].value_counts(sort=False).items() if n]
        for panel in frame
        if isinstance(frame[panel].dtype, pd.CategoricalDtype)
    }
    own = [name for name in (_keys.cell_type(key), _keys.vote(key)) if name in adata.obs]
    known = set(_tables.all_labels(adata, own))
    types = [panel for panel in present if panel in (label_key, *own) or known & set(present[panel])]
    every = list(dict.fromkeys(label for panel in types for label in present[panel]))
    columns = [*(panel for panel in types if panel not in own), *own]
    shared = _palette.label_colors(adata, columns, every, palette, key) if types else {}
    found: dict[str, dict[str, str]] = {}
    for panel, labels in present.items():
        found[panel] = shared if panel in types else _palette.group_colors(adata, panel, labels, palette)
    for family in {id(colors): colors for colors in found.values()}.values():
        if any(frame[panel].isna().any() for panel, colors in found.items() if colors is family):
            family["missing"] = _theme.visible(MISSING)
    return found


def _legends(sheet: _sheet.Sheet, panels: list[str], colors: dict[str, dict[str, str]]) -> None:
    """Draw one legend for the panels that share their colours, beside the last of them in the first row."""
    beside: dict[int, int] = {}
    for row in sheet.rows:
        here: dict[int, int] = {id(colors[panels[i]]): i for i in row if panels[i] in colors}
        beside = {**here, **beside}
    for i in beside.values():
        _parts.legend(sheet.axes[i], colors[panels[i]])


def _write_on(ax: Axes, labels: pd.Series, x: np.ndarray, y: np.ndarray) -> None:
    """Write each label on the median of its cells, moved apart where they would overlap."""
    ax.autoscale_view()
    names = [label for label in labels.cat.categories if (labels == label).any()]
    middle = np.array([[np.median(of[(labels == label).to_numpy()]) for of in (x, y)] for label in names])
    outline = [matplotlib.patheffects.withStroke(linewidth=2, foreground=_theme.paper())]
    style: Any = {
        "ha": "center", "va": "center", "fontsize": "small" if len(names) <= 12 else "xx-small",
        "color": _theme.ink(), "path_effects": outline, "parse_math": False, "linespacing": 0.95,
    }  # fmt: skip
    texts = [ax.text(x, y, _parts.wrapped(name, 18), **style) for name, (x, y) in zip(names, middle, strict=True)]
    if not texts:
        return
    inside = ax.get_window_extent()
    size = np.array([text.get_window_extent().size for text in texts]) + 1
    crowded = 0.3 * inside.width * inside.height / size.prod(axis=1).sum()
    if crowded < 1:
        for text in texts:
            text.set_fontsize(max(4.0, text.get_fontsize() * np.sqrt(crowded)))
        size = np.array([text.get_window_extent().size for text in texts]) + 1
    at = _apart(ax.transData.transform(middle), size, np.array([inside.min, inside.max]))
    for text, place in zip(texts, ax.transData.inverted().transform(at), strict=True):
        text.set_position(tuple(place))


def _apart(at: np.ndarray, size: np.ndarray, inside: np.ndarray, n_steps: int = 600) -> np.ndarray:
    """Move boxes of `size`, centred at `at`, until none overlap, and keep them `inside`: n x 2 each, in pixels."""
    n, middle = len(at), inside.mean(axis=0)
    low, high = np.minimum(inside[0] + size / 2, middle), np.maximum(inside[1] - size / 2, middle)
    room = (size[:, None] + size[None]) / 2
    first = np.where(np.arange(n)[:, None] < np.arange(n), -1.0, 1.0)  # which goes down if both are at the same place
    at = np.clip(at, low, high)
    for _ in range(n_steps):
        gap = at[:, None] - at[None]
        over = room - np.abs(gap)
        hit = (over > 0).all(axis=2) & ~np.eye(n, dtype=bool)
        if not hit.any():
            break
        push = np.zeros_like(gap)
        across = over[..., 0] < over[..., 1]  # the shorter way out
        for side, here in ((0, hit & across), (1, hit & ~across)):
            way = np.where(gap[..., side] == 0, first, np.sign(gap[..., side]))
            push[..., side] = np.where(here, way * (over[..., side] / 2 + 0.5), 0)
        at = np.clip(at + 0.6 * push.sum(axis=1), low, high)
    return at
