"""A process that has imported all, and runs tasks that fail or are killed: a request and an answer a line, in JSON.

A request has `task` (one of those below) and `path` (what it writes). With `at` and `error`, the call number `at` that
changes a file fails with that error; with `error` 0 it is the last. With `fork` the task runs in a child, which is
killed after `seconds` if they are given.
"""

import ctypes
import json
import mmap
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import anndata as ad

import ginseng as gs
from ginseng.data import GinsengDataset

faults = ctypes.CDLL(None)


def create(path: Path) -> None:
    GinsengDataset.create(path, path.with_name("cells.h5ad"), "cell_type", overwrite=True, rng=1, silent=True)


def train(path: Path) -> None:
    cells = ad.read_h5ad(path.with_name("cells.h5ad"))
    gs.tl.train(cells, "cell_type", architecture="linear", epochs=2, batch_size=16, silent=True)
    gs.save_model(cells, path)


def save(path: Path) -> None:
    gs.save_model(gs.load_model(path.with_name("new.h5")), path)


def annotate(path: Path) -> None:
    gs.classify(path, path.with_name("new.h5"), output=path, silent=True)


def run(task: str, path: str, at: int = 0, error: int = 0) -> dict[str, Any]:
    before = time.monotonic()
    faults.faults_arm(ctypes.c_long(at), error)
    try:
        globals()[task](Path(path))
        raised = None
    except Exception:  # noqa: BLE001
        raised = traceback.format_exc()
    calls = faults.faults_calls()
    faults.faults_arm(ctypes.c_long(0), 0)
    return {"raised": raised, "calls": calls, "seconds": time.monotonic() - before}


def killed(seconds: float | None = None, **request: Any) -> dict[str, Any]:
    shared = mmap.mmap(-1, 1000)
    pid = os.fork()
    if pid == 0:
        answer = run(**request)
        answer["raised"] = answer["raised"] and answer["raised"][-500:]
        shared.write(json.dumps(answer).encode())
        os._exit(0)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(pid, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return {"status": status, **json.loads(shared.read().rstrip(b"\0") or b"{}")}


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a task prints is no answer
    for line in sys.stdin:
        request = json.loads(line)
        answer = killed(**request) if request.pop("fork") else run(**request)
        print(json.dumps(answer), file=answers, flush=True)
