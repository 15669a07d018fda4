"""Training to convergence with L-BFGS instead of a fixed number of epochs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax.flatten_util import ravel_pytree

from ginseng._core.architecture import Architecture
from ginseng._core.devices import cells_sharding, global_mesh, put, replicated
from ginseng._core.optim import matrices
from ginseng._core.steps import Batch, Normalization, loss_and_gradient
from ginseng._core.types import Params
from ginseng._errors import warn
from ginseng.data._batches import Window

MAX_ITERATIONS = 5000
#: Bound on the distance of each weight from the minimum, in the worst case that only the penalty has curvature.
PRECISION = 1e-6


def minimum(
    params: Params,
    windows: Callable[[], Iterator[Window]],
    *,
    architecture: Architecture,
    normalization: Normalization,
    C: float,
    n_cells: int,
    after_each: Callable[[], object],
) -> tuple[Params, float, int]:
    """Minimise the mean cross-entropy + |W|^2 / (2 C n_cells) over all matrices W with L-BFGS in float64.

    This is the objective of :class:`sklearn.linear_model.LogisticRegression`, divided by `C` `n_cells`.

    Parameters
    ----------
    params
        Initial weights.
    windows
        Iterates over the cells once, as many in each window as this process passes of a batch that all devices share.
    after_each
        Called after each iteration.

    Returns
    -------
    The weights, their mean cross-entropy, and the number of iterations.
    """
    from scipy.optimize import minimize  # takes long to import

    def cross_entropy(w: Any) -> tuple[float, np.ndarray]:
        tree, loss, gradient = put(unravel(w), replicated(mesh)), 0.0, np.zeros_like(w)
        for window in windows():
            batch = put(Batch(*(a[0] for a in window)), cells_sharding(mesh))
            value, grads = loss_and_gradient(tree, batch, architecture=architecture, normalization=normalization)
            loss += float(value)
            gradient += np.asarray(ravel_pytree(jax.tree.map(np.asarray, grads))[0])
        return loss / n_cells, gradient / n_cells

    def objective(w: Any) -> tuple[float, np.ndarray]:
        loss, gradient = cross_entropy(w)
        return loss + 0.5 * float(w @ (decay * w)), gradient + decay * w

    mesh = global_mesh()
    with jax.enable_x64(True):
        start, unravel = ravel_pytree(jax.tree.map(lambda a: np.asarray(a, np.float64), params))
        penalised, _ = ravel_pytree(jax.tree.map(lambda a, is_matrix: np.full(a.shape, float(is_matrix)),
                                                 params, matrices(params)))  # fmt: skip
        decay = np.asarray(penalised) / (C * n_cells)
        options = {"maxiter": MAX_ITERATIONS, "maxfun": 2 * MAX_ITERATIONS, "maxcor": 20, "ftol": 0.0,
                   "gtol": PRECISION / (C * n_cells)}  # fmt: skip
        found = minimize(objective, np.asarray(start, np.float64), method="L-BFGS-B", jac=True, options=options,
                         callback=lambda _: after_each())  # fmt: skip
        loss = cross_entropy(found.x)[0]
        weights = jax.tree.map(lambda a: np.asarray(a, np.float32), unravel(found.x))
    if found.nit >= MAX_ITERATIONS:
        warn(f"L-BFGS did not converge in {MAX_ITERATIONS:,} iterations. Use a `C` below {C:g}.")
    return weights, loss, int(found.nit)
