"""Parts of the cells to train on again, so that models can be measured on the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from ginseng._core.types import Params
from ginseng._logging import progress
from ginseng.data._splits import folds
from ginseng.train.assess import ENOUGH, N_PARTS, Trained
from ginseng.train.settings import GinsengClassifierTrainerSettings


class Part(NamedTuple):
    """Cells to train on, and the others, to measure on."""

    keep: np.ndarray  # (cells,) bool
    others: np.ndarray  # (cells,) bool
    lacks: np.ndarray | None  # (classes,) bool, those that are left out of training; none if None


def parts(
    data: Any, settings: GinsengClassifierTrainerSettings, n_classes: int, *, lacking: bool = False
) -> list[Part]:
    """Return parts of the cells of a dataset; no more than it takes to measure on enough cells.

    All cells are measured on where they have groups, which differ, and with `lacking`. Then each part also lacks some
    of the classes, and each class is lacking once.
    """
    labels = data.labels
    by_group = settings.group_level and data.groups is not None and len(np.unique(data.groups)) > 1
    most = len(np.unique(data.groups)) if by_group else int(np.bincount(labels).max())
    rng = np.random.default_rng([settings.seed, 2**31 + 2])
    groups = data.groups if by_group else None
    cells = [others for _, others in folds(labels, groups, data.group_names, n_folds=min(N_PARTS, most), rng=rng)]
    turn = rng.permutation(n_classes) % len(cells)
    if lacking:
        lacks = [turn == i for i in range(len(cells))]
        found = [Part(~others & ~out[labels], others, out) for others, out in zip(cells, lacks, strict=True)]
    else:
        found = [Part(~others, others, None) for others in cells]
        if not by_group:
            found = found[: 1 + int(np.searchsorted(np.cumsum([others.sum() for others in cells]), ENOUGH))]
    return [part for part in found if len(np.unique(labels[part.keep])) > 1]


def refitted(
    some: list[Part], fit: Callable[[np.ndarray], tuple[Params, dict[str, np.ndarray]] | None], *, silent: bool
) -> Iterator[Trained]:
    """Yield a model of each part, until `fit` returns None because it was interrupted.

    Parameters
    ----------
    fit
        Returns the weights of a model that was trained on these cells, (cells,) bool, and its reference.
    """
    with progress(some, desc="Calibrating", unit="parts", silent=silent) as bar:
        for part in bar:
            found = fit(part.keep)
            if found is None:
                return
            yield Trained(*found, part.keep, part.others, part.lacks)
