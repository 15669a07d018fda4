"""How windows of cells get to the devices.

CPUs take dense arrays. Other devices have memory of their own: if the counts of all cells fit there, they are sent
once, and windows consist of the indices of cells; if not, windows have CSR rows. The compiled step then makes batches
dense. Cells and their order are the same.
"""

from __future__ import annotations

from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from scipy import sparse

from ginseng._cells.matrix import smallest_dtype
from ginseng._core.devices import cells_sharding, memory_for_counts, put, replicated
from ginseng._core.spread import Counts, PickedRows, Spread, spread_out
from ginseng._core.steps import Batch
from ginseng.data._batches import Form, Rows, Source, Window, counts_dtype, empty_window
from ginseng.train.processes import n_processes

#: The length of the longest row is rounded up to a multiple of this, so that similar data share programs.
LENGTH_STEP = 64
#: Room for values in windows of CSR rows, relative to what is expected; exceeding it takes another program.
MARGIN = 1.1
#: Maximum number of values per transfer when the counts of all cells are sent.
AT_ONCE = 2**20


def form_of(source: Source, mesh: Mesh) -> Form:
    """Return what windows have of the counts on these devices; decided here alone."""
    if jax.default_backend() == "cpu" or n_processes() > 1:  # processes cannot know the size of each other's windows
        return "dense"
    n = _n_resident(source)
    n_bytes = n * sum(dtype.itemsize for dtype in _dtypes(source)) + 4 * len(source.labels)
    fits = n <= np.iinfo(np.int32).max and n_bytes <= memory_for_counts(mesh)
    return "indices" if fits else "sparse"


class Feed:
    """Puts windows of cells on the devices of a mesh, which share the cells of each batch.

    Attributes
    ----------
    form
        What windows must have of the counts.
    spread
        How batches become dense on the devices; None if they are.
    """

    def __init__(self, source: Source, mesh: Mesh) -> None:
        self.source = source
        self.mesh = mesh
        self.form = form_of(source, mesh)
        self.spread: Spread | None = None
        if self.form != "dense":
            lengths = source.n_values
            longest = -(-int(lengths.max(initial=1)) // LENGTH_STEP) * LENGTH_STEP
            self.spread = Spread(source.n_genes, longest, mesh)
            self._mean_length = float(lengths.mean())
            self._room = 0  # for values in a window

    def __call__(self, window: Window) -> Batch:
        """Return a window on the devices; of cells, each process passes its own."""
        each = cells_sharding(self.mesh, axis=1)
        x: Any = self._picked(window.x, each) if isinstance(window.x, Rows) else put(window.x, each)
        return Batch(x, *put(tuple(window[1:]), each))

    def dense(self, window: Window) -> tuple[jax.Array, jax.Array]:
        """Return counts and totals of a window of a single batch, (B, G) and (B,), on the devices."""
        each, x, total = cells_sharding(self.mesh), window.x, window.total[0]
        if not isinstance(x, Rows):
            return put((x[0], total), each)
        assert self.spread is not None
        return spread_out(self._picked(x._replace(rows=x.rows[0]), each), spread=self.spread), put(total, each)

    def shapes(self, n_window: int, n_cells: int) -> Batch:
        """Return the shapes of windows of `n_window` batches of `n_cells` cells, those of all processes together."""
        each, whole = cells_sharding(self.mesh, axis=1), replicated(self.mesh)
        x, *others = empty_window((n_window, 0), self.source, self.form)
        shape: Any
        if isinstance(x, Rows):
            resident = x.counts is None
            n_rows = len(self.source.labels) if resident else n_window * n_cells
            n_values = _n_resident(self.source) if resident else self._room_for(n_rows)
            values, genes = (_shape(n_values, dtype=dtype, sharding=whole) for dtype in _dtypes(self.source))
            starts = _shape(n_rows + 1, dtype=np.int32, sharding=whole)
            shape = PickedRows(Counts(values, genes, starts), _shape(n_window, n_cells, dtype=np.int32, sharding=each))
        else:
            shape = _shape(n_window, n_cells, x.shape[2], dtype=x.dtype, sharding=each)
        return Batch(shape, *(_shape(n_window, n_cells, dtype=a.dtype, sharding=each) for a in others))

    def dense_shapes(self, n_cells: int) -> tuple[Any, Any]:
        """Return the shapes of what :meth:`dense` returns, for batches of `n_cells` cells."""
        each, dtype = cells_sharding(self.mesh), counts_dtype(self.source) if self.spread is None else np.float32
        x = _shape(n_cells, self.source.n_genes, dtype=dtype, sharding=each)
        return x, _shape(n_cells, dtype=np.float32, sharding=each)

    def _picked(self, x: Rows, each: NamedSharding) -> PickedRows:
        counts = _resident(self.source, self.mesh) if x.counts is None else self._sent(x.counts, x.rows.size)
        return PickedRows(counts, put(x.rows, each))

    def _sent(self, counts: sparse.csr_matrix, n_rows: int) -> Counts:
        """Return CSR rows on the devices, padded to as many as a window has."""
        room = self._room_for(n_rows, counts.nnz)
        values, genes = (np.zeros(room, dtype) for dtype in _dtypes(self.source))
        values[: counts.nnz], genes[: counts.nnz] = counts.data, counts.indices
        starts = np.full(n_rows + 1, counts.nnz, np.int32)
        starts[: len(counts.indptr)] = counts.indptr
        return put(Counts(values, genes, starts), replicated(self.mesh))  # type: ignore[arg-type]

    def _room_for(self, n_rows: int, n_values: int = 0) -> int:
        """Return the number of values to send with so many rows: at least as many as ever before."""
        expected = int(MARGIN * self._mean_length * n_rows)
        self._room = max(self._room, _rounded_up(expected), _rounded_up(n_values))
        return self._room


def _shape(*shape: int, dtype: Any, sharding: NamedSharding) -> Any:
    return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)


