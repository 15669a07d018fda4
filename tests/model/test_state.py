import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import anndata as ad
import jax
import numpy as np
import pytest

import ginseng as gs
from ginseng._core import registry
from ginseng._core.gated import Gated
from ginseng.model import GinsengClassifierState, classifier_from_state, save_model
from ginseng.model.file import model_of

type Make = Callable[..., GinsengClassifierState]
CHANGES: list[dict[str, Any]] = [
    {},
    {"target_sum": None},
    {"target_sum": 1.5, "normalize": False},
    {"library_size": "all_genes"},
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


def test_what_only_0_2_knows_is_taken_and_not_carried(random_state: Make) -> None:
    state = dataclasses.replace(random_state(), label_values=np.array([7, 3, 5]), training=True)
    assert state.label_values.tolist() == [0, 1, 2]
    assert state.training is False
    values = state.to_dict()
    assert values["label_values"].tolist() == [0, 1, 2]  # for readers of 0.3.0
    assert values["training"] is False
    del values["label_values"], values["training"]
    assert GinsengClassifierState.from_dict(values).label_values.tolist() == [0, 1, 2]


@dataclasses.dataclass(frozen=True)
class Variant(Gated):
    """A variant with the parameters of the original."""

    name: ClassVar[str] = "variant"

    def logits(self, params: Any, x: Any, *, key: Any = None) -> Any:
        return 2 * super().logits(params, x, key=key)


@pytest.fixture
def variant(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(registry._registry, "variant", Variant)
    return "variant"


def test_a_variant_of_an_architecture_comes_back_as_itself(
    variant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name is carried, and nothing is read off the shapes."""
    monkeypatch.setattr(registry, "recognize", None)
    adata = gs.datasets.pbmc68k()[:, :40].copy()
    adata.obs["cell_type"] = np.where(adata.obs["cell_type"] == "CD34+", "CD34+", "other")
    config = {"hidden_dim": 4, "gate_dim": 2, "n_layers": 1, "n_members": 1}
    quick: Any = {"config": config, "epochs": 1, "holdout_fraction": 0, "calibrate": False, "silent": True}
    state = {}
    for name in (variant, "gated"):
        gs.tl.train(adata, "cell_type", architecture=name, **quick)
        save_model(adata, tmp_path / "model.h5")
        state[name] = gs.load_model(tmp_path / "model.h5")
        assert (state[name].architecture, state[name].network.name) == (name, name)
        assert GinsengClassifierState.from_dict(adata.uns["ginseng"]["model"]).architecture == name
        assert classifier_from_state(state[name]).architecture == name
        assert dataclasses.replace(state[name]).architecture == name
    x = np.random.default_rng(0).poisson(2, (5, 40))
    original = dataclasses.replace(state[variant], architecture="gated")
    np.testing.assert_allclose(
        classifier_from_state(state[variant]).predict(x), 2 * classifier_from_state(original).predict(x), rtol=1e-5
    )


def test_weights_without_a_name_that_fit_two_architectures(variant: str, random_state: Make) -> None:
    with pytest.raises(ValueError, match=r"'gated', 'variant'.*Pass `architecture`"):
        dataclasses.replace(random_state("gated"), architecture=None)
    model = classifier_from_state(random_state(variant))
    model.params = random_state("gated", seed=1).params  # they fit the network that it has
    assert model.architecture == variant


@pytest.mark.parametrize("name", ["hidden_dim", "dropout_rate"])
def test_settings_by_name_and_in_the_config_agree(random_state: Make, name: str) -> None:
    state = random_state("linear")
    assert state.config[name] == getattr(state, name) == getattr(state.network, name)
    changed = dataclasses.replace(state, **{name: {"hidden_dim": 9, "dropout_rate": 0.5}[name]})
    assert changed.config[name] == getattr(changed, name) == {"hidden_dim": 9, "dropout_rate": 0.5}[name]


@pytest.mark.parametrize("architecture", registry.names())
def test_the_architecture_of_weights_without_a_name(random_state: Make, architecture: str) -> None:
    state = random_state(architecture)
    assert dataclasses.replace(state, architecture=None).architecture == architecture
    again = dataclasses.replace(state, params=jax.device_put(state.params))
    assert {array.dtype for array in jax.tree.leaves(again.params)} == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_genes": 13}, "12 genes.* 13 "),
        ({"n_classes": 2}, "3 label_keys.* 2 "),
        ({"label_values": np.arange(4)}, "4 label_values.* 3 "),
        ({"target_sum": -1.0}, "`target_sum` must be None or above 0"),
        ({"target_sum": np.inf}, "`target_sum` must be None or above 0"),
        ({"library_size": "all"}, "`library_size` must be 'all_genes' or 'model_genes', not 'all'"),
        ({"architecture": None, "params": {"W": np.ones(3)}}, "No architecture has parameters"),
    ],
)
def test_contradictions_are_refused(random_state: Make, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(random_state(), **changes)


def unfit(values: dict[str, Any], layer: str, name: str, value: Any) -> None:
    values["params"] = {k: dict(v) for k, v in values["params"].items()}
    values["params"].setdefault(layer, {})[name] = value


UNFIT: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (lambda v: unfit(v, "head", "b", np.full((4, 3), np.nan, "f4")), "'params/head/b' has values that are NaN"),
    (lambda v: unfit(v, "head", "b", np.full((4, 3), np.inf, "f4")), "'params/head/b' has values that are NaN"),
    (lambda v: unfit(v, "head", "b", np.zeros(3, "f4")), r"'params/head/b' has shape \(3,\), where \(4, 3\)"),
    (lambda v: unfit(v, "input", "scale", np.zeros((4, 12), "f4")), "'params/input/scale' has .* not above 0"),
    (lambda v: unfit(v, "head", "more", np.zeros(3, "f4")), "'params/head' has W, b, more, where W, b are expected"),
    (lambda v: unfit(v, "more", "b", np.zeros(3, "f4")), "'params' has gate1"),
    (lambda v: v.update(label_keys=np.array(["a", "a", "b"])), "'label_keys' are empty or not unique"),
    (lambda v: v.update(label_keys=np.array(["a", "\x1b[31mb", "c"])), "not plain text"),
    (lambda v: v.update(label_keys=np.array(["a", "b"])), "has shape|where 3 names are expected"),
    (lambda v: v.update(genes=np.array(["a", "a"] * 6)), "'genes' are empty or not unique"),
    (lambda v: v.update(genes=np.array(list("abc"))), "has shape|where 12 names are expected"),
]  # fmt: skip


@pytest.mark.parametrize(("spoil", "message"), UNFIT, ids=range(len(UNFIT)))
def test_what_cannot_label_cells_is_refused_wherever_it_is_kept(
    random_state: Make, tmp_path: Path, spoil: Callable[[dict[str, Any]], Any], message: str
) -> None:
    values = random_state(n_members=4).to_dict()
    spoil(values)
    cells = ad.AnnData(np.ones((2, 12), np.float32))
    cells.var_names = random_state().genes
    holder = ad.AnnData(np.ones((2, 3), np.float32), uns={"ginseng": {"model": values}})
    with pytest.raises(ValueError, match=message):
        GinsengClassifierState.from_dict(values)
    with pytest.raises(ValueError, match=r"model in `adata\.uns\['ginseng'\]\['model'\]` cannot be used: .*" + message):
        gs.tl.classify(cells, holder)
    state = random_state(n_members=4)
    for name in ("params", "genes", "label_keys"):
        setattr(state, name, values[name])  # a state can be changed
    for use in (
        lambda: gs.tl.classify(cells, state), lambda: gs.tl.embed(cells, state), lambda: gs.pp.check(cells, state),
        lambda: classifier_from_state(state), lambda: save_model(state, tmp_path / "model.h5"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            use()
    assert "ginseng_cell_type" not in cells.obs
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["config", "genes", "params", "info", "history", "target_sum"])
@pytest.mark.parametrize(
    "value", ["missing", "[" * 9000, "null", np.zeros(3)], ids=["missing", "deep", "null", "array"]
)
def test_a_model_in_uns_that_is_none_is_one_kind_of_error(random_state: Make, name: str, value: Any) -> None:
    values = random_state("linear").to_dict()
    values[name] = value
    if isinstance(value, str) and value == "missing":
        del values[name]
    holder = ad.AnnData(np.ones((2, 3), np.float32))
    holder.uns["ginseng"] = {"model": values}
    with pytest.raises(ValueError, match=r"cannot be used"):
        model_of(holder)


def test_weights_that_overflow_are_an_error(random_state: Make) -> None:
    state = random_state("gated")
    for layer in ("hidden1", "hidden2", "head"):
        state.params[layer]["W"] = np.full_like(state.params[layer]["W"], 3e38)
    cells = ad.AnnData(np.ones((2, 12), np.float32))
    cells.var_names = state.genes
    with pytest.raises(ValueError, match="The model gives values that are NaN or infinite"):
        gs.tl.classify(cells, state)


def test_looking_at_a_state_is_quick(random_state: Make) -> None:
    state = random_state(n_genes=2000, n_members=4, gate_dim=100)  # 6 MB
    state.check()  # the shapes are found once
    start = time.process_time()
    for _ in range(5):
        state.check()
    assert (time.process_time() - start) / 5 < 0.05


def test_what_is_not_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no model. Run `gs.tl.train\(adata, label_key\)` first"):
        save_model(ad.AnnData(np.ones((2, 3), np.float32)), tmp_path / "a.h5")
    with pytest.raises(TypeError, match="not dict"):
        save_model({}, tmp_path / "a.h5")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_repr_is_short(random_state: Make) -> None:
    state = random_state()
    text = repr(state)
    assert text.startswith("GinsengClassifierState: 12 genes, 3 classes\n")
    assert "gated" in text
    assert "T/NK, γδ T cell" in text
    assert "array" not in text
    assert len(text.splitlines()) < 20


def test_html_escapes_names(random_state: Make) -> None:
    state = random_state()
    state.label_keys = np.array(["<script>alert(1)</script>", "B & T", "c"])
    shown = state._repr_html_()
    assert "<script" not in shown
    assert "&lt;script&gt;" in shown
    assert "B &amp; T" in shown
