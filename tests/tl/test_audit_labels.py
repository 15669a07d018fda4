"""Labels that were made wrong are found, and what cannot be judged is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

import ginseng as gs
from ginseng.tl._mislabelled import _likelihood, judge

type Make = Callable[..., ad.AnnData]

BROAD = {"CD14+ Monocyte": "myeloid", "Dendritic": "myeloid", "CD19+ B": "B", "CD34+": "progenitor", "CD56+ NK": "NK"}


def blood() -> tuple[ad.AnnData, np.ndarray]:
    """Return real cells, and their broad types; any other is a T cell."""
    adata = gs.datasets.pbmc68k()
    return adata, np.array([BROAD.get(label, "T") for label in adata.obs["cell_type"].astype(str)])


def wronged(y: np.ndarray, share: float, seed: int = 0) -> np.ndarray:
    rng, out, names = np.random.default_rng(seed), y.copy(), np.unique(y)
    for i in rng.choice(len(y), round(share * len(y)), replace=False):
        out[i] = rng.choice(names[names != y[i]])
    return out


def precision_at(recall: float, score: np.ndarray, wrong: np.ndarray) -> float:
    found = np.cumsum(wrong[np.argsort(-np.nan_to_num(score, nan=-1), kind="stable")])
    needed = int(np.searchsorted(found, recall * wrong.sum()))
    return float(found[needed] / (needed + 1))


SLOW = pytest.mark.slow


@pytest.mark.parametrize("share", [pytest.param(0.02, marks=SLOW), 0.05, pytest.param(0.1, marks=SLOW)])
def test_wrong_labels_of_real_cells_are_found(share: float) -> None:
    adata, y = blood()
    adata.obs["given"] = given = wronged(y, share)
    audit = gs.tl.audit_labels(adata, "given", silent=True)
    wrong, flagged = given != y, adata.obs["ginseng_audit_wrong"].to_numpy()
    assert precision_at(0.7, adata.obs["ginseng_audit_score"].to_numpy(), wrong) >= 0.8
    assert (flagged & wrong).sum() / flagged.sum() >= 0.75
    assert (flagged & wrong).sum() / wrong.sum() >= (0.5 if share < 0.05 else 0.6)  # of as few as 14
    likely = adata.obs["ginseng_audit_label"].astype(str).to_numpy()
    assert (likely == y)[flagged & wrong].mean() > 0.8
    assert (likely == given)[~flagged].all()
    assert audit.share == pytest.approx(share, abs=0.03)
    assert audit.wrong.index.tolist() == audit.wrong["score"].sort_values(ascending=False, kind="stable").index.tolist()
    assert set(audit.wrong.index) == set(adata.obs_names[flagged])
    assert f"{flagged.sum()} of 700" in repr(audit)


def test_types_that_cannot_be_told_apart_are_named() -> None:
    adata, y = blood()
    coin = np.random.default_rng(0).random(len(y)) < 0.5
    adata.obs["given"] = np.where((y == "myeloid") & coin, "twin", y)
    quick: Any = {"epochs": 15, "silent": True}
    audit = gs.tl.audit_labels(adata, "given", **quick)
    assert {*audit.pairs.iloc[0][["first", "second"]]} == {"myeloid", "twin"}
    assert audit.pairs.iloc[0]["error"] == pytest.approx(0.5, abs=0.1)
    twins = np.isin(adata.obs["given"], ["myeloid", "twin"])
    likely = adata.obs["ginseng_audit_label"].astype(str).to_numpy()
    swapped = adata.obs["ginseng_audit_wrong"].to_numpy() & twins & np.isin(likely, ["myeloid", "twin"])
    assert swapped.mean() < 0.01  # either may be right
    distinct = gs.tl.audit_labels(adata[np.isin(y, ["myeloid", "B"])].copy(), "given", **quick)
    assert "B" not in distinct.pairs[["first", "second"]].to_numpy()


def test_types_that_no_other_donor_has_are_not_judged(make_cells: Make) -> None:
    adata = make_cells(150)
    donor, label = adata.obs["donor"].to_numpy(), adata.obs["cell_type"].astype(str).to_numpy()
    label[(donor == "d0") & (label == "T/NK")] = "only here"
    label[0] = "unknown"
    adata.obs["given"] = label
    with pytest.warns(UserWarning, match=r"no cells to train on|no label"):
        audit = gs.tl.audit_labels(adata, "given", "donor", epochs=3, batch_size=16, silent=True)
    lone = label == "only here"
    score = adata.obs["ginseng_audit_score"].to_numpy()
    assert np.isnan(score[lone]).all()
    assert np.isnan(score[0])
    assert np.isfinite(score[~lone][1:]).all()
    assert audit.too_small == ["only here"]
    assert audit.types.loc["only here", ["n_groups", "n_cells"]].tolist() == [1, lone.sum()]
    assert not adata.obs["ginseng_audit_wrong"][lone].any()
    assert (audit.n_cells, audit.n_judged) == (149, 149 - lone.sum())
    assert adata.uns["ginseng_audit"]["params"]["by"] == "donor"


def test_the_share_of_wrong_labels_is_recovered() -> None:
    """Labels are drawn from known probabilities, and some exchanged; the right answer follows from Bayes' rule."""
    rng = np.random.default_rng(0)
    n, n_classes, share = 6000, 6, 0.06
    probs = softmax(4 * rng.normal(size=(n, n_classes)), axis=1)
    true = np.array([rng.choice(n_classes, p=p) for p in probs])
    wrong = rng.random(n) < share
    given = np.where(wrong, (true + rng.integers(1, n_classes, n)) % n_classes, true)
    judged = judge(probs, given, np.ones(n, bool))
    own = probs[np.arange(n), given]
    expected = share * (1 - own) / (n_classes - 1)
    expected /= expected + (1 - share) * own
    assert judged.share == pytest.approx(wrong.mean(), abs=0.01)
    assert np.abs(judged.wrong - expected).mean() < 0.01
    blurred = softmax(0.5 * np.log(probs), axis=1)  # models that are too modest say the same
    assert judge(blurred, given, np.ones(n, bool)).share == pytest.approx(judged.share, abs=0.005)


