"""Genes that were not measured, and what a query has more of throughout."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import anndata as ad
import jax
import numpy as np
import pandas as pd
import pytest

import ginseng as gs
from ginseng._cells.genes import align_genes
from ginseng._core.members import together
from ginseng._core.steps import batch_logits
from ginseng._predict.adapt import _members, agreement_of, level_of, measured_genes_of, shift_of
from ginseng.model import GinsengClassifierState
from ginseng.model.overlap import measured_weight

type Cells = tuple[ad.AnnData, ad.AnnData]


@pytest.fixture(scope="module")
def cells() -> Cells:
    """Return a reference and a query of the same study."""
    adata = gs.datasets.pbmc68k()
    return adata[::2].copy(), adata[1::2].copy()


@pytest.fixture(scope="module", params=["gated", "linear", pytest.param("transformer", marks=pytest.mark.slow)])
def state(request: pytest.FixtureRequest, cells: Cells) -> GinsengClassifierState:
    return trained(cells[0], request.param)


@pytest.fixture(scope="module")
def linear(cells: Cells) -> GinsengClassifierState:
    return trained(cells[0], "linear")


def trained(adata: ad.AnnData, architecture: str) -> GinsengClassifierState:
    adata = adata.copy()
    small: dict[str, Any] = {"gated": {"config": {"hidden_dim": 32}}}.get(architecture, {})
    gs.tl.train(adata, "cell_type", architecture=architecture, epochs=30, silent=True, calibrate=False, **small)
    return gs.model.GinsengClassifierState.from_dict(adata.uns["ginseng"]["model"])


def probs(adata: Any, state: GinsengClassifierState, **how: Any) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Partial gene overlap")
        table: Any = gs.tl.classify(adata, state, return_table=True, store_probs=True, silent=True, **how)
    return table.drop(columns=["cell_type", "confidence", "novelty"], errors="ignore").to_numpy()


def accuracy(adata: ad.AnnData, state: GinsengClassifierState, **how: Any) -> float:
    label = state.label_keys[probs(adata, state, **how).argmax(axis=1)]
    return float((label == adata.obs["cell_type"].astype(str)).mean())


def some_genes(adata: ad.AnnData, share: float, seed: int = 0) -> ad.AnnData:
    kept = np.random.default_rng(seed).random(adata.n_vars) >= share
    return adata[:, kept].copy()


def read_as(state: GinsengClassifierState, x: np.ndarray) -> np.ndarray:
    """Return the probabilities of cells with this normalised expression."""
    params = jax.device_put(state.params)
    return np.asarray(jax.nn.softmax(batch_logits(together(state.network), params, x)))


def normalised(adata: ad.AnnData, state: GinsengClassifierState, share: float = 1.0) -> np.ndarray:
    """Return log1p of counts per 10,000 of a cell that has all genes of the model, of which these are a share."""
    counts = pd.DataFrame(adata.X.toarray(), columns=adata.var_names).reindex(columns=state.genes, fill_value=0)
    x = counts.to_numpy(float)
    return np.log1p(1e4 * share * x / np.maximum(x.sum(axis=1, keepdims=True), 1))


def test_what_was_not_measured_is_as_in_the_mean_of_the_reference(cells: Cells, state: GinsengClassifierState) -> None:
    query = some_genes(cells[1], 0.3)
    lost = ~np.isin(state.genes, query.var_names)
    x = normalised(query, state, share=1 - state.reference["share"][lost].sum())
    if state.architecture != "transformer":  # which reads what a cell expresses, and is not told of the rest
        x[:, lost] = state.reference["mean"][lost]
    expected = read_as(state, x.astype(np.float32))
    np.testing.assert_allclose(probs(query, state, adapt=False), expected, atol=1e-5)


@pytest.mark.parametrize(("share", "bound"), [(0.1, 0.02), (0.3, 0.05), (0.5, 0.1), (0.7, 0.2)])
def test_accuracy_without_some_genes(cells: Cells, state: GinsengClassifierState, share: float, bound: float) -> None:
    whole = accuracy(cells[1], state)
    found = [accuracy(some_genes(cells[1], share, seed), state) for seed in range(3)]
    assert whole - np.mean(found) < bound


def test_models_without_a_reference_take_them_for_not_expressed(cells: Cells, linear: GinsengClassifierState) -> None:
    old = dataclasses.replace(linear, reference=None)
    query, filled = some_genes(cells[1], 0.3), cells[1].copy()
    filled.X = filled.X.multiply(np.isin(filled.var_names, query.var_names)).tocsr()
    np.testing.assert_array_equal(probs(query, old), probs(filled, old))
    with pytest.raises(ValueError, match="does not know what it was trained on"):
        probs(query, old, adapt=True)


def test_weight_is_that_of_the_genes_measured(cells: Cells, linear: GinsengClassifierState) -> None:
    """Of a linear model, the sum over classes of |weight x distance of the class from the mean|, by hand."""
    query = some_genes(cells[1], 0.4)
    w = linear.params["head"]["W"] / linear.params["input"]["scale"][:, None]
    each = np.abs(w * (linear.reference["classes"] - linear.reference["mean"]).T).sum(axis=1)
    expected = each[np.isin(linear.genes, query.var_names)].sum() / each.sum()
    measured = measured_genes_of(align_genes(query, linear.genes))
    assert measured_weight(linear, measured) == pytest.approx(expected, rel=1e-3)
    probs(query, linear)
    with pytest.warns(UserWarning, match="have no influence"):
        gs.tl.classify(query, linear)
    overlap = query.uns["ginseng"]["overlap"]
    assert overlap["weight"] == pytest.approx(expected, rel=1e-3)
    assert overlap["share"] == pytest.approx(query.n_vars / linear.n_genes)


def reference_of(n_classes: int, n_genes: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {"classes": rng.random((n_classes, n_genes)), "cells": np.full(n_classes, 50.0)}


def test_shift_is_what_all_classes_share() -> None:
    rng = np.random.default_rng(0)
    reference, expected = reference_of(6, 40, rng), np.array([5, 9, 300, 20, 7, 1000.0])
    shift = np.where(np.arange(40) < 10, rng.normal(size=40), 0)
    sums = expected[:, None] * (reference["classes"] + shift)
    found, n = shift_of(sums, expected, reference)
    assert n == 6
    np.testing.assert_allclose(found, shift, atol=1e-4)  # however many cells the classes have


def test_shift_shrinks_by_how_far_classes_disagree() -> None:
    """Against the formula, gene by gene."""
    rng = np.random.default_rng(1)
    reference, expected = reference_of(5, 30, rng), np.array([8.0, 10, 2, 40, 30])  # the third is of too few
    more = rng.normal(0.5, 1, (5, 30))
    found, n = shift_of(expected[:, None] * (reference["classes"] + more), expected, reference)
    assert n == 4
    for gene in range(30):
        d = np.delete(more[:, gene], 2)
        wanted = d.mean() * max(0, 1 - d.var(ddof=1) / 4 / d.mean() ** 2)
        assert found[gene] == pytest.approx(wanted, abs=1e-4)
    assert (found == 0).any()


@pytest.mark.parametrize(
    ("expected", "known"), [([9, 9, 4.9, 0], [9, 9, 9, 9]), ([9, 9, 9, 0], [9, 9, 4, 9]), ([0, 0, 0, 0], [9, 9, 9, 9])]
)
def test_few_classes_say_nothing(expected: list[float], known: list[float]) -> None:
    reference = {"classes": np.zeros((4, 3)), "cells": np.array(known)}
    found, n = shift_of(np.ones((4, 3)), np.array(expected), reference)
    assert n < 3
    np.testing.assert_array_equal(found, 0)


def of_another_study(adata: ad.AnnData, seed: int = 0) -> ad.AnnData:
    """Return the cells as a laboratory would count them that sees more of some genes, and less of others."""
    rng = np.random.default_rng(seed)
    out = adata.copy()
    out.X = out.X.multiply(rng.lognormal(0, 1, out.n_vars)).tocsr()
    out.X.data = rng.poisson(out.X.data).astype(np.float32)
    return out


def test_adapting_makes_up_for_another_study(cells: Cells, state: GinsengClassifierState) -> None:
    queries = [of_another_study(cells[1], seed) for seed in range(3)]
    if state.network.skips_zeros:  # nothing is shifted, and the classes of the query count
        gs.tl.classify(queries[0], state, silent=True)
        found = queries[0].uns["ginseng"]["adaptation"]
        assert not len(found["shift"])
        assert found["own_classes"] > 0.4
    without = np.mean([accuracy(query, state, adapt=False) for query in queries])
    assert np.mean([accuracy(query, state) for query in queries]) > without + 0.003


@pytest.mark.parametrize(
    "kind", ["the reference", "one type", "ten cells", "half of the types unknown", "the same study"]
)
def test_adapting_does_no_harm(cells: Cells, state: GinsengClassifierState, kind: str) -> None:
    reference, query = cells
    types = query.obs["cell_type"].astype(str)
    if kind == "the reference":
        query = reference
    elif kind == "one type":
        query = query[types == "CD19+ B"].copy()
    elif kind == "ten cells":
        query = query[:10].copy()
    elif kind == "half of the types unknown":
        known = sorted(types.unique())[::2]
        state = trained(reference[reference.obs["cell_type"].isin(known)].copy(), state.architecture)
        seen = query[types.isin(known)].obs_names
        label = lambda **how: pd.Series(  # noqa: E731
            state.label_keys[probs(query, state, **how).argmax(axis=1)], query.obs_names
        )[seen]
        right = [(label(adapt=adapt) == types[seen]).mean() for adapt in (True, False)]
        assert right[0] > right[1] - 0.02
        return
    assert accuracy(query, state) >= accuracy(query, state, adapt=False) - 0.012  # four cells of 350


def test_what_is_reported(cells: Cells, linear: GinsengClassifierState, tmp_path: Path) -> None:
    query = of_another_study(cells[1])
    with_, without = probs(query, linear), probs(query, linear, adapt=False)
    gs.tl.classify(query, linear, silent=True)
    found = query.uns["ginseng"]["adaptation"]
    assert found["n_relabelled"] == (with_.argmax(axis=1) != without.argmax(axis=1)).sum() > 0
    assert found["n_cells"] == query.n_obs
    assert found["n_classes"] <= linear.n_classes
    shift = pd.Series(found["shift"], found["genes"]).reindex(linear.genes, fill_value=0).to_numpy()
    expected = read_as(linear, (normalised(query, linear) - shift).astype(np.float32))
    assert found["own_classes"] == 0.5
    own = with_ - 0.5 * expected  # a half by the model, a half by classes of the query
    assert own.min() > -1e-4
    np.testing.assert_allclose(own.sum(axis=1), 0.5, atol=1e-4)
    assert own.std(axis=0).max() > 0.05
    query.write_h5ad(tmp_path / "query.h5ad")
    read = ad.read_h5ad(tmp_path / "query.h5ad").uns["ginseng"]["adaptation"]
    np.testing.assert_array_equal(read["shift"], found["shift"])
    gs.tl.classify(query, linear, adapt=False, silent=True)
    assert "adaptation" not in query.uns["ginseng"]


@pytest.mark.parametrize("batch_size", [1, 64, 1024])
def test_neither_batches_nor_the_disk_change_it(
    cells: Cells, linear: GinsengClassifierState, tmp_path: Path, batch_size: int
) -> None:
    query = of_another_study(some_genes(cells[1], 0.2))
    query.write_h5ad(tmp_path / "query.h5ad")
    expected = probs(query, linear)
    np.testing.assert_allclose(probs(query, linear, batch_size=batch_size), expected, atol=1e-5)
    np.testing.assert_allclose(probs(tmp_path / "query.h5ad", linear, batch_size=batch_size), expected, atol=1e-5)


def test_of_many_cells_some_are_looked_at(
    cells: Cells, linear: GinsengClassifierState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ginseng._predict.query.ENOUGH", 100)
    monkeypatch.setattr("ginseng._predict.query.SAMPLED", 10)
    query = of_another_study(cells[1])
    gs.tl.classify(query, linear, silent=True)
    found = query.uns["ginseng"]["adaptation"]
    assert 100 <= found["n_cells"] < 150
    order = np.random.default_rng(0).permutation(query.n_obs)  # the blocks are of cells from all over
    some = query[order].copy()
    gs.tl.classify(some, linear, silent=True)
    assert some.uns["ginseng"]["adaptation"]["n_classes"] >= 3


def test_only_classes_that_are_allowed_count(cells: Cells, linear: GinsengClassifierState) -> None:
    query = of_another_study(cells[1])
    gs.tl.classify(query, linear, allowed=[*linear.label_keys[:3]], silent=True)
    assert query.uns["ginseng"]["adaptation"]["n_classes"] <= 3
    gs.tl.classify(query, linear, allowed=[*linear.label_keys[:2]], silent=True)
    assert query.uns["ginseng"]["adaptation"]["n_classes"] <= 2
    assert not len(query.uns["ginseng"]["adaptation"]["shift"])


def test_agreement_is_of_what_tells_the_classes_apart() -> None:
    rng = np.random.default_rng(0)
    classes, expected = rng.normal(size=(5, 400)), np.full(5, 50.0)
    reference = {"cells": np.full(5, 20.0)}

    def agreement(means: np.ndarray, expected: np.ndarray = expected) -> float:
        return agreement_of(means * expected[:, None], expected, classes, reference)

    shift = rng.normal(size=400)  # as of another study, the same in all classes
    assert agreement(0.5 * classes + shift) == pytest.approx(1)
    assert agreement(classes + rng.normal(size=(5, 400))) == pytest.approx(0.5**0.5, abs=0.05)
    assert agreement(rng.normal(size=(5, 400)) + 3 * shift) == pytest.approx(0, abs=0.1)
    assert agreement(classes + np.arange(5)[:, None]) == pytest.approx(1)  # and so are classes of more counts
    assert np.isnan(agreement(classes, np.array([50.0, 50, 4, 4, 4])))


def test_level_is_that_of_the_median_class() -> None:
    label = np.repeat([0, 1, 2, 3], [100, 10, 10, 4])
    unlike = np.repeat([9.0, 1.0, 2.0, 5.0], [100, 10, 10, 4])
    assert level_of(unlike, label) == 2  # a class counts once, and not with four cells
    assert level_of(-unlike, label) == 0
    assert level_of(unlike[:110], label[:110]) == 0  # of two classes


def test_novelty_is_beyond_what_all_the_query_is(
    halves: Cells, real_model: GinsengClassifierState, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ginseng._predict import adapt

    query = halves[1].copy()
    before: Any = gs.tl.classify(query, real_model, return_table=True, silent=True)
    found = adapt.level_of
    monkeypatch.setattr(adapt, "level_of", lambda *cells: found(*cells) + 3)
    after: Any = gs.tl.classify(query, real_model, return_table=True, silent=True)
    odds = [np.log(1 / table["novelty"].to_numpy(float) - 1) for table in (after, before)]
    assert odds[0] - odds[1] == pytest.approx(3, abs=1e-2)
    assert (after["cell_type"] == before["cell_type"]).all()
    assert (after["confidence"] >= before["confidence"]).all()  # softened by what is beyond


def test_classes_of_the_query_do_not_need_novelty(halves: Cells, real_model: GinsengClassifierState) -> None:
    query = of_another_study(halves[1])
    for model in (real_model, dataclasses.replace(real_model, calibration=None)):
        found: Any = {name: probs(query, model, adapt=name) for name in (True, False)}
        gs.tl.classify(query, model, silent=True)
        adaptation = query.uns["ginseng"]["adaptation"]
        assert adaptation["own_classes"] > 0
        assert np.abs(found[True] - found[False]).max() > 0.1
        assert ("ginseng_novelty" in query.obs) == (model.calibration is not None)


def test_classes_of_the_query_within_groups_of_a_cascade(cells: Cells) -> None:
    """The label is the most probable class of the most probable group, also of the probabilities of both together."""
    reference, query, groups = cells[0].copy(), of_another_study(cells[1]), (5, 5)
    config: Any = {"groups": groups}
    gs.tl.train(reference, "cell_type", architecture="cascade", epochs=10, silent=True, calibrate=False, config=config)
    first: Any = gs.tl.classify(query, reference, adapt=False, return_table=True, silent=True)
    gs.tl.classify(query, reference, store_probs=True, silent=True)
    found = query.uns["ginseng"]["adaptation"]
    assert found["own_classes"] > 0
    assert found["n_relabelled"] == (first["cell_type"].astype(str) != query.obs["ginseng_cell_type"].astype(str)).sum()
    p = np.asarray(query.obsm["ginseng_probs"])
    inside = np.repeat(p[:, :5].sum(axis=1, keepdims=True) > p[:, 5:].sum(axis=1, keepdims=True), 5, axis=1)
    expected = np.where(np.hstack([inside, ~inside]), p, -1).argmax(axis=1)
    assert (expected != p.argmax(axis=1)).any()
    classes = np.array(query.uns["ginseng"]["classes"], str)
    np.testing.assert_array_equal(query.obs["ginseng_cell_type"].astype(str), classes[expected])
    np.testing.assert_array_equal(query.obs["ginseng_confidence"], p[np.arange(len(p)), expected])


def test_other_tissue_is_told(halves: Cells, real_model: GinsengClassifierState) -> None:
    query = halves[1].copy()
    x = query.raw.to_adata() if query.raw is not None else query
    order = np.random.default_rng(0).permutation(x.n_vars)
    x.var_names = x.var_names[order]  # other genes tell the same groups apart
    with pytest.warns(UserWarning, match="another tissue"):
        gs.tl.classify(x, real_model, min_overlap=0, silent=True)
    assert x.uns["ginseng"]["adaptation"]["agreement"] < 0.5
    assert x.uns["ginseng"]["adaptation"]["level"] == 0
    assert x.uns["ginseng"]["adaptation"]["own_classes"] == 0
    assert np.median(x.obs["ginseng_novelty"]) > 0.5


def test_members_that_read_on_one_scale_count_more_in_another_study(
    halves: Cells, real_model: GinsengClassifierState
) -> None:
    assert real_model.reference is not None
    query = halves[1].copy()
    gs.tl.classify(query, real_model, silent=True)
    found = query.uns["ginseng"]["adaptation"]
    length = np.linalg.norm(found["shift"]) / np.linalg.norm(real_model.reference["classes"].mean(axis=0))
    assert length < 0.07
    assert "members" not in found
    assert found["own_classes"] == 0

    other = of_another_study(halves[1], 0)
    gs.tl.classify(other, real_model, silent=True)
    found = other.uns["ginseng"]["adaptation"]
    length = np.linalg.norm(found["shift"]) / np.linalg.norm(real_model.reference["classes"].mean(axis=0))
    assert length > 0.07
    expected = np.interp(length, (0.07, 0.12), (1, 4))
    assert found["members"] == pytest.approx([1, 1, 1, expected], abs=1e-4)
    assert found["own_classes"] == pytest.approx(0.5 * np.interp(length, (0.1, 0.2), (0, 1)), abs=1e-4)
    alone: Any = gs.tl.classify(other, real_model, adapt=False, return_table=True, silent=True)
    assert len(alone) == other.n_obs


@pytest.mark.parametrize(("n_one_scale", "expected"), [(0, None), (1, [1, 1, 1, 4]), (4, None)])
def test_members_that_all_count_alike_are_none(cells: Cells, n_one_scale: int, expected: list[float] | None) -> None:
    found = _members(trained_members(cells[0], n_one_scale), 0.3)  # of another study
    assert (None if found is None else found.tolist()) == expected


def trained_members(adata: ad.AnnData, n_one_scale: int) -> GinsengClassifierState:
    adata = adata.copy()
    how: dict[str, Any] = {"standardize": False} if n_one_scale == 4 else {"n_uncentered": n_one_scale}
    small = {"hidden_dim": 8, "gate_dim": 4}
    gs.tl.train(adata, "cell_type", epochs=1, silent=True, calibrate=False, config=small, **how)
    return gs.model.GinsengClassifierState.from_dict(adata.uns["ginseng"]["model"])
