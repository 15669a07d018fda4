"""Like cells, taken together: what one cell says of its novelty is drowned in the noise of few counts.

A sample of the cells is placed in principal components of its own. How unlike the reference a cell is, is then mostly
the mean of the cells of the sample next to it: cells of a type that the reference lacks lie side by side, while noise
does not.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from scipy import sparse
from sklearn.neighbors import NearestNeighbors
from sklearn.utils.extmath import randomized_svd
from threadpoolctl import threadpool_limits

# B cells, G genes, K components, N cells of the sample

#: Principal components, and neighbours of a cell in the sample, of which they are a tenth at most.
N_COMPONENTS, N_NEIGHBORS, OF_CELLS = 50, 30, 10
#: Cells of the sample at most; with fewer than the least, each cell stands alone.
MOST_CELLS, FEWEST_CELLS = 10_000, 100
#: Weight of the neighbours.
SHARE = 0.9
#: Steps in which expression is compared: what is finer is the order of a sum.
STEP = 2.0**-10


@dataclasses.dataclass(frozen=True, eq=False)
class LikeCells:
    """A sample of cells, and how unlike the reference they are.

    Parameters
    ----------
    components
        (G, K) float32.
    place
        (N, K) float32, expression times the components.
    unlike
        (N,) float32, of each cell by itself.
    """

    components: np.ndarray
    place: np.ndarray
    unlike: np.ndarray

    def moved(self, shift: np.ndarray) -> LikeCells:
        """Return the sample of cells whose expression this is taken off, (G,)."""
        return dataclasses.replace(self, place=self.place - shift @ self.components)

    def smooth(self, place: np.ndarray, s: np.ndarray) -> np.ndarray:
        """Return how unlike the reference cells are, by themselves and by their neighbours, (B,) float32.

        Parameters
        ----------
        place
            (B, K) expression of the cells times the components.
        s
            (B,) of each cell by itself.
        """
        if not len(place):
            return s.astype(np.float32)
        around = self.unlike[self._neighbors.kneighbors(place, return_distance=False)].mean(axis=1)
        return ((1 - SHARE) * s + SHARE * around).astype(np.float32)

    @functools.cached_property
    def _neighbors(self) -> NearestNeighbors:
        k = min(N_NEIGHBORS, len(self.place) // OF_CELLS)
        return NearestNeighbors(n_neighbors=k, algorithm="brute").fit(self.place)


def like_cells(x: sparse.csr_matrix, s: np.ndarray) -> LikeCells | None:
    """Return a sample of cells; None if they are too few. The same cells give the same sample.

    Parameters
    ----------
    x
        (B, G) normalised expression.
    s
        (B,) how unlike the reference each cell is by itself.
    """
    if x.shape[0] < FEWEST_CELLS:
        return None
    every = -(-x.shape[0] // MOST_CELLS)
    x = x[::every].astype(np.float32)
    x.data = np.rint(x.data / STEP) * np.float32(STEP)
    with threadpool_limits(1):  # several threads would add in an order of their own
        components = randomized_svd(x, min(N_COMPONENTS, min(x.shape) - 1), n_iter=3, random_state=0)[2].T
    place = np.asarray(x @ components)
    return LikeCells(*(np.ascontiguousarray(a, np.float32) for a in (components, place, s[::every])))
