"""A broader label where no class is sure enough: the deepest term whose summed probability is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ginseng.ontology.terms import SAY_NOTHING, cell_ontology


class BackOff:
    """The terms above the classes of a model, and which classes each of them takes in.

    Parameters
    ----------
    ids
        (classes,) term of each class, or None.
    threshold
        Probability that a term must have.
    """

    def __init__(self, ids: Sequence[str | None], threshold: float) -> None:
        ontology = cell_ontology()
        above = [ontology.with_ancestors(term) - SAY_NOTHING if term else frozenset() for term in ids]
        self.threshold = threshold
        self.terms = sorted(frozenset().union(*above))
        self.labels = [ontology.label(term) for term in self.terms]
        self._depth = np.array([ontology.depth(term) for term in self.terms], float)
        place = {term: j for j, term in enumerate(self.terms)}
        #: (classes, terms), 1 where the class is of the term or of one below it
        self._takes_in = np.zeros((len(ids), len(self.terms)))
        for i, terms in enumerate(above):
            self._takes_in[i, [place[term] for term in terms]] = 1

    def __call__(self, probs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the place of a term per cell, -1 if none is sure enough, and its probability, or 0.

        Of terms as deep as each other, the more probable one is taken. Probabilities that each class has by itself,
        and that sum to more than 1, are shares of their sum.

        Parameters
        ----------
        probs
            (cells, classes).
        """
        place, found = np.full(len(probs), -1), np.zeros(len(probs))
        if not self.terms:
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
