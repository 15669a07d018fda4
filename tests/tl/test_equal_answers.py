"""The same cells get the same answer, whatever holds them, in which order, by how many, and at which time."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import dask.array as da
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from scipy import sparse

import ginseng as gs
from ginseng._cells.gene_names import are_row_numbers
from ginseng.model import GinsengClassifierState

type Make = Callable[..., ad.AnnData]
type State = GinsengClassifierState

N = 40


@pytest.fixture(scope="module")
def query(make_cells: Make) -> ad.AnnData:
    """Return cells that the model is not sure of: half of each is of another cell."""
    adata = make_cells(N, seed=8)
    rng = np.random.default_rng(9)
    x = adata.X.toarray()
    adata.X = sparse.csr_matrix(np.where(rng.random(x.shape) < 0.5, x, x[rng.permutation(N)]))
    return adata


def probs(given: Any, state: State | ad.AnnData | Path, **how: Any) -> np.ndarray:
    """Return cells x classes."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Partial gene overlap")
        table = gs.tl.classify(given, state, return_table=True, store_probs=True, silent=True, **how)
    assert isinstance(table, pd.DataFrame)
    by_class = table.drop(columns=["cell_type", "confidence", "novelty"], errors="ignore")
    found = by_class.to_numpy()
    assert (table["cell_type"].to_numpy() == by_class.columns.to_numpy()[found.argmax(axis=1)]).all()
    return found


GENES = {
    "shuffled": lambda names, rng: rng.permutation(names),
    "missing": lambda names, rng: rng.permutation(names)[:20],
    "extra": lambda names, rng: rng.permutation([*names, *(f"other{i}" for i in range(9))]),
}
HOLDERS: dict[str, Callable[[ad.AnnData, Path], tuple[Any, str | None]]] = {
    "numpy": lambda a, folder: (held(a, a.X.toarray()), None),
    "CSR": lambda a, folder: (a, None),
    "CSC": lambda a, folder: (held(a, a.X.tocsc()), None),
    "dask": lambda a, folder: (held(a, da.from_array(a.X.toarray(), chunks=(17, 11))), None),
    "backed": lambda a, folder: (on_disk(a, folder), None),
    "backed CSC": lambda a, folder: (on_disk(held(a, a.X.tocsc()), folder), None),
    "backed numpy": lambda a, folder: (on_disk(held(a, a.X.toarray()), folder), None),
    "zarr": lambda a, folder: (a.write_zarr(folder / "a.zarr") or folder / "a.zarr", None),
    "view": lambda a, folder: (ad.concat([a[:3], a], index_unique="-")[3:], None),
    "layer": lambda a, folder: (ad.AnnData(np.zeros(a.shape), var=a.var, layers={"counts": a.X}), "counts"),
}


def on_disk(adata: ad.AnnData, folder: Path) -> ad.AnnData:
    adata.write_h5ad(folder / "a.h5ad")
    return gs.read_adata(folder / "a.h5ad", backed=True)


def held(adata: ad.AnnData, x: Any) -> ad.AnnData:
    return ad.AnnData(x, obs=adata.obs, var=adata.var)


@pytest.fixture(scope="module")
def expected(query: ad.AnnData, state: State) -> dict[str, np.ndarray]:
    """Return the answers to CSR in float32, by genes."""
    return {genes: probs(arranged(query, genes), state) for genes in GENES}


def arranged(query: ad.AnnData, genes: str, dtype: str = "float32") -> ad.AnnData:
    """Return the cells with other genes or in another order; what is added has no counts."""
    names = GENES[genes](query.var_names.tolist(), np.random.default_rng(2))
    x = pd.DataFrame(query.X.toarray(), columns=query.var_names).reindex(columns=names, fill_value=0)
    return ad.AnnData(sparse.csr_matrix(x.to_numpy(dtype)), obs=query.obs, var=pd.DataFrame(index=names))


@pytest.mark.parametrize(
    ("holder", "genes", "dtype"),
    # each with each of the others at least once, in a third of all combinations
    [
        (holder, genes, dtype)
        for i, holder in enumerate(HOLDERS)
        for j, genes in enumerate(GENES)
        for k, dtype in enumerate(("float32", "float64", "int32"))
        if (i + j + k) % 3 == 0
    ],
)
def test_what_holds_the_cells_changes_nothing(
    query: ad.AnnData, state: State, expected: dict, tmp_path: Path, holder: str, genes: str, dtype: str
) -> None:
    given, layer = HOLDERS[holder](arranged(query, genes, dtype), tmp_path)
    whole = expected[genes]
    assert 0.5 < whole.max(axis=1).mean() < 0.99  # not all too clear
    for batch_size in (1, 7, N + 1):
        found = probs(given, state, layer=layer, batch_size=batch_size)
        np.testing.assert_allclose(found, whole, atol=1e-5)
        assert (found.argmax(axis=1) == whole.argmax(axis=1)).all()


