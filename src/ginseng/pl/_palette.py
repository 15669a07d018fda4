"""The colour of each label, the same in every plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import seaborn as sns
from anndata import AnnData
from matplotlib.colors import to_hex

from ginseng import _keys
from ginseng._cells.colors import UNASSIGNED, distinct
from ginseng.pl import _tables
from ginseng.pl._theme import visible

Palette = str | Sequence[Any] | Mapping[str, Any]


def colors(
    labels: Sequence[str], palette: Palette | None = None, known: Mapping[str, Any] | None = None
) -> dict[str, str]:
    """Return a colour for each label.

    Parameters
    ----------
    palette
        A palette's name, one colour per label in order, or a mapping from some labels to colours.
    known
        Existing colours of some labels. The others get colours that are still free.
    """
    fixed: dict[str, Any] = {}
    if palette is None:
        fixed = dict(known or {})
    elif isinstance(palette, Mapping):
        fixed = {**(known or {}), **palette}
    elif isinstance(palette, str):
        fixed = dict(zip(labels, sns.color_palette(palette, len(labels)), strict=False))
    else:
        if len(palette) < len(labels):
            msg = f"`palette` has {len(palette)} colours for {len(labels)} labels."
            raise ValueError(msg)
        fixed = dict(zip(labels, palette, strict=False))
    fixed = {label: to_hex(fixed[label]) for label in labels if label in fixed}
    return {label: to_hex(color) for label, color in distinct(labels, fixed).items()}


def label_colors(
    adata: AnnData, columns: Sequence[str], present: Sequence[str], palette: Palette | None, key: str
) -> dict[str, str]:
    """Return a colour for each label that is present, the same in every plot.

    By default it is the colour in `adata.uns` for the first of `columns` or the predicted labels, as stored by
    :func:`ginseng.tl.classify` and scanpy. Labels without a colour take the next ones of the palette: predicted labels
    first and then those of `columns`, so that adding true labels to a plot changes no colours. Cells without a label
    are grey.
    """
    if palette is not None and not isinstance(palette, Mapping):
        return colors(present, palette)
    predicted = [name for name in (_keys.cell_type(key),) if name in adata.obs]
    known: dict[str, Any] = {_tables.unassigned(adata, key): UNASSIGNED}
    for column in (*predicted, *reversed(columns)):
        known |= _tables.known_colors(adata, column)
    every = dict.fromkeys([*_tables.all_labels(adata, [*predicted, *columns]), *present])
    found = colors(list(every), palette, known)
    return {label: found[label] if label in (palette or ()) else visible(found[label]) for label in present}


def row_colors(
    adata: AnnData, label_key: str | None, groupby: str | None, rows: Sequence[str], palette: Palette | None, key: str
) -> dict[str, str]:
    """Return a colour for each row of a plot: of a predicted label, or of a group of `groupby`."""
    if groupby is not None:
        return group_colors(adata, groupby, rows, palette)
    return label_colors(adata, [*([label_key] if label_key else []), _keys.cell_type(key)], rows, palette, key)


def group_colors(adata: AnnData, groupby: str, groups: Sequence[str], palette: Palette | None) -> dict[str, str]:
    """Return a colour for each cluster, sample or other group: the one that scanpy stores, or a free one."""
    found = colors(groups, palette, _tables.known_colors(adata, groupby))
    return {group: color if palette is not None else visible(color) for group, color in found.items()}
