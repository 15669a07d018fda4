import inspect
from functools import cache

import anndata as ad
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import ginseng.utils
from ginseng import _logging
from ginseng.datasets import pbmc68k
from ginseng.pp import select_hvgs

FLAVORS = ["seurat", "cell_ranger", "seurat_v3"]

# scanpy 1.12 sorts the genes of batches with an argument that pandas 3.1 deprecates
pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame.sort_values:DeprecationWarning")


def negative_binomial(n_cells=600, n_genes=1500, *, seed=0, dtype=np.float32):
    """Counts in three batches, with genes that are rare, alike, in one batch only or not there at all."""
    rng = np.random.default_rng(seed)
    mean = rng.lognormal(-1.5, 1.5, n_genes) * rng.lognormal(0, 0.5, n_cells)[:, None]
    batch = rng.choice(["b10", "b2", "b1"], n_cells, p=[0.5, 0.3, 0.2])
    size = np.exp(rng.normal(0, 1, n_genes))
    x = rng.negative_binomial(size, size / (size + mean))
    x[:, 10:20] = 0
    x[:, 30:40] = x[:, 20:30]
    x[batch == "b1", 40:60] = 0
    for gene in range(60, min(160, n_genes)):
        x[:, gene] = 0
        x[rng.integers(n_cells, size=1 + gene % 3), gene] = 1
    obs = pd.DataFrame({"batch": pd.Categorical(batch)}, index=[f"cell{i}" for i in range(n_cells)])
    var = pd.DataFrame(index=[f"gene{i}" for i in rng.permutation(n_genes)])
    return ad.AnnData(sparse.csr_matrix(x.astype(dtype)), obs=obs, var=var)


@pytest.fixture(scope="module")
def counts():
    return negative_binomial()


@pytest.fixture(scope="module")
def pbmc():
    adata = pbmc68k()
    adata.obs["batch"] = pd.Categorical(np.random.default_rng(0).choice(["x", "y"], adata.n_obs))
    return adata


def of_scanpy(adata, n_top_genes, flavor, **kwargs):
    adata = adata.copy()
    if flavor != "seurat_v3":
        sc.pp.normalize_total(adata, target_sum=1e4)
        sc.pp.log1p(adata)
    return sc.pp.highly_variable_genes(adata, n_top_genes=n_top_genes, flavor=flavor, inplace=False, **kwargs)


def selected(adata, *args, **kwargs):
    copy = select_hvgs(adata, *args, silent=True, copy=True, **kwargs)
    return copy.var["ginseng_genes"].to_numpy()


def assert_as_scanpy(adata, reference, flavor, *, rtol=0):
    statistics = {
        "seurat": ["means", "dispersions", "dispersions_norm"],
        "cell_ranger": ["means", "dispersions", "dispersions_norm"],
        "seurat_v3": ["means", "variances", "variances_norm"],
    }
    assert adata.var["ginseng_genes"].dtype == bool
    assert adata.var["ginseng_genes"].tolist() == reference["highly_variable"].tolist()
    for name in statistics[flavor]:
        np.testing.assert_allclose(adata.var[f"ginseng_{name}"], reference[name], rtol=rtol, err_msg=name)
    if flavor == "seurat_v3":
        np.testing.assert_array_equal(adata.var["ginseng_rank"], reference["highly_variable_rank"])
    if "highly_variable_nbatches" in reference:
        assert adata.var["ginseng_n_batches"].tolist() == reference["highly_variable_nbatches"].tolist()


# The statistics are equal to the last bit (`rtol=0`), so ties and near ties fall as in scanpy.
@pytest.mark.parametrize("batch_key", [None, "batch"])
@pytest.mark.parametrize("flavor", FLAVORS)
@pytest.mark.parametrize("n_top_genes", [1, 400])
@pytest.mark.parametrize("data", ["counts", "pbmc"])
def test_same_genes_as_scanpy(data, n_top_genes, flavor, batch_key, request):
    adata = request.getfixturevalue(data).copy()
    reference = of_scanpy(adata, n_top_genes, flavor, batch_key=batch_key)
    assert select_hvgs(adata, n_top_genes, flavor=flavor, batch_key=batch_key, silent=True) is None
    assert_as_scanpy(adata, reference, flavor)


