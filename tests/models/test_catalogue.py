"""Models by name: from the package, a folder, and lists behind a URL, all on this machine."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from tests.models.test_actinn import archive, reference

import ginseng as gs
from ginseng._settings import settings
from ginseng.models import catalogue, store

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(autouse=True)
def _nothing_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_told", set())
    monkeypatch.setattr(settings, "cache_dir", tmp_path / "cache")
    monkeypatch.setattr(settings, "models_url", None)
    monkeypatch.setattr(settings, "models_dir", None)


@pytest.fixture
def celltypist(server: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """CellTypist's server, with its layout, behind a mirror."""
    listed = [
        {"filename": f"{name}.pkl", "url": f"https://celltypist.cog.sanger.ac.uk/models/Study/v1/{name}.pkl",
         "version": "v1", "date": "2026-01-02 03:04:05", "details": details, "No_celltypes": 10, "source": "https://x.y"}
        for name, details in {"Blood_Low": "immune cells of the blood", "Mouse_Blood": "blood of the mouse"}.items()
    ]  # fmt: skip
    listed[0]["default"] = True
    server.files["models/models.json"] = json.dumps({"models": listed, "last_update": "2026"}).encode()
    server.files["models/Study/v1/Blood_Low.pkl"] = (GOLDEN / "celltypist_sgd.pkl").read_bytes()
    monkeypatch.setattr(settings, "models_url", server.url("", "ok"))
    return server


def test_what_is_there_without_a_network(server: Any) -> None:
    table = gs.models.available()
    assert table.loc["human", "where"] == "packaged"
    assert table.loc["mouse", ["also", "where", "n_classes"]].tolist() == ["broad_mouse_v1", "remote", 453]
    assert {"species", "tissues", "n_genes", "gene_ids", "source", "licence", "citation"} <= set(table.columns)
    assert (table["licence"] != "").all()
    assert server.requests == []


@pytest.mark.parametrize("name", ["celltypist/Blood_Low", "celltypist/Blood_Low.pkl"])
def test_a_model_of_celltypists_list(name: str, celltypist: Any) -> None:
    adata = gs.datasets.pbmc68k()
    gs.classify(adata, name, silent=True)
    expected = gs.classify(gs.datasets.pbmc68k(), GOLDEN / "celltypist_sgd.pkl", silent=True, return_table=True)
    assert adata.obs["ginseng_cell_type"].tolist() == expected["cell_type"].tolist()
    assert adata.uns["ginseng"]["reference"]["name"] == "celltypist/Blood_Low"
    n = len(celltypist.requests)
    gs.classify(adata, name, silent=True)
    assert len(celltypist.requests) == n  # from the cache
    table = gs.models.available()
    assert table.loc["celltypist/Blood_Low", "where"] == "cached"
    assert table.loc["celltypist/Mouse_Blood", ["where", "species"]].tolist() == ["remote", "mouse"]
    classes = gs.load_model(GOLDEN / "celltypist_sgd.pkl").label_keys.tolist()
    assert gs.models.info("celltypist/Blood_Low")["classes"] == classes


def test_lists_are_fetched_when_asked_for(celltypist: Any) -> None:
    assert not any(name.startswith("celltypist/") for name in gs.models.available().index)
    assert celltypist.requests == []
    assert "celltypist/Blood_Low" in gs.models.available(refresh=True).index
    listed = json.loads(celltypist.files["models/models.json"])
    listed["models"][1]["filename"] = "New.pkl"
    celltypist.files["models/models.json"] = json.dumps(listed).encode()
    assert "celltypist/New" not in gs.models.available().index
    assert gs.models.info("celltypist/New")["where"] == "remote"  # a name that the list in the cache lacks
    assert "celltypist/Mouse_Blood" not in gs.models.available().index


def test_an_unknown_name(celltypist: Any) -> None:
    with pytest.raises(FileNotFoundError, match="Did you mean 'celltypist/Blood_Low'"):
        gs.models.load("celltypist/Blood_Lwo")
    with pytest.raises(FileNotFoundError, match="Did you mean 'human'"):
        gs.classify(gs.datasets.pbmc68k(), "humen", silent=True)


