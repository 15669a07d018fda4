"""The same cells, whatever holds them, give every verb the same numbers; raw is a matrix like any other."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from anndata.experimental import read_lazy
from scipy import sparse

import ginseng as gs
from ginseng._cells.open import open_cells

type Make = Callable[..., ad.AnnData]
type State = gs.model.GinsengClassifierState

FAST: dict[str, Any] = {"architecture": "linear", "epochs": 2, "batch_size": 16, "silent": True}


def with_raw(adata: ad.AnnData) -> ad.AnnData:
    """Return the cells as public files have them: log-normalised, cut to some genes, and all counts in raw."""
    x = adata.X.toarray()
    log = ad.AnnData(np.log1p(1e4 * x / x.sum(axis=1, keepdims=True)), obs=adata.obs.copy(), var=adata.var.copy())
    log.raw = adata
    log = log[:, ::2].copy()
    log.obs["cluster"] = np.repeat(["0", "1", "2"], 40)
    return log


def view_of(adata: ad.AnnData) -> ad.AnnData:
    longer = ad.concat([adata[:5], adata], index_unique="-")
    if adata.raw is not None:
        counts = ad.AnnData(sparse.vstack([adata.raw.X[:5], adata.raw.X], format="csr"), var=adata.raw.var)
        counts.obs_names = longer.obs_names
        longer.raw = counts
    view = longer[5:]
    assert view.is_view
    return view


def as_format(adata: ad.AnnData, change: Callable[[Any], Any]) -> ad.AnnData:
    out = adata.copy()
    out.X = change(sparse.csr_matrix(adata.X))
    if adata.raw is not None:
        out.raw = ad.AnnData(change(sparse.csr_matrix(adata.raw.X)), obs=adata.obs, var=adata.raw.var)
    return out


#: What holds the cells: from the cells in memory, and a function that returns a path at which they are.
HOLDERS: dict[str, Callable[[ad.AnnData, Callable[[str], Path]], Any]] = {
    "csr": lambda a, path: as_format(a, sparse.csr_matrix),
    "csc": lambda a, path: as_format(a, sparse.csc_matrix),
    "dense": lambda a, path: as_format(a, lambda x: x.toarray()),
    "view": lambda a, path: view_of(a),
    "h5ad backed": lambda a, path: gs.read_adata(path("h5ad"), backed=True),
    "anndata's backed": lambda a, path: ad.read_h5ad(path("h5ad"), backed="r"),
    "zarr backed": lambda a, path: gs.read_adata(path("zarr"), backed=True),
    "lazy h5ad": lambda a, path: read_lazy(path("h5ad")),
    "lazy zarr": lambda a, path: read_lazy(path("zarr")),
    "backed view": lambda a, path: gs.read_adata(path("zarr"), backed=True)[:],
    "path": lambda a, path: path("h5ad"),
    "path of zarr": lambda a, path: path("zarr"),
}


@pytest.fixture(scope="module")
def held(make_cells: Make, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str | None, Path], Any]:
    """Return a function that makes a holder of the cells; their files are written once, and copied."""
    written: dict[tuple[str, str | None], Path] = {}

    def cells(layer: str | None) -> ad.AnnData:
        adata = make_cells(seed=3)
        adata.obs["cluster"] = np.repeat(["0", "1", "2"], 40)
        adata.obs["said"] = np.roll(adata.obs["cell_type"].astype(str), 40)
        return with_raw(adata) if layer == "raw" else adata

    def make(holder: str, layer: str | None, folder: Path) -> Any:
        def path(form: str) -> Path:
            if (form, layer) not in written:
                written[form, layer] = tmp_path_factory.mktemp("cells") / f"cells.{form}"
                getattr(cells(layer), f"write_{form}")(written[form, layer])
            copy = shutil.copytree if form == "zarr" else shutil.copyfile
            return Path(copy(written[form, layer], folder / f"cells.{form}"))

        return HOLDERS[holder](cells(layer), path)

    return make


def table_of(columns: Any, prefix: str) -> pd.DataFrame:
    frame = columns if isinstance(columns, pd.DataFrame) else columns.to_memory()
    return frame[[c for c in frame.columns if c.startswith(prefix)]].reset_index(drop=True)


def numbers(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[[c for c in frame.columns if not c.endswith("seconds")]].reset_index(drop=True)


def adata_of(data: Any) -> ad.AnnData:
    return gs.read_adata(data, backed=True) if isinstance(data, Path) else data


def train(data: Any, layer: str | None, state: State) -> pd.DataFrame:
    found = gs.tl.train(data, "cell_type", layer=layer, **FAST)
    found = found or gs.model.GinsengClassifierState.from_dict(data.uns["ginseng"]["model"])
    return pd.DataFrame(found.params["head"]["W"], index=found.genes).round(4)


def create(data: Any, layer: str | None, state: State, folder: Path) -> pd.DataFrame:
    store = gs.data.GinsengDataset.create(folder / "store.zarr", data, "cell_type", layer, silent=True)
    return pd.DataFrame(store.get_batch(range(20)), columns=store.gene_names).assign(total=store.totals[:20])


def classify(data: Any, layer: str | None, state: State) -> pd.DataFrame:
    return gs.tl.classify(data, state, layer=layer, return_table=True, silent=True).reset_index(drop=True)


def selected(verb: str, *arguments: Any) -> Callable[..., pd.DataFrame]:
    def select(data: Any, layer: str | None, state: State) -> pd.DataFrame:
        if isinstance(data, Path):
            with pytest.raises(TypeError, match="read_adata"):
                getattr(gs.pp, verb)(data, *arguments, layer=layer)
        data = adata_of(data)
        copy = getattr(gs.pp, verb)(data, *arguments, layer=layer, silent=True, copy=True)
        getattr(gs.pp, verb)(data, *arguments, layer=layer, silent=True)
        pd.testing.assert_frame_equal(table_of(copy.var, "ginseng"), table_of(data.var, "ginseng"), rtol=1e-5)
        return table_of(data.var, "ginseng")

    return select


def binned(data: Any, layer: str | None, state: State) -> pd.DataFrame:
    copy = gs.pp.bin_expression(adata_of(data), layer=layer, copy=True)
    bins = copy.layers["ginseng_bins"]
    return pd.DataFrame(bins.toarray() if sparse.issparse(bins) else bins)


def evaluated(data: Any, layer: str | None, state: State) -> pd.DataFrame:
    data = adata_of(data)
    copy = gs.tl.classify(data, state, layer=layer, copy=True, silent=True)
    copy = gs.tl.evaluate(copy, "cell_type", copy=True)
    gs.tl.vote(copy, "cluster")
    copy = gs.tl.vote(copy, "cluster", copy=True)
    other = gs.tl.evaluate(data, "cell_type", prediction_key="said", copy=True)  # of what is on disk
    return table_of(copy.obs, "ginseng").assign(
        accuracy=copy.uns["ginseng"]["metrics"]["accuracy"], other=other.uns["ginseng"]["metrics"]["accuracy"]
    )


def table(verb: str, *arguments: Any, **how: Any) -> Callable[..., pd.DataFrame]:
    def ask(data: Any, layer: str | None, state: State) -> pd.DataFrame:
        return numbers(
            getattr(gs.tl, verb)(data, state, *arguments, layer=layer, return_table=True, silent=True, **how)
        )

    return ask


def compared(data: Any, layer: str | None, state: State) -> pd.DataFrame:
    table = gs.tl.compare(data, "cell_type", ["linear", "logistic_regression"], layer=layer, epochs=2, silent=True)
    return numbers(table)


def cross_validated(data: Any, layer: str | None, state: State) -> pd.DataFrame:
    return numbers(
        gs.tl.cross_validate(
            data, "cell_type", "linear", n_folds=2, layer=layer, epochs=2, return_table=True, silent=True
        )
    )


def checked(data: Any, layer: str | None, state: State) -> pd.DataFrame:
    found = gs.pp.check(data, state)
    return pd.DataFrame({name: [v.kind] for name, v in found.matrices.items()}).assign(found=found.n_found)


VERBS: dict[str, Callable[..., pd.DataFrame]] = {
    "select_hvgs": selected("select_hvgs", 8),
    "select_markers": selected("select_markers", "cell_type", 8),
    "bin_expression": binned,
    "check": checked,
    "train": train,
    "create": create,
    "classify": classify,
    "evaluate, vote": evaluated,
    "embed": table("embed"),
    "uncertainty": table("uncertainty", n_passes=3),
    "rank_genes": table("rank_genes", "cell_type"),
    "explain": lambda data, layer, state: gs.tl.explain(
        data, state, adata_of(data).obs_names[7], layer=layer, return_table=True, silent=True
    ).drop(columns="cell"),
    "compare": compared,
    "cross_validate": cross_validated,
}  # fmt: skip


#: Verbs that compile anew in each call; that of raw does for both.
COMPILED = ("explain", "uncertainty", "rank_genes", "compare", "cross_validate")


@pytest.fixture(scope="module")
def state(make_cells: Make) -> State:
    """Return a model with dropout."""
    trained = gs.tl.train(make_cells(seed=1), "cell_type", copy=True, **FAST, config={"dropout_rate": 0.3})
    return gs.model.GinsengClassifierState.from_dict(trained.uns["ginseng"]["model"])


@pytest.mark.filterwarnings("ignore:.*and the predicted labels share none")  # clusters are no types
@pytest.mark.parametrize(
    ("verb", "layer"),
    [
        pytest.param(verb, layer, marks=[pytest.mark.slow] if layer is None and verb in COMPILED else [])
        for verb in VERBS
        for layer in (None, "raw")
    ],
)
def test_what_holds_the_cells_changes_nothing(
    held: Callable[..., Any], state: State, verb: str, layer: str | None, tmp_path: Path
) -> None:
    expected = None
    for holder in HOLDERS:
        folder = tmp_path / holder.replace(" ", "-")
        folder.mkdir()
        data = held(holder, layer, folder)
        found = VERBS[verb](data, layer, state, *([folder] if verb == "create" else []))
        expected = found if expected is None else expected
        pd.testing.assert_frame_equal(found, expected, check_dtype=False, rtol=1e-4, atol=1e-6, obj=holder)
    assert expected is not None
    assert len(expected)


WRITTEN: dict[str, Callable[[ad.AnnData, State], Any]] = {
    "classify": lambda data, state: gs.tl.classify(data, state, silent=True),
    "uncertainty": lambda data, state: gs.tl.uncertainty(data, state, n_passes=2, silent=True),
    "compare": lambda data, state: gs.tl.compare(data, "cell_type", ["linear"], epochs=1, silent=True),
    "cross_validate": lambda data, state: gs.tl.cross_validate(
        data, "cell_type", "linear", n_folds=2, epochs=1, silent=True
    ),
}


@pytest.mark.parametrize("verb", WRITTEN)
def test_results_are_written_into_what_is_on_disk_or_lazy(
    held: Callable[..., Any], state: State, verb: str, tmp_path: Path
) -> None:
    expected = None
    for holder in ("csr", "h5ad backed", "zarr backed", "lazy h5ad", "lazy zarr"):
        folder = tmp_path / holder.replace(" ", "-")
        folder.mkdir()
        data = held(holder, None, folder)
        WRITTEN[verb](data, state)
        found = table_of(data.obs, "ginseng")
        expected = found if expected is None else expected
        assert found.shape[1]
        pd.testing.assert_frame_equal(found, expected, check_dtype=False, check_categorical=False, obj=holder)


CALLS: dict[str, Callable[[Any, State], Any]] = {
    "classify": lambda a, state: gs.tl.classify(a, state, silent=True),
    "train": lambda a, state: gs.tl.train(a, "cell_type", **FAST),
    "cross_validate": lambda a, state: gs.tl.cross_validate(
        a, "cell_type", "linear", n_folds=2, epochs=1, silent=True
    ),
    "select_hvgs": lambda a, state: gs.pp.select_hvgs(a, 8, silent=True),
    "check": gs.pp.check,
}  # fmt: skip


@pytest.mark.parametrize("form", ["csr", "csc"])
@pytest.mark.parametrize("verb", CALLS)
def test_the_indices_of_a_matrix_in_memory_are_scanned_once(
    make_cells: Make, state: State, verb: str, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scanned: list[int] = []

    class Indices(np.ndarray):
        """Indices that count how often all of them are looked at."""

        def max(self, *args: Any, **how: Any) -> Any:
            scanned.append(self.size)
            return np.asarray(self).max(*args, **how)

    adata = make_cells()
    adata.X = adata.X.asformat(form)
    adata.X.indices = adata.X.indices.view(Indices)
    CALLS[verb](adata, state)
    assert scanned == [adata.X.nnz]


def log_normalised(adata: ad.AnnData, target_sum: float = 1e4) -> ad.AnnData:
    out, x = adata.copy(), adata.X.toarray()
    out.X = np.log1p(target_sum * x / x.sum(axis=1, keepdims=True)).astype(np.float32)
    return out


def outcome(call: Callable[[], Any]) -> str:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            call()
        except ValueError as error:
            return str(error)
    return "; ".join(str(w.message) for w in caught if "single cell" not in str(w.message))


@pytest.mark.parametrize("normalize", [None, True, False])
@pytest.mark.parametrize("values", ["counts", "log-normalised", "scaled", "with negative rounding"])
def test_compare_and_cross_validate_judge_values_as_train_does(
    make_cells: Make, values: str, normalize: bool | None
) -> None:
    adata = make_cells()
    if values == "log-normalised":
        adata = log_normalised(adata)
    elif values == "scaled":
        adata.X = adata.X.toarray() - 1
    elif values == "with negative rounding":
        adata.X = np.where(adata.X.toarray() == 0, -1e-17, adata.X.toarray())
    how = {**FAST, "epochs": 1} | ({} if normalize is None else {"normalize": normalize})
    said = [
        outcome(lambda: gs.tl.train(adata.copy(), "cell_type", **how)),
        outcome(lambda: gs.tl.compare(adata.copy(), "cell_type", ["linear"], **how)),
        outcome(lambda: gs.tl.cross_validate(adata.copy(), "cell_type", n_folds=2, **how)),
        outcome(lambda: gs.tl.cross_validate(adata.copy(), "cell_type", "logistic_regression", n_folds=2, **how)),
    ]
    assert len(set(said)) == 1
    refused = {"log-normalised": normalize is not False, "scaled": True}.get(values, normalize is False)
    assert bool(said[0]) == refused


# -- raw ---------------------------------------------------------------------------------------------------------------


def test_a_layer_that_is_called_raw_comes_first(make_cells: Make) -> None:
    adata = with_raw(make_cells())
    adata.layers["raw"] = np.full(adata.shape, 3)
    assert open_cells(adata, layer="raw").matrix.max() == 3
    assert gs.pp.check(adata).use == "layers['raw']"


@pytest.mark.parametrize("raw", ["none", "null"])
def test_without_raw_what_there_is_is_listed(make_cells: Make, state: State, raw: str) -> None:
    adata = make_cells()
    adata.layers["counts"] = adata.X
    if raw == "null":
        adata.raw = adata
        adata.raw._X = None
    with pytest.raises(KeyError, match=r"neither `raw` nor a layer 'raw'\. Layers: counts"):
        gs.tl.classify(adata, state, layer="raw")
    assert list(gs.pp.check(adata, state).matrices) == ["X", "layers['counts']"]


@pytest.mark.parametrize("number", [lambda i: f"{i}", lambda i: f"{i + 1}", lambda i: f"{i}.0", lambda i: f"V{i + 1}"])
def test_raw_with_row_numbers_for_names_takes_those_of_adata(
    make_cells: Make, state: State, number: Callable[[int], str]
) -> None:
    adata = make_cells(seed=3)
    adata.raw = ad.AnnData(adata.X.copy(), var=pd.DataFrame({"n": range(30)}, index=[number(i) for i in range(30)]))
    adata.X = adata.X.toarray() - 1
    expected = gs.tl.classify(make_cells(seed=3), state, return_table=True, silent=True)
    for some in (adata, adata[:, 5:]):  # the names are those of the whole
        pd.testing.assert_frame_equal(
            gs.tl.classify(some, state, layer="raw", return_table=True, silent=True), expected
        )
    assert list(open_cells(adata, layer="raw").var) == ["n"]


def test_raw_with_row_numbers_in_another_order_does_not(make_cells: Make, state: State) -> None:
    adata = make_cells(seed=3)
    adata.raw = ad.AnnData(adata.X[:, ::-1].copy(), var=pd.DataFrame(index=[str(i) for i in range(30)][::-1]))
    with pytest.raises(ValueError, match="row numbers"):
        gs.tl.classify(adata, state, layer="raw", silent=True)


@pytest.mark.parametrize("holder", ["h5ad", "zarr"])
@pytest.mark.parametrize("how", ["backed", "lazy", "path"])
def test_without_x_on_disk_the_layers_are_named(
    make_cells: Make, state: State, tmp_path: Path, holder: str, how: str
) -> None:
    adata = make_cells()
    adata.layers["counts"] = adata.X
    adata.X = None
    path = tmp_path / f"cells.{holder}"
    getattr(adata, f"write_{holder}")(path)
    if how == "backed":
        data = ad.read_h5ad(path, backed="r") if holder == "h5ad" else gs.read_adata(path, backed=True)
    else:
        data = read_lazy(path) if how == "lazy" else path
    with pytest.raises(ValueError, match=r"`adata.X` is empty\. Pass `layer=`\. Layers: counts"):
        gs.tl.classify(data, state, silent=True)
    with pytest.raises(ValueError, match=r"`adata.X` is empty\. Pass `layer=`\. Layers: counts"):
        gs.tl.train(data, "cell_type", **FAST)
    assert gs.pp.check(data, state).use == "layers['counts']"


def test_genes_selected_in_raw_come_back_from_a_file(make_cells: Make, tmp_path: Path) -> None:
    counts = make_cells()
    gs.pp.select_markers(counts, "cell_type", 8, silent=True)
    expected = set(counts.var_names[counts.var["ginseng_genes"]])
    adata = with_raw(make_cells())
    gs.pp.select_markers(adata, "cell_type", 8, layer="raw", silent=True)
    assert set(adata.var_names[adata.var["ginseng_genes"]]) == expected & set(adata.var_names) != expected
    np.testing.assert_allclose(adata.var["ginseng_t"], counts.var["ginseng_t"][adata.var_names])
    adata.write_h5ad(tmp_path / "a.h5ad")
    for data in (adata, tmp_path / "a.h5ad", gs.read_adata(tmp_path / "a.h5ad", backed=True)):
        for genes in (None, "ginseng_genes"):
            given = data.copy() if data is adata else data
            found = gs.tl.train(given, "cell_type", layer="raw", genes=genes, **FAST)
            model = (given if found is None else found.to_dict()) if found is None else found.to_dict()
            names = model.uns["ginseng"]["model"]["genes"] if found is None else model["genes"]
            assert set(np.asarray(names).astype(str)) == expected
    gs.pp.select_markers(adata, "cell_type", 8, layer=None, target_sum=None, silent=True)
    assert "ginseng_raw_genes" not in adata.uns  # they were of the earlier selection


def test_check_advises_raw_and_its_call_works(make_cells: Make, state: State) -> None:
    adata = with_raw(make_cells(seed=3))
    found = gs.pp.check(adata, state)
    expected = ("raw.X", 30, "gs.tl.classify(adata, model, layer='raw')")
    assert (found.use, found.n_found, found.call) == expected
    assert gs.pp.check(adata).call == "gs.tl.train(adata, 'cell_type', layer='raw')"