@pytest.mark.parametrize("flavor", FLAVORS)
def test_one_batch_is_as_in_scanpy(counts, flavor):
    adata = counts.copy()
    adata.obs["batch"] = pd.Categorical(["only"] * adata.n_obs)
    reference = of_scanpy(adata, 300, flavor, batch_key="batch")
    select_hvgs(adata, 300, flavor=flavor, batch_key="batch", silent=True)
    assert_as_scanpy(adata, reference, flavor)


@pytest.mark.parametrize("flavor", FLAVORS)
@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64, np.float64])
def test_any_number_type(counts, dtype, flavor):
    adata = counts.copy()
    adata.X = np.minimum(adata.X.toarray(), 255)
    adata.X = sparse.csr_matrix(adata.X.astype(dtype))
    reference = of_scanpy(adata, 300, flavor)
    select_hvgs(adata, 300, flavor=flavor, silent=True)
    # sums of 64-bit values depend on the threads that scanpy divides cells among
    assert_as_scanpy(adata, reference, flavor, rtol=1e-9 if dtype == np.float64 else 0)


@pytest.mark.parametrize("n_bins", [5, 100])
def test_n_bins(counts, n_bins):
    adata = counts.copy()
    reference = of_scanpy(adata, 300, "seurat", n_bins=n_bins)
    select_hvgs(adata, 300, n_bins=n_bins, silent=True)
    assert_as_scanpy(adata, reference, "seurat")


def test_span(counts):
    adata = counts.copy()
    reference = of_scanpy(adata, 300, "seurat_v3", span=0.7)
    select_hvgs(adata, 300, flavor="seurat_v3", span=0.7, silent=True)
    assert_as_scanpy(adata, reference, "seurat_v3")
    assert not np.array_equal(selected(counts, 300, flavor="seurat_v3"), adata.var["ginseng_genes"])


@pytest.mark.parametrize("base", [None, 2])
@pytest.mark.parametrize("flavor", FLAVORS[:2])
def test_log_normalised_input(counts, flavor, base):
    adata = counts.copy()
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata, base=base)
    reference = sc.pp.highly_variable_genes(adata, n_top_genes=300, flavor=flavor, inplace=False)
    select_hvgs(adata, 300, target_sum=None, flavor=flavor, silent=True)
    assert_as_scanpy(adata, reference, flavor, rtol=1e-6)


def test_target_sum(counts):
    adata = counts.copy()
    reference = counts.copy()
    sc.pp.normalize_total(reference, target_sum=100)
    sc.pp.log1p(reference)
    reference = sc.pp.highly_variable_genes(reference, n_top_genes=300, flavor="cell_ranger", inplace=False)
    select_hvgs(adata, 300, target_sum=100, flavor="cell_ranger", silent=True)
    assert_as_scanpy(adata, reference, "cell_ranger")
    assert not np.array_equal(selected(counts, 300, flavor="cell_ranger"), adata.var["ginseng_genes"])


def test_cell_ranger_with_more_unexpressed_genes_than_a_bin(counts):
    adata = counts.copy()
    x = adata.X.tolil()
    x[:, 200:700] = 0
    adata.X = x.tocsr()
    genes = selected(adata, 100, flavor="cell_ranger")  # scanpy: "Bin edges must be unique"
    assert genes.sum() == 100
    assert not genes[200:700].any()


def test_cell_ranger_where_many_genes_are_infinitely_far_from_the_median():
    x = np.random.default_rng(0).poisson(5, (400, 600)).astype(np.float32)
    x[:, :70] = 0
    x[np.arange(20), np.arange(20)] = 2  # twenty rare genes, in one cell each,
    for cells in (np.arange(50), np.arange(50, 100)):
        x[cells, np.arange(20, 70)] = 1  # among fifty that are all alike
    x[:, -1] += 2 * x.sum(axis=1).max() - x.sum(axis=1)  # the same library size for each cell
    adata = ad.AnnData(sparse.csr_matrix(x))
    assert of_scanpy(adata, 10, "cell_ranger")["highly_variable"].sum() == 0
    genes = selected(adata, 10, flavor="cell_ranger")
    assert np.array_equal(np.flatnonzero(genes), np.arange(20))


# ----------------------------------------------------------------------------------------------------
# whatever holds the matrix, and however it is cut


