"""Training on several devices, and with several processes, gives what one device gives."""

import json
import pickle
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import ginseng as gs
from ginseng.data import GinsengDataset, _batches

sys.path.insert(0, str(Path(__file__).parent))
import worker

SMALL = {"hidden_dim": 16, "gate_dim": 4}
NOISE = {"rate": 0.1, "fold_change": 0.3}
#: Batches that cannot be split evenly over eight devices, and noise, which is drawn by place in the batch.
GATED: dict[str, Any] = {"epochs": 2, "batch_size": 100, "config": SMALL, "balance_by": "weights", **NOISE}
LBFGS: dict[str, Any] = {"architecture": "linear", "solver": "lbfgs", "C": 1e-4}
TRANSFORMER: dict[str, Any] = {"epochs": 1, "batch_size": 100, "architecture": "transformer"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("devices") / "cells.zarr"
    return GinsengDataset.create(path, gs.datasets.pbmc68k(), "cell_type", silent=True).path


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in worker.BLOCKS.items():
        monkeypatch.setattr(_batches, name, value)


def start(store: Path, name: str, runs: list[dict[str, Any]], **how: Any) -> tuple[subprocess.Popen[str], Path]:
    out = store.with_name(name)
    how |= {"store": str(store), "out": str(out), "runs": runs}
    command = [sys.executable, worker.__file__, json.dumps(how)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True), out


def finished(process: subprocess.Popen[str], out: Path) -> list[dict[str, Any]]:
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return pickle.loads(out.read_bytes())


def places(n: int) -> list[tuple[str, int, int]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return [(f"127.0.0.1:{port}", n, i) for i in range(n)]


def together(store: Path, runs: list[dict[str, Any]], **how: Any) -> list[list[dict[str, Any]]]:
    """Train in two processes, and return what each found."""
    started = [start(store, f"{place[2]}.pkl", runs, place=place, **how) for place in places(2)]
    return [finished(*each) for each in started]


def assert_alike(found: dict[str, Any], one: dict[str, Any]) -> None:
    for name in one["history"].keys() - {"epoch"}:  # of L-BFGS, the number of iterations
        np.testing.assert_allclose(found["history"][name], one["history"][name], rtol=0, atol=1e-5)


def assert_same(found: dict[str, Any], other: dict[str, Any]) -> None:
    jax.tree.map(np.testing.assert_array_equal, found["params"], other["params"])
    for name, values in other["history"].items():
        np.testing.assert_array_equal(found["history"][name], values)


def check_devices(store: Path, runs: list[tuple[dict[str, Any], str]]) -> None:
    """Train with windows of these forms on eight devices, as on one with dense windows."""
    settings, forms = map(list, zip(*runs, strict=True))
    many = finished(*start(store, "many.pkl", settings, devices=8, labels=True, forms=forms))
    single = worker.train(str(store), settings, {}, labels=True)
    for given, found, one in zip(settings, many, single, strict=True):
        if "solver" not in given:
            assert found["split"] == {8}
            assert found["copied"]
            assert found["programs"] == 1
        assert_alike(found, one)
        np.testing.assert_array_equal(found["labels"], one["labels"])
        for name in ("confidence", "dropout", "embedding"):
            np.testing.assert_allclose(found[name], one[name], rtol=0, atol=1e-3)


def test_eight_devices_give_what_one_gives(store: Path) -> None:
    check_devices(store, [(GATED | {"calibrate": False}, "sparse")])


@pytest.mark.slow
def test_eight_devices_share_a_transformer_a_minimum_and_calibration(store: Path) -> None:
    check_devices(store, [(GATED, "dense"), (TRANSFORMER, "indices"), (LBFGS, "dense")])


def test_two_processes_give_what_one_gives(store: Path) -> None:
    first, second = (found[0] for found in together(store, [GATED]))
    assert first["n_streams"] == 2
    assert first["split"] == {2}
    assert_same(first, second)
    assert_alike(first, worker.train(str(store), [GATED | {"n_streams": 2, "calibrate": False}], {})[0])


@pytest.mark.slow
def test_two_processes_are_two_devices(store: Path) -> None:
    runs = [GATED | {"n_streams": 2}, GATED | {"n_streams": 1}, LBFGS]
    (first, second), devices = together(store, runs), finished(*start(store, "devices.pkl", runs, devices=2))
    for found in zip(first, second, devices, strict=True):
        assert_same(found[0], found[1])
        assert_same(found[0], found[2])


@pytest.mark.slow
@pytest.mark.parametrize("lost", [0, 1])
def test_a_lost_process_ends_the_run_which_resumes(store: Path, tmp_path: Path, lost: int) -> None:
    runs, arguments = [GATED | {"epochs": 3}], {"checkpoint": str(tmp_path / "run.h5")}
    whole = together(store, runs)[0][0]
    ends: list[dict[str, Any]] = [{"lost_at": 10} if i == lost else {} for i in range(2)]
    started = [
        start(store, "lost.pkl", runs, place=place, arguments=arguments, **end)[0]
        for place, end in zip(places(2), ends, strict=True)
    ]
    said = [process.communicate(timeout=120)[0] for process in started]
    assert started[lost].returncode == -signal.SIGKILL
    assert started[1 - lost].returncode not in (0, -signal.SIGKILL)
    assert "LostProcessError" in said[1 - lost]
    assert arguments["checkpoint"] in said[1 - lost]
    first, second = together(store, runs, arguments=arguments | {"resume": True})
    assert_same(first[0], whole)
    assert_same(second[0], whole)
