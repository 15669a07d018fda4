"""A broader label where no class is sure enough: the deepest term, or level, whose summed probability is."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Self

import numpy as np

from ginseng.ontology.terms import SAY_NOTHING, cell_ontology


class Broader(NamedTuple):
    """A label that takes in several classes.

    Attributes
    ----------
    of
        What tells it from a class of the same name: its id, or its level.
    classes
        Indices of the classes that it takes in.
    """

    label: str
    of: str
    id: str | None
    depth: int
    classes: frozenset[int]


class BackOff:
    """The labels above the classes of a model, and which classes each of them takes in.

    Parameters
    ----------
    labels
        The deepest one that is sure enough is taken.
    n_classes
        Number of classes.
    threshold
        Probability that a label must have.
    """

    def __init__(self, labels: Sequence[Broader], n_classes: int, threshold: float) -> None:
        self.threshold = threshold
        self.labels = labels
        self._depth = np.array([label.depth for label in labels], float)
        #: (classes, labels), 1 where the label takes in the class
        self._takes_in = np.zeros((n_classes, len(labels)))
        for j, label in enumerate(labels):
            self._takes_in[sorted(label.classes), j] = 1

    @classmethod
    def to_terms(cls, ids: Sequence[str | None], threshold: float) -> Self:
        """Back off to the terms of the Cell Ontology, given that of each class, or None."""
        ontology = cell_ontology()
        above = [ontology.with_ancestors(term) - SAY_NOTHING if term else frozenset() for term in ids]
        labels = [
            Broader(ontology.label(term), term, term, ontology.depth(term), _those_with(term, above))
            for term in sorted(frozenset().union(*above))
        ]
        return cls(labels, len(ids), threshold)

    @classmethod
    def to_levels(cls, levels: Mapping[str, Sequence[str]], threshold: float) -> Self:
        """Back off to broader levels, given the label of each class in each of them, the broadest first."""
        found = {}
        for depth, (name, of_class) in enumerate(levels.items()):
            for label in dict.fromkeys(of_class):
                classes = _those_with(label, [{each} for each in of_class])
                if len(classes) > 1:  # a label of one class says no more than the class
                    found[classes] = Broader(label, name, None, depth, classes)
        return cls(list(found.values()), len(next(iter(levels.values()))), threshold)

    def __call__(self, probs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the place of a label per cell, -1 if none is sure enough, and its probability, or 0.

        Of labels as deep as each other, the more probable one is taken. Probabilities that each class has by itself,
        and that sum to more than 1, are shares of their sum.

        Parameters
        ----------
        probs
            (cells, classes).
        """
        place, found = np.full(len(probs), -1), np.zeros(len(probs))
        if not self.labels:
            return place, found
        shares = probs.astype(float)
        shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1)
        summed = np.minimum(shares @ self._takes_in, 1)
        score = np.where(summed >= self.threshold, self._depth + summed / 2, -1)
        best = score.argmax(axis=1)
        rows = np.arange(len(probs))
        sure = score[rows, best] >= 0
        place[sure], found[sure] = best[sure], summed[rows, best][sure]
        return place, found

    def common(self, sets: np.ndarray) -> np.ndarray:
        """Return the place of the deepest label that takes in all classes of each set, -1 if there is none.

        Of labels as deep as each other, the one of fewest classes is taken.

        Parameters
        ----------
        sets
            (cells, classes) bool.
        """
        if not self.labels:
            return np.full(len(sets), -1)
        takes_in = self._takes_in.astype(bool)
        score = 1 + self._depth - takes_in.sum(axis=0) / (len(takes_in) + 1)
        unique, inverse = np.unique(sets, axis=0, return_inverse=True)
        all_in = ~(unique.astype(int) @ ~takes_in).astype(bool)
        found = np.where(all_in, score, -1)
        place = np.where(found.max(axis=1) >= 0, found.argmax(axis=1), -1)
        place[~unique.any(axis=1)] = -1
        return place[inverse.ravel()]


def _those_with(label: str, of_class: Sequence[Collection[str]]) -> frozenset[int]:
    return frozenset(i for i, labels in enumerate(of_class) if label in labels)
