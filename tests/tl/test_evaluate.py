from __future__ import annotations

import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from ginseng.tl._evaluate import evaluate
from ginseng.tl._vote import vote

# anndata 0.13 uses an option that pandas 3 deprecates
pytestmark = pytest.mark.filterwarnings("ignore:The 'future.infer_string' option")

KNOWN = ["B", "T/NK", "γδ T", "_x"]


def make(true, predicted, key="ginseng"):
    index = [f"cell{i}" for i in range(len(true))]
    obs = pd.DataFrame({"cell_type": list(true), f"{key}_cell_type": list(predicted)}, index=index)
    return ad.AnnData(np.ones((len(true), 2), dtype=np.float32), obs=obs)


@pytest.fixture
def adata():
    return make(["B", "B", "T/NK", "γδ T"], ["B", "T/NK", "T/NK", "unassigned"])


@pytest.mark.filterwarnings("ignore:.*and the predicted labels share")
@given(
    st.lists(
        st.tuples(st.sampled_from(KNOWN), st.sampled_from([*KNOWN[1:], "unassigned"])),
        min_size=1,
        max_size=40,
    )
)
def test_scikit_learn_agrees(pairs):
    true, predicted = zip(*pairs, strict=True)
    adata = make(true, predicted)
    table = evaluate(adata, "cell_type", return_table=True)
    found = adata.uns["ginseng"]["metrics"]
    with warnings.catch_warnings():  # scikit-learn warns about labels that are only predicted
        warnings.simplefilter("ignore")
        balanced = metrics.balanced_accuracy_score(true, predicted)
        labels = sorted({*true, *predicted})
        report = metrics.classification_report(true, predicted, labels=labels, output_dict=True, zero_division=0)
        confusion = metrics.confusion_matrix(true, predicted, labels=labels)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(true, predicted))
    assert found["balanced_accuracy"] == pytest.approx(balanced)
    for average in ("macro", "weighted"):
        f1 = metrics.f1_score(true, predicted, average=average, zero_division=0)
        assert found[f"{average}_f1"] == pytest.approx(f1)
        expected = report[f"{average} avg"]
        row = table.loc[f"{average} avg", ["precision", "recall", "f1", "support"]]
        np.testing.assert_allclose(row.to_numpy(float), list(expected.values()))
    assert list(found["confusion"]["labels"]) == list(found["per_class"].index) == labels
    np.testing.assert_array_equal(found["confusion"]["counts"], confusion)
    for label in labels:
        np.testing.assert_allclose(table.loc[label].to_numpy(float), list(report[label].values()))
    assert (table.loc["accuracy", ["precision", "recall", "f1"]] == found["accuracy"]).all()
    assert table.loc["balanced accuracy", "recall"] == found["balanced_accuracy"]
    assert found["n_cells"] == len(true)


@pytest.mark.parametrize("form", ["h5ad", "zarr"])
def test_metrics_survive_a_file(adata, tmp_path, form):
    evaluate(adata, "cell_type")
    path = tmp_path / f"a.{form}"
    getattr(adata, f"write_{form}")(path)
    back = getattr(ad, f"read_{form}")(path).uns["ginseng"]["metrics"]
    before = adata.uns["ginseng"]["metrics"]
    assert back.keys() == before.keys()
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "weighted_f1", "n_cells", "label_key"):
        assert back[name] == before[name]
    assert list(back["per_class"].index) == ["B", "T/NK", "unassigned", "γδ T"]
    np.testing.assert_array_equal(back["per_class"], before["per_class"])
    np.testing.assert_array_equal(back["confusion"]["counts"], before["confusion"]["counts"])
    assert list(back["confusion"]["labels"]) == list(before["confusion"]["labels"])


def test_only_uns_changes(adata):
    adata.uns["ginseng"] = {"classes": ["B"], "metrics": {"accuracy": -1.0}}
    adata.uns["other"] = 1
    shared, before = adata.uns["ginseng"], adata.copy()
    assert evaluate(adata, "cell_type") is None
    pd.testing.assert_frame_equal(adata.obs, before.obs)
    np.testing.assert_array_equal(adata.X, before.X)
    assert adata.uns["ginseng"]["classes"] == ["B"]
    assert adata.uns["ginseng"]["metrics"]["accuracy"] == 0.5
    assert adata.uns["other"] == 1
    assert shared["metrics"] == {"accuracy": -1.0}, "a dictionary that others may hold was written into"


def test_copy(adata):
    other = evaluate(adata, "cell_type", copy=True)
    assert other.uns["ginseng"]["metrics"]["accuracy"] == 0.5
    assert not adata.uns
    with pytest.raises(ValueError, match=r"`copy=True`.*`return_table=True`"):
        evaluate(adata, "cell_type", copy=True, return_table=True)


