"""Labels of cells: the same for every container of the counts, and compared with NumPy."""

import dataclasses
import os
import shutil
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anndata as ad
import dask.array as da
import h5py
import numpy as np
import pandas as pd
import pytest
import zarr
from scipy import sparse
from scipy.special import softmax

import ginseng as gs
from ginseng import _logging
from ginseng._disk.atomic import replacing
from ginseng._predict import annotate
from ginseng.model import GinsengClassifierState

type Make = Callable[..., ad.AnnData]
type State = GinsengClassifierState


def by_hand(
    state: State, x: np.ndarray, names: list[str], *, target_sum: float = 1e4, adapt: bool = True
) -> np.ndarray:
    """Return the probabilities of a logistic regression, in NumPy and float64, class by class and gene by gene."""
    full = np.zeros((len(x), state.n_genes))
    for j, name in enumerate(names):
        if name in state.genes:
            full[:, state.genes.tolist().index(name)] += x[:, j]
    found, reference = np.isin(state.genes, names), state.reference
    total = full.sum(axis=1) if state.library_size == "model_genes" else x.sum(axis=1)
    if reference is not None and state.library_size == "model_genes":
        total = total / (reference["share"][found].sum(dtype=float) / reference["share"].sum(dtype=float))
    z = np.log1p(target_sum * full / np.where(total > 0, total, 1)[:, None])
    if reference is None:
        return regression(state, z)
    z[:, ~found] = reference["mean"][~found]
    shift = np.zeros(state.n_genes)
    if adapt:
        probs = regression(state, z)
        label, p = probs.argmax(axis=1), probs.max(axis=1) * (full.sum(axis=1) > 0)
        n = [p[label == c].sum() for c in range(state.n_classes)]
        classes = [c for c in range(state.n_classes) if n[c] >= 5 and reference["cells"][c] >= 5]
        for g in np.flatnonzero(found) if len(classes) >= 3 else ():
            more = [(p * z[:, g])[label == c].sum() / n[c] - reference["classes"][c, g] for c in classes]
            mean, error = np.mean(more), np.std(more, ddof=1) / np.sqrt(len(classes))
            shift[g] = np.rint(mean * max(0, 1 - error**2 / mean**2) * 2**16) / 2**16 if mean else 0
    return regression(state, z - shift)


def regression(state: State, z: np.ndarray) -> np.ndarray:
    z = np.clip((z - state.params["input"]["mean"]) / state.params["input"]["scale"], -10, 10)
    return softmax(z @ state.params["head"]["W"].astype(float) + state.params["head"]["b"], axis=1)


def check(found: ad.AnnData, state: State, expected: np.ndarray, *, atol: float = 1e-6, key: str = "ginseng") -> None:
    assert found.obs[f"{key}_cell_type"].tolist() == state.label_keys[expected.argmax(axis=1)].tolist()
    assert isinstance(found.obs[f"{key}_cell_type"].dtype, pd.CategoricalDtype)
    assert found.obs[f"{key}_confidence"].dtype == np.float32
    np.testing.assert_allclose(found.obs[f"{key}_confidence"], expected.max(axis=1), atol=atol)
    probs = np.asarray(found.obsm[f"{key}_probs"])
    np.testing.assert_allclose(probs, expected, atol=atol)
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-5)


def blurred(make_cells: Make, n_cells: int = 120, n_genes: int = 30) -> ad.AnnData:
    """Return cells that the model labels with low confidence."""
    adata = make_cells(n_cells, n_genes, seed=8)
    rng = np.random.default_rng(9)
    x = adata.X.toarray()
    adata.X = sparse.csr_matrix(np.where(rng.random(x.shape) < 0.5, x, x[rng.permutation(n_cells)]))
    return adata


GENES = {
    "as trained": lambda names, rng: names,
    "shuffled": lambda names, rng: list(rng.permutation(names)),
    "more": lambda names, rng: list(rng.permutation([*names, *(f"other{i}" for i in range(20))])),
    "fewer": lambda names, rng: list(rng.permutation(names))[:20],
}


def held(folder: Path, x: np.ndarray, names: list[str], dtype: str) -> dict[str, tuple[object, str | None]]:
    """Return the same cells in each container, with the layer that holds them."""
    var = pd.DataFrame(index=names)
    x = x.astype(dtype)
    csr = ad.AnnData(sparse.csr_matrix(x), var=var)
    csc, dense = ad.AnnData(sparse.csc_matrix(x), var=var), ad.AnnData(x, var=var)
    found: dict[str, tuple[object, str | None]] = {
        "csr": (csr.copy(), None),
        "csc": (csc.copy(), None),
        "numpy": (dense.copy(), None),
        "fortran": (ad.AnnData(np.asfortranarray(x), var=var), None),
        "dask": (ad.AnnData(da.from_array(x, chunks=(50, 11)), var=var), None),
        "view": (ad.concat([csr[:5], csr], index_unique="-")[5:], None),
        "layer": (ad.AnnData(np.zeros(x.shape), var=var, layers={"counts": sparse.csr_matrix(x)}), "counts"),
    }
    for name, adata in {"csr": csr, "csc": csc, "numpy": dense}.items():
        adata.write_h5ad(folder / f"{name}.h5ad")
        found[f"backed {name}"] = gs.read_adata(folder / f"{name}.h5ad", backed=True), None
        found[f"path {name}"] = folder / f"{name}.h5ad", None
    csr.write_zarr(folder / "csr.zarr")
    found["zarr path"] = folder / "csr.zarr", None
    found["zarr on disk"] = gs.read_adata(folder / "csr.zarr", backed=True), None
    found["layer"][0].write_h5ad(folder / "layer.h5ad")  # type: ignore[attr-defined]
    found["backed layer"] = gs.read_adata(folder / "layer.h5ad", backed=True), "counts"
    return found


