"""References of actinn-jax say here what they say at home, and are read as strictly as any file."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

import ginseng as gs
from ginseng.models import actinn
from ginseng.models.actinn import ReferenceFileError, archived_files, read_reference

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def answers() -> Any:
    """What actinn-jax 0.3.1 said, see `make_actinn.py`."""
    return np.load(GOLDEN / "actinn.npz")


@pytest.fixture(scope="module")
def said(answers: Any) -> AnnData:
    counts = sparse.csr_matrix(answers["counts"].astype(np.float32))
    adata = AnnData(counts, var=pd.DataFrame(index=answers["names"]))
    gs.classify(adata, "human", store_probs=True, silent=True)
    return adata


def probs(said: AnnData) -> pd.DataFrame:
    return pd.DataFrame(np.asarray(said.obsm["ginseng_probs"]), columns=said.uns["ginseng"]["classes"].astype(str))


def test_labels_and_probabilities_are_the_packages(said: AnnData, answers: Any) -> None:
    assert said.obs["ginseng_cell_type"].tolist() == answers["label"].tolist()
    np.testing.assert_allclose(said.obs["ginseng_confidence"], answers["probability"], atol=1e-5)


def test_groups_and_classes_in_them_as_well(said: AnnData, answers: Any) -> None:
    found = probs(said)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    groups = gs.models.load("human").network.groups
    sizes = np.array(groups)
    of_group = np.add.reduceat(found.to_numpy(), np.cumsum(sizes) - sizes, axis=1)
    np.testing.assert_allclose(of_group, answers["coarse"], atol=1e-5)
    for name in ("Immune cell", "Neuron"):
        k = answers["coarse_classes"].tolist().index(name)
        inside = slice(sizes[:k].sum(), sizes[: k + 1].sum())
        fine = pd.DataFrame(answers["fine"], columns=answers["fine_classes"])[found.columns[inside]]
        expected = answers["coarse"][:, k, None] * fine
        np.testing.assert_allclose(found.iloc[:, inside], expected, atol=1e-5)


def test_it_is_a_model_like_any_other(said: AnnData, tmp_path: Path) -> None:
    state = gs.models.load("human")
    gs.save_model(state, tmp_path / "human.h5")
    again = said.copy()
    gs.classify(again, tmp_path / "human.h5", silent=True, allowed=["Plasma cell", "HSC", "Mast cell"])
    assert set(again.obs["ginseng_cell_type"]) <= {"Plasma cell", "HSC", "Mast cell"}
    assert gs.load_model(tmp_path / "human.h5").info["reference"] == state.info["reference"]
    gs.tl.embed(again, state, silent=True)
    assert again.obsm["X_ginseng"].shape == (said.n_obs, 10 * 25)
    cell = again.obs_names[0]
    table = gs.tl.explain(again, state, cell, return_table=True, silent=True, n_genes=3)
    assert table["label"].iloc[0] == said.obs["ginseng_cell_type"].iloc[0]


def test_its_licence_goes_along(said: AnnData) -> None:
    state = gs.models.load("human")
    assert "CC BY 4.0" in state.info["reference"]["licence"]
    assert "10.64898/2026.07.16.738997" in said.uns["ginseng"]["reference"]["citation"]
    assert state.info["build"]["teacher"]["attribution_required"] is True
    assert state.info["ontology"]["Mast cell"] == "CL:0000097"


# -- a small one, to take apart


def reference(seed: int = 0, *, scaled: bool = False) -> dict[str, bytes]:
    """Three groups, one of a single class, in the files that actinn-jax writes."""
    rng = np.random.default_rng(seed)
    genes = [f"ENSMUSG{i:011d}" for i in range(30)]
    groups = {"Immune": ["B", "T/NK", "γδ T"], "Lonely": ["Lonely"], "Nerve": ["Neuron", "Glia"]}

    def network(classes: list[str]) -> tuple[bytes, bytes]:
        selected = np.sort(rng.choice(30, 25, replace=False))
        sizes = [25, 7, 5, 4, len(classes)]
        arrays = {f"W{i}": rng.normal(size=sizes[i - 1 : i + 1]).astype(np.float32) for i in range(1, 5)}
        arrays |= {f"b{i}": rng.normal(size=sizes[i]).astype(np.float32) for i in range(1, 5)}
        if scaled:
            arrays |= {"scale_mu": rng.normal(size=25).astype("f4"), "scale_sd": rng.gamma(3, size=25).astype("f4")}
        file = io.BytesIO()
        np.savez(file, **arrays, select_idx=selected)
        return file.getvalue(), json.dumps({"norm_genes": genes, "classes": classes}).encode()

    files = {}
    for name, classes in {
        "coarse": list(groups),
        "fine_Immune": groups["Immune"],
        "fine_Nerve": groups["Nerve"],
    }.items():
        files[f"{name}.npz"], files[f"{name}.json"] = network(classes)
    manifest = {
        "classes": sorted(c for classes in groups.values() for c in classes),
        "class_to_cl": {"B": "CL:0000236"},
        "fine": {g: {"single_label": c[0] if len(c) == 1 else None} for g, c in groups.items()},
    }
    return files | {"manifest.json": json.dumps(manifest).encode()}


def archive(files: dict[str, bytes], folder: str = "small/") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as packed:
        for name, content in files.items():
            info = tarfile.TarInfo(folder + name)
            info.size = len(content)
            packed.addfile(info, io.BytesIO(content))
    return file.getvalue()


@pytest.mark.parametrize("scaled", [False, True])
def test_a_small_one_by_numpy(scaled: bool) -> None:
    files = reference(scaled=scaled)
    state = read_reference(files)
    assert state.label_keys.tolist() == ["B", "T/NK", "γδ T", "Lonely", "Neuron", "Glia"]
    counts = np.random.default_rng(1).poisson(2.0, (40, 30)).astype(np.float32)

    def says(name: str) -> np.ndarray:
        arrays = np.load(io.BytesIO(files[f"{name}.npz"]))
        x = np.log2(counts / counts.sum(axis=1, keepdims=True) * 1e4 + 1)[:, arrays["select_idx"]].astype(float)
        if scaled:
            x = (x - arrays["scale_mu"]) / arrays["scale_sd"]
        for i in range(1, 4):
            x = np.maximum(x @ arrays[f"W{i}"] + arrays[f"b{i}"], 0)
        x = np.exp(x @ arrays["W4"] + arrays["b4"])
        return x / x.sum(axis=1, keepdims=True)

    coarse = says("coarse")
    expected = np.concatenate(
        [coarse[:, :1] * says("fine_Immune"), coarse[:, 1:2], coarse[:, 2:] * says("fine_Nerve")], 1
    )
    adata = AnnData(counts, var=pd.DataFrame(index=state.genes))
    table = gs.classify(adata, state, return_table=True, store_probs=True, silent=True)
    np.testing.assert_allclose(table[state.label_keys], expected, atol=1e-5)


def test_what_is_in_an_archive(tmp_path: Path) -> None:
    files = reference()
    for folder in ("small/", "", "./a/b/"):
        (tmp_path / "x.tar.gz").write_bytes(archive(files, folder))
        assert archived_files(tmp_path / "x.tar.gz") == files


def broken(change: Callable[[dict[str, bytes]], Any]) -> dict[str, bytes]:
    files = reference()
    change(files)
    return files


def manifest(files: dict[str, bytes], **values: Any) -> None:
    files["manifest.json"] = json.dumps({**json.loads(files["manifest.json"]), **values}).encode()


def array(files: dict[str, bytes], name: str, **arrays: Any) -> None:
    file = io.BytesIO()
    np.savez(file, **{**np.load(io.BytesIO(files[name])), **arrays}, allow_pickle=True)
    files[name] = file.getvalue()


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f.pop("coarse.npz"),
        lambda f: f.pop("manifest.json"),
        lambda f: f.pop("fine_Nerve.json"),
        lambda f: f.update({"coarse.npz": b"not a zip"}),
        lambda f: f.update({"coarse.npz": f["coarse.npz"][:-50]}),
        lambda f: f.update({"manifest.json": b"[1, 2]"}),
        lambda f: f.update({"manifest.json": b"{" * 100_000}),
        lambda f: f.update({"manifest.json": b"\xff\xfe"}),
        lambda f: f.update({"coarse.json": b" " * (17 * 2**20)}),
        lambda f: manifest(f, classes=["B"]),
        lambda f: manifest(f, fine={}),
        lambda f: manifest(f, classes=[1, 2, 3, 4, 5, 6]),
        lambda f: array(f, "coarse.npz", W1=np.array([{"a": 1}], object)),
        lambda f: array(f, "coarse.npz", W1=np.zeros((3, 7), np.float32)),
        lambda f: array(f, "coarse.npz", b4=np.zeros(9, np.float32)),
        lambda f: array(f, "coarse.npz", W2=np.full((7, 5), np.nan, np.float32)),
        lambda f: array(f, "coarse.npz", select_idx=np.arange(25) + 20),
        lambda f: array(f, "coarse.npz", select_idx=np.zeros(25, int)),
        lambda f: array(f, "coarse.npz", select_idx=np.arange(25) - 3),
        lambda f: array(f, "fine_Nerve.npz", b2=np.zeros(6, np.float32)),
    ],
)
def test_files_that_contradict_each_other(change: Callable[[dict[str, bytes]], Any]) -> None:
    with pytest.raises(ReferenceFileError, match="cannot be used"):
        read_reference(broken(change))


def test_archives_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, good = tmp_path / "x.tar.gz", archive(reference())
    link = io.BytesIO()
    with tarfile.open(fileobj=link, mode="w:gz") as packed:
        info = tarfile.TarInfo("small/manifest.json")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        packed.addfile(info)
    for content in (b"", b"<html>", good[:200], gzip.compress(b"no tar" * 100), link.getvalue()):
        path.write_bytes(content)
        with pytest.raises(ReferenceFileError):
            read_reference(archived_files(path))
    monkeypatch.setattr(actinn, "MAX_BYTES", 1000)
    path.write_bytes(good)
    with pytest.raises(ReferenceFileError, match="may have"):
        archived_files(path)
