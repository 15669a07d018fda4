"""The same work in one process, by the workers of dask, on several simulated devices, and by two processes.

    python benchmarks/scaling.py FOLDER [--cells 100000] [--data FILE] [--parts dask devices processes]

FOLDER takes the cells, as in `performance.py`, whose FOLDER can be used again, and `scaling.json`. Each case runs in a
fresh process, which compiles anew, and its result is compared with that of the first case. With dask, the work is done
twice, the second time in processes that have imported and compiled everything. All cases share the cores of this
machine, so none can be faster for them: the table shows what the division costs. CPU seconds are of all processes.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import tables
from performance import UNCACHED, machine, prepare_trained, show
from processes import run
from programs import PRELUDE

#: Which arrays of a result must be equal; others are compared by their largest difference.
EXACT = ("labels", "genes", "data", "indices", "indptr", "rows")

#: Environment of each process: programs are compiled anew.
CPU = UNCACHED | {"JAX_PLATFORMS": "cpu"}

#: Runs before each case: `kept` writes what is compared, and `spread` measures work that others may take part in.
_COMMON = """
import ginseng as gs
from pathlib import Path
def kept(name, **arrays):
    Path(folder, "scaling").mkdir(exist_ok=True)
    np.savez(f"{folder}/scaling/{name}.npz", **arrays)
def labelled(given, model, name):
    table = gs.tl.classify(given, model, silent=True, return_table=True)
    kept(name, labels=table["cell_type"].astype(str).to_numpy(str), confidence=table["confidence"].to_numpy(float))
def used_by_this():
    import resource
    peak = int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) / 1024
    return time.process_time(), peak
def spread(f, client=None, again=False):
    workers = (lambda: list(client.run(used_by_this).values())) if client else list
    found = {}
    for name in ("", "again_") if again else ("",):
        before, start = [used_by_this(), *workers()], time.perf_counter()
        f()
        found[f"{name}seconds"], after = time.perf_counter() - start, [used_by_this(), *workers()]
        found[f"{name}cpu_seconds"] = sum(now[0] for now in after) - sum(then[0] for then in before)
        found["peak_mb"] = max(now[1] for now in after)
    print("RESULT", json.dumps(found))
"""

#: What is done with cells, given `cells(path)`, which opens them.
STEPS = {
    "classify": 'labelled(cells(query), model, "{case}")',
    "select_hvgs": """
adata = cells(h5ad)
gs.pp.select_hvgs(adata, 2500, silent=True)
kept("{case}", genes=adata.var["ginseng_genes"].to_numpy())
""",
    "select_markers": """
adata = cells(h5ad)
gs.pp.select_markers(adata, "cell_type", 2500, silent=True)
kept("{case}", genes=adata.var["ginseng_genes"].to_numpy())
""",
    "store": """
place, genes = f"{{folder}}/scaling/store.zarr", np.load(f"{{folder}}/genes.npy")
gs.data.GinsengDataset.create(place, cells(h5ad), "cell_type", genes=genes, overwrite=True, silent=True)
""",
}
#: What is compared, where reading it is no part of the work.
READ = {
    "store": """
made = ad.read_zarr(f"{{folder}}/scaling/store.zarr")
x = {{name: getattr(made.X, name) for name in ("data", "indices", "indptr")}}
kept("{case}", rows=made.obs["original_row"].to_numpy(), labels=made.obs["cell_type"].astype(str).to_numpy(str), **x)
"""
}
#: How cells are opened, and who works on them.
_HERE = "\n{run}\nspread(run, again=True)"
WAYS = {
    "in process, from the file": "cells = lambda path: gs.read_adata(path, backed=True)" + _HERE,
    "dask array, threads": 'cells = lambda path: gs.read_adata(path, backed="dask")' + _HERE,
    "dask, 2 processes of 1 thread": """
from distributed import Client, LocalCluster
cells = lambda path: gs.read_adata(path, backed="dask")
{run}
with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster:
    with Client(cluster) as client:
        client.wait_for_workers(2)
        spread(run, client, again=True)
""",
}
#: Labelling with a path, which is how a file is labelled without dask.
FROM_PATH = "cells = lambda path: path" + _HERE

_TRAIN = """
import jax
{before}
from ginseng.train import GinsengClassifierTrainer, GinsengClassifierTrainerSettings
epochs, name = int(sys.argv[3]), sys.argv[4]
settings = GinsengClassifierTrainerSettings(epochs=epochs, patience=epochs, calibrate=False, **{settings})
dataset = gs.data.GinsengDataset(store)
def run():
    global state, trainer
    trainer = GinsengClassifierTrainer(dataset, settings)
    state = trainer.fit(silent=True, checkpoint=False)[1]
