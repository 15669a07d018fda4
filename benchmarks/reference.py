"""Label cells with no reference of one's own: `ginseng annotate`, no model named, against the labels that came along.

    python benchmarks/reference.py FOLDER [--actinn PYTHON]

FOLDER has h5ad files with counts and `obs["cell_type"]`. What the packaged model says is right if `crosswalk.json`
lists it, or a pattern that it matches, for the type. The second figure is with `--allowed`, the classes that the types
of the file may be called: as somebody would who knows the tissue. PYTHON is that of an environment with
`actinn-jax==0.3.1`, which then labels the same cells with the same model by its own code.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from fnmatch import fnmatchcase
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd

import ginseng as gs
from ginseng._cells.gene_map import map_names

HERE = Path(__file__).parent
CROSSWALK: dict[str, list[str]] = json.loads((HERE / "crosswalk.json").read_text())
FILES = ("pancreas_baron_human", "lung_hlca_travaglini", "blood_pbmc3k", "pancreas_baron_mouse_as_human")
ACTINN = """
import sys, anndata, actinn_jax
adata = anndata.read_h5ad(sys.argv[1])
adata.var_names = adata.var["ensembl"]
frame, _ = actinn_jax.bundled_reference("panhuman_distill_v1").predict_frame(adata)
frame.to_csv(sys.argv[2])
"""


def accepted(cell_type: str, classes: list[str]) -> set[str]:
    """Classes of the model that are right for a type."""
    return {c for c in classes if any(fnmatchcase(c, pattern) for pattern in CROSSWALK[cell_type])}


def annotate(path: Path, folder: Path, *options: str) -> tuple[pd.DataFrame, float]:
    """What the command says of the cells, and how long it took."""
    output = folder / f"labels{len(options)}.csv"
    command = [sys.executable, "-m", "ginseng", "annotate", str(path), "-o", str(output), *options]
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return pd.read_csv(output, index_col=0), time.perf_counter() - start


def actinn(path: Path, python: str, folder: Path) -> pd.Series:
    """What actinn-jax says of the cells, whose genes are given to it by Ensembl ids."""
    adata = ad.read_h5ad(path)
    adata.var["ensembl"] = map_names(adata.var_names).to_numpy(str)
    adata.write_h5ad(folder / "cells.h5ad")
    command = [python, "-c", ACTINN, str(folder / "cells.h5ad"), str(folder / "actinn.csv")]
    subprocess.run(command, check=True, capture_output=True)
    return pd.read_csv(folder / "actinn.csv", index_col=0)["celltype"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--actinn", metavar="PYTHON")
    args = parser.parse_args()
    classes = gs.models.load("human").label_keys.tolist()
    rows = {}
    for name in FILES:
        path = args.folder / f"{name}.h5ad"
        truth = ad.read_h5ad(path, backed="r").obs["cell_type"].astype(str).to_numpy()
        right = {t: accepted(t, classes) for t in np.unique(truth)}

        def score(labels: pd.Series, truth: np.ndarray = truth, right: dict[str, set[str]] = right) -> float:
            return float(np.mean([label in right[t] for label, t in zip(labels, truth, strict=True)]))

        with tempfile.TemporaryDirectory() as folder:
            said, seconds = annotate(path, Path(folder))
            here = sorted(set().union(*right.values()))
            allowed, _ = annotate(path, Path(folder), "--allowed", *here)
            row = {
                "cells": len(truth),
                "accuracy": score(said["cell_type"]),
                "with --allowed": score(allowed["cell_type"]),
            }
            if args.actinn:
                theirs = actinn(path, args.actinn, Path(folder))
                row |= {
                    "actinn-jax": score(theirs),
                    "same label": float((said["cell_type"] == theirs.to_numpy()).mean()),
                }
        rows[name] = {**row, "seconds": seconds}
        print(f"{name}: {rows[name]}", flush=True)
    print(pd.DataFrame(rows).T.round(3).to_string())


if __name__ == "__main__":
    main()
