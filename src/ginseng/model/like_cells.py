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
ONE_IN, AROUND = 80, 8
#: Weight of the neighbours.
SHARE = 0.9


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
    def _leads(self) -> np.ndarray:
        """Places of some of the sample, whatever the order of its cells."""
        order = np.argsort(self.place[:, 0])
        return self.place[order[:: min(ONE_IN, len(order))]]

    @functools.cached_property
    def _around(self) -> list[np.ndarray]:
        """For each lead, the cells of the sample nearest to it or to one of those next to it."""
        lead = _nearest(self.place, self._leads)
        near = np.argsort(_half_distance(self._leads, self._leads), axis=1)[:, :AROUND]
        return [np.flatnonzero(np.isin(lead, some)) for some in near]

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
        lead, nearest = _nearest(place, self._leads), np.empty(len(place), int)
        for i in np.unique(lead):
            cells, some = np.flatnonzero(lead == i), self._around[i]
            nearest[cells] = some[_nearest(place[cells], self.place[some])]
        return ((1 - SHARE) * s + SHARE * self.unlike[nearest]).astype(np.float32)


def _half_distance(place: np.ndarray, of: np.ndarray) -> np.ndarray:
    """Return half the squared distance to each of some places, but for what is the same for all of them."""
    # a product of matrices is faster than a search for neighbours
    half: np.ndarray = (of**2).sum(axis=1) / 2 - place @ of.T
    return half


def _nearest(place: np.ndarray, of: np.ndarray) -> np.ndarray:
    return _half_distance(place, of).argmin(axis=1)


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
