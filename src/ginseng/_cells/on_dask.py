"""Run a function over the rows of a dask array: on the user's cluster, or by dask's own scheduler.

The function, with all that it needs, is sent to each worker once. A task reads a few neighbouring chunks, and its
results alone come back. A few tasks per thread are under way at a time, so that results do not pile up.
"""

from __future__ import annotations

import copy
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from itertools import batched, pairwise
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from ginseng import _logging
from ginseng._cells.by_columns import is_by_columns
from ginseng._cells.matrix import Block, Part, parts_of, to_memory

#: Tasks per thread of a cluster that are under way, and the fewest: adaptive clusters grow with what waits.
PER_THREAD, FEWEST = 3, 16
#: Tasks per thread that few cells are divided into.
SHARES = 4
#: How often a task is tried again after all workers that had its function were lost.
ATTEMPTS = 5


class Rows(NamedTuple):
    """Consecutive rows."""

    start: int
    stop: int
    chunks: list[list[Any]]  # delayed, a grid
    of_cell: np.ndarray | None


#: Rows that are read and worked on in one go.
type Task = list[Rows]


class Work[T]:
    """What is done with the rows of each task.

    Parameters
    ----------
    f
        Turns an iterator of parts into an iterator of results, which must not depend on where the parts begin.
    check
        Applied to what was read.
    size
        Maximum number of rows of a part.
    """

    def __init__(self, f: Callable[[Iterator[Part]], Iterator[T]], check: Callable[[Block], Block], size: int) -> None:
        self.f, self.check, self.size = f, check, size


class _Threads[T]:
    """Tasks in threads of this process, or where `dask.config` says."""

    def __init__(self, work: Work[T]) -> None:
        import dask

        self.work = work
        self.n_threads = int(dask.config.get("num_workers", None) or os.cpu_count() or 1)
        self.scheduler = dask.config.get("scheduler", None) or "synchronous"
        self.pool = ThreadPoolExecutor(self.n_threads, thread_name_prefix="ginseng-dask")
        self.n_ahead = self.n_threads + 1  # each may hold a block

    def submit(self, task: Task) -> Future[list[T]]:
        return self.pool.submit(_delayed(_results, self.work, task).compute, scheduler=self.scheduler)

    def result(self, task: Task, future: Future[list[T]]) -> list[T]:
        return future.result()

    def fold[S](self, tasks: Sequence[Task], add: Callable[[S, T], None], total: S) -> S:
        for future in [self.submit(task) for task in tasks]:
            for result in future.result():
                add(total, result)
        return total

    def close(self) -> None:
        self.pool.shutdown(cancel_futures=True)


class _Cluster[T]:
    """Tasks on the workers of a cluster."""

    def __init__(self, client: Any, work: Work[T]) -> None:
        self.client, self.work = client, work
        if not client.nthreads():
            _logging.warning("waiting for a worker of the dask cluster")  # they may be in the queue of a batch system
        client.wait_for_workers(1)
        self.sent = self._send(work, broadcast=True)

    @property
    def n_threads(self) -> int:
        """Threads of all workers that there are by now."""
        return max(1, sum(self.client.nthreads().values()))

    @property
    def n_ahead(self) -> int:
        return max(FEWEST, PER_THREAD * self.n_threads)

    def submit(self, task: Task) -> Any:
        return self.client.compute(_delayed(_results, self.sent, task))

    def result(self, task: Task, future: Any) -> list[T]:
        return self._insist(lambda: self.submit(task), future)

    def fold[S](self, tasks: Sequence[Task], add: Callable[[S, T], None], total: S) -> S:
        """Return the total with all results added, on the workers but in the order of the rows."""

        def submit() -> Any:
            summed = self._send(total)
            for task in tasks:
                summed = _delayed(_added, add, summed, _delayed(_results, self.sent, task))
            return self.client.compute(summed)

        return self._insist(submit, submit())

    def close(self) -> None:
        pass  # what is under way ends with the last reference to it

    def _send(self, what: Any, *, broadcast: bool = False) -> Any:
        return self.client.scatter([what], broadcast=broadcast, hash=False)[0]

    def _insist(self, submit: Callable[[], Any], future: Any) -> Any:
        """Return the result; computed again if all workers that had the function were lost."""
        for _ in range(ATTEMPTS):
            try:
                return future.result()
            except CancelledError:
                if self.sent.status != "finished":
                    self.client.wait_for_workers(1)
                    self.sent = self._send(self.work, broadcast=True)
                future = submit()
        return future.result()


def can_map(x: Any) -> bool:
    """Whether this is a dask array, and its rows can be read by tasks.

    Rows of a matrix in blocks of columns have to be put together from all of it first, which takes the memory of a
    cluster.
    """
    return hasattr(x, "to_delayed") and (not is_by_columns(x) or _client() is not None)


