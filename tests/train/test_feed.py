"""Windows get to the devices in several forms, which train the same model."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anndata as ad
import jax
import numpy as np
import pytest
from scipy import sparse

from ginseng._core import devices
from ginseng._core.layers import BFLOAT16
from ginseng.data import GinsengDataset, _batches
from ginseng.data._batches import MemorySource, stream
from ginseng.data._memory import MemoryDataset
from ginseng.train import GinsengClassifierTrainer, GinsengClassifierTrainerSettings, compiling, feed
from ginseng.train.feed import Feed, form_of

#: Noise and weighted classes, batches from two parts of the cells, and several windows per epoch.
SETTINGS: dict[str, Any] = {
    "epochs": 2, "batch_size": 20, "n_streams": 2, "balance_by": "weights", "rate": 0.1, "fold_change": 0.3,
    "calibrate": False, "architecture": "linear", "config": {"dropout_rate": 0.1},
}  # fmt: skip


@pytest.fixture(autouse=True)
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WINDOW_BYTES": 4 * 20 * 16 * 2, "BLOCK_ROWS": 10, "BLOCKS_PER_WINDOW": 2}.items():
        monkeypatch.setattr(_batches, name, value)
    monkeypatch.setattr(feed, "AT_ONCE", 100)  # counts are sent in many parts


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    y = np.arange(120) % 4
    x = rng.poisson(np.where(np.arange(16) % 4 == y[:, None], 3.0, 0.5))
    x[7] = 300  # more than uint8 holds, in every gene
    adata = ad.AnnData(sparse.csr_matrix(x))
    adata.var_names = [f"gene{i}" for i in range(16)]
    return GinsengDataset.create(tmp_path_factory.mktemp("feed") / "s.zarr", adata, y.astype(str), silent=True).path


def force(monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    monkeypatch.setattr(feed, "form_of", lambda source, mesh: form)


def test_all_forms_train_the_same_model(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads, programs, found = [], [], {}
    put = Feed.__call__

    def listen(event: str, _: float, **about: Any) -> None:
        if "backend_compile" in event and "train_window" in str(about.get("fun_name")):
            programs.append(event)

    def call(self: Feed, window: _batches.Window) -> Any:
        threads.append(threading.current_thread().name)
        return put(self, window)

    monkeypatch.setattr(Feed, "__call__", call)
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        for form in ("dense", "sparse", "indices"):
            force(monkeypatch, form)
            trainer = GinsengClassifierTrainer(store, GinsengClassifierTrainerSettings(**SETTINGS))
            found[form] = trainer.fit(silent=True, checkpoint=False)[1]
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert len(programs) == len(found)
    assert len(threads) >= 3 * 2 * 3  # forms, epochs, windows
    assert all(name.startswith("ginseng-prefetch") for name in threads)
    for form in ("sparse", "indices"):
        jax.tree.map(np.testing.assert_array_equal, found[form].params, found["dense"].params)
        for name, values in found["dense"].history.items():
            np.testing.assert_array_equal(found[form].history[name], values)


@pytest.mark.parametrize("form", ["sparse", "indices"])
@pytest.mark.parametrize("kind", ["uint8", "float"])
def test_spread_counts_are_those_of_scipy(form: Any, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a gene is stored twice in a cell, genes are not sorted, cells are empty, and windows not full."""
    rng = np.random.default_rng(1)
    n_cells, n_genes = 57, 300
    lengths = rng.integers(0, 40, n_cells) * (rng.random(n_cells) < 0.8)
    values = rng.integers(1, 9, lengths.sum()) * (0.37 if kind == "float" else 1)
    genes = rng.integers(0, n_genes, lengths.sum())
    counts = sparse.csr_matrix((values, genes, np.cumsum([0, *lengths])), shape=(n_cells, n_genes))
    assert counts.nnz > (counts.toarray() > 0).sum()
    force(monkeypatch, form)
    source = MemorySource(counts, np.zeros(n_cells, np.int32), np.ones(n_cells, np.float32))
    own = Feed(source, devices.local_mesh())
    order = np.random.default_rng([0, 0, 0, 1]).permutation(n_cells)
    windows = list(stream(source, np.ones(n_cells, bool), batch_size=25, n_per_window=1, form=own.form))
    found = np.concatenate([np.asarray(own.dense(window)[0]) for window in windows])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[:n_cells], counts.toarray()[order], rtol=1e-6)
    assert not found[n_cells:].any()
    # one window of each form has the shapes for which the step is compiled
    batch = own(windows[0])
    assert jax.tree.map(lambda a: (a.shape, a.dtype), own.shapes(1, 25)) == jax.tree.map(
        lambda a: (a.shape, a.dtype), batch
    )
    assert batch.x.counts.values.dtype == (np.float32 if kind == "float" else np.uint8)
    assert batch.x.counts.genes.dtype == np.uint16


