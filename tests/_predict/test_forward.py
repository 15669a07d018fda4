"""Batches of fixed shape."""

from typing import Any

import numpy as np
import pytest
from scipy import sparse

from ginseng._predict.forward import FEWEST, Rows, batches, predict


def rows(n: int, n_genes: int, *, dense: bool, start: int = 0) -> Rows:
    counts = np.random.default_rng(n + start).poisson(1, (n, n_genes)).astype(np.float32)
    total = counts.sum(axis=1).astype(float)
    return Rows(start, start + n, counts if dense else sparse.csr_matrix(counts), total)


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("n", [3, 50, FEWEST + 10])
@pytest.mark.parametrize("batch_size", [2, 100, FEWEST, 10**9])
def test_no_batch_is_much_larger_than_the_data(state: Any, n: int, batch_size: int, dense: bool) -> None:
    part, seen = rows(n, state.n_genes, dense=dense), 0
    size = min(batch_size, FEWEST if n <= FEWEST else 2 * FEWEST)
    for start, stop, x, total, empty, cells, counts in batches(state, [part], batch_size):
        assert len(x) == len(total) == size
        assert (start, len(empty)) == (seen, stop - start)
        expected = part.counts[start:stop]
        np.testing.assert_array_equal(cells, np.arange(start, stop))
        np.testing.assert_array_equal(x[: stop - start], expected if dense else expected.toarray())
        np.testing.assert_array_equal(sparse.csr_matrix(counts).toarray(), x[: stop - start])
        assert not x[stop - start :].any()
        seen = stop
    assert seen == n


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("batch_size", [7, 20, 45, 10**9])
def test_batches_are_filled_across_blocks_that_are_apart(state: Any, batch_size: int, dense: bool) -> None:
    parts = [rows(n, state.n_genes, dense=dense, start=start) for n, start in ((20, 0), (20, 100), (5, 300))]
    every = np.concatenate([np.arange(part.start, part.stop) for part in parts])
    expected = np.concatenate([sparse.csr_matrix(part.counts).toarray() for part in parts])
    totals, at = np.concatenate([part.total for part in parts]), 0
    for batch in batches(state, parts, batch_size):
        here = slice(at, at + min(batch_size, len(every) - at))  # all are full, but for the last
        np.testing.assert_array_equal(batch.cells, every[here])
        np.testing.assert_array_equal(batch.x[: len(batch.cells)], expected[here])
        np.testing.assert_array_equal(batch.total[: len(batch.cells)], totals[here].astype(np.float32))
        at = here.stop
    assert at == len(every)


def test_the_size_of_batches_changes_no_probability(state: Any) -> None:
    part = rows(60, state.n_genes, dense=False)
    found = [np.concatenate([p.probs for p in predict(state, [part], batch_size=n)]) for n in (7, 60, 10**9)]
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], atol=1e-6)
