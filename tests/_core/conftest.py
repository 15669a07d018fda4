"""Cells of three classes, each with its own marker genes."""

import numpy as np
import pytest
from scipy import sparse

from ginseng.data._batches import MemorySource
from ginseng.data._memory import MemoryDataset

N_GENES, N_CLASSES = 24, 3


def separable(n_cells: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts, labels, and library sizes over more genes than these."""
    rng = np.random.default_rng(seed)
    y = np.arange(n_cells) % N_CLASSES
    rate = np.where(np.arange(N_GENES) % N_CLASSES == y[:, None], 4.0, 0.4) * rng.uniform(0.5, 2, (n_cells, 1))
    x = rng.poisson(rate).astype(np.float32)
    return x, y.astype(np.int32), (x.sum(axis=1) + rng.poisson(40, n_cells)).astype(np.float32)


@pytest.fixture(scope="session")
def train_set() -> MemoryDataset:
    x, y, total = separable(300, 0)
    return MemoryDataset(
        source=MemorySource(sparse.csr_matrix(x), y, total),
        labels=y,
        label_names=[f"type {i}" for i in range(N_CLASSES)],
        gene_names=[f"gene{i}" for i in range(N_GENES)],
        groups=None,
        group_names=None,
    )


@pytest.fixture(scope="session")
def test_set() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return separable(300, 1)
