from __future__ import annotations

from typing import Any, Unpack

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, MaxNLocator

from ginseng import _keys
from ginseng._cells.colors import MISSING
from ginseng._docs import document
from ginseng.pl import _palette, _parts, _sheet, _tables, _theme


@_sheet.plot
@document
def composition(
    adata: AnnData,
    groupby: str,
    label_key: str | None = None,
    *,
    key: str = _keys.DEFAULT,
    normalize: bool = True,
    sample_key: str | None = None,
    ci: float | None = None,
    palette: _palette.Palette | None = None,
    **options: Unpack[_sheet.Options],
) -> Axes | Figure | None:
    """Plot the cell type composition of each sample, donor or cluster, or compare that of groups of samples.

    Each bar is a group, and its segments are the labels, both in the order of their categories. The number of cells is
    shown at the end of the bar.

    With `sample_key` or `ci`, each row is a label, with the fraction of each group and its confidence interval side by
    side. With `sample_key`, the groups are groups of samples, such as conditions: the fraction is the mean over the
    samples of the group, each sample is a small dot, and the interval is that of the mean by Student's t. Samples are
    the replicates, so this is what to look at to compare conditions. Without `sample_key`, the interval is Wilson's for
    the cells of the group: it contains the error of counting cells, but no differences between donors.

    The fractions of a sample sum to one, so an increase of one type decreases all others. Testing for differences
    between conditions needs a method for compositional data, with samples as replicates.

    Parameters
    ----------
    %(adata_labelled)s
    groupby
        Column of `adata.obs` with the samples or other groups, or with the conditions of the samples in `sample_key`.
        Cells where it is missing are left out.
    label_key
        Column of `adata.obs` with the labels, such as `"ginseng_vote"`. By default the predicted labels.
    %(key)s
    normalize
        Plot fractions of each group instead of numbers of cells.
    sample_key
        Column of `adata.obs` with the samples, of which the values of `groupby` are groups. A sample may have cells in
        several groups, such as before and after treatment.
    ci
        Level of the confidence intervals, between 0 and 1; 0.95 if None and there is a `sample_key`.
    %(palette)s
    %(plot_options)s

    Returns
    -------
    `None` if the plot is shown, else the axes, or the figure if `return_fig=True`.

    Raises
    ------
    KeyError
        If a column does not exist, or there are no predicted labels.
    ValueError
        If no cell is in a group, `ci` is not between 0 and 1, or intervals are combined with `normalize=False`.

    Examples
    --------
    >>> import ginseng as gs
    >>> adata = gs.datasets.pbmc68k()
    >>> adata.obs["donor"] = [f"donor {i % 6}" for i in range(adata.n_obs)]
    >>> adata.obs["condition"] = ["healthy" if i % 6 < 3 else "ill" for i in range(adata.n_obs)]
    >>> ax = gs.pl.composition(adata, "condition", "cell_type", sample_key="donor", ci=0.9, show=False)
    >>> ax.get_xlabel()
    'Fraction of cells, mean of samples (90% CI)'
    """
    if label_key is None:
        label_key = _keys.cell_type(key)
        _tables.predicted_labels(adata, label_key)
    if sample_key is None and ci is None:
        counts = _tables.composition(adata, groupby, label_key)
        colors = _label_colors(adata, label_key, list(counts.columns), palette, key)
        return _bars(counts, colors, groupby, normalize, **options).finish("composition")
    if not normalize:
        msg = "`normalize=False` plots numbers of cells, which have no confidence intervals. Leave it out."
        raise ValueError(msg)
    level = 0.95 if ci is None else ci
    if not 0 < level < 1:
        msg = f"`ci` must be between 0 and 1, not {ci}."
        raise ValueError(msg)
    table = _tables.composition_intervals(adata, groupby, label_key, sample_key, level)
    of_group = _palette.group_colors(adata, groupby, list(dict.fromkeys(table["group"])), palette)
    what = "Fraction of cells" if sample_key is None else "Fraction of cells, mean of samples"
    sheet = _intervals(table, of_group, f"{what} ({100 * level:.4g}% CI)", groupby, **options)
    return sheet.finish("composition")


def _label_colors(
    adata: AnnData, label_key: str, labels: list[str], palette: _palette.Palette | None, key: str
) -> dict[str, str]:
    colors = _palette.label_colors(adata, [label_key], labels, palette, key)
    if "missing" in colors:
        colors["missing"] = _theme.visible(MISSING)
    return colors


