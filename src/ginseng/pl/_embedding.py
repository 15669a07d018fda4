from __future__ import annotations

from collections.abc import Sequence
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

_TITLES = {"true": "True label", "predicted": "Predicted label", "confidence": "Confidence"}
_PANEL = (2.4, 2.5)  # inches


@document
def embedding(
    adata: AnnData,
    basis: str = "umap",
    label_key: str | None = None,
    *,
    key: str = _keys.DEFAULT,
    components: tuple[int, int] = (1, 2),
    size: float | None = None,
    palette: _figure.Palette | None = None,
    cmap: str | Colormap = "viridis",
    ax: Axes | Sequence[Axes] | None = None,
    show: bool | None = None,
    return_fig: bool = False,
) -> Axes | list[Axes] | Figure | None:
    """Plot true labels, predicted labels and confidence on an embedding, side by side.

    A label has the same colour in both panels.

    Parameters
    ----------
    %(adata_labelled)s
    basis
        Entry of `adata.obsm`, with or without the prefix `X_`.
    label_key
        Column of `adata.obs` with the true labels. If None, the panel of true labels is omitted.
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
        Colour map of the confidence.
    ax
        Axes to draw into, one per panel.
    %(show)s
    %(return_fig)s

    Returns
    -------
    `None` if the plot is shown, else the axes (a list if there are several panels), or the figure if `return_fig=True`.

    Raises
    ------
    KeyError
        If the embedding, a column or the predicted labels do not exist.
    """
    frame, names = _tables.embedding(adata, basis, label_key, key, components)
    labelled = [panel for panel in ("true", "predicted") if panel in frame]
    present = {label for panel in labelled for label in frame[panel].dropna().unique()}
    labels = [*dict.fromkeys(c for panel in labelled for c in frame[panel].cat.categories if c in present)]
    columns = [*([label_key] if label_key else []), _keys.cell_type(key)]
    colors = _figure.label_colors(adata, columns, labels, palette, key)

    panels = [panel for panel in _TITLES if panel in frame]
    width, height = _PANEL
    fig, axes = _figure.make_axes(len(panels), ax, (width * len(panels) + 0.6, height))
    # in random order, so that no label hides the others; missing labels lie beneath
    frame = frame.sample(frac=1, random_state=np.random.default_rng(0))
    size = float(np.clip(30_000 / len(frame), 0.3, 10)) if size is None else size
    for axis, panel in zip(axes, panels, strict=True):
        _dots(axis, frame, panel, size, colors, cmap)
        axis.set_title(_TITLES[panel], fontsize="small")
        axis.set_xlabel(names[0], fontsize="small")
        axis.set_ylabel(names[1], fontsize="small")
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set(visible=True, linewidth=0.6)
    if any(frame[panel].isna().any() for panel in labelled):
        colors["missing"] = _figure.MISSING
    if ax is None:
        _legend_outside(fig, colors, len(panels))
    else:
        _figure.legend_beside(axes[-1], colors)
    return _figure.finish(axes, ax=ax, show=show, return_fig=return_fig)


def _dots(
    ax: Axes,
    frame: pd.DataFrame,
    panel: str,
    size: float,
    colors: dict[str, str],
    cmap: str | Colormap,
) -> None:
    # rasterised: a million dots would make a PDF that no viewer can open
    style: Any = {"s": size, "linewidths": 0, "rasterized": True, "plotnonfinite": True}
    if panel == "confidence":
        dots = ax.scatter(frame["x"], frame["y"], c=frame[panel], cmap=cmap, vmin=0, vmax=1, **style)
        _figure.colorbar(ax, dots)
        return
    frame = frame.sort_values(panel, key=lambda labels: labels.notna(), kind="stable")
    shades = [colors.get(label, _figure.MISSING) for label in frame[panel]]
    ax.scatter(frame["x"], frame["y"], c=shades, **style)


def _legend_outside(fig: Figure, colors: dict[str, str], n_panels: int) -> None:
    """Put the legend to the right if one column is enough, else below, and enlarge the figure for it."""
    width, height = fig.get_size_inches()
    one = _figure.legend(fig, colors, 1, "outside right upper")
    box = one.get_window_extent()
    box_width, box_height = box.width / fig.dpi, box.height / fig.dpi
    tallest = 1.25 * height  # the panels may grow with the legend beside them
    if box_height <= tallest or n_panels == 1:
        n_columns = int(np.ceil(box_height / tallest))
        where, grow = "outside right upper", (1, 0)
    else:
        n_columns = max(1, int(width / box_width))
        where, grow = "outside lower center", (0, 1)
    one.remove()
    box = _figure.legend(fig, colors, n_columns, where).get_window_extent()
    fig.set_size_inches(
        max(width + grow[0] * box.width / fig.dpi, box.width / fig.dpi + 0.2),
        max(height + grow[1] * box.height / fig.dpi, box.height / fig.dpi + 0.2),
    )
