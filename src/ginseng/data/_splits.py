"""Which cells train and which are held out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from sklearn.model_selection import GroupShuffleSplit

from ginseng._checks import suggest


def held_out(
    labels: np.ndarray,
    groups: np.ndarray | None = None,
    group_names: Sequence[str] | np.ndarray | None = None,
    *,
    fraction: float = 0.1,
    by_group: bool = False,
    mode: Literal["fraction", "loo"] = "fraction",
    group: str | None = None,
    rng: np.random.Generator,
) -> np.ndarray:
    """Choose the cells to hold out.

    By cell, the same share of each class is held out, and every class keeps a cell to train on. By group, whole
    groups are.

    Parameters
    ----------
    labels
        (cells,) integer labels.
    groups, group_names
        (cells,) integer groups, and their names.
    fraction
        Share of the cells, or of the groups, in [0, 1).
    by_group
        Whether to hold out groups.
    mode
        `"fraction"` holds out that share of the groups, `"loo"` one group (and is always by group).
    group
        Name of the group that `"loo"` holds out; drawn if None.
    rng
        Draws cells and groups.

    Returns
    -------
    (cells,) bool, True for held out.

    Raises
    ------
    ValueError
        If there are no groups, or not that one, or nothing would be left to train on.
    """
    if not 0 <= fraction < 1:
        msg = f"The held-out fraction must be in [0, 1), not {fraction}."
        raise ValueError(msg)
    if mode not in ("fraction", "loo"):
        msg = f"The mode of a split by group is 'fraction' or 'loo' (leave one group out), not {mode!r}."
        raise ValueError(msg)
    if by_group or mode == "loo":
        if groups is None or group_names is None:
            msg = "There are no groups to hold out. Give `group_key=`, a column of `obs`, together with the cells."
            raise ValueError(msg)
        return _by_group(groups, group_names, fraction, mode, group, rng)
    sizes = np.bincount(labels)
    n_out = np.floor(fraction * sizes).astype(int)
    # what rounding leaves over comes from the largest classes: small ones need their cells to train on
    n_out[np.argsort(-sizes, kind="stable")[: int(fraction * len(labels)) - n_out.sum()]] += 1
    out = np.zeros(len(labels), bool)
    for label, n in enumerate(np.minimum(n_out, sizes - 1)):
        if n > 0:
            out[rng.choice(np.flatnonzero(labels == label), n, replace=False)] = True
    return out


def _by_group(
    groups: np.ndarray,
    group_names: Sequence[str] | np.ndarray,
    fraction: float,
    mode: str,
    group: str | None,
    rng: np.random.Generator,
) -> np.ndarray:
    present = np.unique(groups)
    if len(present) < 2:
        msg = f"A split by group needs at least two groups, and there is {len(present)}."
        raise ValueError(msg)
    if mode == "loo":
        if group is None:
            return groups == rng.choice(present)
        names = [str(name) for name in group_names]
        if str(group) not in names:
            msg = f"There is no group {group!r}. {suggest(group, names)}"
            raise ValueError(msg)
        return groups == names.index(str(group))
    out = np.zeros(len(groups), bool)
    if fraction > 0:
        n = min(max(1, round(fraction * len(present))), len(present) - 1)
        split = GroupShuffleSplit(1, test_size=n, random_state=int(rng.integers(2**31)))
        out[next(split.split(groups, groups=groups))[1]] = True
    return out
