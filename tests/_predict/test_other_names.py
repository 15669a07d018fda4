"""A model that was trained with symbols and ids knows its genes by either."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import ginseng as gs
from ginseng._cells import genes as matching

FAST = {"architecture": "linear", "epochs": 3, "calibrate": False, "silent": True}


@pytest.fixture(scope="module")
def blood() -> ad.AnnData:
    """Return real cells named by symbols, with the Ensembl ids beside them."""
    adata = gs.datasets.pbmc68k()
    gs.pp.map_genes(adata, "ensembl")
    adata.var["gene_ids"] = adata.var.pop("ginseng_ensembl")
    del adata.uns["ginseng_gene_map"]
    return adata[:, adata.var["gene_ids"] != ""].copy()


def by_ids(adata: ad.AnnData, *, keep: bool = False) -> ad.AnnData:
    other = adata.copy()
    other.var = pd.DataFrame({"symbol": adata.var_names} if keep else {}, index=adata.var["gene_ids"].to_numpy(object))
    return other


@pytest.fixture
def no_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    def rows_of_both(names: list[str], genes: list[str]) -> None:
        return None

    monkeypatch.setattr(matching, "rows_of_both", rows_of_both)


@pytest.mark.parametrize("trained_by", ["symbols", "ids"])
@pytest.mark.parametrize("form", ["memory", "file", "store"])
@pytest.mark.usefixtures("no_tables")
def test_a_query_by_either_name_gets_the_same_labels(
    blood: ad.AnnData, trained_by: str, form: str, tmp_path: Path
) -> None:
    reference = blood.copy() if trained_by == "symbols" else by_ids(blood, keep=True)
    model: object = reference
    if form == "store":
        store = gs.data.GinsengDataset.create(tmp_path / "s.zarr", reference, "cell_type", silent=True)
        model = gs.tl.train(store, **FAST)
    else:
        gs.tl.train(reference, "cell_type", **FAST)
    if form == "file":
        gs.save_model(reference, tmp_path / "model.h5")
        model = tmp_path / "model.h5"
    symbols, ids = blood.copy(), by_ids(blood)
    symbols.var = symbols.var[[]]
    versions = ids.copy()
    versions.var_names = [f"{name}.{i % 9 + 1}" for i, name in enumerate(ids.var_names)]
    probs = []
    for query in (symbols, ids, versions):
        gs.tl.classify(query, model, store_probs=True, silent=True)
        assert query.uns["ginseng"]["overlap"]["share"] == 1
        probs.append(query.obsm["ginseng_probs"])
    np.testing.assert_array_equal(probs[0], probs[1])
    np.testing.assert_array_equal(probs[0], probs[2])


def test_other_names_are_those_beside_the_genes(blood: ad.AnnData) -> None:
    reference = blood.copy()
    reference.var.iloc[3, reference.var.columns.get_loc("gene_ids")] = np.nan
    ids = reference.var["gene_ids"].to_list()
    reference.var.iloc[5, reference.var.columns.get_loc("gene_ids")] = ids[4]  # two genes cannot share one
    reference.var["description"] = [f"a long text of gene {i}" for i in range(reference.n_vars)]
    gs.tl.train(reference, "cell_type", genes=reference.var_names[:40][::-1].tolist(), **FAST)
    names = [str(name) for name in reference.uns["ginseng"]["model"]["other_names"]]
    expected = ["" if i in (3, 5) else ids[i] for i in range(40)][::-1]
    # of two rows with one id, the first in the order of the model keeps it
    expected[39 - 4], expected[39 - 5] = "", ids[4]
    assert names == expected


@pytest.mark.usefixtures("no_tables")
def test_without_other_names_nothing_is_found(blood: ad.AnnData) -> None:
    reference = blood.copy()
    reference.var = reference.var[[]].assign(description=[f"text {i}" for i in range(blood.n_vars)])
    gs.tl.train(reference, "cell_type", **FAST)
    assert "other_names" not in reference.uns["ginseng"]["model"]
    with pytest.raises(ValueError, match="None of the"):
        gs.tl.classify(by_ids(blood), reference, silent=True)


@pytest.mark.usefixtures("no_tables")
def test_ids_in_a_column_are_found(blood: ad.AnnData) -> None:
    reference, query = blood.copy(), by_ids(blood)
    gs.tl.train(reference, "cell_type", **FAST)
    query.var = pd.DataFrame({"ensembl_id": query.var_names}, index=pd.RangeIndex(query.n_vars).astype(str))
    found = gs.pp.check(query, reference)
    assert (found.gene_key, found.n_found) == ("ensembl_id", blood.n_vars)


def test_other_names_that_do_not_fit_are_refused(blood: ad.AnnData) -> None:
    reference = blood.copy()
    gs.tl.train(reference, "cell_type", **FAST)
    values = reference.uns["ginseng"]["model"]
    for bad in (values["other_names"][:-1], np.full(blood.n_vars, "ENSG00000167286")):
        with pytest.raises(ValueError, match="other_names"):
            gs.model.GinsengClassifierState.from_dict(values | {"other_names": bad})
