"""Members of an ensemble that count more than others."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from scipy.special import logsumexp, softmax

from ginseng._core import registry
from ginseng._core.members import reads_on_one_scale, together, weighted

NETWORK = registry.get("gated", {"hidden_dim": 6, "gate_dim": 2, "n_members": 3, "dropout_rate": 0.5})
PARAMS = NETWORK.init_members(jax.random.key(0), 20, 5)
X = np.random.default_rng(0).random(20).astype(np.float32)


def of_member(i: int) -> np.ndarray:
    return softmax(np.asarray(NETWORK.logits(jax.tree.map(lambda a: a[i], PARAMS), X), float))


@pytest.mark.parametrize("weights", [[1, 1, 1], [1, 1, 4], [0, 0, 2], [0.5, 2, 1]])
def test_probabilities_are_the_weighted_mean(weights: list[float]) -> None:
    expected = np.log(np.average([of_member(i) for i in range(3)], axis=0, weights=weights))
    found = together(NETWORK).logits(weighted(NETWORK, PARAMS, np.array(weights)), X)
    assert np.asarray(found) == pytest.approx(expected, abs=1e-5)
    logits, direction = together(NETWORK).see(weighted(NETWORK, PARAMS, np.array(weights)), X)
    assert np.asarray(logits) == pytest.approx(expected, abs=1e-5)
    assert np.asarray(direction).shape == (6,)  # of the last member, whatever it counts
    assert logsumexp(np.asarray(logits)) == pytest.approx(0, abs=1e-5)


def test_dropout_is_drawn_as_without_weights() -> None:
    key = jax.random.key(1)
    same = together(NETWORK).logits(weighted(NETWORK, PARAMS, np.ones(3)), X, key=key)
    assert np.asarray(same) == pytest.approx(np.asarray(together(NETWORK).logits(PARAMS, X, key=key)), abs=1e-5)


def test_members_that_centre_are_told_from_the_others() -> None:
    mean = np.zeros((3, 20), np.float32)
    assert reads_on_one_scale({"input": {"mean": mean}}).tolist() == [True] * 3
    mean[:2, 4] = 0.5
    assert reads_on_one_scale({"input": {"mean": mean}}).tolist() == [False, False, True]
