"""Time and peak memory of every step on many cells, beside its limit on this machine and its peers in the same run.

    python benchmarks/performance.py FOLDER [--cells 100000] [--data FILE] [--few REFERENCE QUERY]

FOLDER takes the cells, resampled once from FILE (an h5ad of counts with `obs["cell_type"]`) or from the cells that
scanpy ships, as many others to label, what the steps write, and `performance.json`. Each step runs in a fresh process,
and compiles anew; its memory is the largest resident set of that process. ginseng 0.2.1, CellTypist, actinn-jax, brisc
and SingleR run in environments of their own, which are made on the first call from `requirements-*.txt` beside this
file. Where FOLDER has a run of fewer cells, the table also has how much memory and time grow.

The table of few cells, each method in a cold process from import to labels, is of the two files of `--few`, or of 2,400
and 2,600 of the resampled cells.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anndata as ad
import pandas as pd
import peers_many
import programs
import small
import tables
from cells import pbmc68k, resample
from environments import interpreter
from limits import RATES, add_limits, multiplies, rates
from processes import run

import ginseng as gs

#: What is asked for: (step, figure, method to compare with or None, at least so many times as good / at most so much,
#: or at least such a share). One network has the ratios, and the default, which averages several, two fifths of them.
ASKED = [
    ("select_hvgs", "cpu_seconds", "ginseng021", 4),
    ("select_hvgs", "peak_mb", None, 700),
    ("store", "cpu_seconds", "ginseng021", 4),
    ("store", "mb_on_disk", "ginseng021", 3),
    ("stream", "cpu_seconds", "ginseng021", 150),
    ("stream", "seconds", None, "n_cells / 50_000"),
    ("training step, one member", "cpu_seconds", "ginseng021", 10),
    ("training step", "cpu_seconds", "ginseng021", 4),
    ("one epoch, one member", "cpu_seconds", "ginseng021", 60),
    ("one epoch", "cpu_seconds", "ginseng021", 24),
    ("train, one member", "cpu_seconds", "celltypist", 3),
    ("train", "cpu_seconds", "celltypist", 1.2),
    ("classify, one member", "cpu_seconds", "ginseng021", 30),
    ("classify", "cpu_seconds", "ginseng021", 12),
    ("classify, one member", "cpu_seconds", "celltypist", 5),
    ("classify", "cpu_seconds", "celltypist", 2),
    ("classify", "peak_mb", None, 1000),
    ("train, one member", "mb_on_disk", None, 6),
    ("train", "share_of_cpu_limit", None, 0.5),
    ("train, compiled before", "share_of_cpu_limit", None, 0.5),
    ("classify", "share_of_cpu_limit", None, 0.45),
    ("classify, compiled before", "share_of_cpu_limit", None, 0.45),
    ("few cells", "import_seconds", None, 1.5),
    ("few cells", "train_seconds", None, 5),
    ("few cells", "train_compile_seconds", None, 1.5),
]
#: Growth of peak memory from 100,000 to 1,000,000 cells, MB.
GROWTH = 200


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


#: Programs are compiled anew by each process.
UNCACHED = {"JAX_ENABLE_COMPILATION_CACHE": "false"}
#: Steps that also run with the programs that an earlier process has kept, as they are from the second time on.
KEPT = ("train", "classify")


def measure(args: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    """Yield a row for each step and method, peers right after ours.

    Steps whose limit is a product of matrices have its rate just before and after them, as the machine may do other
    work as well.
    """
    methods = {"ginseng": (sys.executable, programs.GINSENG)}
    for name, steps in ({} if args.no_peers else peers_many.STEPS).items():
        environment = name.partition(",")[0]
        methods[name] = (sys.executable if name == "scanpy" else interpreter(environment, args.cache), steps)
    unfinished = set()
    for step in programs.GINSENG if args.steps is None else args.steps:
        for name, (python, steps) in methods.items():
            if step not in steps or name in unfinished:
                continue
            code, limit = programs.PRELUDE + steps[step], None if name == "ginseng" else args.limit
            for case, env in cases(step, name):
                before = rates(folder, args.cells) if name == "ginseng" and multiplies(step) else {}
                row = {"step": case, "method": name, **run(python, code, folder, args.cells, limit=limit, env=env)}
                if before:
                    after = rates(folder, args.cells)
                    row |= {rate: (before[rate] + after[rate]) / 2 for rate in RATES}
                if (case, name) in WRITTEN and (folder / WRITTEN[case, name]).exists():
                    row["mb_on_disk"] = size_mb(folder / WRITTEN[case, name])
                if "seconds" not in row:
                    unfinished.add(name)
                show(row)
                yield row


def cases(step: str, method: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the names of the runs of a step, and the environment variables of each."""
    if method != "ginseng" or step not in KEPT:
        yield step, UNCACHED
        return
    with tempfile.TemporaryDirectory() as cache:  # first empty, then filled
        for case in (step, f"{step}, compiled before"):
            yield case, {"GINSENG_CACHE_DIR": cache}