@pytest.mark.parametrize("genes", GENES)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint16"])
def test_the_same_probabilities_from_any_container(
    make_cells: Make, state: State, tmp_path: Path, genes: str, dtype: str
) -> None:
    adata = blurred(make_cells)
    names = GENES[genes](adata.var_names.tolist(), np.random.default_rng(2))
    x = np.random.default_rng(3).poisson(0.2, (120, len(names))).astype(float)
    known = [i for i, name in enumerate(names) if name in adata.var_names]
    x[:, known] = adata[:, [names[i] for i in known]].X.toarray()
    expected = by_hand(state, x, names)
    assert 0.5 < expected.max(axis=1).mean() < 0.98  # neither trivial nor hopeless
    for holder, (given, layer) in held(tmp_path, x, names, dtype).items():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = gs.tl.classify(given, state, layer=layer, store_probs=True, copy=True)
        messages = [str(w.message) for w in caught if w.category is UserWarning]
        if genes == "fewer":
            assert len(messages) == 1, (holder, messages)
            assert messages[0].startswith("Partial gene overlap detected: 66.67%. 10 of the 30 genes")
        else:
            assert messages == [], holder
        check(found, state, expected)  # type: ignore[arg-type]


@pytest.mark.parametrize("batch_size", [1, 7, 256, 121])
def test_batches_change_nothing(make_cells: Make, state: State, batch_size: int) -> None:
    adata = blurred(make_cells)
    gs.tl.classify(adata, state, store_probs=True, batch_size=batch_size)
    check(adata, state, by_hand(state, adata.X.toarray(), adata.var_names.tolist()))


@pytest.mark.parametrize("batch_size", [0, -3])
def test_a_batch_has_at_least_a_cell(make_cells: Make, state: State, batch_size: int) -> None:
    with pytest.raises(ValueError, match=r"`batch_size`.* 1"):
        gs.tl.classify(make_cells(), state, batch_size=batch_size)


