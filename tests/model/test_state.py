import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import jax
import numpy as np
import pytest

from ginseng._core import registry
from ginseng.model import GinsengClassifierState, save_model
from ginseng.model._hdf5 import model_of

type Make = Callable[..., GinsengClassifierState]
CHANGES: list[dict[str, Any]] = [
    {},
    {"target_sum": None},
    {"target_sum": 1.5, "normalize": False},
    {"training": True},
    {"library_size": "model_genes"},
    {"history": {}, "info": {}},
]


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_dict_round_trip(random_state: Make, assert_equal: Callable[..., None], changes: dict[str, Any]) -> None:
    state = dataclasses.replace(random_state(), **changes)
    assert_equal(GinsengClassifierState.from_dict(state.to_dict()), state)


@pytest.mark.parametrize("architecture", registry.names())
@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
@pytest.mark.parametrize("changes", [{}, {"history": {}, "info": {}, "target_sum": None}], ids=str)
def test_round_trip_through_uns(
    random_state: Make,
    assert_equal: Callable[..., None],
    tmp_path: Path,
    architecture: str,
    suffix: str,
    changes: dict[str, Any],
) -> None:
    state = dataclasses.replace(random_state(architecture), **changes)
    adata = ad.AnnData(np.ones((2, 3), np.float32), uns={"ginseng": {"model": state.to_dict()}})
    path = tmp_path / f"cells.{suffix}"
    if suffix == "h5ad":
        adata.write_h5ad(path)
        found = ad.read_h5ad(path)
    else:
        adata.write_zarr(path)
        found = ad.read_zarr(path)
    assert_equal(model_of(found), state)


def test_fields_are_the_documented_ones() -> None:
    fields = [f.name for f in dataclasses.fields(GinsengClassifierState)]
    assert fields[:11] == [
        "params", "genes", "label_keys", "label_values", "n_genes", "n_classes", "hidden_dim", "normalize",
        "target_sum", "dropout_rate", "training",
    ]  # fmt: skip


@pytest.mark.parametrize("architecture", registry.names())
def test_architecture_is_read_off_the_parameters(random_state: Make, architecture: str) -> None:
    state = random_state(architecture)
    assert dataclasses.replace(state, architecture=None).architecture == architecture
    assert dataclasses.replace(state, params=jax.device_put(state.params)).params["head"]["W"].dtype == np.float32


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_genes": 13}, "12 genes, where 13 are expected"),
        ({"n_classes": 2}, "3 label_keys, where 2 are expected"),
        ({"label_values": np.arange(4)}, "4 label_values, where 3 are expected"),
        ({"target_sum": -1.0}, "`target_sum` must be None or above 0"),
        ({"target_sum": np.inf}, "`target_sum` must be None or above 0"),
        ({"library_size": "all"}, "`library_size` must be 'all_genes' or 'model_genes', not 'all'"),
        ({"architecture": None, "params": {"W": np.ones(3)}}, "No architecture has parameters"),
    ],
)
def test_contradictions_are_refused(random_state: Make, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(random_state(), **changes)


def test_what_is_not_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no model. Run `gs.tl.train\(adata, label_key\)` first"):
        save_model(ad.AnnData(np.ones((2, 3), np.float32)), tmp_path / "a.h5")
    with pytest.raises(TypeError, match="not dict"):
        save_model({}, tmp_path / "a.h5")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_repr_is_short(random_state: Make) -> None:
    text = repr(random_state())
    assert text.startswith("GinsengClassifierState('gated': 12 genes, 3 classes: T/NK, γδ T cell")
    assert "array" not in text
