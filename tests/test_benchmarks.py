"""Scripts of `benchmarks/` whose figures stand in the documentation."""

import importlib
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import sparse

ROOT = Path(__file__).parents[1]


def test_the_tables_of_more_cells_are_those_of_the_script() -> None:
    script = runpy.run_path(str(ROOT / "benchmarks/capacity.py"))
    seconds = {step: value / script["MEASURED_CELLS"] for step, value in script["MEASURED"].items()}
    page = (ROOT / "docs/capacity.md").read_text()
    for n_cells in script["CELLS"]:
        assert script["table"](n_cells, seconds) in page


def test_a_measured_gpu_has_no_lower_bounds() -> None:
    script = runpy.run_path(str(ROOT / "benchmarks/capacity.py"))
    seconds = {step: value / script["MEASURED_CELLS"] for step, value in script["MEASURED"].items()}
    rates = {"train_cells_per_s": 1e6, "label_cells_per_s": 2e5}
    rows = [{"network": "gated", "on": "cpu"}, {"network": "gated", "on": "gpu", **rates}]
    on_gpu = script["measured_on_gpu"]({"rows": rows})
    before, after = (
        {line.split("|")[1].strip(): line for line in script["table"](100_000_000, seconds, given).splitlines()}
        for given in ({}, on_gpu)
    )
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"one GPU, 16 cores"}
    cells = [cell.strip() for cell in after["one GPU, 16 cores"].split("|")]
    assert cells[4:6] == ["5 min", "8 min"]  # 3 epochs of 100 s, and 500 s
    assert not any(">" in cell for cell in cells)


def test_the_order_of_training_is_as_good_as_random() -> None:
    script = runpy.run_path(str(ROOT / "benchmarks/schedule.py"))
    n = 300_000
    labels = script["labels_of"](n, "as written", np.random.default_rng(1))
    found = script["replay"](labels, seed=0, epoch=0)
    order = np.random.default_rng(2)
    by_chance = [int((np.diff(order.permutation(labels).astype(int)) != 0).sum()) + 1 for _ in range(20)]
    assert abs(found["runs"] - np.mean(by_chance)) < 5 * np.std(by_chance)
    assert abs(found["runs_of_a_random_order"] - np.mean(by_chance)) < 2 * np.std(by_chance)
    rows = np.concatenate(list(script["stream"](n, seed=0, epoch=0)))
    np.testing.assert_array_equal(np.sort(rows), np.arange(n))
    windows = script["replay"](np.sort(labels), seed=0, epoch=0)
    assert windows["classes_absent_per_batch"] > found["classes_absent_per_batch"] + 1


