"""Few cells: a query is labelled by a reference in a fresh process, by ginseng and its peers, with all that takes time.

From the start of the interpreter to the labels: importing, reading, training and labelling. All have the same genes,
those that reference and query share, and choose among them by themselves.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import peers
from environments import interpreter
from processes import run
from scipy import sparse

#: Cells of the reference and of the query, where these are taken from the resampled cells.
N_REFERENCE, N_QUERY = 2_400, 2_600

#: Methods that run in this environment.
PROGRAMS = {
    "ginseng": """
import json, time
def now():
    return time.perf_counter(), time.process_time()
marks, compiling = [now()], []
import anndata as ad, jax, pandas as pd
from ginseng.tl import classify, train
marks.append(now())
jax.monitoring.register_event_duration_secs_listener(
    lambda name, seconds, **_: compiling.append(seconds)
    if name.endswith(("backend_compile_duration", "jaxpr_to_mlir_module_duration")) else None
)
def adata(x, name):
    obs = pd.DataFrame(index=[f"{name}{i}" for i in range(x.shape[0])])
    return ad.AnnData(x, obs=obs, var=pd.DataFrame(index=genes))
cells = adata(reference, "r")
cells.obs["cell_type"] = labels
train(cells, "cell_type", silent=True)
marks.append(now())
compiled = sum(compiling)
table = classify(adata(query, "q"), cells, silent=True, return_table=True)
marks.append(now())
done(table["cell_type"].astype(str), confidence=table["confidence"].to_numpy(float))
found = {"train_compile_seconds": compiled, "classify_compile_seconds": sum(compiling) - compiled}
for phase, before, after in zip(("import", "train", "classify"), marks, marks[1:]):
    found |= {f"{phase}_seconds": after[0] - before[0], f"{phase}_cpu_seconds": after[1] - before[1]}
print("RESULT", json.dumps(found))
""",
    "logistic": """
import anndata as ad, scanpy as sc
from sklearn.linear_model import LogisticRegression
cells = ad.AnnData(log_normalised(reference))
sc.pp.highly_variable_genes(cells, n_top_genes=2000)
chosen = cells.var["highly_variable"].to_numpy()
model = LogisticRegression(C=0.1, class_weight="balanced", max_iter=1000)
model.fit(log_normalised(reference[:, chosen]), labels)
done(model.predict(log_normalised(query[:, chosen])))
""",
}


def write(reference: ad.AnnData, query: ad.AnnData, folder: Path) -> np.ndarray:
    """Write what the processes read, as in `transfer.py`, and return the types of the query."""
    genes = np.array(reference.var_names[reference.var_names.isin(query.var_names)])
    for what, adata in {"reference": reference, "query": query}.items():
        sparse.save_npz(folder / f"{what}.npz", sparse.csr_matrix(adata[:, genes].X, dtype=np.float32))
    np.save(folder / "genes.npy", genes.astype(str))
    np.save(folder / "labels.npy", reference.obs["cell_type"].astype(str).to_numpy(str))
    return query.obs["cell_type"].astype(str).to_numpy()


def measure(
    reference: ad.AnnData, query: ad.AnnData, *, repeats: int, environments: Path | None, limit: int
) -> Iterator[dict[str, Any]]:
    """Yield a row for each method: the least of the repeats, the accuracy of the last.

    Parameters
    ----------
    reference, query
        Counts, with `obs["cell_type"]`. Cells of a type that the reference lacks do not count for accuracy.
    repeats
        How often each method runs.
    environments
        Folder with the environments of peers; none of them if not given.
    limit
        Seconds of all cores after which a process is ended.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        true = write(reference, query, folder)
        known = np.isin(true, reference.obs["cell_type"].astype(str).unique())
        methods = {method: (sys.executable, code) for method, code in PROGRAMS.items()}
        if environments is not None:
            methods |= {peer: (interpreter(peer, environments), code) for peer, code in peers.PROGRAMS.items()}
        for method, (python, code) in methods.items():
            runs: dict[str, list[dict[str, Any]]] = {}
            for i in range(repeats):
                # twice with a cache of compiled programs of its own: first empty, then filled
                env = {"GINSENG_CACHE_DIR": f"{folder}/cache{i}"} if method == "ginseng" else {}
                for case in (method, f"{method}, compiled before") if env else (method,):
                    found = run(python, peers.PRELUDE + code, folder, limit=limit, env=env)
                    runs.setdefault(case, []).append(found)
            for case, several in runs.items():
                row = {"step": "few cells", "method": case, **_least(several)}
                if "seconds" in row:
                    said = np.load(folder / "said.npz")["labels"]
                    row["accuracy"] = float((said == true)[known].mean())
                yield row


def _least(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the least of each figure, as other work only adds to it, or what the first that did not succeed says."""
    for found in runs:
        if "process_seconds" not in found:
            return found
    least = {name: min(found[name] for found in runs) for name in runs[0]}
    return {"seconds": least.pop("process_seconds"), "cpu_seconds": least.pop("process_cpu_seconds"), **least}
