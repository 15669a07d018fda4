"""Held-out cells, and the predictions of a model for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from scipy.special import log_softmax

from ginseng._core import registry
from ginseng._core.architecture import Architecture
from ginseng._core.devices import local_mesh, put, replicated, rounded_up
from ginseng._core.steps import Normalization, predict_logits
from ginseng._core.types import Params
from ginseng._errors import warn
from ginseng.data._batches import Part, Source, Window, empty_window, prefetch, stream
from ginseng.data._splits import held_out
from ginseng.train.feed import Feed
from ginseng.train.metrics import Measures, measure
from ginseng.train.processes import gathered, n_processes
from ginseng.train.settings import GinsengClassifierTrainerSettings


def choose_holdout(
    labels: np.ndarray,
    groups: np.ndarray | None,
    group_names: Sequence[str] | np.ndarray | None,
    settings: GinsengClassifierTrainerSettings,
) -> np.ndarray:
    """Return a mask of the held-out cells, (cells,) bool."""
    return held_out(
        labels, groups, group_names,
        fraction=settings.holdout_fraction, by_group=settings.group_level, mode=settings.group_mode,
        rng=np.random.default_rng([settings.seed, 2**31]),  # an independent stream
    )  # fmt: skip


def holdout_of(data: Any, settings: GinsengClassifierTrainerSettings) -> np.ndarray:
    """Return a mask of the held-out cells of a dataset, (cells,) bool: those of its split, if it has one."""
    if getattr(data, "has_split", False):
        out = np.asarray(data.in_split("test"))
    else:
        out = choose_holdout(data.labels, data.groups, data.group_names, settings)
    unseen = np.setdiff1d(np.unique(data.labels[out]), np.unique(data.labels[~out]))
    if len(unseen):
        names = ", ".join(repr(data.label_names[i]) for i in unseen)
        warn(f"No cell of {names} is left to train on: all are in the held-out groups.")
    return out


class Holdout:
    """Held-out cells, and the network to measure on them.

    Parameters
    ----------
    source
        All cells.
    cells
        (cells,) bool mask of the held-out cells.
    """

    def __init__(self, source: Source, cells: np.ndarray, network: Architecture, normalization: Normalization) -> None:
        self.source = source
        self.cells = cells
        mesh = local_mesh()
        self.feed = Feed(source, mesh)
        self.batch_size = rounded_up(mesh, int(np.clip(cells.sum(), 1, 1024)))
        self.how: dict[str, Any] = {"architecture": network, "normalization": normalization, "mesh": mesh}

    def compile(self, n_classes: int) -> None:
        """Compile the forward pass, and import the metrics, ahead of the first call, if any cells are held out."""
        if not self.cells.any():
            return
        import sklearn.metrics  # noqa: F401

        one = replicated(self.how["mesh"])
        params = jax.tree.map(
            lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=one),
            registry.shapes(self.how["architecture"], self.source.n_genes, n_classes),
        )
        predict_logits.lower(params, *self.feed.dense_shapes(self.batch_size), **self.how).compile()

    def logits(self, params: Params, window: Window) -> np.ndarray:
        """Return the logits for a window of a single batch, without dropout."""
        return np.asarray(predict_logits(params, *self.feed.dense(window), **self.how))

    def predict(self, params: Params) -> tuple[np.ndarray, np.ndarray]:
        """Return the logits and the true classes of the held-out cells; each process predicts a part of them."""
        if not self.cells.any():
            return np.empty((0, 1), np.float32), np.empty(0, np.int32)
        params = put(params, replicated(self.how["mesh"]))
        parts = [Part(i, n_processes()) for i in range(n_processes())]
        own = stream(self.source, self.cells, batch_size=self.batch_size, n_per_window=1, shuffle=False,
                     part=parts[jax.process_index()], form=self.feed.form)  # fmt: skip
        found = [self.logits(params, window)[window.weight[0] > 0] for window in prefetch(own)]
        if not found:  # more processes than blocks of cells
            found = [self.logits(params, empty_window((1, self.batch_size), self.source))[:0]]
        order = np.argsort(np.concatenate([self.source.cells(self.cells, part) for part in parts]))
        return gathered(np.concatenate(found))[order], self.source.labels[self.cells].astype(np.int32)

    def measure(self, params: Params) -> Measures:
        """Return the measures on the holdout; NaN if it is empty."""
        logits, y = self.predict(params)
        return measure(-log_softmax(logits, axis=1)[np.arange(len(y)), y], y, logits.argmax(axis=1))
