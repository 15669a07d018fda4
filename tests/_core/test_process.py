"""Processes forked after JAX was initialised."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import ginseng as gs

SCRIPT = r"""
import multiprocessing, sys, warnings
import numpy as np

def work(path, n_calls=2):
    import ginseng as gs
    adata, said = gs.datasets.pbmc68k()[:50].copy(), []
    calls = (
        lambda: gs.tl.classify(adata, path, layer="counts", silent=True),
        lambda: gs.tl.train(adata, "cell_type", layer="counts", architecture="linear", epochs=1, silent=True),
    )
    for call in calls[:n_calls]:
        try:
            call()
            said.append("done")
        except RuntimeError as error:
            said.append(str(error))
    return said

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    path, method, first = sys.argv[1:]
    if first == "yes":
        work(path, 1)
    with multiprocessing.get_context(method).Pool(1) as pool:
        print("\n".join(pool.apply_async(work, (path,)).get(60)))
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    adata = gs.datasets.pbmc68k()
    gs.tl.train(adata, "cell_type", architecture="linear", layer="counts", epochs=1, calibrate=False, silent=True)
    path = tmp_path_factory.mktemp("model") / "m.h5"
    gs.save_model(adata, path)
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("method", "first"), [("fork", "yes"), ("fork", "no"), ("spawn", "yes")])
def test_a_fork_after_jax_has_run_is_refused(model: Path, tmp_path: Path, method: str, first: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, script, model, method, first]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    classify, train = done.stdout.splitlines()
    if method == "fork" and first == "yes":
        assert "multiprocessing.get_context('spawn')" in classify
        assert "multiprocessing.get_context('spawn')" in train
    else:
        assert (classify, train) == ("done", "done")