def test_gradient() -> None:
    rng = np.random.default_rng(0)
    log_probs, labels = np.log(rng.dirichlet(np.ones(4), 50)), rng.integers(0, 4, 50)
    other = 1 - np.eye(4)
    similar = rng.random((4, 4)) * other
    mistakes = [other / 3, similar / similar.sum(axis=1, keepdims=True)]
    x = rng.normal(size=7)
    value = lambda x: _likelihood(x, log_probs, labels, mistakes=mistakes)[0]  # noqa: E731
    gradient = _likelihood(x, log_probs, labels, mistakes=mistakes)[1]
    np.testing.assert_allclose(gradient, approx_fprime(x, value, 1e-6), rtol=1e-4, atol=1e-4)


def test_what_is_written_survives_and_can_be_renewed(make_cells: Make, tmp_path: Path) -> None:
    adata = make_cells()
    before = adata.copy()
    model = LogisticRegression()
    made = gs.tl.audit_labels(adata, "cell_type", model=model, copy=True, silent=True)
    assert isinstance(made, ad.AnnData)
    assert list(adata.obs) == list(before.obs)
    made.write_h5ad(tmp_path / "a.h5ad")
    again = ad.read_h5ad(tmp_path / "a.h5ad")
    names = ["ginseng_audit_label", "ginseng_audit_wrong", "ginseng_audit_score"]
    assert set(again.obs) - set(before.obs) == set(names)
    gs.tl.audit_labels(again, "cell_type", model=model, silent=True)
    assert again.obs[names].equals(made.obs[names])
    from_path = gs.tl.audit_labels(tmp_path / "a.h5ad", "cell_type", model=model, silent=True)
    assert from_path.to_dict() == gs.tl.audit_labels(again, "cell_type", model=model, silent=True).to_dict()
    merged = ad.concat([again[:60], again[60:]])  # which drops `uns`
    gs.tl.audit_labels(merged, "cell_type", model=model, silent=True)
    adata.obs["ginseng_audit_wrong"] = "mine"
    with pytest.raises(ValueError, match="was not written by ginseng"):
        gs.tl.audit_labels(adata, "cell_type", model=model, silent=True)


def test_errors(make_cells: Make) -> None:
    adata = make_cells()
    with pytest.raises(ValueError, match="no probabilities"):
        gs.tl.audit_labels(adata, "cell_type", model=LinearSVC(), silent=True)
    with pytest.raises(ValueError, match="min_score"):
        gs.tl.audit_labels(adata, "cell_type", min_score=5)
    with pytest.raises(ValueError, match="Pass only one"):
        gs.tl.audit_labels(adata, "cell_type", genes=["GENE1"], n_top_genes=5)
    adata.obs["ginseng_audit_label"] = adata.obs["cell_type"]
    with pytest.raises(ValueError, match="which is an input"):
        gs.tl.audit_labels(adata, "ginseng_audit_label")
    assert "ginseng_audit" not in adata.uns
