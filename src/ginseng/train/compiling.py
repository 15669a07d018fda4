"""The step as it is compiled, ahead of the data: compiling takes longest of what comes before the first step."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ginseng._core import registry
from ginseng._core.architecture import Architecture
from ginseng._core.optim import AdamW
from ginseng._core.steps import Batch, Noise, Normalization, train_window
from ginseng._core.types import Params
from ginseng.data._batches import Source, Window, empty_window
from ginseng.train.settings import GinsengClassifierTrainerSettings


def noise_of(network: Architecture, settings: GinsengClassifierTrainerSettings) -> Noise:
    """Return what is done to the counts of each batch."""
    s = settings
    return Noise(s.rate, s.lam_max, s.lower, s.upper, s.fold_change if s.normalize and network.knows_reference else 0.0)


class Step:
    """A window of batches, each of which moves the weights, as one compiled call.

    Parameters
    ----------
    settings
        Say how the optimiser works, and which noise there is.
    n_window, batch_size
        Batches a window, cells a batch.
    """

    def __init__(
        self,
        network: Architecture,
        normalization: Normalization,
        settings: GinsengClassifierTrainerSettings,
        *,
        n_window: int,
        batch_size: int,
    ) -> None:
        s = settings
        self.network = network
        self.shape = (n_window, batch_size)
        self.optimizer = AdamW((s.betas[0], s.betas[1]), s.eps, s.weight_decay)
        self.root = jax.random.key(s.seed)
        self.call: Any = partial(
            train_window,
            architecture=network,
            optimizer=self.optimizer,
            normalization=normalization,
            noise=noise_of(network, s),
            label_smoothing=s.label_smoothing,
        )

    def __call__(
        self, params: Params, state: Any, window: Window, n: int, rates: np.ndarray, step: int
    ) -> tuple[Params, Any, Any]:
        """Take a step for each of the first `n` batches: weights, optimiser state and losses after it."""
        return self.call(params, state, Batch(*map(jnp.asarray, window)), n, rates, step, self.root)

    def shapes(self, n_genes: int, n_classes: int) -> tuple[Params, Any]:
        """Return the shapes of weights and optimiser state."""
        params = registry.shapes(self.network, n_genes, n_classes)
        return params, jax.eval_shape(self.optimizer.init, params)

    def compile(self, source: Source, n_classes: int) -> None:
        """Compile for windows of this shape; the first call finds it done."""
        params, state = self.shapes(source.n_genes, n_classes)
        arrays: Any = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in empty_window(self.shape, source)]
        rates = jax.ShapeDtypeStruct(self.shape[:1], np.float32)
        self.call.func.lower(params, state, Batch(*arrays), 0, rates, 0, self.root, **self.call.keywords).compile()


def ahead(*jobs: Callable[[], None]) -> list[Future[None]]:
    """Do these in a thread, one after the other."""
    pool = ThreadPoolExecutor(1)
    futures = [pool.submit(job) for job in jobs]
    pool.shutdown(wait=False)
    return futures
