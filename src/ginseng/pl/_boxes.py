"""A panel with one box per group of cells: used for confidence, novelty and uncertainty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba

from ginseng.pl import _parts, _sheet, _theme

#: Minimum number of cells for a box plot.
BOX = 5


def sheet(
    frame: pd.DataFrame,
    panels: Mapping[str, str],
    rows: list[str],
    colors: Mapping[str, str],
    n_more: int,
    **options: Unpack[_sheet.Options],
) -> _sheet.Sheet:
    """Draw a panel of boxes for each column of `frame` that `panels` names, and leave `n_more` square panels empty.

    Parameters
    ----------
    frame
        A row per cell; its `group` is one of `rows`.
    panels
        Name of the axis by column.
    """
    u, size = _theme.unit(), _theme.text_size(len(rows))
    boxes = 2.0 * u, max(0.5 * u, len(rows) * size / 72 * 1.45)
    new = _sheet.Sheet([boxes] * len(panels) + [(2.0 * u, 2.0 * u)] * n_more, **options)
    for i, (column, name) in enumerate(panels.items()):
        draw(new.axes[i], by_group(frame, "group", column, rows), colors, name)
        if i and new.is_new:
            new.axes[i].tick_params(axis="y", labelleft=False)
    _parts.number_rows(new.axes[len(panels) - 1], frame["group"].value_counts()[rows], size)
    return new


def draw(ax: Axes, values: Mapping[str, np.ndarray], colors: Mapping[str, str], name: str) -> None:
    """Draw a box per group, in the order of the rows: quartiles and median, whiskers to the 5th and 95th percentile."""
    size = _theme.text_size(len(values))
    line: Any = {"color": _theme.ink(0.8), "linewidth": 0.6}
    for row, (label, cells) in enumerate(values.items()):
        if len(cells) < BOX:
            dot: Any = {"ls": "", "marker": "o", "ms": 3.0, "mew": 0.3, "mec": _theme.ink(0.5)}
            ax.plot(cells, np.full(len(cells), row), color=colors[label], **dot)
            continue
        ax.boxplot(
            cells, positions=[row], orientation="horizontal", widths=0.7, whis=(5, 95), showfliers=False,
            patch_artist=True, manage_ticks=False, capprops=line, whiskerprops=line,
            boxprops={"facecolor": colors[label], "edgecolor": _theme.ink(0.8), "linewidth": 0.6},
            medianprops={"color": _theme.on(to_rgba(colors[label])), "linewidth": 1.1},
        )  # fmt: skip
    _parts.simple(ax, left=True)
    _parts.name_rows(ax, list(values), size)
    ax.set_xlabel(name, fontsize="small")


def by_group(frame: pd.DataFrame, group: str, value: str, order: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the values of each group that has some, in this order."""
    found = {str(label): cells.dropna().to_numpy(float) for label, cells in frame.groupby(group, observed=True)[value]}
    return {label: found.get(label, np.array([])) for label in order}


def by_median(frame: pd.DataFrame, group: str, value: str, last: Sequence[str] = ()) -> list[str]:
    """Return the groups by decreasing median, those of `last` at the end."""
    medians = frame.groupby(group, observed=True, sort=False)[value].median()
    medians = medians.sort_values(ascending=False, kind="stable")
    return sorted(map(str, medians.index), key=lambda label: label in last)
