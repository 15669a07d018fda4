"""Processes forked after JAX was initialised."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

import ginseng as gs
from ginseng._core.process import prepare

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


COMPILED = r"""
import sys
from pathlib import Path
import jax
from jax._src import monitoring
from ginseng._core.process import prepare

jax.jit(lambda x: x + 1)(1.0)  # the user's own, before
hits = []
monitoring.register_event_listener(lambda name, **_: hits.append(name) if "cache_hits" in name else None)
prepare(Path(sys.argv[1]))
jax.jit(lambda x: x + 2)(1.0)
print(len(hits), jax.config.jax_compilation_cache_dir)
"""


def test_programs_are_kept_for_later_processes(tmp_path: Path) -> None:
    """In the cache, unless the user keeps them elsewhere or not at all."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    env["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"

    def run(**more: str) -> list[str]:
        command = [sys.executable, "-c", COMPILED, str(tmp_path / "cache")]
        return subprocess.run(command, env=env | more, check=True, capture_output=True, text=True).stdout.split()

    hits, kept = run()
    assert int(hits) == 0
    assert list(Path(kept).iterdir())
    assert Path(kept).is_relative_to(tmp_path / "cache")
    assert run() == ["1", kept]
    assert run(JAX_ENABLE_COMPILATION_CACHE="false") == ["0", "None"]


def test_programs_are_kept_where_the_user_says(tmp_path: Path) -> None:
    elsewhere = jax.config.jax_compilation_cache_dir  # of the tests
    assert elsewhere is not None
    prepare(tmp_path / "cache")
    assert jax.config.jax_compilation_cache_dir == elsewhere
    assert not (tmp_path / "cache").exists()
