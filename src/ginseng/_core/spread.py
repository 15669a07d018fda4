"""Counts that are sent to the devices without their zeros, and spread out there."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, Num, UInt

from ginseng._core.devices import per_cell

# N stored values (and padding behind them), R rows, B cells in a batch, G genes


class Counts(NamedTuple):
    """CSR rows of counts, of which each device has a copy."""

    values: Num[Array, " N"]
    genes: UInt[Array, " N"]
    starts: Int[Array, " R+1"]  # where the values of each row start, and the last ends


class PickedRows(NamedTuple):
    """A batch of rows; with a leading axis K of `rows`, a window of batches."""

    counts: Counts
    rows: Int[Array, " B"]  # -1 for padding


@dataclasses.dataclass(frozen=True)
class Spread:
    """Makes dense batches of rows, on the device that has their cells.

    Parameters
    ----------
    n_genes
        Number of genes.
    longest
        The most values that a row has, or more.
    mesh
        Devices that share the cells.
    """

    n_genes: int
    longest: int
    mesh: Mesh

    def __call__(self, picked: PickedRows) -> Float[Array, "B G"]:
        """Return the counts; values of the same cell and gene are added."""
        return per_cell(jax.vmap(self._row, in_axes=(None, 0)), self.mesh, *picked)

    def _row(self, counts: Counts, row: Int[Array, ""]) -> Float[Array, " G"]:
        start, stop = counts.starts[row], jnp.where(row < 0, 0, counts.starts[row + 1])
        places = start + jnp.arange(self.longest)
        values = counts.values.at[places].get(mode="clip").astype(jnp.float32)
        genes = counts.genes.at[places].get(mode="clip").astype(jnp.int32)
        genes = jnp.where(places < stop, genes, self.n_genes)  # one after the last, where nothing is stored
        return jnp.zeros(self.n_genes, jnp.float32).at[genes].add(values, mode="drop")


@partial(jax.jit, static_argnames="spread")
def spread_out(picked: PickedRows, *, spread: Spread) -> Float[Array, "B G"]:
    """Return a batch of rows as a dense array."""
    return spread(picked)
