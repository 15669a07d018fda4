"""Scripts of `benchmarks/` whose figures stand in the documentation."""

import runpy
from pathlib import Path

import numpy as np

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