def test_blocks_of_rows_change_nothing(make_cells: Make, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    from ginseng._predict import query

    monkeypatch.setattr(query.model_rows, "__kwdefaults__", {"size": 13, "every": 1})
    adata = blurred(make_cells)
    gs.tl.classify(adata, state, store_probs=True, batch_size=5)
    check(adata, state, by_hand(state, adata.X.toarray(), adata.var_names.tolist()))


def test_a_cell_does_not_depend_on_the_others(make_cells: Make, state: State) -> None:
    adata = blurred(make_cells)
    order = np.random.default_rng(0).permutation(120)[:77]
    part = adata[order].copy()
    for a in (adata, part):
        gs.tl.classify(a, state, store_probs=True, adapt=False)
    check(adata, state, by_hand(state, adata.X.toarray(), adata.var_names.tolist(), adapt=False))
    np.testing.assert_allclose(
        np.asarray(part.obsm["ginseng_probs"]), np.asarray(adata.obsm["ginseng_probs"])[order], atol=1e-6
    )
    assert part.obs["ginseng_cell_type"].tolist() == adata.obs["ginseng_cell_type"].iloc[order].tolist()


# -- how it is called --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, make_cells: Make, state: State) -> Path:
    folder = tmp_path_factory.mktemp("files")
    gs.save_model(state, folder / "model.h5")
    blurred(make_cells).write_h5ad(folder / "query.h5ad")
    return folder


@pytest.mark.parametrize("data", ["adata", "path", "text"])
@pytest.mark.parametrize("model", ["state", "path", "text"])
def test_data_and_model_in_either_order(make_cells: Make, state: State, files: Path, data: str, model: str) -> None:
    adata = blurred(make_cells)
    expected = by_hand(state, adata.X.toarray(), adata.var_names.tolist())
    a = {"adata": adata, "path": files / "query.h5ad", "text": str(files / "query.h5ad")}[data]
    m = {"state": state, "path": files / "model.h5", "text": str(files / "model.h5")}[model]
    for pair in ((a, m), (m, a)):
        for classify in (gs.classify, gs.tl.classify):
            table = classify(*pair, return_table=True, store_probs=True)
            assert isinstance(table, pd.DataFrame)
            assert table.index.tolist() == adata.obs_names.tolist()
            assert table.columns.tolist() == ["cell_type", "confidence", *state.label_keys]
            assert table["cell_type"].tolist() == state.label_keys[expected.argmax(axis=1)].tolist()
            np.testing.assert_allclose(table[state.label_keys.tolist()], expected, atol=1e-6)
    assert "ginseng_cell_type" not in adata.obs


def test_a_trained_anndata_is_a_model(make_cells: Make) -> None:
    ref, query = make_cells(), blurred(make_cells)
    gs.tl.train(ref, "cell_type", architecture="linear", epochs=2, calibrate=False, silent=True)
    gs.tl.classify(query, ref, store_probs=True)
    state = GinsengClassifierState.from_dict(ref.uns["ginseng"]["model"])
    check(query, state, by_hand(state, query.X.toarray(), query.var_names.tolist()))
    gs.tl.classify(ref, ref)
    assert set(ref.uns["ginseng"]) >= {"model", "history", "overlap"}
    with pytest.raises(ValueError, match=r"`gs\.tl\.train"):
        gs.tl.classify(query, blurred(make_cells))
    with pytest.raises(ValueError, match="model"):
        gs.tl.classify(query)
    with pytest.raises(TypeError, match="cells"):
        gs.tl.classify(state)


def test_a_path_gives_a_table_and_loses_nothing(make_cells: Make, state: State, files: Path) -> None:
    before = {p.name: p.read_bytes() for p in files.iterdir()}
    table = gs.tl.classify(files / "query.h5ad", state)
    assert isinstance(table, pd.DataFrame)
    assert table.columns.tolist() == ["cell_type", "confidence"]
    copy = gs.tl.classify(files / "query.h5ad", state, copy=True)
    assert isinstance(copy, ad.AnnData)
    assert copy.obs["ginseng_cell_type"].tolist() == table["cell_type"].tolist()
    assert not copy.isbacked
    loaded = gs.tl.classify(files / "query.h5ad", state, backed=False)
    pd.testing.assert_frame_equal(loaded, table)
    assert {p.name: p.read_bytes() for p in files.iterdir()} == before


@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
@pytest.mark.parametrize("source", ["h5ad", "zarr"])
def test_from_file_to_file(make_cells: Make, state: State, tmp_path: Path, source: str, suffix: str) -> None:
    adata = blurred(make_cells)
    adata.uns["ginseng"], adata.uns["mine"] = {"metrics": {"accuracy": 0.5}}, "kept"
    adata.layers["counts"] = adata.X.copy()
    path, output = tmp_path / f"in.{source}", tmp_path / f"out.{suffix}"
    (adata.write_h5ad if source == "h5ad" else adata.write_zarr)(path)
    assert gs.tl.classify(path, state, output=output, store_probs=True) is None
    found = ad.read_h5ad(output) if suffix == "h5ad" else ad.read_zarr(output)
    check(found, state, by_hand(state, adata.X.toarray(), adata.var_names.tolist()))
    np.testing.assert_array_equal(found.X.toarray(), adata.X.toarray())
    np.testing.assert_array_equal(found.layers["counts"].toarray(), adata.X.toarray())
    assert found.uns["mine"] == "kept"
    assert found.uns["ginseng"]["metrics"]["accuracy"] == 0.5
    assert found.obs["cell_type"].tolist() == adata.obs["cell_type"].tolist()
    assert sorted(os.listdir(tmp_path)) == sorted([path.name, output.name])
    with pytest.raises(FileExistsError, match=output.name):
        gs.tl.classify(path, state, output=output)


def test_a_file_may_lack_what_is_written(make_cells: Make, state: State, tmp_path: Path) -> None:
    """As written by `anndata.experimental.concat_on_disk`; warnings are errors here."""
    make_cells().write_h5ad(tmp_path / "in.h5ad")
    with h5py.File(tmp_path / "in.h5ad", "r+") as file:
        del file["uns"], file["obsm"]
    gs.tl.classify(tmp_path / "in.h5ad", state, output=tmp_path / "out.h5ad", store_probs=True)
    found = ad.read_h5ad(tmp_path / "out.h5ad")
    assert np.asarray(found.obsm["ginseng_probs"]).shape == (found.n_obs, state.n_classes)
    assert "overlap" in found.uns["ginseng"]


@pytest.mark.filterwarnings("ignore:Element .* was written without", "ignore:Object at .* is not recognized")
@pytest.mark.parametrize("kind", ["h5ad", "zarr"])
def test_what_else_a_file_has_is_kept(make_cells: Make, state: State, tmp_path: Path, kind: str) -> None:
    adata, path = make_cells(), tmp_path / f"cells.{kind}"
    adata.obs["odd name"] = pd.array([1, None] * 60, dtype="Int64")
    (adata.write_h5ad if kind == "h5ad" else adata.write_zarr)(path)
    with h5py.File(path, "r+") if kind == "h5ad" else nullcontext(zarr.open_group(path)) as root:
        images = root.create_group("images")
        (images.create_array if kind == "zarr" else images.create_dataset)("raw", data=np.arange(6))
        root.attrs["mine"] = "kept"
    if kind == "zarr":
        (path / "notes.txt").write_text("mine")
        (path / "obs" / "notes.txt").write_text("mine")
    for _ in range(2):
        gs.tl.classify(path, state, output=path, store_probs=True)
    with h5py.File(path) if kind == "h5ad" else nullcontext(zarr.open_group(path, use_consolidated=False)) as root:
        assert root["images/raw"][:].tolist() == list(range(6))
        assert root.attrs["mine"] == "kept"
    found = gs.read_adata(path, backed=True)
    assert found.obs.columns.tolist() == [*adata.obs, "ginseng_cell_type", "ginseng_confidence"]
    pd.testing.assert_frame_equal(found.obs[list(adata.obs)], adata.obs)
    if kind == "zarr":
        assert (path / "notes.txt").read_text() == (path / "obs" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("how", [ad.experimental.read_lazy, lambda path: gs.read_adata(path, backed=True)])
@pytest.mark.parametrize("kind", ["h5ad", "zarr"])
def test_into_what_was_read_lazily(
    make_cells: Make, state: State, tmp_path: Path, kind: str, how: Callable[..., ad.AnnData]
) -> None:
    adata, path = make_cells(), tmp_path / f"cells.{kind}"
    (adata.write_h5ad if kind == "h5ad" else adata.write_zarr)(path)
    gs.tl.classify(adata, state)
    lazy = how(path)
    gs.tl.classify(lazy, state)
    copy = gs.tl.classify(how(path), state, copy=True)
    for found in (lazy, copy):
        assert found.obs["ginseng_cell_type"].tolist() == adata.obs["ginseng_cell_type"].tolist()


def test_a_file_of_an_old_anndata(make_cells: Make, state: State, tmp_path: Path) -> None:
    adata, path = make_cells(), tmp_path / "old.h5ad"
    adata.write_h5ad(path)
    with h5py.File(path, "r+") as file:
        for name, frame in (("obs", adata.obs), ("var", adata.var)):
            del file[name]
            records = frame.astype(dict.fromkeys(frame, str)).reset_index().to_records(index=False)
            text = h5py.string_dtype()
            file[name] = np.array([tuple(r) for r in records], [(n, text) for n in records.dtype.names])
        del file.attrs["encoding-type"], file.attrs["encoding-version"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gs.tl.classify(path, state, output=tmp_path / "new.h5ad")
    assert "ginseng_cell_type" in ad.read_h5ad(tmp_path / "new.h5ad").obs


def test_files_that_change_during_the_call(
    make_cells: Make, state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adata, path = make_cells(), tmp_path / "cells.h5ad"
    adata.write_h5ad(path)
    adata[::-1].copy().write_h5ad(tmp_path / "other.h5ad")
    other, label = (tmp_path / "other.h5ad").read_bytes(), annotate.label

    def replaced(*args: Any, **kwargs: Any) -> Any:
        path.unlink()
        path.write_bytes(other)
        return label(*args, **kwargs)

    monkeypatch.setattr(annotate, "label", replaced)
    with pytest.raises(RuntimeError, match=path.name):
        gs.tl.classify(path, state, output=path)
    assert path.read_bytes() == other

    def appears(*args: Any, **kwargs: Any) -> Any:
        (tmp_path / "out.h5ad").write_text("mine")
        return label(*args, **kwargs)

    monkeypatch.setattr(annotate, "label", appears)
    with pytest.raises(FileExistsError, match="created by another process"):
        gs.tl.classify(path, state, output=tmp_path / "out.h5ad")
    assert (tmp_path / "out.h5ad").read_text() == "mine"


def test_a_training_store_is_not_annotated_in_place(
    make_cells: Make, state: GinsengClassifierState, tmp_path: Path
) -> None:
    path = tmp_path / "s.zarr"
    gs.data.GinsengDataset.create(path, make_cells(), "cell_type", silent=True)
    (tmp_path / "link.zarr").symlink_to("s.zarr")
    for name in (path, tmp_path / "link.zarr"):
        with pytest.raises(ValueError, match=r"`output='.*\.h5ad'`"):
            gs.tl.classify(name, state, output=name, silent=True)
    assert len(gs.data.GinsengDataset(path)) == 120
    gs.tl.classify(path, state, output=tmp_path / "s.h5ad", silent=True)
    assert "ginseng_cell_type" in ad.read_h5ad(tmp_path / "s.h5ad").obs
    for source in (path, tmp_path / "copy.zarr"):  # a copy with labels is no longer a store
        gs.tl.classify(source, state, output=tmp_path / "copy.zarr", silent=True)
    assert "ginseng_cell_type" in ad.read_zarr(tmp_path / "copy.zarr").obs


def test_an_unwritable_output_is_reported_before_any_work(
    make_cells: Make, state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_cells().write_h5ad(tmp_path / "in.h5ad")
    monkeypatch.setattr(annotate, "label", lambda *_, **__: pytest.fail("cells were labelled"))
    size = (tmp_path / "in.h5ad").stat().st_size
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=size + 2**20))  # no space for the labels
    with pytest.raises(OSError, match=r"MB|GB|kB|bytes"):
        gs.tl.classify(tmp_path / "in.h5ad", state, output=tmp_path / "out.h5ad")
    assert os.listdir(tmp_path) == ["in.h5ad"]
    with replacing(tmp_path / "out.h5ad") as partial:
        partial.touch()
        with pytest.raises(OSError, match=str(os.getpid())):
            gs.tl.classify(tmp_path / "in.h5ad", state, output=tmp_path / "out.h5ad")


def test_a_copy_leaves_the_original(make_cells: Make, state: State, tmp_path: Path) -> None:
    adata = make_cells()
    adata.write_h5ad(tmp_path / "a.h5ad")
    for given in (adata, gs.read_adata(tmp_path / "a.h5ad", backed=True)):
        copy = gs.tl.classify(given, state, copy=True)
        assert isinstance(copy, ad.AnnData)
        assert "ginseng_cell_type" in copy.obs
        assert list(given.obs.columns) == ["cell_type", "donor"]
        assert not given.uns
        assert not copy.isbacked


@pytest.mark.parametrize("backed", [False, True])
def test_a_view_is_written_to_and_its_parent_is_not(
    make_cells: Make, state: State, tmp_path: Path, backed: bool
) -> None:
    parent = make_cells()
    parent.write_h5ad(tmp_path / "a.h5ad")
    parent = gs.read_adata(tmp_path / "a.h5ad", backed=True) if backed else parent
    view = parent[10:50]
    gs.tl.classify(view, state, store_probs=True)
    assert list(parent.obs.columns) == ["cell_type", "donor"]
    assert not parent.uns
    assert not parent.obsm
    own = make_cells()[10:50].copy()
    gs.tl.classify(own, state, store_probs=True)
    new = ["ginseng_cell_type", "ginseng_confidence"]
    assert list(view.obs.columns) == ["cell_type", "donor", *new]
    pd.testing.assert_frame_equal(view.obs[new], own.obs[new])
    np.testing.assert_array_equal(np.asarray(view.obsm["ginseng_probs"]), np.asarray(own.obsm["ginseng_probs"]))


def test_what_is_written_and_what_is_kept(make_cells: Make, state: State, tmp_path: Path) -> None:
    adata = make_cells()
    adata.uns["ginseng"] = {"metrics": {"accuracy": 0.5}, "classes": "old"}
    adata.obsm["X_pca"] = np.ones((120, 2))
    before = adata.copy()
    gs.tl.classify(adata, state)
    new = ["ginseng_cell_type", "ginseng_confidence"]
    assert list(adata.obs.columns) == ["cell_type", "donor", *new]
    assert list(adata.obsm) == ["X_pca"]
    assert set(adata.uns["ginseng"]) == {
        "metrics", "classes", "overlap", "unassigned", "adaptation", "run",
    }  # fmt: skip
    assert adata.uns["ginseng"]["classes"].tolist() == state.label_keys.tolist()
    assert adata.uns["ginseng"]["overlap"] == {"n_genes": 30, "n_found": 30, "share": 1.0, "weight": 1.0}
    np.testing.assert_array_equal(adata.X.toarray(), before.X.toarray())
    pd.testing.assert_frame_equal(adata.var, before.var)
    pd.testing.assert_frame_equal(adata.obs[["cell_type", "donor"]], before.obs)

    gs.tl.classify(adata, state, store_probs=True, key_added="second")
    assert {"second_cell_type", "second_confidence", "ginseng_cell_type"} <= set(adata.obs)
    adata.write_h5ad(tmp_path / "a.h5ad")
    again = ad.read_h5ad(tmp_path / "a.h5ad")
    check(again, state, by_hand(state, adata.X.toarray(), adata.var_names.tolist()), key="second")
    assert again.uns["second"]["classes"].tolist() == state.label_keys.tolist()


def test_gene_weights(make_cells: Make, state: State) -> None:
    ref, query = make_cells(), make_cells(seed=3)
    gs.tl.train(ref, "cell_type", architecture="gated", epochs=1, silent=True)
    query = query[:, ::-1].copy()
    gs.tl.classify(query, ref, store_gene_weights=True)
    weights = query.obsm["ginseng_gene_weights"]
    assert weights.shape == (120, 30)
    assert ((weights > 0) & (weights < 1)).all()
    assert query.uns["ginseng"]["genes"].tolist() == ref.var_names.tolist()
    by_batch = gs.tl.classify(query, ref, store_gene_weights=True, batch_size=7, copy=True)
    assert isinstance(by_batch, ad.AnnData)
    np.testing.assert_allclose(by_batch.obsm["ginseng_gene_weights"], weights, atol=1e-6)
    with pytest.raises(ValueError, match="'linear'"):
        gs.tl.classify(query, state, store_gene_weights=True)


# -- values -----------------------------------------------------------------------------------------------------


def test_dropout_is_drawn_from_the_seed(make_cells: Make, state: State) -> None:
    adata = blurred(make_cells)

    def probs(**how: object) -> np.ndarray:
        found = gs.tl.classify(adata, state, store_probs=True, copy=True, **how)
        return np.asarray(found.obsm["ginseng_probs"])

    plain, one, two = probs(), probs(randomness=True, seed=1), probs(randomness=True, seed=2)
    np.testing.assert_array_equal(probs(seed=5), plain)
    np.testing.assert_array_equal(probs(randomness=True, seed=1), one)
    assert np.abs(one - plain).max() > 0.01
    assert np.abs(one - two).max() > 0.01
    # the same cells get different dropout in another batch
    twice = ad.concat([adata[:8], adata[:8]], index_unique="-")
    found = gs.tl.classify(twice, state, store_probs=True, copy=True, randomness=True, batch_size=8)
    assert (
        np.abs(np.asarray(found.obsm["ginseng_probs"])[:8] - np.asarray(found.obsm["ginseng_probs"])[8:]).max() > 0.01
    )


def test_normalising_is_left_to_the_model_or_done_by_hand(make_cells: Make, state: State) -> None:
    adata = blurred(make_cells, 99, n_genes=40)  # of more, which are far, classes of their own would count
    x = adata.X.toarray()
    expected = by_hand(state, x, adata.var_names.tolist())
    log = ad.AnnData(np.log1p(1e4 * x / x.sum(axis=1, keepdims=True)), var=adata.var)
    gs.tl.classify(log, state, normalize=False, store_probs=True)
    check(log, state, expected, atol=1e-5)

    # any library size over any genes: the logarithm is inverted
    scaled = ad.AnnData(np.log1p(500.0 * x / x.sum(axis=1, keepdims=True)), var=adata.var)
    gs.tl.classify(scaled, state, normalize=False, store_probs=True)
    check(scaled, state, expected, atol=1e-5)

    gs.tl.classify(adata, state, target_sum=500.0, store_probs=True)
    np.testing.assert_allclose(
        np.asarray(adata.obsm["ginseng_probs"]),
        by_hand(state, x, adata.var_names.tolist(), target_sum=500.0),
        atol=1e-5,
    )
    assert np.abs(np.asarray(adata.obsm["ginseng_probs"]) - expected).max() > 0.01
    with pytest.warns(UserWarning, match=r"log1p of counts per 10,000: the logarithm is undone, .* `normalize=False`"):
        gs.tl.classify(log, state, store_probs=True)
    check(log, state, expected, atol=1e-5)

    # a model that scales by all genes does not know their sum
    of_all = dataclasses.replace(state, library_size="all_genes")
    with pytest.raises(ValueError, match=r" 500.*np\.expm1\(adata\.X\)"):
        gs.tl.classify(scaled, of_all)
    with pytest.warns(UserWarning, match=r"log1p of counts per 10,000, .* `normalize=False`"):
        gs.tl.classify(log, of_all, store_probs=True)
    check(log, of_all, by_hand(of_all, x, adata.var_names.tolist()), atol=1e-5)


def test_names_in_a_column(make_cells: Make, state: State) -> None:
    adata = blurred(make_cells)
    expected = by_hand(state, adata.X.toarray(), adata.var_names.tolist())
    adata.var["symbol"] = adata.var_names
    adata.var_names = [f"ENSG{i}" for i in range(30)]
    with pytest.warns(UserWarning, match=r"'symbol'.* 30 .* 30"):
        gs.tl.classify(adata, state, store_probs=True)
    check(adata, state, expected)
    gs.tl.classify(adata, state, gene_key="symbol", store_probs=True)
    check(adata, state, expected)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("container", [np.asarray, sparse.csr_matrix, sparse.csc_matrix])
def test_duplicate_genes_are_summed(
    make_cells: Make, state: State, container: Callable[..., object], dtype: str
) -> None:
    whole = blurred(make_cells)
    x = whole.X.toarray() * 20
    first = np.minimum(x, 200)
    both = np.hstack([first, x - first])
    assert both.max() <= 255 < x.max()
    names = whole.var_names.tolist()
    with pytest.warns(UserWarning, match="Variable names are not unique"):
        adata = ad.AnnData(container(both.astype(dtype)), var=pd.DataFrame(index=names * 2))
    with pytest.warns(UserWarning, match=r"60 .* 30 "):
        gs.tl.classify(adata, state, store_probs=True)
    check(adata, state, by_hand(state, x, names))


def test_a_cell_with_counts_in_other_genes_alone_is_unassigned(make_cells: Make, state: State) -> None:
    adata = make_cells()
    x = np.column_stack([adata.X.toarray(), np.full(adata.n_obs, 9)])
    x[3, :-1] = 0
    query = ad.AnnData(sparse.csr_matrix(x), var=pd.DataFrame(index=[*adata.var_names, "another"]))
    with pytest.warns(UserWarning, match="1 of 120"):
        gs.tl.classify(query, state)
    assert np.flatnonzero(query.obs["ginseng_cell_type"] == "unassigned").tolist() == [3]


@pytest.mark.parametrize("silent", [False, True])
def test_a_cell_without_counts_is_unassigned(make_cells: Make, state: State, silent: bool) -> None:
    adata = make_cells()
    x = adata.X.toarray()
    x[[0, 7]] = 0
    adata.X = sparse.csr_matrix(x)
    with pytest.warns(UserWarning, match=r"2 of 120 .*'unassigned'"):
        gs.tl.classify(adata, state, silent=silent, store_probs=True)
    labels = adata.obs["ginseng_cell_type"]
    assert np.flatnonzero(labels == "unassigned").tolist() == [0, 7]
    assert labels.cat.categories.tolist() == [*state.label_keys, "unassigned"]
    assert adata.obs["ginseng_confidence"].iloc[[0, 7]].tolist() == [0, 0]
    np.testing.assert_allclose(np.asarray(adata.obsm["ginseng_probs"]).sum(axis=1), 1, atol=1e-5)
    expected = by_hand(state, x, adata.var_names.tolist())
    assert (
        labels[labels != "unassigned"].tolist() == state.label_keys[np.delete(expected, [0, 7], 0).argmax(1)].tolist()
    )


# -- thresholds and allowed labels -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["unassigned", "γδ?/none"])
def test_no_label_below_the_threshold(make_cells: Make, state: State, tmp_path: Path, name: str) -> None:
    adata = blurred(make_cells)
    x = adata.X.toarray()
    x[5] = 0
    adata.X = sparse.csr_matrix(x)
    expected = by_hand(state, x, adata.var_names.tolist())
    threshold = float(np.quantile(expected.max(axis=1), 0.3))
    with pytest.warns(UserWarning, match=f"1 of 120 .*'{name[:2]}"):
        gs.tl.classify(adata, state, min_confidence=threshold, unassigned=name, store_probs=True)
    unsure = expected.max(axis=1) < threshold
    unsure[5] = False
    labels = np.where(unsure, name, state.label_keys[expected.argmax(axis=1)])
    labels[5] = name
    assert adata.obs["ginseng_cell_type"].tolist() == labels.tolist()
    assert adata.obs["ginseng_cell_type"].cat.categories.tolist() == [*state.label_keys, name]
    confidence = expected.max(axis=1)
    confidence[5] = 0
    np.testing.assert_allclose(adata.obs["ginseng_confidence"], confidence, atol=1e-6)
    np.testing.assert_allclose(np.asarray(adata.obsm["ginseng_probs"]), expected, atol=1e-6)
    written = {"label": name, "min_confidence": threshold, "n_low_confidence": int(unsure.sum()), "n_no_counts": 1}
    assert unsure.sum() > 20
    for write, read in ((adata.write_h5ad, ad.read_h5ad), (adata.write_zarr, ad.read_zarr)):
        write(tmp_path / read.__name__)
        assert dict(read(tmp_path / read.__name__).uns["ginseng"]["unassigned"]) == written


def test_the_threshold_itself_is_enough(make_cells: Make, state: State) -> None:
    adata = blurred(make_cells)
    gs.tl.classify(adata, state)
    at = float(adata.obs["ginseng_confidence"].iloc[3])
    gs.tl.classify(adata, state, min_confidence=at)
    label = adata.obs["ginseng_cell_type"]
    assert ((label == "unassigned") == (adata.obs["ginseng_confidence"] < np.float32(at))).all()
    assert label.iloc[3] != "unassigned"
    gs.tl.classify(adata, state)
    assert "unassigned" not in adata.obs["ginseng_cell_type"].cat.categories
    assert adata.uns["ginseng"]["unassigned"]["n_low_confidence"] == 0


ALLOWED = {
    "allowed": ({"allowed": ["T/NK", "γδ T"]}, [False, True, True]),
    "one": ({"allowed": "γδ T"}, [False, False, True]),
    "excluded": ({"excluded": ["T/NK"]}, [True, False, True]),
    "both": ({"allowed": np.array(["T/NK", "B cell"]), "excluded": {"B cell"}}, [False, True, False]),
    "all": ({"excluded": []}, [True, True, True]),
}


@pytest.mark.parametrize("how", ALLOWED)
def test_the_allowed_classes_share_the_probability(make_cells: Make, state: State, tmp_path: Path, how: str) -> None:
    adata = blurred(make_cells)
    given, mask = ALLOWED[how]
    allowed = np.array(mask)
    before = by_hand(state, adata.X.toarray(), adata.var_names.tolist(), adapt=False)
    given = {**given, "adapt": False}  # what is adapted to depends on what is allowed
    expected = before * allowed
    expected /= expected.sum(axis=1, keepdims=True)
    adata.write_h5ad(tmp_path / "in.h5ad")
    gs.save_model(state, tmp_path / "model.h5")
    gs.tl.classify(adata, state, store_probs=True, **given)
    gs.tl.classify(tmp_path / "in.h5ad", state, output=tmp_path / "out.h5ad", store_probs=True, **given)
    gs.tl.classify(tmp_path / "in.h5ad", state, output=tmp_path / "out.zarr", store_probs=True, **given)
    for found in (adata, ad.read_h5ad(tmp_path / "out.h5ad"), ad.read_zarr(tmp_path / "out.zarr")):
        check(found, state, expected)
        assert (np.asarray(found.obsm["ginseng_probs"])[:, ~allowed] == 0).all()
        restriction = found.uns["ginseng"]["restriction"]
        assert restriction["allowed"].tolist() == state.label_keys[allowed].tolist()
        assert restriction["n_relabelled"] == (~allowed[before.argmax(axis=1)]).sum()
    for call in (
        lambda **k: gs.classify(state, adata, **k),
        lambda **k: gs.tl.classify(tmp_path / "model.h5", tmp_path / "in.h5ad", **k),
        lambda **k: gs.tl.classify(adata=tmp_path / "in.h5ad", model_state=state, **k),
    ):
        table = call(return_table=True, store_probs=True, **given)
        np.testing.assert_allclose(table[state.label_keys.tolist()], expected, atol=1e-6)
    gs.tl.classify(adata, state)
    assert "restriction" not in adata.uns["ginseng"]


def test_renormalisation_of_tiny_probabilities(make_cells: Make, state: State) -> None:
    """Probabilities that are zero in float32 cannot be renormalised, but their logits can."""
    sure = state.from_dict(state.to_dict())
    sure.params = {**state.params, "head": {k: np.asarray(v) * 300 for k, v in state.params["head"].items()}}
    adata = make_cells()
    gs.tl.classify(adata, sure, store_probs=True)
    lost = np.asarray(adata.obsm["ginseng_probs"])[:, 1:].sum(axis=1) == 0
    assert lost.any()
    gs.tl.classify(adata, sure, store_probs=True, excluded="B cell")
    np.testing.assert_allclose(np.asarray(adata.obsm["ginseng_probs"]).sum(axis=1), 1, atol=1e-5)
    assert set(adata.obs["ginseng_cell_type"]) == {"T/NK", "γδ T"}


def test_a_threshold_holds_for_what_is_renormalised(make_cells: Make, state: State) -> None:
    adata = blurred(make_cells)
    expected = by_hand(state, adata.X.toarray(), adata.var_names.tolist(), adapt=False)[:, 1:]
    expected /= expected.sum(axis=1, keepdims=True)
    threshold = float(np.median(expected.max(axis=1)))
    gs.tl.classify(adata, state, excluded="B cell", min_confidence=threshold, adapt=False)
    labels = np.where(expected.max(axis=1) < threshold, "unassigned", state.label_keys[1:][expected.argmax(axis=1)])
    assert adata.obs["ginseng_cell_type"].tolist() == labels.tolist()
    assert (labels == "unassigned").sum() == 60


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"allowed": ["B cell", "T/Nk"]}, "`allowed`.*'T/Nk'.*'T/NK'"),
        ({"excluded": "hepatocyte"}, "`excluded`.*'hepatocyte'.*'B cell', 'T/NK', 'γδ T'"),
        ({"allowed": []}, "`allowed`.* 3 "),
        ({"allowed": "B cell", "excluded": ["B cell"]}, "`excluded`.* 3 "),
        ({"min_confidence": 50}, "`min_confidence`.* 50"),
        ({"min_confidence": np.nan}, "`min_confidence`.*nan"),
        ({"unassigned": ""}, "`unassigned`"),
    ],
)
def test_wrong_restrictions_write_nothing(make_cells: Make, state: State, how: dict, message: str) -> None:
    adata = make_cells()
    with pytest.raises(ValueError, match=message):
        gs.tl.classify(adata, state, **how)
    assert list(adata.obs.columns) == ["cell_type", "donor"]
    assert not adata.uns


