"""Out-of-fold labels: every cell is labelled once by a model that has not seen it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score
from sklearn.naive_bayes import MultinomialNB
from sklearn.svm import LinearSVC

import ginseng as gs

type Make = Callable[..., ad.AnnData]

FAST = {"epochs": 2, "batch_size": 16, "silent": True}


def test_each_cell_is_labelled_by_a_model_that_has_not_seen_it(make_cells: Make) -> None:
    """With random labels, a model can only be right about its training cells."""
    adata = make_cells(150, n_genes=200)
    rng = np.random.default_rng(0)
    adata.obs["chance"] = rng.permutation(adata.obs["cell_type"].astype(str))
    from sklearn.neighbors import KNeighborsClassifier

    gs.tl.cross_validate(adata, "chance", KNeighborsClassifier(1), silent=True)
    assert adata.uns["ginseng_cv"]["metrics"]["accuracy"] < 0.5  # it would be 1 for training cells


def test_labels_probabilities_and_metrics(make_cells: Make) -> None:
    adata = make_cells()
    before = adata.copy()
    assert gs.tl.cross_validate(adata, "cell_type", MultinomialNB(), n_folds=4, silent=True) is None
    x = before.X.toarray()
    x = np.log1p(1e4 * x / x.sum(axis=1, keepdims=True))
    y = adata.obs["cell_type"].astype(str).to_numpy()
    fold = adata.obs["ginseng_cv_fold"].astype(str)
    predicted = adata.obs["ginseng_cv_cell_type"].astype(str)
    assert sorted(fold.unique()) == ["1", "2", "3", "4"]
    table = adata.uns["ginseng_cv"]["folds"]
    assert list(adata.uns["ginseng_cv"]["classes"]) == ["B cell", "T/NK", "γδ T"]
    for name in fold.unique():
        test = (fold == name).to_numpy()
        assert np.ptp(np.unique(y[test], return_counts=True)[1]) <= 1, "classes are not spread evenly"
        expected = MultinomialNB().fit(x[~test], y[~test])
        assert predicted[test].tolist() == expected.predict(x[test]).tolist()
        np.testing.assert_allclose(
            np.asarray(adata.obsm["ginseng_cv_probs"])[test], expected.predict_proba(x[test]), atol=1e-4
        )
        assert table.loc[name, "accuracy"] == accuracy_score(y[test], predicted[test])
        assert table.loc[name, ["n_train", "n_test"]].tolist() == [(~test).sum(), test.sum()]
    found = adata.uns["ginseng_cv"]["metrics"]
    assert found["macro_f1"] == pytest.approx(f1_score(y, predicted, average="macro"))
    np.testing.assert_allclose(
        adata.obs["ginseng_cv_confidence"], np.asarray(adata.obsm["ginseng_cv_probs"]).max(axis=1)
    )
    assert (adata.X != before.X).nnz == 0
    assert set(adata.obs) - set(before.obs) == {f"ginseng_cv_{c}" for c in ("cell_type", "confidence", "fold")}


def test_a_network_and_files(make_cells: Make, tmp_path: Path) -> None:
    adata = make_cells()
    gs.tl.cross_validate(adata, "cell_type", "linear", n_folds=2, epochs=10, batch_size=16, silent=True)
    assert adata.uns["ginseng_cv"]["metrics"]["accuracy"] > 0.95
    np.testing.assert_allclose(np.asarray(adata.obsm["ginseng_cv_probs"]).sum(axis=1), 1, rtol=1e-5)
    for form in ("h5ad", "zarr"):
        getattr(adata, f"write_{form}")(tmp_path / f"a.{form}")
        back = getattr(ad, f"read_{form}")(tmp_path / f"a.{form}")
        pd.testing.assert_frame_equal(
            back.uns["ginseng_cv"]["folds"], adata.uns["ginseng_cv"]["folds"], check_index_type=False
        )
        assert list(back.obs["ginseng_cv_fold"]) == list(adata.obs["ginseng_cv_fold"])
        gs.pl.confusion(back, key="ginseng_cv", show=False)
        gs.tl.evaluate(back, "cell_type", key_added="ginseng_cv")
        assert back.uns["ginseng_cv"]["metrics"]["accuracy"] == adata.uns["ginseng_cv"]["metrics"]["accuracy"]
    gs.tl.cross_validate(adata, "cell_type", LinearSVC(), n_folds=2, key_added="svc", silent=True)
    assert "svc_probs" not in adata.obsm
    assert "svc_confidence" not in adata.obs


@pytest.mark.parametrize("model", [None, MultinomialNB()])
def test_leave_one_group_out(make_cells: Make, model: object) -> None:
    adata = make_cells()
    adata.obs["donor"] = np.where(np.arange(120) < 70, "γ/1", "d2")  # leaves one donor for training
    gs.tl.cross_validate(adata, "cell_type", model, n_folds="loo", group_key="donor", architecture="linear", **FAST)
    assert (adata.obs["ginseng_cv_fold"].astype(str) == adata.obs["donor"]).all()
    assert adata.uns["ginseng_cv"]["folds"]["n_test"].to_dict() == {"d2": 50, "γ/1": 70}
    assert adata.uns["ginseng_cv"]["params"]["by"] == "donor"


def test_groups_share_a_fold(make_cells: Make) -> None:
    adata = make_cells()
    gs.tl.cross_validate(adata, "cell_type", MultinomialNB(), n_folds=3, group_key="donor", silent=True)
    assert (adata.obs.groupby("donor")["ginseng_cv_fold"].nunique() == 1).all()
    assert adata.obs["ginseng_cv_cell_type"].notna().all()


def test_table_copy_and_path(make_cells: Make, tmp_path: Path) -> None:
    adata = make_cells()
    table = gs.tl.cross_validate(adata, "cell_type", MultinomialNB(), n_folds=2, return_table=True, silent=True)
    assert list(table.index) == ["1", "2", "mean", "sd", "all cells"]
    assert table.loc["mean", "accuracy"] == pytest.approx(table.loc[["1", "2"], "accuracy"].mean())
    assert table.loc["all cells", "accuracy"] == adata.uns["ginseng_cv"]["metrics"]["accuracy"]
    other = make_cells()
    copied = gs.tl.cross_validate(other, "cell_type", MultinomialNB(), n_folds=2, copy=True, silent=True)
    assert "ginseng_cv" in copied.uns
    assert "ginseng_cv" not in other.uns
    other.write_h5ad(tmp_path / "a.h5ad")
    again = gs.tl.cross_validate(tmp_path / "a.h5ad", "cell_type", MultinomialNB(), n_folds=2, silent=True)
    assert again.loc["mean", "accuracy"] == table.loc["mean", "accuracy"]


def test_genes_are_chosen_for_each_fold(make_cells: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    from ginseng.tl import _contenders

    seen = []
    find = _contenders.find_markers

    def spy(a, labels, n, *args, **kw):
        seen.append((int((labels >= 0).sum()), n))
        return find(a, labels, n, *args, **kw)

    monkeypatch.setattr(_contenders, "find_markers", spy)
    gs.tl.cross_validate(make_cells(), "cell_type", MultinomialNB(), n_folds=3, n_top_genes=9, silent=True)
    assert seen == [(80, 9)] * 3


def test_cells_without_a_label_get_none(make_cells: Make) -> None:
    adata = make_cells()
    adata.obs["cell_type"] = adata.obs["cell_type"].astype(object).where(np.arange(120) >= 10, None)
    with pytest.warns(UserWarning, match="10 of 120"):
        gs.tl.cross_validate(adata, "cell_type", MultinomialNB(), n_folds=2, silent=True)
    assert adata.obs["ginseng_cv_cell_type"].isna().sum() == 10
    assert np.isnan(np.asarray(adata.obsm["ginseng_cv_probs"])[:10]).all()


def test_a_single_cell_of_its_class(make_cells: Make) -> None:
    adata = make_cells()
    adata.obs["cell_type"] = np.where(np.arange(120) == 7, "rare", adata.obs["cell_type"].astype(str))
    alone = pytest.warns(UserWarning, match=r"1 of the 4 .*'cell_type'.*'rare'")
    with alone, pytest.warns(UserWarning, match=r"'rare'.*fold") as record:
        gs.tl.cross_validate(adata, "cell_type", MultinomialNB(), n_folds=3, silent=True)
    assert {r.filename for r in record if "in fold" in str(r.message)} == {__file__}
    assert adata.obs["ginseng_cv_cell_type"].iloc[7] != "rare"
    assert np.asarray(adata.obsm["ginseng_cv_probs"]).shape == (120, 4)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"n_folds": 1}, "`n_folds`.*2 to 40"),
        ({"n_folds": 41}, "`n_folds`.*2 to 40"),
        ({"n_folds": 6, "group_key": "donor"}, "2 to 5"),
        ({"n_folds": "loo"}, "`group_key`.* 0"),
        ({"n_folds": "five"}, "'five'"),
        ({"copy": True, "return_table": True}, "`copy=True`.*`return_table=True`"),
        ({"genes": ["GENE1"], "n_top_genes": 2}, "`genes`.*`n_top_genes`"),
        ({"model": "gatd"}, "'gatd'.*'gated'"),
        ({"n_folds": "loo", "group_key": "cell_type"}, "would replace|Only|left to train on"),
    ],
)
def test_errors_say_what_to_do(make_cells: Make, kwargs: dict, message: str) -> None:
    adata = make_cells(labels=("A", "B", "C") if "cell_type" not in str(kwargs) else ("A", "B"), n_cells=120)
    kwargs = {"model": MultinomialNB(), **kwargs}
    with pytest.raises(ValueError, match=message):
        gs.tl.cross_validate(adata, "cell_type", silent=True, **kwargs)
    assert "ginseng_cv" not in adata.uns