def test_offline(celltypist: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "offline", True)
    with pytest.raises(ConnectionError, match="offline"):
        gs.models.load("celltypist/Blood_Low")
    with pytest.raises(ConnectionError, match="offline"):
        gs.models.fetch("mouse")
    assert celltypist.requests == []
    assert gs.models.load("human").n_classes == 324


def entry(content: bytes, **more: Any) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    return {"name": "small", "format": "actinn-jax", "species": "mouse", "tissues": "all", "url": "small.tar.gz",
            "sha256": digest, "licence": "CC BY 4.0", "citation": "Somebody 2026", **more}  # fmt: skip


def test_a_list_of_ones_own(server: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    content = archive(reference())
    server.files = {"our/small.tar.gz": content, "our/list.json": json.dumps({"models": [entry(content)]}).encode()}
    monkeypatch.setattr(settings, "models_url", server.url("our/list.json"))
    state = gs.models.load("small")
    assert state.n_classes == 6
    assert state.info["reference"]["licence"] == "CC BY 4.0"
    gs.models.load("small")
    assert capsys.readouterr().err.count("Somebody 2026") == 1
    # and now it is what cells of a mouse are labelled with, if no model is named
    counts = np.random.default_rng(0).poisson(3.0, (20, 30)).astype(np.float32)
    adata = AnnData(counts, var=pd.DataFrame(index=state.genes))
    gs.classify(adata, silent=True)
    assert adata.uns["ginseng"]["reference"]["name"] == "small"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sha256": "0" * 64}, "hash"),
        ({"format": "joblib"}, "unknown format"),
        ({"url": "file:///etc/passwd"}, "not an http or https"),
        ({"n_classes": "many"}, "n_classes"),
        ({"licence": "x" * 5000}, "licence"),
        ({"name": ""}, "name"),
    ],
)
def test_lists_and_files_that_are_not_right(
    server: Any, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], message: str
) -> None:
    content = archive(reference())
    server.files = {"small.tar.gz": content, "models.json": json.dumps({"models": [entry(content, **change)]}).encode()}
    monkeypatch.setattr(settings, "models_url", server.url(""))
    with pytest.raises(ValueError, match=message):
        gs.models.load("small")
    assert not list((settings.cache_dir / "models").glob("*"))


