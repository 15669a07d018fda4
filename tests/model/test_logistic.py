"""Imported logistic regressions give the same answers as in their own package."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import ginseng as gs
from ginseng.model.pickle_values import PickleError

GOLDEN = Path(__file__).parents[1] / "models/golden"
NAMES = ("default", "sgd", "two", "no_mean")


@pytest.fixture(scope="module")
def answers() -> Any:
    """Probabilities of CellTypist 1.7.1 (`make_celltypist.py`) for every fifth cell, with and without some genes."""
    return np.load(GOLDEN / "celltypist.npz")


@pytest.fixture(scope="module")
def cells() -> AnnData:
    return gs.datasets.pbmc68k()


def fewer(cells: AnnData) -> tuple[AnnData, Any]:
    """Cells without some genes: log1p counts per 10,000, scaled over all genes."""
    x, kept = cells.X.toarray(), np.arange(cells.n_vars) % 10 < 7
    x = np.log1p(x / (x.sum(axis=1, keepdims=True) / np.float32(1e4)))
    return AnnData(sparse.csr_matrix(x[:, kept]), obs=cells.obs, var=cells.var[kept])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("converted", [False, True])
def test_what_celltypist_says(name: str, converted: bool, cells: AnnData, answers: Any, tmp_path: Path) -> None:
    model: Any = GOLDEN / f"celltypist_{name}.pkl"
    if converted:
        gs.save_model(gs.load_model(model), model := tmp_path / "model.h5")
    query = cells[::5].copy()
    gs.classify(query, model, store_probs=True, silent=True)
    assert query.obs["ginseng_cell_type"].tolist() == answers[f"{name}_all_labels"].tolist()
    expected = pd.DataFrame(answers[f"{name}_all_probs"], columns=answers[f"{name}_classes"])
    probs = np.asarray(query.obsm["ginseng_probs"])
    np.testing.assert_allclose(probs, expected[query.uns["ginseng"]["classes"]], atol=1e-6)
    np.testing.assert_allclose(query.obs["ginseng_confidence"], expected.max(axis=1), atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_missing_genes_say_nothing(name: str, cells: AnnData, answers: Any) -> None:
    query = fewer(cells)[::5].copy()
    gs.classify(query, GOLDEN / f"celltypist_{name}.pkl", store_probs=True, silent=True, normalize=False)
    assert query.obs["ginseng_cell_type"].tolist() == answers[f"{name}_fewer_labels"].tolist()
    np.testing.assert_allclose(np.asarray(query.obsm["ginseng_probs"]), answers[f"{name}_fewer_probs"], atol=1e-6)


def test_genes_in_another_order_and_batches_of_any_size(cells: AnnData, answers: Any) -> None:
    order = np.random.default_rng(0).permutation(cells.n_vars)
    query = cells[::5, order].copy()
    gs.classify(query, GOLDEN / "celltypist_sgd.pkl", store_probs=True, silent=True, batch_size=13)
    np.testing.assert_allclose(np.asarray(query.obsm["ginseng_probs"]), answers["sgd_all_probs"], atol=1e-6)


def test_each_class_has_a_probability_of_its_own(cells: AnnData) -> None:
    query = cells[:100].copy()
    path = GOLDEN / "celltypist_default.pkl"
    gs.classify(query, path, store_probs=True, silent=True)
    before = np.asarray(query.obsm["ginseng_probs"])
    assert np.abs(before.sum(axis=1) - 1).max() > 0.005
    two = ["CD19+ B", "Dendritic"]
    gs.classify(query, path, store_probs=True, silent=True, allowed=two)
    after = np.asarray(query.obsm["ginseng_probs"])
    known = np.isin(query.uns["ginseng"]["classes"].astype(str), two)
    np.testing.assert_array_equal(after[:, known], before[:, known])
    assert (after[:, ~known] == 0).all()
    assert set(query.obs["ginseng_cell_type"]) <= set(two)


def test_labels_are_told_where_several_classes_are_certain(cells: AnnData) -> None:
    state = gs.load_model(GOLDEN / "celltypist_default.pkl")
    state.params["head"]["b"] += 500.0  # all sigmoids are 1 in any precision
    plain = gs.load_model(GOLDEN / "celltypist_default.pkl")
    one, other = (gs.classify(cells[:200].copy(), s, return_table=True, silent=True) for s in (state, plain))
    assert (one["confidence"] == 1).all()
    assert (one["cell_type"] == other["cell_type"]).mean() > 0.99


def test_reference_is_kept(cells: AnnData, tmp_path: Path) -> None:
    query = cells[:20].copy()
    gs.classify(query, GOLDEN / "celltypist_default.pkl", silent=True)
    query.write_h5ad(tmp_path / "cells.h5ad")
    reference = gs.read_adata(tmp_path / "cells.h5ad").uns["ginseng"]["reference"]
    assert reference["source"] == "https://doi.org/10.1038/ncomms14049"
    assert "abl5197" in reference["citation"]
    assert "licence" in reference
    gs.tl.classify(query, gs.load_model(GOLDEN / "celltypist_two.pkl"), silent=True)
    assert query.uns["ginseng"]["reference"]["details"] == "blood, two"


def test_convert(tmp_path: Path) -> None:
    from ginseng.cli import main

    assert main(["convert", str(GOLDEN / "celltypist_sgd.pkl"), str(tmp_path / "x.h5"), "-q"]) == 0
    one, other = gs.load_model(tmp_path / "x.h5"), gs.load_model(GOLDEN / "celltypist_sgd.pkl")
    assert one.genes.tolist() == other.genes.tolist()
    np.testing.assert_array_equal(one.params["head"]["W"], other.params["head"]["W"])


# -- of scikit-learn, in memory


def sample(n_classes: int) -> tuple[AnnData, pd.DataFrame, np.ndarray]:
    adata = gs.datasets.pbmc68k()
    adata = adata[adata.obs["cell_type"].isin(adata.obs["cell_type"].cat.categories[:n_classes])].copy()
    x = np.log1p(adata.X.toarray() / (adata.X.sum(axis=1).reshape(-1, 1) / 1e4))
    return adata, pd.DataFrame(x, columns=adata.var_names), adata.obs["cell_type"].astype(str).to_numpy()


@pytest.mark.parametrize("n_classes", [2, 5])
@pytest.mark.parametrize("scaled", [False, True])
def test_what_scikit_learn_says(n_classes: int, scaled: bool) -> None:
    adata, x, y = sample(n_classes)
    classifier: Any = LogisticRegression(max_iter=200, tol=1e-2)
    classifier = make_pipeline(StandardScaler(), classifier) if scaled else classifier
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        classifier.fit(x, y)
    table = gs.classify(adata, classifier, return_table=True, store_probs=True, silent=True)
    np.testing.assert_allclose(table[classifier.classes_], classifier.predict_proba(x), atol=1e-6)
    assert table["cell_type"].tolist() == classifier.predict(x).tolist()


def test_what_is_no_logistic_regression() -> None:
    _, x, y = sample(2)
    with pytest.raises(ValueError, match="fitted"):
        gs.models.from_sklearn(LogisticRegression())
    with pytest.raises(TypeError, match="StandardScaler"):
        gs.models.from_sklearn(StandardScaler())
    fitted = LogisticRegression(max_iter=50).fit(x.to_numpy(), y)
    with pytest.raises(ValueError, match="genes="):
        gs.models.from_sklearn(fitted)
    with pytest.raises(ValueError, match=r"genes.*\(2,\).*\(765,\)"):
        gs.models.from_sklearn(fitted, ["A", "B"])
    assert gs.models.from_sklearn(fitted, x.columns).n_genes == x.shape[1]


# -- pickles that are no model


def changed(**parts: Any) -> bytes:
    with (GOLDEN / "celltypist_default.pkl").open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pickled by another version
        model = pickle.load(file)
    classifier, scaler = model["Model"], model["Scaler_"]
    for name, value in parts.items():
        holder = classifier if hasattr(classifier, name) else scaler if hasattr(scaler, name) else None
        if holder is None:
            model[name] = value
        else:
            setattr(holder, name, value)
    return pickle.dumps(model)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"Model": StandardScaler()}, "LogisticRegression or SGDClassifier"),
        ({"Scaler_": {}}, "StandardScaler"),
        ({"description": ["x"]}, "description"),
        ({"coef_": np.zeros((3, 4))}, r"'coef_'.*\(3, 4\)"),
        ({"coef_": np.array(["a"])}, "'coef_' is <U1"),
        ({"intercept_": np.zeros(3)}, r"'intercept_'.*\(3,\)"),
        ({"scale_": np.zeros(765)}, "not above 0"),
        ({"mean_": np.full(765, np.nan)}, "NaN"),
        ({"coef_": np.full((10, 765), np.inf)}, "infinite"),
        ({"features": np.array(["A"] * 765, object)}, "not unique"),
        ({"classes_": np.array(["a\nb"] * 10)}, "plain text"),
    ],
)
def test_models_that_contradict_themselves(parts: dict[str, Any], message: str, tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(changed(**parts))
    with pytest.raises(PickleError, match=message):
        gs.load_model(tmp_path / "x.pkl")


def test_a_pickle_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(PickleError, match="CellTypist"):
        gs.load_model(tmp_path / "x.pkl")