spread(run)
weights = np.concatenate([np.asarray(a).ravel() for a in jax.tree.leaves(state.params)])
history = {{name: np.asarray(values, float) for name, values in state.history.items()}}
losses = {{name: history[name] for name in ("train_loss", "holdout_loss")}}
kept(name, weights=weights, **losses)
"""
_JOIN = """
jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize(sys.argv[5], int(sys.argv[6]), int(sys.argv[7]), shutdown_timeout_seconds=10)
"""


def code_of(step: str, way: str, case: str) -> str:
    """Return what a process runs for a step that is done in one of the `WAYS`."""
    frame = FROM_PATH if step == "classify" and way == next(iter(WAYS)) else WAYS[way]
    body = STEPS[step].format(case=case).strip().replace("\n", "\n    ")
    return PRELUDE + _COMMON + frame.format(run=f"def run():\n    {body}") + READ.get(step, "").format(case=case)


def compared(folder: Path, case: str, first: str) -> str:
    """Say how the arrays of a case differ from those of the first."""
    ours, theirs = (np.load(folder / "scaling" / f"{name}.npz") for name in (case, first))
    different = [name for name in theirs.files if name in EXACT and not np.array_equal(ours[name], theirs[name])]
    said = [f"different {name}" for name in different] or ["equal"] * any(name in EXACT for name in theirs.files)
    for name in theirs.files:
        if name not in EXACT:
            by = np.abs(ours[name] - theirs[name]).max()
            said.append(f"{name.replace('_', ' ')} " + ("equal" if by == 0 else f"within {by:.0e}"))
    return ", ".join(said)


def on_dask(folder: Path, n_cells: int) -> Iterator[dict[str, Any]]:
    """Yield a row for each step and way."""
    for step in STEPS:
        for i, way in enumerate(WAYS):
            case = f"{step}{i}"
            found = run(sys.executable, code_of(step, way, case), folder, n_cells, env=CPU)
            yield row(folder, step, way, case, f"{step}0", found)


def on_devices(folder: Path, n_cells: int, counts: list[int], epochs: int) -> Iterator[dict[str, Any]]:
    """Yield rows of training and labelling with several simulated devices."""
    train = PRELUDE + _COMMON + _TRAIN.format(before="", settings="{}")
    label = PRELUDE + _COMMON + "spread(lambda: labelled(query, model, sys.argv[3]))"
    for step, code in {f"train, {epochs} epochs": train, "classify": label}.items():
        for n in counts:
            case, first = (f"{step.split(',')[0]}_devices{i}" for i in (n, counts[0]))
            given = (epochs, case) if code is train else (case,)
            flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={n}"
            found = run(sys.executable, code, folder, n_cells, *given, env=CPU | {"XLA_FLAGS": flags})
            yield row(folder, step, f"{n} device{'s' * (n > 1)}", case, first, found)


def by_processes(folder: Path, n_cells: int, epochs: int) -> Iterator[dict[str, Any]]:
    """Yield rows of training in one process, of two streams of cells, and in two that read one each."""
    step = f"train, {epochs} epochs, 2 streams"
    code = PRELUDE + _COMMON + _TRAIN.format(before="", settings="{'n_streams': 2}")
    found = run(sys.executable, code, folder, n_cells, epochs, "processes_one", env=CPU)
    yield row(folder, step, "1 process", "processes_one", "processes_one", found)
    code = PRELUDE + _COMMON + _TRAIN.format(before=_JOIN, settings="{'n_streams': 2}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{free.getsockname()[1]}"

    def joined(i: int) -> dict[str, Any]:
        return run(sys.executable, code, folder, n_cells, epochs, f"process{i}", place, 2, i, env=CPU)

    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(joined, range(2)))
    if any("failed" in found for found in both):
        yield {"step": step, "how": "2 processes, gloo", **both[0], **both[1]}
        return
    summed = {name: max(found[name] for found in both) for name in ("seconds", "peak_mb")}
    summed["cpu_seconds"] = sum(found["cpu_seconds"] for found in both)
    each = row(folder, step, "2 processes, gloo", "process0", "processes_one", summed)
    yield each | {"result": f"{each['result']}; of the two: {compared(folder, 'process1', 'process0')}"}


def row(folder: Path, step: str, how: str, case: str, first: str, found: dict[str, Any]) -> dict[str, Any]:
    """Return a row of the table."""
    if "failed" in found:
        return {"step": step, "how": how, **found}
    return {"step": step, "how": how, **found, "result": "" if case == first else compared(folder, case, first)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--data", type=Path, help="h5ad to resample; scanpy's 700 cells if left out")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--devices", type=int, nargs="+", default=[1, 2, 4, 8], help="numbers of simulated devices")
    parser.add_argument("--parts", nargs="+", default=["dask", "devices", "processes"], help="which of these")
    args = parser.parse_args()
    folder = args.folder / str(args.cells)
    prepare_trained(folder, args.cells, args.data, ("genes.npy", "store.zarr", "model.h5"))
    about, path, ways = machine(), folder / "scaling.json", []
    parts = {
        "dask": lambda: on_dask(folder, args.cells),
        "devices": lambda: on_devices(folder, args.cells, args.devices, args.epochs),
        "processes": lambda: by_processes(folder, args.cells, args.epochs),
    }
    for part in args.parts:
        for found in parts[part]():
            show(found)
            ways.append({"part": part, **found})
            about["load_after"] = os.getloadavg()[0]
            path.write_text(json.dumps({"machine": about, "cells": args.cells, "ways": ways}, indent=1))
    print(json.dumps(about), tables.scaling(ways), sep="\n\n")


if __name__ == "__main__":
    main()
