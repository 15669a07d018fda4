"""The command line, on files: paths in, paths out, exit codes, JSON."""

from __future__ import annotations

import argparse
import ast
import csv
import dataclasses
import gzip
import inspect
import io
import json
import operator
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import jax
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import ginseng as gs
from ginseng.cli import main
from ginseng.data import GinsengDataset

COMMANDS = [
    "demo", "check", "audit", "map-genes", "map-labels", "select-genes", "train", "annotate", "vote", "novel", "sets",
    "evaluate",
    "cross-validate", "compare", "rank-genes", "explain", "embed", "uncertainty", "plot", "models", "info", "convert",
    "completion",
]  # fmt: skip
FAST = ["--architecture", "linear", "--epochs", "3", "--set", "batch_size=16", "--quiet"]


@pytest.fixture(scope="module")
def folder(make_cells: Callable[..., ad.AnnData], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with cells, other cells, and a model of the first."""
    folder = tmp_path_factory.mktemp("files")
    atlas = make_cells()
    atlas.layers["counts"] = atlas.X.copy()
    atlas.var["chosen"] = np.arange(30) < 20
    atlas.write_h5ad(folder / "atlas.h5ad")
    make_cells(60, seed=2).write_h5ad(folder / "query.h5ad")
    arguments = ["train", str(folder / "atlas.h5ad"), "--labels", "cell_type", "-o", str(folder / "model.h5"), *FAST]
    assert main(arguments) == 0
    make_cells(240).write_h5ad(folder / "large.h5ad")  # enough cells for a model to be calibrated
    assert main(["train", str(folder / "large.h5ad"), *arguments[2:5], str(folder / "large.h5"), *FAST]) == 0
    return folder


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Return a function that runs a command that must do well, and returns its JSON."""

    def run(*arguments: str | Path) -> Any:
        capsys.readouterr()
        code = main([*map(str, arguments), "--json"])
        printed = capsys.readouterr()
        assert code == 0, printed.err
        return json.loads(printed.out)

    return run


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return a function that runs a command that must fail, and returns the one line that says why."""

    def fails(*arguments: str | Path, code: int = 1) -> str:
        capsys.readouterr()
        assert main(list(map(str, arguments))) == code
        printed = capsys.readouterr()
        assert printed.out == ""
        told = [line for line in printed.err.splitlines() if line.startswith("ginseng: ")]
        assert len(told) == 1
        assert "Traceback" not in printed.err
        return told[0].removeprefix("ginseng: ")

    return fails


# -- the parser ------------------------------------------------------------------------------------------------------


def test_help_and_version_are_fast() -> None:
    """Neither imports what computes; what is imported is looked at, not the clock."""
    code = (
        "import sys; from ginseng.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as e: assert e.code == 0\n"
        "slow = {'jax', 'anndata', 'numpy', 'pandas', 'matplotlib', 'zarr', 'scanpy', 'h5py'} & set(sys.modules)\n"
        "assert not slow, slow"
    )
    for arguments in (["--help"], ["--version"], ["train", "--help"]):
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(("usage: ginseng", "ginseng "))


def test_what_is_not_a_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([])
    assert "annotate" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stopped:
        main(["novel", "cells.h5ad", "--model", "atlas.h5"])
    assert stopped.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith("usage: ginseng novel")
    assert told.rstrip().endswith("unrecognized arguments: --model atlas.h5")


def test_info_needs_no_jax(folder: Path) -> None:
    code = (
        "import sys; from ginseng.cli import main; assert main(sys.argv[1:]) == 0\n"
        "slow = {'jax', 'anndata', 'pandas', 'matplotlib', 'zarr', 'scanpy', 'pooch', 'pydantic'} & set(sys.modules)\n"
        "assert not slow, slow"
    )
    command = [sys.executable, "-c", code, "info", str(folder / "model.h5"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    state = gs.load_model(folder / "model.h5")
    assert json.loads(done.stdout)["n_weights"] == sum(np.size(a) for a in jax.tree.leaves(state.params))


def test_info_says_what_is_damaged(folder: Path, tmp_path: Path, fails: Callable[..., str]) -> None:
    path = tmp_path / "model.h5"
    path.write_bytes((folder / "model.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        file["params/head/W"][0, 0] += 1
    assert "SHA-256" in fails("info", path)
    assert "it holds cells" in fails("info", folder / "query.h5ad")
    path.write_bytes(b"nothing")
    assert "not a readable model" in fails("info", path)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_with_examples_that_parse(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    from ginseng.cli._main import parser

    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    printed = capsys.readouterr().out
    examples = [line.strip() for line in printed.partition("examples:")[2].splitlines() if "ginseng" in line]
    assert examples
    for example in examples:
        example = re.sub(r'^eval "\$\((.*)\)"$', r"\1", re.split(r" [|>] ", example)[0])
        arguments = shlex.split(example)
        arguments = arguments[arguments.index("ginseng") :]  # a launcher may stand before it
        assert arguments[:2] == ["ginseng", command]
        assert callable(parser().parse_args(arguments[1:]).run)


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["train"], ["train", "a.h5ad"], ["annotate", "a.h5ad"], ["info"],
     ["train", "a.h5ad", "-o", "m.h5", "--epochs", "many"], ["train", "a.h5ad", "-o", "m.h5", "--set", "lr"]],
)  # fmt: skip
def test_what_is_not_understood_is_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_in_a_process_of_its_own(folder: Path) -> None:
    command = [sys.executable, "-m", "ginseng"]
    done = subprocess.run(
        [*command, "info", str(folder / "model.h5"), "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert json.loads(done.stdout)["classes"] == ["B cell", "T/NK", "γδ T"]
    done = subprocess.run([*command, "info", "nowhere.h5"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "ginseng: There is no model at nowhere.h5.\n"


# -- demo ------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("uncalibrated")
def test_demo_trains_annotates_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
    by_type = annotated.obs.groupby("cell_type", observed=True)["human_cell_type"]
    assert by_type.agg(lambda labels: labels.value_counts().index[0])["CD34+"] == "HSC"
    assert gs.load_model(tmp_path / "out" / "model.h5").n_classes == 10
    for name in ("confusion", "history", "embedding"):
        assert (tmp_path / "out" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_demo_never_writes_into_a_folder_that_is_there(tmp_path: Path, fails: Callable[..., str]) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "results.txt").write_text("keep")
    assert "exists" in fails("demo", "--output", tmp_path / "mine")
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["results.txt"]


# -- train -----------------------------------------------------------------------------------------------------------


def test_train_is_the_train_of_python(folder: Path, tmp_path: Path, run: Callable[..., Any]) -> None:
    model = tmp_path / "model.h5"
    found = run("train", folder / "atlas.h5ad", "-l", "cell_type", "--layer", "counts", "--genes", "chosen", "--groups",
                "donor", "--holdout", "0.2", "--seed", "3", "--set", "lr=1e-2", "-o", model, *FAST)  # fmt: skip
    expected = gs.tl.train(
        folder / "atlas.h5ad", "cell_type", layer="counts", genes="chosen", group_key="donor", holdout_fraction=0.2,
        seed=3, lr=1e-2, architecture="linear", epochs=3, batch_size=16, silent=True,
    )  # fmt: skip
    state = gs.load_model(model)
    np.testing.assert_array_equal(state.params["head"]["W"], expected.params["head"]["W"])
    assert (found["n_genes"], found["architecture"], found["classes"]) == (20, "linear", ["B cell", "T/NK", "γδ T"])
    assert found["n_holdout"] == state.info["n_holdout"] > 0
    assert found["holdout_accuracy"] == state.history["holdout_accuracy"][state.info["best_epoch"] - 1]
    assert list(tmp_path.iterdir()) == [model]  # no checkpoint is left


def test_train_on_chosen_genes_and_on_a_store(folder: Path, tmp_path: Path, run: Callable[..., Any]) -> None:
    found = run("train", folder / "atlas.h5ad", "-l", "cell_type", "--n-top-genes", "8", "-o", tmp_path / "a.h5", *FAST)
    assert 8 <= found["n_genes"] < 30
    run("convert", folder / "atlas.h5ad", tmp_path / "store.zarr", "--labels", "cell_type", "--groups", "donor",
        "--layer", "counts", "--genes", "chosen")  # fmt: skip
    store = GinsengDataset(tmp_path / "store.zarr")
    assert (store.n_cells, store.n_genes, store.group_key) == (120, 20, "donor")
    found = run("train", store.path, "-o", tmp_path / "b.h5", *FAST)
    expected = gs.tl.train(store, architecture="linear", epochs=3, batch_size=16, silent=True)
    np.testing.assert_array_equal(gs.load_model(tmp_path / "b.h5").params["head"]["W"], expected.params["head"]["W"])
    assert {p.name for p in tmp_path.iterdir()} == {"a.h5", "b.h5", "store.zarr"}


def test_an_interrupted_train_goes_on(
    folder: Path, tmp_path: Path, fails: Callable[..., str], run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ginseng.train.logger import GinsengLogger

    arguments = ["train", folder / "atlas.h5ad", "-l", "cell_type", *FAST]
    update, model = GinsengLogger.update, tmp_path / "model.h5"

    def press(self: Any, *values: Any, **named: Any) -> None:
        update(self, *values, **named)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(GinsengLogger, "update", press)
    told = fails(*arguments, "-o", model, code=130)
    assert "no model was written" in told
    assert "--resume" in told
    assert [p.name for p in tmp_path.iterdir()] == ["model.h5.checkpoint"]
    monkeypatch.undo()
    run(*arguments, "-o", model, "--resume")
    assert [p.name for p in tmp_path.iterdir()] == ["model.h5"]
    a, b = gs.load_model(model), gs.load_model(folder / "model.h5")
    np.testing.assert_array_equal(a.params["head"]["W"], b.params["head"]["W"])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--labels", "celltype"], "Did you mean 'cell_type'?"),
        ([], "Pass --labels"),
        (["--labels", "cell_type", "--set", "learning_rate=1"], "no setting 'learning_rate'"),
        (["--labels", "cell_type", "--layer", "raw"], "'raw'"),
        (["--labels", "cell_type", "--architecture", "lineer"], "linear"),
        (["--labels", "cell_type", "--processes", "2"], "--distributed"),
    ],
)
def test_train_says_what_is_wrong(
    folder: Path, tmp_path: Path, fails: Callable[..., str], arguments: list[str], told: str
) -> None:
    assert told in fails("train", folder / "atlas.h5ad", "-o", tmp_path / "m.h5", *arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_processes_train_together(folder: Path, tmp_path: Path, run: Callable[..., Any]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = ["--coordinator", f"127.0.0.1:{free.getsockname()[1]}", "--processes", "2"]
    arguments = [str(folder / "atlas.h5ad"), "--labels", "cell_type", *FAST]
    command = [sys.executable, "-m", "ginseng", "train", *arguments, "-o", str(tmp_path / "m.h5"), "--distributed"]
    started = [
        subprocess.Popen([*command, *place, "--process", str(i)], stdout=subprocess.PIPE, text=True) for i in range(2)
    ]
    said = [process.communicate(timeout=120)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0]
    assert "m.h5" in said[0]
    assert "m.h5" not in said[1]
    assert [path.name for path in tmp_path.iterdir()] == ["m.h5"]
    one = run("train", *arguments, "-o", tmp_path / "one.h5")
    assert gs.load_model(tmp_path / "m.h5").history["holdout_loss"][-1] == pytest.approx(one["holdout_loss"], abs=1e-5)


def test_outputs_are_checked_before_the_work(
    folder: Path, tmp_path: Path, fails: Callable[..., str], run: Callable[..., Any]
) -> None:
    mine = tmp_path / "m.h5"
    mine.write_text("mine")
    train = ["train", folder / "atlas.h5ad", "-l", "cell_type", *FAST, "-o"]
    assert "exists. Choose another --output, or pass --overwrite" in fails(*train, mine)
    assert "must end in .h5" in fails(*train, tmp_path / "model.pkl")
    assert "no folder" in fails(*train, tmp_path / "nowhere" / "m.h5")
    assert mine.read_text() == "mine"
    assert "is not a model, so it is not replaced" in fails(*train, mine, "--overwrite")
    assert mine.read_text() == "mine"
    mine.write_bytes((folder / "model.h5").read_bytes())
    before = mine.stat().st_ino
    run(*train, mine, "--overwrite")
    assert mine.stat().st_ino != before  # another file, though it may have the same bytes


def test_debug_shows_the_traceback(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(tmp_path / "no.h5"), "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


# -- annotate and evaluate -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr", ".csv", ".tsv"])
def test_annotate_is_the_classify_of_python(folder: Path, tmp_path: Path, run: Callable[..., Any], suffix: str) -> None:
    output = tmp_path / f"out{suffix}"
    found = run("annotate", folder / "query.h5ad", "-m", folder / "model.h5", "-o", output, "--probabilities", "-q")
    expected: Any = gs.classify(folder / "query.h5ad", folder / "model.h5", store_probs=True, silent=True)
    if suffix in (".csv", ".tsv"):
        table = pd.read_csv(output, index_col=0, sep="," if suffix == ".csv" else "\t")
        assert table["cell_type"].tolist() == expected["cell_type"].tolist()
        np.testing.assert_allclose(table[["B cell", "T/NK"]], expected[["B cell", "T/NK"]], rtol=1e-6)
    else:
        adata = gs.read_adata(output)
        assert adata.obs["ginseng_cell_type"].tolist() == expected["cell_type"].tolist()
        assert adata.obsm["ginseng_probs"].shape == (60, 3)
    assert found["n_cells"] == 60
    assert found["cell_types"] == {k: int(v) for k, v in expected["cell_type"].value_counts().items()}
    assert found["mean_confidence"] == pytest.approx(expected["confidence"].mean())


def test_annotate_in_place_and_never_over_another_file(
    folder: Path, tmp_path: Path, run: Callable[..., Any], fails: Callable[..., str]
) -> None:
    query, other = tmp_path / "query.h5ad", tmp_path / "other.h5ad"
    query.write_bytes((folder / "query.h5ad").read_bytes())
    other.write_text("mine")
    annotate = ["annotate", query, "-m", folder / "model.h5", "-o"]
    run(*annotate, query)
    assert "ginseng_cell_type" in ad.read_h5ad(query).obs
    assert "exists" in fails(*annotate, other)
    assert other.read_text() == "mine"
    assert "must end in" in fails(*annotate, tmp_path / "out.txt")


def test_annotate_with_a_choice_of_labels(folder: Path, tmp_path: Path, run: Callable[..., Any]) -> None:
    annotate = ["annotate", folder / "query.h5ad", "-m", folder / "model.h5", "-q", "-o"]
    found = run(*annotate, tmp_path / "a.csv", "--excluded", "T/NK")["cell_types"]
    assert set(found) == {"B cell", "γδ T"}
    found = run(*annotate, tmp_path / "b.csv", "--allowed", "T/NK", "γδ T")["cell_types"]
    assert set(found) == {"T/NK", "γδ T"}
    found = run(*annotate, tmp_path / "c.h5ad", "--min-confidence", "1")["cell_types"]
    assert found == {"unassigned": 60}
    run(*annotate, tmp_path / "d.csv", "--no-adapt")
    expected: Any = gs.classify(folder / "query.h5ad", folder / "model.h5", adapt=False, silent=True)
    found = pd.read_csv(tmp_path / "d.csv", index_col=0)["confidence"]
    np.testing.assert_allclose(found, expected["confidence"], rtol=1e-5)


def test_a_warning_is_a_line(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    query = ad.read_h5ad(folder / "query.h5ad")[:, :25].copy()
    query.write_h5ad(tmp_path / "few.h5ad")
    arguments = ["annotate", str(tmp_path / "few.h5ad"), "-m", str(folder / "model.h5"), "-q"]
    assert main([*arguments, "-o", str(tmp_path / "out.csv")]) == 0
    printed = capsys.readouterr()
    told = [line for line in printed.err.splitlines() if line]
    assert all(line.startswith("ginseng: warning: ") for line in told)
    assert any("5 of the 30 genes" in line for line in told)
    assert printed.out.startswith("60 cells in ")


def test_evaluate_measures(folder: Path, tmp_path: Path, run: Callable[..., Any], fails: Callable[..., str]) -> None:
    from sklearn.metrics import f1_score

    annotated = tmp_path / "annotated.h5ad"
    run("annotate", folder / "query.h5ad", "-m", folder / "model.h5", "-o", annotated, "-q")
    table, figure = tmp_path / "table.csv", tmp_path / "confusion.png"
    found = run("evaluate", annotated, "-l", "cell_type", "-o", table, "--figure", figure)
    obs = ad.read_h5ad(annotated).obs
    true, predicted = obs["cell_type"].astype(str), obs["ginseng_cell_type"].astype(str)
    assert found["accuracy"] == pytest.approx((true == predicted).mean())
    assert found["macro_f1"] == pytest.approx(f1_score(true, predicted, average="macro"))
    assert found["per_class"]["γδ T"]["support"] == (true == "γδ T").sum()
    assert np.sum(found["confusion"]["counts"]) == found["n_cells"] == 60
    assert pd.read_csv(table, index_col=0).index.tolist()[:3] == ["B cell", "T/NK", "γδ T"]
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert run("evaluate", annotated, "-l", "cell_type", "-p", "cell_type")["accuracy"] == 1
    assert "exists" in fails("evaluate", annotated, "-l", "cell_type", "--figure", figure)
    assert "Run `ginseng annotate` first" in fails("evaluate", folder / "query.h5ad", "-l", "cell_type")


# -- check and compare -----------------------------------------------------------------------------------------------


def test_check_says_what_the_data_are(
    folder: Path, tmp_path: Path, run: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    found = run("check", folder / "query.h5ad", "--model", folder / "model.h5")
    assert (found["n_cells"], found["n_genes"], found["n_found"], found["ok"]) == (60, 30, 30, True)
    query = ad.read_h5ad(folder / "query.h5ad")
    query.var_names = [f"other{i}" for i in range(30)]
    query.write_h5ad(tmp_path / "other.h5ad")
    assert main(["check", str(tmp_path / "other.h5ad"), "-m", str(folder / "model.h5"), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["problems"]


def test_compare_measures_each_model(folder: Path, tmp_path: Path, run: Callable[..., Any]) -> None:
    found = run("compare", folder / "atlas.h5ad", "-l", "cell_type", "--models", "linear", "logistic_regression",
                "--epochs", "3", "-o", tmp_path / "t.tsv", "--figure", tmp_path / "t.png", "-q")["models"]  # fmt: skip
    assert list(found) == ["linear", "logistic_regression"]
    table = pd.read_csv(tmp_path / "t.tsv", sep="\t", index_col=0)
    assert table.loc["linear", "accuracy"] == found["linear"]["accuracy"] > 0.5
    assert (tmp_path / "t.png").read_bytes().startswith(b"\x89PNG")


# -- info and convert ------------------------------------------------------------------------------------------------


def test_info_shows_a_model(folder: Path, run: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    found = run("info", folder / "model.h5")
    state = gs.load_model(folder / "model.h5")
    assert found["classes"] == ["B cell", "T/NK", "γδ T"]
    assert found["genes"] == [f"GENE{i}" for i in range(30)]
    assert found["metrics"]["holdout_accuracy"] == state.history["holdout_accuracy"][state.info["best_epoch"] - 1]
    assert found["info"]["n_train"] + found["info"]["n_holdout"] == 120
    assert set(found["info"]["versions"]) >= {"ginseng", "jax"}
    assert main(["info", str(folder / "model.h5")]) == 0
    printed = capsys.readouterr().out
    for expected in ("B cell, T/NK, γδ T", "30 genes: GENE0", "labels in 'cell_type'", "holdout accuracy", "jax "):
        assert expected in printed


def test_convert_between_formats(folder: Path, tmp_path: Path, run: Callable[..., Any]) -> None:
    expected = ad.read_h5ad(folder / "atlas.h5ad")
    assert run("convert", folder / "atlas.h5ad", tmp_path / "a.zarr")["shape"] == [120, 30]
    run("convert", tmp_path / "a.zarr", tmp_path / "b.h5ad")
    found = ad.read_h5ad(tmp_path / "b.h5ad")
    np.testing.assert_array_equal(found.X.toarray(), expected.X.toarray())
    np.testing.assert_array_equal(found.layers["counts"].toarray(), expected.layers["counts"].toarray())
    pd.testing.assert_frame_equal(found.obs, expected.obs)


def test_train_keeps_what_came_to_be_at_its_target_and_loses_nothing(
    folder: Path, tmp_path: Path, fails: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ginseng.tl import _train

    target, fit = tmp_path / "m.h5", _train.GinsengClassifierTrainer.fit

    def another_is_faster(*args: Any, **kwargs: Any) -> Any:
        target.write_bytes((folder / "model.h5").read_bytes())
        return fit(*args, **kwargs)

    monkeypatch.setattr(_train.GinsengClassifierTrainer, "fit", another_is_faster)
    said = fails("train", folder / "atlas.h5ad", "-l", "cell_type", "-o", target, *FAST)
    assert "m.h5" in said.replace("m-2.h5", "")
    assert "m-2.h5" in said
    assert target.read_bytes() == (folder / "model.h5").read_bytes()
    assert gs.load_model(tmp_path / "m-2.h5").n_classes == gs.load_model(target).n_classes


def test_train_replaces_a_model_and_nothing_else(folder: Path, tmp_path: Path, fails: Callable[..., str]) -> None:
    (tmp_path / "mine.h5").write_text("mine")
    said = fails("train", folder / "atlas.h5ad", "-l", "cell_type", "-o", tmp_path / "mine.h5", "--overwrite")
    assert "is not a model, so it is not replaced" in said
    assert "Training" not in said  # told before the work
    assert [p.name for p in tmp_path.iterdir()] == ["mine.h5"]


def test_convert_replaces_an_anndata_and_nothing_else(
    folder: Path, tmp_path: Path, run: Callable[..., Any], fails: Callable[..., str]
) -> None:
    results, cells = tmp_path / "results.zarr", tmp_path / "cells.zarr"
    (results / "deep").mkdir(parents=True)
    (results / "deep" / "thesis.txt").write_text("mine")
    convert = ("convert", folder / "atlas.h5ad")
    run(*convert, cells)
    for path, name in ((cells / "obs" / "notes.txt", "notes.txt"), (cells / "images" / "zarr.json", "images")):
        path.parent.mkdir(exist_ok=True)
        path.write_text("{}")
        assert name in fails(*convert, cells, "--overwrite")
        path.unlink()
    (cells / "images").rmdir()
    run(*convert, cells, "--overwrite")
    assert "is not replaced" in fails(*convert, results, "--overwrite")
    assert (results / "deep" / "thesis.txt").read_text() == "mine"
    (tmp_path / "notes.h5ad").write_text("mine")
    assert "is not replaced" in fails(*convert, tmp_path / "notes.h5ad", "--overwrite")


def test_convert_10x(tmp_path: Path, run: Callable[..., Any]) -> None:
    from scipy.io import mmwrite

    raw = tmp_path / "raw"
    raw.mkdir()
    counts = sparse.random(6, 4, 0.5, "coo", random_state=0, data_rvs=lambda n: np.arange(1, n + 1))
    mmwrite(raw / "matrix.mtx", counts)  # genes x cells
    rows = "".join(f"ENSG{i}\tGENE{i}\tGene Expression\n" for i in range(6))
    (raw / "features.tsv").write_text(rows)
    (raw / "barcodes.tsv").write_text("".join(f"cell{i}\n" for i in range(4)))
    assert run("convert", raw, tmp_path / "cells.h5ad")["shape"] == [4, 6]
    adata = ad.read_h5ad(tmp_path / "cells.h5ad")
    np.testing.assert_array_equal(adata.X.toarray(), counts.toarray().T)
    assert adata.var_names.tolist() == [f"GENE{i}" for i in range(6)]


def test_convert_an_old_model(folder: Path, tmp_path: Path, run: Callable[..., Any], fails: Callable[..., str]) -> None:
    rng, g, c, h = np.random.default_rng(0), 30, 3, 5
    shapes = {"features1": (g, g), "features2": (g, g), "attn1": (g, h), "attn2": (h, g), "head": (g, c)}
    old, new = tmp_path / "old.h5", tmp_path / "new.h5"
    with h5py.File(old, "w") as file:
        file.attrs.update({"n_genes": g, "n_classes": c, "hidden_dim": h, "normalize": True, "target_sum": 1e4,
                           "dropout_rate": 0.2, "training": False})  # fmt: skip
        file["genes"] = np.array([f"GENE{i}" for i in range(g)], "S")
        file["label_keys"] = np.char.encode(["B", "T/NK", "γδ T"], "utf-8")
        file["label_values"] = np.arange(c)
        for layer, shape in shapes.items():
            file[f"params/{layer}/W"] = rng.normal(0, 0.4, shape).astype("f4")
            file[f"params/{layer}/b"] = rng.normal(0, 0.4, shape[1]).astype("f4")
    before = old.read_bytes()
    run("convert", old, new)
    with h5py.File(new) as file:
        assert file.attrs["format"] == b"ginseng-model"
    tables: list[Any] = [gs.classify(folder / "query.h5ad", m, store_probs=True, silent=True) for m in (old, new)]
    pd.testing.assert_frame_equal(*tables)
    assert run("info", new)["library_size"] == "model_genes"
    assert "exists" in fails("convert", old, new)
    assert "must end in .h5" in fails("convert", old, tmp_path / "new.h5ad")
    assert old.read_bytes() == before


# -- options -------------------------------------------------------------------------------------------------------


def test_options_are_parameters_of_the_verbs() -> None:
    """What a command takes, its verb takes by the same name."""
    from ginseng.cli._main import COMMANDS
    from ginseng.cli._options import OPTIONS

    own = {"output", "output_dir", "format", "figure", "overwrite", "n_top_genes", "modality", "distributed", "dask"}
    own |= set(inspect.signature(jax.distributed.initialize).parameters)
    settings = {field.name for field in dataclasses.fields(gs.train.GinsengClassifierTrainerSettings)}
    seen = 0
    for command in COMMANDS:
        parser = argparse.ArgumentParser()
        command.add_arguments(parser)
        taken = {action.dest for action in parser._actions} & set(OPTIONS)
        verbs = [
            operator.attrgetter(verb)(gs) for verb in getattr(command, "VERBS", ()) if verb.startswith(("tl", "pp"))
        ]
        known = {name for verb in verbs for name in inspect.signature(verb).parameters} | own | settings
        if verbs:
            assert taken <= known, (command.__name__, taken - known)
            seen += 1
    assert seen >= 11


# -- where results go ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["csv", "tsv", "csv.gz", "tsv.gz"])
def test_tables_in_every_form_are_the_same(folder: Path, tmp_path: Path, run: Callable[..., Any], form: str) -> None:
    output = tmp_path / f"labels.{form}"
    run("annotate", folder / "query.h5ad", "-m", folder / "model.h5", "-o", output, "-q")
    expected: Any = gs.classify(folder / "query.h5ad", folder / "model.h5", silent=True)
    text = (gzip.decompress(output.read_bytes()) if form.endswith("gz") else output.read_bytes()).decode()
    rows = list(csv.reader(text.splitlines(), delimiter="\t" if form.startswith("tsv") else ","))
    assert [row[:2] for row in rows[1:]] == [list(row) for row in expected["cell_type"].astype(str).items()]


def test_a_dash_is_standard_output(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    annotate = ["annotate", str(folder / "query.h5ad"), "-m", str(folder / "model.h5"), "-o", "-"]
    assert main([*annotate, "--format", "tsv"]) == 0
    printed = capsys.readouterr()
    table = pd.read_csv(io.StringIO(printed.out), sep="\t", index_col=0)
    assert table.shape == (60, 2)
    assert "60 cells, mean confidence" in printed.err
    with pytest.raises(SystemExit) as stopped:
        main([*annotate, "--json"])
    assert stopped.value.code == 2


def test_several_inputs_go_to_a_folder(
    folder: Path, tmp_path: Path, run: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("s1", "s2"):
        (tmp_path / name / "outs").mkdir(parents=True)
        (tmp_path / name / "outs" / "query.h5ad").write_bytes((folder / "query.h5ad").read_bytes())
    inputs = [tmp_path / "s1" / "outs" / "query.h5ad", tmp_path / "s2" / "outs" / "query.h5ad", folder / "atlas.h5ad"]
    annotate = ["annotate", *map(str, inputs), "-m", str(folder / "model.h5"), "-q"]
    found = run(*annotate, "--output-dir", tmp_path / "new" / "labels", "--format", "csv")
    assert sorted(p.name for p in (tmp_path / "new" / "labels").iterdir()) == ["atlas.csv", "s1.csv", "s2.csv"]
    assert [(each["data"], each["n_cells"]) for each in found] == list(
        zip(map(str, inputs), (60, 60, 120), strict=True)
    )
    assert (tmp_path / "new/labels/s1.csv").read_text() == (tmp_path / "new/labels/s2.csv").read_text()
    before = (tmp_path / "new/labels/s1.csv").stat().st_mtime_ns
    assert main([*annotate, "--output-dir", str(tmp_path / "new" / "labels"), "--format", "csv"]) == 1
    assert "exists. Choose another --output-dir, or pass --overwrite" in capsys.readouterr().err
    run(*annotate, "--output-dir", tmp_path / "new" / "labels", "--format", "csv", "--overwrite")
    assert (tmp_path / "new/labels/s1.csv").stat().st_mtime_ns > before
    assert main([*annotate, "-o", str(tmp_path / "one.csv")]) == 1
    assert "--output-dir" in capsys.readouterr().err
    twice = [annotate[0], str(inputs[0]), str(inputs[0]), "-m", str(folder / "model.h5")]
    assert main([*twice, "--output-dir", str(tmp_path / "twice")]) == 1
    assert "the same file" in capsys.readouterr().err
    assert not (tmp_path / "twice").exists()


def test_one_bad_input_does_not_stop_the_others(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.h5ad").write_text("nothing")
    data = [str(tmp_path / "bad.h5ad"), str(folder / "query.h5ad")]
    assert main(["annotate", *data, "-m", str(folder / "model.h5"), "--output-dir", str(tmp_path / "out"), "-q"]) == 1
    printed = capsys.readouterr()
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["query.h5ad"]
    assert f"ginseng: {data[0]}: " in printed.err
    assert data[1] in printed.out


def test_overwrite_is_taken_where_it_is_offered(
    folder: Path, tmp_path: Path, run: Callable[..., Any], fails: Callable[..., str]
) -> None:
    model, query = folder / "model.h5", folder / "query.h5ad"
    for suffix in (".h5ad", ".csv"):
        output = tmp_path / f"out{suffix}"
        annotate = ("annotate", query, "-m", model, "-q", "-o", output)
        run(*annotate)
        before = output.stat().st_ino
        assert "--overwrite" in fails(*annotate)
        run(*annotate, "--overwrite")
        assert output.stat().st_ino != before
    mine = tmp_path / "mine.h5ad"
    mine.write_text("mine")
    assert "is not replaced" in fails("annotate", query, "-m", model, "-o", mine, "--overwrite")
    assert mine.read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["annotate", "query.h5ad", "-m", "model.h5", "-o", "out.parquet"],
            ["--output", ".parquet", ".h5ad", ".csv.gz"],
        ),
        (["annotate", "query.h5ad", "-m", "model.h5", "-o", "out"], ["--output", "no such suffix"]),
        (["annotate", "query.h5ad", "-m", "model.h5", "-o", "out.h5ad.gz"], ["--output", ".h5ad.gz"]),
        (["train", "atlas.h5ad", "-l", "cell_type", "-o", "-"], ["--output", ".h5"]),
        (["evaluate", "query.h5ad", "-l", "cell_type", "--figure", "a.txt"], ["--figure", ".txt", ".png", ".svg"]),
        (["plot", "embedding", "query.h5ad", "-o", "a.gif"], ["--output", ".gif", ".pdf"]),
        (["convert", "query.h5ad", "a.csv"], ["OUTPUT", ".csv", ".h5ad", ".zarr"]),
    ],
)
def test_wrong_suffixes_tell_the_truth(
    folder: Path, fails: Callable[..., str], monkeypatch: pytest.MonkeyPatch, arguments: list[str], told: list[str]
) -> None:
    """The option that was given, what its value ends in, and all that it may end in."""
    monkeypatch.chdir(folder)
    before = sorted(folder.iterdir())
    said = fails(*arguments)
    assert all(part in said for part in told), said
    assert sorted(folder.iterdir()) == before


# -- the other verbs -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def annotated(folder: Path) -> Path:
    """Return query cells with labels, clusters and an embedding."""
    adata = gs.read_adata(folder / "query.h5ad")
    gs.classify(adata, folder / "large.h5", silent=True)
    adata.obs["leiden"] = pd.Categorical((np.arange(60) % 5).astype(str))
    adata.obsm["X_umap"] = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
    adata.write_h5ad(folder / "annotated.h5ad")
    return folder / "annotated.h5ad"


def test_novel(annotated: Path, tmp_path: Path, run: Callable[..., Any], fails: Callable[..., str]) -> None:
    found = run("novel", annotated, "--min-cells", "5", "-o", tmp_path / "n.h5ad")
    expected: Any = gs.tl.novel(gs.read_adata(annotated), min_cells=5)
    assert [row["cluster"] for row in found["clusters"]] == expected.index.tolist()
    assert [row["novel_fraction"] for row in found["clusters"]] == expected["novel_fraction"].tolist()
    assert found["n_new"] == expected["novel"].sum()
    written = ad.read_h5ad(tmp_path / "n.h5ad").uns["ginseng"]["novel"]
    assert written["table"]["nearest"].tolist() == expected["nearest"].tolist()
    run("novel", annotated, "-o", tmp_path / "n.csv")
    assert pd.read_csv(tmp_path / "n.csv", index_col=0)["n_cells"].tolist() == [12] * 5
    assert "ginseng annotate" in fails("novel", annotated, "--key", "other")


def test_labels_under_another_prefix_are_read(
    annotated: Path, tmp_path: Path, run: Callable[..., Any], fails: Callable[..., str]
) -> None:
    adata = ad.read_h5ad(annotated)
    names = {name: name.replace("ginseng_", "mine_") for name in adata.obs if name.startswith("ginseng_")}
    adata.obs = adata.obs.rename(columns=names)
    adata.uns["mine"] = adata.uns.pop("ginseng")
    adata.write_h5ad(other := tmp_path / "mine.h5ad")
    for command in (
        ["evaluate", "-l", "cell_type"],
        ["vote"],
        ["rank-genes", "-m", annotated.parent / "large.h5", "--n-genes", "2"],
    ):
        ours, theirs = [command[0], annotated, *command[1:]], [command[0], other, *command[1:]]
        assert run(*theirs, "--key", "mine") == run(*ours)
        assert "--key mine" in fails(*theirs)


def test_sets(folder: Path, tmp_path: Path, run: Callable[..., Any], fails: Callable[..., str]) -> None:
    sets = ["sets", folder / "query.h5ad", "-m", folder / "large.h5", "-o"]
    found = run(*sets, tmp_path / "s.csv", "--alpha", "0.3")
    expected: Any = gs.tl.prediction_sets(
        folder / "query.h5ad", folder / "large.h5", alpha=0.3, return_table=True, silent=True
    )
    pd.testing.assert_frame_equal(
        pd.read_csv(tmp_path / "s.csv", index_col=0), expected, check_names=False, check_column_type=False
    )
    assert found["mean_size"] == expected.sum(axis=1).mean()
    assert sum(found["sizes"].values()) == found["n_cells"] == 60
    run(*sets, tmp_path / "s.h5ad", "--alpha", "0.3", "--no-adapt")
    whole = ad.read_h5ad(tmp_path / "s.h5ad")
    assert whole.uns["ginseng"]["sets"]["alpha"] == 0.3
    assert whole.obs["ginseng_set_size"].tolist() == whole.obsm["ginseng_sets"].sum(axis=1).tolist()
    assert "--alpha" in fails(*sets, tmp_path / "t.csv", "--alpha", "2")


def test_annotate_with_shares_and_thresholds_of_the_model(
    folder: Path, tmp_path: Path, run: Callable[..., Any], fails: Callable[..., str]
) -> None:
    annotate = ["annotate", folder / "query.h5ad", "-m", folder / "large.h5", "-q", "-o"]
    for i, (option, value) in enumerate([("query", "query"), ("B cell=0.9", {"B cell": 0.9})]):
        run(*annotate, tmp_path / f"{i}.csv", "--priors", option)
        expected: Any = gs.classify(folder / "query.h5ad", folder / "large.h5", priors=value, silent=True)
        found = pd.read_csv(tmp_path / f"{i}.csv", index_col=0)["confidence"]
        np.testing.assert_allclose(found, expected["confidence"], rtol=1e-5)
    run(*annotate, tmp_path / "auto.csv", "--min-confidence", "auto")
    expected = gs.classify(folder / "query.h5ad", folder / "large.h5", min_confidence="auto", silent=True)
    assert pd.read_csv(tmp_path / "auto.csv", index_col=0)["cell_type"].tolist() == expected["cell_type"].tolist()
    assert "--priors" in fails(*annotate, tmp_path / "x.csv", "--priors", "no such=0.9")


def test_vote(annotated: Path, tmp_path: Path, run: Callable[..., Any]) -> None:
    found = run("vote", annotated, "--min-fraction", "0.4", "-o", tmp_path / "v.h5ad", "--figure", tmp_path / "v.png")
    expected = gs.read_adata(annotated)
    gs.tl.vote(expected, min_fraction=0.4)
    voted = ad.read_h5ad(tmp_path / "v.h5ad")
    assert voted.obs["ginseng_vote"].astype(str).tolist() == expected.obs["ginseng_vote"].astype(str).tolist()
    assert [each["n_cells"] for each in found["clusters"]] == [12] * 5
    np.testing.assert_array_equal(voted.X.toarray(), expected.X.toarray())
    run("vote", annotated, "-o", tmp_path / "v.csv")
    table = pd.read_csv(tmp_path / "v.csv", index_col=0)
    fraction = pd.crosstab(table["leiden"], table["ginseng_cell_type"], normalize="index").max(axis=1)
    np.testing.assert_allclose(table.groupby("leiden")["ginseng_vote_fraction"].first(), fraction, rtol=1e-6)
    assert (tmp_path / "v.png").read_bytes().startswith(b"\x89PNG")


def test_rank_genes_and_explain(annotated: Path, folder: Path, tmp_path: Path, run: Callable[..., Any]) -> None:
    model = folder / "model.h5"
    found = run("rank-genes", annotated, "-m", model, "--groupby", "cell_type", "--n-genes", "4", "-o",
                tmp_path / "g.csv", "--figure", tmp_path / "g.png", "-q")["groups"]  # fmt: skip
    expected: Any = gs.tl.rank_genes(annotated, model, "cell_type", n_genes=4, return_table=True, silent=True)
    table = pd.read_csv(tmp_path / "g.csv")
    assert table["names"].tolist() == expected["names"].tolist()
    assert [row["names"] for row in found["T/NK"]] == expected.loc[expected["group"] == "T/NK", "names"].tolist()
    cell = gs.read_adata(annotated).obs_names[3]
    found = run("explain", annotated, "-m", model, "--cells", cell, "--versus", "γδ T", "--n-genes", "3",
                "-o", tmp_path / "e.h5ad", "--figure", tmp_path / "e.svg", "-q")["genes"]  # fmt: skip
    expected = gs.tl.explain(annotated, model, cell, versus="γδ T", n_genes=3, return_table=True, silent=True)
    assert [row["gene"] for row in found] == expected["gene"].tolist()
    assert ad.read_h5ad(tmp_path / "e.h5ad").uns["ginseng"]["explanation"]["gene"].tolist() == expected["gene"].tolist()


def test_embed_and_uncertainty(annotated: Path, folder: Path, tmp_path: Path, run: Callable[..., Any]) -> None:
    run("train", folder / "atlas.h5ad", "-l", "cell_type", "-o", tmp_path / "m.h5", "--epochs", "1", "-q")
    expected: Any = gs.tl.embed(annotated, tmp_path / "m.h5", return_table=True, silent=True)
    for suffix in (".h5ad", ".tsv.gz"):
        run("embed", annotated, "-m", tmp_path / "m.h5", "-o", tmp_path / f"e{suffix}", "-q")
    np.testing.assert_array_equal(ad.read_h5ad(tmp_path / "e.h5ad").obsm["X_ginseng"], expected.to_numpy())
    np.testing.assert_allclose(pd.read_csv(tmp_path / "e.tsv.gz", sep="\t", index_col=0), expected, rtol=1e-5)
    expected = gs.tl.uncertainty(annotated, tmp_path / "m.h5", n_passes=3, rng=4, return_table=True, silent=True)
    found = {}
    for suffix in (".h5ad", ".csv"):
        found = run("uncertainty", annotated, "-m", tmp_path / "m.h5", "--n-passes", "3", "--seed", "4", "-o",
                    tmp_path / f"u{suffix}", "-q")  # fmt: skip
    obs = ad.read_h5ad(tmp_path / "u.h5ad").obs
    np.testing.assert_array_equal(obs["ginseng_uncertainty"], expected["uncertainty"])
    assert found["mean_spread"] == pytest.approx(float(expected["spread"].mean()))


def test_cross_validate_and_select_genes(folder: Path, tmp_path: Path, run: Callable[..., Any]) -> None:
    atlas = folder / "atlas.h5ad"
    options = ["--model", "logistic_regression", "--folds", "3", "--seed", "1", "-q"]
    found = run("cross-validate", atlas, "-l", "cell_type", *options, "-o", tmp_path / "f.csv", "--figure",
                tmp_path / "f.png")  # fmt: skip
    adata = gs.read_adata(atlas)
    gs.tl.cross_validate(adata, "cell_type", "logistic_regression", n_folds=3, rng=1, silent=True)
    right = (adata.obs["ginseng_cv_cell_type"].astype(str) == adata.obs["cell_type"].astype(str)).mean()
    assert found["accuracy"] == pytest.approx(right)
    assert pd.read_csv(tmp_path / "f.csv")["accuracy"].tolist() == [each["accuracy"] for each in found["folds"]]
    genes = run("select-genes", atlas, "-l", "cell_type", "--n-top-genes", "6", "-o", tmp_path / "s.h5ad")["genes"]
    gs.pp.select_markers(adata, "cell_type", 6, silent=True)
    assert genes == adata.var_names[adata.var["ginseng_genes"]].tolist()
    assert ad.read_h5ad(tmp_path / "s.h5ad").var["ginseng_genes"].tolist() == adata.var["ginseng_genes"].tolist()
    run("train", tmp_path / "s.h5ad", "-l", "cell_type", "-o", tmp_path / "m.h5", *FAST)
    assert sorted(gs.load_model(tmp_path / "m.h5").genes) == sorted(genes)


def test_audit(folder: Path, tmp_path: Path, run: Callable[..., Any]) -> None:
    adata = gs.read_adata(folder / "atlas.h5ad")
    given = adata.obs["cell_type"].astype(str).to_numpy()
    given[:6] = np.roll(given[:6], 1)
    adata.obs["given"] = given
    adata.write_h5ad(tmp_path / "given.h5ad")
    options = ["-l", "given", "--folds", "3", "--model", "logistic_regression", "-q"]
    found = run("audit", tmp_path / "given.h5ad", *options, "-o", tmp_path / "wrong.csv")
    expected: Any = gs.tl.audit_labels(adata, "given", model="logistic_regression", n_folds=3, silent=True)
    assert found["n_wrong"] == len(expected.wrong) >= 4
    table = pd.read_csv(tmp_path / "wrong.csv", index_col=0)
    assert table.index.tolist() == expected.wrong.index.tolist()
    assert table["likely"].tolist() == [each["likely"] for each in found["wrong"]]
    run("audit", tmp_path / "given.h5ad", *options, "-o", tmp_path / "audited.h5ad")
    obs = ad.read_h5ad(tmp_path / "audited.h5ad").obs
    assert obs["ginseng_audit_label"].tolist() == adata.obs["ginseng_audit_label"].tolist()


def test_levels(folder: Path, tmp_path: Path, run: Callable[..., Any]) -> None:
    adata = gs.read_adata(folder / "atlas.h5ad")
    adata.obs["broad"] = np.where(adata.obs["cell_type"] == "B cell", "B", "T or NK")
    adata.write_h5ad(tmp_path / "atlas.h5ad")
    run("convert", tmp_path / "atlas.h5ad", tmp_path / "store.zarr", "--levels", "broad", "cell_type")
    levels = ("--levels", "broad", "cell_type")
    for data, options in (("atlas.h5ad", levels), ("store.zarr", levels), ("store.zarr", ())):
        run("train", tmp_path / data, *options, "-o", tmp_path / "m.h5", *FAST, "--overwrite")
        run("annotate", folder / "query.h5ad", "-m", tmp_path / "m.h5", "-o", tmp_path / "q.csv", "-q", "--overwrite")
        table = pd.read_csv(tmp_path / "q.csv", index_col=0)
        assert set(table["broad"]) == {"B", "T or NK"}
        assert (table["broad_confidence"] >= table["confidence"] - 1e-6).all()


def test_map_genes_and_labels(tmp_path: Path, run: Callable[..., Any], fails: Callable[..., str]) -> None:
    adata = gs.datasets.pbmc68k()
    adata.write_h5ad(tmp_path / "a.h5ad")
    found = run("map-genes", tmp_path / "a.h5ad", "-o", tmp_path / "genes.csv")
    table = pd.read_csv(tmp_path / "genes.csv", index_col=0, keep_default_na=False)
    gs.pp.map_genes(adata)
    assert table["ginseng_ensembl"].tolist() == adata.var["ginseng_ensembl"].tolist()
    assert found["n_mapped"] == (adata.var["ginseng_ensembl"] != "").sum()
    run("map-genes", tmp_path / "a.h5ad", "--to", "entrez", "-o", tmp_path / "b.h5ad")
    assert ad.read_h5ad(tmp_path / "b.h5ad").var.loc["CD3D", "ginseng_entrez"] == "915"
    run("map-genes", tmp_path / "a.h5ad", "--rename", "-o", tmp_path / "c.h5ad")
    renamed = ad.read_h5ad(tmp_path / "c.h5ad")
    assert "ENSG00000167286" in renamed.var_names
    assert renamed.layers["counts"].sum() == adata.layers["counts"].sum()
    assert ".csv" in fails("map-genes", tmp_path / "a.h5ad", "--rename", "-o", tmp_path / "d.csv")

    mine = ("--crosswalk", "Dendritic=CL:0000451", "CD34+=CL:0000037")
    found = run("map-labels", tmp_path / "a.h5ad", "-l", "cell_type", *mine, "-o", tmp_path / "terms.csv")
    expected: Any = gs.tl.map_labels(
        adata, "cell_type", crosswalk=dict(m.split("=") for m in mine[1:]), return_table=True
    )
    assert [each["ontology_term_id"] for each in found["labels"]] == expected["ontology_term_id"].tolist()
    assert pd.read_csv(tmp_path / "terms.csv")["label"].tolist() == expected["label"].tolist()
    run("map-labels", tmp_path / "a.h5ad", "-l", "cell_type", *mine, "-o", tmp_path / "e.h5ad")
    terms = ad.read_h5ad(tmp_path / "e.h5ad").obs["cell_type_ontology_term_id"].astype(str)
    assert set(terms[adata.obs["cell_type"] == "Dendritic"]) == {"CL:0000451"}
    assert "--crosswalk" in fails("map-labels", tmp_path / "a.h5ad", "-l", "cell_type", "--crosswalk", "a=b")


def test_figures(annotated: Path, tmp_path: Path, run: Callable[..., Any], fails: Callable[..., str]) -> None:
    plots = {
        "embedding": ["--labels", "cell_type"],
        "confidence": ["--labels", "cell_type"],
        "composition": ["--groupby", "donor", "--ci", "0.9", "--title", "Composition by donor"],
        "confusion": ["--labels", "cell_type"],
        "clusters": ["--groupby", "donor"],
        "metrics": ["--labels", "cell_type", "--title", "Test cells"],
    }
    for kind, options in plots.items():
        run("plot", kind, annotated, *options, "-o", tmp_path / f"{kind}.svg")
        drawn = (tmp_path / f"{kind}.svg").read_text()
        assert "<svg" in drawn
        assert options[-2] != "--title" or f"{options[-1]}</text>" in drawn
    run("plot", "embedding", annotated, "--color", "donor", "confidence", "--columns", "1", "-o", tmp_path / "c.png")
    assert "--basis" in fails("plot", "confusion", annotated, "--basis", "umap", "-o", tmp_path / "x.png")
    assert "ginseng vote" in fails("plot", "vote", annotated, "-o", tmp_path / "x.png")


# -- terminals, pipes, signals -------------------------------------------------------------------------------------


def test_progress_is_a_line_per_epoch_without_a_terminal(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ginseng import _logging

    train = ["train", str(folder / "atlas.h5ad"), "-l", "cell_type", *FAST[:-1], "--overwrite", "-o"]
    assert main([*train, str(tmp_path / "a.h5")]) == 0
    printed = capsys.readouterr()
    assert [n for n in range(1, 5) if f"Epoch {n} " in printed.err] == [1, 2, 3]
    assert "\r" not in printed.err
    assert "Epoch" not in printed.out
    monkeypatch.setattr(_logging, "at_a_screen", lambda: True)
    assert main([*train, str(tmp_path / "a.h5")]) == 0
    printed = capsys.readouterr()
    assert "\r" in printed.err
    assert "Epoch 1 " not in printed.err
    monkeypatch.undo()
    assert main([*train, str(tmp_path / "a.h5"), "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_a_reader_that_has_had_enough(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it leaves in the pipe is no error, and nothing more is written to it."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        told = io.StringIO()
        monkeypatch.setattr(sys, "stderr", told)
        assert main(["annotate", str(folder / "query.h5ad"), "-m", str(folder / "model.h5"), "-o", "-", "-q"]) == 141
        assert main(["info", str(folder / "model.h5")]) == 0  # it leads nowhere now
        assert told.getvalue() == ""


def test_ctrl_c_in_a_process_of_its_own(folder: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "ginseng",
        "train",
        str(folder / "atlas.h5ad"),
        "-l",
        "cell_type",
        "--epochs",
        "100000",
    ]
    options = ["--set", "patience=100000", "--architecture", "linear", "-o", str(tmp_path / "m.h5")]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if "Epoch 2 " in line:
                break
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    told = [line for line in err.splitlines() if line.startswith("ginseng: ")]
    assert len(told) == 1
    assert "--resume" in told[0]
    assert "Traceback" not in err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_every_command(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(command in script for command in COMMANDS)
    assert "min-confidence" in script
    if shell == "bash" and shutil.which("bash"):
        complete = "$(complete -p ginseng | sed 's/.*-F \\([^ ]*\\).*/\\1/') ginseng cross ginseng"
        ask = f"COMP_WORDS=(ginseng cross); COMP_CWORD=1; {complete}"
        done = subprocess.run(
            ["bash", "-c", f"{script}\n{ask}\necho ${{COMPREPLY[@]}}"], capture_output=True, text=True
        )
        assert done.stdout.split() == ["cross-validate"], done.stderr


# -- messages --------------------------------------------------------------------------------------------------------

#: Python between backticks, or outside of them.
PYTHON = re.compile(r"`(?!ginseng |pip |python -c )[^`]*[(=\[][^`]*`|\b(?:adata|gs|sc|np)\.|\b[a-z]+_key\b|\w=\w")


@pytest.fixture(scope="module")
def odd(folder: Path) -> Path:
    """Add files to the folder that commands stumble over."""
    atlas = ad.read_h5ad(folder / "atlas.h5ad")
    logged = atlas.copy()
    logged.X = logged.X.log1p()
    logged.write_h5ad(folder / "logged.h5ad")
    del logged.layers["counts"]
    logged.write_h5ad(folder / "logged_only.h5ad")
    other = atlas.copy()
    other.var["symbols"] = [f"x{i}" for i in range(30)]
    other.var_names = [f"ENSG{i:011}" for i in range(30)]
    other.write_h5ad(folder / "ids.h5ad")
    foreign = ad.read_h5ad(folder / "query.h5ad")
    foreign.obs["ginseng_cell_type"] = "mine"
    foreign.write_h5ad(folder / "foreign.h5ad")
    negative = atlas.copy()
    negative.X = negative.X.toarray() - 1
    negative.write_h5ad(folder / "negative.h5ad")
    twice = ad.read_h5ad(folder / "query.h5ad")
    twice.obs_names = ["a", "a", *twice.obs_names[2:]]
    twice.write_h5ad(folder / "twice.h5ad")
    with h5py.File(folder / "loom.h5", "w") as file:
        file.create_group("col_attrs"), file.create_group("row_attrs")
    return folder


FAILING = [
    "train atlas.h5ad -o x.h5",
    "train atlas.h5ad -l nothing -o x.h5",
    "train atlas.h5ad -l cell_type --layer nothing -o x.h5",
    "train atlas.h5ad -l cell_type --gene-key nothing -o x.h5",
    "train atlas.h5ad -l cell_type --genes nothing -o x.h5",
    "train atlas.h5ad -l cell_type --groups nothing -o x.h5",
    "train atlas.h5ad -l cell_type --epochs 0 -o x.h5",
    "train atlas.h5ad -l cell_type --holdout 2 -o x.h5",
    "train atlas.h5ad -l cell_type --architecture nothing -o x.h5",
    "train atlas.h5ad -l cell_type --set nothing=1 -o x.h5",
    "train atlas.h5ad -l cell_type --set dropout_rate=7 -o x.h5",
    "train atlas.h5ad -l cell_type --set group_level=true -o x.h5",
    "train atlas.h5ad -l cell_type --checkpoint query.h5ad -o x.h5",
    "train logged.h5ad -l cell_type -o x.h5",
    "train logged_only.h5ad -l cell_type -o x.h5",
    "train negative.h5ad -l cell_type -o x.h5",
    "train loom.h5 -l cell_type -o x.h5",
    "train model.h5 -l cell_type -o x.h5",
    "annotate query.h5ad -m atlas.h5ad -o x.csv",
    "annotate logged.h5ad -m model.h5 -o x.csv",
    "annotate logged_only.h5ad -m model.h5 -o x.csv",
    "annotate ids.h5ad -m model.h5 -o x.csv",
    "annotate query.h5ad -m model.h5 --gene-key nothing -o x.csv",
    "annotate query.h5ad -m model.h5 --allowed nothing -o x.csv",
    "annotate query.h5ad -m model.h5 --min-confidence 2 -o x.csv",
    "annotate query.h5ad -m model.h5 --min-overlap 2 -o x.csv",
    "annotate query.h5ad -m model.h5 --key-added a/b -o x.h5ad",
    "annotate query.h5ad -m model.h5 --unassigned T/NK -o x.h5ad",
    "annotate foreign.h5ad -m model.h5 -o x.h5ad",
    "vote annotated.h5ad --groupby nothing -o x.csv",
    "vote query.h5ad --groupby cell_type -o x.csv",
    "vote annotated.h5ad --min-fraction 2 -o x.csv",
    "evaluate query.h5ad -l cell_type",
    "evaluate annotated.h5ad -l nothing",
    "cross-validate atlas.h5ad -l cell_type --folds 1000",
    "cross-validate atlas.h5ad -l cell_type --folds loo",
    "cross-validate atlas.h5ad -l cell_type --genes chosen --n-top-genes 3",
    "compare atlas.h5ad -l cell_type --models nothing",
    "compare atlas.h5ad -l cell_type --split 1 1 1",
    "compare atlas.h5ad -l cell_type --split-column nothing",
    "rank-genes query.h5ad -m model.h5 -o x.csv",
    "rank-genes annotated.h5ad -m model.h5 --n-genes 0 -o x.csv",
    "explain query.h5ad -m model.h5 --cells nobody",
    "explain twice.h5ad -m model.h5 --cells a",
    "explain query.h5ad -m model.h5 --cells cell1 --versus nothing",
    "embed ids.h5ad -m model.h5 -o x.csv",
    "uncertainty query.h5ad -m model.h5 --n-passes 1 -o x.csv",
    "select-genes query.h5ad -l nothing -o x.csv",
    "select-genes query.h5ad --n-top-genes 0 -o x.csv",
    "select-genes query.h5ad --batches nothing -o x.csv",
    "select-genes negative.h5ad -o x.csv",
    "plot embedding query.h5ad -o x.png",
    "plot embedding annotated.h5ad --basis nothing -o x.png",
    "plot confusion annotated.h5ad -o x.png",
    "plot vote annotated.h5ad -o x.png",
    "plot rank-genes annotated.h5ad -o x.png",
    "plot explain annotated.h5ad -o x.png",
    "plot highly-variable-genes query.h5ad -o x.png",
    "plot composition annotated.h5ad --groupby nothing -o x.png",
    "check ids.h5ad -m model.h5",
    "check logged_only.h5ad negative.h5ad loom.h5",
    "info query.h5ad",
    "convert atlas.h5ad x.zarr -l nothing",
    "convert loom.h5 x.h5ad",
    "convert query.h5ad x.h5ad --genome hg19",
]


@pytest.mark.parametrize("command", FAILING)
def test_no_failing_command_speaks_python(
    odd: Path, annotated: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    monkeypatch.chdir(odd)
    before = sorted(p.name for p in odd.iterdir() if not p.name.startswith("x."))
    main(shlex.split(command))
    printed = capsys.readouterr()
    said = printed.err + printed.out
    assert said.strip()
    assert "unexpected" not in said
    assert not re.search("Traceback|Error", said)
    assert not PYTHON.search(said), said
    assert sorted(p.name for p in odd.iterdir() if not p.name.startswith("x.")) == before


def messages() -> list[Any]:
    """Return each message of the package, with something for each value in it."""
    found = []
    for path in sorted(Path(gs.__file__).parent.rglob("*.py")):
        if path.parent.name in ("cli", "_v02"):
            continue
        tree = ast.parse(path.read_text())
        inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
        docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                text = "".join(_shown(part) for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner | docs:
                text = node.value
            else:
                continue
            if re.search("`.+`", text):
                found.append(pytest.param(text, id=f"{path.name}:{node.lineno}"))
    return found


def _shown(part: Any) -> str:
    if isinstance(part, ast.Constant):
        return str(part.value)
    if isinstance(part.value, ast.Name) and part.value.id in ("name", "parameter", "what"):
        return "'layer'" if part.conversion == ord("r") else "layer"
    value = "x" if isinstance(part.value, ast.Name | ast.Attribute | ast.Subscript | ast.Call) else "1"
    return repr(value) if part.conversion == ord("r") else value


#: What no command can bring about: the calls are of Python alone.
OF_PYTHON_ALONE = (
    "trainer.fit", "make_split", "read_adata`, which", "`backed`", "`copy", "classify(adata", "`ax`", "write_h5ad(...)",
    "Files are read with", "values.to_numpy", "get_context", "  # `.T`",
)  # fmt: skip


@pytest.mark.parametrize("message", messages())
def test_no_message_speaks_python(message: str) -> None:
    """Each message there is, also those that no test can bring about, and those that will be added."""
    from ginseng.cli._main import words

    if any(part in message for part in OF_PYTHON_ALONE):
        return
    said = words().say(message)
    assert not PYTHON.search(said), said
    for code in re.findall("`[^`]+`", message):  # what is left out has words before it that say what to do
        introduced = re.search(r"(?:[:,;(]|and|then|as by) ?" + re.escape(code), message)
        assert words().say(f"it: {code}.") != "it." or introduced
