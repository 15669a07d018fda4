"""A panel with one box per group of cells: used for confidence, novelty and uncertainty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba

from ginseng.pl import _figure

#: Minimum number of cells for a box plot.
BOX = 5


def size_of(n: int) -> tuple[float, float]:
    """Return the width and height of a panel with `n` rows, in inches."""
    return 2.0 * _figure.unit(), max(0.5 * _figure.unit(), n * _figure.text_size(n) / 72 * 1.45)


def draw(
    ax: Axes, values: Mapping[str, np.ndarray], colors: Mapping[str, str], name: str, *, limit: float | None = None
) -> None:
    """Draw a box per group: quartiles and median, whiskers to the 5th and 95th percentile.

    Parameters
    ----------
    values
        Values of the cells by group, in the order of the rows.
    limit
        Threshold to mark.
    """
    size = _figure.text_size(len(values))
    line: Any = {"color": _figure.ink(0.8), "linewidth": 0.6}
    for row, (label, cells) in enumerate(values.items()):
        if len(cells) < BOX:
            dot: Any = {"ls": "", "marker": "o", "ms": 3.0, "mew": 0.3, "mec": _figure.ink(0.5)}
            ax.plot(cells, np.full(len(cells), row), color=colors[label], **dot)
            continue
        ax.boxplot(
            cells, positions=[row], orientation="horizontal", widths=0.7, whis=(5, 95), showfliers=False,
            patch_artist=True, manage_ticks=False, capprops=line, whiskerprops=line,
            boxprops={"facecolor": colors[label], "edgecolor": _figure.ink(0.8), "linewidth": 0.6},
            medianprops={"color": _figure.on(to_rgba(colors[label])), "linewidth": 1.1},
        )  # fmt: skip
    if limit is not None:
        ax.axvline(limit, color=_figure.ink(0.6), lw=1, ls=":", zorder=0)
    _figure.simple(ax, left=True)
    _figure.name_rows(ax, list(values), size)
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
