"""Batches of fixed shape."""

from typing import Any

import numpy as np
import pytest
from scipy import sparse

from ginseng._predict.forward import FEWEST, Rows, batches, predict


def rows(n: int, n_genes: int, *, dense: bool) -> Rows:
    counts = np.random.default_rng(n).poisson(1, (n, n_genes)).astype(np.float32)
    return Rows(0, n, counts if dense else sparse.csr_matrix(counts), counts.sum(axis=1).astype(float))


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("n", [3, 50, FEWEST + 10])
@pytest.mark.parametrize("batch_size", [2, 100, FEWEST, 10**9])
def test_no_batch_is_much_larger_than_the_data(state: Any, n: int, batch_size: int, dense: bool) -> None:
    part, seen, size = rows(n, state.n_genes, dense=dense), 0, min(batch_size, max(n, FEWEST))
    for start, stop, x, total, empty in batches(state, [part], batch_size):
        assert len(x) == len(total) == size
        assert (start, len(empty)) == (seen, stop - start)
        np.testing.assert_array_equal(
            x[: stop - start], part.counts[start:stop] if dense else part.counts[start:stop].toarray()
        )
        assert not x[stop - start :].any()
        seen = stop
    assert seen == n


def test_the_size_of_batches_changes_no_probability(state: Any) -> None:
    part = rows(60, state.n_genes, dense=False)
    found = [np.concatenate([p.probs for p in predict(state, [part], batch_size=n)]) for n in (7, 60, 10**9)]
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], atol=1e-6)
