import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from sklearn.metrics import log_loss

from ginseng._core.losses import cross_entropy

rng = np.random.default_rng(0)
LOGITS = rng.normal(0, 3, (50, 4)).astype(np.float32)
Y = rng.integers(0, 4, 50)
WEIGHT = rng.uniform(0, 2, 50).astype(np.float32)


def test_equals_scikit_learn() -> None:
    expected = log_loss(Y, softmax(LOGITS.astype(float), axis=1), labels=range(4))
    assert float(cross_entropy(LOGITS, Y)) == pytest.approx(expected, rel=1e-5)


def test_weights() -> None:
    expected = log_loss(Y, softmax(LOGITS.astype(float), axis=1), labels=range(4), sample_weight=WEIGHT)
    assert float(cross_entropy(LOGITS, Y, WEIGHT)) == pytest.approx(expected, rel=1e-5)


def test_cells_of_weight_zero_are_padding() -> None:
    weight = np.ones(50, np.float32)
    weight[30:] = 0
    assert float(cross_entropy(LOGITS, Y, weight)) == pytest.approx(float(cross_entropy(LOGITS[:30], Y[:30])), rel=1e-6)
    assert float(cross_entropy(LOGITS, Y, np.zeros(50, np.float32))) == 0.0


def test_label_smoothing() -> None:
    target = np.full((50, 4), 0.2 / 4)
    target[np.arange(50), Y] += 0.8
    expected = -(target * log_softmax(LOGITS.astype(float), axis=1)).sum(axis=1).mean()
    assert float(cross_entropy(LOGITS, Y, label_smoothing=0.2)) == pytest.approx(expected, rel=1e-5)


def test_extreme_logits_are_finite() -> None:
    assert float(cross_entropy(np.array([[1e4, -1e4]], np.float32), np.array([1]))) == pytest.approx(2e4)