@pytest.mark.parametrize("content", [b"", b"<html>Log in</html>", b"[]", b"{}", b'{"models": [1]}', b"[" * 10_000])
def test_what_is_no_list(server: Any, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    server.files["models.json"] = content
    monkeypatch.setattr(settings, "models_url", server.url(""))
    with pytest.raises(ValueError, match="not a list of models"):
        gs.models.available(refresh=True)


def test_a_packaged_name_from_a_mirror_is_checked(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    server.files["records/21688151/files/broad_mouse_v1.tar.gz"] = archive(reference())
    monkeypatch.setattr(settings, "models_url", server.url(""))
    with pytest.raises(ValueError, match="hash"):
        gs.models.fetch("mouse")
    assert server.requests == ["/ok/records/21688151/files/broad_mouse_v1.tar.gz"]


def test_a_mirror_may_keep_files_by_name(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    content = archive(reference())
    server.files["broad_mouse_v1.tar.gz"] = content
    monkeypatch.setattr(settings, "models_url", server.url(""))
    found = catalogue.find("mouse")
    right = catalogue.dataclasses.replace(found, sha256=hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(catalogue, "_packaged", lambda: (right,))
    assert gs.models.load("broad_mouse_v1").n_classes == 6
    assert gs.models.available().loc["mouse", "where"] == "cached"


def test_a_folder_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: gs.model.GinsengClassifierState, make_cells: Any
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    gs.save_model(state, folder / "kidney.h5")
    (folder / "blood.pkl").write_bytes((GOLDEN / "celltypist_two.pkl").read_bytes())
    monkeypatch.setattr(settings, "models_dir", folder)
    assert gs.models.available().loc[["kidney", "blood"], "where"].tolist() == ["yours", "yours"]
    adata = make_cells()
    gs.classify(adata, "kidney", silent=True)
    gs.classify("kidney", adata, silent=True)  # in either order, as with paths
    assert "ginseng_cell_type" in adata.obs
    assert gs.models.load("blood").n_classes == 2
    monkeypatch.setattr(settings, "models_dir", tmp_path / "nowhere")
    with pytest.raises(NotADirectoryError, match="nowhere"):
        gs.models.available()


def test_a_file_comes_before_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: gs.model.GinsengClassifierState, make_cells: Any
) -> None:
    gs.save_model(state, tmp_path / "human.h5")
    (tmp_path / "human.h5").rename(tmp_path / "human")
    monkeypatch.chdir(tmp_path)
    adata = make_cells()
    gs.classify(adata, "human", silent=True)
    assert adata.uns["ginseng"]["classes"].tolist() == state.label_keys.tolist()


# -- no model at all


def test_a_model_is_chosen_by_species(server: Any, capsys: pytest.CaptureFixture[str]) -> None:
    genes = gs.models.load("human").genes[::2]
    counts = np.random.default_rng(0).poisson(0.5, (10, len(genes))).astype(np.float32)
    adata = AnnData(counts, var=pd.DataFrame(index=genes))
    gs.classify(adata, silent=True)
    assert adata.uns["ginseng"]["reference"]["name"] == "human"
    assert "human" in capsys.readouterr().err
    assert server.requests == []


def test_symbols_are_found_as_well(server: Any) -> None:
    adata = gs.datasets.pbmc68k()
    gs.classify(adata, silent=True, min_overlap=0.02)
    assert adata.uns["ginseng"]["overlap"]["n_found"] > 100
    assert adata.uns["ginseng"]["reference"]["name"] == "human"


@pytest.mark.parametrize("spelt", ["{}", "GRCh38_{}", "{}.17", "'{}'"])
@pytest.mark.parametrize("place", ["index", "column"])
def test_species_and_genes_however_they_are_spelt(server: Any, spelt: str, place: str) -> None:
    genes = gs.models.load("human").genes[::3]
    counts = np.random.default_rng(0).poisson(0.5, (10, len(genes))).astype(np.float32)
    names = [spelt.format(gene) for gene in genes]
    var = pd.DataFrame(index=names) if place == "index" else pd.DataFrame({"gene_ids": names})
    var.index = var.index.astype(str)
    adata = AnnData(counts, var=var)
    gs.classify(adata, silent=True)
    assert adata.uns["ginseng"]["overlap"]["n_found"] == len(genes)


@pytest.mark.parametrize("spelt", ["{}", "GRCh38_{}"])
def test_symbols_however_they_are_spelt(server: Any, spelt: str) -> None:
    """By HGNC: current symbols, and a previous one (CCL2 was SCYA2)."""
    symbols = {
        "CD3D": "ENSG00000167286", "MS4A1": "ENSG00000156738", "SCYA2": "ENSG00000108691", "NKG7": "ENSG00000105374",
        "CD68": "ENSG00000129226", "INS": "ENSG00000254647", "EPCAM": "ENSG00000119888", "HBB": "ENSG00000244734",
        "COL1A1": "ENSG00000108821", "PECAM1": "ENSG00000261371", "CD79A": "ENSG00000105369",
    }  # fmt: skip
    known = {name: gene for name, gene in symbols.items() if gene in set(gs.models.load("human").genes)}
    assert len(known) > 5
    adata = AnnData(np.eye(len(known), dtype=np.float32) * 5, var=pd.DataFrame(index=[spelt.format(n) for n in known]))
    gs.classify(adata, "human", silent=True, min_overlap=0)
    assert adata.uns["ginseng"]["overlap"]["n_found"] == len(known)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([f"ENSMUSG{i:011d}" for i in range(50)], r"mouse.*ginseng models fetch mouse"),
        ([f"ENSDARG{i:011d}" for i in range(50)], "zebrafish.*Name a file"),
        ([f"unc-{i}" for i in range(50)], "species.*Name a file"),
    ],
)
def test_no_model_for_the_species(server: Any, names: list[str], message: str) -> None:
    adata = AnnData(np.ones((3, 50), np.float32), var=pd.DataFrame(index=names))
    with pytest.raises(ValueError, match=message):
        gs.classify(adata, silent=True)
    assert list(adata.obs.columns) == []
    assert server.requests == []
