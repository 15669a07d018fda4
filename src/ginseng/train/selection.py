"""Which epoch is kept, and when no later one is worth waiting for."""

from __future__ import annotations

import math

from ginseng.train.metrics import MEASURES, Measures

#: Before the first epoch, which is always better.
NOTHING: Measures = dict.fromkeys(MEASURES, math.nan) | {"loss": math.inf, "error": 0.0, "f1": -1.0}


def compare(found: Measures, best: Measures, monitor: str) -> tuple[bool, Measures]:
    """Return whether an epoch is to be kept, and the measures that later ones are compared with.

    By loss it is kept if its loss is not above the lowest by more than that one's standard error (the
    one-standard-error rule, Breiman et al. 1984). By macro F1 it is kept if no earlier epoch has a higher one: of
    equals the latest, since a small holdout has many. Without a holdout all is NaN, and the last epoch is kept.
    """
    if monitor == "loss":
        best = found if found["loss"] < best["loss"] else best
        return not found["loss"] > best["loss"] + best["error"], best
    kept = not found["f1"] < best["f1"]
    return kept, found if kept else best


def is_over(epoch: int, best_epoch: int, *, epochs: int, patience: int) -> bool:
    """Whether training ends with this epoch."""
    return epoch == epochs or epoch - best_epoch >= patience
