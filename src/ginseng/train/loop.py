"""The training loop: epochs of windows of batches, with early stopping."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import jax
import numpy as np

from ginseng._core.steps import Batch
from ginseng._core.types import Params
from ginseng._logging import progress
from ginseng.data._batches import Window, prefetch
from ginseng.train.checkpoint import Checkpoint, Progress
from ginseng.train.compiling import Step
from ginseng.train.metrics import Measures
from ginseng.train.processes import any_process
from ginseng.train.selection import compare, is_over


@dataclasses.dataclass(frozen=True)
class Plan:
    """Schedule and data of a training run."""

    epochs: int  # at most
    n_epoch: int  # batches per epoch
    rates: np.ndarray  # learning rate of each step
    windows: Callable[[int], Iterator[Window]]  # the windows of one epoch
    weights: np.ndarray | None  # (classes,) loss weights, if classes are weighted rather than resampled
    monitor: str
    patience: int


class DivergedError(ArithmeticError):
    """The loss is no longer finite."""

    def __init__(self, losses: np.ndarray, epoch: int) -> None:
        self.losses = losses  # per batch of the current epoch
        self.epoch = epoch  # from 1


def run(
    at: Progress,
    plan: Plan,
    step: Step,
    measure: Callable[[Params], Measures],
    *,
    interrupted: Callable[[], bool],
    place: Checkpoint | None,
    silent: bool,
    reports: bool,
) -> bool:
    """Train from the state `at`, and return whether training was interrupted.

    Parameters
    ----------
    at
        State of the run; changed in place.
    measure
        Returns the measures of some weights on the holdout.
    interrupted
        Tells whether to stop, after each window.
    place
        Checkpoint that this process writes, if any.
    silent, reports
        Whether to hide all output, and whether to print one line per epoch.

    Raises
    ------
    DivergedError
        If a loss or weight is no longer finite.
    """
    shown: dict[str, Any] = {"total": plan.epochs * plan.n_epoch, "initial": at.step, "unit": "batch", "silent": silent}
    with progress(desc="Training", **shown) as bar:
        while not at.finished:
            for window in prefetch(_placed(at.epoch, at.window, plan, step)):
                bar.update(_advance(at, plan, step, window))
                if not all(np.isfinite(loss).all() for loss in at.losses[-2:-1]):  # the latest is still being computed
                    break
                if any_process(interrupted()):
                    break
                if place is not None and place.is_due(epoch_ended=False):
                    place.write(at)
            losses = np.concatenate(at.losses)
            if not (np.isfinite(losses).all() and is_finite(at.params)):
                raise DivergedError(losses, at.epoch + 1)
            if any_process(interrupted()):
                if place is not None:
                    place.write(at)
                return True
            _end_epoch(at, plan, float(losses.mean()), measure(at.params))
            at.logger.report(silent or not reports)
            bar.set_postfix({k: f"{v:.3f}" for k, v in at.logger.latest().items()})
            if place is not None and (place.is_due(epoch_ended=True) or at.finished):
                place.write(at)
    return False


def _placed(epoch: int, first: int, plan: Plan, step: Step) -> Iterator[Batch]:
    """Yield the windows of an epoch on the devices, where they arrive while the one before trains."""
    for window in islice(plan.windows(epoch), first, None):
        if plan.weights is not None:
            window = window._replace(weight=window.weight * plan.weights[window.y])
        yield step.feed(window)


def _advance(at: Progress, plan: Plan, step: Step, window: Batch) -> int:
    """Train on one window, and return its number of batches."""
    n = min(len(window.y), plan.n_epoch - at.window * len(window.y))
    rates = np.resize(plan.rates[at.step : at.step + n], len(window.y))
    at.params, at.optimizer, loss = step(at.params, at.optimizer, window, n, rates, at.step)
    at.losses.append(loss[:n])
    at.step += n
    at.window += 1
    return n


def _end_epoch(at: Progress, plan: Plan, train_loss: float, found: Measures) -> None:
    """Record an epoch, and keep its weights if they are the best so far."""
    at.epoch, at.window, at.losses = at.epoch + 1, 0, []
    at.logger.update(at.epoch, train_loss, **{f"holdout_{name}": value for name, value in found.items()})
    kept, at.best = compare(found, at.best, plan.monitor)
    if kept:
        at.kept, at.best_epoch = jax.tree.map(np.array, at.params), at.epoch
    at.finished = is_over(at.epoch, at.best_epoch, epochs=plan.epochs, patience=plan.patience)


def is_finite(params: Params) -> bool:
    """Whether all weights are finite."""
    return all(np.isfinite(a).all() for a in jax.tree.leaves(params))
