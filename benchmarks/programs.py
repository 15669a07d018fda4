"""What each method runs for each step: the code of a fresh process, given folder and number of cells."""

from __future__ import annotations

#: Runs before each. `measured` times the step alone, imports not, and prints seconds, those of all cores and the
#: largest resident set.
PRELUDE = """
import sys, time, json, warnings
warnings.simplefilter("ignore")
folder, n_cells = sys.argv[1], int(sys.argv[2])
h5ad, zarr_in = f"{folder}/cells.h5ad", f"{folder}/cells.zarr"
store, model = f"{folder}/store.zarr", f"{folder}/model.h5"
import numpy as np, anndata as ad
def measured(f):
    start, used = time.perf_counter(), time.process_time()
    found = f()
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - used
    # not `ru_maxrss`, which starts at what the parent process holds
    peak = int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) / 1024
    print("RESULT", json.dumps({"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_mb": peak, **(found or {})}))
def true_types(name="cells"):
    from anndata.io import read_elem
    import h5py
    return read_elem(h5py.File(f"{folder}/{name}.h5ad")["obs/cell_type"]).astype(str)
def size_of(params):
    import jax
    return sum(p.size for p in jax.tree.leaves(params))
"""

_CREATE = """
import ginseng as gs
adata = {adata}
genes, create = np.load(f"{{folder}}/genes.npy"), gs.data.GinsengDataset.create
measured(lambda: create({target}, adata, "cell_type", genes=genes, overwrite=True, silent=True) and None)
"""
_CLASSIFY = """
import ginseng as gs
from ginseng.tl import classify
n_parameters = size_of(gs.load_model({model}).params)
def run():
    table = classify({adata}, {model}, silent=True, return_table=True)
    accuracy = float((table["cell_type"].astype(str).to_numpy() == true_types()).mean())
    return {{"accuracy": accuracy, "n_parameters": n_parameters}}
measured(run)
"""
_STEP = """
import jax
from ginseng.data import GinsengDataset
from ginseng.data._batches import batches_per_window, stream
from ginseng.train import GinsengClassifierTrainer, GinsengClassifierTrainerSettings
from ginseng.train.compiling import Step
settings = GinsengClassifierTrainerSettings(batch_size=128, config={config})
trainer = GinsengClassifierTrainer(GinsengDataset(store), settings)
n = batches_per_window(128, trainer.n_genes, n_cells // 128)
window = next(stream(trainer.dataset.source, trainer.keep, batch_size=128, n_per_window=n))
step = Step(trainer.network, trainer.normalization, trainer.settings, n_window=n, batch_size=128)
params = step.place(trainer._init())
state, rates = step.place(step.optimizer.init(params)), np.full(n, trainer.lr, np.float32)
filled = int(window.weight.any(axis=1).sum())
def run():
    global params, state
    spent = []
    for i in range(6):  # of which the first compiles
        start, used = time.perf_counter(), time.process_time()
        params, state, loss = step(params, state, window, filled, rates, i * n)
        loss.block_until_ready()
        spent.append((time.perf_counter() - start, time.process_time() - used))
    seconds, cpu_seconds = np.median(spent[1:], axis=0) / filled
    return {{"seconds": seconds, "cpu_seconds": cpu_seconds, "n_parameters": size_of(params)}}
measured(run)
"""
_FIT = """
import ginseng as gs
from ginseng.tl import train
dataset = gs.data.GinsengDataset(store)
def run():
    state = train(dataset, config={config}, epochs={epochs}, silent=True)
    gs.save_model(state, {model})
    found = {{"epochs": len(state.history["epoch"]), "n_train": state.info["n_train"]}}
    found["n_parameters"] = size_of(state.params)
    return {{"holdout_accuracy": float(state.history["holdout_accuracy"][-1]), **found}}
measured(run)
"""
_ONE_EPOCH = {"epochs": 1, "model": "f'{folder}/epoch.h5'"}
_ONE = {"config": {"n_members": 1}, "model": "f'{folder}/model1.h5'"}
_DEFAULT = {"config": {}, "model": "model"}
_LAZY = "ad.experimental.read_lazy(h5ad)"
_DASK = "ad.AnnData(ad.experimental.read_elem_lazy(h5py.File(h5ad)['X'], chunks=(20_000, -1)), obs=obs, var=var)"
_READ_DASK = """
import h5py
obs, var = (ad.io.read_elem(h5py.File(h5ad)[name]) for name in ("obs", "var"))
"""

