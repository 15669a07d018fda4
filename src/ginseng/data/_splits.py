"""Split cells into training and held-out parts."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Sequence
from typing import Literal

import numpy as np

from ginseng._errors import suggest, warn

#: Parts of a three-way split.
PARTS = ("train", "validation", "test")


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

    By cell, the same share of each class is held out, and every class keeps at least one cell to train on. By group,
    whole groups are held out.

    Parameters
    ----------
    labels
        (cells,) integer labels.
    groups, group_names
        (cells,) integer groups and their names.
    fraction
        Share of the cells or groups, in [0, 1).
    by_group
        Whether to hold out whole groups.
    mode
        `"fraction"` holds out that share of the groups, `"loo"` a single group (always by group).
    group
        Name of the group that `"loo"` holds out; random if None.
    rng
        Random generator for cells and groups.

    Returns
    -------
    (cells,) bool, True for held-out cells.

    Raises
    ------
    ValueError
        If there are no groups, no such group, or nothing would be left to train on.
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
    # the remainder after rounding comes from the largest classes, because small ones need their cells to train on
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
        msg = f"A split by group needs at least two groups, but there is {len(present)}."
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
        from sklearn.model_selection import GroupShuffleSplit  # takes long to import, and is seldom needed

        n = min(max(1, round(fraction * len(present))), len(present) - 1)
        split = GroupShuffleSplit(1, test_size=n, random_state=int(rng.integers(2**31)))
        out[next(split.split(groups, groups=groups))[1]] = True
    return out


def partition(
    labels: np.ndarray,
    groups: np.ndarray | None = None,
    group_names: Sequence[str] | np.ndarray | None = None,
    *,
    fractions: Sequence[float],
    rng: np.random.Generator,
) -> np.ndarray:
    """Split cells, or whole groups if there are any, into three parts, as :func:`held_out` does into two.

    Parameters
    ----------
    labels, groups, group_names
        As in :func:`held_out`.
    fractions
        Shares of training, validation and test.
    rng
        Random generator for cells and groups.

    Returns
    -------
    (cells,) index into `PARTS`.

    Raises
    ------
    ValueError
        If the fractions are not valid shares, or there are fewer groups than parts.
    """
    shares = np.asarray(fractions, float)
    whole = shares.shape == (3,) and (shares >= 0).all() and np.isclose(shares.sum(), 1)
    if not whole or shares[0] == 0 or shares[2] == 0:
        msg = (
            "`fractions` are the shares of training, validation and test, such as (0.7, 0.1, 0.2), and add up to 1; "
            f"only validation may be 0. Found {tuple(fractions)}."
        )
        raise ValueError(msg)
    n_parts = int((shares > 0).sum())
    if groups is not None and (n_groups := len(np.unique(groups))) < n_parts:
        msg = f"A split by group into {n_parts} parts needs as many groups, but there are {n_groups}."
        if n_groups == 2:
            msg += " Leave out validation: `fractions=(0.8, 0, 0.2)`."
        raise ValueError(msg)
    part = np.zeros(len(labels), np.int8)
    for code, of in ((2, 1.0), (1, 1 - shares[2])):
        if shares[code] > 0:
            rest = np.flatnonzero(part == 0)
            out = held_out(
                labels[rest], None if groups is None else groups[rest], group_names,
                fraction=shares[code] / of, by_group=groups is not None, rng=rng,
            )  # fmt: skip
            part[rest[out]] = code
    return part


def folds(
    labels: np.ndarray,
    groups: np.ndarray | None = None,
    group_names: Sequence[str] | np.ndarray | None = None,
    *,
    n_folds: int | Literal["loo"],
    rng: np.random.Generator,
) -> list[tuple[str, np.ndarray]]:
    """Divide cells into folds with similar shares of each class, by whole groups if there are any.

    Parameters
    ----------
    labels, groups, group_names
        As in :func:`held_out`.
    n_folds
        Number of folds, or `"loo"` for one group per fold.
    rng
        Random generator.

    Returns
    -------
    Name and cells, (cells,) bool, of each fold. Every cell is in exactly one.

    Raises
    ------
    ValueError
        If there are too few cells or groups.
    """
    n_groups = 0 if groups is None else len(np.unique(groups))
    if isinstance(n_folds, str):
        if n_folds != "loo":
            msg = f"`n_folds` is a number, or 'loo' (leave one group out), not {n_folds!r}."
            raise ValueError(msg)
        if groups is None or group_names is None or n_groups < 2:
            msg = f"To leave one group out, `group_key` must name at least two groups; there are {n_groups}."
            raise ValueError(msg)
        return [(str(group_names[i]), groups == i) for i in np.unique(groups)]
    most, of = (n_groups, "groups") if groups is not None else (int(np.bincount(labels).max()), "cells per class")
    if not 2 <= operator.index(n_folds) <= most:
        msg = f"`n_folds` is {n_folds}; it must be from 2 to {most}, as there are no more {of}."
        raise ValueError(msg)
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold  # as above

    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    split = kind(n_folds, shuffle=True, random_state=int(rng.integers(2**31)))
    with warnings.catch_warnings():  # about classes with fewer cells than folds; some folds then lack them
        warnings.simplefilter("ignore", UserWarning)
        parts = [test for _, test in split.split(labels, labels, groups)]
    return [(str(i + 1), np.isin(np.arange(len(labels)), test)) for i, test in enumerate(parts) if len(test)]


def warn_of_unseen(
    labels: np.ndarray, label_names: Sequence[str] | np.ndarray, tests: Sequence[tuple[str, np.ndarray]]
) -> None:
    """Warn of classes that are tested but have no cells to train on.

    Parameters
    ----------
    labels
        (cells,) integer labels.
    label_names
        Names of the classes.
    tests
        Name of each test, and the role of each cell in it: (cells,) 1 for tested, 0 for trained on, -1 for neither.

    Raises
    ------
    ValueError
        If only cells of one class are left to train on.
    """
    unseen: dict[str, list[str]] = {}
    for name, role in tests:
        seen = np.unique(labels[role == 0])
        if len(seen) < 2:
            left = str(label_names[seen[0]])
            msg = f"Only {left!r} is left to train on if {name} is set aside: choose another split."
            raise ValueError(msg)
        for label in np.setdiff1d(labels[role == 1], seen):
            unseen.setdefault(str(label_names[label]), []).append(name)
    if unseen:
        listed = "; ".join(f"{label!r} in {', '.join(names)}" for label, names in unseen.items())
        msg = f"Some classes have no cells to train on, so they cannot be predicted: {listed}."
        warn(msg)
