"""From logits to probabilities and labels: the one step, of each kind that there is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

# B cells, C classes, K groups of classes

type Kind = Literal["softmax", "one_vs_rest", "cascade"]


@dataclass(frozen=True)
class Probability:
    """What the logits of a model mean.

    Attributes
    ----------
    kind
        `"softmax"`: the classes share the probability. `"one_vs_rest"`: each class has a probability of its own, the
        sigmoid of its logit, and those of a cell need not sum to 1. `"cascade"`: as `"softmax"`, but the label is found
        step by step, the most probable group of classes first and then the most probable class in it.
    groups
        Classes of each group of a cascade; those of a group follow one another.
    """

    kind: Kind = "softmax"
    groups: tuple[int, ...] = ()

    def probs(self, logits: np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
        """Return the probability of each class in each cell.

        Parameters
        ----------
        logits
            (B, C) finite.
        allowed
            (C,) bool: the classes that may be given. They share all of the probability, or keep their own where each
            class has one; the others have 0.
        """
        if self.kind == "one_vs_rest":
            small = np.exp(-np.abs(logits.astype(np.float64)))
            probs = (np.where(logits < 0, small, 1.0) / (1.0 + small)).astype(np.float32)
            return probs if allowed is None else np.where(allowed, probs, np.float32(0))
        if allowed is not None:
            logits = np.where(allowed, logits, -np.inf)
        scaled = np.exp(logits - logits.max(axis=1, keepdims=True))
        out: np.ndarray = scaled / scaled.sum(axis=1, keepdims=True)
        return out

    def labels_of(self, logits: np.ndarray) -> np.ndarray:
        """Return the place of the label of each cell among the classes."""
        return self.labels(logits, self.probs(logits))

    def labels(self, logits: np.ndarray, probs: np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
        """Return the place of the label of each cell among the classes; `probs` are those of these `logits`."""
        if self.kind == "one_vs_rest":  # several may be as good as certain
            return (logits if allowed is None else np.where(allowed, logits, -np.inf)).argmax(axis=1)
        if len(self.groups) < 2:
            return probs.argmax(axis=1)
        sizes = np.array(self.groups)
        group = np.add.reduceat(probs, np.cumsum(sizes) - sizes, axis=1).argmax(axis=1)
        inside = np.repeat(np.arange(len(sizes)), sizes) == group[:, None]
        return np.where(inside, probs, -1.0).argmax(axis=1)