def _bars(
    counts: pd.DataFrame, colors: dict[str, str], groupby: str, normalize: bool, **options: Unpack[_sheet.Options]
) -> _sheet.Sheet:
    """Draw a bar per group, with a segment per label."""
    cells = counts.sum(axis=1).to_numpy()
    shown = counts.to_numpy() / (cells[:, None] if normalize else 1)
    size, u = _theme.text_size(len(counts)), _theme.unit()
    legend_line = (0.145 if len(counts.columns) <= 20 else 0.125) * u
    # tall enough for a legend of few columns
    height = max(
        0.6 * u,
        len(counts) * size / 72 * 1.6,
        np.ceil(len(counts.columns) / 2) * legend_line if len(counts.columns) > 20 else 0,
    )
    sheet = _sheet.Sheet([(3.0 * u, height)], **options)
    (panel,) = sheet.axes
    rows, start = np.arange(len(counts)), np.zeros(len(counts))
    # thin lines separate segments of similar colour
    edge: Any = {"edgecolor": _theme.paper(), "linewidth": 0.3}
    for label, values in zip(counts.columns, shown.T, strict=True):
        panel.barh(rows, values, min(0.8, 0.35 * u * len(counts) / height), left=start, color=colors[label], **edge)
        start = start + values
    _parts.simple(panel, left=True)
    _parts.name_rows(panel, [str(name) for name in counts.index], size)
    style: Any = {"va": "center", "fontsize": 0.85 * size, "color": _theme.faint(), "textcoords": "offset points"}
    for row, n in enumerate(cells):
        panel.annotate(f"{n:,}", (start[row], row), (3, 0), annotation_clip=False, **style)
    panel.set(xlim=(0, start.max()), ylim=(len(counts) - 0.5, -0.5))
    panel.set_xlabel("Fraction of cells" if normalize else "Cells", fontsize="small")
    panel.set_ylabel(groupby, fontsize="small", parse_math=False)
    panel.xaxis.set_major_locator(FixedLocator((0, 0.5, 1)) if normalize else MaxNLocator(4, integer=True))
    marks = {label: Patch(fc=color, ec=_theme.ink(0.35), lw=0.3) for label, color in colors.items()}
    _parts.legend(panel, marks)
    return sheet


def _intervals(
    table: pd.DataFrame, colors: dict[str, str], name: str, groupby: str, **options: Unpack[_sheet.Options]
) -> _sheet.Sheet:
    """Draw a row per label, with the fraction and interval of each group side by side."""
    labels, groups = list(dict.fromkeys(table["label"])), list(colors)
    size, u = _theme.text_size(len(labels)), _theme.unit()
    row = size / 72 * max(1.5, 0.75 * len(groups) + 0.4)  # inches
    sheet = _sheet.Sheet([(2.6 * u, max(0.6 * u, len(labels) * row))], **options)
    (panel,) = sheet.axes
    dot = min(u, 1.5 * row / len(groups) / 0.1)  # for a row of 0.1 inches
    for i in range(1, len(labels), 2):  # bands tell the rows apart
        panel.axhspan(i - 0.5, i + 0.5, color=_theme.ink(0.06), lw=0, zorder=0)
    for i, group in enumerate(groups):
        part = table[table["group"] == group].set_index("label").reindex(labels)
        y = np.arange(len(labels)) + 0.8 * ((i + 0.5) / len(groups) - 0.5)
        for place, values in zip(y, part["samples"], strict=True):
            if isinstance(values, np.ndarray):
                style: Any = {"ls": "", "marker": "o", "ms": 3.2 * dot, "mec": _theme.paper(), "mew": 0.4, "zorder": 4}
                panel.plot(values, np.full(len(values), place), color=colors[group], **style)
        panel.hlines(y, part["low"], part["high"], color=colors[group], lw=1.6 * dot, zorder=3)
        edge: Any = {"mec": _theme.ink(0.8), "mew": 0.5}
        panel.plot(part["fraction"], y, ls="", marker="D", ms=4.2 * dot, color=colors[group], zorder=5, **edge)
    _parts.simple(panel, left=True)
    _parts.name_rows(panel, labels, size)
    panel.set_ylim(len(labels) - 0.5, -0.5)
    panel.set_xlim(left=0)
    panel.xaxis.set_major_locator(MaxNLocator(5))
    panel.set_xlabel(name, fontsize="small")
    numbers = dict(zip(table["group"], table["n"], strict=True))
    with_n = {f"{group} (n = {numbers[group]:,})": color for group, color in colors.items()}
    _parts.legend(panel, with_n, title=groupby)
    return sheet
