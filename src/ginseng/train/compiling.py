"""The compiled training step. It is compiled while data are read: compiling takes longest before the first step."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import jax
import numpy as np

from ginseng._core import registry
from ginseng._core.architecture import Architecture
from ginseng._core.devices import global_mesh, has_bfloat16, own_cells, put, replicated, rounded_up
from ginseng._core.keys import state_of, training_key
from ginseng._core.layers import BFLOAT16
from ginseng._core.optim import AdamW
from ginseng._core.steps import Batch, Noise, Normalization, train_window
from ginseng._core.types import Params
from ginseng.data._batches import Source
from ginseng.train.feed import Feed
from ginseng.train.settings import GinsengClassifierTrainerSettings


def noise_of(network: Architecture, settings: GinsengClassifierTrainerSettings) -> Noise:
    """Return the augmentation of the counts of each batch."""
    s = settings
    return Noise(s.rate, s.lam_max, s.lower, s.upper, s.fold_change if s.normalize and network.knows_reference else 0.0)


def precision() -> str | None:
    """Return the precision of matrix products in training; None for that of JAX, also if the user has chosen it."""
    return BFLOAT16 if has_bfloat16() and jax.config.jax_default_matmul_precision is None else None


class Step:
    """One compiled call that takes an optimiser step for each batch of a window.

    The cells of each batch are split over all devices, of all processes if there are several; each device has all
    weights.

    Parameters
    ----------
    source
        The cells.
    settings
        Settings of the optimiser and of the noise.
    n_window, batch_size
        Batches per window, and cells per batch.

    Attributes
    ----------
    feed
        Puts windows on the devices, as :meth:`__call__` takes them.
    own
        Which cells of a batch this process passes: the first, and the one after the last. Those at or behind
        `batch_size` are padding.
    """

    def __init__(
        self,
        source: Source,
        network: Architecture,
        normalization: Normalization,
        settings: GinsengClassifierTrainerSettings,
        *,
        n_window: int,
        batch_size: int,
    ) -> None:
        s = settings
        self.network = network
        self.optimizer = AdamW((s.betas[0], s.betas[1]), s.eps, s.weight_decay)
        self.mesh = global_mesh()
        self.feed = Feed(source, self.mesh)
        self.n_cells = rounded_up(self.mesh, batch_size)
        self.own = own_cells(self.mesh, self.n_cells)
        self.shape = (n_window, self.own[1] - self.own[0])
        self.root = training_key(self.place(state_of(s.seed)))
        self.call: Any = partial(
            train_window,
            architecture=network,
            optimizer=self.optimizer,
            normalization=normalization,
            noise=noise_of(network, s),
            label_smoothing=s.label_smoothing,
            spread=self.feed.spread,
            precision=precision(),
        )

    def __call__(
        self, params: Params, state: Any, window: Batch, n: int, rates: np.ndarray, step: int
    ) -> tuple[Params, Any, Any]:
        """Take a step for each of the first `n` batches; return weights, optimiser state and losses.

        Weights and optimiser state are as returned by :meth:`place` or by the step before.
        """
        return self.call(params, state, window, n, rates, step, self.root)

    def place(self, tree: Any) -> Any:
        """Return a copy of weights or optimiser state on each device."""
        return put(tree, replicated(self.mesh))

    def shapes(self, n_genes: int, n_classes: int) -> tuple[Params, Any]:
        """Return the shapes of the weights and of the optimiser state."""
        params = registry.shapes(self.network, n_genes, n_classes)
        return params, jax.eval_shape(self.optimizer.init, params)

    def compile(self, n_classes: int) -> Any:
        """Compile for windows of this shape ahead of the first call, and return the program."""
        one = replicated(self.mesh)
        params, state = jax.tree.map(
            lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=one),
            self.shapes(self.feed.source.n_genes, n_classes),
        )
        window = self.feed.shapes(self.shape[0], self.n_cells)
        rates = jax.ShapeDtypeStruct(self.shape[:1], np.float32)
        lowered = self.call.func.lower(params, state, window, 0, rates, 0, self.root, **self.call.keywords)
        return lowered.compile()


def ahead(*jobs: Callable[[], Any]) -> list[Future[Any]]:
    """Run the jobs one after the other in a background thread."""
    pool = ThreadPoolExecutor(1)
    futures = [pool.submit(job) for job in jobs]
    pool.shutdown(wait=False)
    return futures
