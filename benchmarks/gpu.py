"""Training and labelling on a GPU, on the CPU of the same machine, and a PyTorch MLP of the same size and steps.

    python benchmarks/gpu.py FOLDER [--cells 100000] [--data FILE] [--torch PYTHON] [--devices cpu]

Takes at most ten minutes on a machine with one NVIDIA GPU and 16 cores, and needs no network if PYTHON has PyTorch,
NumPy and SciPy; without `--torch`, an environment with them is made on the first call. Tests that compare with other
libraries run on the GPU first. Then everything is measured, each in a fresh process (`on_device.py`, `torch_mlp.py`);
what there is no time for is left out. FOLDER takes the cells, as in `performance.py`, and `gpu.json`. Without a GPU,
its rows are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import tables
from environments import HERE, interpreter
from performance import machine, prepare_trained, show
from processes import run

import ginseng as gs

#: What JAX calls the platforms, the first of which it uses.
PLATFORMS = {"gpu": "cuda,cpu", "cpu": "cpu"}
#: Networks, with their defaults.
NETWORKS = ["gated", "transformer"]
#: Epochs (few, many) whose difference is timed; the transformer takes longer.
EPOCHS = {
    ("gated", "gpu"): (3, 13), ("gated", "cpu"): (1, 3),
    ("transformer", "gpu"): (1, 4), ("transformer", "cpu"): (1, 2),
}  # fmt: skip
#: Cells for the transformer on a CPU, at most.
TRANSFORMER_CELLS = 20_000
#: Tests that compare labels, probabilities and weights with those of other libraries and of released versions.
TESTS = [
    "tests/_core", "tests/model/test_classifier.py", "tests/releases", "tests/train/test_trainer.py",
    "tests/tl/test_classify.py", "tests/tl/test_equal_answers.py",
]  # fmt: skip
#: Share of the time that the tests may take, and that one measurement may.
TESTS_SHARE, ROW_SHARE = 0.4, 0.25
#: Processes that run tests, on one GPU; and their environment: what they print counts if they are ended.
WORKERS = 4
SHARED = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "PYTHONUNBUFFERED": "1"}


def gpu_name() -> str | None:
    """Return the name of the GPU that JAX finds, if any, asked for in another process."""
    code = "import jax, json; d = jax.devices()[0]; print('RESULT', json.dumps({d.platform: d.device_kind}))"
    return run(sys.executable, code).get("gpu")


def test(timeout: float) -> dict[str, Any]:
    """Run the tests on the default device."""
    command = [sys.executable, "-m", "pytest", *TESTS, "-q", "--tb=short", "-p", "no:cacheprovider"]
    command += ["-n", str(WORKERS)] if find_spec("xdist") else []
    start = time.perf_counter()
    try:
        done = subprocess.run(
            command, cwd=HERE.parent, capture_output=True, text=True, timeout=timeout, env=os.environ | SHARED
        )
        said = done.stdout
    except subprocess.TimeoutExpired as error:
        said = (error.stdout or b"").decode()
    return {"seconds": time.perf_counter() - start, **outcome(said), "said": said[-20_000:]}


def outcome(said: str) -> dict[str, Any]:
    """Return how many tests passed, failed and so on; dots are counted if pytest was ended before its summary."""
    last = (said.strip().splitlines() or [""])[-1]
    counts = {what: int(n) for n, what in re.findall(r"(\d+) (passed|failed|errors?|skipped)", last)}
    if counts and " in " in last:
        return {"finished": True, **counts}
    dots = "".join(re.findall(r"^([.FEsx]+)(?: *\[ *\d+%\])?$", said, flags=re.M))
    return {"finished": False, "passed": dots.count("."), "failed": dots.count("F"), "errors": dots.count("E")}


def few_cells(folder: Path, n_cells: int) -> Path:
    """Return a folder with the first cells of the store and of the query, for networks that take long."""
    part = folder / f"first{n_cells}"
    if not (part / "genes.npy").exists():
        part.mkdir(exist_ok=True)
        genes = np.load(folder / "genes.npy")
        cells, query = (gs.read_adata(folder / f"{name}.h5ad", backed=True) for name in ("cells", "query"))
        first = cells[:n_cells].to_memory()
        gs.data.GinsengDataset.create(part / "store.zarr", first, "cell_type", genes=genes, overwrite=True, silent=True)
        query[:n_cells].to_memory().write_h5ad(part / "query.h5ad")
        np.save(part / "genes.npy", genes)
    return part


def save_for_torch(folder: Path, path: Path) -> None:
    """Write the counts of the store and of the query, with a random holdout of a twentieth."""
    store, query = ad.read_zarr(folder / "store.zarr"), gs.read_adata(folder / "query.h5ad", backed=True)
    arrays = {
        f"{name}_{part}": np.asarray(getattr(x, part))
        for name, x in (("cells", store.X), ("query", query[:, store.var_names].to_memory().X))
        for part in ("data", "indices", "indptr", "shape")
    }
    types = pd.Index(sorted(store.obs["cell_type"].astype(str).unique()))
    y, query_y = (types.get_indexer(a.obs["cell_type"].astype(str)) for a in (store, query))
    holdout = np.random.default_rng(0).random(store.n_obs) < 0.05
    np.savez(path, **arrays, y=y, query_y=query_y, holdout=holdout)


def measure(args: argparse.Namespace, folder: Path, devices: list[str], python: str | None) -> Iterator[dict[str, Any]]:
    """Yield a row for each network and device, that of the GPU first, and those of PyTorch."""
    code = (HERE / "on_device.py").read_text()
    row_limit = 60 * args.minutes * ROW_SHARE
    for device in devices:
        for network in args.networks:
            if args.end - time.monotonic() < 10:
                print(f"No time left for {network} on the {device}", flush=True)
                continue
            is_slow = network == "transformer" and device == "cpu" and args.cells > TRANSFORMER_CELLS
            cells = few_cells(folder, TRANSFORMER_CELLS) if is_slow else folder
            env = {"JAX_PLATFORMS": PLATFORMS[device], "GINSENG_CACHE_DIR": str(folder / "cache" / device)}
            given = (sys.executable, code, cells, network, *EPOCHS[network, device])
            found = best(
                run(*given, env=env, timeout=min(row_limit, args.end - time.monotonic())) for _ in range(args.repeats)
            )
            yield {"method": "ginseng", "network": network, "on": device, **found}
            if network == "gated" and python is not None and "n_parameters" in found:
                yield from by_torch(args, folder, python, device, found)


def by_torch(
    args: argparse.Namespace, folder: Path, python: str, device: str, ours: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Yield rows of PyTorch, with the size, batches and steps of ours."""
    path, code = folder / "torch.npz", (HERE / "torch_mlp.py").read_text()
    if not path.exists():
        save_for_torch(folder, path)
    size = [ours[name] for name in ("n_parameters", "batch_size", "steps")]
    for how in ("batches", "resident"):
        given = (python, code, path, "cuda" if device == "gpu" else device, how, *size)
        if args.end - time.monotonic() > 10:
            found = best(run(*given, timeout=args.end - time.monotonic()) for _ in range(args.repeats))
            yield {"method": "torch", "network": f"MLP, {how}", "on": device, **found}