CONTAINERS = [
    "numpy",
    "csr",
    "csc",
    "csr_array",
    "dask",
    "backed csr",
    "backed csc",
    "backed dense",
    "backed layer",
    "lazy",
    "view",
    "backed view",
    "layer",
]


@pytest.fixture
def held(counts, tmp_path):
    """The same counts, held otherwise: an AnnData and the layer to use."""

    def hold(how):
        adata = counts.copy()
        if how in ("numpy", "backed dense"):
            adata.X = adata.X.toarray()
        elif how in ("csc", "backed csc"):
            adata.X = adata.X.tocsc()
        elif how == "csr_array":
            adata.X = sparse.csr_array(adata.X)
        elif how == "dask":
            adata.X = da.from_array(adata.X.toarray(), chunks=(101, 400)).map_blocks(sparse.csr_matrix)
        elif how in ("layer", "backed layer"):
            adata.layers["counts"] = adata.X
            adata.X = sparse.csr_matrix(adata.shape, dtype=np.float32)
        elif "view" in how:
            order = np.random.default_rng(0).permutation(adata.n_obs)
            more = ad.concat([adata, adata[:50]], index_unique="-")
            more.var["user"] = 1
            adata = more[np.r_[order, np.arange(adata.n_obs, more.n_obs)]].copy()
        if how.startswith(("backed", "lazy")):
            path = tmp_path / f"cells{len(list(tmp_path.iterdir()))}.h5ad"
            adata.write_h5ad(path)
            adata = ad.experimental.read_lazy(path) if how == "lazy" else ad.read_h5ad(path, backed="r")
        if "view" in how:
            adata = adata[np.argsort(order)]
        return adata, "counts" if "layer" in how else None

    return hold


@pytest.fixture(scope="module")
def expected(counts):
    """Return the answer of scanpy by flavor, asked once."""
    return cache(lambda flavor: of_scanpy(counts, 300, flavor, batch_key="batch"))


@pytest.mark.parametrize("how", CONTAINERS)
@pytest.mark.parametrize("flavor", FLAVORS)
def test_whatever_holds_the_counts(held, expected, how, flavor):
    reference = expected(flavor)
    adata, layer = held(how)
    out_of_memory = how.startswith(("backed", "lazy", "dask"))
    before = adata.to_memory(copy=True) if out_of_memory else adata.copy()
    assert select_hvgs(adata, 300, layer, batch_key="batch", flavor=flavor, chunk_size=97, silent=True) is None
    columns = pd.DataFrame({name: np.asarray(adata.var[name]) for name in adata.var.columns})
    assert columns["ginseng_genes"].tolist() == reference["highly_variable"].tolist()

    after = adata.to_memory(copy=True) if out_of_memory else adata
    assert "ginseng_genes" in after.var
    written = [name for name in after.var if name.startswith("ginseng_")]
    pd.testing.assert_frame_equal(after.var.drop(columns=written), before.var)
    pd.testing.assert_frame_equal(after.obs, before.obs)
    assert dict(after.uns) == dict(before.uns)
    for x, y in [(after.X, before.X), *((after.layers[k], before.layers[k]) for k in before.layers)]:
        assert type(x) is type(y)
        assert x.dtype == y.dtype
        assert abs(x - y).max() == 0


@pytest.mark.parametrize("how", ["csr", "numpy", "backed csr", "backed view"])
@pytest.mark.parametrize("flavor", FLAVORS)
@pytest.mark.parametrize("batch_key", [None, "batch"])
def test_chunks_change_nothing(held, how, flavor, batch_key):
    tables = []
    for chunk_size in (1, 7, 256, 10**6):
        if chunk_size == 1 and how != "csr":
            continue
        adata, layer = held(how)
        select_hvgs(adata, 300, layer, chunk_size=chunk_size, flavor=flavor, batch_key=batch_key, silent=True)
        tables.append(adata.var)
    for table in tables[1:]:
        pd.testing.assert_frame_equal(table, tables[0], check_exact=True)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10**6),
    chunk_size=st.integers(1, 60),
    density=st.floats(0.05, 1),
)
def test_any_small_matrix(seed, chunk_size, density):
    rng = np.random.default_rng(seed)
    n_cells, n_genes = rng.integers(5, 50), rng.integers(3, 40)
    x = rng.poisson(2, (n_cells, n_genes)) * (rng.random((n_cells, n_genes)) < density)
    x[:2, 0] = [1, 9]
    x[:, 1] += 1
    adata = ad.AnnData(x.astype(np.float32))
    adata.X = sparse.csr_matrix(adata.X)
    genes = selected(adata, 2, chunk_size=chunk_size)
    assert genes.sum() >= 2
    assert np.array_equal(genes, selected(ad.AnnData(x), 2))
    reference = of_scanpy(adata, 2, "seurat")
    if np.isposinf(reference["dispersions_norm"]).sum() < 2:  # genes alike in a bin of their own: scanpy takes none
        assert np.array_equal(genes, reference["highly_variable"])