def test_a_column_from_elsewhere_is_not_replaced_in_silence(make_cells: Make, state: State, tmp_path: Path) -> None:
    adata = make_cells()
    gs.tl.classify(adata, state)
    gs.tl.classify(adata, state)  # columns by ginseng are replaced, as in scanpy
    gs.tl.train(adata, "cell_type", architecture="linear", epochs=1, silent=True)  # also writes to `uns`
    gs.tl.classify(adata, adata)
    mine = make_cells()
    mine.obs["ginseng_cell_type"] = "by hand"
    gs.tl.train(mine, "cell_type", architecture="linear", epochs=1, silent=True)
    mine.write_h5ad(tmp_path / "mine.h5ad")
    message = r"`adata\.obs\['ginseng_cell_type'\]`.*key_added='ginseng_2'.*overwrite=True"
    gs.tl.classify(mine, state, return_table=True)
    gs.tl.classify(tmp_path / "mine.h5ad", state)
    gs.tl.classify(mine, state, key_added="other")
    assert set(mine.obs["ginseng_cell_type"]) == {"by hand"}
    for given, how in ((mine, {}), (tmp_path / "mine.h5ad", {"output": tmp_path / "out.h5ad"})):
        with pytest.raises(ValueError, match=message):
            gs.tl.classify(given, state, silent=True, **how)
    assert not (tmp_path / "out.h5ad").exists()
    del mine.obs["ginseng_cell_type"]
    gs.tl.classify(mine, state)


