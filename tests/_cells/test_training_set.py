"""What to train on, chosen before anything is read."""

import re
import warnings
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
    with pytest.warns(UserWarning, match="2 of 120 cells have no label in 'label'"):
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
        ({"label_key": [None] * 120}, ValueError, "no labels in 120 cells"),
        ({"label_key": ["a", "b\n"] * 59 + ["a\tb", "b"]}, ValueError, "not plain text"),
        ({"layer": "count"}, KeyError, "`adata.layers` has no 'count'"),
        ({"group_key": "donr"}, KeyError, r"Did you mean 'donor'\?"),
        ({"group_key": ["a"] * 119 + [None]}, ValueError, "1 labelled cells have no group in 'group'"),
        ({"genes": ["GENE1", "GENE99", "GENE98"]}, KeyError, "2 of 3 genes are not in `adata`: GENE99, GENE98"),
        ({"genes": []}, ValueError, "No genes are selected"),
        ({"genes": np.ones(7, bool)}, ValueError, "mask has 7 values for 30 genes"),
        ({"genes": "ginseng_gene"}, KeyError, r"`adata.var` has no .*\. Did you mean 'ginseng_genes'\?"),
        ({"genes": "gaps"}, ValueError, "boolean mask .* it is object"),
        ({"gene_key": "symbl"}, KeyError, r"Did you mean 'symbol'\?"),
        ({"gene_key": "numbers"}, ValueError, r"`adata.var\['numbers'\]` has row numbers .* pass `gene_key='symbol'`"),
        ({"gene_key": "unnamed"}, ValueError, r"No gene has a name in `adata.var\['unnamed'\]`"),
    ],
)  # fmt: skip
def test_errors_name_what_there_is(make_cells: Make, arguments: dict, error: type[Exception], message: str) -> None:
    adata = make_cells()
    adata.var["ginseng_genes"] = True
    adata.var["symbol"] = adata.var_names
    adata.var["numbers"] = range(30)
    adata.var["unnamed"] = ""
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


def read(cells: object, adata: ad.AnnData) -> np.ndarray:
    blocks = list(cells.blocks(open_cells(adata), size=50))  # type: ignore[attr-defined]
    return sparse.vstack([block for _, block, _ in blocks]).toarray()


@pytest.mark.parametrize("genes", [None, ["c", "a"], np.array([True, False, True, *[False] * 27])])
@pytest.mark.parametrize("in_column", [True, False])
def test_rows_of_one_name_are_summed(make_cells: Make, genes: object, in_column: bool) -> None:
    adata = make_cells()
    names = ["a", "b", *["c"] * 20, None, "", "nan", " ", "NA", "nan-1", "d", "d"]
    if in_column:
        adata.var["name"] = names
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            adata.var_names = pd.Index([str(name) for name in names])
    with pytest.warns(UserWarning, match="summed|left out") as said:
        cells = choose(adata, "cell_type", genes=genes, gene_key="name" if in_column else None)
    lines = [str(w.message) for w in said]
    if genes is None:
        assert lines == [
            "22 rows share the names of 2 genes and are summed by name: c, d.",
            "6 genes without a name are left out.",
        ]
    else:
        assert lines == ["20 rows share the names of 1 genes and are summed by name: c."]
    counts = pd.DataFrame(adata.X.toarray().T).groupby(pd.Index(names)).sum().T
    wanted = {type(None): ["a", "b", "c", "d"], list: ["c", "a"], np.ndarray: ["a", "c"]}[type(genes)]
    assert cells.gene_names.tolist() == wanted
    np.testing.assert_array_equal(read(cells, adata), counts[wanted])


def test_copies_across_kinds_are_not_summed(make_cells: Make) -> None:
    adata = make_cells()
    adata.var["symbol"] = [*(f"CD{i}" for i in range(20)), *(f"CD{i}" for i in range(10))]
    adata.var["modality"] = ["rna"] * 20 + ["prot"] * 10
    with pytest.warns(UserWarning, match="the 20 genes of 30 .*10 'prot'"):
        cells = choose(adata, "cell_type", genes=["CD3", "CD15"], gene_key="symbol")
    np.testing.assert_array_equal(read(cells, adata), adata.X.toarray()[:, [3, 15]])


