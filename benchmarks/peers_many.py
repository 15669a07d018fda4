"""What each peer runs for each step on many cells, after the prelude of `programs.py`."""

from __future__ import annotations

PREDECESSOR = {
    "select_hvgs": """
from ginseng.data.io import read_adata
from ginseng.utils import select_hvgs
adata = read_adata(h5ad, backed=True)
measured(lambda: select_hvgs(adata, n_top_genes=2500, silent=True))
""",
    "store": """
import shutil
from ginseng.data import GinsengDataset
from ginseng.data.io import read_adata
adata = read_adata(h5ad, backed=True)
adata.var["mask"] = np.load(f"{folder}/genes.npy")
shutil.rmtree(store + "021", ignore_errors=True)
measured(lambda: GinsengDataset.create(store + "021", adata, "cell_type", genes="mask") and None)
""",
    # it reads nearly all of its store for each batch, so a few are timed and carried forward to all cells
    "stream": """
from ginseng.data import GinsengDataset
dataset = GinsengDataset(store + "021")
def run():
    start, used, n = time.perf_counter(), time.process_time(), 0
    for x, y in dataset.stream(128, "all"):
        n += len(y)
        if time.perf_counter() - start > 20:
            break
    rate, cpu_seconds = n / (time.perf_counter() - start), (time.process_time() - used) * n_cells / n
    carried = {"carried_forward_from_cells": n, "cpu_seconds": cpu_seconds}
    return {"cells_per_s": rate, "seconds": n_cells / rate, **carried}
measured(run)
""",
    "training step": """
import jax, jax.numpy as jnp
from ginseng.data import GinsengDataset
from ginseng.train import GinsengClassifierTrainer, GinsengClassifierTrainerSettings
trainer = GinsengClassifierTrainer(GinsengDataset(store + "021"), GinsengClassifierTrainerSettings(batch_size=128))
x, y = (jnp.asarray(a) for a in next(iter(trainer.dataset.stream(128, "all"))))
step = jax.jit(trainer._train_step)
def run():
    params, state, spent = trainer.model.params, trainer.opt_state, []
    for i in range(40):
        start, used = time.perf_counter(), time.process_time()
        params, state, loss = step(params, state, trainer.model._get_key(), x, y)
        float(loss)
        spent.append((time.perf_counter() - start, time.process_time() - used))
    seconds, cpu_seconds = np.median(spent[5:], axis=0)
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "n_parameters": size_of(params)}
measured(run)
""",
    "one epoch": """
from ginseng.data import GinsengDataset
from ginseng.data.io import save_model
from ginseng.train import GinsengClassifierTrainer, GinsengClassifierTrainerSettings
dataset = GinsengDataset(store + "021")
trainer = GinsengClassifierTrainer(dataset, GinsengClassifierTrainerSettings(balance_train=False))
stream, most, seen = dataset.stream, 60, [0]
def few(*args, **kwargs):
    for i, batch in enumerate(stream(*args, **kwargs)):
        if i == most:
            return
        seen[0] += len(batch[1])
        yield batch
dataset.stream = few
def run():  # a fit of 60 batches of training and of holdout, carried forward to all cells
    start, used = time.perf_counter(), time.process_time()
    _, state = trainer.fit(epochs=1, silent=True)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - used
    save_model(state, model + "021.h5")
    more = n_cells / seen[0]
    carried = {"carried_forward_from_cells": seen[0]}
    return {"seconds": seconds * more, "cpu_seconds": cpu_seconds * more, **carried}
measured(run)
""",
    "classify": """
import ginseng
from ginseng.data.io import load_model
state = load_model(model + "021.h5")
measured(lambda: ginseng.classify(state, query, return_table=True, silent=True) is None or None)
""",
}

_NORMALIZE = """
import celltypist, scanpy as sc
def normalized(path):
    adata = ad.read_h5ad(path)
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    return adata
"""
CELLTYPIST = {
    "train": _NORMALIZE
    + """
def run():
    part = normalized(h5ad)[:, np.load(f"{folder}/genes.npy")].copy()
    model = celltypist.train(part, labels="cell_type", use_SGD=True, mini_batch=True, check_expression=False)
    model.write(f"{folder}/celltypist.pkl")
measured(run)
""",
    "classify": _NORMALIZE
    + """
def run():
    found = celltypist.annotate(normalized(query), model=f"{folder}/celltypist.pkl").predicted_labels
    return {"accuracy": float((found["predicted_labels"].astype(str).to_numpy() == true_types()).mean())}
measured(run)
""",
}

SCANPY = {
    "select_hvgs": """
import scanpy as sc
def run():
    adata = ad.read_h5ad(h5ad)
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    sc.pp.highly_variable_genes(adata, n_top_genes=2500)
measured(run)
""",
}

_ACTINN = """
import actinn_jax
def run():
    model = actinn_jax.train_reference({cells}, train_label_name="cell_type", print_cost=False{cap})
    model.save(f"{{folder}}/{name}")
measured(run)
"""
_ACTINN_CLASSIFY = """
import actinn_jax
def run():
    found, _ = actinn_jax.predict(ad.read_h5ad(query), actinn_jax.ReferenceModel.load(f"{{folder}}/{name}"))
    return {{"accuracy": float((found.obs["celltype"].astype(str).to_numpy() == true_types()).mean())}}
measured(run)
"""
_OUR_GENES = 'ad.read_h5ad(h5ad)[:, np.load(f"{folder}/genes.npy")].copy()'


def _actinn(name: str, cells: str, cap: str = "") -> dict[str, str]:
    train, classify = _ACTINN.format(cells=cells, cap=cap, name=name), _ACTINN_CLASSIFY.format(name=name)
    return {"train": train, "classify": classify}


#: With the cap of its documentation, with the genes of ours, which CellTypist has as well, and with neither. What does
#: not finish training has no model to label with.
ACTINN = {
    "actinn, 500 per type": _actinn("actinn_capped", "h5ad", ", max_cells_per_label=500"),
    "actinn, our genes": _actinn("actinn_our_genes", _OUR_GENES),
    "actinn": _actinn("actinn", "h5ad"),
}

BRISC = {
    "reference to labels": """
import polars as pl
from brisc import SingleCell
def run():
    first, second = SingleCell(h5ad).skip_qc().hvg(SingleCell(query).skip_qc())
    first, second = first.normalize(), second.normalize()
    first, second = first.pca(second)
    first, second = first.harmonize(second)
    found = second.label_transfer_from(first, "cell_type", cell_type_column="said", confidence_column="sure").obs
    return {"accuracy": float((found["said"].cast(pl.String).to_numpy() == true_types()).mean())}
measured(run)
""",
}

#: Steps of each method.
STEPS = {
    "ginseng021": PREDECESSOR, "celltypist": CELLTYPIST, **ACTINN, "brisc": BRISC, "scanpy": SCANPY,
}  # fmt: skip
