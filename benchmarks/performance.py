"""Time and peak memory of every step on many cells, beside the predecessor and CellTypist in the same run.

    python benchmarks/performance.py FOLDER [--cells 100000] [--peers NAME=PYTHON ...]

FOLDER takes the synthetic h5ad (made once) and what is written. Each step runs in a process of its own; its memory is
the largest resident set of that process. `--peers ginseng021=PYTHON celltypist=PYTHON` names interpreters in whose
environments ginseng 0.2.1 and CellTypist are installed; their rows then stand beside ours, as ratios.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

N_GENES, N_TOP, N_CLASSES, BATCH = 20_670, 2500, 16, 128

#: Runs before each step. `measured` times the step alone, and prints seconds and peak memory.
PRELUDE = """
import sys, time, json, warnings
warnings.simplefilter("ignore")
folder, n_cells = sys.argv[1], int(sys.argv[2])
h5ad, store, model = f"{folder}/cells.h5ad", f"{folder}/store.zarr", f"{folder}/model.h5"
import numpy as np, anndata as ad
def peak_mb():
    return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) / 1024
def measured(f, **more):
    start = time.perf_counter()
    found = f()
    seconds = time.perf_counter() - start
    print("RESULT", json.dumps({"seconds": seconds, "peak_mb": peak_mb(), **(found or {}), **more}))
"""

OURS = {
    "select_hvgs": """
import ginseng as gs
adata = gs.read_adata(h5ad, backed=True)
measured(lambda: gs.pp.select_hvgs(adata, 2500, silent=True))
np.save(f"{folder}/genes.npy", adata.var["ginseng_genes"].to_numpy())
""",
    "store": """
import ginseng as gs, os
adata = gs.read_adata(h5ad, backed=True)
genes = np.load(f"{folder}/genes.npy")
create = gs.data.GinsengDataset.create
measured(lambda: create(store, adata, "cell_type", genes=genes, overwrite=True, silent=True) and None)
""",
    "stream": """
import ginseng as gs
dataset = gs.data.GinsengDataset(store)
def run():
    start, n = time.perf_counter(), 0
    for x, y in dataset.stream(128, "all"):
        n += len(y)
    return {"cells_per_s": n / (time.perf_counter() - start)}
measured(run)
""",
    "one epoch": """
import ginseng as gs
dataset = gs.data.GinsengDataset(store)
measured(lambda: gs.tl.train(dataset, epochs=1, silent=True) and None)
""",
    "train": """
import ginseng as gs
dataset = gs.data.GinsengDataset(store)
def run():
    state = gs.tl.train(dataset, silent=True)
    gs.save_model(state, model)
    return {"holdout_accuracy": float(state.history["holdout_accuracy"][-1]), "epochs": len(state.history["epoch"])}
measured(run)
""",
    "classify": """
import ginseng as gs
def run():
    table = gs.classify(h5ad, model, silent=True)
    true = ad.io.read_h5ad(h5ad, backed="r").obs["cell_type"].astype(str).to_numpy()
    return {"accuracy": float((table["cell_type"].astype(str).to_numpy() == true).mean())}
measured(run)
""",
}

PREDECESSOR = {
    "select_hvgs": """
from ginseng.data.io import read_adata
from ginseng.utils import select_hvgs
adata = read_adata(h5ad, backed=True)
measured(lambda: select_hvgs(adata, n_top_genes=2500, silent=True))
np.save(f"{folder}/genes021.npy", adata.var["ginseng_genes"].to_numpy())
""",
    "store": """
from ginseng.data import GinsengDataset
from ginseng.data.io import read_adata
adata = read_adata(h5ad, backed=True)
adata.var["mask"] = np.load(f"{folder}/genes021.npy")
measured(lambda: GinsengDataset.create(store + "021", adata, "cell_type", genes="mask") and None)
""",
    "stream": """
from ginseng.data import GinsengDataset
dataset = GinsengDataset(store + "021")
def run():  # a few batches: it reads nearly all of the store for each
    start, n = time.perf_counter(), 0
    for x, y in dataset.stream(128, "all"):
        n += len(y)
        if time.perf_counter() - start > 20:
            break
    rate = n / (time.perf_counter() - start)
    return {"cells_per_s": rate, "seconds": n_cells / rate}
found = run()
measured(lambda: found, **found)
""",
    "one epoch": """
from ginseng.data import GinsengDataset
from ginseng.train import GinsengClassifierTrainer, GinsengClassifierTrainerSettings
import ginseng.data.dataset as module
dataset = GinsengDataset(store + "021")
trainer = GinsengClassifierTrainer(dataset, GinsengClassifierTrainerSettings(balance_train=False))
stream, most = dataset.stream, 60
def few(*args, **kwargs):
    for i, batch in enumerate(stream(*args, **kwargs)):
        if i == most:
            return
        yield batch
