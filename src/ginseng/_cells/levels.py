"""Levels of labels: several columns of `obs`, of which each divides the types of the one before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from anndata import AnnData

from ginseng._cells.labels import Unlabeled, coded, obs_column
from ginseng._errors import check_names


def finest_level(levels: Any, label_key: Any = None) -> str:
    """Return the column that a model with these levels predicts, the last one.

    Raises
    ------
    TypeError
        If `levels` are not names of columns.
    ValueError
        If there are fewer than two, one is repeated or cannot be part of the name of a column, or `label_key` is not
        the last one.
    """
    if isinstance(levels, str) or not isinstance(levels, Sequence) or not all(isinstance(v, str) for v in levels):
        msg = f"`levels` is {levels!r:.60}; pass columns of `obs`, the broadest first: `levels=['coarse', 'fine']`."
        raise TypeError(msg)
    names = list(levels)
    if len(names) < 2 or len(set(names)) < len(names):
        msg = f"`levels` is {names}; it must name at least two different columns of `obs`, the broadest first."
        raise ValueError(msg)
    check_names(names, "`levels`")
    if bad := [name for name in names if "/" in name]:
        msg = f"`levels` names {bad[0]!r}. Labels go into a column named after their level, so it cannot have a '/'."
        raise ValueError(msg)
    if label_key is not None and not (isinstance(label_key, str) and label_key == names[-1]):
        shown = f"{label_key!r}" if isinstance(label_key, str) else "a list of labels"
        msg = f"The model predicts the last of `levels`, {names[-1]!r}, but `label_key` is {shown}: leave that out."
        raise ValueError(msg)
    return names[-1]


def labels_by_level(
    adata: AnnData,
    levels: Sequence[str],
    codes: np.ndarray,
    names: np.ndarray,
    unlabeled: Unlabeled = None,
) -> dict[str, list[str]]:
    """Return the label of each class in each level, the broadest first; the classes are those of the last.

    Parameters
    ----------
    codes, names
        Class of each cell, -1 for none, and names of the classes: those of the last level.
    unlabeled
        As for :func:`ginseng._cells.labels.stand_for_none`; only an empty list concerns the other levels.

    Raises
    ------
    KeyError
        If a column does not exist.
    ValueError
        If a label lies within several labels of the level above, or within none.
    """
    every_name = unlabeled is not None and not isinstance(unlabeled, str | int) and not list(unlabeled)
    of_class = {levels[-1]: [str(name) for name in names]}
    below, finer, finer_names = codes, levels[-1], of_class[levels[-1]]
    chain = np.arange(len(names))  # from the classes to the labels of the level below
    for level in reversed(levels[:-1]):
        found = coded(obs_column(adata, level), level, [] if every_name else None)
        check_names(found.names, f"{level!r}")
        above = np.where(below >= 0, found.codes, -1)
        parents = _parents(below, above, finer, finer_names, level, [str(name) for name in found.names])
        chain = parents[chain]
        of_class[level] = [str(found.names[i]) for i in chain]
        # cells without a label at this level are in that of their class
        below, finer, finer_names = np.where(codes >= 0, chain[codes], -1), level, [str(n) for n in found.names]
    return dict(reversed(of_class.items()))


def _parents(
    below: np.ndarray, above: np.ndarray, finer: str, finer_names: list[str], coarser: str, coarser_names: list[str]
) -> np.ndarray:
    """Return the label above each label of a level; -1 for labels without cells."""
    both = (below >= 0) & (above >= 0)
    counts = np.zeros((len(finer_names), len(coarser_names)), int)
    np.add.at(counts, (below[both], above[both]), 1)
    for label in np.flatnonzero((counts > 0).sum(axis=1) > 1):
        largest = [i for i in np.argsort(-counts[label], kind="stable") if counts[label, i]]
        said = " and ".join(f"{counts[label, i]:,} in {coarser_names[i]!r}" for i in largest)
        msg = (
            f"The levels do not form a tree: of the cells that are {finer_names[label]!r} in {finer!r}, {said} of "
            f"{coarser!r}. Each label must lie within one label of the level above: correct the odd ones, or give them "
            "labels of their own."
        )
        raise ValueError(msg)
    parents = np.where(counts.any(axis=1), counts.argmax(axis=1), -1)
    lost = np.setdiff1d(np.unique(below[below >= 0]), np.flatnonzero(parents >= 0))
    if len(lost):
        msg = f"No cell that is {finer_names[lost[0]]!r} in {finer!r} has a label in {coarser!r}: give these cells one."
        raise ValueError(msg)
    return parents