def _dtypes(source: Source) -> tuple[np.dtype, np.dtype]:
    """Return the dtypes of values and of genes on the devices."""
    return counts_dtype(source), smallest_dtype(source.n_genes, integers=True)


def _rounded_up(n: int) -> int:
    """Round up by at most a quarter, to one of four numbers per power of two."""
    step = 2 ** max(n.bit_length() - 3, 0)
    return -(-n // step) * step


def _n_resident(source: Source) -> int:
    """Return the number of values that devices keep: all, and padding for the last part that is sent.

    A row can be read as if it were as long as the longest: its indices stay within int32 if this number does.
    """
    n = int(source.n_values.sum())
    return n + min(n, AT_ONCE)


#: The counts of all cells on the devices, for as long as a source exists: training, validation and refits share them.
_kept: WeakKeyDictionary[Source, Counts] = WeakKeyDictionary()


def _resident(source: Source, mesh: Mesh) -> Counts:
    """Return the counts of all cells on the devices; the first time, they are read and sent part by part."""
    if source not in _kept:
        whole, starts = replicated(mesh), np.zeros(len(source.labels) + 1, np.int32)
        np.cumsum(source.n_values, out=starts[1:])
        size = _n_resident(source) - int(starts[-1])
        insert = jax.jit(partial(jax.lax.dynamic_update_slice_in_dim, axis=0), donate_argnums=0, out_shardings=whole)
        kept = [jax.device_put(jnp.zeros(_n_resident(source), dtype), whole) for dtype in _dtypes(source)]
        start = 0
        for counts, _ in source.windows(np.ones(len(source.labels), bool), None):
            for first in range(0, counts.nnz, size):
                parts = [a[first : first + size] for a in (counts.data, counts.indices)]
                for i, part in enumerate(parts):
                    padded = np.zeros(size, kept[i].dtype)
                    padded[: len(part)] = part
                    kept[i] = insert(kept[i], put(padded, whole), start)
                start += len(parts[0])
        _kept[source] = Counts(kept[0], kept[1], put(starts, whole))
    return _kept[source]