def test_a_process_is_timed_and_ended(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    run = importlib.import_module("processes").run
    found = run(sys.executable, "import sys, time; time.sleep(.3); print('RESULT {\"n\": ' + sys.argv[1] + '}')", 7)
    assert found["n"] == 7
    assert found["process_seconds"] > 0.3
    assert found["process_cpu_seconds"] > 0
    assert run(sys.executable, "while True: pass", limit=1) == {"unfinished_cpu_seconds": 1}
    assert run(sys.executable, "1 / 0") == {"failed": "ZeroDivisionError: division by zero"}
    waits = "import time; print('RESULT {\"n\": 1}', flush=True); time.sleep(60)"
    assert run(sys.executable, waits, timeout=0.5) == {"n": 1, "unfinished_seconds": 0.5}
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_shares_of_what_the_machine_can_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    limits = importlib.import_module("limits")
    monkeypatch.setattr(limits, "run", lambda *_: {"seconds": 1.0, "cpu_seconds": 2.0})
    rates = {"flop_per_s": 2e11, "flop_per_cpu_s": 1e11, "n_parameters": 1_000_000}
    rows = [
        {"step": "store", "method": "ginseng", "seconds": 10.0, "cpu_seconds": 4.0},
        {"step": "store", "method": "celltypist", "seconds": 10.0, "cpu_seconds": 4.0},
        {"step": "train", "method": "ginseng", "seconds": 8.0, "cpu_seconds": 12.0, "epochs": 2, "n_train": 90_000}
        | rates,
        {"step": "classify", "method": "ginseng", "seconds": 2.0, "cpu_seconds": 10.0} | rates,
    ]  # fmt: skip
    limits.add_limits(rows, tmp_path, 100_000)
    shares = [(row.get("share_of_limit"), row.get("share_of_cpu_limit")) for row in rows]
    # 2 passes of 3 products of 2 FLOP per weight and cell, 90,000 cells: 1.08 TFLOP; 1 product, 100,000 cells: .2 TFLOP
    assert shares == [(0.1, 0.5), (None, None), (5.4 / 8, 10.8 / 12), (0.5, 0.2)]


def test_the_time_that_a_device_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    script = importlib.import_module("on_device")
    rng = np.random.default_rng(0)
    for _ in range(20):  # compared with a tick of one
        first = rng.integers(0, 90, 12)
        spans, start = [(int(a), int(a + n)) for a, n in zip(first, rng.integers(0, 12, 12), strict=True)], 20
        end = max(last for _, last in spans)
        busy = {tick for a, b in spans for tick in range(a, b)}
        idle = sum(tick not in busy for tick in range(start, end))
        assert script.share_waiting(spans, start) == pytest.approx(idle / (end - start))

    def line(name: str, *events: tuple[str, float, float]) -> SimpleNamespace:
        found = [SimpleNamespace(name=what, start_ns=start, duration_ns=long) for what, start, long in events]
        return SimpleNamespace(name=name, events=found)

    host = line("python", ("fit", 0, 9), ("PjitFunction(train_window)", 5, 1), ("PjitFunction(train_window)", 2, 1))
    threads = line("tf_XLAEigen/7", ("dot.1", 3, 2))
    stream = line("Stream #2(Compute,MemcpyH2D)", ("gemm", 4, 3), ("MemcpyH2D", 0, 4))
    cpu = SimpleNamespace(name="/host:CPU", lines=[host, threads])
    gpu = SimpleNamespace(name="/device:GPU:0", lines=[stream])
    assert script.spans_of(SimpleNamespace(planes=[cpu])) == ([(3, 5)], 2)
    assert script.spans_of(SimpleNamespace(planes=[cpu, gpu])) == ([(4, 7)], 2)


def test_the_perceptron_is_as_large_and_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    script = importlib.import_module("torch_mlp")
    for n_genes, n_classes, wanted in ((2_500, 8, 1_704_880), (700, 30, 50_000)):
        h = script.width(wanted, n_genes, n_classes)
        sizes = [(g + 1) * h + (h + 1) * h + (h + 1) * n_classes for g, h in ((n_genes, h), (n_genes, h + 1))]
        assert abs(sizes[0] - wanted) < sizes[1] - sizes[0]
    counts = sparse.random(30, 50, 0.3, format="csr", random_state=0, data_rvs=lambda n: np.arange(1, n + 1) % 9 + 1)
    normalized = counts.toarray() / np.maximum(counts.toarray().sum(axis=1, keepdims=True), 1) * 1e4
    np.testing.assert_allclose(script.normalized(counts), np.log1p(normalized), rtol=1e-5)


def test_what_pytest_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    outcome = importlib.import_module("gpu").outcome
    whole = "...F.s [100%]\n== FAILURES ==\nF\n1 failed, 4 passed, 1 skipped in 2.10s\n"
    assert outcome(whole) == {"finished": True, "failed": 1, "passed": 4, "skipped": 1}
    ended = "....F..  [ 10%]\n..."
    assert outcome(ended) == {"finished": False, "passed": 9, "failed": 1, "errors": 0}


def test_cases_are_compared_with_the_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    script = importlib.import_module("scaling")
    (tmp_path / "scaling").mkdir()
    labels, confidence = np.array(["B", "T"]), np.array([0.5, 0.25])
    cases: dict[str, dict[str, Any]] = {
        "first": {"labels": labels, "confidence": confidence},
        "same": {"labels": labels, "confidence": confidence},
        "near": {"labels": labels, "confidence": confidence + np.array([0, 2e-7])},
        "other": {"labels": labels[::-1], "confidence": confidence},
    }
    for name, arrays in cases.items():
        np.savez(tmp_path / "scaling" / f"{name}.npz", **arrays)
    said = {name: script.compared(tmp_path, name, "first") for name in cases}
    assert said["same"] == said["first"] == "equal, confidence equal"
    assert said["near"] == "equal, confidence within 2e-07"
    assert said["other"] == "different labels, confidence equal"


def test_steps_of_all_ways_are_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which are opened as they say, and call what the table names."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    script = importlib.import_module("scaling")
    codes = {(step, way): script.code_of(step, way, "case") for step in script.STEPS for way in script.WAYS}
    for (step, way), code in codes.items():
        compile(code, step, "exec")
        assert ('backed="dask"' in code) == ("dask" in way)
        assert ("LocalCluster" in code) == ("processes" in way)
    assert len(set(codes.values())) == len(codes)


def test_what_has_no_figure_says_so_in_the_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    tables, gpu = (importlib.import_module(name) for name in ("tables", "gpu"))
    runs = [{"train_cells_per_s": rate, "train_cells_per_cpu_s": 7.0, "accuracy": rate / 1e4} for rate in (900, 1234)]
    rows = [
        {"method": "ginseng", "network": "gated", "on": "gpu", **gpu.best(runs)},
        {"method": "ginseng", "network": "transformer", "on": "cpu", "unfinished_seconds": 99.6},
    ]
    found = tables.devices({"gpu": "Card", "machine": {"cores": 16}, "cells": 5_000, "rows": rows}).splitlines()
    n_columns = found[0].count("|")
    assert [line.count("|") for line in found] == [n_columns] * 4
    assert [part in found[2] for part in ("Card", "1,234 (7)", "0.090")] == [True] * 3
    assert [part in found[3] for part in ("16 cores", "not finished after 100")] == [True] * 2
    ways = [
        {"step": "a", "how": "b", "seconds": 3.0, "cpu_seconds": 6.0, "peak_mb": 500, "result": "equal"}
        | {"again_seconds": 1.0, "again_cpu_seconds": 2.0},
        {"step": "a", "how": "c", "failed": "KeyError: 1"},
    ]
    found = tables.scaling(ways).splitlines()
    assert [line.count("|") for line in found] == [7] * 4
    assert "3.0 (1.0) | 6.0 (2.0) | 500 | equal" in found[2]
    assert "failed" in found[3]