def map_parts[T](x: Any, work: Work[T], *, every: int = 1, of_cell: np.ndarray | None = None) -> Iterator[T]:
    """Yield the results for the rows of a dask array, in order; of `every` parts only the first is read.

    Parameters
    ----------
    of_cell
        A value for each row, of which each part gets its own.
    """
    where = _where(work)
    try:
        waiting: deque[tuple[Task, Any]] = deque()
        for task in _tasks(x, work.size, where.n_threads, every, of_cell):
            waiting.append((task, where.submit(task)))
            if len(waiting) >= where.n_ahead:
                yield from where.result(*waiting.popleft())
        while waiting:
            yield from where.result(*waiting.popleft())
    finally:
        where.close()


def fold_parts[T, S](
    x: Any,
    work: Work[T],
    add: Callable[[S, T], None],
    total: S,
    *,
    of_cell: np.ndarray | None = None,
    report: Callable[[int], object],
) -> S:
    """Return `total` after `add(total, result)` for the result of each part.

    Results are added in the order of the rows, where they were computed, so that sums have the same bits wherever that
    was. `report` gets numbers of rows that were added.
    """
    where = _where(work)
    try:
        tasks = _tasks(x, work.size, where.n_threads, 1, of_cell)
        for some in batched(tasks, where.n_ahead):
            total = where.fold(some, add, total)
            report(sum(rows.stop - rows.start for task in some for rows in task))
        return total
    finally:
        where.close()


def _client() -> Any:
    """Return the client of the cluster on which dask would compute, or None."""
    if "distributed" not in sys.modules:
        return None
    from dask.base import get_scheduler

    client = getattr(get_scheduler(), "__self__", None)
    return client if hasattr(client, "scatter") else None


def _where[T](work: Work[T]) -> _Threads[T] | _Cluster[T]:
    client = _client()
    return _Threads(work) if client is None else _Cluster(client, work)


def _tasks(x: Any, size: int, n_threads: int, every: int, of_cell: np.ndarray | None) -> Iterator[Task]:
    """Yield tasks of neighbouring chunks, of at least `size` rows each, or fewer if some threads would have none."""
    n, n_tasks = x.shape[0], SHARES * n_threads
    least = min(size, -(-n // n_tasks))
    if is_by_columns(x):
        x = x.rechunk({0: least, 1: -1}, method="tasks")
    ends = np.cumsum(x.chunks[0])
    groups = _whole(n, least, ends) if every == 1 else _sampled(n, size, every, n_tasks, ends)
    for places in groups:
        yield [
            Rows(start, stop, x[start:stop].to_delayed().tolist(), None if of_cell is None else of_cell[start:stop])
            for start, stop in places
        ]


def _whole(n: int, least: int, ends: np.ndarray) -> list[list[tuple[int, int]]]:
    """Return the first and last row of each task: whole chunks that have at least so many rows together."""
    bounds = [0]
    for stop in ends.tolist():
        if stop - bounds[-1] >= least:
            bounds.append(stop)
    bounds = [*(bounds[:-1] if len(bounds) > 1 else bounds), n]  # a rest goes with those before it
    return [[place] for place in pairwise(bounds)] if n else []


def _sampled(n: int, size: int, every: int, n_tasks: int, ends: np.ndarray) -> list[list[tuple[int, int]]]:
    """Return the first and last rows of the first of `every` parts; each chunk is read by one task."""
    starts = np.arange(0, n, size * every)
    least = -(-len(starts) // n_tasks)
    chunks = np.searchsorted(ends, starts, side="right")
    groups: list[list[tuple[int, int]]] = []
    for start, is_new in zip(starts.tolist(), np.diff(chunks, prepend=-1) > 0, strict=True):
        if not groups or (is_new and len(groups[-1]) >= least):
            groups.append([])
        groups[-1].append((start, min(start + size, n)))
    return groups


def _delayed(f: Callable[..., Any], *arguments: Any) -> Any:
    import dask

    return dask.delayed(f, pure=False)(*arguments)


def _results[T](work: Work[T], task: Task) -> list[T]:
    def parts() -> Iterator[Part]:
        for rows in task:
            block = work.check(_joined(rows.chunks))
            if block.shape[0] != rows.stop - rows.start:
                msg = f"The dask array has {block.shape[0]:,} rows where its chunks say {rows.stop - rows.start:,}. "
                raise ValueError(f"{msg}Create it again from the original data.")
            yield from parts_of(block, rows.start, work.size, rows.of_cell)

    return list(work.f(parts()))


def _added[T, S](add: Callable[[S, T], None], total: S, results: list[T]) -> S:
    total = copy.deepcopy(total)  # the old one is needed again if a worker is lost
    for result in results:
        add(total, result)
    return total


def _joined(chunks: list[list[Any]]) -> Block:
    """Return a grid of chunks as one block."""
    grid = [[to_memory(chunk, of=None) for chunk in row] for row in chunks]
    if sparse.issparse(grid[0][0]):
        rows = [sparse.hstack(row, format="csr") if len(row) > 1 else row[0] for row in grid]
        return sparse.csr_matrix(sparse.vstack(rows, format="csr") if len(rows) > 1 else rows[0])
    return np.block(grid) if len(grid) + len(grid[0]) > 2 else grid[0][0]
