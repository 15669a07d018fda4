"""Contributions of the genes to the logits, embeddings, and the spread of the probabilities under dropout."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, Num, PRNGKeyArray

from ginseng._core.architecture import Architecture
from ginseng._core.correction import Correction
from ginseng._core.devices import per_cell
from ginseng._core.members import together
from ginseng._core.steps import Normalization, in_form
from ginseng._core.types import Params

# B cells in a batch, G genes, C classes, K width of the embedding


class Contributions(NamedTuple):
    """Contributions of the genes to a contrast of logits."""

    x: Float[Array, "B G"]  # the input: log-normalised expression
    baseline: Float[Array, "B G"]  # the reference cell, in the same unit
    genes: Float[Array, "B G"]
    difference: Float[Array, " B"]  # the contrast in the cell
    at_baseline: Float[Array, " B"]  # the contrast at the baseline; plus the sum of `genes`, it equals `difference`


def integrated_gradients(
    architecture: Architecture, params: Params, x: Float[Array, " G"], contrast: Float[Array, " C"], n_steps: int
) -> Contributions:
    """Return the contribution of each gene to `contrast @ logits` along the path from the baseline to the cell.

    Integrated gradients (Sundararajan et al. 2017) by Gauss-Legendre quadrature, which is exact for linear logits.
    """

    def value(share: Float[Array, " G"]) -> Float[Array, ""]:
        return contrast @ architecture.between(params, x, share)

    def add(total: Float[Array, " G"], node: tuple[Array, Array]) -> tuple[Float[Array, " G"], None]:
        t, weight = node
        return total + weight * jax.grad(value)(jnp.full_like(x, t)), None

    t, weight = np.polynomial.legendre.leggauss(1 if architecture.is_linear else n_steps)
    nodes = jnp.asarray((t + 1) / 2, jnp.float32), jnp.asarray(weight / 2, jnp.float32)
    genes, _ = jax.lax.scan(add, jnp.zeros_like(x), nodes)
    start = architecture.baseline(params, x)
    return Contributions(x, start, genes, contrast @ architecture.logits(params, x), value(jnp.zeros_like(x)))


def _each(
    architecture: Architecture, f: Callable[..., Any], params: Any, *cells: Array, mesh: Mesh | None = None
) -> Any:
    """Return `f(params, *cell)` of each cell, with as many at once on each device as the architecture allows."""

    def on_a_device(params: Any, *cells: Array) -> Any:
        at_once = architecture.cells_at_once or len(cells[0])
        return jax.lax.map(lambda cell: f(params, *cell), cells, batch_size=at_once)

    return per_cell(on_a_device, mesh, params, *cells)


@partial(jax.jit, static_argnames=("n_steps", "architecture", "normalization", "mesh"))
def predict_contributions(
    params: Params,
    x: Num[Array, "B G"],
    total: Float[Array, " B"],
    contrast: Float[Array, "B C"],
    correction: Correction | None = None,
    *,
    n_steps: int,
    architecture: Architecture,
    normalization: Normalization,
    mesh: Mesh | None = None,
) -> Contributions:
    """Return the contributions of the genes of each cell to its own contrast of logits."""
    x = normalization(x, total, correction)

    def attribute(form: Architecture) -> Contributions:
        model = together(form)
        of_one = lambda params, x, contrast: integrated_gradients(model, params, x, contrast, n_steps)  # noqa: E731
        return _each(model, of_one, params, x, contrast, mesh=mesh)

    return in_form(attribute, architecture, x, training=False)


@partial(jax.jit, static_argnames=("architecture", "normalization", "mesh"))
def predict_embedding(
    params: Params,
    x: Num[Array, "B G"],
    total: Float[Array, " B"],
    correction: Correction | None = None,
    *,
    architecture: Architecture,
    normalization: Normalization,
    mesh: Mesh | None = None,
) -> Float[Array, "B K"]:
    """Return the input of the last layer for each cell."""
    x = normalization(x, total, correction)
    each = lambda form: _each(form, together(form).embed, params, x, mesh=mesh)  # noqa: E731
    return in_form(each, architecture, x, training=False)


@partial(jax.jit, static_argnames=("architecture", "normalization", "mesh"))
def predict_passes(
    params: Params,
    x: Num[Array, "B G"],
    total: Float[Array, " B"],
    cell: Int[Array, " B"],
    key: PRNGKeyArray,
    n_passes: Int[Array, ""],
    correction: Correction | None = None,
    *,
    architecture: Architecture,
    normalization: Normalization,
    mesh: Mesh | None = None,
) -> tuple[Float[Array, "B C"], Float[Array, "B C"]]:
    """Return mean and standard deviation of the probabilities of each cell over passes with dropout.

    The random numbers of a cell depend only on `key`, its index and the pass, not on the rest of the batch.
    """
    architecture, x = together(architecture), normalization(x, total, correction)
    keys = jax.vmap(lambda cell: jax.random.fold_in(key, cell))(cell)

    def one(i: Int[Array, ""], moments: tuple[Array, Array]) -> tuple[Array, Array]:
        def probs(shared: tuple[Params, Array], x: Float[Array, " G"], key: PRNGKeyArray) -> Float[Array, " C"]:
            params, i = shared
            return jax.nn.softmax(architecture.logits(params, x, key=jax.random.fold_in(key, i)))

        mean, squares = moments  # Welford's algorithm, since differences of large sums would cancel
        new = _each(architecture, probs, (params, i), x, keys, mesh=mesh)
        delta = new - mean
        mean = mean + delta / (i + 1)
        return mean, squares + delta * (new - mean)

    n_classes = jax.eval_shape(architecture.logits, params, x[0]).shape[0]
    zero = jnp.zeros((x.shape[0], n_classes))
    mean, squares = jax.lax.fori_loop(0, n_passes, one, (zero, zero))
    return mean, jnp.sqrt(squares / n_passes)


@partial(jax.jit, static_argnames="architecture")
def gene_leverage(
    params: Params, mean: Float[Array, " G"], classes: Float[Array, "C G"], *, architecture: Architecture
) -> Float[Array, " G"]:
    """Return how much each gene moves the logits of the classes between the overall mean and the class means.

    To first order: the sum over classes of |d logit / d gene at the class mean| x |class mean - overall mean|.
    """
    model = together(architecture)

    def of_class(params: Params, x: Float[Array, " G"], number: Int[Array, ""]) -> Float[Array, " G"]:
        return jnp.abs(jax.grad(lambda x: model.logits(params, x)[number])(x) * (x - mean))

    # class by class: quick to compile, and seldom called
    each = jax.lax.map(lambda one: of_class(params, *one), (classes, jnp.arange(len(classes))))
    return each.sum(axis=0)
