"""Cells of four classes from six donors."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import sparse

from ginseng.data._batches import MemorySource
from ginseng.data._memory import MemoryDataset


def donors(n_cells: int = 120, n_genes: int = 16, *, noise: float = 0.0, seed: int = 0) -> MemoryDataset:
    """Return cells with a share `noise` of wrong labels; the last class is rare."""
    rng = np.random.default_rng(seed)
    y = rng.choice(4, n_cells, p=[0.5, 0.25, 0.2, 0.05])
    y[:8] = np.arange(8) % 4
    rate = np.where(np.arange(n_genes) % 4 == y[:, None], 3.0, 0.5) * rng.uniform(0.5, 2, (n_cells, 1))
    x = rng.poisson(rate).astype(np.float32)
    wrong = rng.random(n_cells) < noise
    y = np.where(wrong, rng.integers(0, 4, n_cells), y).astype(np.int32)
    total = (x.sum(axis=1) + rng.poisson(30, n_cells)).astype(np.float32)
    return MemoryDataset(
        source=MemorySource(sparse.csr_matrix(x), y, total),
        labels=y,
        label_names=["B", "T/NK", "γδ T cell", "mast"],
        gene_names=[f"gene{i}" for i in range(n_genes)],
        groups=rng.permutation(np.arange(n_cells) % 6).astype(np.int32),
        group_names=[f"donor {i}" for i in range(6)],
    )


@pytest.fixture(scope="session")
def make_donors() -> Callable[..., MemoryDataset]:
    return donors


@pytest.fixture(scope="session")
def dataset() -> MemoryDataset:
    return donors()
