"""Centre, scale and weight of each gene."""

from __future__ import annotations

import numpy as np
import pytest

from ginseng._core.steps import Normalization
from ginseng.data._memory import MemoryDataset
from ginseng.train import GinsengClassifierTrainer, GinsengClassifierTrainerSettings, standardize
from ginseng.train.standardize import LEAST_WEIGHT, read_moments, weights_between


def sums_of(x: np.ndarray, y: np.ndarray, n_classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    sums = np.stack([x[y == i].sum(axis=0) for i in range(n_classes)])
    return np.bincount(y, minlength=n_classes).astype(float), sums, (x**2).sum(axis=0)


def drawn(sizes: list[int], between: float, *, genes: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Cells whose genes vary by 1 within types and by `between` among them."""
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(len(sizes)), sizes)
    return rng.normal(size=(len(y), genes)) + between**0.5 * rng.normal(size=(len(sizes), genes))[y], y


@pytest.mark.parametrize("between", [0.0, 0.1, 1.0, 10.0])
@pytest.mark.parametrize("sizes", [[60] * 30, [400] + [8] * 29])
def test_share_is_that_which_genes_were_drawn_with(between: float, sizes: list[int]) -> None:
    """Also where one type has most cells, and the others few: beside genes of equal shares it is the known share."""
    x, y = drawn(sizes, between)
    known, _ = drawn(sizes, 1.0, seed=1)
    weights = weights_between(*sums_of(np.hstack([x, known]), y, len(sizes)))
    shares = weights**2
    pi = np.sqrt(sizes) / np.sqrt(sizes).sum()
    b, known_b = between * (1 - pi @ pi), 1 - pi @ pi
    assert np.mean(shares[:400]) / np.mean(shares[400:]) == pytest.approx(
        b / (b + 1) / known_b * (known_b + 1), abs=0.08
    )
    assert np.mean(shares) == pytest.approx(1)


def test_types_count_by_the_root_of_their_cells() -> None:
    """A gene of a type of 100 cells, of 900, and of 10,000, each as different from the rest and as variable."""
    rng = np.random.default_rng(0)
    sizes = np.array([100, 900, 10_000])
    y = np.repeat(np.arange(3), sizes)
    x = rng.normal(size=(len(y), 3)) + 3 * np.eye(3)[y]
    share = np.sqrt(sizes) / np.sqrt(sizes).sum()
    between = 9 * share * (1 - share)
    weights = weights_between(*sums_of(x, y, 3))
    root = np.sqrt(between / (between + 1))
    np.testing.assert_allclose(weights, root / np.sqrt((root**2).mean()), rtol=0.02)


def test_without_anything_to_weigh_by() -> None:
    x, y = drawn([10, 10], 1.0)
    ones = np.ones(x.shape[1])
    np.testing.assert_array_equal(weights_between(*sums_of(x, 0 * y, 2)), ones)  # one type
    np.testing.assert_array_equal(weights_between(*sums_of(x[[0, 19]], y[[0, 19]], 2)), ones)  # nothing within types
    np.testing.assert_array_equal(weights_between(*sums_of(np.ones_like(x), y, 2)), ones)  # no gene differs


def test_of_single_genes() -> None:
    x, y = drawn([3, 6, 11], 1.0)
    x[:, 0] = y  # the same within types
    constant = slice(1, 9)
    x[:, constant] = [0.1, 0.2, 0.3, 0.7, 1 / 3, np.pi, np.log(7), np.log(11)]  # but for rounding
    weights = weights_between(*sums_of(x, y, 3))
    assert weights.argmax() == 0
    np.testing.assert_allclose(weights[constant], LEAST_WEIGHT * weights[0])


def test_is_what_training_starts_from(dataset: MemoryDataset) -> None:
    """Against NumPy, on the cells that are not held out: for members of both kinds."""
    settings = GinsengClassifierTrainerSettings(config={"hidden_dim": 4, "gate_dim": 2}, epochs=1, scale_floor=0.1)
    fits = []
    for weigh in (True, False):
        settings.weigh_genes = weigh
        trainer = GinsengClassifierTrainer(dataset, settings)
        fits.append(trainer.fit(silent=True)[1].params["input"])
    x, y, _ = normalised(dataset, trainer.keep)
    weights = weights_between(*sums_of(x, y, trainer.n_classes))
    for fit, by in zip(fits, (weights, 1.0), strict=True):
        for member in (0, 1, 2):
            np.testing.assert_allclose(fit["mean"][member], x.mean(axis=0), rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(fit["scale"][member], np.maximum(x.std(axis=0), 0.1) / by, rtol=1e-3)
        np.testing.assert_array_equal(fit["mean"][3], 0)
        np.testing.assert_allclose(fit["scale"][3], np.broadcast_to(3 / by, x.shape[1]), rtol=1e-3)


def normalised(dataset: MemoryDataset, keep: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return log-normalised expression, labels and the share of each gene in each cell."""
    counts = np.asarray(dataset.source.counts[keep].todense(), float)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return np.log1p(1e4 * shares), dataset.labels[keep], shares


@pytest.mark.parametrize(("n_members", "asked", "n"), [(4, None, 1), (8, None, 2), (1, None, 0), (4, 0, 0), (4, 9, 3)])
def test_so_many_members_read_all_genes_on_one_scale(
    dataset: MemoryDataset, n_members: int, asked: int | None, n: int
) -> None:
    settings = GinsengClassifierTrainerSettings(
        config={"hidden_dim": 4, "gate_dim": 2, "n_members": n_members}, n_uncentered=asked, epochs=1
    )
    mean = np.atleast_2d(GinsengClassifierTrainer(dataset, settings).fit(silent=True)[1].params["input"]["mean"])
    assert (~mean.any(axis=1)).sum() == n
    assert mean[0].any()  # the first is what cells are compared with


@pytest.mark.parametrize("architecture", ["gated", "linear", "transformer"])
def test_model_keeps_what_its_reference_is_like(dataset: MemoryDataset, architecture: str) -> None:
    settings = GinsengClassifierTrainerSettings(architecture=architecture, epochs=1)
    trainer = GinsengClassifierTrainer(dataset, settings)
    found = trainer.fit(silent=True)[1].reference
    x, y, shares = normalised(dataset, trainer.keep)
    np.testing.assert_allclose(found["mean"], x.mean(axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["share"], shares.mean(axis=0) / shares.mean(axis=0).sum(), rtol=1e-4)
    np.testing.assert_array_equal(found["cells"], np.bincount(y, minlength=trainer.n_classes))
    classes = np.stack([x[y == i].mean(axis=0) for i in range(trainer.n_classes)])
    np.testing.assert_allclose(found["classes"], classes, rtol=1e-4, atol=1e-5)


def test_the_network_of_0_2_stays_as_it_was(dataset: MemoryDataset) -> None:
    settings = GinsengClassifierTrainerSettings(architecture="instance", epochs=1)
    assert GinsengClassifierTrainer(dataset, settings).fit(silent=True)[1].reference is None


def test_moments_are_those_of_dense_counts(dataset: MemoryDataset) -> None:
    keep = np.arange(len(dataset.labels)) % 3 > 0
    found = read_moments(
        dataset.source, keep, len(dataset.label_names), Normalization(library_size="all_genes"), seed=0
    )
    counts, y = dataset.source.counts[keep].toarray().astype(float), dataset.labels[keep]
    x = np.log1p(counts * (1e4 / dataset.source.totals[keep])[:, None])
    np.testing.assert_array_equal(found.cells, np.bincount(y, minlength=len(dataset.label_names)))
    for i in range(len(dataset.label_names)):
        np.testing.assert_allclose(found.sums[i], x[y == i].sum(axis=0), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.squares, (x**2).sum(axis=0), rtol=1e-5)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    np.testing.assert_allclose(found.shares, shares.sum(axis=0), rtol=1e-4, atol=1e-5)


def test_looks_at_so_many_cells_and_no_more(dataset: MemoryDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    keep = np.ones(len(dataset.labels), bool)
    monkeypatch.setattr(standardize, "MOST_CELLS", 50)
    some, others = (
        read_moments(dataset.source, keep, len(dataset.label_names), Normalization(), seed=i).cells for i in range(2)
    )
    assert some.sum() == others.sum() == 50
    assert (some != others).any()
