"""Model selection and early stopping."""

from __future__ import annotations

import math

from ginseng.train.metrics import MEASURES, Measures

#: Initial value; the first epoch is always better.
NOTHING: Measures = dict.fromkeys(MEASURES, math.nan) | {"loss": math.inf, "error": 0.0, "f1": -1.0}


def compare(found: Measures, best: Measures, monitor: str) -> tuple[bool, Measures]:
    """Return whether to keep an epoch, and the measures to compare later epochs with.

    By loss, an epoch is kept if its loss is within one standard error of the lowest (the one-standard-error rule,
    Breiman et al. 1984). By macro F1, it is kept if no earlier epoch has a higher one; ties, which are common with a
    small holdout, go to the latest. Without a holdout all measures are NaN, and the last epoch is kept.
    """
    if monitor == "loss":
        best = found if found["loss"] < best["loss"] else best
        return not found["loss"] > best["loss"] + best["error"], best
    kept = not found["f1"] < best["f1"]
    return kept, found if kept else best


def is_over(epoch: int, best_epoch: int, *, epochs: int, patience: int) -> bool:
    """Whether training ends after this epoch."""
    return epoch == epochs or epoch - best_epoch >= patience
