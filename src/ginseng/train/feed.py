"""How the counts of a window get to the devices.

CPUs read dense arrays, which they share with NumPy. Other devices have memory of their own: they are sent CSR rows, or
have the counts of all cells there and are sent the indices of the cells; either way the compiled step makes them dense.
The cells are the same, in the same order.
"""

from __future__ import annotations

from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from scipy import sparse

from ginseng._cells.matrix import smallest_dtype
from ginseng._core.devices import cells_sharding, memory_for_counts, put, replicated
from ginseng._core.spread import Counts, PickedRows, Spread, spread_out
from ginseng._core.steps import Batch
from ginseng.data._batches import Form, Rows, Source, Window, counts_dtype, empty_window
from ginseng.train.processes import n_processes

#: Most values that are sent at once when all counts are.
AT_ONCE = 2**20
#: How many more values than expected are sent with each window: of few sizes, as each makes a program of its own.
MARGIN = 1.1
#: The longest row is rounded up to a multiple of this, so that data of a kind share a program.
LENGTH_STEP = 64


def form_of(source: Source, mesh: Mesh) -> Form:
    """Return what these devices are sent: the one place where this is decided."""
    if jax.default_backend() == "cpu" or n_processes() > 1:
        return "dense"
    n = _n_kept(source)
    n_bytes = n * sum(dtype.itemsize for dtype in _dtypes(source)) + 4 * len(source.labels)
    fits = n <= np.iinfo(np.int32).max and n_bytes <= memory_for_counts(mesh)
    return "indices" if fits else "sparse"


