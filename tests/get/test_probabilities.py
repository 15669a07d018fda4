"""Probabilities as tables, whatever the classes are called and whatever happened to the file."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import ginseng as gs

#: Names that mean something to HDF5, zarr, AnnData or HTML, or that resemble one another.
NAMES = [
    "T/NK", "T|NK", "γδ T", ".", "..", "_index", "zarr.json", "cell", "x" * 256, "γ" * 256, "<b>", "a\\b", "a.b", "%s",
]  # fmt: skip


@pytest.fixture(scope="module")
def cells() -> tuple[ad.AnnData, Any]:
    rng = np.random.default_rng(0)
    n = 12 * len(NAMES)
    y = np.arange(n) % len(NAMES)
    x = rng.poisson(1, (n, 40)).astype(np.float32)
    x[np.arange(n), y] += 20
    obs = pd.DataFrame({"type": np.array(NAMES, object)[y]}, index=pd.Index([f"c{i}" for i in range(n)], name="cell"))
    adata = ad.AnnData(x, obs=obs)
    adata.var_names = [f"GENE{i}" for i in range(40)]
    gs.tl.train(adata, "type", architecture="linear", epochs=20, unlabeled=[], silent=True)
    return adata[::2].copy(), gs.model.GinsengClassifierState.from_dict(adata.uns["ginseng"]["model"])


@pytest.fixture
def labelled(cells: tuple[ad.AnnData, Any]) -> ad.AnnData:
    adata = cells[0].copy()
    del adata.uns["ginseng"]
    gs.tl.classify(adata, cells[1], store_probs=True, silent=True)
    return adata


def test_a_table_with_the_classes(labelled: ad.AnnData, cells: tuple[ad.AnnData, Any]) -> None:
    expected: Any = gs.tl.classify(cells[0], cells[1], return_table=True, store_probs=True, silent=True)
    stored: Any = labelled.obsm["ginseng_probs"]
    assert isinstance(stored, pd.DataFrame)
    assert set(stored.dtypes) == {np.dtype(np.float32)}
    assert stored.columns.is_unique
    found = gs.get.probabilities(labelled)
    assert found.columns.tolist() == cells[1].label_keys.tolist()
    pd.testing.assert_index_equal(found.index, labelled.obs_names)
    np.testing.assert_array_equal(found, expected[found.columns])
    assert (found.idxmax(axis=1).to_numpy() == labelled.obs["ginseng_cell_type"].astype(str)).all()


@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_it_survives_files(labelled: ad.AnnData, tmp_path: Path, suffix: str, cells: tuple[ad.AnnData, Any]) -> None:
    expected = gs.get.probabilities(labelled)
    path = tmp_path / f"a.{suffix}"
    gs.tl.uncertainty(labelled, cells[1], n_passes=2, silent=True) if cells[1].dropout_rate else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # zarr: consolidated metadata
        getattr(labelled, f"write_{suffix}")(path)
    read: Any = getattr(ad, f"read_{suffix}")(path)
    np.testing.assert_array_equal(gs.get.probabilities(read), expected)
    assert gs.get.probabilities(read).columns.tolist() == expected.columns.tolist()
    # and labelled again, in memory and into another file
    gs.tl.classify(read, cells[1], store_probs=True, silent=True)
    output = tmp_path / f"b.{suffix}"
    gs.tl.classify(path, cells[1], store_probs=True, silent=True, output=output)
    again: Any = getattr(ad, f"read_{suffix}")(output)
    np.testing.assert_array_equal(gs.get.probabilities(again), expected)
    gs.tl.classify(again, cells[1], silent=True)
    assert "ginseng_probs" not in again.obsm


def test_arrays_of_earlier_versions(labelled: ad.AnnData, cells: tuple[ad.AnnData, Any]) -> None:
    expected = gs.get.probabilities(labelled)
    labelled.obsm["ginseng_probs"] = expected.to_numpy()
    pd.testing.assert_frame_equal(gs.get.probabilities(labelled), expected)
    gs.tl.classify(labelled, cells[1], silent=True)  # ours, and replaced
    assert "ginseng_probs" not in labelled.obsm


def test_merged_samples(labelled: ad.AnnData, cells: tuple[ad.AnnData, Any]) -> None:
    """Which lose `uns`."""
    other = labelled.copy()
    other.obs_names = [f"d{i}" for i in range(other.n_obs)]
    merged = ad.concat([labelled, other])
    found = gs.get.probabilities(merged)
    assert found.shape == (2 * labelled.n_obs, len(NAMES))
    np.testing.assert_array_equal(found[: labelled.n_obs], gs.get.probabilities(labelled))
    gs.tl.classify(merged, cells[1], store_probs=True, silent=True)
    assert gs.get.probabilities(merged).columns.tolist() == cells[1].label_keys.tolist()


def test_top(labelled: ad.AnnData) -> None:
    probs = gs.get.probabilities(labelled)
    found = gs.get.top(labelled, k=3)
    assert found.columns.tolist() == [f"{what}_{i}" for i in (1, 2, 3) for what in ("label", "probability")]
    for cell, row in list(found.iterrows())[:20]:
        best = probs.loc[cell].sort_values(ascending=False, kind="stable")
        assert row["probability_1"] == best.iloc[0]
        assert row["probability_3"] == best.iloc[2]
        assert probs.loc[cell, row["label_2"]] == row["probability_2"]
    assert (found["label_1"].astype(str) == labelled.obs["ginseng_cell_type"].astype(str)).all()
    assert gs.get.top(labelled, k=100).shape[1] == 2 * len(NAMES)
    with pytest.raises(ValueError, match="`k`"):
        gs.get.top(labelled, k=0)


def test_without_probabilities(cells: tuple[ad.AnnData, Any]) -> None:
    adata = cells[0].copy()
    with pytest.raises(KeyError, match="store_probs=True"):
        gs.get.probabilities(adata)
    adata.obsm["ginseng_probs"] = np.zeros((adata.n_obs, 3))
    adata.uns = {}
    with pytest.raises(KeyError, match="names"):
        gs.get.probabilities(adata)