def test_silent_is_silent(
    make_cells: Make, state: State, capfd: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gs.settings, "progress_bar", True)
    monkeypatch.setattr(_logging, "at_a_screen", lambda: True)
    adata = make_cells()[:, :20].copy()
    gs.tl.classify(adata, state, silent=True)
    assert capfd.readouterr() == ("", "")
    with pytest.warns(UserWarning, match=r"66\.67%"):
        gs.tl.classify(adata, state)
    assert "[ginseng] Classifying" in capfd.readouterr().err


# -- edge cases --------------------------------------------------------------------------------------------------


def test_no_cells(make_cells: Make, state: State) -> None:
    adata = make_cells()[:0].copy()
    gs.tl.classify(adata, state, store_probs=True)
    assert adata.obs["ginseng_cell_type"].cat.categories.empty
    assert adata.uns["ginseng"]["classes"].tolist() == state.label_keys.tolist()
    assert np.asarray(adata.obsm["ginseng_probs"]).shape == (0, 3)
    assert len(gs.tl.classify(adata, state, return_table=True, store_probs=True)) == 0


def test_names_of_cells_may_repeat(make_cells: Make, state: State) -> None:
    adata = blurred(make_cells)
    expected = by_hand(state, adata.X.toarray(), adata.var_names.tolist())
    adata.obs_names = ["cell", "other"] * 60
    gs.tl.classify(adata, state, store_probs=True)
    check(adata, state, expected)
    table = gs.tl.classify(adata, state, store_probs=True, return_table=True)
    assert isinstance(table, pd.DataFrame)
    assert table.shape == (120, 5)
    np.testing.assert_allclose(table[state.label_keys.tolist()], expected, atol=1e-6)


