"""Cells of a query in principal components of their own."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import sparse
from threadpoolctl import threadpool_limits

# B cells, G genes, K components, N cells of the sample

#: Principal components at most.
N_COMPONENTS = 50
#: Cells of the sample at most; fewer than the least say too little.
MOST_CELLS, FEWEST_CELLS = 5000, 100
#: Steps in which expression is compared: what is finer is the order of a sum.
STEP = 2.0**-10


@dataclasses.dataclass(frozen=True, eq=False)
class Components:
    """Principal components of a sample of cells.

    Parameters
    ----------
    directions
        (G, K) float32.
    kept
        (N,) indices of the cells that are the sample, evenly spread.
    place
        (N, K), expression of the sample times the directions.
    """

    directions: np.ndarray
    kept: np.ndarray
    place: np.ndarray

    def moved(self, shift: np.ndarray) -> Components:
        """Return the same of cells whose expression this is taken off, (G,)."""
        return dataclasses.replace(self, place=self.place - shift @ self.directions)


def components_of(x: sparse.csr_matrix) -> Components | None:
    """Return principal components of cells; None if they are too few. The same cells give the same components.

    Parameters
    ----------
    x
        (B, G) normalised expression.
    """
    if x.shape[0] < FEWEST_CELLS:
        return None
    kept = np.linspace(0, x.shape[0] - 1, min(x.shape[0], MOST_CELLS)).astype(int)
    x = x[kept].astype(float)  # so that no two neighbours are as near as each other but for rounding
    x.data = np.rint(x.data / STEP) * STEP
    from sklearn.utils.extmath import randomized_svd  # takes long to import

    with threadpool_limits(1):  # several threads would add in an order of their own
        # what is drawn is of genes, not of cells, whose order would count (as by `transpose="auto"`)
        directions = randomized_svd(
            x, min(N_COMPONENTS, max(min(x.shape) - 1, 1)), n_iter=3, transpose=False, random_state=0
        )[2].T
    return Components(np.ascontiguousarray(directions, np.float32), kept, np.asarray(x @ directions))
