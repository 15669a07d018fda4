"""Parts of the cells to train on again, so that models can be measured on the others."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, NamedTuple

import jax
import numpy as np

from ginseng._core.types import Params
from ginseng._logging import progress
from ginseng.data._splits import folds
from ginseng.train.assess import ENOUGH, N_PARTS, Trained
from ginseng.train.interrupt import interruptible
from ginseng.train.settings import GinsengClassifierTrainerSettings

#: See :func:`refitted`.
type Fit = Callable[[np.ndarray, Callable[[], bool]], tuple[Params, dict[str, np.ndarray]] | None]


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


def n_at_once(n: int) -> int:
    """Return how many of `n` models are trained side by side.

    The small batches of one model do not fill the cores of a CPU. Several devices compute sums together, which other
    programs must not interrupt; one of another kind has all its cores in use, and may have memory for one model only.
    """
    alone = jax.device_count() == 1 and jax.default_backend() == "cpu"
    return max(1, min(n, os.cpu_count() or 1)) if alone else 1


def refitted(some: list[Part], fit: Fit, *, stopped: threading.Event, silent: bool) -> Iterator[Trained]:
    """Yield a model of each part, or fewer if that is interrupted.

    Parameters
    ----------
    fit
        Trains on cells, (cells,) bool, and returns weights and reference; None if its second argument tells it to stop.
    stopped
        Set by ctrl-C; if it is set already, nothing is trained.
    """
    ended = threading.Event()

    def train(part: Part) -> tuple[Params, dict[str, np.ndarray]] | None:
        trained = None
        try:
            trained = fit(part.keep, lambda: stopped.is_set() or ended.is_set())
        finally:
            if trained is None:
                ended.set()  # for the others
        return trained

    with (
        progress(total=len(some), desc="Calibrating", unit="parts", silent=silent) as bar,
        interruptible(stopped),
        ThreadPoolExecutor(n_at_once(len(some)), thread_name_prefix="ginseng-calibrate") as pool,
    ):
        models = [pool.submit(train, part) for part in some]
        running = set(models)
        try:
            while running:
                done, running = wait(models, timeout=0.1)  # between these calls, Python hears of ctrl-C
                bar.update(len(done) - bar.n)
        finally:
            ended.set()  # the pool waits for all of them
        found = [model.result() for model in models]
    for part, trained in zip(some, found, strict=True):
        if trained is None:
            stopped.set()  # maybe by another process
        else:
            yield Trained(*trained, part.keep, part.others, part.lacks)