@pytest.mark.parametrize("missing", [None, np.nan, ""])
@pytest.mark.parametrize("dtype", ["object", "category"])
def test_cells_without_a_label_are_left_out(missing, dtype):
    adata = make([*"AABB", missing], [*"ABBB", "A"])
    adata.obs["cell_type"] = adata.obs["cell_type"].astype(dtype)
    with pytest.warns(UserWarning, match=r"1 of 5 .*'cell_type'") as record:
        evaluate(adata, "cell_type")
    assert record[0].filename == __file__
    found = adata.uns["ginseng"]["metrics"]
    assert found["n_cells"] == 4
    assert found["accuracy"] == 0.75
    assert list(found["confusion"]["labels"]) == ["A", "B"]


def test_labels_are_compared_as_strings():
    adata = make([1, 2, 2], ["1", "2", "1"])
    evaluate(adata, "cell_type")
    assert adata.uns["ginseng"]["metrics"]["accuracy"] == pytest.approx(2 / 3)


def test_a_label_that_is_only_predicted_is_wrong_and_has_an_f1_of_zero(adata):
    table = evaluate(adata, "cell_type", return_table=True)
    assert table.loc["unassigned"].to_list() == [0, 0, 0, 0]
    assert table.loc["macro avg", "f1"] == pytest.approx((2 / 3 + 2 / 3 + 0 + 0) / 4)
    assert table.loc["balanced accuracy", "recall"] == pytest.approx((0.5 + 1 + 0) / 3)


def test_keys(adata):
    adata.obs["mine"] = adata.obs["cell_type"]
    evaluate(adata, "cell_type", prediction_key="mine", key_added="other")
    assert adata.uns["other"]["metrics"]["accuracy"] == 1
    assert adata.uns["other"]["metrics"]["prediction_key"] == "mine"
    assert "ginseng" not in adata.uns


def test_lazily_read(adata, tmp_path):
    pytest.importorskip("xarray")
    adata.write_zarr(tmp_path / "a.zarr")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # experimental features of anndata
        lazy = ad.experimental.read_lazy(tmp_path / "a.zarr")
        evaluate(lazy, "cell_type")
    assert lazy.uns["ginseng"]["metrics"]["accuracy"] == 0.5


def test_errors_say_what_to_do(adata):
    with pytest.raises(KeyError, match=r"'cel_type'.*'cell_type'"):
        evaluate(adata, "cel_type")
    with pytest.raises(KeyError, match=r"'x_cell_type'.*`gs\.tl\.classify`"):
        evaluate(adata, "cell_type", key_added="x")
    with pytest.raises(ValueError, match=r"0 of 2 .*'cell_type', 2 "):
        evaluate(make([None, None], ["A", "B"]), "cell_type")
    assert not adata.uns


def test_words_for_no_label_are_left_out():
    labels = ["A", "A", "B", "Unknown", "doublet", None]
    adata = make(labels, ["A", "B", "B", "A", "B", "A"])
    with pytest.warns(UserWarning, match=r"2 of 6 .*'cell_type' .*\(1 'Unknown', 1 missing\)"):
        evaluate(adata, "cell_type")
    assert adata.uns["ginseng"]["metrics"]["n_cells"] == 4
    with pytest.warns(UserWarning, match=r"3 of 6 .*1 'doublet'"):
        evaluate(adata, "cell_type", unlabeled="doublet")
    assert adata.uns["ginseng"]["metrics"]["accuracy"] == pytest.approx(2 / 3)
    with pytest.warns(UserWarning, match=r"1 of 6 .*\(1 missing\)"):
        evaluate(adata, "cell_type", unlabeled=[])
    assert "Unknown" in adata.uns["ginseng"]["metrics"]["per_class"].index
    with pytest.raises(ValueError, match=r"`unlabeled`.*'doublets'.*'cell_type'"):
        evaluate(adata, "cell_type", unlabeled=["doublets"])


@pytest.mark.parametrize(
    ("true", "predicted", "says"),
    [
        (["T", "T", "B"], ["T cell", "T cell", "B cell"], r"share none of 2 names: 3 of 3 cells .*\('T', 'B'\)"),
        (["T", "T", "B"], ["T cell", "T cell", "B"], r"share 1 of 2 names: 2 of 3 cells .*\('T'\)"),
        (["t cell", "B", "B"], ["T cell", "B", "B"], r"share 1 of 2 .*'T cell' and 't cell' differ"),
    ],
)
def test_names_that_are_not_shared(true, predicted, says):
    with pytest.warns(UserWarning, match=says):
        evaluate(make(true, predicted), "cell_type")


def test_names_that_could_have_been_predicted_are_shared():
    adata = make(["T", "T", "B"], ["NK", "NK", "NK"])
    adata.uns["ginseng"] = {"classes": np.array(["B", "NK", "T"], dtype=object)}
    evaluate(adata, "cell_type")  # all wrong, but no warning
    assert adata.uns["ginseng"]["metrics"]["accuracy"] == 0
    evaluate(make(["T", "T", "T", "B"], ["T", "T", "T", "T"]), "cell_type")  # an unknown name, but few cells


@pytest.mark.parametrize("verb", [evaluate, vote])
def test_the_path_of_cells_is_no_adata(verb):
    with pytest.raises(TypeError, match=r"`adata` is a str.*ginseng\.read_adata"):
        verb("cells.h5ad", "cell_type")
