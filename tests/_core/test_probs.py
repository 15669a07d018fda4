from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, softmax

from ginseng._core.probs import Probability

RNG = np.random.default_rng(0)
LOGITS = (RNG.normal(size=(50, 6)) * 4).astype(np.float32)
ALLOWED = np.array([True, False, True, True, False, True])


def test_softmax_is_scipys_to_the_bit() -> None:
    np.testing.assert_array_equal(Probability().probs(LOGITS), softmax(LOGITS, axis=1))
    limited = softmax(np.where(ALLOWED, LOGITS, -np.inf), axis=1)
    np.testing.assert_array_equal(Probability().probs(LOGITS, ALLOWED), limited)


def test_one_vs_rest() -> None:
    kind = Probability("one_vs_rest")
    np.testing.assert_allclose(kind.probs(LOGITS), expit(LOGITS.astype(float)), atol=1e-7)
    high = np.array([[900.0, 800.0, -900.0]])
    probs = kind.probs(high)
    assert probs.tolist() == [[1.0, 1.0, 0.0]]
    assert kind.labels(high, probs).tolist() == [0]
    only = np.array([False, True, True])
    assert kind.labels(high, kind.probs(high, only), only).tolist() == [1]
    assert kind.probs(high, only).tolist() == [[0.0, 1.0, 0.0]]


@pytest.mark.parametrize("allowed", [None, ALLOWED])
def test_cascade_labels_step_by_step(allowed: np.ndarray | None) -> None:
    kind = Probability("cascade", (1, 3, 2))
    logits = LOGITS / 8
    probs = kind.probs(logits, allowed)
    groups = [[0], [1, 2, 3], [4, 5]]
    expected = []
    for row in probs:
        best = max(groups, key=lambda group: row[group].sum())
        expected.append(max(best, key=lambda c: row[c]))
    labels = kind.labels(logits, probs, allowed)
    assert labels.tolist() == expected
    assert (labels != probs.argmax(axis=1)).any()
    if allowed is not None:
        assert allowed[labels].all()
