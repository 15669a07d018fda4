"""Genes that tell labels apart, beside a t test by other means."""

import warnings
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats

import ginseng as gs


@pytest.fixture(scope="module")
def pbmc() -> ad.AnnData:
    return gs.datasets.pbmc68k()


def expected(adata: ad.AnnData, labels: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Return rank and t of each gene, from ordinary least squares for each type."""
    x = np.asarray(adata.X.toarray(), np.float64)
    x = np.log1p(x / x.sum(axis=1, keepdims=True) * 1e4)[labels.notna().to_numpy()]
    group, _ = pd.factorize(labels.dropna(), sort=True)
    within = sum(((x[group == c] - x[group == c].mean(axis=0)) ** 2).sum(axis=0) for c in np.unique(group))
    within = within / (len(x) - len(np.unique(group)))
    best, there = np.full(x.shape[1], np.inf), np.zeros(x.shape[1])
    for c in np.unique(group):
        mine, others = x[group == c], x[group != c]
        t = (mine.mean(axis=0) - others.mean(axis=0)) / np.sqrt(within * (1 / len(mine) + 1 / len(others)))
        rank = stats.rankdata(-np.abs(t), method="ordinal")
        better = (rank < best) | ((rank == best) & (np.abs(t) > np.abs(there)))
        there, best = np.where(better, t, there), np.minimum(rank, best)
    return best, there


@pytest.mark.parametrize("chunk_size", [64, 4096])
def test_types_take_turns(pbmc: ad.AnnData, chunk_size: int) -> None:
    adata = pbmc.copy()
    gs.pp.select_markers(adata, "cell_type", 150, chunk_size=chunk_size, silent=True)
    rank, t = expected(pbmc, pbmc.obs["cell_type"])
    np.testing.assert_allclose(adata.var["ginseng_t"], t, rtol=1e-4)
    np.testing.assert_array_equal(adata.var["ginseng_rank"], rank)
    assert set(np.flatnonzero(adata.var["ginseng_genes"])) == set(np.lexsort((-np.abs(t), rank))[:150])
    # each type has its best genes among them, as many as there are turns
    turns = int(adata.var["ginseng_rank"][adata.var["ginseng_genes"]].max()) - 1
    of_turns = adata.var["ginseng_rank"] <= turns
    assert turns >= 150 // 10 - 1
    assert adata.var["ginseng_genes"][of_turns].all()


def test_with_two_types_it_is_the_t_test(pbmc: ad.AnnData) -> None:
    adata = pbmc.copy()
    adata.obs["is_b"] = (adata.obs["cell_type"] == "CD19+ B").map({True: "yes", False: "no"}).astype("category")
    gs.pp.select_markers(adata, "is_b", 50, silent=True)
    x = adata.X.toarray().astype(float)
    x = np.log1p(x / x.sum(axis=1, keepdims=True) * 1e4)
    yes = (adata.obs["is_b"] == "yes").to_numpy()
    t = stats.ttest_ind(x[yes], x[~yes]).statistic
    np.testing.assert_allclose(adata.var["ginseng_t"].abs(), np.abs(t), rtol=1e-4)
    assert set(np.flatnonzero(adata.var["ginseng_genes"])) == set(np.argsort(-np.abs(t))[:50])


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
    np.testing.assert_allclose(adata.var["ginseng_t"], plain.var["ginseng_t"], rtol=1e-4)
    np.testing.assert_array_equal(adata.var["ginseng_genes"], plain.var["ginseng_genes"])


def test_cells_without_a_label_are_left_out_and_old_statistics_go(pbmc: ad.AnnData) -> None:
    adata = pbmc.copy()
    labels = adata.obs["cell_type"].astype(object)
    labels[::3] = None
    adata.obs["some"] = labels
    gs.pp.select_hvgs(adata, 100, silent=True)
    with pytest.warns(UserWarning, match="234 of 700 cells have no label in 'some'"):
        gs.pp.select_markers(adata, "some", 100, silent=True)
    np.testing.assert_allclose(adata.var["ginseng_t"], expected(pbmc, labels)[1], rtol=1e-4)
    assert "ginseng_dispersions" not in adata.var
    gs.pp.select_hvgs(adata, 100, silent=True)
    assert "ginseng_t" not in adata.var


def test_constant_genes_and_perfect_markers() -> None:
    x = np.ones((6, 5), np.float32)
    x[:3, 0] = 0  # a perfect marker
    x[:, 1] = [0, 1, 0, 2, 1, 2]
    x[:, 2] = 0
    adata = ad.AnnData(x / 2, obs=pd.DataFrame({"t": list("aaabbb")}, index=list("abcdef")))
    with pytest.warns(UserWarning, match="Only 2 genes differ"), pytest.warns(UserWarning, match="log1p"):
        gs.pp.select_markers(adata, "t", 4, target_sum=None, silent=True)
    assert abs(adata.var["ginseng_t"].iloc[0]) == np.inf
    assert adata.var["ginseng_t"].tolist()[2:] == [0, 0, 0]
    assert adata.var["ginseng_rank"].isna().tolist() == [False, False, True, True, True]
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


@pytest.mark.parametrize("disk", [False, True])
@pytest.mark.parametrize("select", ["markers", "seurat", "cell_ranger", "batches"])
def test_rows_of_one_name_are_one_gene(pbmc: ad.AnnData, tmp_path: Path, select: str, disk: bool) -> None:
    """What is selected of counts that were dealt to two rows is what is selected of their sums."""
    whole = pbmc[:, :200].copy()
    rng = np.random.default_rng(0)
    counts = whole.X.toarray()
    part = rng.binomial(counts.astype(int), 0.4)[:, :50].astype(np.float32)
    names = [*whole.var_names, *whole.var_names[:50], "nan", ""]
    counts[:, :50] -= part
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        obs = whole.obs.assign(batch=["a", "b"] * 350)
        dealt = ad.AnnData(sparse.csr_matrix(np.hstack([counts, part, np.zeros((700, 2))])), obs=obs)
        dealt.var_names = names
        dealt.obs_names = whole.obs_names
        whole.obs["batch"] = obs["batch"]
        if disk:
            dealt.write_h5ad(tmp_path / "a.h5ad")
            dealt = ad.read_h5ad(tmp_path / "a.h5ad", backed="r")

    def run(adata: ad.AnnData) -> pd.DataFrame:
        if select == "markers":
            gs.pp.select_markers(adata, "cell_type", 60, silent=True, chunk_size=100)
        else:
            flavor = "seurat" if select == "batches" else select
            key = "batch" if select == "batches" else None
            gs.pp.select_hvgs(adata, 60, flavor=flavor, batch_key=key, silent=True, chunk_size=100)
        return adata.var.filter(like="ginseng").reset_index(drop=True)

    expected = run(whole)
    with pytest.warns(UserWarning, match="100 rows share the names of 50 genes|2 genes without a name") as said:
        found = run(dealt)
    assert len(said) == 2
    place = [*range(200), *range(50)]
    for name in expected:
        np.testing.assert_allclose(
            found[name][:250].to_numpy(float), expected[name].to_numpy(float)[place], rtol=1e-4, atol=1e-5
        )
    assert not found["ginseng_genes"][250:].any()
