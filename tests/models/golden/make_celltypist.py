"""Train models with CellTypist 1.7.1 on the cells that scanpy ships, and keep what it says of them.

In an environment of its own, since CellTypist's default needs scikit-learn before 1.8:

    python -m venv celltypist && celltypist/bin/pip install "celltypist==1.7.1" "scikit-learn<1.8"
    celltypist/bin/python tests/models/golden/make_celltypist.py
"""

from __future__ import annotations

import warnings
from pathlib import Path

import celltypist
import numpy as np
import scanpy as sc
from anndata import AnnData

HERE = Path(__file__).parent
warnings.simplefilter("ignore")


def cells() -> AnnData:
    """The cells of `ginseng.datasets.pbmc68k()`, as CellTypist takes them."""
    shipped = sc.datasets.pbmc68k_reduced()
    total = shipped.obs["n_counts"].to_numpy(np.float64)
    counts = shipped.raw[:, shipped.var_names].X.tocsr().astype(np.float64)
    counts.data = np.rint(np.expm1(counts.data) * np.repeat(total, np.diff(counts.indptr)) / 1e4)
    adata = AnnData(counts.astype(np.float32), obs=shipped.obs[["bulk_labels"]], var=shipped.var[[]])
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    adata.X = adata.X.toarray()  # which a model without means needs
    return adata


adata = cells()
labels = adata.obs["bulk_labels"].astype(str)
two = adata[labels.isin(["CD19+ B", "CD56+ NK"])].copy()
fewer = adata[:, np.arange(adata.n_vars) % 10 < 7].copy()  # no scaling anew: what CellTypist is given is scaled
ovr = {"n_jobs": 1, "max_iter": 200, "check_expression": False}
models = {
    "default": celltypist.train(adata, "bulk_labels", **ovr),
    "sgd": celltypist.train(adata, "bulk_labels", use_SGD=True, **ovr),
    "two": celltypist.train(two, "bulk_labels", **ovr),
    "no_mean": celltypist.train(adata, "bulk_labels", with_mean=False, **ovr),
}
answers = {}
for name, model in models.items():
    model.description |= {"source": "https://doi.org/10.1038/ncomms14049", "details": f"blood, {name}"}
    model.write(str(HERE / f"celltypist_{name}.pkl"))
    for query, given in {"all": adata, "fewer": fewer}.items():
        said = celltypist.annotate(given, model=model)
        answers[f"{name}_{query}_probs"] = said.probability_matrix.to_numpy()[::5]
        answers[f"{name}_{query}_labels"] = said.predicted_labels["predicted_labels"].astype(str).to_numpy(str)[::5]
    answers[f"{name}_classes"] = np.array(model.cell_types.tolist())
np.savez_compressed(HERE / "celltypist.npz", **answers)
