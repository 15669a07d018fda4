"""What ginseng runs for each step, and what the machine can do: the code of a fresh process, given folder and cells."""

from __future__ import annotations

#: Runs before each. `measured` times the step alone, imports not, and prints seconds, those of all cores and the
#: largest resident set.
PRELUDE = """
import sys, time, json, warnings
warnings.simplefilter("ignore")
folder, n_cells = sys.argv[1], int(sys.argv[2])
h5ad, zarr_in = f"{folder}/cells.h5ad", f"{folder}/cells.zarr"
query, query_zarr = f"{folder}/query.h5ad", f"{folder}/query.zarr"
store, model = f"{folder}/store.zarr", f"{folder}/model.h5"
import numpy as np, anndata as ad
def measured(f):
    start, used = time.perf_counter(), time.process_time()
    found = f()
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - used
    # not `ru_maxrss`, which starts at what the parent process holds
    peak = int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) / 1024
    print("RESULT", json.dumps({"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_mb": peak, **(found or {})}))
def true_types():
    from anndata.io import read_elem
    import h5py
    return read_elem(h5py.File(query)["obs/cell_type"]).astype(str)
def size_of(params):
    import jax
    return sum(p.size for p in jax.tree.leaves(params))
"""

#: What ginseng imports when it is first needed, while peers import all they use at once.
_IMPORTS = """
import annbatch, numba, scipy.optimize, sklearn.cluster, sklearn.metrics, sklearn.neighbors
import ginseng as gs
"""
_CREATE = (
    _IMPORTS
    + """
adata = {adata}
genes, create = np.load(f"{{folder}}/genes.npy"), gs.data.GinsengDataset.create
measured(lambda: create({target}, adata, "cell_type", genes=genes, overwrite=True, silent=True) and None)
"""
)
_CLASSIFY = (
    _IMPORTS
    + """
from ginseng.tl import classify
n_parameters = size_of(gs.load_model({model}).params)
def run():
    table = classify({adata}, {model}, silent=True, return_table=True)
    accuracy = float((table["cell_type"].astype(str).to_numpy() == true_types()).mean())
    return {{"accuracy": accuracy, "n_parameters": n_parameters}}
measured(run)
"""
)
_STEP = """
import jax
from ginseng.data import GinsengDataset
from ginseng.data._batches import batches_per_window, stream
from ginseng.train import GinsengClassifierTrainer, GinsengClassifierTrainerSettings
from ginseng.train.compiling import Step
settings = GinsengClassifierTrainerSettings(batch_size=128, config={config})
trainer = GinsengClassifierTrainer(GinsengDataset(store), settings)
n = batches_per_window(128, trainer.n_genes, n_cells // 128)
source = trainer.dataset.source
step = Step(source, trainer.network, trainer.normalization, trainer.settings, n_window=n, batch_size=128)
window = next(stream(source, trainer.keep, batch_size=128, n_per_window=n, form=step.feed.form))
params = step.place(trainer._init())
state, rates = step.place(step.optimizer.init(params)), np.full(n, trainer.lr, np.float32)
filled = int(window.weight.any(axis=1).sum())
def run():
    global params, state
    spent = []
    for i in range(6):  # of which the first compiles
        start, used = time.perf_counter(), time.process_time()
        params, state, loss = step(params, state, step.feed(window), filled, rates, i * n)
        loss.block_until_ready()
        spent.append((time.perf_counter() - start, time.process_time() - used))
    seconds, cpu_seconds = np.median(spent[1:], axis=0) / filled
    return {{"seconds": seconds, "cpu_seconds": cpu_seconds, "n_parameters": size_of(params)}}
measured(run)
"""
_FIT = (
    _IMPORTS
    + """
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
)
_ONE_EPOCH = {"epochs": 1, "model": "f'{folder}/epoch.h5'"}
_ONE = {"config": {"n_members": 1}, "model": "f'{folder}/model1.h5'"}
_DEFAULT = {"config": {}, "model": "model"}
_LAZY = "ad.experimental.read_lazy(query)"
_DASK = """
import h5py
file = h5py.File({file})
obs, var = (ad.io.read_elem(file[name]) for name in ("obs", "var"))
in_dask = ad.AnnData(ad.experimental.read_elem_lazy(file["X"], chunks=(20_000, -1)), obs=obs, var=var)
"""

GINSENG = {
    "select_hvgs": _IMPORTS
    + """
from ginseng.pp import select_hvgs
adata = gs.read_adata(h5ad, backed=True)
measured(lambda: select_hvgs(adata, 2500, silent=True))
np.save(f"{folder}/genes.npy", adata.var["ginseng_genes"].to_numpy())
""",
    "store": _CREATE.format(adata="gs.read_adata(h5ad, backed=True)", target="store"),
    "store, from zarr": _CREATE.format(adata="zarr_in", target="store + '2'"),
    "store, from dask": _DASK.format(file="h5ad") + _CREATE.format(adata="in_dask", target="store + '2'"),
    "stream": _IMPORTS
    + """
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
    "classify": _CLASSIFY.format(adata="query", **_DEFAULT),
    "classify, one member": _CLASSIFY.format(adata="query", **_ONE),
    "classify, zarr": _CLASSIFY.format(adata="query_zarr", **_DEFAULT),
    "classify, lazy": _CLASSIFY.format(adata=_LAZY, **_DEFAULT),
    "classify, dask": _DASK.format(file="query") + _CLASSIFY.format(adata="in_dask", **_DEFAULT),
    "reference to labels": _IMPORTS
    + """
from ginseng.tl import classify, train
def run():
    reference = gs.read_adata(h5ad, backed=True)
    train(reference, "cell_type", silent=True)
    table = classify(query, reference, silent=True, return_table=True)
    return {"accuracy": float((table["cell_type"].astype(str).to_numpy() == true_types()).mean())}
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
