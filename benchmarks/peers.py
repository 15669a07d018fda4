"""What each peer runs: the code of a fresh process in its own environment, given a folder with the cells."""

from __future__ import annotations

#: Runs before each. `done` writes what was said of the query.
PRELUDE = """
import sys, warnings
warnings.simplefilter("ignore")
import numpy as np
from scipy import sparse
folder = sys.argv[1]
reference, query = (sparse.load_npz(f"{folder}/{name}.npz").tocsr() for name in ("reference", "query"))
genes, labels = np.load(f"{folder}/genes.npy"), np.load(f"{folder}/labels.npy")
def log_normalised(x):
    x = sparse.diags(1e4 / np.maximum(np.asarray(x.sum(axis=1)).ravel(), 1)).dot(x).tocsr().astype(np.float32)
    x.data = np.log1p(x.data)
    return x
def done(labels, **more):
    np.savez(f"{folder}/said.npz", labels=np.asarray(labels).astype(str), **more)
"""

PROGRAMS = {
    "celltypist": """
import anndata as ad, celltypist, pandas as pd
def adata(x):
    out = ad.AnnData(log_normalised(x))
    out.var_names = genes
    return out
cells = adata(reference)
cells.obs["cell_type"] = labels
model = celltypist.train(cells, labels="cell_type", check_expression=False, n_jobs=2)
found = celltypist.annotate(adata(query), model=model)
done(found.predicted_labels["predicted_labels"].astype(str), confidence=found.probability_matrix.max(axis=1).to_numpy())
""",
    "singler": """
import singler
found = singler.annotate_single(
    test_data=query.T.tocsr(), test_features=list(genes), ref_data=log_normalised(reference).T.tocsr(),
    ref_labels=list(labels), ref_features=list(genes), num_threads=2,
)
done(found.column("best"))
""",
    "actinn": """
import actinn_jax, anndata as ad, pandas as pd
def adata(x, name):
    out = ad.AnnData(x, obs=pd.DataFrame(index=[f"{name}{i}" for i in range(x.shape[0])]))
    out.var_names = genes
    return out
cells = adata(reference, "r")
cells.obs["celltype"] = labels
model = actinn_jax.train_reference(cells, train_label_name="celltype", print_cost=False)
cells = adata(query, "q")
actinn_jax.predict(cells, model)
done(cells.obs["celltype"].astype(str), confidence=cells.obs["celltype_probability"].to_numpy(float))
""",
    "brisc": """
import polars as pl
from brisc import SingleCell
def cells(x, name):
    obs = pl.DataFrame({"cell": [f"{name}{i}" for i in range(x.shape[0])]})
    if name == "r":
        obs = obs.with_columns(cell_type=pl.Series(labels.tolist()))
    return SingleCell(X=sparse.csr_array(x), obs=obs, var=pl.DataFrame({"gene": genes.tolist()})).skip_qc()
first, second = cells(reference, "r").hvg(cells(query, "q"))
first, second = first.normalize(), second.normalize()
first, second = first.pca(second)
first, second = first.harmonize(second)
found = second.label_transfer_from(first, "cell_type", cell_type_column="said", confidence_column="sure").obs
done(found["said"].cast(pl.String).to_numpy(), confidence=found["sure"].to_numpy())
""",
}