@pytest.mark.parametrize("dtype", ["int64", "uint8", "uint16", "float16", "bool"])
def test_nor_does_the_type_of_the_counts(query: ad.AnnData, state: State, dtype: str) -> None:
    counts = query.X.toarray()
    x = np.minimum(counts, 1).astype(dtype) if dtype == "bool" else counts.astype(dtype)
    whole = probs(held(query, sparse.csr_matrix(x.astype(np.float32))), state)
    np.testing.assert_allclose(probs(held(query, x), state), whole, atol=1e-5)


def test_other_cells_change_nothing(query: ad.AnnData, state: State) -> None:
    whole = probs(query, state, adapt=False)
    order = np.random.default_rng(1).permutation(N)
    np.testing.assert_allclose(probs(query[order].copy(), state, adapt=False), whole[order], atol=1e-5)
    np.testing.assert_allclose(probs(query[5:9].copy(), state, adapt=False), whole[5:9], atol=1e-5)
    twice = ad.concat([query, query], index_unique="-")
    np.testing.assert_allclose(probs(twice, state, adapt=False), np.vstack([whole, whole]), atol=1e-5)


def test_nor_does_their_order_where_they_are_adapted_to(query: ad.AnnData, state: State) -> None:
    order = np.random.default_rng(1).permutation(N)
    np.testing.assert_allclose(probs(query[order].copy(), state), probs(query, state)[order], atol=1e-4)


def weights(adata: ad.AnnData) -> list[np.ndarray]:
    params = adata.uns["ginseng"]["model"]["params"]
    return [leaf for part in params.values() for leaf in (part.values() if isinstance(part, dict) else [part])]


@pytest.mark.parametrize("architecture", ["gated", "linear"])
def test_the_same_seed_gives_the_same_model_to_the_bit(make_cells: Make, architecture: str) -> None:
    found = []
    for global_seed, seed in ((1, 5), (2, 5), (2, 6)):
        np.random.seed(global_seed)  # noqa: NPY002 - what nothing may depend on
        before = np.random.get_state()[1].copy()  # noqa: NPY002
        adata = make_cells()
        gs.tl.train(adata, "cell_type", architecture=architecture, epochs=2, batch_size=16, seed=seed, silent=True)
        answer = probs(make_cells(seed=3), adata)
        np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
        found.append((weights(adata), answer))
    (one, said), (same, said_again), (other, _) = found
    for a, b in zip(one, same, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(said, said_again)
    assert any(not np.array_equal(a, b) for a, b in zip(one, other, strict=True))


NAMES = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=20)


LABELS = NAMES | st.just("長" * 256)
#: Few, since each is compiled anew.
SHAPES = [(2, 2), (3, 6), (7, 2), (12, 5), (40, 3), (5, 17)]


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    st.sampled_from(SHAPES).flatmap(
        lambda shape: st.tuples(
            st.lists(NAMES, min_size=shape[0], max_size=shape[0], unique=True),
            st.lists(LABELS, min_size=shape[1], max_size=shape[1], unique=True),
        )
    ),
    st.integers(0, 2**31),
)
def test_a_saved_model_says_the_same_to_the_bit(
    tmp_path_factory: pytest.TempPathFactory, names: tuple[list[str], list[str]], seed: int
) -> None:
    genes, labels = names
    assume(not are_row_numbers(genes))  # which are refused
    rng = np.random.default_rng(seed)
    shape = (len(genes), len(labels))
    state = GinsengClassifierState(
        params={
            "input": {"mean": rng.random(len(genes)), "scale": rng.random(len(genes)) + 0.5},
            "head": {"W": rng.normal(size=shape), "b": rng.normal(size=len(labels))},
        },
        genes=np.array(genes), label_keys=np.array(labels), label_values=np.arange(len(labels)),
        n_genes=len(genes), n_classes=len(labels), architecture="linear",
    )  # fmt: skip
    adata = ad.AnnData(rng.poisson(1.0, (9, len(genes))).astype(np.float32), var=pd.DataFrame(index=genes))
    adata.X[:, 0] += 1
    path = tmp_path_factory.mktemp("model") / "m.h5"
    gs.save_model(state, path)
    again = gs.load_model(path)
    assert again.genes.tolist() == genes
    assert again.label_keys.tolist() == labels
    tables = [gs.tl.classify(adata, model, return_table=True, store_probs=True, silent=True) for model in (state, path)]
    pd.testing.assert_frame_equal(*tables, check_exact=True)
