"""Scripts of `benchmarks/` whose figures stand in the documentation."""

import importlib
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]


def test_the_tables_of_more_cells_are_those_of_the_script() -> None:
    script = runpy.run_path(str(ROOT / "benchmarks/capacity.py"))
    seconds = {step: value / script["MEASURED_CELLS"] for step, value in script["MEASURED"].items()}
    page = (ROOT / "docs/capacity.md").read_text()
    for n_cells in script["CELLS"]:
        assert script["table"](n_cells, seconds) in page


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
