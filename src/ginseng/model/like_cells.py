"""Like cells, taken together: what one cell says of its novelty is drowned in the noise of few counts.

How unlike the reference a cell is, is then mostly the mean of the cells of a sample next to it, in principal components
of its own (:mod:`ginseng.model.components`): cells of a type that the reference lacks lie side by side, noise does
not.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from threadpoolctl import threadpool_limits

from ginseng.model.components import Components

# B cells, K components, N cells of the sample

#: Neighbours of a cell in the sample, of which they are a tenth at most.
N_NEIGHBORS, OF_CELLS = 30, 10
#: Cells whose nearest cells are found at a time: few enough for caches.
AT_ONCE = 128
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
        # half the squared distance, but for a constant; a product of matrices is faster than a search for neighbours
        half, nearest = (self.place**2).sum(axis=1) / 2, np.empty(len(place), int)
        buffer = np.empty((AT_ONCE, len(half)), np.float32)
        for start in range(0, len(place), AT_ONCE):
            some = place[start : start + AT_ONCE]
            near = np.matmul(some, self.place.T, out=buffer[: len(some)])
            near -= half
            nearest[start : start + AT_ONCE] = near.argmax(axis=1)
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