def best(runs: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return the highest of each rate, as other work only lowers it, and all else of the first run."""
    first, *others = list(runs)
    rates = [name for name in first if "cells_per" in name]
    return first | {name: max(found.get(name, 0) for found in (first, *others)) for name in rates}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--data", type=Path, help="h5ad to resample; scanpy's 700 cells if left out")
    parser.add_argument("--devices", nargs="+", choices=list(PLATFORMS), default=list(PLATFORMS))
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--torch", metavar="PYTHON", help="interpreter that has PyTorch; '' for no comparison")
    parser.add_argument("--cache", type=Path, default=Path(gs.settings.cache_dir) / "benchmarks", help="for PyTorch")
    parser.add_argument("--no-tests", action="store_true", help="measure only")
    parser.add_argument("--repeats", type=int, default=1, help="of each measurement, of which the best counts")
    parser.add_argument("--minutes", type=float, default=9.5, help="after which nothing more is started")
    args = parser.parse_args()
    args.end = time.monotonic() + 60 * args.minutes
    folder = args.folder / str(args.cells)
    python = interpreter("torch", args.cache) if args.torch is None else args.torch or None
    prepare_trained(folder, args.cells, args.data, ("genes.npy", "store.zarr"))
    about, gpu, devices = machine(), None, list(args.devices)
    if "gpu" in devices and (gpu := gpu_name()) is None:
        print("JAX finds no GPU here: its rows are left out", flush=True)
        devices.remove("gpu")
    report: dict[str, Any] = {"machine": about, "gpu": gpu, "cells": args.cells, "rows": []}
    if gpu is not None and not args.no_tests:
        report["tests"] = test(60 * args.minutes * TESTS_SHARE)
        show({k: v for k, v in report["tests"].items() if k != "said"})
    for row in measure(args, folder, devices, python):
        show(row)
        report["rows"].append(row)
        (folder / "gpu.json").write_text(json.dumps(report, indent=1))
    about["load_after"] = os.getloadavg()[0]
    (folder / "gpu.json").write_text(json.dumps(report, indent=1))
    print(json.dumps(about), tables.devices(report), sep="\n\n")


if __name__ == "__main__":
    main()
