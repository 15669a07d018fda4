"""Genes that tell labels apart, beside scikit-learn's F test."""

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.feature_selection import f_classif

import ginseng as gs


@pytest.fixture(scope="module")
def pbmc() -> ad.AnnData:
    return gs.datasets.pbmc68k()


def expected(adata: ad.AnnData, labels: pd.Series) -> np.ndarray:
    x = np.asarray(adata.X.toarray(), np.float64)
    x = np.log1p(x / x.sum(axis=1, keepdims=True) * 1e4)
    keep = labels.notna().to_numpy()
    with np.errstate(all="ignore"):
        return np.nan_to_num(f_classif(x[keep], labels[keep].astype(str))[0])


@pytest.mark.parametrize("chunk_size", [64, 4096])
def test_is_the_f_of_scikit_learn(pbmc: ad.AnnData, chunk_size: int) -> None:
    adata = pbmc.copy()
    gs.pp.select_markers(adata, "cell_type", 150, chunk_size=chunk_size, silent=True)
    f = expected(pbmc, pbmc.obs["cell_type"])
    np.testing.assert_allclose(adata.var["ginseng_f"], f, rtol=1e-4)
    assert set(np.flatnonzero(adata.var["ginseng_genes"])) == set(np.argsort(-f)[:150])


@pytest.mark.parametrize("kind", ["dense", "csc", "backed", "view", "layer", "logged"])
def test_any_container(pbmc: ad.AnnData, kind: str, tmp_path: Path) -> None:
    plain = gs.pp.select_markers(pbmc, "cell_type", 100, silent=True, copy=True)
    adata, how = pbmc.copy(), {}
    if kind == "dense":
        adata.X = adata.X.toarray()
    elif kind == "csc":
        adata.X = adata.X.tocsc()
    elif kind == "backed":
        adata.write_h5ad(tmp_path / "a.h5ad")
        adata = gs.read_adata(tmp_path / "a.h5ad", backed=True)
    elif kind == "view":
        adata = adata[np.arange(adata.n_obs)]
    elif kind == "layer":
        adata.layers["counts"] = adata.X.copy()
        adata.X = sparse.csr_matrix(adata.shape, dtype=np.float32)
        how["layer"] = "counts"
    else:
        x = adata.X.astype(np.float64)
        adata.X = sparse.diags(1e4 / np.asarray(x.sum(axis=1)).ravel()) @ x
        adata.X = adata.X.log1p().tocsr()
        how["target_sum"] = None
    gs.pp.select_markers(adata, "cell_type", 100, silent=True, **how)
    np.testing.assert_allclose(adata.var["ginseng_f"], plain.var["ginseng_f"], rtol=1e-4)
    np.testing.assert_array_equal(adata.var["ginseng_genes"], plain.var["ginseng_genes"])


def test_cells_without_a_label_are_left_out_and_old_statistics_go(pbmc: ad.AnnData) -> None:
    adata = pbmc.copy()
    labels = adata.obs["cell_type"].astype(object)
    labels[::3] = None
    adata.obs["some"] = labels
    gs.pp.select_hvgs(adata, 100, silent=True)
    gs.pp.select_markers(adata, "some", 100, silent=True)
    np.testing.assert_allclose(adata.var["ginseng_f"], expected(pbmc, labels), rtol=1e-4)
    assert "ginseng_dispersions" not in adata.var
    gs.pp.select_hvgs(adata, 100, silent=True)
    assert "ginseng_f" not in adata.var


def test_constant_genes_and_perfect_markers() -> None:
    x = np.ones((6, 5), np.float32)
    x[:3, 0] = 0  # a perfect marker
    x[:, 1] = [0, 1, 0, 2, 1, 2]
    x[:, 2] = 0
    adata = ad.AnnData(x / 2, obs=pd.DataFrame({"t": list("aaabbb")}, index=list("abcdef")))
    with pytest.warns(UserWarning, match="Only 2 genes differ"):
        gs.pp.select_markers(adata, "t", 4, target_sum=None, silent=True)
    assert adata.var["ginseng_f"].tolist()[0] == np.inf
    assert adata.var["ginseng_f"].tolist()[2:] == [0, 0, 0]
    assert np.flatnonzero(adata.var["ginseng_genes"]).tolist() == [0, 1]


def test_bad_input_changes_nothing(pbmc: ad.AnnData) -> None:
    adata = pbmc[:50].copy()
    with pytest.raises(KeyError, match="cell_type"):
        gs.pp.select_markers(adata, "cell_typ", silent=True)
    adata.obs["one"] = "T"
    with pytest.raises(ValueError, match="at least two cell types; 'one' has 1"):
        gs.pp.select_markers(adata, "one", silent=True)
    with pytest.raises(ValueError, match="n_top_genes=0"):
        gs.pp.select_markers(adata, "cell_type", 0, silent=True)
    adata.X.data[0] = np.nan
    with pytest.raises(ValueError, match="1 NaN"):
        gs.pp.select_markers(adata, "cell_type", silent=True)
    assert not [c for c in adata.var if c.startswith("ginseng")]
