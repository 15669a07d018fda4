"""Like cells, taken together: what one cell says of its novelty is drowned in the noise of few counts.

How unlike the reference a cell is, is then mostly the mean of the cells of a sample next to it, in principal components
of its own (:mod:`ginseng.model.components`): cells of a type that the reference lacks lie side by side, noise does
not.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from threadpoolctl import threadpool_limits

from ginseng.model.components import Components

# B cells, K components, N cells of the sample

#: Neighbours of a cell in the sample, of which they are a tenth at most.
N_NEIGHBORS, OF_CELLS = 30, 10
#: The nearest cell of the sample is looked for where it can be: around the nearest of so many as there are once in so
#: many cells of the sample, in the cells that lie nearest to one of so many of them.
ONE_IN, AROUND = 160, 8
#: Weight of the neighbours.
SHARE = 0.9


@dataclasses.dataclass(frozen=True, eq=False)
class Places:
    """Where some cells are, to look for the nearest: a product of matrices is faster than a tree."""

    across: np.ndarray  # (K, cells)
    half: np.ndarray  # (cells,) half the squared norm

    @classmethod
    def of(cls, place: np.ndarray) -> Places:
        """Return these of cells, (cells, K)."""
        return cls(np.ascontiguousarray(place.T), (place**2).sum(axis=1) / 2)

    def half_distance(self, place: np.ndarray) -> np.ndarray:
        """Return half the squared distance of places, (B, K), to the cells, but for what does not depend on these."""
        found: np.ndarray = place @ self.across
        return np.subtract(self.half, found, out=found)

    def nearest(self, place: np.ndarray) -> np.ndarray:
        """Return which cell is nearest to each place, (B,)."""
        return self.half_distance(place).argmin(axis=1)


@dataclasses.dataclass(frozen=True, eq=False)
class LikeCells:
    """A sample of cells, and how unlike the reference they are.

    Parameters
    ----------
    place
        (N, K) float32, in principal components.
    unlike
        (N,) float32, mean over the neighbours of each cell in the sample, itself among them.
    """

    place: np.ndarray
    unlike: np.ndarray

    @functools.cached_property
    def _leads(self) -> Places:
        """Some of the sample, whatever the order of its cells."""
        order = np.argsort(self.place[:, 0])
        return Places.of(self.place[order[:: min(ONE_IN, len(order))]])

    @functools.cached_property
    def _around(self) -> list[tuple[np.ndarray, Places]]:
        """For each lead, which cells of the sample are nearest to it or to one of those next to it."""
        lead = self._leads.nearest(self.place)
        near = np.argsort(self._leads.half_distance(self._leads.across.T), axis=1)[:, :AROUND]
        around = [np.flatnonzero(np.isin(lead, some)) for some in near]
        return [(some, Places.of(self.place[some])) for some in around]

    def smooth(self, place: np.ndarray, s: np.ndarray) -> np.ndarray:
        """Return how unlike the reference cells are, by themselves and by the cells next to them, (B,) float32.

        These are the neighbours of the nearest cell of the sample, which is the cell itself where it is among them.

        Parameters
        ----------
        place
            (B, K) of the cells.
        s
            (B,) of each cell by itself.
        """
        lead, nearest = self._leads.nearest(place), np.empty(len(place), int)
        for i in np.unique(lead):
            cells, (some, around) = np.flatnonzero(lead == i), self._around[i]
            nearest[cells] = some[around.nearest(place[cells])]
        return ((1 - SHARE) * s + SHARE * self.unlike[nearest]).astype(np.float32)


def like_cells(sample: Components, s: np.ndarray) -> LikeCells:
    """Return the cells of a sample, each together with those next to it.

    Parameters
    ----------
    sample
        Of the cells.
    s
        (B,) how unlike the reference each cell is by itself.
    """
    from sklearn.neighbors import NearestNeighbors  # takes long to import

    k = min(N_NEIGHBORS, len(sample.place) // OF_CELLS)
    with threadpool_limits(1):  # several threads would add in an order of their own
        search = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(sample.place)
        near = search.kneighbors(sample.place, return_distance=False)
    return LikeCells(*(np.ascontiguousarray(a, np.float32) for a in (sample.place, s[sample.kept][near].mean(axis=1))))
