from __future__ import annotations

import subprocess
import sys

import anndata as ad
import pytest

import ginseng as gs
from ginseng.cli import main


def test_demo_trains_annotates_and_draws(tmp_path, capsys):
    assert main(["demo", "--output", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    annotated = ad.read_h5ad(tmp_path / "out" / "annotated.h5ad")
    metrics = annotated.uns["ginseng"]["metrics"]
    right = (annotated.obs["ginseng_cell_type"].astype(str) == annotated.obs["cell_type"].astype(str)).mean()
    assert metrics["accuracy"] == pytest.approx(right)
    assert right > 0.75
    for name in ("accuracy", "balanced accuracy", "macro F1"):
        assert name in printed
    assert f"{right:.3f}" in printed
    assert gs.load_model(tmp_path / "out" / "model.h5").n_classes == 10
    for name in ("confusion", "history", "embedding"):
        assert (tmp_path / "out" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_demo_never_writes_into_a_folder_that_is_there(tmp_path, capsys, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "results.txt").write_text("keep")
    assert main(["demo", "--output", str(tmp_path / "mine")]) == 1
    assert "exists" in capsys.readouterr().err
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["results.txt"]


def test_help_version_and_exit_codes():
    code = (
        "import sys; from ginseng.cli import main\ntry: main(['--version'])\nexcept SystemExit as e: sys.exit(e.code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("ginseng ")
    done = subprocess.run(
        [sys.executable, "-m", "ginseng", "demo", "--help"], capture_output=True, text=True, check=True
    )
    assert "--output" in done.stdout
    done = subprocess.run([sys.executable, "-m", "ginseng", "nonsense"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
