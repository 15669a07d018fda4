"""Files of every release are read, and say what they said then."""

import importlib.util
from pathlib import Path

import anndata as ad
import jax
import numpy as np
import pandas as pd
import pytest

import ginseng as gs
from ginseng.data import GinsengDataset

HERE = Path(__file__).parent
MODELS = sorted(HERE.glob("*/*.h5"))
LABELS = ["B cell", "NK", "T cell"]


@pytest.fixture(scope="module")
def cells() -> ad.AnnData:
    spec = importlib.util.spec_from_file_location("make", HERE / "make.py")
    assert spec is not None
    assert spec.loader is not None
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    return make.cells()


def name_of(path: Path) -> str:
    return f"{path.parent.name} {path.stem}"


def test_there_are_files_of_each_release() -> None:
    found = set(map(name_of, MODELS))
    assert found >= {"0.2.1 instance", "0.3.0 gated", "0.3.0 instance", "0.3.0 linear", "0.3.0 transformer"}


@pytest.mark.parametrize("path", MODELS, ids=name_of)
def test_models_say_what_they_said(path: Path, cells: ad.AnnData) -> None:
    expected = pd.read_csv(path.with_suffix(".csv"), index_col=0)
    found = gs.classify(path, cells, store_probs=True, return_table=True, silent=True)
    assert isinstance(found, pd.DataFrame)
    assert found.index.tolist() == expected.index.tolist()
    np.testing.assert_allclose(found[LABELS], expected[LABELS], atol=1e-6)
    np.testing.assert_allclose(found["confidence"], expected.iloc[:, 1], atol=1e-6)
    assert found["cell_type"].astype(str).tolist() == expected.iloc[:, 0].tolist()


@pytest.mark.parametrize("path", MODELS, ids=name_of)
def test_models_can_be_saved_anew(path: Path, cells: ad.AnnData, tmp_path: Path) -> None:
    gs.save_model(gs.load_model(path), tmp_path / "new.h5")
    before, after = gs.load_model(path), gs.load_model(tmp_path / "new.h5")
    assert before.architecture == after.architecture
    assert before.library_size == after.library_size
    jax.tree.map(np.testing.assert_array_equal, after.params, before.params)


def test_stores_of_0_3(cells: ad.AnnData) -> None:
    dataset = GinsengDataset(HERE / "0.3.0/store.zarr")
    assert (dataset.n_cells, dataset.n_genes, dataset.label_names) == (90, 30, LABELS)
    assert dataset.group_names == ["d0", "d1", "d2"]
    assert dataset.test_idx is not None
    assert len(dataset.test_idx) == 18
    order = np.asarray(ad.read_zarr(dataset.path).obs["original_row"])
    np.testing.assert_array_equal(dataset.get_batch(np.arange(90)), cells.X[order])
    assert [dataset.label_names[i] for i in dataset.labels] == cells.obs["cell_type"].iloc[order].tolist()


def test_stores_of_0_2_are_refused_and_kept(cells: ad.AnnData) -> None:
    path = HERE / "0.2.1/store.zarr"
    with pytest.raises(ValueError, match=r"is not a dataset of ginseng\. Write one with `GinsengDataset\.create`"):
        GinsengDataset(path)
    with pytest.raises(FileExistsError, match="is not a store of ginseng, so it is not replaced"):
        GinsengDataset.create(path, cells, "cell_type", overwrite=True, silent=True)