# ----------------------------------------------------------------------------------------------------
# what is written where


def test_a_view_becomes_an_anndata_of_its_own(counts):
    whole = counts.copy()
    view = whole[:300]
    select_hvgs(view, 100, silent=True)
    assert not view.is_view
    assert view.var["ginseng_genes"].sum() == 100
    assert whole.var.columns.empty
    assert np.array_equal(view.var["ginseng_genes"], selected(counts[:300].copy(), 100))


def test_a_backed_file_is_not_touched(held, tmp_path):
    adata, _ = held("backed csr")
    path = tmp_path / "cells0.h5ad"
    before = path.read_bytes()
    view = adata[:300]
    select_hvgs(view, 100, silent=True)
    assert view.is_view
    assert view.isbacked
    assert adata.var.columns.empty
    assert view.to_memory().var["ginseng_genes"].sum() == 100
    assert view[:, view.var["ginseng_genes"]].shape == (300, 100)
    select_hvgs(adata, 100, silent=True)
    assert adata.isbacked
    assert path.read_bytes() == before


@pytest.mark.parametrize("how", ["csr", "view", "backed csr", "backed view", "lazy"])
def test_copy(held, how):
    adata, _ = held(how)
    copy = select_hvgs(adata, 100, copy=True, silent=True)
    assert not any(name.startswith("ginseng") for name in adata.var.columns)
    assert not copy.isbacked
    assert not copy.is_view
    assert np.asarray(copy.var["ginseng_genes"]).sum() == 100
    select_hvgs(adata, 100, silent=True)
    assert np.array_equal(np.asarray(copy.var["ginseng_genes"]), np.asarray(adata.var["ginseng_genes"]))


def test_statistics_of_an_earlier_call_are_removed(counts):
    adata = counts.copy()
    adata.var["user"] = 1
    select_hvgs(adata, 100, flavor="seurat_v3", batch_key="batch", silent=True)
    assert "ginseng_n_batches" in adata.var
    select_hvgs(adata, 100, silent=True)
    assert list(adata.var) == [
        "user",
        "ginseng_genes",
        "ginseng_means",
        "ginseng_dispersions",
        "ginseng_dispersions_norm",
    ]


def test_result_can_be_written(counts, tmp_path):
    adata = counts.copy()
    for flavor in FLAVORS:
        select_hvgs(adata, 100, flavor=flavor, batch_key="batch", silent=True)
        adata.write_h5ad(tmp_path / "cells.h5ad")
        adata.write_zarr(tmp_path / "cells.zarr")
        pd.testing.assert_frame_equal(ad.read_h5ad(tmp_path / "cells.h5ad").var, adata.var)


def test_quantile_bounds(counts):
    mean = np.asarray(counts.X.mean(axis=0)).ravel()
    for flavor in FLAVORS:
        for batch_key in (None, "batch"):
            adata = select_hvgs(
                counts,
                200,
                min_mean=0.4,
                max_mean=0.9,
                flavor=flavor,
                batch_key=batch_key,
                target_sum=1e4,
                silent=True,
                copy=True,
            )
            genes = adata.var["ginseng_genes"].to_numpy()
            assert genes.sum() == 200
            if flavor == "seurat_v3":
                low, high = np.quantile(mean, [0.4, 0.9])
                assert ((mean[genes] >= low) & (mean[genes] <= high)).all()
            free = selected(counts, 200, flavor=flavor, batch_key=batch_key)
            assert not np.array_equal(genes, free)
            assert np.array_equal(
                free, selected(counts, 200, flavor=flavor, batch_key=batch_key, min_mean=0, max_mean=1)
            )


