"""Like cells, taken together: what one cell says of its novelty is drowned in the noise of few counts.

A sample of the cells is divided by k-means, in principal components of its own, into metacells of about ten cells
(Baran et al. 2019). How unlike the reference a cell is, is then mostly the mean of the metacells next to it: cells of a
type that the reference lacks lie side by side, noise does not.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.extmath import randomized_svd
from threadpoolctl import threadpool_limits

# B cells, G genes, K components, M metacells

#: Principal components, cells per metacell, and metacells at most.
N_COMPONENTS, OF_CELLS, MOST = 50, 10, 500
#: Cells that are divided at most; with fewer than the least, each cell stands alone.
MOST_CELLS, FEWEST_CELLS = MOST * OF_CELLS, 100
#: Weight of the metacells, and how many next to a cell count.
SHARE, N_NEAREST = 0.8, 3
#: Steps in which expression is compared: what is finer is the order of a sum.
STEP = 2.0**-10


class Metacells(NamedTuple):
    """Metacells of some cells, and how unlike the reference they are."""

    components: np.ndarray  # (G, K) float32
    centres: np.ndarray  # (M, K) float32
    size: np.ndarray  # (M,) cells
    unlike: np.ndarray  # (M,) float32, mean of the cells

    def moved(self, shift: np.ndarray) -> Metacells:
        """Return the metacells of cells whose expression this is taken off, (G,)."""
        return self._replace(centres=self.centres - shift @ self.components)

    def smooth(self, place: np.ndarray, s: np.ndarray) -> np.ndarray:
        """Return how unlike the reference cells are, by themselves and by the metacells next to them, (B,) float32.

        Parameters
        ----------
        place
            (B, K) expression of the cells times the components.
        s
            (B,) of each cell by itself.
        """
        k = min(N_NEAREST, len(self.centres))
        closeness = 2 * place @ self.centres.T - (self.centres**2).sum(axis=1)
        nearest = np.argpartition(-closeness, k - 1, axis=1)[:, :k]
        around = np.average(self.unlike[nearest], axis=1, weights=self.size[nearest])
        return ((1 - SHARE) * s + SHARE * around).astype(np.float32)


def find_metacells(x: sparse.csr_matrix, s: np.ndarray) -> Metacells | None:
    """Divide cells into metacells; None if they are too few. The same cells give the same metacells.

    Parameters
    ----------
    x
        (B, G) normalised expression; of more than `MOST_CELLS` cells, some are left out.
    s
        (B,) how unlike the reference each cell is by itself.
    """
    if x.shape[0] < FEWEST_CELLS:
        return None
    every = -(-x.shape[0] // MOST_CELLS)
    x, s = x[::every].astype(np.float32), s[::every]
    x.data = np.rint(x.data / STEP) * np.float32(STEP)
    n = min(MOST, x.shape[0] // OF_CELLS)
    with threadpool_limits(1):  # several threads would add in an order of their own
        components = randomized_svd(x, min(N_COMPONENTS, min(x.shape) - 1), n_iter=3, random_state=0)[2].T
    centres, label = k_means(np.asarray(x @ components), n)
    size = np.bincount(label, minlength=n)
    kept = size > 0
    unlike = np.bincount(label, s, minlength=n)[kept] / size[kept]
    return Metacells(*(np.asarray(a, np.float32) for a in (components, centres[kept], size[kept], unlike)))


def k_means(points: np.ndarray, k: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return centres, (k, width), and the place of the one that each point is of; the same for the same points.

    Where points are the same, some centres may have none.
    """
    with threadpool_limits(1), warnings.catch_warnings():  # several threads would add in an order of their own
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = KMeans(k, n_init=1, max_iter=20, random_state=seed).fit(points)
    return found.cluster_centers_, found.labels_
