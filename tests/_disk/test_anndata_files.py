"""AnnData and MuData as others write them: without X, without raw, names that are no text, several modalities."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import zarr
from anndata import AnnData
from anndata.io import write_elem
from scipy import sparse
from tests.conftest import cells

import ginseng as gs
from ginseng._disk.readers import open_adata, read_adata
from ginseng._disk.writers import write_adata

READERS = (read_adata, open_adata, lambda path: read_adata(path, backed=True))


@pytest.fixture(scope="module")
def model() -> Any:
    adata = cells()
    gs.tl.train(adata, "cell_type", epochs=2, silent=True)
    return gs.model.GinsengClassifierState.from_dict(adata.uns["ginseng"]["model"])


def root_of(path: Path) -> Any:
    return h5py.File(path, "r+") if path.suffix != ".zarr" else zarr.open_group(path, mode="r+", use_consolidated=False)


def close(root: Any) -> None:
    if isinstance(root, h5py.File):
        root.close()


def write_mudata(path: Path, modalities: dict[str, AnnData], obs: pd.DataFrame | None = None) -> Path:
    """Write what `mudata.MuData(...).write(path)` does; h5mu begins with 512 bytes that say so."""
    obs = next(iter(modalities.values())).obs[[]] if obs is None else obs
    if path.suffix == ".zarr":
        root: Any = zarr.open_group(path, mode="w")
    else:
        root = h5py.File(path, "w", userblock_size=512)
    root.attrs["encoding-type"] = "MuData"
    write_elem(root, "obs", obs)
    write_elem(root, "var", pd.DataFrame(index=[name for a in modalities.values() for name in a.var_names]))
    root.create_group("mod")
    for name, adata in modalities.items():
        write_elem(root["mod"], name, adata)
    close(root)
    if path.suffix != ".zarr":
        with path.open("rb+") as f:
            f.write(b"MuData (format-version=0.1.0;creator=muon;creator-version=0.2.0)")
    return path


def proteins(adata: AnnData) -> AnnData:
    x = np.ones((adata.n_obs, 4), np.float32)
    return AnnData(x, obs=adata.obs[[]], var=pd.DataFrame(index=[f"ADT_{i}" for i in range(4)]))


# -- nulls


@pytest.mark.parametrize("name", ["a.h5ad", "a.zarr"])
def test_no_raw_is_written_as_nothing(tmp_path: Path, name: str) -> None:
    write_adata(cells(), tmp_path / name)
    root = root_of(tmp_path / name)
    assert "raw" not in root
    assert not any(root[member].attrs.get("encoding-type") == "null" for member in root)
    close(root)
    if name == "a.zarr":  # whoever reads the consolidated metadata finds none either
        metadata = json.loads((tmp_path / name / "zarr.json").read_text())["consolidated_metadata"]["metadata"]
        assert "raw" not in metadata
        assert "X" in metadata
    assert anndata.io.read_h5ad(tmp_path / name).raw is None if name == "a.h5ad" else True


@pytest.mark.parametrize("name", ["a.h5ad", "a.zarr"])
def test_a_null_raw_is_none(tmp_path: Path, name: str, model: Any) -> None:
    adata, path = cells(), tmp_path / name
    write_adata(adata, path)
    root = root_of(path)
    write_elem(root, "raw", None)
    assert root["raw"].attrs["encoding-type"] == "null"
    close(root)
    for read in READERS:
        assert read(path).raw is None
    assert gs.pp.check(path, model).to_dict()["n_cells"] == adata.n_obs
    labels = gs.tl.classify(path, model, silent=True)
    output = tmp_path / f"out{path.suffix}"
    gs.tl.classify(path, model, output=output, silent=True)
    assert list(read_adata(output).obs["ginseng_cell_type"]) == list(labels["cell_type"])
    root = root_of(output)
    assert "raw" not in root
    close(root)


@pytest.mark.parametrize("how", ["absent", "null"])
@pytest.mark.parametrize("name", ["a.h5ad", "a.zarr"])
def test_no_x(tmp_path: Path, name: str, how: str, model: Any) -> None:
    adata, path = cells(), tmp_path / name
    labels = gs.tl.classify(adata, model, silent=True, return_table=True)
    adata.layers["counts"] = adata.X.copy()
    write_adata(adata, path)
    if name == "a.zarr":  # without consolidated metadata, which would still have it
        write_elem(zarr.open_group(path, mode="w"), "/", adata)
    root = root_of(path)
    del root["X"]
    if how == "null":
        write_elem(root, "X", None)
    close(root)
    for read in READERS:
        got = read(path)
        assert got.X is None
        assert got.shape == adata.shape
        with pytest.raises(ValueError, match=r"`adata.X` is empty.*`layer=`.*counts"):
            gs.tl.classify(got, model, silent=True)
    with pytest.raises(ValueError, match=r"`adata.X` is empty.*`layer=`.*counts"):
        gs.tl.classify(path, model, silent=True)
    pd.testing.assert_frame_equal(gs.tl.classify(path, model, layer="counts", silent=True), labels)
    assert "counts" in str(gs.pp.check(path, model))
    gs.tl.classify(path, model, layer="counts", output=tmp_path / f"out{path.suffix}", silent=True)
    assert list(read_adata(tmp_path / f"out{path.suffix}").obs["ginseng_cell_type"]) == list(labels["cell_type"])


# -- names


@pytest.mark.parametrize("kind", ["int", "float", "bytes", "vlen bytes", "bool-like categories", "nullable"])
@pytest.mark.parametrize("name", ["a.h5ad", "a.zarr"])
def test_names_of_cells_that_are_no_text(tmp_path: Path, name: str, kind: str, model: Any) -> None:
    adata, path = cells(), tmp_path / name
    n = adata.n_obs
    values: Any = {
        "int": np.arange(n) * 7,
        "float": np.arange(n) / 2,
        "bytes": np.array([f"c{i}" for i in range(n)], "S"),
        "vlen bytes": np.array([f"c{i}".encode() for i in range(n)], object),
        "bool-like categories": pd.Categorical([f"c{i}" for i in range(n)]),
        "nullable": pd.array(np.arange(n), dtype="Int64"),
    }[kind]
    texts = {
        "int": [str(7 * i) for i in range(n)],
        "float": [str(i / 2) for i in range(n)],
        "nullable": map(str, range(n)),
    }
    want = list(texts.get(kind, (f"c{i}" for i in range(n))))
    if path.suffix == ".zarr":
        if "bytes" in kind:
            pytest.skip("zarr 3 has no bytes")
        write_elem(zarr.open_group(path, mode="w"), "/", adata)
    else:
        write_adata(adata, path)
    root = root_of(path)
    for table in ("obs", "var")[: 2 if kind == "bytes" else 1]:
        del root[table]["_index"]
        if "bytes" in kind:
            names = [f"{'c' if table == 'obs' else 'gene'}{i}".encode() for i in range(len(getattr(adata, table)))]
            dtype = "S12" if kind == "bytes" else h5py.string_dtype("ascii")
            root[table].create_dataset("_index", data=names, dtype=dtype)  # as h5py alone writes it
        else:
            write_elem(root[table], "_index", values)
    before = root["obs/_index"][...] if "bytes" in kind or kind in ("int", "float") else None
    close(root)
    for read in READERS:
        assert list(read(path).obs_names) == want
    table = gs.tl.classify(path, model, silent=True, min_overlap=0) if kind != "bytes" else None
    if table is None:
        return
    assert list(table.index) == want
    for output in (tmp_path / f"out{path.suffix}", path):
        gs.tl.classify(path, model, output=output, silent=True)
        got = read_adata(output)
        assert list(got.obs_names) == want
        assert list(got.obs["ginseng_cell_type"]) == list(table["cell_type"])
        root = root_of(output)
        if before is not None:  # all that was in the file is as it was
            np.testing.assert_array_equal(root["obs/_index"][...], before)
            assert root["obs/_index"].dtype == before.dtype
        close(root)


# -- MuData


@pytest.mark.parametrize("name", ["a.h5mu", "a.zarr"])
def test_the_modality_with_the_genes(tmp_path: Path, name: str, model: Any) -> None:
    adata = cells()
    path = write_mudata(tmp_path / name, {"prot": proteins(adata), "rna": adata})
    if name == "a.h5mu":
        assert path.read_bytes()[:6] == b"MuData"
    for read in READERS:
        with pytest.warns(UserWarning, match="MuData.* 'prot', 'rna', 'rna' is read"):
            got = read(path)
        pd.testing.assert_frame_equal(got.obs, adata.obs, check_names=False)
        assert (sparse.csr_matrix(got.to_memory().X) != adata.X).nnz == 0
    assert read_adata(path, modality="prot").n_vars == 4
    assert not isinstance(read_adata(path, modality="rna", backed=True).X, sparse.csr_matrix)
    with pytest.raises(ValueError, match=r"no modality 'rnaa'. Did you mean 'rna'\?"):
        read_adata(path, modality="rnaa")
    want = gs.tl.classify(adata, model, silent=True, return_table=True)
    for inner in (f"{path}/mod/rna", *([f"{path}/rna"] if name == "a.h5mu" else [])):
        pd.testing.assert_frame_equal(gs.tl.classify(inner, model, silent=True), want)
        assert gs.pp.check(inner).to_dict()["n_cells"] == adata.n_obs
    with pytest.warns(UserWarning, match="'rna' is read"):
        pd.testing.assert_frame_equal(gs.tl.classify(path, model, silent=True), want)
    with pytest.warns(UserWarning, match="'rna' is read"):
        assert gs.pp.check(path).to_dict()["n_genes"] == adata.n_vars


@pytest.mark.parametrize("name", ["a.h5mu", "a.zarr"])
def test_labels_of_a_modality_go_into_an_anndata_of_it(tmp_path: Path, name: str, model: Any) -> None:
    adata = cells()
    path = write_mudata(tmp_path / name, {"prot": proteins(adata), "rna": adata})
    want = gs.tl.classify(adata, model, silent=True, return_table=True)
    for output in (tmp_path / "out.h5ad", tmp_path / "out.zarr"):
        with pytest.warns(UserWarning, match="'rna' is read"):
            gs.tl.classify(path, model, output=output, silent=True)
        got = read_adata(output)
        assert got.shape == adata.shape
        assert list(got.obs["ginseng_cell_type"]) == list(want["cell_type"])
    if name == "a.zarr":  # the other modality would be lost
        with pytest.warns(UserWarning, match="'rna' is read"), pytest.raises(FileExistsError, match="MuData zarr"):
            gs.tl.classify(path, model, output=path, silent=True)
        assert read_adata(path, modality="prot").n_vars == 4


def test_which_modality_is_asked_for(tmp_path: Path) -> None:
    adata = cells()
    path = write_mudata(tmp_path / "a.h5mu", {"x1": adata, "x2": proteins(adata)})
    with pytest.raises(ValueError, match=r"modalities 'x1', 'x2'.*modality='x1'.*a.h5mu/x1"):
        read_adata(path)
    assert read_adata(path, modality="x1").shape == adata.shape
    assert read_adata(write_mudata(tmp_path / "b.h5mu", {"x1": adata})).shape == adata.shape
    adata.var["feature_types"] = "Gene Expression"
    path = write_mudata(tmp_path / "c.h5mu", {"x1": adata, "x2": proteins(adata)})
    with pytest.warns(UserWarning, match="'x1' is read"):
        read_adata(path)
    write_adata(adata, tmp_path / "d.h5ad")
    with pytest.raises(ValueError, match="is h5ad, which has no `modality`"):
        read_adata(tmp_path / "d.h5ad", modality="rna")


def test_columns_that_a_mudata_has_for_all_modalities(tmp_path: Path) -> None:
    adata = cells()
    shared = pd.DataFrame({"label": [f"l{i % 3}" for i in range(adata.n_obs)], "rna:donor": "x"}, index=adata.obs_names)
    path = write_mudata(tmp_path / "a.h5mu", {"rna": adata[::-1].copy()}, shared.sample(frac=1, random_state=0))
    got = read_adata(path)
    assert list(got.obs["label"]) == list(shared["label"].loc[got.obs_names])
    assert "rna:donor" not in got.obs


def test_data_of_a_mudata_in_other_files_are_refused(tmp_path: Path) -> None:
    path = write_mudata(tmp_path / "a.h5mu", {"rna": cells()})
    with h5py.File(path, "r+") as f:
        del f["mod/rna/X"]
        f["mod/rna/X"] = h5py.ExternalLink("secret.h5", "X")
    with pytest.raises(ValueError, match=r"is not opened: 'mod/rna/X' is a link to another file"):
        read_adata(path)