def test_labels_named_like_columns_of_the_table(make_cells: Make) -> None:
    ref = make_cells(labels=("cell_type", "confidence", "c"))
    gs.tl.train(ref, "cell_type", architecture="linear", epochs=2, silent=True)
    table = gs.tl.classify(ref, ref, store_probs=True, return_table=True)
    assert isinstance(table, pd.DataFrame)
    assert table.columns.tolist() == ["cell_type", "confidence", "c", "cell_type", "confidence"]


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ({"value": np.nan}, ValueError, r"`adata\.X`.*NaN"),
        ({"value": -np.inf}, ValueError, "infinite"),
        ({"value": -2.0}, ValueError, "negative.* -2"),
        ({"layer": "count"}, KeyError, r"`adata\.layers`.*'count'.*'counts'"),
        ({"gene_key": "symbl"}, KeyError, "'symbl'.*'symbol'"),
        ({"names": "{}"}, ValueError, "numbers"),
        ({"names": "Gene{}"}, ValueError, "species"),
        ({"names": "x{}"}, ValueError, r" 30 .*`adata\.var_names`"),
    ],
)
def test_an_error_leaves_everything_as_it_was(
    make_cells: Make, state: State, how: dict, error: type[Exception], message: str
) -> None:
    adata = make_cells()
    how = dict(how)
    adata.layers["counts"] = adata.X.copy()
    if "value" in how:
        adata.X[119, 29] = how.pop("value")
    if "names" in how:
        adata.var_names = [how["names"].format(i) for i in range(30)]
        how.pop("names")
    adata.var["symbol"] = "none"
    before = adata.copy()
    with pytest.raises(error, match=message):
        gs.tl.classify(adata, state, **how, batch_size=16)
    pd.testing.assert_frame_equal(adata.obs, before.obs)
    pd.testing.assert_frame_equal(adata.var, before.var)
    np.testing.assert_array_equal(adata.X.toarray(), before.X.toarray())
    assert not adata.uns
    assert not adata.obsm


def test_how_it_was_run_is_kept(make_cells: Make, state: State, tmp_path: Path) -> None:
    """For a methods section: the model, parameters that are not the defaults, versions."""
    import json
    from importlib.metadata import version

    adata = make_cells()
    gs.save_model(state, tmp_path / "model.h5")
    gs.tl.classify(adata, tmp_path / "model.h5", min_confidence=0.25, adapt=False)
    adata.write_h5ad(tmp_path / "a.h5ad")
    run = ad.read_h5ad(tmp_path / "a.h5ad").uns["ginseng"]["run"]
    assert run["model"] == "model.h5"
    assert run["architecture"] == state.architecture
    assert (run["n_genes"], run["n_classes"]) == (state.n_genes, state.n_classes)
    assert run["n_train"] == state.info["n_train"]
    assert json.loads(run["parameters"]) == {"min_confidence": 0.25, "adapt": False}
    assert run["versions"]["anndata"] == version("anndata")
    gs.tl.classify(adata, state)
    assert adata.uns["ginseng"]["run"]["model"] == ""
    assert json.loads(adata.uns["ginseng"]["run"]["parameters"]) == {}