GINSENG = {
    "select_hvgs": """
import ginseng as gs
from ginseng.pp import select_hvgs
adata = gs.read_adata(h5ad, backed=True)
measured(lambda: select_hvgs(adata, 2500, silent=True))
np.save(f"{folder}/genes.npy", adata.var["ginseng_genes"].to_numpy())
""",
    "store": _CREATE.format(adata="gs.read_adata(h5ad, backed=True)", target="store"),
    "store, from zarr": _CREATE.format(adata="zarr_in", target="store + '2'"),
    "store, from dask": _READ_DASK + _CREATE.format(adata=_DASK, target="store + '2'"),
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
    "training step": _STEP.format(**_DEFAULT),
    "training step, one member": _STEP.format(**_ONE),
    "one epoch": _FIT.format(**_DEFAULT | _ONE_EPOCH),
    "one epoch, one member": _FIT.format(**_ONE | _ONE_EPOCH),
    "train": _FIT.format(epochs=None, **_DEFAULT),
    "train, one member": _FIT.format(epochs=None, **_ONE),
    "classify": _CLASSIFY.format(adata="h5ad", **_DEFAULT),
    "classify, one member": _CLASSIFY.format(adata="h5ad", **_ONE),
    "classify, zarr": _CLASSIFY.format(adata="zarr_in", **_DEFAULT),
    "classify, lazy": _CLASSIFY.format(adata=_LAZY, **_DEFAULT),
    "classify, dask": _READ_DASK + _CLASSIFY.format(adata=_DASK, **_DEFAULT),
    "reference to labels": """
import ginseng as gs
from ginseng.tl import classify, train
def run():
    reference = gs.read_adata(h5ad, backed=True)
    train(reference, "cell_type", silent=True)
    table = classify(f"{folder}/query.h5ad", reference, silent=True, return_table=True)
    return {"accuracy": float((table["cell_type"].astype(str).to_numpy() == true_types("query")).mean())}
measured(run)
""",
}

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
measured(lambda: ginseng.classify(state, h5ad, return_table=True, silent=True) is None or None)
""",
}

_NORMALIZE = """
import celltypist, scanpy as sc
def normalized():
    adata = ad.read_h5ad(h5ad)
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    return adata
"""
CELLTYPIST = {
    "train": _NORMALIZE
    + """
def run():
    part = normalized()[:, np.load(f"{folder}/genes.npy")].copy()
    model = celltypist.train(part, labels="cell_type", use_SGD=True, mini_batch=True, check_expression=False)
    model.write(f"{folder}/celltypist.pkl")
measured(run)
""",
    "classify": _NORMALIZE
    + """
def run():
    found = celltypist.annotate(normalized(), model=f"{folder}/celltypist.pkl").predicted_labels["predicted_labels"]
    return {"accuracy": float((found.astype(str).to_numpy() == true_types()).mean())}
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
    query, _ = actinn_jax.predict(ad.read_h5ad(h5ad), actinn_jax.ReferenceModel.load(f"{{folder}}/{name}"))
    return {{"accuracy": float((query.obs["celltype"].astype(str).to_numpy() == true_types()).mean())}}
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
def cells(name):
    return SingleCell(f"{folder}/{name}.h5ad").skip_qc()
def run():
    first, second = cells("cells").hvg(cells("query"))
    first, second = first.normalize(), second.normalize()
    first, second = first.pca(second)
    first, second = first.harmonize(second)
    found = second.label_transfer_from(first, "cell_type", cell_type_column="said", confidence_column="sure").obs
    return {"accuracy": float((found["said"].cast(pl.String).to_numpy() == true_types("query")).mean())}
measured(run)
""",
}

#: What the machine can do: bytes read in order, the store decoded, a product of matrices.
LIMITS = {
    "read": """
import h5py
def run():
    with h5py.File(h5ad) as f:
        for name in ("data", "indices"):
            x = f["X"][name]
            for start in range(0, len(x), 2**22):
                x[start : start + 2**22]
measured(run)
""",
    "decode": """
import zarr
zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"})
group = zarr.open_group(f"{store}/X", mode="r")
def run():
    for name in ("data", "indices"):
        x = group[name]
        for start in range(0, x.shape[0], 2**22):
            x[start : start + 2**22]
measured(run)
""",
    "multiply": """
import jax, jax.numpy as jnp
a = jnp.ones((2048, 2048), jnp.float32)
product = jax.jit(lambda a: a @ a)
product(a).block_until_ready()
def run():
    spent = []
    for _ in range(20):
        start, used = time.perf_counter(), time.process_time()
        product(a).block_until_ready()
        spent.append((time.perf_counter() - start, time.process_time() - used))
    wall, cpu = 2 * 2048**3 / np.median(spent, axis=0)
    return {"flop_per_s": wall, "flop_per_cpu_s": cpu}
measured(run)
""",
}
