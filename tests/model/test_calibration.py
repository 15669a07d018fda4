"""What a model knows of its errors, from numbers whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, log_softmax, softmax
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import roc_auc_score

from ginseng.model import calibration


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def drawn(rng: np.random.Generator, n: int, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """Return logits that are too large by a factor, and labels drawn from the true probabilities."""
    logits = 2 * rng.normal(size=(n, 4))
    labels = np.array([rng.choice(4, p=p) for p in softmax(logits, axis=1)])
    return logits * temperature, labels


def found(rng: np.random.Generator, n: int = 500, n_classes: int = 4) -> dict[str, np.ndarray]:
    label = rng.integers(0, n_classes, n)
    predicted = np.where(rng.random(n) < 0.9, label, rng.integers(0, n_classes, n))
    confidence, s = rng.random(n), rng.normal(size=n)
    return {
        "temperature": np.array(2.0),
        "cells": np.stack([label, predicted, confidence, confidence, s, s], axis=1),
        "prototypes": np.eye(3),
        "depth": np.array([[0.0, 0.5, 1.0], [0.0, 0.0, 0.2]]),
        "range": np.array([1.0, 4.0]),
        "offset": np.arange(8.0).reshape(2, 4) / 10,
        "scale": np.full((2, 4), 2.0),
        "overlap": np.array([[0.1, 0.5, 0.2, 0.5], [0.6, 0.8, 0.1, 1.0], [1.0, 0.9, 0.02, 2.0]]),
        "recall": np.ones((3, 4)),
    }


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_temperature_is_recovered(rng: np.random.Generator, temperature: float) -> None:
    logits, y = drawn(rng, 20_000, temperature)
    fitted = calibration.fit_temperature(logits, y, np.ones(len(y)))
    assert fitted == pytest.approx(temperature, rel=0.03)
    grid = np.geomspace(0.3, 4, 400)
    losses = [-log_softmax(logits / t, axis=1)[np.arange(len(y)), y].sum() for t in grid]
    assert fitted == pytest.approx(grid[int(np.argmin(losses))], rel=0.02)


def test_few_cells_hardly_change_the_temperature(rng: np.random.Generator) -> None:
    logits, y = drawn(rng, 3, 3.0)
    assert 0.6 < calibration.fit_temperature(logits, y, np.ones(3)) < 1.6
    assert calibration.fit_temperature(logits[:0], y[:0], np.ones(0)) == 1


def test_calibration_error_of_known_probabilities(rng: np.random.Generator) -> None:
    confidence = rng.uniform(0.5, 1, 200_000)
    right = rng.random(len(confidence)) < confidence
    assert calibration.calibration_error(confidence, right) < 0.005
    assert calibration.calibration_error(confidence, rng.random(len(confidence)) < confidence - 0.2) == pytest.approx(
        0.2, abs=0.01
    )
    # another estimate, from a monotone curve instead of bins
    squared = confidence**2
    curve = IsotonicRegression().fit_transform(squared, right)
    assert calibration.calibration_error(squared, right) == pytest.approx(np.abs(curve - squared).mean(), abs=0.01)


def test_scores_are_standardised_for_depth_and_class(rng: np.random.Generator) -> None:
    n = 6000
    depth, label = rng.uniform(2, 7, n), rng.integers(0, 3, n)
    noise = rng.normal(size=(n, 2)) * np.array([0.4, 0.6, 0.9])[label, None]
    scores = np.stack([-0.3 * depth + 0.02 * depth**2, 5 - depth], axis=1) + label[:, None] + noise
    fitted = calibration.fit_scores(scores, depth, label, 4)
    s = calibration.unlike(fitted, scores, depth, label)
    for c in range(3):
        own = s[label == c]
        assert abs(own.mean()) < 0.05
        assert own.std() == pytest.approx(np.hypot(1, calibration.OF_EXPRESSION), rel=0.05)
        assert abs(np.corrcoef(own, depth[label == c])[0, 1]) < 0.05
    # a class without cells is taken as all are
    assert fitted["offset"][:, 3] == pytest.approx(0)
    beyond = calibration.unlike(fitted, scores[:1], np.array([99.0]), label[:1])
    assert beyond == pytest.approx(calibration.unlike(fitted, scores[:1], fitted["range"][1:], label[:1]))


def test_scores_are_cosine_distances(rng: np.random.Generator) -> None:
    direction = rng.normal(size=(5, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    likeness = rng.random((5, 4))
    scores = calibration.scores(direction, np.eye(3), likeness, np.array([0, 1, 2, 3, 0]))
    assert scores[:, 0] == pytest.approx(np.log(1 - direction.max(axis=1) + calibration.NEAREST))
    assert scores[:, 1] == pytest.approx(1 - likeness[np.arange(5), [0, 1, 2, 3, 0]])


def test_novelty_is_a_half_where_few_right_labels_are_above(rng: np.random.Generator) -> None:
    values = found(rng, 2000)
    cells = calibration.records(values)
    right = cells["label"] == cells["predicted"]
    novelty = calibration.novelty(values, cells["unlike"])
    assert (novelty[right] > 0.5).mean() == pytest.approx(calibration.GIVEN_UP, abs=0.002)
    assert roc_auc_score(right, -novelty) == pytest.approx(roc_auc_score(right, -cells["unlike"]))
    assert novelty == pytest.approx(expit(cells["unlike"] - np.quantile(cells["unlike"][right], 0.95)), abs=1e-6)


@pytest.mark.parametrize("share", [0.01, 0.05, 0.2])
def test_thresholds_give_up_the_share(rng: np.random.Generator, share: float) -> None:
    values = found(rng, 4000)
    cells = calibration.records(values)
    right = cells["label"] == cells["predicted"]
    at = calibration.thresholds(values, share)
    novelty = calibration.novelty(values, cells["unlike"])
    given_up = (cells["confidence"] < at.min_confidence) | (novelty > at.max_novelty)
    assert given_up[right].mean() == pytest.approx(share, abs=0.003)
    assert (cells["confidence"][right] < at.min_confidence).mean() == pytest.approx(share / 2, abs=0.01)


def test_temperature_follows_the_genes_and_the_cell(rng: np.random.Generator) -> None:
    values = found(rng)
    s = np.array([-3.0, 0.0, 2.0, 100.0])
    softened = np.array([1, 1, 1.2, 1 + 0.1 * calibration.MOST_UNLIKE])
    assert calibration.temperatures(values, s) == pytest.approx(2 * softened)
    assert calibration.temperatures(values, s, 0.6) == pytest.approx(softened)
    assert calibration.temperatures(values, s, 0.8) == pytest.approx(1.5 * softened)
    assert calibration.expected_at(values, 0.35) == pytest.approx({"accuracy": 0.65, "ece": 0.15})
    assert calibration.temperatures(values | {"overlap": np.zeros((0, 4))}, s) == pytest.approx(2 * softened)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("temperature", np.array(0.0), "temperature"),
        ("scale", np.zeros((2, 4)), "scale"),
        ("overlap", np.array([[0.1, 0.5, 0.2, -1.0]] * 3), "overlap"),
        ("recall", np.ones((2, 4)), "recall"),
        ("cells", np.array([[0, 4, 1, 1, 0.0]]), "cells"),
        ("cells", np.array([[0.5, 1, 1, 1, 0.0]]), "cells"),
    ],
)
def test_impossible_values_are_refused(rng: np.random.Generator, name: str, value: np.ndarray, words: str) -> None:
    values = found(rng)
    calibration.check(values, 4)
    with pytest.raises(ValueError, match=words):
        calibration.check(values | {name: value}, 4)
