"""Like cells taken together, on expression whose groups are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics import roc_auc_score

from ginseng.model.components import FEWEST_CELLS, MOST_CELLS, Components, components_of
from ginseng.model.like_cells import N_NEIGHBORS, SHARE, LikeCells, like_cells

N_GENES = 80


def drawn(n: int, rng: np.random.Generator) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Return expression of cells of four groups, and which group each is of."""
    group = rng.integers(0, 4, n)
    profiles = rng.gamma(0.5, 2, (4, N_GENES))
    return sparse.csr_matrix(np.log1p(rng.poisson(profiles[group])).astype(np.float32)), group


def sampled(x: sparse.csr_matrix, s: np.ndarray) -> tuple[Components, LikeCells]:
    """Return a sample of cells in their components, and together with those next to them."""
    sample = components_of(x)
    assert sample is not None
    return sample, like_cells(sample, s)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_a_group_that_is_a_little_unlike_stands_out(rng: np.random.Generator) -> None:
    x, group = drawn(800, rng)
    s = rng.normal(size=800) + (group == 2)
    sample, found = sampled(x, s)
    smooth = found.smooth(x @ sample.directions, s)
    assert roc_auc_score(group == 2, s) < 0.8
    assert roc_auc_score(group == 2, smooth) > 0.95
    assert smooth.mean() == pytest.approx(s.mean(), abs=0.05)


def test_neighbours_are_those_of_principal_components(rng: np.random.Generator) -> None:
    x, _ = drawn(500, rng)
    s = rng.normal(size=500)
    sample, found = sampled(x, s)
    place = x.toarray() @ sample.directions
    near = np.argsort(((place[:, None] - place[None]) ** 2).sum(axis=-1), axis=1)[:, :N_NEIGHBORS]
    expected = (1 - SHARE) * s + SHARE * s[near].mean(axis=1)
    same = np.abs(found.smooth(x @ sample.directions, s) - expected) < 1e-4
    assert same.mean() > 0.97  # but for cells as near as others
    kept = np.linalg.svd(x.toarray())[1][:50]  # the components hold nearly as much as the best ones do
    assert (place**2).sum() > 0.97 * (kept**2).sum()
    few = sampled(x[:100], s[:100])[1]
    near = np.argsort(((place[:100, None] - place[None, :100]) ** 2).sum(axis=-1), axis=1)[:, :10]
    assert np.corrcoef(few.unlike, s[near].mean(axis=1))[0, 1] > 0.5  # of few cells, fewer are alike


def test_the_same_cells_give_the_same_sample(rng: np.random.Generator) -> None:
    x, _ = drawn(1000, rng)
    s = rng.normal(size=1000)
    first, second = sampled(x, s)[1], sampled(x, s)[1]
    assert first.place.tobytes() == second.place.tobytes()
    # and so does expression that was added up in another order
    other = sampled(x * np.float32(1 + 1e-6), s)[1]
    assert other.place == pytest.approx(first.place, abs=1e-4)


@pytest.mark.parametrize("n", [N_GENES + 40, 4 * N_GENES])
def test_the_order_of_cells_does_not_count(rng: np.random.Generator, n: int) -> None:
    x, _ = drawn(n, rng)
    x = sparse.hstack([x, x[rng.permutation(n)]], format="csr")  # more genes than the fewer cells
    s, order = rng.normal(size=n), rng.permutation(n)
    (sample, found), (reordered, other) = sampled(x, s), sampled(x[order], s[order])
    expected = found.smooth(x @ sample.directions, s)[order]
    assert other.smooth(x[order] @ reordered.directions, s[order]) == pytest.approx(expected, abs=1e-4)


def test_one_gene_is_a_component(rng: np.random.Generator) -> None:
    x = sparse.csr_matrix(np.repeat([[1], [3]], 100, axis=0), dtype=np.float32)
    _, found = sampled(x, np.repeat([0.0, 1.0], 100))
    assert found.unlike == pytest.approx(np.repeat([0, 1], 100))


def test_a_shift_of_all_cells_changes_nothing(rng: np.random.Generator) -> None:
    x, _ = drawn(300, rng)
    s, shift = rng.normal(size=300), rng.normal(size=N_GENES).astype(np.float32)
    sample, found = sampled(x, s)
    expected = found.smooth(x @ sample.directions, s)
    shifted = like_cells(sample.moved(shift), s).smooth((x.toarray() - shift) @ sample.directions, s)
    assert np.mean(np.abs(shifted - expected) < 1e-3) > 0.99  # but for ties


def test_few_cells_stand_alone_and_of_many_some_are_taken(rng: np.random.Generator) -> None:
    x, _ = drawn(FEWEST_CELLS - 1, rng)
    assert components_of(x) is None
    many, group = drawn(2 * MOST_CELLS + 1, rng)
    sample, found = sampled(many, group.astype(float))
    assert len(found.place) <= MOST_CELLS
    assert np.corrcoef(found.smooth(many @ sample.directions, np.zeros(len(group))), group)[0, 1] > 0.9


def test_the_nearest_cell_of_a_large_sample_is_found(rng: np.random.Generator) -> None:
    centres = rng.normal(size=(12, 50)) * np.linspace(8, 0.5, 50)
    sample, others = (centres[rng.integers(0, 12, n)] + rng.normal(size=(n, 50)) for n in (4000, 500))
    found = LikeCells(sample.astype(np.float32), np.arange(4000, dtype=np.float32))

    def nearest(place: np.ndarray) -> np.ndarray:
        return np.rint(found.smooth(place.astype(np.float32), np.zeros(len(place))) / SHARE).astype(int)

    assert (nearest(sample) == np.arange(4000)).all()
    expected = ((others[:, None] - sample[None]) ** 2).sum(axis=-1).argmin(axis=1)
    assert (nearest(others) == expected).mean() > 0.95
    place = others.astype(np.float32)
    assert found.smooth(place, np.zeros(500))[100:200] == pytest.approx(found.smooth(place[100:200], np.zeros(100)))


def test_empty_cells_and_few_genes() -> None:
    x = sparse.csr_matrix((200, 3), dtype=np.float32)
    sample, found = sampled(x, np.ones(200))
    assert found.smooth(x @ sample.directions, np.ones(200)) == pytest.approx(np.ones(200))
