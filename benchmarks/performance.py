"""Time and peak memory of every step on many cells, beside its limit on this machine and its peers in the same run.

    python benchmarks/performance.py FOLDER [--cells 100000] [--data FILE]

FOLDER takes the cells, resampled once from FILE (an h5ad of counts with `obs["cell_type"]`) or from the cells that
scanpy ships, what the steps write, and `performance.json`. Each step runs in a fresh process; its memory is the
largest resident set of that process. ginseng 0.2.1 and CellTypist run in environments of their own, which are made on
the first call from `requirements-*.txt` beside this file. Where FOLDER has a run of fewer cells, the table also has
how much memory and time grow.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import programs
from cells import pbmc68k, resample
from environments import interpreter

import ginseng as gs

BATCH = 128

#: What is asked for: (step, figure, method to compare with or None, at least so many times as good / at most so much).
#: One network has the ratios, and the default, which averages several, two fifths of them.
ASKED = [
    ("select_hvgs", "seconds", "ginseng021", 4),
    ("select_hvgs", "peak_mb", None, 700),
    ("store", "seconds", "ginseng021", 4),
    ("store", "mb_on_disk", "ginseng021", 3),
    ("stream", "seconds", "ginseng021", 150),
    ("stream", "seconds", None, "n_cells / 50_000"),
    ("training step, one member", "seconds", "ginseng021", 10),
    ("training step", "seconds", "ginseng021", 4),
    ("one epoch, one member", "seconds", "ginseng021", 60),
    ("one epoch", "seconds", "ginseng021", 24),
    ("train, one member", "seconds", "celltypist", 3),
    ("train", "seconds", "celltypist", 1.2),
    ("classify, one member", "seconds", "ginseng021", 30),
    ("classify", "seconds", "ginseng021", 12),
    ("classify, one member", "seconds", "celltypist", 5),
    ("classify", "seconds", "celltypist", 2),
    ("classify", "peak_mb", None, 1000),
    ("train, one member", "mb_on_disk", None, 6),
]
#: Growth of peak memory from 100,000 to 1,000,000 cells, MB.
GROWTH = 200


def run(python: str, code: str, folder: Path, n_cells: int) -> dict[str, float]:
    """Run a step in a fresh process, with the environment's own packages alone for peers."""
    env = {k: v for k, v in os.environ.items() if python == sys.executable or k != "PYTHONPATH"}
    command = [python, "-c", programs.PRELUDE + code, str(folder), str(n_cells)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if not lines:
        print(done.stderr[-2000:], file=sys.stderr)
        return {}
    found: dict[str, float] = json.loads(lines[-1].removeprefix("RESULT "))
    return found


def size_mb(path: Path) -> float:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(f.stat().st_size for f in files if f.is_file()) / 1e6


#: What a step leaves on disk.
WRITTEN = {
    ("store", "ginseng"): "store.zarr",
    ("store", "ginseng021"): "store.zarr021",
    ("train", "ginseng"): "model.h5",
    ("train, one member", "ginseng"): "model1.h5",
    ("one epoch", "ginseng021"): "model.h5021.h5",
    ("train", "celltypist"): "celltypist.pkl",
}


#: Rates of a product of matrices: floating point operations per second, and per second of a core.
RATES = ["flop_per_s", "flop_per_cpu_s"]


def multiplies(folder: Path, n_cells: int) -> np.ndarray:
    """Return the rates of a product of matrices."""
    found = run(sys.executable, programs.LIMITS["multiply"], folder, n_cells)
    return np.array([found.get(name, np.nan) for name in RATES])


def measure(args: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    """Yield a row for each step and method, peers right after ours.

    Steps whose limit is a product of matrices have its rate just before and after them, as the machine may do other
    work as well.
    """
    methods = {"ginseng": (sys.executable, programs.GINSENG)}
    if not args.no_peers:
        methods |= {
            "ginseng021": (interpreter("ginseng021", args.cache), programs.PREDECESSOR),
            "celltypist": (interpreter("celltypist", args.cache), programs.CELLTYPIST),
            "scanpy": (sys.executable, programs.SCANPY),
        }
    for step in args.steps or programs.GINSENG:
        for name, (python, steps) in methods.items():
            if step not in steps:
                continue
            multiplying = name == "ginseng" and step.startswith(("train", "one epoch", "classify"))
            rates = [multiplies(folder, args.cells)] if multiplying else []
            row = {"step": step, "method": name, **run(python, steps[step], folder, args.cells)}
            if multiplying:
                row |= dict(zip(RATES, ((rates[0] + multiplies(folder, args.cells)) / 2).tolist(), strict=True))
            if (step, name) in WRITTEN and (folder / WRITTEN[step, name]).exists():
                row["mb_on_disk"] = size_mb(folder / WRITTEN[step, name])
            print({k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()}, flush=True)
            yield row


def limits(folder: Path, n_cells: int, rows: list[dict[str, Any]]) -> dict[str, float]:
    """Return the seconds that each step takes at the least: reading, decoding and multiplying alone, on all cores."""
    read, decode = (
        run(sys.executable, programs.LIMITS[name], folder, n_cells).get("seconds", float("nan"))
        for name in ("read", "decode")
    )
    ours = {row["step"]: row for row in rows if row["method"] == "ginseng"}
    least = dict.fromkeys(["select_hvgs", "store", "store, from dask"], read) | {"stream": decode}
    for step, row in ours.items():
        if "flop_per_s" not in row:
            continue
        network = "training step" + (", one member" if step.endswith(", one member") else "")
        forward = 2 * ours.get(network, {}).get("n_parameters", float("nan")) / row["flop_per_s"]  # per cell
        epoch = max(decode, 3 * forward * row.get("n_train", n_cells))
        if step.startswith("training step"):
            least[step] = 3 * forward * BATCH
        elif step.startswith("classify"):
            least[step] = max(read, forward * n_cells)
        else:
            least[step] = row.get("epochs", 1) * epoch
    return least


def cpu_limit(row: dict[str, Any], n_parameters: float, n_cells: int) -> float:
    """Return the seconds of all cores that the products of a step take at the least.

    A share of these, unlike one of the time, is the same on a machine that does other work as well.
    """
    passes = 1 if row["step"].startswith("classify") else 3 * row.get("epochs", 1)
    return 2 * passes * n_parameters * row.get("n_train", n_cells) / row["flop_per_cpu_s"]


def verdicts(rows: list[dict[str, Any]], n_cells: int) -> Iterator[dict[str, Any]]:
    """Compare with what is asked for."""
    found = {(row["step"], row["method"]): row for row in rows}
    for step, figure, peer, asked in ASKED:
        ours = found.get((step, "ginseng"), {}).get(figure)
        theirs = found.get((step.removesuffix(", one member"), peer), {}).get(figure) if peer else None
        if ours is None or (peer and theirs is None):
            continue
        wanted = n_cells / 50_000 if isinstance(asked, str) else asked
        ratio = theirs / ours if peer else wanted / ours
        what = f">= {wanted:g} x {peer}" if peer else f"<= {wanted:g}"
        passed = ratio >= (wanted if peer else 1)
        yield {"step": step, "figure": figure, "asked": what, "ours": ours, "theirs": theirs, "ratio": ratio,
               "passed": bool(passed)}  # fmt: skip


def growth(folder: Path, n_cells: int, rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Compare with the run of the most cells among those of fewer."""
    sizes = [int(p.parent.name) for p in folder.parent.glob("*/performance.json") if p.parent.name.isdigit()]
    if not (fewer := [n for n in sizes if n < n_cells]):
        return
    n_before = max(fewer)
    before = json.loads((folder.parent / str(n_before) / "performance.json").read_text())["rows"]
    earlier = {row["step"]: row for row in before if row["method"] == "ginseng" and "peak_mb" in row}
    for row in rows:
        if row["method"] == "ginseng" and "peak_mb" in row and row["step"] in earlier:
            was = earlier[row["step"]]
            more = row["peak_mb"] - was["peak_mb"]
            yield {
                "step": row["step"], "from_cells": n_before, "to_cells": n_cells, "peak_mb": row["peak_mb"],
                "grown_mb": more, "passed": more < GROWTH, "times_as_long": row["seconds"] / was["seconds"],
                "times_the_cells": n_cells / n_before,
            }  # fmt: skip


def machine() -> dict[str, Any]:
    cpu = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"), "cpu": cpu[0] if cpu else platform.processor(),
        "cores": os.cpu_count(), "load": os.getloadavg()[0], "python": platform.python_version(),
        "ginseng": gs.__version__,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--data", type=Path, help="h5ad to resample; scanpy's 700 cells if left out")
    parser.add_argument("--cache", type=Path, default=Path(gs.settings.cache_dir) / "benchmarks", help="for peers")
    parser.add_argument("--no-peers", action="store_true", help="ours alone")
    parser.add_argument("--steps", nargs="*", choices=list(programs.GINSENG), help="only these")
    args = parser.parse_args()
    folder = args.folder / str(args.cells)
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "cells.h5ad").exists():
        resample(pbmc68k() if args.data is None else gs.read_adata(args.data), folder / "cells.h5ad", args.cells)
    if not (folder / "cells.zarr").exists() and any("zarr" in step for step in args.steps or programs.GINSENG):
        to_zarr(folder)
    about = machine()
    rows = list(measure(args, folder))
    least = limits(folder, args.cells, rows)
    for row in rows:
        if row["step"] in least and "seconds" in row:
            row["limit_seconds"] = least[row["step"]]
            row["share_of_limit"] = least[row["step"]] / row["seconds"]
    sizes = {row["step"]: row["n_parameters"] for row in rows if "n_parameters" in row and row["method"] == "ginseng"}
    for row in rows:
        network = "training step" + (", one member" if row["step"].endswith(", one member") else "")
        if "flop_per_cpu_s" in row and network in sizes and not row["step"].startswith("training step"):
            row["share_of_cpu_limit"] = cpu_limit(row, sizes[network], args.cells) / row["cpu_seconds"]
    ours = {row["step"]: row["seconds"] for row in rows if row["method"] == "ginseng" and "seconds" in row}
    for row in rows:
        if row["method"] != "ginseng" and "seconds" in row and row["step"] in ours:
            row["times_ours"] = row["seconds"] / ours[row["step"]]
    report = {
        "machine": about | {"load_after": os.getloadavg()[0]}, "cells": args.cells, "data": str(args.data or "pbmc68k"),
        "rows": rows, "asked": list(verdicts(rows, args.cells)), "growth": list(growth(folder, args.cells, rows)),
    }  # fmt: skip
    (folder / "performance.json").write_text(json.dumps(report, indent=1))
    print(json.dumps(report["machine"]))
    for part in ("rows", "asked", "growth"):
        print(
            f"\n{part}\n" + pd.DataFrame(report[part]).to_string(index=False, float_format="{:,.3g}".format, na_rep="")
        )


def to_zarr(folder: Path) -> None:
    """Write the cells as zarr too, part by part."""
    import anndata as ad
    import h5py
    import zarr
    from anndata.io import read_elem, sparse_dataset, write_elem

    with h5py.File(folder / "cells.h5ad") as file:
        root: Any = zarr.open_group(folder / "cells.zarr.partial", mode="w")
        adata = ad.AnnData(obs=read_elem(file["obs"]), var=read_elem(file["var"]))
        write_elem(root, "/", adata)
        x = sparse_dataset(file["X"])
        write_elem(root, "X", x[:20_000])
        for start in range(20_000, adata.n_obs, 20_000):
            sparse_dataset(root["X"]).append(x[start : start + 20_000])
    (folder / "cells.zarr.partial").rename(folder / "cells.zarr")


if __name__ == "__main__":
    main()