class Feed:
    """Puts windows of cells on the devices of a mesh, which share the cells of each batch.

    Attributes
    ----------
    form
        What the windows should have of the counts.
    spread
        How the counts become dense; None if they are.
    """

    def __init__(self, source: Source, mesh: Mesh) -> None:
        self.source = source
        self.mesh = mesh
        self.form = form_of(source, mesh)
        self.spread: Spread | None = None
        self._most = 0  # values in a window, with padding
        if self.form != "dense":
            longest = int(source.n_values.max(initial=1))
            self.spread = Spread(source.n_genes, -(-longest // LENGTH_STEP) * LENGTH_STEP, mesh)

    def __call__(self, window: Window) -> Batch:
        """Return the window on the devices; of cells, each process passes its own."""
        each = cells_sharding(self.mesh, axis=1)
        x: Any = self._picked(window.x, each) if isinstance(window.x, Rows) else put(window.x, each)
        return Batch(x, *put(tuple(window[1:]), each))

    def dense(self, window: Window) -> tuple[jax.Array, jax.Array]:
        """Return counts and totals of a window of a single batch, (B, G) and (B,), on the devices."""
        each, (x, total) = cells_sharding(self.mesh), window[:2]
        if isinstance(x, Rows):
            assert self.spread is not None
            return spread_out(self._picked(x._replace(rows=x.rows[0]), each), spread=self.spread), put(total[0], each)
        return put((x[0], total[0]), each)

    def dense_shapes(self, batch_size: int) -> tuple[Any, Any]:
        """Return the shapes of what :meth:`dense` returns, for batches of all cells of a process."""
        each = cells_sharding(self.mesh)
        dtype = counts_dtype(self.source) if self.spread is None else np.dtype(np.float32)
        x = jax.ShapeDtypeStruct((batch_size, self.source.n_genes), dtype, sharding=each)
        return x, jax.ShapeDtypeStruct((batch_size,), np.float32, sharding=each)

    def shapes(self, n_window: int, n_cells: int) -> Batch:
        """Return the shapes of windows of so many batches, each of so many cells of all processes."""
        each, whole = cells_sharding(self.mesh, axis=1), replicated(self.mesh)

        def shape_of(size: tuple[int, ...], dtype: Any, sharding: Any = whole) -> Any:
            return jax.ShapeDtypeStruct(size, dtype, sharding=sharding)

        x, *others = empty_window((n_window, 0), self.source, self.form)
        size = n_window, n_cells
        batch: Any
        if isinstance(x, Rows):
            n_rows = n_window * n_cells if self.form == "sparse" else len(self.source.labels)
            n = self._room(n_rows) if self.form == "sparse" else _n_kept(self.source)
            values, genes = (shape_of((n,), dtype) for dtype in _dtypes(self.source))
            counts = Counts(values, genes, shape_of((n_rows + 1,), np.int32))
            batch = PickedRows(counts, shape_of(size, x.rows.dtype, each))
        else:
            batch = shape_of((*size, *x.shape[2:]), x.dtype, each)
        return Batch(batch, *(shape_of(size, a.dtype, each) for a in others))

    def _picked(self, x: Rows, sharding: Any) -> PickedRows:
        counts = _on_devices(self.source, self.mesh) if x.counts is None else self._sent(x.counts, x.rows.size)
        return PickedRows(counts, put(x.rows, sharding))

    def _sent(self, counts: sparse.csr_matrix, n_rows: int) -> Counts:
        """Return CSR rows on the devices, with padding."""
        n = self._room(n_rows, counts.nnz)
        arrays = [np.zeros(n, dtype) for dtype in _dtypes(self.source)]
        for array, own in zip(arrays, (counts.data, counts.indices), strict=True):
            array[: counts.nnz] = own
        starts = np.full(n_rows + 1, counts.nnz, np.int32)
        starts[: len(counts.indptr)] = counts.indptr
        return put(Counts(*arrays, starts), replicated(self.mesh))

    def _room(self, n_rows: int, n_values: int = 0) -> int:
        """Return how many values to send for so many rows: as many as before, if that is enough, or else more."""
        expected = int(MARGIN * n_rows * self.source.n_values.mean())
        self._most = max(self._most, _rounded_up(expected), _rounded_up(n_values))
        return self._most


def _dtypes(source: Source) -> tuple[np.dtype, np.dtype]:
    """Return the dtypes of values and of genes on a device."""
    return counts_dtype(source), smallest_dtype(source.n_genes, integers=True)


def _rounded_up(n: int) -> int:
    """Return a number that is at least `n` and at most a quarter larger, one of four from each power of two on."""
    step = 2 ** max(n.bit_length() - 3, 0)
    return -(-n // step) * step


def _n_kept(source: Source) -> int:
    """Return how many values are kept on each device: all, and room for the padding of the last that are sent."""
    n = int(source.n_values.sum())
    return n + min(n, AT_ONCE)


#: Counts of all cells of a source, which training, validation and calibration share.
_kept: WeakKeyDictionary[Source, Counts] = WeakKeyDictionary()


def _on_devices(source: Source, mesh: Mesh) -> Counts:
    """Return the counts of all cells, which are sent the first time, a part at a time."""
    if source not in _kept:
        whole = replicated(mesh)
        insert = jax.jit(partial(jax.lax.dynamic_update_slice_in_dim, axis=0), donate_argnums=0, out_shardings=whole)
        n_all = _n_kept(source)
        size = n_all - int(source.n_values.sum())
        kept = [jax.device_put(jnp.zeros(n_all, dtype), whole) for dtype in _dtypes(source)]
        start = 0
        for counts, _ in source.windows(np.ones(len(source.labels), bool), None):
            for first in range(0, counts.nnz, size):
                parts = [a[first : first + size] for a in (counts.data, counts.indices)]
                for i, part in enumerate(parts):
                    padded = np.zeros(size, kept[i].dtype)
                    padded[: len(part)] = part
                    kept[i] = insert(kept[i], put(padded, whole), start)
                start += len(parts[0])
        starts = np.cumsum([0, *source.n_values], dtype=np.int32)
        _kept[source] = Counts(kept[0], kept[1], put(starts, whole))
    return _kept[source]
