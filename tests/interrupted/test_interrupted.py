"""Writers that fail or are killed at any moment: afterwards there is the old or the new, and nothing between."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest

import ginseng as gs
from ginseng.data import GinsengDataset

COMPILER = shutil.which("cc")
pytestmark = [
    pytest.mark.skipif(sys.platform != "linux" or COMPILER is None, reason="needs Linux and a C compiler"),
]
HERE = Path(__file__).parent


class Nursery:
    """A process that runs tasks; see nursery.py."""

    def __init__(self, library: Path, **environment: str) -> None:
        environment = {
            "LD_PRELOAD": str(library),
            "PYTHONPATH": str(Path(gs.__file__).parents[1]),
            "JAX_ENABLE_COMPILATION_CACHE": "false",  # its files would be counted among ours, and left half written
        } | environment
        self.process = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", "-W", "ignore", str(HERE / "nursery.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, **environment},
        )  # fmt: skip

    def __call__(self, task: str, path: Path, *, fork: bool = False, **how: Any) -> dict[str, Any]:
        assert self.process.stdin
        assert self.process.stdout
        print(json.dumps({"task": task, "path": str(path), "fork": fork, **how}), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        assert answer, f"the process ended with {self.process.wait()}"
        return json.loads(answer)

    def close(self) -> None:
        self.process.communicate()


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("faults") / "faults.so"
    subprocess.run([str(COMPILER), "-shared", "-fPIC", "-o", path, HERE / "faults.c", "-ldl"], check=True)
    return path


@pytest.fixture(scope="module")
def forking(library: Path) -> Iterator[Nursery]:
    """Return a nursery that never computes itself: JAX does not survive a fork once it has begun."""
    nursery = Nursery(  # what the first child compiles is there for all
        library,
        JAX_ENABLE_COMPILATION_CACHE="true",
        JAX_COMPILATION_CACHE_DIR=str(library.with_name("compiled")),
        JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0",
        JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES="-1",
    )
    yield nursery
    nursery.close()


@pytest.fixture(scope="module")
def failing(library: Path) -> Iterator[Nursery]:
    nursery = Nursery(library)
    yield nursery
    nursery.close()


@pytest.fixture(scope="module")
def originals(
    make_cells: Callable[..., ad.AnnData], state: gs.model.GinsengClassifierState,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:  # fmt: skip
    """Return a folder with what a task reads, and what it replaces: `create`, `train`, `save`, `annotate`."""
    folder = tmp_path_factory.mktemp("originals")
    make_cells(60).write_h5ad(folder / "cells.h5ad")
    gs.save_model(state, folder / "new.h5")
    GinsengDataset.create(folder / "create", make_cells(40), "cell_type", silent=True)
    state.info["note"] = "old"
    gs.save_model(state, folder / "old.h5")
    del state.info["note"]
    for name, source in {"train.h5": "old.h5", "save.h5": "old.h5", "annotate.h5ad": "cells.h5ad"}.items():
        shutil.copyfile(folder / source, folder / name)
    (folder / "create").rename(folder / "create.zarr")
    return folder


TARGETS = {"create": "create.zarr", "train": "train.h5", "save": "save.h5", "annotate": "annotate.h5ad"}


def is_new(task: str, path: Path) -> bool:
    """Tell whether the new is at `path`, or the old; it has to be one of them, and whole."""
    match task:
        case "create":
            dataset = GinsengDataset(path)
            adata = ad.read_zarr(path)
            assert len(dataset) in (40, 60)
            assert (np.asarray(adata.X.sum(axis=1)).ravel() == dataset.totals).all()
            assert (dataset.totals > 0).all()
            return len(dataset) == 60
        case "annotate":
            adata = ad.read_h5ad(path)
            before = ad.read_h5ad(path.with_name("cells.h5ad"))
            assert (adata.X != before.X).nnz == 0
            added = set(adata.obs) - set(before.obs)
            assert added in (set(), {"ginseng_cell_type", "ginseng_confidence"})
            assert bool(added) == ("ginseng" in adata.uns)
            return bool(added)
        case _:
            return gs.load_model(path).info.get("note") != "old"


@pytest.fixture
def target(request: pytest.FixtureRequest, originals: Path, in_memory: Path) -> Path:
    shutil.copytree(originals, in_memory / "work")  # to which a kill is the same
    return in_memory / "work" / TARGETS[request.getfixturevalue("task")]


def restore(target: Path, originals: Path) -> None:
    if target.is_dir():
        shutil.rmtree(target)
        shutil.copytree(originals / target.name, target)
    else:
        shutil.copyfile(originals / target.name, target)


def strangers(target: Path, originals: Path) -> set[str]:
    return set(os.listdir(target.parent)) - set(os.listdir(originals))


@pytest.mark.parametrize("task", TARGETS)
def test_killed(task: str, forking: Nursery, target: Path, originals: Path, long: bool) -> None:
    """Half of the kills come at any time, and half at any call that changes a file."""
    assert forking(task, target, fork=True)["raised"] is None  # compiles
    restore(target, originals)
    whole = forking(task, target, fork=True, at=10**9, error=0)
    assert (whole["status"], whole["raised"]) == (0, None)
    assert is_new(task, target)
    restore(target, originals)
    chance = random.Random(0)
    n, n_killed = (200 if long else 6), 0
    for i in range(n):
        if i % 2:
            answer = forking(task, target, fork=True, at=chance.randint(1, whole["calls"]), error=0)
            assert answer["status"] == -9
        else:
            answer = forking(task, target, fork=True, seconds=chance.uniform(0, whole["seconds"]))
            assert answer["status"] in (0, -9)
        n_killed += answer["status"] == -9
        is_new(task, target)
        restore(target, originals)
    assert n_killed > n / 2
    # the next writer clears up
    assert forking(task, target, fork=True)["raised"] is None
    assert is_new(task, target)
    assert strangers(target, originals) == set()


@pytest.mark.parametrize("task", TARGETS)
def test_every_call_fails_once(task: str, failing: Nursery, target: Path, originals: Path, long: bool) -> None:
    """Of the calls that write, wait for the disk, rename, or make a folder.

    A store takes over 600 of them; where there is no time for all, every so many and the last ones.
    """
    whole = failing(task, target, at=10**9)
    assert whole["raised"] is None
    assert is_new(task, target)
    assert whole["calls"] > 5
    restore(target, originals)
    errors = (errno.ENOSPC, errno.EIO, errno.EACCES)
    new_at, last = set(), whole["calls"]
    for at in sorted(
        {*range(1, last + 1, 1 if long or last < 100 else last // 10), *range(max(1, last - 8), last + 1)}
    ):
        for error in errors if long else [errors[at % 3]]:
            answer = failing(task, target, at=at, error=error)
            new = is_new(task, target)
            assert new or answer["raised"], f"call {at} failed with {errno.errorcode[error]}, and nothing was said"
            assert new or strangers(target, originals) == set()  # else the old, which the next writer removes
            if new:
                new_at.add(at)
                restore(target, originals)
    assert len(new_at) <= 10  # what fails once the new is in its place, or only clears up
