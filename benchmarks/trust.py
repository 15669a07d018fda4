"""Whether a method knows when it does not know: ginseng and its peers on the same cells.

    python benchmarks/trust.py DATA_FOLDER [--seeds 0 1] [--types 4] [--only bladder ...] [--set epochs=5 ...]
                               [--peers logistic celltypist actinn] [--environments FOLDER]

DATA_FOLDER is that of `accuracy.py`, with that of `transfer.py` in it as `transfer`. Each file is split 70/30, once for
each seed, and each pair of studies taken once. Then types are left out of training in turn: up to `--types` of each
split or pair, from the most to the least frequent, of those with ten cells and more to train on and eight to test.

ECE, in 15 bins, is of the types that were trained on. AUROC is how well a score tells the cells of a type that was left
out from rightly labelled cells of the others: 1 - confidence, and for ginseng its novelty. "kept" is the share of such
cells that keep a label where the score gives up 5% of the right ones. "auto" are the thresholds that ginseng sets in
training: the share of right labels that they give up, and of unknown cells that keep one. "sets" is how often the
prediction sets have the true type, less 1 - alpha. `trust.csv` takes every run.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import peers
from accuracy import logistic, read_settings, split
from sklearn.metrics import roc_auc_score
from transfer import elsewhere, read_pairs, variable_genes

import ginseng as gs
from ginseng.model.calibration import calibration_error

ALPHAS = (0.05, 0.1, 0.2)


def read_cases(folder: Path, seeds: list[int]) -> Iterator[tuple[str, str, int, ad.AnnData, ad.AnnData]]:
    """Yield kind, name, seed, reference and query."""
    for path in sorted(folder.glob("*.h5ad")):
        for seed in seeds:
            yield ("split", path.stem, seed, *split(path, seed, 0.7))
    for name, (reference, query) in read_pairs(folder / "transfer").items():
        yield "pair", name, 0, reference, query


def left_out(reference: ad.AnnData, query: ad.AnnData, most: int) -> list[str]:
    """Return the types to leave out."""
    there, here = (a.obs["cell_type"].astype(str).value_counts() for a in (reference, query))
    types = [name for name in there.index if there[name] >= 10 and here.get(name, 0) >= 8]
    return [types[i] for i in np.unique(np.linspace(0, len(types) - 1, min(most, len(types))).round().astype(int))]


def ours(reference: ad.AnnData, query: ad.AnnData, settings: dict[str, Any]) -> pd.DataFrame:
    """Return what ginseng says of the query; `auto` is whether a cell keeps its label."""
    gs.tl.train(reference, "cell_type", settings=settings, silent=True)
    table: Any = gs.tl.classify(query, reference, return_table=True, silent=True)
    auto: Any = gs.tl.classify(query, reference, min_confidence="auto", return_table=True, silent=True)
    table["auto"] = (auto["cell_type"].astype(str) == table["cell_type"].astype(str)).to_numpy()
    for alpha in ALPHAS:
        sets: Any = gs.tl.prediction_sets(query, reference, alpha=alpha, return_table=True, silent=True)
        true = query.obs["cell_type"].astype(str).to_numpy()
        known = np.isin(true, sets.columns)
        inside = np.zeros(len(true), bool)
        inside[known] = sets.to_numpy(bool)[np.flatnonzero(known), sets.columns.get_indexer(true[known])]
        table[f"set_{alpha}"] = inside
    return table


def theirs(peer: str, reference: ad.AnnData, query: ad.AnnData, environments: Path) -> pd.DataFrame:
    """Return what a peer says of the query."""
    shared = np.array(reference.var_names[reference.var_names.isin(query.var_names)])
    if peer == "logistic":
        labels, confidence = logistic(reference, query, variable_genes(reference, shared))
    else:
        said = elsewhere(peer, reference, query, shared, environments)
        labels, confidence = said.labels, np.full(len(said.labels), np.nan)
        if said.confidence is not None:
            confidence = said.confidence
    return pd.DataFrame({"cell_type": labels, "confidence": confidence}, index=query.obs_names)


def measure(table: pd.DataFrame, true: np.ndarray, known: set[str], out: str | None) -> dict[str, float]:
    """Return the figures of a run."""
    label, confidence = table["cell_type"].astype(str).to_numpy(), table["confidence"].to_numpy(float)
    seen, right = np.isin(true, sorted(known)), label == true
    found: dict[str, float] = {}
    if out is None:
        found |= {"acc": right[seen].mean(), "confidence": confidence[seen].mean()}
        found["ece"] = calibration_error(confidence[seen], right[seen])
        for alpha in ALPHAS:
            if f"set_{alpha}" in table:
                found[f"sets {alpha}"] = table.loc[seen, f"set_{alpha}"].mean() - (1 - alpha)
        if "auto" in table:
            found["auto right"] = 1 - table["auto"].to_numpy()[seen & right].mean()
        return found
    unknown = true == out
    scores = {"confidence": 1 - confidence} | ({"novelty": table["novelty"]} if "novelty" in table else {})
    for name, score in scores.items():
        values = np.asarray(score, float)
        found[f"auroc {name}"] = roc_auc_score(unknown[unknown | right], values[unknown | right])
        found[f"kept {name}"] = (values[unknown] <= np.quantile(values[right], 0.95)).mean()
    if "auto" in table:
        found["auto kept"] = table["auto"].to_numpy()[unknown].mean()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="of the splits")
    parser.add_argument("--types", type=int, default=4, help="left out of each split or pair, at most")
    parser.add_argument("--only", nargs="+", help="files and pairs whose name has one of these parts")
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="settings of the training")
    parser.add_argument("--peers", nargs="*", default=["logistic"], choices=["logistic", *peers.PROGRAMS])
    parser.add_argument("--environments", type=Path, default=Path.home() / ".cache" / "ginseng-benchmarks")
    parser.add_argument("--output", type=Path, default=Path("trust.csv"))
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    rows: list[dict[str, Any]] = []
    for kind, name, seed, reference, query in read_cases(args.folder, args.seeds):
        if args.only is not None and not any(part in name for part in args.only):
            continue
        true = query.obs["cell_type"].astype(str).to_numpy()
        for out in [None, *left_out(reference, query, args.types)]:
            part = reference if out is None else reference[(reference.obs["cell_type"].astype(str) != out).to_numpy()]
            part = part.copy()
            part.obs["cell_type"] = part.obs["cell_type"].astype(str).astype("category")
            known = set(part.obs["cell_type"].cat.categories)
            said = {"ginseng": ours(part, query, {"seed": seed, **read_settings(args.set)})}
            said |= {peer: theirs(peer, part, query, args.environments) for peer in args.peers}
            for method, table in said.items():
                found = measure(table, true, known, out)
                rows.append({"kind": kind, "data": name, "seed": seed, "out": out or "", "method": method, **found})
                print(kind, name, seed, out, method, {k: round(float(v), 3) for k, v in found.items()}, flush=True)
            pd.DataFrame(rows).to_csv(args.output, index=False)
    table = pd.DataFrame(rows)
    figures = [column for column in table.columns if column not in ("kind", "data", "seed", "out", "method")]
    print(table.groupby(["kind", "data", "method"])[figures].mean().to_string(float_format="{:.3f}".format), end="\n\n")
    means = table.groupby(["kind", "method"])[figures].mean()
    worst = table.groupby(["kind", "method"])[[c for c in figures if c.startswith("auroc")]].min().add_prefix("worst ")
    print(means.join(worst).T.to_string(float_format="{:.3f}".format))


if __name__ == "__main__":
    main()
