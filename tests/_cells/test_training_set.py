"""What to train on, chosen before anything is read."""

from collections.abc import Callable
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from ginseng._cells.open import open_cells
from ginseng._cells.training_set import TrainingSet, choose_cells

type Make = Callable[..., ad.AnnData]


def choose(
    adata: ad.AnnData, label_key: Any, layer: str | None = None, gene_key: str | None = None, **how: Any
) -> TrainingSet:
    return choose_cells(open_cells(adata, layer=layer, gene_key=gene_key), label_key, **how)


def named(cells: object) -> list[str]:
    return [str(cells.label_names[i]) for i in cells.labels]  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["column", "list", "array", "series", "shuffled series", "categorical", "integers"])
def test_labels_in_any_form(make_cells: Make, kind: str) -> None:
    adata = make_cells()
    expected = adata.obs["cell_type"].astype(str).tolist()
    series = pd.Series(expected, index=adata.obs_names, name="mine")
    given = {
        "column": "cell_type",
        "list": expected,
        "array": np.array(expected),
        "series": series,
        "shuffled series": series.sample(frac=1, random_state=0),
        "categorical": pd.Series(pd.Categorical(expected), name="mine"),
        "integers": [{"B cell": 10, "T/NK": 2, "γδ T": 3}[e] for e in expected],
    }[kind]
    cells = choose(adata, given)
    if kind == "integers":
        assert named(cells) == [str(g) for g in given]
    else:
        assert named(cells) == expected
    assert cells.labels.dtype == np.int32
    assert cells.label_names.tolist() == sorted(set(named(cells)))
    assert cells.rows.tolist() == list(range(adata.n_obs))
    names = {"column": "cell_type", "series": "mine", "shuffled series": "mine", "categorical": "mine"}
    assert cells.label_key == names.get(kind, "label")


@pytest.mark.parametrize("missing", [None, np.nan, "", " ", "nan", "NA"])
def test_cells_without_label_are_left_out_with_a_warning(make_cells: Make, missing: object) -> None:
    adata = make_cells()
    labels = adata.obs["cell_type"].astype(object).to_numpy(copy=True)
    labels[[3, 50]] = missing
    with pytest.warns(UserWarning, match="2 of 120 cells have no label in 'label' and are left out"):
        cells = choose(adata, labels, group_key="donor")
    assert cells.rows.tolist() == [i for i in range(120) if i not in (3, 50)]
    assert named(cells) == [labels[i] for i in cells.rows]
    assert cells.groups is not None
    assert cells.group_names is not None
    assert cells.group_names[cells.groups].tolist() == adata.obs["donor"].to_numpy()[cells.rows].tolist()


def test_blanks_around_labels_and_unused_categories_are_no_classes(make_cells: Make) -> None:
    adata = make_cells(6)
    labels = pd.Categorical(["a", "b ", " b", "a", "a", "b"], categories=["a", "b ", " b", "b", "unused"])
    assert choose(adata, labels).label_names.tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"label_key": "cell_typ"}, KeyError, r"no column 'cell_typ'. Did you mean 'cell_type'\? There are: .*'donor'"),
        ({"label_key": ["a"] * 7}, ValueError, "`label_key` has 7 values for 120 cells"),
        ({"label_key": ["a"] * 120}, ValueError, "at least two classes; 'label' has only 'a' in 120 cells"),
        ({"label_key": [None] * 120}, ValueError, "no label at all"),
        ({"label_key": ["a", "b\n"] * 59 + ["a\tb", "b"]}, ValueError, "not plain text"),
        ({"layer": "count"}, KeyError, "`adata.layers` has no 'count'"),
        ({"group_key": "donr"}, KeyError, r"Did you mean 'donor'\?"),
        ({"group_key": ["a"] * 119 + [None]}, ValueError, "1 labelled cells have no group in 'group'"),
        ({"genes": ["GENE1", "GENE99", "GENE98"]}, KeyError, "2 of 3 genes are not in `adata`: GENE99, GENE98"),
        ({"genes": ["GENE1", "GENE1"]}, ValueError, "duplicated: GENE1"),
        ({"genes": []}, ValueError, "No genes are selected"),
        ({"genes": np.ones(7, bool)}, ValueError, "mask has 7 values for 30 genes"),
        ({"genes": "ginseng_gene"}, KeyError, r"`adata.var` has no .*\. Did you mean 'ginseng_genes'\?"),
        ({"genes": "gaps"}, ValueError, "must be a mask of True and False without gaps; it is object"),
        ({"gene_key": "symbl"}, KeyError, r"Did you mean 'symbol'\?"),
        ({"gene_key": "twice"}, ValueError, r"duplicated: same\. Run"),
    ],
)  # fmt: skip
def test_errors_name_what_there_is(make_cells: Make, arguments: dict, error: type[Exception], message: str) -> None:
    adata = make_cells()
    adata.var["ginseng_genes"] = True
    adata.var["symbol"] = adata.var_names
    adata.var["twice"] = "same"
    adata.var["gaps"] = pd.Series([True, None] * 15, index=adata.var_names, dtype=object)
    with pytest.raises(error, match=message):
        choose(adata, **{"label_key": "cell_type", **arguments})


@pytest.mark.parametrize("kind", ["bool", "boolean", "mask", "names"])
def test_genes_by_mask_keep_their_order_and_by_name_take_that_of_the_list(make_cells: Make, kind: str) -> None:
    adata = make_cells()
    wanted = ["GENE4", "GENE7", "GENE20"]
    mask = adata.var_names.isin(wanted)
    adata.var["bool"], adata.var["boolean"] = mask, pd.array(mask, "boolean")
    given = {"mask": mask, "names": wanted[::-1]}.get(kind, kind)
    cells = choose(adata, "cell_type", genes=given)
    expected = wanted[::-1] if kind == "names" else wanted
    assert cells.gene_names.tolist() == expected
    blocks = list(cells.blocks(open_cells(adata), size=50))
    x = sparse.vstack([block for _, block, _ in blocks]).toarray()
    np.testing.assert_array_equal(x, adata[:, expected].X.toarray())
    np.testing.assert_array_equal(np.concatenate([t for *_, t in blocks]), adata.X.toarray().sum(axis=1))


def test_genes_that_are_not_chosen_may_be_there_twice(make_cells: Make) -> None:
    adata = make_cells()
    adata.var["name"] = ["a", "b", *["c"] * 28]
    assert choose(adata, "cell_type", genes=["b", "a"], gene_key="name").gene_names.tolist() == ["b", "a"]
    with pytest.raises(ValueError, match="duplicated: c"):
        choose(adata, "cell_type", genes=["b", "c"], gene_key="name")