def test_bounds_only_take_genes_out(counts):
    adata = counts.copy()
    select_hvgs(adata, 200, silent=True)
    norm = adata.var["ginseng_dispersions_norm"]
    select_hvgs(adata, 200, min_mean=0.4, silent=True)
    pd.testing.assert_series_equal(adata.var["ginseng_dispersions_norm"], norm)
    means = adata.var["ginseng_means"]
    eligible = means >= np.quantile(means, 0.4)
    best = norm[eligible].nlargest(200).index
    assert set(adata.var_names[adata.var["ginseng_genes"]]) == set(best)


@pytest.mark.filterwarnings("ignore:.*summed by name")
def test_gene_names_need_not_be_unique(counts):
    adata = counts.copy()
    adata.var_names = [f"gene{i // 2}" for i in range(adata.n_vars)]
    for flavor in FLAVORS:
        select_hvgs(adata, 200, flavor=flavor, batch_key="batch", silent=True)
        assert adata.var_names[adata.var["ginseng_genes"]].nunique() == 200
        assert adata.var["ginseng_genes"].sum() == 400


@pytest.mark.filterwarnings("ignore:Variable names are not unique")
@pytest.mark.parametrize("names", [range(1500), [""] * 1500])
def test_genes_without_names_can_be_selected(counts, names):
    adata = counts[:, :1500].copy()
    expected = selected(adata, 200)
    adata.var_names = [str(name) for name in names]
    assert np.array_equal(selected(adata, 200), expected)


@pytest.mark.parametrize(
    "make", [list, np.asarray, lambda x: pd.Categorical(x, categories=["b1", "b2", "b10", "none"])]
)
def test_batches_of_any_type(counts, make):
    adata = counts.copy()
    expected = selected(adata, 200, batch_key="batch")
    adata.obs["batch"] = make(adata.obs["batch"].astype(str).tolist())
    assert np.array_equal(selected(adata, 200, batch_key="batch"), expected)
    adata.obs["batch"] = adata.obs["batch"].astype(str).str[1:].astype(int)
    assert np.array_equal(selected(adata, 200, batch_key="batch"), expected)


def test_a_bar_moves_on_a_screen_alone(counts, capsys, monkeypatch):
    select_hvgs(counts.copy(), 100, chunk_size=200)
    assert "Selecting genes" not in capsys.readouterr().err
    monkeypatch.setattr(_logging, "at_a_screen", lambda: True)
    select_hvgs(counts.copy(), 100, chunk_size=200)
    assert "Selecting genes" in capsys.readouterr().err
    select_hvgs(counts.copy(), 100, chunk_size=200, silent=True)
    assert capsys.readouterr().err == ""


