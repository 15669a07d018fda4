from __future__ import annotations

import jax
import numpy as np
import pytest
from scipy.special import log_softmax

from ginseng._core import registry
from ginseng._core.cascade import Cascade

CASCADE = Cascade(hidden_dim=4, widths=(6,), groups=(1, 3, 2), dropout_rate=0.3)
X = np.random.default_rng(0).normal(size=8).astype(np.float32)


@pytest.fixture(scope="module")
def params() -> dict:
    params = CASCADE.init(jax.random.key(0), 8, 6)
    return jax.tree.map(lambda a: a + 0.3 * jax.random.normal(jax.random.key(1), a.shape), params)


def network(layers: dict, x: np.ndarray) -> np.ndarray:
    for name in ("layer1", "layer2"):
        x = np.maximum(x @ np.asarray(layers[name]["W"]) + np.asarray(layers[name]["b"]), 0)
    return log_softmax(x @ np.asarray(layers["layer3"]["W"]) + np.asarray(layers["layer3"]["b"]))


def test_probabilities_multiply(params: dict) -> None:
    """In NumPy: log p(class) = log p(group) + log p(class given group) + offset."""
    assert sorted(params) == ["coarse", "group1", "group2", "offset"]  # a group of one needs no network
    coarse = network(params["coarse"], X)
    fine = np.concatenate([[0.0], network(params["group1"], X), network(params["group2"], X)])
    expected = coarse[[0, 1, 1, 1, 2, 2]] + fine + np.asarray(params["offset"]["b"])
    np.testing.assert_allclose(CASCADE.logits(params, X), expected, atol=1e-5)


def test_an_offset_is_added(params: dict) -> None:
    offset = np.arange(6.0)
    moved = CASCADE.with_offset(params, offset)
    np.testing.assert_allclose(CASCADE.logits(moved, X), CASCADE.logits(params, X) + offset, atol=1e-5)


def test_dropout_acts_on_each_network(params: dict) -> None:
    drawn = np.stack([CASCADE.logits(params, X, key=jax.random.key(i)) for i in range(20)])
    assert (drawn.std(axis=0) > 0).all()


def test_settings_come_back_from_json() -> None:
    again = registry.get("cascade", {"hidden_dim": 4, "dropout_rate": 0.3, "widths": [6], "groups": [1, 3, 2]})
    assert again == CASCADE
    assert hash(again) == hash(CASCADE)


@pytest.mark.parametrize("groups", [[0, 6], [-1, 7], ["a"], [1.0, 5.0], 6, [True, 5], [1, 70_000]])
def test_bad_groups(groups: object) -> None:
    with pytest.raises(ValueError, match="groups"):
        registry.get("cascade", {"groups": groups})


def test_groups_of_another_number_of_classes() -> None:
    with pytest.raises(ValueError, match="7 classes"):
        registry.shapes(Cascade(groups=(3, 4)), 10, 6)