def few(args: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    """Yield a row for each method on few cells."""
    if args.few:
        reference, query = (ad.read_h5ad(path) for path in args.few)
        reference = reference[~reference.obs["batch"].isin(args.without)] if args.without else reference
    else:
        cells = gs.read_adata(folder / "cells.h5ad", backed=True)
        cells = cells[: small.N_REFERENCE + small.N_QUERY].to_memory()
        reference, query = cells[: small.N_REFERENCE], cells[small.N_REFERENCE :]
    print(f"Few cells: {reference.n_obs:,} to train on, {query.n_obs:,} to label", flush=True)
    environments = None if args.no_peers else args.cache
    for row in small.measure(reference, query, repeats=args.repeats, environments=environments, limit=args.limit):
        show(row)
        yield row


def show(row: dict[str, Any]) -> None:
    print({k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()}, flush=True)


def verdicts(rows: list[dict[str, Any]], n_cells: int) -> Iterator[dict[str, Any]]:
    """Compare with what is asked for."""
    found = {(row["step"], row["method"]): row for row in rows}
    for step, figure, peer, asked in ASKED:
        ours = found.get((step, "ginseng"), {}).get(figure)
        theirs = found.get((step.removesuffix(", one member"), peer), {}).get(figure) if peer else None
        if ours is None or (peer and theirs is None):
            continue
        wanted = n_cells / 50_000 if isinstance(asked, str) else asked
        is_share = figure.startswith("share")
        ratio = theirs / ours if peer else ours / wanted if is_share else wanted / ours
        what = f">= {wanted:g} x {peer}" if peer else f"{'>=' if is_share else '<='} {wanted:g}"
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
        "cores": len(os.sched_getaffinity(0)), "load": os.getloadavg()[0], "python": platform.python_version(),
        "ginseng": gs.__version__,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--data", type=Path, help="h5ad to resample; scanpy's 700 cells if left out")
    parser.add_argument("--cache", type=Path, default=Path(gs.settings.cache_dir) / "benchmarks", help="for peers")
    parser.add_argument("--no-peers", action="store_true", help="ours alone")
    parser.add_argument(
        "--steps", nargs="*", choices=list(programs.GINSENG), help="only these of many cells, into part.json"
    )
    parser.add_argument("--limit", type=int, default=600, help="seconds of all cores after which a peer is ended")
    parser.add_argument("--few", nargs=2, type=Path, metavar=("REFERENCE", "QUERY"), help="h5ad files of few cells")
    parser.add_argument("--without", nargs="*", help="batches (`obs['batch']`) of REFERENCE that are left out")
    parser.add_argument("--repeats", type=int, default=3, help="of each method on few cells; 0 for none")
    args = parser.parse_args()
    folder = args.folder / str(args.cells)
    prepare(folder, args.cells, args.data, programs.GINSENG if args.steps is None else args.steps)
    about, rows = machine(), list(measure(args, folder))
    add_limits(rows, folder, args.cells)
    if args.repeats:
        rows += few(args, folder)
    ours = {row["step"]: row for row in rows if row["method"] == "ginseng"}
    for row in rows:
        for figure in ("seconds", "cpu_seconds"):
            if row["method"] != "ginseng" and figure in row and figure in ours.get(row["step"], {}):
                row[f"{figure}_times_ours"] = row[figure] / ours[row["step"]][figure]
    report = {
        "machine": about | {"load_after": os.getloadavg()[0]}, "cells": args.cells, "data": str(args.data or "pbmc68k"),
        "few": [str(path) for path in args.few or ()], "rows": rows,
        "asked": list(verdicts(rows, args.cells)), "growth": list(growth(folder, args.cells, rows)),
    }  # fmt: skip
    # a part does not replace what was measured in one run
    (folder / ("performance.json" if args.steps is None else "part.json")).write_text(json.dumps(report, indent=1))
    print(json.dumps(report["machine"]))
    print(f"\n{tables.many(rows)}\n\n{tables.few(rows)}")
    for part in ("asked", "growth"):
        table = pd.DataFrame(report[part])
        print(f"\n{part}\n" + table.to_string(index=False, float_format="{:,.3g}".format, na_rep=""))


def prepare(folder: Path, n_cells: int, data: Path | None, steps: Iterable[str]) -> None:
    """Write the cells that the steps read, once."""
    folder.mkdir(parents=True, exist_ok=True)
    steps = list(steps)
    labelled = any(step.startswith(("classify", "reference")) for step in steps)
    zarr = any("zarr" in step for step in steps)
    for seed, name in enumerate(("cells", "query") if labelled else ("cells",)):
        if not (folder / f"{name}.h5ad").exists():
            real = pbmc68k() if data is None else gs.read_adata(data)
            resample(real, folder / f"{name}.h5ad", n_cells, seed)
        if zarr and not (folder / f"{name}.zarr").exists():
            to_zarr(folder / f"{name}.h5ad")


def prepare_trained(folder: Path, n_cells: int, data: Path | None, made: Iterable[str]) -> None:
    """Write cells and those of `genes.npy`, `store.zarr` and `model.h5` that are asked for, once."""
    prepare(folder, n_cells, data, ["classify"])
    for name, step in {"genes.npy": "select_hvgs", "store.zarr": "store", "model.h5": "train"}.items():
        if name in made and not (folder / name).exists():
            show({"step": step, **run(sys.executable, programs.PRELUDE + programs.GINSENG[step], folder, n_cells)})


def to_zarr(path: Path) -> None:
    """Write an h5ad as zarr too, part by part."""
    import anndata as ad
    import h5py
    import zarr
    from anndata.io import read_elem, sparse_dataset, write_elem

    partial = path.with_suffix(".zarr.partial")
    with h5py.File(path) as file:
        root: Any = zarr.open_group(partial, mode="w")
        adata = ad.AnnData(obs=read_elem(file["obs"]), var=read_elem(file["var"]))
        write_elem(root, "/", adata)
        x = sparse_dataset(file["X"])
        write_elem(root, "X", x[:20_000])
        for start in range(20_000, adata.n_obs, 20_000):
            sparse_dataset(root["X"]).append(x[start : start + 20_000])
    partial.rename(path.with_suffix(".zarr"))


if __name__ == "__main__":
    main()
