"""The compiled functions, with a batch axis: windows of training steps, and forward passes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int, Num, PRNGKeyArray

from ginseng._core.architecture import Architecture
from ginseng._core.augment import augment, other_study
from ginseng._core.correction import Correction
from ginseng._core.devices import per_cell
from ginseng._core.keys import standard
from ginseng._core.layers import products_in
from ginseng._core.losses import cross_entropy
from ginseng._core.members import each_member, together
from ginseng._core.normalize import LIBRARY_SIZE, LibrarySize, log_normalize, row_sums, unlog
from ginseng._core.optim import AdamW
from ginseng._core.spread import Spread
from ginseng._core.types import Params

# K batches in a window, B cells in a batch, G genes, C classes

#: Forward passes use the widest vectors of a CPU, where XLA prefers narrower ones: a tenth faster.
WIDE = {"xla_cpu_prefer_vector_width": 512}
#: Products of matrices are fastest on CPUs where the width of the result is a multiple of this.
WIDTH = 16


class Batch(NamedTuple):
    """A batch of cells; with a leading axis K, a window of batches."""

    x: Any  # (B, G) counts, or the user's values if they are not normalised here; `PickedRows` until they are spread
    total: Float[Array, " B"]  # counts over all measured genes
    y: Int[Array, " B"]
    weight: Float[Array, " B"]  # 0 for padding


class Seen(NamedTuple):
    """What a model sees of cells, besides their logits."""

    logits: Any  # (B, C)
    direction: Any  # (B, K) of the embedding, with a norm of 1
    likeness: Any  # (B, C) cosine of the angle between expression and the mean of each class
    depth: Any  # (B,) logarithm of 1 + the number of genes that are expressed
    place: Any  # (B, D) expression times some components


@dataclasses.dataclass(frozen=True)
class Normalization:
    """How counts become input, in training and inference alike."""

    normalize: bool = True
    target_sum: float | None = 1e4
    library_size: LibrarySize = LIBRARY_SIZE
    logged: bool = False  # x is log1p of counts with some library size, and is inverted first

    def __call__(self, x: Any, total: Any, correction: Correction | None = None) -> Any:
        """Return log1p counts per `target_sum` (or `x` unchanged), corrected for how the query was measured.

        Parameters
        ----------
        x
            (B, G) counts: a JAX array, or a SciPy CSR matrix if nothing is corrected.
        total
            (B,) counts over all measured genes.
        """
        x = self.scaled(x, total, None if correction is None else correction.share)
        return x if correction is None else correction(x)

    def scaled(self, x: Any, total: Any, share: Any = None) -> Any:
        """Return the same, but for the correction.

        Parameters
        ----------
        x, total
            As above.
        share
            Of the counts of a cell of the reference that are of the genes measured, if some were not.
        """
        x = x.astype(jnp.float32)
        if not self.normalize:
            return x
        if self.logged:
            x = unlog(x)
        if self.library_size == "model_genes":
            # account for the counts of genes of the model that were not measured
            total = None if share is None else row_sums(x) / share
        return log_normalize(x, total, self.target_sum)


@dataclasses.dataclass(frozen=True)
class Noise:
    """Strength of each augmentation; see `augment` and `other_study`."""

    rate: float | None = None
    lam_max: float | None = None
    lower: int | None = None
    upper: int | None = None
    fold_change: float = 0.0

    @property
    def acts(self) -> bool:
        """Whether there is any noise."""
        return bool(self.rate or self.lam_max or self.upper or self.fold_change)

    def __call__(self, key: PRNGKeyArray, batch: Batch) -> Batch:
        """Return the batch with noise on its counts, and totals adjusted accordingly."""
        key = standard(key)  # Poisson variates are drawn with JAX's default generator only
        x = augment(key, batch.x, self.rate, self.lam_max, self.lower, self.upper)
        if self.fold_change:
            x = other_study(jax.random.fold_in(key, 1), x, self.fold_change)
        return batch._replace(x=x, total=batch.total + x.sum(axis=1) - batch.x.sum(axis=1))


def batch_logits(
    architecture: Architecture, params: Params, x: Float[Array, "B G"], key: PRNGKeyArray | None = None
) -> Float[Array, "B C"]:
    """Return the logits of each cell; with a key, or one per cell, dropout is applied independently per cell."""
    if key is None:
        return jax.vmap(lambda x: architecture.logits(params, x))(x)
    keys = key if key.ndim else jax.random.split(key, x.shape[0])
    return jax.vmap(lambda x, key: architecture.logits(params, x, key=key))(x, keys)


def in_form(f: Callable[..., Any], architecture: Architecture, x: Float[Array, "B G"], *, training: bool) -> Any:
    """Return `f(form)` for the cheapest variant of the architecture that fits this batch, chosen at run time."""
    forms, i = architecture.forms(x, training=training)
    return f(forms[0]) if len(forms) == 1 else jax.lax.switch(i, [partial(f, form) for form in forms])


@partial(jax.jit, donate_argnames=("params", "state"), static_argnames=(
    "architecture", "optimizer", "normalization", "noise", "label_smoothing", "spread", "precision"))  # fmt: skip
def train_window(
    params: Params,
    state: optax.OptState,
    window: Batch,
    n_batches: Int[Array, ""],
    lr: Float[Array, " K"],
    step: Int[Array, ""],
    key: PRNGKeyArray,
    *,
    architecture: Architecture,
    optimizer: AdamW,
    normalization: Normalization,
    noise: Noise,
    label_smoothing: float,
    spread: Spread | None = None,
    precision: str | None = None,
) -> tuple[Params, optax.OptState, Float[Array, " K"]]:
    """Take one step for each of the first `n_batches` of the window; the others are padding.

    The random numbers of a step depend only on `key` and the index of the step, not on the boundaries of windows.

    Parameters
    ----------
    spread
        How the counts become dense, if they are :class:`PickedRows`.
    precision
        Of matrix products, see :func:`products_in`.

    Returns
    -------
    Parameters and optimiser state after the window, and the loss of each batch.
    """

    def loss(
        params: Params, key: PRNGKeyArray, x: Float[Array, "B G"], batch: Batch, form: Architecture
    ) -> Float[Array, ""]:
        with products_in(precision):
            logits = batch_logits(form, params, x, key)
        return cross_entropy(logits, batch.y, batch.weight, label_smoothing)

    def one(i: Int[Array, ""], carry: tuple[Params, optax.OptState, Float[Array, " K"]]) -> tuple[Any, ...]:
        params, state, losses = carry
        x = window.x[i] if spread is None else spread(window.x._replace(rows=window.x.rows[i]))
        batch = Batch(x, *(a[i] for a in window[1:]))
        key_step = jax.random.fold_in(key, step + i)
        if noise.acts:
            key_step, key_noise = jax.random.split(key_step)
            batch = noise(key_noise, batch)
        x = normalization(batch.x, batch.total)

        def gradient(form: Architecture) -> tuple[Float[Array, "..."], Params]:
            of_one = lambda params, key: jax.value_and_grad(loss)(params, key, x, batch, form)  # noqa: E731
            if form.n_members == 1:
                return of_one(params, key_step)
            return each_member(of_one, params, jax.random.split(key_step, form.n_members))

        value, grads = in_form(gradient, architecture, x, training=True)
        params, state = optimizer.update(grads, state, params, lr[i])
        return params, state, losses.at[i].set(value.mean())

    return jax.lax.fori_loop(0, n_batches, one, (params, state, jnp.zeros(window.y.shape[0])))


@partial(jax.jit, static_argnames=("architecture", "normalization"))
def loss_and_gradient(
    params: Params, batch: Batch, *, architecture: Architecture, normalization: Normalization
) -> tuple[Float[Array, ""], Params]:
    """Return the cross-entropy summed over the cells of a batch, without dropout, and its gradient."""
    x = normalization(batch.x, batch.total)

    def loss(params: Params, form: Architecture) -> Float[Array, ""]:
        return cross_entropy(batch_logits(together(form), params, x), batch.y, batch.weight) * batch.weight.sum()

    return in_form(lambda form: jax.value_and_grad(loss)(params, form), architecture, x, training=False)


@partial(jax.jit, static_argnames=("architecture", "normalization", "mesh"), compiler_options=WIDE)
def predict_logits(
    params: Params,
    x: Num[Array, "B G"],
    total: Float[Array, " B"],
    key: PRNGKeyArray | None = None,
    correction: Correction | None = None,
    n_cells: int | None = None,
    *,
    architecture: Architecture,
    normalization: Normalization,
    mesh: Mesh | None = None,
) -> Float[Array, "B C"]:
    """Return the logits of each cell, computed by the devices of `mesh`, each with an equal part of the cells.

    Those from `n_cells` on are padding, whose logits say nothing.
    """
    n, size = x.shape[0], architecture.cells_at_once or x.shape[0]

    def some(
        shared: tuple[Params, Correction | None],
        x: Num[Array, "B G"],
        total: Float[Array, " B"],
        keys: PRNGKeyArray | None,
    ) -> Float[Array, "B C"]:
        params, correction = shared
        x = normalization(x, total, correction)
        of = lambda form: batch_logits(together(form), params, x, keys)  # noqa: E731
        return in_form(of, architecture, x, training=keys is not None)

    keys = key
    if key is not None:  # one per cell, which depends on its place in the batch, not on the number of devices
        keys = jax.random.split(key, n) if n <= size else _keys_of_parts(key, n, size)
    return per_cell(_in_parts(some, size), mesh, (params, correction), _first(n_cells, x), x, total, keys)


def _in_parts(f: Callable[..., Any], size: int) -> Callable[..., Any]:
    """Return `f`, applied to `size` cells at a time, as long as there are some that are not padding."""

    def on_a_device(shared: Any, is_cell: Bool[Array, " B"], *cells: Any) -> Any:
        n = len(is_cell)
        if n <= size:
            return f(shared, *cells)
        more = -n % size  # empty cells pad the last part
        padded = jax.tree.map(lambda a: jnp.concatenate([a, jnp.zeros_like(a[:more])]), cells)
        parts = jax.tree.map(lambda a: a.reshape(-1, size, *a.shape[1:]), padded)

        def part(i: Any) -> Any:
            return f(shared, *jax.tree.map(lambda a: a[i], parts))

        def one(i: Int[Array, ""], found: Any) -> Any:
            return jax.tree.map(lambda all_, own: all_.at[i].set(own), found, part(i))

        none = jax.tree.map(lambda a: jnp.zeros(((n + more) // size, *a.shape), a.dtype), jax.eval_shape(part, 0))
        found = jax.lax.fori_loop(0, (is_cell.sum() + size - 1) // size, one, none)
        return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:])[:n], found)

    return on_a_device


@partial(jax.jit, static_argnames=("architecture", "normalization", "mesh"), compiler_options=WIDE)
def predict_seen(
    params: Params,
    x: Num[Array, "B G"],
    total: Float[Array, " B"],
    classes: Float[Array, "C G"],
    measured: Float[Array, " G"],
    components: Float[Array, "G D"],
    correction: Correction | None = None,
    n_cells: int | None = None,
    *,
    architecture: Architecture,
    normalization: Normalization,
    mesh: Mesh | None = None,
) -> Seen:
    """Return logits, without dropout, and what tells cells unlike the reference, computed as by `predict_logits`.

    Parameters
    ----------
    classes
        Mean normalised expression of each class in the reference.
    measured
        1 for genes that the cells were measured in, 0 for others.
    components
        Directions of expression.
    """

    def some(shared: Any, x: Num[Array, "B G"], total: Float[Array, " B"]) -> Seen:
        params, correction, classes, measured, components = shared
        expressed = ((x > 0) * measured).sum(axis=1)  # before a shift, which moves zeros
        x = normalization(x, total, correction)
        of = lambda form: jax.vmap(lambda x: together(form).see(params, x))(x)  # noqa: E731
        logits, direction = in_form(of, architecture, x, training=False)
        classes = classes * measured
        towards = jnp.concatenate([classes, components.T * measured])
        more = -len(towards) % WIDTH
        along = x @ jnp.pad(towards, ((0, more), (0, 0))).T
        along, place = along[:, : len(classes)], along[:, len(classes) : len(towards)]
        norms = jnp.sqrt((x * x * measured).sum(axis=1))[:, None] * jnp.linalg.norm(classes, axis=1)
        return Seen(logits, direction, along / jnp.maximum(norms, 1e-9), jnp.log1p(expressed), place)

    size = architecture.cells_at_once or x.shape[0]
    shared = (params, correction, classes, measured, components)
    return per_cell(_in_parts(some, size), mesh, shared, _first(n_cells, x), x, total)


def _first(n: int | None, x: Num[Array, "B G"]) -> Bool[Array, " B"]:
    return jnp.arange(len(x)) < (len(x) if n is None else n)


def _keys_of_parts(key: PRNGKeyArray, n: int, size: int) -> PRNGKeyArray:
    parts = jax.random.split(key, -(-n // size))
    return jax.vmap(lambda key: jax.random.split(key, size))(parts).reshape(-1)[:n]


def predict_double_logits(
    params: Params,
    x: np.ndarray,
    total: np.ndarray,
    *,
    architecture: Architecture,
    normalization: Normalization,
) -> Float[Array, "B C"]:
    """Return the logits of each cell in double precision, for architectures that need it."""
    if normalization.normalize:
        x = log_normalize(x.astype(np.float32), total, normalization.target_sum, as_scanpy=True)
    with jax.enable_x64(True):
        as_is = Normalization(normalize=False)
        return predict_logits(params, x, total, architecture=architecture, normalization=as_is)


@partial(jax.jit, static_argnames=("architecture", "normalization"))
def predict_gene_weights(
    params: Params,
    x: Num[Array, "B G"],
    total: Float[Array, " B"],
    correction: Correction | None = None,
    *,
    architecture: Architecture,
    normalization: Normalization,
) -> Float[Array, "B G"]:
    """Return the gene weights of each cell."""
    return jax.vmap(lambda x: together(architecture).gene_weights(params, x))(normalization(x, total, correction))
