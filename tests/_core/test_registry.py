import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ginseng._core import registry

N_GENES, N_CLASSES = 10, 3


def test_default_comes_first_and_names_are_those_of_the_classes() -> None:
    assert registry.names()[0] == "gated"
    assert {"gated", "instance", "linear"} <= set(registry.names())
    assert all(registry.get(name).name == name for name in registry.names())


def test_unknown_architecture_lists_what_there_is() -> None:
    with pytest.raises(ValueError, match=r"'gatd'.*'gated'.*'instance'"):
        registry.get("gatd")


@pytest.mark.parametrize("name", registry.names())
def test_unknown_setting_lists_what_there_is(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}.* depth.*hidden_dim"):
        registry.get(name, {"depth": 3})


BAD_RATES = [-0.1, 1.0, 1.5, math.nan, math.inf, "0.5", None]
BAD_SIZES = [0, -1, 65_537, 10**9, 2.5, math.nan, "64", None]


@pytest.mark.parametrize("name", registry.names())
@pytest.mark.parametrize(
    ("setting", "value"),
    [("dropout_rate", v) for v in BAD_RATES] + [("hidden_dim", v) for v in BAD_SIZES],
)
def test_out_of_range_values_are_refused(name: str, setting: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"`{setting}`.*'{name}'"):
        registry.get(name, {setting: value})


@pytest.mark.parametrize("value", [0, 65, 10**9, 1.5])
def test_number_of_layers_is_bounded(value: Any) -> None:
    with pytest.raises(ValueError, match=r"`n_layers`.*'gated'.*64"):
        registry.get("gated", {"n_layers": value})


@pytest.mark.parametrize("name", registry.names())
def test_architectures_are_hashable_and_rebuilt_from_their_fields(name: str) -> None:
    network = registry.get(name, {"hidden_dim": 5, "dropout_rate": 0.25})
    again = registry.get(name, dataclasses.asdict(network))
    assert again == network
    assert hash(again) == hash(network)
    assert network != registry.get(name, {"hidden_dim": 5, "dropout_rate": 0.5})


@pytest.mark.parametrize("name", registry.names())
def test_shapes_are_those_of_the_parameters(name: str) -> None:
    network = registry.get(name, {"hidden_dim": 5})
    params = network.init_members(jax.random.key(0), N_GENES, N_CLASSES)
    shapes = registry.shapes(network, N_GENES, N_CLASSES)
    assert jax.tree.map(lambda a: (a.shape, a.dtype), params) == jax.tree.map(lambda a: (a.shape, a.dtype), shapes)
    assert {a.dtype for a in jax.tree.leaves(params)} == {np.dtype(np.float32)}


@pytest.mark.parametrize("name", registry.names())
def test_weights_without_a_name_are_recognized_by_their_shapes(name: str) -> None:
    network = registry.get(name, {"hidden_dim": 5})
    params = network.init_members(jax.random.key(0), N_GENES, N_CLASSES)
    assert registry.recognize(params, N_GENES, N_CLASSES, {"hidden_dim": 5}) == network
    for wrong in ((N_GENES + 1, N_CLASSES), (N_GENES, N_CLASSES + 1)):
        with pytest.raises(ValueError, match=f"{wrong[0]} genes and {wrong[1]} classes"):
            registry.recognize(params, *wrong, {"hidden_dim": 5})


def test_foreign_weights_are_not_recognized() -> None:
    with pytest.raises(ValueError, match="`architecture` and `config`"):
        registry.recognize({"w": jnp.ones(3)}, N_GENES, N_CLASSES, {})


def test_gated_grows_as_genes_times_width() -> None:
    def size(n_genes: int) -> int:
        return sum(math.prod(a.shape) for a in jax.tree.leaves(registry.shapes(registry.get("gated"), n_genes, 5)))

    assert size(20_000) < 10.5 * size(2_000)
