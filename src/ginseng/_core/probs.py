"""From logits to probabilities and labels, for each kind of output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

# B cells, C classes, K groups of classes

type Kind = Literal["softmax", "one_vs_rest", "cascade"]


@dataclass(frozen=True)
class Probability:
    """How the logits of a model become probabilities and labels.

    Attributes
    ----------
    kind
        `"softmax"`: the probabilities of a cell sum to 1. `"one_vs_rest"`: each class has an independent probability,
        the sigmoid of its logit. `"cascade"`: as `"softmax"`, but the label is the most probable class within the most
        probable group of classes.
    groups
        Number of classes per group of a cascade. The classes of a group are consecutive.
    """

    kind: Kind = "softmax"
    groups: tuple[int, ...] = ()

    def probs(
        self, logits: np.ndarray, allowed: np.ndarray | None = None, temperature: np.ndarray | float | None = None
    ) -> np.ndarray:
        """Return the probability of each class in each cell.

        Parameters
        ----------
        logits
            (B, C), finite.
        allowed
            (C,) bool mask of the classes that may be assigned; the others get 0. The probabilities of the allowed
            classes sum to 1 or, for `"one_vs_rest"`, stay as they are.
        temperature
            What the logits are divided by, of each cell (B,) or of all; only where probabilities sum to 1.
        """
        if self.kind == "one_vs_rest":
            small = np.exp(-np.abs(logits.astype(np.float64)))
            probs = (np.where(logits < 0, small, 1.0) / (1.0 + small)).astype(np.float32)
            return probs if allowed is None else np.where(allowed, probs, np.float32(0))
        if temperature is not None:
            logits = logits / np.asarray(temperature, np.float32).reshape(-1, 1)
        if allowed is not None:
            logits = np.where(allowed, logits, -np.inf)
        scaled = np.exp(logits - logits.max(axis=1, keepdims=True))
        out: np.ndarray = scaled / scaled.sum(axis=1, keepdims=True)
        return out

    def labels_of(self, logits: np.ndarray) -> np.ndarray:
        """Return the class index of each cell's label."""
        return self.labels(logits, self.probs(logits))

    def labels(self, logits: np.ndarray, probs: np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
        """Return the class index of each cell's label; `probs` must be the probabilities of these `logits`."""
        if self.kind == "one_vs_rest":  # several probabilities may round to 1
            return (logits if allowed is None else np.where(allowed, logits, -np.inf)).argmax(axis=1)
        if len(self.groups) < 2:
            return probs.argmax(axis=1)
        sizes = np.array(self.groups)
        group = np.add.reduceat(probs, np.cumsum(sizes) - sizes, axis=1).argmax(axis=1)
        inside = np.repeat(np.arange(len(sizes)), sizes) == group[:, None]
        return np.where(inside, probs, -1.0).argmax(axis=1)