dataset.stream = few
def run():  # a fit of 60 batches, training and holdout, carried forward to all cells
    start = time.perf_counter()
    model, state = trainer.fit(epochs=1, silent=True)
    spent = time.perf_counter() - start
    from ginseng.data.io import save_model
    save_model(state, model_file)
    return {"seconds": spent * n_cells / (2 * most * 128)}
model_file = model + "021.h5"
found = run()
measured(lambda: found, **found)
""",
    "classify": """
import ginseng
from ginseng.data.io import load_model, read_adata
state = load_model(model + "021.h5")
measured(lambda: ginseng.classify(state, h5ad, return_table=True, silent=True) is None or None)
""",
}

CELLTYPIST = {
    "train": """
import celltypist, scanpy as sc
adata = ad.read_h5ad(h5ad)
def run():
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    part = adata[:, np.load(f"{folder}/genes.npy")].copy()
    model = celltypist.train(part, labels="cell_type", use_SGD=True, mini_batch=True, check_expression=False)
    model.write(f"{folder}/celltypist.pkl")
measured(run)
""",
    "classify": """
import celltypist, scanpy as sc
adata = ad.read_h5ad(h5ad)
def run():
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    celltypist.annotate(adata, model=f"{folder}/celltypist.pkl")
measured(run)
""",
}


def make_cells(path: Path, n_cells: int) -> None:
    """Write synthetic counts: 806 a cell on average, gene means over four orders of magnitude, 16 classes."""
    import anndata as ad
    from scipy import sparse

    rng = np.random.default_rng(0)
    profile = rng.lognormal(0, 2, N_GENES)
    classes = profile * rng.lognormal(0, 0.5, (N_CLASSES, N_GENES))
    classes = np.cumsum(classes / classes.sum(axis=1, keepdims=True), axis=1)
    label = rng.integers(0, N_CLASSES, n_cells)
    depth = np.maximum(rng.lognormal(np.log(806) - 0.08, 0.4, n_cells).astype(int), 50)
    blocks = []
    for start in range(0, n_cells, 10_000):
        rows = np.arange(start, min(start + 10_000, n_cells))
        drawn = np.empty(depth[rows].sum(), np.int64)
        owner = np.repeat(np.arange(len(rows)), depth[rows])
        for c in range(N_CLASSES):
            mine = label[rows][owner] == c
            drawn[mine] = np.minimum(np.searchsorted(classes[c], rng.random(mine.sum())), N_GENES - 1)
        ones = np.ones(len(drawn), np.float32)
        block = sparse.coo_matrix((ones, (owner, drawn)), shape=(len(rows), N_GENES)).tocsr()
        blocks.append(block)
    obs = pd.DataFrame(
        {"cell_type": pd.Categorical([f"type {i}" for i in label])}, index=[f"c{i}" for i in range(n_cells)]
    )
    var = pd.DataFrame(index=[f"gene{i}" for i in range(N_GENES)])
    ad.AnnData(sparse.vstack(blocks, format="csr"), obs=obs, var=var).write_h5ad(path)


def run(python: str, code: str, folder: Path, n_cells: int) -> dict[str, float]:
    done = subprocess.run(
        [python, "-c", PRELUDE + code, str(folder), str(n_cells)], capture_output=True, text=True, check=False
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if not lines:
        print(done.stderr[-2000:], file=sys.stderr)
        return {}
    return json.loads(lines[-1].removeprefix("RESULT "))


def size_mb(path: Path) -> float:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(f.stat().st_size for f in files if f.is_file()) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--peers", nargs="*", default=[], metavar="NAME=PYTHON")
    parser.add_argument("--steps", nargs="*", help="only these")
    args = parser.parse_args()
    folder = args.folder / str(args.cells)
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "cells.h5ad").exists():
        make_cells(folder / "cells.h5ad", args.cells)
    peers = dict(pair.split("=", 1) for pair in args.peers)
    programs = {"ginseng": (sys.executable, OURS)}
    programs |= {"ginseng021": (peers["ginseng021"], PREDECESSOR)} if "ginseng021" in peers else {}
    programs |= {"celltypist": (peers["celltypist"], CELLTYPIST)} if "celltypist" in peers else {}
    rows = []
    for step in OURS:
        if args.steps and step not in args.steps:
            continue
        for name, (python, steps) in programs.items():
            if step in steps:
                rows.append({"step": step, "method": name, **run(python, steps[step], folder, args.cells)})
                print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    ours = table[table["method"] == "ginseng"].set_index("step")["seconds"]
    table["times as long"] = table["seconds"] / table["step"].map(ours)
    print(table.to_string(index=False, float_format="{:,.2f}".format, na_rep=""))
    for name in ("store.zarr", "store.zarr021", "model.h5", "model.h5021.h5"):
        if (folder / name).exists():
            print(f"{name}: {size_mb(folder / name):.1f} MB")


if __name__ == "__main__":
    main()
