"""Models by name on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import ginseng as gs
from ginseng._settings import settings
from ginseng.cli import main


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "cache_dir", tmp_path / "cache")


def test_annotate_without_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    genes = gs.models.load("human").genes
    counts = np.random.default_rng(0).poisson(0.3, (8, len(genes))).astype(np.float32)
    ad.AnnData(counts, var=pd.DataFrame(index=genes)).write_h5ad(tmp_path / "my.h5ad")
    assert main(["annotate", str(tmp_path / "my.h5ad"), "-o", str(tmp_path / "labelled.h5ad")]) == 0
    assert "'human'" in capsys.readouterr().err
    labelled = ad.read_h5ad(tmp_path / "labelled.h5ad")
    assert labelled.uns["ginseng"]["reference"]["name"] == "human"
    assert "CC BY 4.0" in labelled.uns["ginseng"]["reference"]["licence"]
    expected = gs.classify(tmp_path / "my.h5ad", "human", silent=True)
    assert labelled.obs["ginseng_cell_type"].tolist() == expected["cell_type"].tolist()
    assert main(["annotate", str(tmp_path / "my.h5ad"), "-m", "human", "-o", str(tmp_path / "labels.csv")]) == 0
    assert pd.read_csv(tmp_path / "labels.csv")["cell_type"].tolist() == expected["cell_type"].tolist()


def test_list_and_info(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "list"]) == 0
    assert "human" in capsys.readouterr().out
    assert main(["models", "list", "--json"]) == 0
    rows: Any = {row["name"]: row for row in json.loads(capsys.readouterr().out)["models"]}
    assert rows["human"]["where"] == "packaged"
    assert rows["mouse"]["n_genes"] is None
    assert main(["models", "info", "human", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["models"]
    assert len(found["classes"]) == 324
    assert main(["models", "info", "mouse"]) == 0
    assert "10.5281/zenodo.21688150" in capsys.readouterr().out


def test_fetch(server: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    golden = (Path(__file__).parent / "golden/celltypist_two.pkl").read_bytes()
    entry = {"filename": "Two.pkl", "url": "Two.pkl", "details": "two types"}
    server.files = {"models.json": json.dumps({"models": [entry]}).encode(), "Two.pkl": golden}
    monkeypatch.setattr(settings, "models_url", server.url(""))
    assert main(["models", "fetch", "celltypist/Two", "--json"]) == 0
    (path,) = json.loads(capsys.readouterr().out)["paths"].values()
    assert gs.load_model(path).n_classes == 2
    assert main(["models", "list", "--refresh"]) == 0
    assert "celltypist/Two" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["models", "list", "human"], "takes no names"),
        (["models", "fetch"], "needs the name"),
        (["models", "info", "humna"], "Did you mean 'human'"),
    ],
)
def test_what_cannot_be_done(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 1
    assert said in capsys.readouterr().err
