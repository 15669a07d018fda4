"""Fixed-shape windows of training batches, from memory or from a store, prefetched in a thread.

The order of cells depends only on the seed, the epoch and the window, so that training can resume anywhere.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import zarr
from anndata.io import sparse_dataset
from scipy import sparse

from ginseng._cells.matrix import smallest_dtype
from ginseng.data._store_checks import Checksums, DamagedStoreError, check_counts

#: A store is read in blocks of consecutive rows, which are already shuffled on disk; so many blocks make a window.
BLOCK_ROWS = 128
BLOCKS_PER_WINDOW = 64
#: Maximum bytes of a window of dense batches.
WINDOW_BYTES = 64 * 2**20
#: Maximum share of a window of a store for one cell: a few cells of a rare class must not fill it.
LARGEST_SHARE = 1 / 64
#: zarr has one configuration for all threads: each puts back what it found.
_SETTING = Lock()


class Part(NamedTuple):
    """One of `n` disjoint parts of the cells."""

    place: int
    n: int


WHOLE = Part(0, 1)


#: What a window has of the counts: arrays with their zeros, CSR rows, or the indices of the cells alone.
Form = Literal["dense", "sparse", "indices"]


class Rows(NamedTuple):
    """Rows of a matrix that make up batches."""

    rows: np.ndarray  # (K, B) int32, -1 for padding
    counts: sparse.csr_matrix | None  # (rows, G); None if rows are indices of cells


class Window(NamedTuple):
    """`K` batches of `B` cells; the last is padded with empty cells of weight 0."""

    x: Any  # counts in their stored dtype: (K, B, G) if dense, otherwise `Rows`
    total: np.ndarray  # (K, B) float32, library sizes over all measured genes
    y: np.ndarray  # (K, B) int32
    weight: np.ndarray  # (K, B) float32


class Source(Protocol):
    """Labelled cells that can be read in windows."""

    counts: Any  # CSR, in memory or on disk
    n_genes: int
    n_windows: int  # of all cells
    labels: np.ndarray
    totals: np.ndarray

    @property
    def n_values(self) -> np.ndarray:
        """(cells,) stored values of each cell."""

    def cells(self, keep: np.ndarray, part: Part) -> np.ndarray:
        """Return the indices of the kept cells in a part, from first to last."""

    def windows(
        self, keep: np.ndarray, rng: np.random.Generator | None, part: Part = WHOLE
    ) -> Iterator[tuple[sparse.csr_matrix, np.ndarray]]:
        """Yield `(counts, cells)`: CSR rows and the index of each cell, -1 for rows to skip.

        In the order given by `rng`, or from first to last if None.
        """

    def order(self, keep: np.ndarray, rng: np.random.Generator | None, part: Part = WHOLE) -> Iterator[np.ndarray]:
        """Yield the `cells` of :meth:`windows`, without reading any counts."""


class MemorySource:
    """Cells in memory: a single window with all of them, not copied.

    As in a store, counts have the smallest possible dtype, which makes windows small and fast to fill.
    """

    n_windows = 1

    def __init__(self, counts: sparse.csr_matrix, labels: np.ndarray, totals: np.ndarray) -> None:
        whole = bool((counts.data == np.rint(counts.data)).all())
        self.counts = counts.astype(smallest_dtype(counts.data.max(initial=0), whole), copy=False)
        self.labels = labels
        self.totals = totals
        self.n_genes = counts.shape[1]

    @property
    def n_values(self) -> np.ndarray:
        return np.diff(self.counts.indptr)

    def cells(self, keep: np.ndarray, part: Part) -> np.ndarray:
        cells = np.flatnonzero(keep)
        return cells[cells % part.n == part.place]

    def windows(
        self, keep: np.ndarray, rng: np.random.Generator | None, part: Part = WHOLE
    ) -> Iterator[tuple[sparse.csr_matrix, np.ndarray]]:
        for cells in self.order(keep, rng, part):
            yield self.counts, cells

    def order(self, keep: np.ndarray, rng: np.random.Generator | None, part: Part = WHOLE) -> Iterator[np.ndarray]:
        cells = np.full(len(keep), -1)
        own = self.cells(keep, part)
        cells[own] = own
        yield cells


def in_memory(source: Source, keep: np.ndarray) -> MemorySource:
    """Return the kept cells, from first to last, read once."""
    parts = [sparse.csr_matrix((0, source.n_genes), dtype=source.counts.dtype)]
    parts += [counts[cells >= 0] for counts, cells in source.windows(keep, None)]
    counts = sparse.csr_matrix(sparse.vstack(parts, format="csr"))
    return MemorySource(counts, source.labels[keep], source.totals[keep])


class StoreCounts:
    """The counts of a store; each row is checked as it is read."""

    def __init__(self, path: Path, root: zarr.Group, *, strict: bool) -> None:
        self.path = path
        self.on_disk = sparse_dataset(zarr.open_group(root.store, path="X", mode="r"))
        self.strict = strict
        self.shape: tuple[int, int] = self.on_disk.shape
        self.dtype: np.dtype = self.on_disk.dtype

    def __getitem__(self, rows: Any) -> sparse.csr_matrix:
        try:
            counts = sparse.csr_matrix(self.on_disk[rows])
        except (ValueError, RuntimeError) as error:
            raise DamagedStoreError(self.path, f"`X` cannot be read ({error})") from error
        return self.checked(counts)

    def checked(self, counts: sparse.csr_matrix) -> sparse.csr_matrix:
        """Return rows that were read, after checking that they can be counts of this store."""
        check_counts(self.path, counts, strict=self.strict)
        return counts


class StoreSource:
    """Cells of a store on disk, read through annbatch.

    Parameters
    ----------
    path, root
        The store on disk.
    labels, totals
        Label and library size of each cell.
    indptr
        (cells + 1,) offsets of the values of each cell.
    strict
        Whether chunks have checksums, and no zeros are stored.
    """

    def __init__(
        self,
        path: Path,
        root: zarr.Group,
        labels: np.ndarray,
        totals: np.ndarray,
        indptr: np.ndarray,
        *,
        strict: bool,
    ) -> None:
        self.path = path
        self.counts = StoreCounts(path, root, strict=strict)
        self.labels = labels
        self.totals = totals
        self.n_genes = self.counts.shape[1]
        self.n_windows = -(-len(labels) // (BLOCK_ROWS * BLOCKS_PER_WINDOW))
        self._indptr = indptr
        arrays: Any = root["X"]
        on_disk = strict and path.is_dir()
        self._checksums = [Checksums(path, arrays[name]) for name in ("data", "indices")] if on_disk else []

    @property
    def n_values(self) -> np.ndarray:
        return np.diff(self._indptr)

    def cells(self, keep: np.ndarray, part: Part) -> np.ndarray:
        blocks = _BlockSampler(keep, None, self._check, part).starts
        cells = np.flatnonzero(keep)
        return cells[np.isin(cells // BLOCK_ROWS, blocks // BLOCK_ROWS)]

    def windows(
        self, keep: np.ndarray, rng: np.random.Generator | None, part: Part = WHOLE
    ) -> Iterator[tuple[sparse.csr_matrix, np.ndarray]]:
        sampler = _BlockSampler(keep, rng, self._check, part)
        sampler.validate(self.counts.shape[0])
        from ginseng.data._annbatch import loaded  # takes long to import, and cells in memory need none of it

        windows = loaded(self.counts.on_disk, sampler)
        # zarr takes the codec pipeline of an array from the configuration when it is opened, and annbatch opens this
        # one when the first window is requested. Only these arrays get the fast pipeline, which is five times as fast.
        with _SETTING, zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}):
            window = self._next(windows)
        while window is not None:
            cells = np.asarray(window["index"])
            yield self.counts.checked(sparse.csr_matrix(window["X"])), np.where(keep[cells], cells, -1)
            window = self._next(windows)

    def order(self, keep: np.ndarray, rng: np.random.Generator | None, part: Part = WHOLE) -> Iterator[np.ndarray]:
        for blocks in _BlockSampler(keep, rng, lambda _: None, part).windows():
            cells = np.concatenate([np.arange(block.start, block.stop) for block in blocks])
            yield np.where(keep[cells], cells, -1)

    def _next(self, windows: Iterator[Any]) -> Any:
        try:
            return next(windows, None)
        except DamagedStoreError:
            raise
        except (ValueError, RuntimeError) as error:
            raise DamagedStoreError(self.path, f"`X` cannot be read ({error})") from error

    def _check(self, blocks: list[slice]) -> None:
        """Verify the chunks of these rows before they are read."""
        spans = [(int(self._indptr[block.start]), int(self._indptr[block.stop])) for block in blocks]
        for checksums in self._checksums:
            checksums.check(spans)


class _BlockSampler:
    """Sampler for annbatch of blocks of consecutive rows with at least one kept row, one window at a time.

    `check` is called with the blocks of each window before they are read. Of `n` parts, each has every `n`-th block.
    """

    def __init__(
        self, keep: np.ndarray, rng: np.random.Generator | None, check: Callable[[list[slice]], None], part: Part
    ) -> None:
        self.check = check
        starts = np.arange(0, len(keep), BLOCK_ROWS)
        self.starts = starts[np.logical_or.reduceat(keep, starts)] if len(keep) else starts
        if rng is not None:
            self.starts = rng.permutation(self.starts)
        self.starts = self.starts[part.place :: part.n]
        self.n_obs = len(keep)

    def validate(self, n_obs: int) -> None:
        if n_obs != self.n_obs:
            msg = f"The store has {n_obs:,} cells, but {self.n_obs:,} labels."
            raise ValueError(msg)

    def n_batches(self, n_obs: int) -> int:
        return -(-len(self.starts) // BLOCKS_PER_WINDOW)

    def windows(self) -> Iterator[list[slice]]:
        """Yield the blocks of each window."""
        for i in range(0, len(self.starts), BLOCKS_PER_WINDOW):
            starts = self.starts[i : i + BLOCKS_PER_WINDOW].tolist()
            yield [slice(start, min(start + BLOCK_ROWS, self.n_obs)) for start in starts]

    def _sample(self, n_obs: int) -> Iterator[dict[str, Any]]:
        for blocks in self.windows():
            self.check(blocks)
            yield {"requests": blocks, "splits": [np.arange(sum(b.stop - b.start for b in blocks))]}


def class_weights(labels: np.ndarray, n_classes: int, exponent: float) -> np.ndarray:
    """Return the sampling weight per cell of each class: the class size to the power of `-exponent`.

    0 samples all cells equally, 1 all classes equally; in between, small classes are sampled more often than they
    occur, but less often than large ones.
    """
    return np.maximum(np.bincount(labels, minlength=n_classes), 1.0) ** -exponent


def n_batches(n_cells: int, batch_size: int) -> int:
    """Number of batches per epoch."""
    return -(-n_cells // batch_size)


def batches_per_window(batch_size: int, n_genes: int, n_epoch: int) -> int:
    """Number of batches per compiled call: few enough for memory, and at most those of an epoch."""
    return max(1, min(n_epoch, WINDOW_BYTES // (4 * batch_size * max(n_genes, 1))))


def stream(
    source: Source,
    keep: np.ndarray,
    *,
    batch_size: int,
    n_per_window: int,
    shuffle: bool = True,
    seed: int = 0,
    epoch: int = 0,
    weights: np.ndarray | None = None,
    part: Part = WHOLE,
    form: Form = "dense",
) -> Iterator[Window]:
    """Yield the kept cells in windows of batches of fixed shape.

    Parameters
    ----------
    source
        The cells.
    keep
        (cells,) bool, cells to read.
    batch_size, n_per_window
        Cells per batch (B), batches per window (K).
    shuffle
        Whether to read in the order determined by `(seed, epoch)`, or from first to last.
    weights
        (classes,) If given, cells are sampled with replacement, each with the weight of its class. The number of
        samples equals that of the kept cells, each of which can be drawn.
    part
        Which part of the cells to read.
    form
        What to yield of the counts; if it is the indices of the cells, no counts are read.
    """
    if batch_size < 1:
        msg = f"`batch_size` must be at least 1, not {batch_size}."
        raise ValueError(msg)
    order = np.random.default_rng([seed, epoch]) if shuffle else None
    size, held, n_held = batch_size * n_per_window, [], 0
    windows: Iterable[tuple[Any, np.ndarray]]
    if form == "indices":
        windows = ((cells, cells) for cells in source.order(keep, order, part))
    else:
        windows = source.windows(keep, order, part)
    for i, (counts, cells) in enumerate(windows):
        picks = np.flatnonzero(cells >= 0)
        rng = np.random.default_rng([seed, epoch, i * part.n + part.place, 1])
        if weights is not None:
            p = weights[source.labels[cells[picks]]]
            p = np.minimum(p / p.sum(), max(LARGEST_SHARE, 1 / len(picks)))
            picks = rng.choice(picks, len(picks), p=p / p.sum())
        elif shuffle:
            picks = rng.permutation(picks)
        while len(picks):
            rows, picks = np.split(picks, [size - n_held])
            held.append((counts[rows], cells[rows]))
            n_held += len(rows)
            if n_held == size:
                yield _window(source, held, batch_size, n_per_window, form)
                held, n_held = [], 0
    if held:
        yield _window(source, held, batch_size, n_per_window, form)


def stream_own(
    source: Source,
    keep: np.ndarray,
    *,
    own: tuple[int, int],
    batch_size: int,
    n_per_window: int,
    n_epoch: int,
    n_streams: int = 1,
    form: Form = "dense",
    **how: Any,
) -> Iterator[Window]:
    """Yield those cells of each batch that belong to this process.

    Batches are composed of `n_streams` equal parts, each from a part of the cells of its own, of which only those are
    read that have cells of this process. Every process yields as many windows, whatever the sizes of the parts: at the
    end of an epoch, a smaller part is padded with empty cells, and the excess of a larger one is left out.

    Parameters
    ----------
    own
        Which cells of a batch to yield: the first, and the one after the last. Behind those of the batch there are
        empty ones.
    batch_size
        Cells in a batch of all processes; a multiple of `n_streams`.
    n_epoch
        Batches in an epoch.
    **how
        Passed to :func:`stream`.
    """
    size, (start, stop) = batch_size // n_streams, own
    first, last = min(start // size, n_streams), min(-(-stop // size), n_streams)
    streams = [
        stream(source, keep, batch_size=size, n_per_window=n_per_window, part=Part(i, n_streams), form=form, **how)
        for i in range(first, last)
    ]
    whole = (start, stop) == (first * size, last * size)
    columns = slice(start - first * size, stop - first * size)
    padding = empty_window((n_per_window, max(stop - batch_size, 0)), source, form)
    for _ in range(-(-n_epoch // n_per_window)):
        windows = [next(one, None) or empty_window((n_per_window, size), source, form) for one in streams]
        if whole and len(windows) == 1:
            yield windows[0]
            continue
        yield Window(*(_side_by_side(arrays, columns) for arrays in zip(*windows, padding, strict=True)))


def _side_by_side(arrays: Sequence[Any], columns: slice) -> Any:
    """Return some columns, which are cells, of arrays of batches that are put next to each other."""
    if not isinstance(arrays[0], Rows):
        return np.concatenate(arrays, axis=1)[:, columns]
    rows, matrices = zip(*arrays, strict=True)
    counts = None
    if arrays[0].counts is not None:
        counts = sparse.csr_matrix(sparse.vstack(matrices, format="csr"))
        firsts = np.cumsum([0, *(m.shape[0] for m in matrices[:-1])])
        rows = tuple(np.where(own < 0, own, own + first) for own, first in zip(rows, firsts, strict=True))
    return Rows(np.concatenate(rows, axis=1, dtype=np.int32)[:, columns], counts)


def counts_dtype(source: Source) -> np.dtype:
    """Return the dtype of counts in windows."""
    stored: np.dtype = source.counts.dtype
    return stored if stored in (np.uint8, np.uint16) else np.dtype(np.float32)


def empty_window(shape: tuple[int, int], source: Source, form: Form = "dense") -> Window:
    """Return a window that contains only padding."""
    x: Any
    if form == "dense":
        x = np.zeros((*shape, source.n_genes), counts_dtype(source))
    else:
        no_counts = sparse.csr_matrix((0, source.n_genes), dtype=counts_dtype(source))
        x = Rows(np.full(shape, -1, np.int32), no_counts if form == "sparse" else None)
    return Window(x, np.zeros(shape, np.float32), np.zeros(shape, np.int32), np.zeros(shape, np.float32))


def _window(source: Source, held: list[tuple[Any, np.ndarray]], batch_size: int, n: int, form: Form) -> Window:
    """Return the cells of blocks, each with its counts unless only indices are wanted, in a window."""
    blocks, numbers = zip(*held, strict=True)
    cells = np.concatenate(numbers)
    window, n_filled = empty_window((n, batch_size), source, form), len(cells)
    x: Any = window.x
    if form == "indices":
        x.rows.reshape(-1)[:n_filled] = cells
    else:
        counts = sparse.vstack(blocks, format="csr") if len(blocks) > 1 else blocks[0]
        counts = counts.astype(counts_dtype(source), copy=False)
        if form == "dense":
            counts.toarray(out=x.reshape(-1, source.n_genes)[:n_filled])
        else:
            x.rows.reshape(-1)[:n_filled] = np.arange(n_filled)
            window = window._replace(x=x._replace(counts=counts))
    window.total.reshape(-1)[:n_filled] = source.totals[cells]
    window.y.reshape(-1)[:n_filled] = source.labels[cells]
    window.weight.reshape(-1)[:n_filled] = 1
    return window


def prefetch[T](items: Iterable[T], depth: int = 2) -> Generator[T]:
    """Yield `items`, produced ahead in a thread; an error there is raised here."""
    iterator, end = iter(items), object()
    with ThreadPoolExecutor(1, thread_name_prefix="ginseng-prefetch") as pool:
        ahead = deque(pool.submit(next, iterator, end) for _ in range(depth))
        while (item := ahead.popleft().result()) is not end:
            ahead.append(pool.submit(next, iterator, end))
            yield item  # type: ignore[misc]