def test_a_long_list_of_genes_is_cut_to_those_at_hand(make_cells: Make) -> None:
    adata = make_cells()
    panel = [f"GENE{i}" for i in range(20, 60)]
    with pytest.warns(UserWarning, match="40 genes .* 10 .* GENE30"):
        cells = choose(adata, "cell_type", genes=pd.Index([*panel, "GENE20", None]))
    assert cells.gene_names.tolist() == panel[:10]
    np.testing.assert_array_equal(read(cells, adata), adata.X.toarray()[:, 20:])
    with pytest.raises(KeyError, match=r"1 of 3 genes are not in `adata`: GENE2O. Did you mean 'GENE2'"):
        choose(adata, "cell_type", genes=["GENE1", "GENE2O", "GENE3"])
    with pytest.raises(KeyError, match="39 of 40 genes are not in `adata`"):
        choose(adata, "cell_type", genes=[f"GENE{i}" for i in range(29, 69)])
    versioned = [f"GRCh38_{name}" for name in panel[:10]]
    adata.var_names = [f"GRCh38_GENE{i}" for i in range(30)]
    with pytest.warns(UserWarning, match=r"matched without the prefix 'GRCh38_' \(GRCh38_GENE20 is GENE20\)"):
        cells = choose(adata, "cell_type", genes=panel[:10])
    assert cells.gene_names.tolist() == versioned


def test_some_of_the_genes(make_cells: Make) -> None:
    adata = make_cells()
    adata.var["name"] = ["b", "a", "b", *(f"g{i}" for i in range(27))]
    with pytest.warns(UserWarning, match="2 rows"):
        cells = choose(adata, "cell_type", gene_key="name")
    mask = np.zeros(30, bool)
    mask[[2, 5]] = True
    some = cells.only(mask)
    assert some.gene_names.tolist() == ["b", "g2"]
    np.testing.assert_array_equal(read(some, adata), read(cells, adata)[:, [0, 4]])


WORDS = ["Unknown", "unassigned", "N/A", "na", "?", "Not assigned", "un-annotated", "unknown cell type", "-", "null",
    "no_label", "No label", "no cell type", "not_known", "undef",
]  # fmt: skip


@pytest.mark.parametrize("word", WORDS)
def test_words_for_no_label(make_cells: Make, word: str) -> None:
    adata = make_cells()
    labels = adata.obs["cell_type"].astype(str).to_numpy(object)
    labels[:5] = word
    with pytest.warns(UserWarning, match=rf"5 of 120 cells have no label in 'label' .*\(5 {re.escape(repr(word))}\)"):
        cells = choose(adata, labels)
    assert cells.rows.tolist() == list(range(5, 120))
    assert word in choose(adata, labels, unlabeled=[]).label_names


@pytest.mark.parametrize("word", ["Doublet", "other", "low quality", "NK", "NA cell line", "+", "unknown T cell"])
def test_words_that_are_labels(make_cells: Make, word: str) -> None:
    adata = make_cells()
    labels = adata.obs["cell_type"].astype(str).to_numpy(object)
    labels[:5] = word
    assert word in choose(adata, labels).label_names
    with pytest.warns(UserWarning, match=rf"5 of 120 cells .*5 {re.escape(repr(word))}"):
        assert word not in choose(adata, labels, unlabeled=[word, "elsewhere"]).label_names


@pytest.mark.parametrize("unlabeled", [2, [2], np.array([2]), ("2",)])
def test_a_number_may_stand_for_none(make_cells: Make, unlabeled: Any) -> None:
    with pytest.warns(UserWarning, match=r"40 of 120 cells .*40 '2'"):
        assert choose(make_cells(), [0, 1, 2] * 40, unlabeled=unlabeled).label_names.tolist() == ["0", "1"]


@pytest.mark.parametrize(
    ("values", "error"),
    [
        (np.linspace(0, 1, 120), "has fractional numbers"),
        (pd.Categorical([0.5, 1.0] * 60), "has fractional numbers"),
        ([f"AAAC{i}-1" for i in range(120)], "has 120 different labels for 120 cells"),
        ([f"AAAC{i // 2 * 2 if i < 100 else i}-1" for i in range(120)], "has 70 different labels for 120 cells"),
        (list(range(120)), "has 120 different labels"),
        ([f"{i % 60 / 60:.3f}" for i in range(120)], "has fractional numbers"),
        (None, None),
    ],
)
def test_what_is_no_label(make_cells: Make, values: object, error: str | None) -> None:
    adata = make_cells()
    adata.obs["batch_score"] = 0.5
    if values is None:  # clusters, also as numbers that are whole, or parts of a hierarchy
        adata.obs["mine"] = [1.0, 2.0, 3.0] * 40
        assert choose(adata, "mine").label_names.tolist() == ["1", "2", "3"]
        assert choose(adata, ["1.1", "1.2", "2"] * 40).label_names.tolist() == ["1.1", "1.2", "2"]
        assert len(choose(adata, [f"{i % 8}.{i % 5}" for i in range(120)]).label_names) == 40
        return
    adata.obs["mine"] = values
    with pytest.raises(ValueError, match=f"'mine' {error}") as found:
        choose(adata, "mine")
    assert str(found.value).endswith(": 'cell_type', 'donor'.")
