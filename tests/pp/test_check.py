"""The report, and that the call in it works."""

import html
import json
import warnings
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import ginseng as gs
from ginseng._cells.gene_names import id_type, species, without_version
from ginseng.model import GinsengClassifierState

type Make = Callable[..., ad.AnnData]
type State = GinsengClassifierState


def log(adata: ad.AnnData) -> None:
    x = adata.X.toarray()
    adata.X = np.log1p(1e4 * x / x.sum(axis=1, keepdims=True))


def in_raw(adata: ad.AnnData) -> None:
    adata.raw = adata.copy()
    adata.X = stats.zscore(adata.X.toarray())


def in_layer(adata: ad.AnnData) -> None:
    adata.layers["raw"] = adata.X
    adata.X = stats.zscore(adata.X.toarray())


def by_id(adata: ad.AnnData) -> None:
    adata.var["gene_symbols"] = adata.var_names
    adata.var_names = [f"ENSG{i:011}.2" for i in range(30)]


CASES = {
    "counts": (lambda adata: None, "X", ""),
    "counts in a layer": (in_layer, "layers['raw']", "layer='raw'"),
    "counts in raw": (in_raw, "raw.X", "layer='raw'"),
    "log-normalised": (log, "X", "normalize=False"),
    "other ids": (by_id, "X", "gene_key='gene_symbols'"),
}