def test_names_and_signature_of_the_reference(counts):
    assert ginseng.utils.select_hvgs is ginseng.utils.hvg.select_hvgs is select_hvgs
    parameters = inspect.signature(select_hvgs).parameters
    documented = [
        "adata",
        "n_top_genes",
        "layer",
        "target_sum",
        "min_mean",
        "max_mean",
        "n_bins",
        "chunk_size",
        "silent",
        "copy",
    ]
    assert list(parameters)[: len(documented)] == documented
    positional = [p for p in parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert len(positional) == 3
    adata = ginseng.utils.compute_hvgs(data=counts, n_top_genes=100, n_bins=20, copy=True, silent=True)
    assert np.array_equal(adata.var["ginseng_genes"], selected(counts, 100))


# ----------------------------------------------------------------------------------------------------
# bad input


def small():
    return negative_binomial(60, 50)


def with_values(*values):
    adata = small()
    adata.X.data[: len(values)] = values
    return adata


@pytest.mark.parametrize(
    ("make", "kwargs", "error", "message"),
    [
        (small, {"layer": "count"}, KeyError, "no 'count'"),
        (small, {"batch_key": "bacth"}, KeyError, "Did you mean 'batch'"),
        (lambda: with_values(np.nan, np.nan), {}, ValueError, "2 NaN"),
        (lambda: with_values(np.inf), {}, ValueError, "1 infinite"),
        (lambda: with_values(-1, -np.inf, -2), {}, ValueError, r"negative values \(lowest -2\).*Pass `layer=`"),
        (lambda: with_values(-1.5), {"target_sum": None}, ValueError, "lowest -1.5"),
        (lambda: with_values(np.nan), {"flavor": "seurat_v3"}, ValueError, "1 NaN"),
        (lambda: with_values(1e4), {"target_sum": None}, ValueError, "up to 10,000.*Leave out `target_sum=None`"),
        (small, {"n_top_genes": 0}, ValueError, "n_top_genes=0"),
        (small, {"n_top_genes": 2.5}, TypeError, "float"),
        (small, {"chunk_size": 0}, ValueError, "chunk_size=0"),
        (small, {"n_bins": -1}, ValueError, "n_bins=-1"),
        (small, {"target_sum": 0}, ValueError, "target_sum=0"),
        (small, {"min_mean": 0.5, "max_mean": 0.5}, ValueError, "quantiles"),
        (small, {"max_mean": 3}, ValueError, "quantiles"),
        (small, {"span": 0}, ValueError, "span=0"),
        (small, {"flavor": "seurat_v4"}, ValueError, "'seurat_v3'"),
        (lambda: small()[:0].copy(), {}, ValueError, "0 cells"),
        (lambda: small()[:, :0].copy(), {}, ValueError, "0 genes"),
        (lambda: small()[:1].copy(), {}, ValueError, "one cell"),
        (lambda: ad.AnnData(np.zeros((5, 4), np.float32)), {}, ValueError, "All values are zero"),
        (lambda: ad.AnnData(np.ones((5, 4), np.float32)), {"n_top_genes": 2}, ValueError, "no gene varies"),
        (lambda: ad.AnnData(obs=small().obs, var=small().var), {}, ValueError, "`adata.X` is empty"),
        (lambda: "cells.h5ad", {}, TypeError, "read_adata"),
    ],
)
def test_bad_input(make, kwargs, error, message):
    adata = make()
    with pytest.raises(error, match=message):
        select_hvgs(adata, **{"n_top_genes": 10, "silent": True} | kwargs)
    if isinstance(adata, ad.AnnData):
        assert adata.var.columns.empty


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        (["a"] * 59 + ["b"], "one cell where .*'b'"),
        (["a"] * 59 + [None], "1 cells have no value"),
        (["a"] * 30 + ["b"] * 30, "All values are zero where .*'b'"),
    ],
)
def test_bad_batches(batches, message):
    adata = negative_binomial(60, 50)
    adata.X.data[adata.X.indptr[30] :] = 0
    adata.obs["batch"] = pd.Categorical(batches)
    with pytest.raises(ValueError, match=message):
        select_hvgs(adata, 10, batch_key="batch", silent=True)
    assert adata.var.columns.empty


def test_more_genes_than_there_are(counts):
    for flavor in FLAVORS:
        adata = counts.copy()
        with pytest.warns(UserWarning, match="1500 available genes"):
            select_hvgs(adata, 2000, flavor=flavor, silent=True)
        assert adata.var["ginseng_genes"].all()


def test_more_genes_than_vary(counts):
    adata = counts.copy()
    with pytest.warns(UserWarning, match="number of normalized dispersions"):
        reference = of_scanpy(adata, 1495, "seurat")
    with pytest.warns(UserWarning, match=f"Only {reference['highly_variable'].sum()} genes vary"):
        select_hvgs(adata, 1495, silent=True)
    assert_as_scanpy(adata, reference, "seurat")


def test_values_that_are_not_what_they_should_be(counts):
    log = counts.copy()
    sc.pp.normalize_total(log, target_sum=1e4)
    sc.pp.log1p(log)
    for flavor in FLAVORS:
        with pytest.warns(UserWarning, match=r"`adata.X` has log1p of counts per 10,000") as caught:
            select_hvgs(log.copy(), 100, flavor=flavor, silent=True)
        assert caught[0].filename == __file__
    low = ad.AnnData(np.minimum(counts.X.toarray(), 5))
    with pytest.warns(UserWarning, match="`adata.X` has counts"):
        select_hvgs(low, 100, target_sum=None, silent=True)


def test_fit_that_fails_says_what_to_do():
    adata = ad.AnnData(np.random.default_rng(0).poisson(1, (40, 300)).clip(0, 1).astype(np.float32))
    with pytest.raises(ValueError, match="larger `span`"):
        select_hvgs(adata, 10, flavor="seurat_v3", span=0.01, silent=True)


def test_without_scikit_misc(counts, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'pip install "ginseng\[seurat-v3\]"'):
        select_hvgs(counts.copy(), 100, flavor="seurat_v3", silent=True)
    select_hvgs(counts.copy(), 100, silent=True)
