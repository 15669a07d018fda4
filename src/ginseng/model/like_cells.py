"""Like cells, taken together: what one cell says of its novelty is drowned in the noise of few counts.

A sample of the cells is placed in principal components of its own. How unlike the reference a cell is, is then mostly
the mean of the cells of the sample next to it: cells of a type that the reference lacks lie side by side, while noise
does not.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import sparse
from sklearn.neighbors import NearestNeighbors
from sklearn.utils.extmath import randomized_svd
from threadpoolctl import threadpool_limits

# B cells, G genes, K components, N cells of the sample

#: Principal components, and neighbours of a cell in the sample, of which they are a tenth at most.
N_COMPONENTS, N_NEIGHBORS, OF_CELLS = 50, 30, 10
#: Cells of the sample at most; with fewer than the least, each cell stands alone.
MOST_CELLS, FEWEST_CELLS = 5000, 100
#: Cells whose nearest cells are found at a time: few enough for caches.
AT_ONCE = 128
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
        (N,) float32, mean over the neighbours of each cell in the sample, itself among them.
    """

    components: np.ndarray
    place: np.ndarray
    unlike: np.ndarray

    def moved(self, shift: np.ndarray) -> LikeCells:
        """Return the sample of cells whose expression this is taken off, (G,)."""
        return dataclasses.replace(self, place=self.place - shift @ self.components)

    def smooth(self, place: np.ndarray, s: np.ndarray) -> np.ndarray:
        """Return how unlike the reference cells are, by themselves and by the cells next to them, (B,) float32.

        These are the neighbours of the nearest cell of the sample, which is the cell itself where it is among them.

        Parameters
        ----------
        place
            (B, K) expression of the cells times the components.
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
    x = x[::every].astype(float)  # so that no two neighbours are as near as each other but for rounding
    x.data = np.rint(x.data / STEP) * STEP
    with threadpool_limits(1):  # several threads would add in an order of their own
        # what is drawn is of genes, not of cells, whose order would count (as by `transpose="auto"`)
        components = randomized_svd(
            x, min(N_COMPONENTS, max(min(x.shape) - 1, 1)), n_iter=3, transpose=False, random_state=0
        )[2].T
    place, k = np.asarray(x @ components), min(N_NEIGHBORS, x.shape[0] // OF_CELLS)
    near = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(place).kneighbors(place, return_distance=False)
    unlike = s[::every][near].mean(axis=1)
    return LikeCells(*(np.ascontiguousarray(a, np.float32) for a in (components, place, unlike)))
