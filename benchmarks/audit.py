"""How many wrong labels `gs.tl.audit_labels` finds, and how many of those that it calls wrong are.

    python benchmarks/audit.py DATA_FOLDER [--files hlca ...] [--shares 0.02 0.05 0.1] [--seeds 0 1]
                               [--groups batch] [--model linear] [--output audit.csv]

DATA_FOLDER holds h5ad files of counts with `obs["cell_type"]`, in any depth. A share of the labels is exchanged: for
any other type, all equally likely ("uniform"), or for one that cross-validated models take for the true one, as often
as they do ("similar"). What is measured: the precision among the highest scores where .7 of the wrong labels are found;
precision and recall of `obs["ginseng_audit_wrong"]`; among the wrong labels in it, the share whose likely label is the
true one; and the estimated share of wrong labels. Labels that were wrong in the file count as right, and so lower the
precision. `--groups` names a column of donors, and leaves out files that lack it.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd

import ginseng as gs

RECALL = 0.7
METRICS = ["precision at .7", "precision", "recall", "likely is true", "estimated"]


def confusion(adata: ad.AnnData, classes: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return how often models take each type for each other one, (classes, classes), rows sum to 1."""
    gs.tl.cross_validate(adata, "cell_type", "linear", silent=True)
    probs = adata.obsm["ginseng_cv_probs"]
    mean = np.stack([probs[y == i].mean(axis=0) for i in range(len(classes))]) * (1 - np.eye(len(classes)))
    return mean / mean.sum(axis=1, keepdims=True)


def wronged(y: np.ndarray, odds: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Return the labels with a share of them exchanged, by the odds of each label given the true one."""
    rng, out = np.random.default_rng(seed), y.copy()
    for i in rng.choice(len(y), round(share * len(y)), replace=False):
        out[i] = rng.choice(len(odds), p=odds[y[i]])
    return out


def measure(adata: ad.AnnData, y: np.ndarray, given: np.ndarray, classes: np.ndarray) -> dict[str, float]:
    """Return the metrics of an audit that was written."""
    wrong = y != given
    score = np.nan_to_num(adata.obs["ginseng_audit_score"].to_numpy(float), nan=-1)
    flagged = adata.obs["ginseng_audit_wrong"].to_numpy(bool)
    found = np.cumsum(wrong[np.argsort(-score, kind="stable")])
    needed = int(np.searchsorted(found, RECALL * wrong.sum()))
    hits = flagged & wrong
    likely = adata.obs["ginseng_audit_label"].astype(str).to_numpy()
    return {
        "precision at .7": found[needed] / (needed + 1),
        "precision": hits.sum() / max(flagged.sum(), 1),
        "recall": hits.sum() / wrong.sum(),
        "likely is true": (likely == classes[y])[hits].mean() if hits.any() else np.nan,
        "estimated": adata.uns["ginseng_audit"]["summary"]["share"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", nargs="+", help="those whose name has one of these parts; all if not given")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.02, 0.05, 0.1])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--groups", help="column of obs with donors")
    parser.add_argument("--model", help="what judges the labels")
    parser.add_argument("--output", type=Path, default=Path("audit.csv"))
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    rows: list[dict[str, Any]] = []
    for path in sorted(args.folder.rglob("*.h5ad")):
        if args.files and not any(part in path.stem for part in args.files):
            continue
        adata = ad.read_h5ad(path)
        if args.groups and args.groups not in adata.obs:
            continue
        classes, y = np.unique(adata.obs["cell_type"].astype(str), return_inverse=True)
        others = 1 - np.eye(len(classes))
        kinds = {"uniform": others / others.sum(axis=1, keepdims=True), "similar": confusion(adata, classes, y)}
        for kind, odds in kinds.items():
            for share in args.shares:
                for seed in args.seeds:
                    given = wronged(y, odds, share, seed)
                    adata.obs["given"] = classes[given]
                    gs.tl.audit_labels(adata, "given", args.groups, model=args.model, rng=seed, silent=True)
                    found = measure(adata, y, given, classes)
                    rows.append({"file": path.stem, "wrong labels": kind, "share": share, "seed": seed, **found})
                    print({k: round(v, 3) if isinstance(v, float) else v for k, v in rows[-1].items()}, flush=True)
                    pd.DataFrame(rows).to_csv(args.output, index=False)
    if not rows:
        parser.error(f"no such file in {args.folder}")
    table = pd.DataFrame(rows)
    print(table.groupby(["wrong labels", "share", "file"])[METRICS].mean().to_string(float_format="{:.3f}".format))
    print(table.groupby(["wrong labels", "share"])[METRICS].mean().to_string(float_format="{:.3f}".format))


if __name__ == "__main__":
    main()
