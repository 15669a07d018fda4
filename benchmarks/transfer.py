"""Train on one study, label another: ginseng and its peers on the same cells.

    python benchmarks/transfer.py DATA_FOLDER [--seeds 0 1 2] [--pairs hlca ...] [--set epochs=5 ...]
                                  [--peers logistic celltypist singler actinn brisc] [--environments FOLDER]

DATA_FOLDER holds h5ad files of counts with `obs["cell_type"]`, harmonised within a family (lung, blood, pancreas), and
`obs["batch"]`, the donor or sample. A pair is two files of a family, or two halves of one: every other of its sorted
batches to train on, the others to test on. Types of fewer than five training cells are left out of training. Test
cells of a type that training lacks are not counted in accuracy, balanced accuracy, macro F1 (the mean over the types
that are tested) and expected calibration error (ECE, 15 bins); AUROC is how well low confidence tells them from the
others. Tables of each pair and of the means over pairs; `transfer.csv` takes every run.

Logistic regression has balanced classes and C = 0.1, on log1p of counts per 10,000 of its genes: the 2,000 most
variable of those that both files have ("logistic"), or those that ginseng chose ("logistic, our genes"). CellTypist,
SingleR, actinn-jax and brisc run in environments of their own, made on the first call from `requirements-*.txt`
beside this file, each on all genes that both files have (its own choice), and CellTypist also on ours.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import anndata as ad
import numpy as np
import pandas as pd
import peers
import scanpy as sc
from accuracy import chosen_genes, logistic, read_settings
from environments import interpreter
from scipy import sparse
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, roc_auc_score

import ginseng as gs

METRICS = ["acc", "bacc", "f1", "ece", "auroc"]
HALVES = ["pancreas_baron_human", "blood_kang_ctrl_8donors", "lung_hlca_travaglini", "blood_multilab_10samples"]
#: (reference, query, batch of either that is in both and left out)
CROSSED = [
    ("lung_tabula_sapiens", "lung_hlca_travaglini", None),
    ("lung_hlca_travaglini", "lung_tabula_sapiens", None),
    ("blood_multilab_10samples", "blood_pbmc3k", "GSE115189"),
    ("blood_pbmc3k", "blood_multilab_10samples", "GSE115189"),
    ("pancreas_baron_human", "pancreas_baron_mouse_as_human", None),
    ("pancreas_baron_mouse_as_human", "pancreas_baron_human", None),
]


class Said(NamedTuple):
    """What a method says of the query."""

    labels: np.ndarray  # (cells,) names
    confidence: np.ndarray | None  # (cells,)


def read_pairs(folder: Path) -> dict[str, tuple[ad.AnnData, ad.AnnData]]:
    """Return reference and query of each pair whose files are there."""
    files = {path.stem: path for path in sorted(folder.glob("*.h5ad"))}
    adatas: dict[str, ad.AnnData] = {}

    def read(name: str, without: str | None = None) -> ad.AnnData:
        if name not in adatas:
            adatas[name] = ad.read_h5ad(files[name])
        return adatas[name] if without is None else adatas[name][adatas[name].obs["batch"].astype(str) != without]

    pairs = {}
    for name in HALVES:
        if name in files:
            batch = read(name).obs["batch"].astype(str)
            first = batch.isin(sorted(batch.unique())[::2]).to_numpy()
            pairs[f"{name}, halves"] = read(name)[first], read(name)[~first]
    for reference, query, without in CROSSED:
        if {reference, query} <= files.keys():
            pairs[f"{reference} -> {query}"] = read(reference, without), read(query, without)
    return {name: (_large_types(reference), query.copy()) for name, (reference, query) in pairs.items()}


def _large_types(reference: ad.AnnData) -> ad.AnnData:
    size = reference.obs["cell_type"].astype(str).map(reference.obs["cell_type"].astype(str).value_counts())
    out = reference[size.to_numpy() >= 5].copy()
    out.obs["cell_type"] = out.obs["cell_type"].astype(str).astype("category")
    return out


def scores(query: ad.AnnData, said: Said, known: set[str]) -> dict[str, float]:
    """Return the metrics of a method."""
    true = query.obs["cell_type"].astype(str).to_numpy()
    seen = np.isin(true, sorted(known))
    right = said.labels[seen] == true[seen]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of labels that no cell has
        found = {
            "acc": accuracy_score(true[seen], said.labels[seen]),
            "bacc": balanced_accuracy_score(true[seen], said.labels[seen]),
            "f1": f1_score(true[seen], said.labels[seen], labels=np.unique(true[seen]), average="macro"),
        }
    if said.confidence is not None:
        confidence = said.confidence[seen]
        bins = np.minimum((confidence * 15).astype(int), 14)
        parts = [bins == i for i in np.unique(bins)]
        found["ece"] = sum(part.mean() * abs(right[part].mean() - confidence[part].mean()) for part in parts)
        if not seen.all():
            found["auroc"] = roc_auc_score(seen, said.confidence)
    return found


def ginseng(reference: ad.AnnData, query: ad.AnnData, *, adapt: bool | None) -> Said:
    """Label the query with the model that was trained on the reference."""
    table: Any = gs.tl.classify(query, reference, adapt=adapt, return_table=True, silent=True)
    return Said(table["cell_type"].astype(str).to_numpy(), table["confidence"].to_numpy(float))


def variable_genes(reference: ad.AnnData, shared: np.ndarray) -> np.ndarray:
    if len(shared) <= 2000:
        return shared
    part = reference[:, shared].copy()
    sc.pp.normalize_total(part, target_sum=1e4)
    sc.pp.log1p(part)
    sc.pp.highly_variable_genes(part, n_top_genes=2000)
    return shared[part.var["highly_variable"].to_numpy()]


def elsewhere(name: str, reference: ad.AnnData, query: ad.AnnData, genes: np.ndarray, cache: Path) -> Said:
    """Run a peer in its own environment, which gets counts of these genes and gives back labels."""
    python = interpreter(name, cache)
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    with tempfile.TemporaryDirectory() as folder:
        for what, adata in {"reference": reference, "query": query}.items():
            sparse.save_npz(f"{folder}/{what}.npz", sparse.csr_matrix(adata[:, genes].X, dtype=np.float32))
        np.save(f"{folder}/genes.npy", genes.astype(str))
        np.save(f"{folder}/labels.npy", reference.obs["cell_type"].astype(str).to_numpy(str))
        subprocess.run([python, "-c", peers.PRELUDE + peers.PROGRAMS[name], folder], check=True, env=env)
        found = np.load(f"{folder}/said.npz")
        return Said(found["labels"].astype(str), found["confidence"].astype(float) if "confidence" in found else None)


def measure(
    name: str, reference: ad.AnnData, query: ad.AnnData, args: argparse.Namespace, settings: dict[str, Any]
) -> list[dict[str, Any]]:
    """Return a row for each method and seed."""
    known = set(reference.obs["cell_type"].astype(str))
    rows = []

    def add(method: str, seed: int, f: Any) -> None:
        try:
            said = f()
        except subprocess.CalledProcessError as error:
            print(f"{method} failed on {name}: {error}", flush=True)
            return
        rows.append({"pair": name, "method": method, "seed": seed, **scores(query, said, known)})
        print(name, method, seed, {k: round(v, 3) for k, v in rows[-1].items() if k in METRICS}, flush=True)

    for seed in args.seeds:
        gs.tl.train(reference, "cell_type", settings={"seed": seed, **settings}, silent=True)
        add("ginseng", seed, lambda: ginseng(reference, query, adapt=None))
        add("ginseng, adapt=False", seed, lambda: ginseng(reference, query, adapt=False))
    shared = np.array(reference.var_names[reference.var_names.isin(query.var_names)])
    ours = np.intersect1d(chosen_genes(reference), shared)
    if "logistic" in args.peers:
        add("logistic", 0, lambda: Said(*logistic(reference, query, variable_genes(reference, shared))))
        if args.seeds:
            add("logistic, our genes", 0, lambda: Said(*logistic(reference, query, ours)))
    for peer in args.peers:
        if peer != "logistic":
            add(peer, 0, lambda peer=peer: elsewhere(peer, reference, query, shared, args.environments))
    if args.seeds and "celltypist" in args.peers:
        add("celltypist, our genes", 0, lambda: elsewhere("celltypist", reference, query, ours, args.environments))
    return rows


def show(table: pd.DataFrame) -> None:
    """Print a table for each pair, and the means over pairs."""
    means = table.groupby(["pair", "method"])[METRICS].mean()
    overall = pd.concat({"mean": means.groupby("method").mean()}, names=["pair"])
    ours = means.index.get_level_values("method").str.startswith("ginseng")
    others = means[~ours]
    if ours.any() and len(others):
        best = others.groupby("pair")[["acc", "bacc", "f1"]].max()
        behind = (best - means.xs("ginseng", level="method")[["acc", "bacc", "f1"]]).add_prefix("behind_best_")
        print(best.join(behind).to_string(float_format="{:.3f}".format), end="\n\n")
        print("best of the others for each pair, mean:", best.mean().round(3).to_dict(), end="\n\n")
    print(pd.concat([means, overall]).to_string(float_format="{:.3f}".format))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2], help="of ginseng; none for peers alone")
    parser.add_argument("--pairs", nargs="+", help="those whose name has one of these parts; all if not given")
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="settings of the training")
    parser.add_argument("--peers", nargs="*", default=["logistic"], choices=["logistic", *peers.PROGRAMS])
    parser.add_argument("--environments", type=Path, default=Path.home() / ".cache" / "ginseng-benchmarks")
    parser.add_argument("--output", type=Path, default=Path("transfer.csv"))
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    rows: list[dict[str, Any]] = []
    for name, (reference, query) in read_pairs(args.folder).items():
        if args.pairs is None or any(part in name for part in args.pairs):
            rows += measure(name, reference, query, args, read_settings(args.set))
            pd.DataFrame(rows).to_csv(args.output, index=False)
    if not rows:
        parser.error(f"no pair of files in {args.folder}")
    show(pd.DataFrame(rows).reindex(columns=["pair", "method", "seed", *METRICS]))


if __name__ == "__main__":
    main()