def test_counts_on_the_device_are_read_once(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = GinsengDataset(store).source
    force(monkeypatch, "indices")
    own, mesh = Feed(source, devices.local_mesh()), devices.local_mesh()
    kept = feed._resident(source, mesh)
    monkeypatch.setattr(type(source), "windows", None)  # cannot be read any more
    for epoch in range(2):
        for window in stream(source, np.ones(120, bool), batch_size=16, n_per_window=2, epoch=epoch, form=own.form):
            assert own(window).x.counts is kept
    assert feed._resident(source, mesh) is kept
    n = len(feed._kept)
    del source, own
    assert len(feed._kept) == n - 1  # and left with the cells


def test_windows_of_any_content_have_few_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    counts = sparse.random(4000, 200, 0.2, "csr", rng=rng, dtype=np.float32)
    force(monkeypatch, "sparse")
    source = MemorySource(counts, np.zeros(4000, np.int32), np.ones(4000, np.float32))
    own = Feed(source, devices.local_mesh())
    sizes = {own.shapes(2, 100).x.counts.values.shape}
    for epoch in range(3):
        for window in stream(source, np.ones(4000, bool), batch_size=100, n_per_window=2, epoch=epoch, form="sparse"):
            sizes.add(own(window).x.counts.values.shape)
    assert len(sizes) == 1
    assert 200 * 40 <= sizes.pop()[0] <= 1.25 * feed.MARGIN * 200 * 40
    assert {feed._rounded_up(n) >= n and feed._rounded_up(n) <= 1.25 * n for n in range(1, 5000)} == {True}


@pytest.mark.parametrize(
    ("backend", "room", "n_processes", "form"),
    [
        ("cpu", 10**9, 1, "dense"),
        ("gpu", 10**9, 2, "dense"),
        ("gpu", 10**9, 1, "indices"),
        ("gpu", 2000, 1, "sparse"),
        ("gpu", 0, 1, "sparse"),
    ],
)
def test_what_devices_are_sent(
    backend: str, room: int, n_processes: int, form: str, dataset: MemoryDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert 2 * dataset.source.counts.nnz > 2000
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    monkeypatch.setattr(feed, "memory_for_counts", lambda mesh: room)
    monkeypatch.setattr(feed, "n_processes", lambda: n_processes)
    assert form_of(dataset.source, devices.local_mesh()) == form


def test_counts_take_a_third_of_the_smallest_device() -> None:
    def mesh(*limits: int | None) -> Any:
        stats = [None if limit is None else {"bytes_limit": limit} for limit in limits]
        return SimpleNamespace(local_devices=[SimpleNamespace(memory_stats=lambda s=s: s) for s in stats])

    assert devices.memory_for_counts(mesh(90, 60)) == 20
    assert devices.memory_for_counts(mesh(90, None)) == 0
    cpus: Any = SimpleNamespace(local_devices=jax.devices("cpu"))
    assert devices.memory_for_counts(cpus) == 0  # they do not say


@pytest.mark.parametrize(
    ("backend", "capability", "has"),
    [("gpu", "7.5", False), ("gpu", "8.0", True), ("gpu", "9.0", True), ("gpu", "12.0", True), ("gpu", "gfx90a", False),
     ("tpu", None, False), ("cpu", None, False)],
)  # fmt: skip
def test_which_devices_train_in_bfloat16(
    backend: str, capability: str | None, has: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = SimpleNamespace() if capability is None else SimpleNamespace(compute_capability=capability)
    monkeypatch.setattr(jax, "local_devices", lambda: [device])
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    assert devices.has_bfloat16() is has
    assert compiling.precision() == (BFLOAT16 if has else None)
    with jax.default_matmul_precision("highest"):
        assert compiling.precision() is None


def test_training_in_bfloat16_on_a_gpu_multiplies_nothing_else(
    make_donors: Callable[..., MemoryDataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As lowered for CUDA: forward and backward, with weights and the state of the optimiser in float32."""
    monkeypatch.setattr(compiling, "precision", lambda: BFLOAT16)
    data = make_donors()
    gated = {"architecture": "gated", "config": {"hidden_dim": 6, "gate_dim": 4, "n_layers": 1}}
    trainer = GinsengClassifierTrainer(data, GinsengClassifierTrainerSettings(**SETTINGS | gated))
    step = compiling.Step(
        data.source, trainer.network, trainer.normalization, trainer.settings, n_window=2, batch_size=20
    )
    params, state = step.shapes(trainer.n_genes, trainer.n_classes)
    rates = jax.ShapeDtypeStruct((2,), np.float32)
    traced = step.call.func.trace(
        params, state, step.feed.shapes(2, 20), 0, rates, 0, step.root, **step.call.keywords
    )  # fmt: skip
    lines = traced.lower(lowering_platforms=("cuda",)).as_text().splitlines()
    products = [line for line in lines if "dot_general" in line]
    assert len(products) == 4 + 4 + 3  # of four layers, whose first input needs no gradient
    for line in products:
        assert all(f"{name} = bf16" in line for name in ("lhs_precision_type", "rhs_precision_type"))
        assert "accumulation_type = f32" in line
        assert line.rstrip().endswith("xf32>")
    assert {a.dtype.name for a in jax.tree.leaves(traced.out_info)} == {"float32", "int32"}