@pytest.mark.parametrize("from_path", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_the_call_works(make_cells: Make, state: State, tmp_path: Path, case: str, from_path: bool) -> None:
    change, use, says = CASES[case]
    adata = make_cells(seed=2)
    change(adata)
    before = adata.copy()
    given, model = adata, state
    if from_path:
        adata.write_h5ad(tmp_path / "a.h5ad")
        gs.save_model(state, tmp_path / "m.h5")
        given, model = tmp_path / "a.h5ad", tmp_path / "m.h5"
    found = gs.pp.check(given, model)
    assert found.ok, found
    assert found.use == use
    assert says in found.call
    assert (found.n_cells, found.n_genes, found.n_found, found.n_model_genes) == (120, 30, 30, 30)
    assert list(adata.obs) == list(before.obs)
    assert list(adata.uns) == list(before.uns)
    names = {"gs": gs, "adata": adata, "model": model}
    lines = found.call.splitlines()
    exec("\n".join([*lines[:-1], f"result = {lines[-1]}"]), names)
    labels = names["result"]["cell_type"] if from_path and not lines[:-1] else names["adata"].obs["ginseng_cell_type"]
    assert (labels.to_numpy() == before.obs["cell_type"].astype(str).to_numpy()).mean() > 0.9
    assert json.loads(json.dumps(found.to_dict()))["call"] == found.call
    assert found.call in repr(found)
    assert html.escape(found.call) in found._repr_html_()


def test_without_a_model_it_suggests_training(make_cells: Make) -> None:
    adata = make_cells()
    found = gs.pp.check(adata)
    assert found.call == "gs.tl.train(adata, 'cell_type')"
    del adata.obs["cell_type"]
    found = gs.pp.check(adata)
    assert found.call == "gs.tl.train(adata, label_key)"
    assert "which column of `obs` has the cell types? donor" in repr(found)


def test_problems_and_notes(make_cells: Make, state: State) -> None:
    adata = make_cells()
    adata.X = stats.zscore(adata.X.toarray())
    adata.var_names = [f"x{i}" for i in range(30)]
    found = gs.pp.check(adata, state)
    assert not found.ok
    assert found.call == ""
    assert len(found.problems) == 2
    assert "no matrix has counts" in found.problems[0]
    assert "None of the 30 genes" in found.problems[1]

    adata = make_cells()
    x = adata.X.toarray()
    x[:2], x[5, 3] = 0, np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adata = ad.AnnData(x, obs=adata.obs, var=adata.var)
        adata.var_names = [*adata.var_names[:-1], "GENE0"]
        adata.obs_names = ["c", *adata.obs_names[:-1]]
        adata.obs_names = ["cell0", *adata.obs_names[1:]]
    adata.layers["counts"] = np.nan_to_num(x)
    adata.var["feature_types"] = ["Gene Expression"] * 29 + ["Antibody Capture"]
    found = gs.pp.check(adata, state)
    assert found.use == "layers['counts']"
    assert found.other_features == {"Antibody Capture": 1}
    assert found.n_duplicated == 0
    text = repr(found)
    for note in ("X has 1 NaN or infinite values", "1 'Antibody Capture' are not genes", "2 of 120 examined cells",
                 "1 cell names are repeated", "29 of its 30 genes are in the data"):  # fmt: skip
        assert note in text
    del adata.var["feature_types"]
    assert gs.pp.check(adata).n_duplicated == 1


def test_a_model_of_log_normalised_values(make_cells: Make) -> None:
    adata = make_cells()
    counts = adata.copy()
    log(adata)
    gs.tl.train(adata, "cell_type", architecture="linear", epochs=1, normalize=False, batch_size=16, silent=True)
    assert gs.pp.check(adata, adata).call == "gs.tl.classify(adata, model)"
    assert gs.pp.check(counts, adata).call == "gs.tl.classify(adata, model, normalize=True)"


ENSEMBL = [f"ENSG{i:011}" for i in range(40)]
SYMBOLS = ["ACTB", "GAPDH", "CD3D", "MALAT1", "LYZ", "NKG7", "TPT1", "EEF1A1", "GNLY", "CCL5", "FTL", "VIM", "HLA-A"]


@pytest.mark.parametrize(
    ("names", "kind", "animal"),
    [
        (ENSEMBL, "Ensembl ids", "human"),
        ([f"{name}.{i}" for i, name in enumerate(ENSEMBL)], "Ensembl ids with versions", "human"),
        ([name.replace("ENSG", "ENSMUSG") for name in ENSEMBL], "Ensembl ids", "mouse"),
        (SYMBOLS, "symbols", "human"),
        ([name.title() for name in SYMBOLS], "symbols", "mouse or rat"),
        ([str(i) for i in range(40)], "Entrez ids", None),
        ([f"gene{i}" for i in range(40)], "symbols", None),
        (["Y74C9A.3", "unc-13", "let-7"] * 9, "symbols", None),
        ([], "symbols", None),
    ],
)
def test_what_names_say(names: list[str], kind: str, animal: str | None) -> None:
    assert id_type(names) == kind
    assert species(names) == animal


def test_only_ensembl_ids_have_versions() -> None:
    names = ["ENSG00000167286.15", "ENSMUSG00000000001.4", "ENSG00000002586.20_PAR_Y", "Y74C9A.3", "RP11.1"]
    assert [without_version(name) for name in names] == [
        "ENSG00000167286", "ENSMUSG00000000001", "ENSG00000002586_PAR_Y", "Y74C9A.3", "RP11.1",
    ]  # fmt: skip


SYMBOLS_OF_CELLS = [f"GENE{i}" for i in range(30)]


def in_column(adata: ad.AnnData) -> None:
    adata.var["symbol"] = SYMBOLS_OF_CELLS
    adata.var_names = [str(i) for i in range(30)]


def prefixed(adata: ad.AnnData) -> None:
    adata.var_names = [f"GRCh38_{name}" for name in SYMBOLS_OF_CELLS]


def numbered(adata: ad.AnnData) -> None:
    adata.var_names = [str(i) for i in range(30)]


def copied_and_blank(adata: ad.AnnData) -> None:
    adata.var_names = pd.Index(["GENE1", *SYMBOLS_OF_CELLS[1:29], ""])


def unknown_kinds(adata: ad.AnnData) -> None:
    adata.var["modality"] = ["one"] * 20 + ["two"] * 10


def other_kinds(adata: ad.AnnData) -> None:
    adata.var["feature_type"] = ["gex"] * 28 + ["adt", "HTO"]


def antibodies(adata: ad.AnnData) -> None:
    adata.var_names = [*SYMBOLS_OF_CELLS[:28], "ADT_CD3", "HTO_1"]


def words(adata: ad.AnnData) -> None:
    adata.obs["cell_type"] = [*adata.obs["cell_type"].astype(str)[:100], *["Unknown"] * 20]


def panel(adata: ad.AnnData) -> None:
    adata._inplace_subset_var(np.arange(20))


@pytest.mark.filterwarnings("ignore:Variable names are not unique")
@pytest.mark.parametrize("with_model", [True, False])
@pytest.mark.parametrize(
    "change",
    [in_column, prefixed, numbered, copied_and_blank, unknown_kinds, other_kinds, antibodies, words, panel],
)
def test_it_says_what_the_verbs_say(make_cells: Make, state: State, change: Callable, with_model: bool) -> None:
    adata = make_cells()
    change(adata)
    found = gs.pp.check(adata, state if with_model else None)
    refused = ""
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            if with_model:
                gs.tl.classify(adata, state)
            else:
                gs.tl.train(adata, "cell_type", architecture="linear", epochs=1, batch_size=16, silent=True)
    except ValueError as error:
        refused = str(error)
    assert found.problems == ([refused] if refused else [])
    if refused:
        return
    said = [str(w.message) for w in caught]
    for note in found.notes:
        if "are not genes, and are left out" in note:  # the same in fewer words
            assert any("the 28 genes of 30" in line for line in said)
        else:
            assert any(note in line for line in said), (note, said)
    n_lines = sum(line.startswith("Partial gene overlap") and "few genes" not in line for line in said)
    assert len(said) - n_lines == len(found.notes), said
