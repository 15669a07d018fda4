"""Accuracy of the defaults on labelled counts, under the figures of other methods on the same splits.

    python benchmarks/accuracy.py DATA_FOLDER [--seeds 0 1 2] [--models gated linear] [--hvgs] [--set lr=0.001]
                                  [--train-share 0.3] [--regression]

DATA_FOLDER holds h5ad files of counts with `obs["cell_type"]`, and may hold `peers.csv` with columns data, seed,
method, acc, bacc, f1, fit_s. Each file is split 80/20, stratified, after dropping cells without counts and classes
under 5 cells. Training chooses its genes by itself, as it does by default. The peers had the 2,000 most variable genes
of the training part: `--hvgs` measures on those. `--train-share` trains on fewer cells and tests on more, so that less
is chance; the peers are then left out.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import scanpy as sc
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score
from sklearn.model_selection import train_test_split

import ginseng as gs

METRICS = ["acc", "bacc", "f1"]


def read_settings(given: list[str]) -> dict[str, Any]:
    """Return settings that were given as `name=value`, a value in JSON or text."""
    settings = {}
    for pair in given:
        name, _, value = pair.partition("=")
        try:
            settings[name] = json.loads(value)
        except ValueError:
            settings[name] = value
    return settings


def split(path: Path, seed: int, train_share: float) -> tuple[ad.AnnData, ad.AnnData]:
    adata = ad.read_h5ad(path)
    sizes = adata.obs["cell_type"].value_counts()
    counted = np.asarray(adata.X.sum(axis=1)).ravel() > 0
    adata = adata[counted & (adata.obs["cell_type"].map(sizes).to_numpy(int) >= 5)].copy()
    rows = np.arange(adata.n_obs)
    train, test = train_test_split(
        rows, test_size=round(1 - train_share, 9), stratify=adata.obs["cell_type"].astype(str), random_state=seed
    )
    return adata[train].copy(), adata[test].copy()


def logistic(reference: ad.AnnData, query: ad.AnnData, genes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and confidence by scikit-learn's regression, each cell scaled by its counts in these genes."""
    y = reference.obs["cell_type"].astype(str).to_numpy()
    model = LogisticRegression(C=0.1, class_weight="balanced", max_iter=1000)
    model.fit(_log_normalised(reference, genes), y)
    probs = model.predict_proba(_log_normalised(query, genes))
    return model.classes_[probs.argmax(axis=1)].astype(str), probs.max(axis=1)


def _log_normalised(adata: ad.AnnData, genes: np.ndarray) -> sparse.csr_matrix:
    part = ad.AnnData(sparse.csr_matrix(adata[:, genes].X, dtype=np.float32))
    sc.pp.normalize_total(part, target_sum=1e4)
    sc.pp.log1p(part)
    return part.X


def chosen_genes(trained: ad.AnnData) -> np.ndarray:
    """Return the genes that ginseng was trained on."""
    chosen = trained.var.get("ginseng_genes", np.ones(trained.n_vars, bool))
    return np.array(trained.var_names[np.asarray(chosen)])


def measure(
    path: Path, seed: int, settings: dict[str, Any], method: str, *, hvgs: bool, train_share: float, regression: bool
) -> list[dict[str, Any]]:
    train, test = split(path, seed, train_share)
    if hvgs and train.n_vars > 2000:
        gs.pp.select_hvgs(train, 2000, silent=True)
    start, used = time.perf_counter(), time.process_time()
    gs.tl.train(train, "cell_type", settings={"seed": seed, **settings}, silent=True)
    fitted, fit_cpu = time.perf_counter(), time.process_time() - used
    gs.tl.classify(test, train, silent=True)
    done = time.perf_counter()
    true, predicted = test.obs["cell_type"].astype(str), test.obs["ginseng_cell_type"].astype(str)
    spent = {"fit_s": fitted - start, "fit_cpu_s": fit_cpu, "pred_s": done - fitted}
    rows = [{"data": path.name, "seed": seed, "method": method, **_scores(true, predicted), **spent}]
    if regression:
        found = _scores(true, logistic(train, test, chosen_genes(train))[0])
        rows.append({"data": path.name, "seed": seed, "method": "lr, our genes", **found})
    return rows


def _scores(true: Any, predicted: Any) -> dict[str, float]:
    return {
        "acc": accuracy_score(true, predicted),
        "bacc": balanced_accuracy_score(true, predicted),
        "f1": f1_score(true, predicted, average="macro"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--models", nargs="+", help="architectures; the default alone if not given")
    parser.add_argument("--hvgs", action="store_true", help="on the 2,000 most variable genes, as the peers")
    parser.add_argument("--regression", action="store_true", help="also logistic regression on the genes of ginseng")
    parser.add_argument("--train-share", type=float, default=0.8, help="of the cells of each type; 0.8 as the peers")
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="settings of the training")
    args = parser.parse_args()
    settings = read_settings(args.set)
    warnings.filterwarnings("ignore")
    models = (
        {"ginseng": settings}
        if args.models is None
        else {f"ginseng {name}": {"architecture": name, **settings} for name in args.models}
    )
    rows = [
        row
        for path in sorted(args.folder.glob("*.h5ad"))
        for seed in args.seeds
        for method, chosen in models.items()
        for row in measure(
            path, seed, chosen, method, hvgs=args.hvgs, train_share=args.train_share, regression=args.regression
        )
    ]
    table = pd.DataFrame(rows)
    if (peers := args.folder / "peers.csv").exists() and args.train_share == 0.8:
        known = pd.read_csv(peers)
        table = pd.concat([known[known["seed"].isin(args.seeds)], table], ignore_index=True)
    means = table.groupby(["data", "method"])[[*METRICS, "fit_s", "fit_cpu_s"]].mean()
    overall = pd.concat({"all": means.groupby("method").mean()}, names=["data"])
    print(pd.concat([means, overall]).sort_values(["data", "f1"]).to_string(float_format="{:.4f}".format))


if __name__ == "__main__":
    main()
