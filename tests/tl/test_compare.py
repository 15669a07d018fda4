"""Models compared on the same cells and genes, with the metrics of scikit-learn."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn import metrics
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB, MultinomialNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

import ginseng as gs
from ginseng._core import registry
from ginseng.train import GinsengClassifierTrainerSettings

type Make = Callable[..., ad.AnnData]

FAST = {"epochs": 3, "batch_size": 16, "silent": True}
METRICS = {
    "accuracy": metrics.accuracy_score,
    "balanced_accuracy": metrics.balanced_accuracy_score,
    "macro_f1": lambda t, p: metrics.f1_score(t, p, average="macro"),
    "weighted_f1": lambda t, p: metrics.f1_score(t, p, average="weighted"),
    "macro_precision": lambda t, p: metrics.precision_score(t, p, average="macro", zero_division=0),
    "macro_recall": lambda t, p: metrics.recall_score(t, p, average="macro"),
}


@pytest.fixture
def noisy(make_cells: Make) -> ad.AnnData:
    """Return cells with a fifth of wrong labels, so that no model is always right."""
    adata = make_cells(240)
    wrong = np.random.default_rng(0).random(240) < 0.2
    labels = adata.obs["cell_type"].astype(str).to_numpy()
    adata.obs["cell_type"] = np.where(wrong, np.roll(labels, 1), labels)
    return adata


def expression(adata: ad.AnnData) -> np.ndarray:
    x = adata.X.toarray()
    return np.log1p(1e4 * x / x.sum(axis=1, keepdims=True))


def test_table_and_labels_are_those_of_scikit_learn(noisy: ad.AnnData) -> None:
    before = noisy.copy()
    table = gs.tl.compare(noisy, "cell_type", ["linear", "logistic_regression", "random_forest"], **FAST)
    assert list(table.index) == ["linear", "logistic_regression", "random_forest"]
    part = noisy.obs["ginseng_split"]
    test, rest = (part == "test").to_numpy(), (part != "test").to_numpy()
    assert part.value_counts().to_dict() == {"train": 168, "validation": 24, "test": 48}
    x, y = expression(before), before.obs["cell_type"]
    for name, estimator in {
        "logistic_regression": LogisticRegression(class_weight="balanced", max_iter=1000),
        "random_forest": RandomForestClassifier(class_weight="balanced", random_state=0),
    }.items():
        expected = estimator.fit(x[rest].astype(np.float32), y[rest]).predict(x[test].astype(np.float32))
        assert noisy.obs[f"ginseng_{name}_cell_type"][test].astype(str).tolist() == expected.tolist()
    for name in table.index:
        predicted = noisy.obs[f"ginseng_{name}_cell_type"]
        assert predicted[~test].isna().all()
        assert noisy.obs[f"ginseng_{name}_confidence"][test].between(1 / 3, 1).all()
        for metric, score in METRICS.items():
            assert table.loc[name, metric] == pytest.approx(score(y[test], predicted[test].astype(str))), metric
    assert (table[["fit_seconds", "predict_seconds"]] > 0).all(axis=None)
    assert (table["accuracy"] < 1).all()
    found = noisy.uns["ginseng"]["comparison"]
    for counts, name in zip(found["confusion"]["counts"], table.index, strict=True):
        expected = metrics.confusion_matrix(
            y[test], noisy.obs[f"ginseng_{name}_cell_type"][test].astype(str), labels=found["confusion"]["labels"]
        )
        np.testing.assert_array_equal(counts, expected)
    assert (noisy.X != before.X).nnz == 0
    pd.testing.assert_frame_equal(noisy.obs[before.obs.columns], before.obs)


@pytest.mark.parametrize("form", ["h5ad", "zarr"])
def test_all_of_it_survives_a_file(noisy: ad.AnnData, tmp_path: Path, form: str) -> None:
    search = GridSearchCV(LogisticRegression(max_iter=300), {"C": [0.1, 1.0]}, cv=2)
    table = gs.tl.compare(noisy, "cell_type", {"γ small": {"architecture": "linear"}, "search": search}, **FAST)
    getattr(noisy, f"write_{form}")(tmp_path / f"a.{form}")
    back = getattr(ad, f"read_{form}")(tmp_path / f"a.{form}")
    found = back.uns["ginseng"]["comparison"]
    pd.testing.assert_frame_equal(found["table"], table, check_index_type=False)
    assert list(found["confusion"]["labels"]) == ["B cell", "T/NK", "γδ T"]
    assert found["confusion"]["counts"].shape == (2, 3, 3)
    assert json.loads(found["params"]["best_params"])["search"]["C"] in (0.1, 1.0)
    assert not hasattr(search, "best_params_"), "the user's estimator was fitted"
    gs.pl.compare(back, show=False)
    test = back[back.obs["ginseng_split"] == "test"].copy()
    gs.tl.evaluate(test, "cell_type", key_added="ginseng_search")
    assert test.uns["ginseng_search"]["metrics"]["accuracy"] == table.loc["search", "accuracy"]


def test_any_model_will_do(noisy: ad.AnnData) -> None:
    models = [
        registry.get("linear", {"dropout_rate": 0.1}),
        GinsengClassifierTrainerSettings(architecture="gated", epochs=1, config={"gate_dim": 4}),
        MultinomialNB(),
        GaussianNB(),  # does not support sparse input
        make_pipeline(StandardScaler(with_mean=False), LinearSVC()),  # has no probabilities
        GridSearchCV(RandomForestClassifier(), {"n_estimators": [5]}, cv=2),
    ]
    table = gs.tl.compare(noisy, "cell_type", models, **FAST)
    assert list(table.index) == [
        "linear", "gated", "MultinomialNB", "GaussianNB", "Pipeline(LinearSVC)", "GridSearchCV(RandomForestClassifier)",
    ]  # fmt: skip
    assert (table["accuracy"] > 0.5).all()
    assert "ginseng_Pipeline(LinearSVC)_cell_type" in noisy.obs
    assert "ginseng_Pipeline(LinearSVC)_confidence" not in noisy.obs


def test_default_models(noisy: ad.AnnData) -> None:
    table = gs.tl.compare(noisy, "cell_type", **FAST)
    assert list(table.index) == [gs.model.architectures()[0], "logistic_regression", "random_forest"]


class Spy(MultinomialNB):
    """Records the shape of the data that each clone is fitted to."""

    seen: list[tuple[int, int]] = []  # noqa: RUF012

    def fit(self, X, y):
        assert sparse.issparse(X)
        Spy.seen.append(X.shape)
        return super().fit(X, y)


def test_genes_are_chosen_on_training_cells_alone(make_cells: Make) -> None:
    adata = make_cells(200)
    adata.layers["counts"] = adata.X.copy()
    adata.X = sparse.csr_matrix(adata.shape, dtype=np.float32)
    Spy.seen.clear()
    gs.tl.compare(adata, "cell_type", [Spy()], layer="counts", n_top_genes=12, **FAST)
    assert Spy.seen == [(160, 12)]
    train = adata[adata.obs["ginseng_split"] == "train"].copy()
    gs.pp.select_markers(train, "cell_type", 12, layer="counts", silent=True)
    assert list(adata.uns["ginseng"]["comparison"]["genes"]) == list(train.var_names[train.var["ginseng_genes"]])
    assert "ginseng_genes" not in adata.var

    others = ["GENE7", "GENE3", "GENE12"]
    gs.tl.compare(adata, "cell_type", [Spy()], layer="counts", genes=others, **FAST)
    assert list(adata.uns["ginseng"]["comparison"]["genes"]) == others
    assert Spy.seen[-1] == (160, 3)


def test_whole_groups_are_tested(noisy: ad.AnnData) -> None:
    gs.tl.compare(noisy, "cell_type", ["linear"], group_key="donor", fractions=(0.6, 0.2, 0.2), **FAST)
    parts = noisy.obs.groupby("donor", observed=True)["ginseng_split"].unique()
    assert parts.str.len().eq(1).all()
    assert parts.str[0].value_counts().to_dict() == {"train": 3, "validation": 1, "test": 1}
    with pytest.raises(ValueError, match=r"3 .* 2.*\(0\.8, 0, 0\.2\)"):
        gs.tl.compare(noisy, "cell_type", group_key=[f"d{i % 2}" for i in range(240)], **FAST)


def test_a_given_split(noisy: ad.AnnData) -> None:
    rng = np.random.default_rng(1)
    noisy.obs["part"] = rng.choice(["train", "test", None], noisy.n_obs, p=[0.6, 0.3, 0.1])
    given = noisy.obs["part"].copy()
    gs.tl.compare(noisy, "cell_type", ["linear", MultinomialNB()], split_key="part", **FAST)
    written = noisy.obs["ginseng_split"]
    assert (written.astype(object).where(written.notna(), None) == given.where(given.notna(), None)).sum() == (
        given.notna().sum()
    )
    assert noisy.obs["ginseng_linear_cell_type"].notna().sum() == (given == "test").sum()
    assert noisy.uns["ginseng"]["comparison"]["params"]["n_validation"] == 0
    noisy.obs["part"] = "holdout"
    with pytest.raises(ValueError, match=r"'holdout'.*'train', 'validation', 'test'"):
        gs.tl.compare(noisy, "cell_type", split_key="part", **FAST)


def test_a_network_does_as_train_and_classify_do(noisy: ad.AnnData) -> None:
    noisy.obs["part"] = np.where(np.arange(240) < 180, "train", "test")
    settings = {"architecture": "linear", "epochs": 3, "batch_size": 16, "seed": 3}
    gs.tl.compare(noisy, "cell_type", {"net": settings}, split_key="part", silent=True)
    train, test = noisy[:180].copy(), noisy[180:].copy()
    gs.tl.train(train, "cell_type", settings=settings, silent=True)
    gs.tl.classify(test, train, adapt=False, silent=True)
    assert test.obs["ginseng_cell_type"].tolist() == test.obs["ginseng_net_cell_type"].tolist()
    np.testing.assert_allclose(test.obs["ginseng_confidence"], test.obs["ginseng_net_confidence"], rtol=1e-5)


def test_cells_without_counts_are_unassigned_by_all(noisy: ad.AnnData) -> None:
    noisy.obs["part"] = np.where(np.arange(240) < 180, "train", "test")
    x = noisy.X.toarray()
    x[200:203, :-1] = 0
    noisy.X = sparse.csr_matrix(x)
    with pytest.warns(UserWarning, match=r"3 of 60 .*'unassigned'") as record:
        gs.tl.compare(
            noisy, "cell_type", ["linear", MultinomialNB()], split_key="part", genes=noisy.var_names[:-1], **FAST
        )
    assert record[0].filename == __file__
    for name in ("linear", "MultinomialNB"):
        assert (noisy.obs[f"ginseng_{name}_cell_type"] == "unassigned").sum() == 3
        assert (noisy.obs[f"ginseng_{name}_confidence"][200:203] == 0).all()
    assert list(noisy.uns["ginseng"]["comparison"]["confusion"]["labels"])[2] == "unassigned"


def test_a_class_that_no_one_can_learn(make_cells: Make) -> None:
    adata = make_cells(labels=("B cell", "T/NK", "γδ T", "rare"))
    rare = adata.obs["cell_type"] == "rare"
    adata.obs["part"] = np.where(rare | (np.arange(120) % 5 == 0), "test", "train")
    with pytest.warns(UserWarning, match="'rare'") as record:
        gs.tl.compare(adata, "cell_type", ["linear", MultinomialNB()], split_key="part", **FAST)
    assert record[0].filename == __file__
    assert (adata.obs["ginseng_MultinomialNB_cell_type"][rare].astype(str) != "rare").all()
    adata.obs["part"] = np.where(adata.obs["cell_type"] == "B cell", "train", "test")
    with pytest.raises(ValueError, match="'B cell'"):
        gs.tl.compare(adata, "cell_type", split_key="part", **FAST)


def test_cells_without_a_label_are_left_out(noisy: ad.AnnData) -> None:
    noisy.obs.iloc[:40, noisy.obs.columns.get_loc("cell_type")] = None
    with pytest.warns(UserWarning, match="40 of 240"):
        gs.tl.compare(noisy, "cell_type", [MultinomialNB()], **FAST)
    assert noisy.obs["ginseng_split"][:40].isna().all()
    assert noisy.obs["ginseng_split"][40:].notna().all()


@pytest.mark.parametrize("form", ["h5ad", "zarr", "backed"])
def test_from_disk(noisy: ad.AnnData, tmp_path: Path, form: str) -> None:
    expected = gs.tl.compare(noisy.copy(), "cell_type", [MultinomialNB()], n_top_genes=10, **FAST)
    path = tmp_path / ("a.zarr" if form == "zarr" else "a.h5ad")
    (noisy.write_zarr if form == "zarr" else noisy.write_h5ad)(path)
    data = gs.read_adata(path, backed=True) if form == "backed" else path
    found = gs.tl.compare(data, "cell_type", [MultinomialNB()], n_top_genes=10, **FAST)
    pd.testing.assert_frame_equal(found[list(METRICS)], expected[list(METRICS)])
    if form == "backed":
        assert "ginseng_MultinomialNB_cell_type" in data.obs
        data.file.close()


def test_a_view_becomes_a_copy(noisy: ad.AnnData) -> None:
    view = noisy[::2]
    gs.tl.compare(view, "cell_type", [MultinomialNB()], **FAST)
    assert "ginseng_split" in view.obs
    assert "ginseng_split" not in noisy.obs


class Failing(MultinomialNB):
    def fit(self, X, y):
        raise RuntimeError("out of luck")


@pytest.mark.parametrize(
    ("models", "kwargs", "error", "message"),
    [
        (["gatd"], {}, ValueError, "'gatd'.*'gated'"),
        ("gated", {}, TypeError, "`models`.*'gated'"),
        ([], {}, ValueError, "empty"),
        ([MultinomialNB], {}, TypeError, "MultinomialNB.* name"),
        ([MultinomialNB(), MultinomialNB()], {}, ValueError, "'MultinomialNB'"),
        ({"a/b": "linear"}, {}, ValueError, "'a/b'"),
        ([{"architecture": "linear", "leraning_rate": 1}], {}, TypeError, "no setting 'leraning_rate'"),
        (["linear"], {"fractions": (0.5, 0.5)}, ValueError, r"add up to 1.*Found \(0.5, 0.5\)"),
        (["linear"], {"fractions": (0.9, 0.1, 0)}, ValueError, "only validation may be 0"),
        (["linear"], {"genes": ["GENE1"], "n_top_genes": 3}, ValueError, "`genes`.*`n_top_genes`"),
        (["linear"], {"split_key": "donor", "group_key": "donor"}, ValueError, "`split_key`.*`group_key`"),
        (["linear"], {"split_key": "dnor"}, KeyError, "Did you mean 'donor'"),
        ([Failing()], {}, RuntimeError, "out of luck"),
    ],
)
def test_errors_say_what_to_do(noisy: ad.AnnData, models, kwargs, error, message) -> None:
    before = noisy.copy()
    with pytest.raises(error, match=message) as raised:
        gs.tl.compare(noisy, "cell_type", models, **kwargs, **FAST)
    if error is RuntimeError:
        assert "'Failing'" in raised.value.__notes__[0]
    pd.testing.assert_frame_equal(noisy.obs, before.obs)
    assert not noisy.uns


def test_true_labels_are_never_replaced(noisy: ad.AnnData) -> None:
    noisy.obs["ginseng_linear_cell_type"] = noisy.obs["cell_type"]
    with pytest.raises(ValueError, match=r"'ginseng_linear_cell_type'.*`key_added`"):
        gs.tl.compare(noisy, "ginseng_linear_cell_type", ["linear"], **FAST)


def test_log_normalised_data(noisy: ad.AnnData) -> None:
    expected = gs.tl.compare(noisy.copy(), "cell_type", ["logistic_regression"], **FAST)
    noisy.X = sparse.csr_matrix(expression(noisy).astype(np.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = gs.tl.compare(noisy, "cell_type", ["logistic_regression"], normalize=False, **FAST)
    pd.testing.assert_frame_equal(found[list(METRICS)], expected[list(METRICS)])
