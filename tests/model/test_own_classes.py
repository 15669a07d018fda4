"""Classes as they lie in a query, on places whose classes are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from ginseng.model.own_classes import LEAST_CELLS, SHRINKAGE, TEMPERATURE, _fit, own_classes


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def drawn(n: int, rng: np.random.Generator, n_classes: int = 3, width: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Return places of cells, of which those of a class lie together, and the class of each."""
    label = rng.integers(0, n_classes, n)
    return rng.normal(size=(n_classes, width))[label] * 3 + rng.normal(size=(n, width)), label


def sure_of(label: np.ndarray, p: float, n_classes: int = 3) -> np.ndarray:
    """Return probabilities of cells that get these labels."""
    return np.where(np.arange(n_classes) == label[:, None], p, (1 - p) / (n_classes - 1)).astype(np.float32)


def test_cells_among_others_of_a_class_are_of_that_class(rng: np.random.Generator) -> None:
    place, label = drawn(600, rng)
    wrong = rng.random(600) < 0.3
    probs = sure_of(np.where(wrong, (label + 1) % 3, label), 0.4)
    found = own_classes(place, probs, 0.5)
    assert found is not None
    mixed = found.mix(probs, place)
    assert (probs.argmax(axis=1) == label).mean() < 0.75
    assert (mixed.argmax(axis=1) == label).mean() > 0.99
    assert mixed.dtype == np.float32
    np.testing.assert_allclose(mixed.sum(axis=1), 1, rtol=1e-5)
    # none that count, or that say the same, change nothing
    np.testing.assert_allclose(own_classes(place, probs, 0.0).mix(probs, place), probs, atol=1e-6)  # type: ignore[union-attr]


def test_the_classes_are_those_of_linear_discriminant_analysis(rng: np.random.Generator) -> None:
    """Of certain labels, against scikit-learn without shrinkage, and against the densities with it."""
    place, label = drawn(500, rng)
    probs = sure_of(label, 1.0)
    found = _fit(place, probs, 1.0)
    assert found is not None
    lda = LinearDiscriminantAnalysis(solver="lsqr", store_covariance=True).fit(place, label)
    cov = lda.covariance_
    cov = (1 - SHRINKAGE) * cov + SHRINKAGE * np.trace(cov) / len(cov) * np.eye(len(cov))
    log_p = np.stack(
        [np.log(p) + multivariate_normal.logpdf(place, m, cov) for m, p in zip(lda.means_, lda.priors_, strict=True)],
        axis=1,
    )
    expected = np.exp((log_p - log_p.max(axis=1, keepdims=True)) / TEMPERATURE)
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found.mix(probs.astype(float), place), expected, atol=1e-6)


def test_a_cell_counts_by_its_probability(rng: np.random.Generator) -> None:
    place, label = drawn(100, rng)
    once = _fit(place, sure_of(label, 1.0), 0.5)
    twice = _fit(np.repeat(place, 2, axis=0), np.repeat(sure_of(label, 0.5), 2, axis=0), 0.5)
    assert once is not None
    assert twice is not None
    np.testing.assert_allclose(twice.coefficients, once.coefficients)
    np.testing.assert_allclose(twice.intercepts, once.intercepts)


def test_rare_classes_keep_their_probability(rng: np.random.Generator) -> None:
    place, label = drawn(200, rng)
    label[:] = label % 2
    label[: LEAST_CELLS - 1] = 2
    probs = sure_of(label, 0.8)
    found = own_classes(place, probs, 0.5)
    assert found is not None
    assert found.known.tolist() == [True, True, False]
    np.testing.assert_array_equal(found.mix(probs, place)[:, 2], probs[:, 2])


def test_nothing_to_tell_apart(rng: np.random.Generator) -> None:
    place, label = drawn(200, rng)
    assert own_classes(place, sure_of(np.zeros_like(label), 0.9), 0.5) is None  # one class
    assert own_classes(place[:3], sure_of(label[:3], 0.9), 0.5) is None
    assert own_classes(np.zeros((0, 6)), np.zeros((0, 3)), 0.5) is None
    assert own_classes(np.zeros_like(place), sure_of(label, 0.9), 0.5) is None  # all alike


@pytest.mark.parametrize("n_classes", [2, 3, 5, 8])
def test_repeats_of_one_cell_a_class(rng: np.random.Generator, n_classes: int) -> None:
    """As of repeated pseudobulks: no spread about the means is left but rounding."""
    label = np.arange(200) % n_classes
    for _ in range(5):
        place = 20 * rng.normal(size=(n_classes, 50))[label]
        probs = rng.uniform(0.5, 1, (n_classes, 1))[label] * sure_of(label, 0.9, n_classes)
        assert own_classes(place, probs, 0.5) is None
        assert own_classes(place + rng.normal(size=place.shape), probs, 0.5) is not None


def test_cells_that_do_not_count(rng: np.random.Generator) -> None:
    place, label = drawn(200, rng)
    probs, novelty = sure_of(label, 0.9), np.where(label == 2, 0.99, 0.3)
    found, without = own_classes(place, probs, 0.5, novelty), own_classes(place[label != 2], probs[label != 2], 0.5)
    assert found is not None
    assert without is not None
    assert found.known.tolist() == [True, True, False]
    np.testing.assert_allclose(found.coefficients, without.coefficients)
    mixed = found.mix(probs, place, novelty)
    np.testing.assert_array_equal(mixed[label == 2], probs[label == 2])
    assert (mixed[label != 2] != probs[label != 2]).any(axis=1).all()
