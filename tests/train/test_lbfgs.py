"""Training to convergence against scikit-learn."""

from typing import Any

import anndata as ad
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import ginseng as gs
from ginseng.model import GinsengClassifierState
from ginseng.train import lbfgs


def fit(adata: ad.AnnData, **settings: Any) -> GinsengClassifierState:
    gs.tl.train(adata, "cell_type", architecture="linear", solver="lbfgs", silent=True, **settings)
    return GinsengClassifierState.from_dict(adata.uns["ginseng"]["model"])


@pytest.fixture(scope="module")
def pbmc() -> ad.AnnData:
    """Real counts of the 150 most expressed genes."""
    adata = gs.datasets.pbmc68k()
    return adata[:, np.argsort(-np.asarray(adata.X.sum(axis=0)).ravel())[:150]].copy()


@pytest.mark.parametrize(("C", "standardize"), [(1.0, True), pytest.param(0.1, False, marks=pytest.mark.slow)])
def test_linear_is_the_logistic_regression_of_scikit_learn(pbmc: ad.AnnData, C: float, standardize: bool) -> None:
    state = fit(pbmc, C=C, standardize=standardize, weigh_genes=False, holdout_fraction=0.0)
    counts = pbmc.X.toarray().astype(float)
    x = np.log1p(counts * 1e4 / counts.sum(axis=1, keepdims=True))
    if standardize:  # as the architecture does, which bounds the deviation from below by 0.5
        x = np.clip((x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 0.5), -10, 10)
    expected = LogisticRegression(C=C, tol=1e-9, max_iter=10_000, solver="newton-cg").fit(x, pbmc.obs["cell_type"])
    assert list(expected.classes_) == list(state.label_keys)
    assert np.abs(expected.coef_).max() > 0.1
    np.testing.assert_allclose(state.params["head"]["W"], expected.coef_.T, atol=1e-3)
    np.testing.assert_allclose(state.params["head"]["b"], expected.intercept_, atol=1e-3)
    query = pbmc.copy()
    gs.tl.classify(query, state, adapt=False, store_probs=True, silent=True)
    np.testing.assert_allclose(query.obsm["ginseng_probs"], expected.predict_proba(x), atol=1e-3)


def test_what_chance_decides_elsewhere_has_no_part(pbmc: ad.AnnData) -> None:
    one = fit(pbmc, C=0.01, holdout_fraction=0.0)
    other = fit(pbmc, C=0.01, holdout_fraction=0.0, seed=5, dropout_rate=0.1, label_smoothing=0.3, rate=0.2,
                balance_exponent=1.0, batch_size=16, epochs=1)  # fmt: skip
    np.testing.assert_allclose(one.params["head"]["W"], other.params["head"]["W"], atol=1e-4)


def test_history_is_one_row(pbmc: ad.AnnData) -> None:
    state = fit(pbmc, C=0.01)
    assert all(len(column) == 1 for column in state.history.values())
    assert state.history["holdout_accuracy"][0] > 0.5
    assert state.history["epoch"][0] == state.info["best_epoch"] > 1


def test_no_minimum_is_said(pbmc: ad.AnnData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lbfgs, "MAX_ITERATIONS", 2)
    with pytest.warns(UserWarning, match=r" 2 iterations.*`C`.* 1"):
        fit(pbmc)
