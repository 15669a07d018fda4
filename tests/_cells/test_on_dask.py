"""Cells in a dask array, on a cluster of two processes: who read them, what was sent, and the same results."""

import os
import pickle
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anndata as ad
import dask.array as da
import numpy as np
import pandas as pd
import pytest
from dask.base import tokenize
from distributed import Client, LocalCluster
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import ginseng as gs
from ginseng._cells import on_dask
from ginseng._predict import forward, inspect
from ginseng._select import dispersion
from ginseng.cli import main

pytestmark = [
    pytest.mark.filterwarnings("ignore:2 of 600 cells have no counts"),
    pytest.mark.filterwarnings("ignore:12 of 600 cells have no label"),
]

type Make = Callable[..., ad.AnnData]
type State = gs.model.GinsengClassifierState

N, CHUNK = 600, 50


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster:
        yield cluster


@pytest.fixture
def client(cluster: LocalCluster) -> Iterator[Client]:
    with Client(cluster) as client:
        client.wait_for_workers(2)
        yield client


@pytest.fixture(scope="module")
def cells(make_cells: Make) -> ad.AnnData:
    """Return cells of which a few have no counts, no label, or genes that are not the model's."""
    adata = make_cells(N, seed=4)
    x = adata.X.toarray()
    x[[3, 299]] = 0
    adata.X = sparse.csr_matrix(x)
    adata.obs.loc[adata.obs_names[7:19], "cell_type"] = None
    return adata[:, np.random.default_rng(0).permutation(adata.n_vars)].copy()


@pytest.fixture(scope="module")
def store(cells: ad.AnnData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cells") / "cells.zarr"
    raw = ad.AnnData(cells.X, obs=cells.obs, var=cells.var, layers={"dense": cells.X.toarray()})
    raw.raw = raw
    raw.write_zarr(path)
    return path


class Watched:
    """Cells in a dask array that notes which process reads which block; `dies` are blocks whose first reader dies."""

    def __init__(self, cells: ad.AnnData, folder: Path, *, chunk: int = CHUNK, dies: tuple[int, ...] = ()) -> None:
        x, self.folder = cells.X, folder

        def read(block_info: Any = None) -> sparse.csr_matrix:
            start, stop = block_info[None]["array-location"][0]
            i = start // chunk
            (folder / f"{i}-{os.getpid()}").touch()
            mark = folder / f"died{i}"
            if i in dies and not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return x[start:stop]

        rows = tuple(min(chunk, cells.n_obs - start) for start in range(0, cells.n_obs, chunk))
        meta = sparse.csr_matrix((0, 0), dtype=x.dtype)
        array = da.map_blocks(
            read, chunks=(rows, (cells.n_vars,)), dtype=x.dtype, meta=meta, name=f"read-{tokenize(str(folder))}"
        )
        self.n_blocks = len(rows)
        self.adata = ad.AnnData(array, obs=cells.obs.copy(), var=cells.var.copy())

    @property
    def readers(self) -> Counter[int]:
        """Blocks that each process read."""
        return Counter(int(file.name.split("-")[1]) for file in self.folder.glob("*-*"))


@pytest.fixture
def watched(cells: ad.AnnData, tmp_path: Path) -> Watched:
    folder = tmp_path / "read"
    folder.mkdir()
    return Watched(cells, folder)


def refuse_to_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process fail if it reads blocks, adds them up or runs a model."""

    def refuse(*_: Any, **__: Any) -> None:
        pytest.fail("the client computed")

    for owner, name in (
        (forward, "predict_logits"), (forward, "predict_seen"), (inspect, "predict_embedding"),
        (on_dask, "_joined"), (dispersion.Moments, "add"), (dispersion.OnlineMoments, "add"),
    ):  # fmt: skip
        monkeypatch.setattr(owner, name, refuse)


def check_shares(watched: Watched, client: Client) -> None:
    """Assert that both workers read blocks, and nobody else did."""
    assert set(watched.readers) == set(client.run(os.getpid).values())
    assert min(watched.readers.values()) >= watched.n_blocks // 6
    assert os.getpid() not in watched.readers


def table(adata: Any, state: State, **how: Any) -> pd.DataFrame:
    found = gs.tl.classify(adata, state, return_table=True, silent=True, **how)
    assert isinstance(found, pd.DataFrame)
    return found


def same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    assert (found["cell_type"] == expected["cell_type"]).all()
    assert list(found.columns) == list(expected.columns)
    numbers = expected.select_dtypes("number").columns
    np.testing.assert_allclose(found[numbers], expected[numbers], atol=1e-5)
    assert expected["cell_type"].nunique() > 2  # "unassigned" as well


@settings(max_examples=30, deadline=None)
@given(
    chunks=st.lists(st.integers(1, 50), min_size=1, max_size=30), size=st.integers(1, 60), n_threads=st.integers(1, 8),
    every=st.integers(1, 3),
)  # fmt: skip
def test_tasks_read_each_row_once(chunks: list[int], size: int, n_threads: int, every: int) -> None:
    n = sum(chunks)
    x = da.from_array(np.arange(n)[:, None], chunks=(tuple(chunks), 1))
    tasks = list(on_dask._tasks(x, size, n_threads, every, np.arange(n)))
    read = [rows for task in tasks for rows in task]
    found = [np.concatenate([chunk.compute(scheduler="sync").ravel() for [chunk] in rows.chunks]) for rows in read]
    for rows, numbers in zip(read, found, strict=True):
        assert numbers.tolist() == list(range(rows.start, rows.stop)) == rows.of_cell.tolist()
    wanted = range(n) if every == 1 else [i for i in range(n) if i // size % every == 0]
    np.testing.assert_array_equal(np.concatenate(found), wanted)
    # no chunk is read by two tasks, but for the rest of a part that begins in the chunk before
    ends = np.cumsum(chunks)
    begun = [{int(np.searchsorted(ends, rows.start, side="right")) for rows in task} for task in tasks]
    assert sum(map(len, begun)) == len(set().union(*begun))
    if every == 1:
        assert {rows.start for rows in read} <= {0, *ends.tolist()}


@pytest.mark.parametrize("how", [{}, {"adapt": False, "batch_size": 7}, {"store_probs": True, "excluded": "T/NK"}])
def test_the_workers_label_the_cells(
    watched: Watched, cells: ad.AnnData, state: State, client: Client, how: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as here:
        refuse_to_compute(here)
        found = table(watched.adata, state, **how)
    check_shares(watched, client)
    same(found, table(cells, state, **how))


def test_labels_and_confidence_alone_come_back(
    watched: Watched, state: State, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the model goes to each worker once."""
    sizes, sent = [], []
    result, scatter = on_dask._Cluster.result, client.scatter

    def weighed(self: Any, *arguments: Any) -> Any:
        sizes.append(len(pickle.dumps(found := result(self, *arguments))))
        return found

    monkeypatch.setattr(on_dask._Cluster, "result", weighed)
    monkeypatch.setattr(client, "scatter", lambda what, **how: sent.append(how) or scatter(what, **how))
    table(watched.adata, state, adapt=False)
    assert len(sizes) > 2
    assert sum(sizes) < 20 * N + 1500 * len(sizes)
    assert [how["broadcast"] for how in sent] == [True]


def test_each_process_compiles_once(cells: ad.AnnData, state: State, client: Client, tmp_path: Path) -> None:
    def compiled() -> int:
        return int(sys.modules["ginseng._core.steps"].predict_logits._cache_size())

    n = []
    for chunk in (50, 37, 200):
        (folder := tmp_path / f"{chunk}").mkdir()
        table(Watched(cells, folder, chunk=chunk).adata, state, adapt=False)
        n.append(client.run(compiled))
    assert n[0] == n[1] == n[2]


def test_a_worker_dies_half_way(cells: ad.AnnData, state: State, client: Client, tmp_path: Path) -> None:
    before = set(client.run(os.getpid).values())
    for name in ("labels", "genes"):
        (tmp_path / name).mkdir()
    found = table(Watched(cells, tmp_path / "labels", dies=(7,)).adata, state)
    same(found, table(cells, state))
    client.wait_for_workers(2)
    assert len(before & set(client.run(os.getpid).values())) == 1
    adata, expected = Watched(cells, tmp_path / "genes", dies=(7,)).adata, cells.copy()
    for each in (adata, expected):
        gs.pp.select_hvgs(each, 10, silent=True)
    assert (tmp_path / "genes" / "died7").exists()
    pd.testing.assert_frame_equal(adata.var, expected.var)


@pytest.mark.slow
def test_all_workers_die_half_way(cells: ad.AnnData, state: State, tmp_path: Path) -> None:
    """So that the model has to be sent again."""
    alone = LocalCluster(n_workers=1, threads_per_worker=1, processes=True, dashboard_address=":0")
    with alone as cluster, Client(cluster):
        for name in ("labels", "genes"):
            (tmp_path / name).mkdir()
        same(table(Watched(cells, tmp_path / "labels", dies=(2, 7)).adata, state), table(cells, state))
        adata, expected = Watched(cells, tmp_path / "genes", dies=(7,)).adata, cells.copy()
        for each in (adata, expected):
            gs.pp.select_hvgs(each, 10, silent=True)
        pd.testing.assert_frame_equal(adata.var, expected.var)


GENES: dict[str, Callable[[ad.AnnData], Any]] = {
    "seurat": lambda a: gs.pp.select_hvgs(a, 10, silent=True, batch_key="donor"),
    "seurat_v3": lambda a: gs.pp.select_hvgs(a, 10, silent=True, flavor="seurat_v3", span=1),
    "seurat_v3 of batches": lambda a: gs.pp.select_hvgs(
        a, 10, silent=True, flavor="seurat_v3", span=1, batch_key="donor"
    ),
    "markers": lambda a: gs.pp.select_markers(a, "cell_type", 10, silent=True),
}


@pytest.mark.parametrize("how", GENES)
def test_the_workers_select_genes(
    watched: Watched, cells: ad.AnnData, client: Client, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the last bit, as sums are added in the order of the cells."""
    with monkeypatch.context() as here:
        refuse_to_compute(here)
        GENES[how](watched.adata)
    check_shares(watched, client)
    expected = cells.copy()
    GENES[how](expected)
    pd.testing.assert_frame_equal(watched.adata.var, expected.var, check_exact=True)
    assert expected.var["ginseng_genes"].sum() == 10


def test_the_workers_read_a_training_set(watched: Watched, cells: ad.AnnData, client: Client, tmp_path: Path) -> None:
    names = cells.var_names[3:20].tolist()
    gs.data.GinsengDataset.create(tmp_path / "dask.zarr", watched.adata, "cell_type", genes=names, silent=True)
    check_shares(watched, client)
    gs.data.GinsengDataset.create(tmp_path / "memory.zarr", cells, "cell_type", genes=names, silent=True)
    found, expected = (ad.read_zarr(tmp_path / name) for name in ("dask.zarr", "memory.zarr"))
    assert found.n_obs == N - 12
    np.testing.assert_array_equal(found.X.toarray(), expected.X.toarray())
    pd.testing.assert_frame_equal(found.obs, expected.obs)


def test_the_workers_embed(
    watched: Watched, cells: ad.AnnData, state: State, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And labels that they gave are scored as any."""
    with monkeypatch.context() as here:
        refuse_to_compute(here)
        gs.tl.embed(watched.adata, state, silent=True)
        gs.tl.classify(watched.adata, state, silent=True)
    check_shares(watched, client)
    expected = cells.copy()
    gs.tl.embed(expected, state, silent=True)
    gs.tl.classify(expected, state, silent=True)
    np.testing.assert_allclose(watched.adata.obsm["X_ginseng"], expected.obsm["X_ginseng"], atol=1e-6)
    scores = [gs.tl.evaluate(a, "cell_type", return_table=True) for a in (watched.adata, expected)]
    pd.testing.assert_frame_equal(*scores)


def test_wherever_the_matrix_is(store: Path, cells: ad.AnnData, state: State, client: Client) -> None:
    lazy, expected = gs.read_adata(store, backed="dask"), table(cells, state)
    for layer in (None, "dense", "raw"):
        same(table(lazy, state, layer=layer), expected)
    same(table(store, state, backed="dask"), expected)
    same(table(ad.experimental.read_lazy(store), state), expected)
    by_columns = lazy.X.rechunk((-1, 7)).map_blocks(sparse.csc_matrix)
    same(table(ad.AnnData(by_columns, obs=cells.obs, var=cells.var), state), expected)
    rows = np.random.default_rng(0).permutation(N)
    same(table(lazy[rows], state, adapt=False), table(cells[rows], state, adapt=False))


def test_without_a_cluster(watched: Watched, store: Path, cells: ad.AnnData, state: State) -> None:
    same(table(watched.adata, state), table(cells, state))
    assert set(watched.readers) == {os.getpid()}
    lazy = gs.read_adata(store, backed="dask")
    assert isinstance(lazy.X, da.Array)
    same(table(lazy, state, layer="dense"), table(cells, state))


def test_an_error_of_a_worker_is_that_of_this_process(cells: ad.AnnData, state: State, client: Client) -> None:
    x = cells.X.toarray()
    x[444, 5] = -3
    bad = ad.AnnData(da.from_array(x, chunks=(50, 30)), var=cells.var)
    with pytest.raises(ValueError, match=r"`adata\.X` has negative values \(lowest -3\)"):
        table(bad, state, adapt=False)


def test_command_line(
    store: Path, cells: ad.AnnData, state: State, cluster: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gs.save_model(state, tmp_path / "model.h5")
    scheduler, model = ["--dask", cluster.scheduler_address], ["--model", str(tmp_path / "model.h5")]
    with monkeypatch.context() as here:
        refuse_to_compute(here)
        assert main(["annotate", str(store), *model, *scheduler, "-o", str(tmp_path / "a.csv")]) == 0
        assert main(["annotate", str(store), *model, *scheduler, "-o", str(tmp_path / "a.zarr")]) == 0
        assert main(["embed", str(store), *model, *scheduler, "-o", str(tmp_path / "e.csv")]) == 0
        genes = ["select-genes", str(store), "--n-top-genes", "10", *scheduler, "-o", str(tmp_path / "genes.csv")]
        assert main(genes) == 0
    convert = ["convert", str(store), str(tmp_path / "train.zarr"), "--labels", "cell_type", *scheduler]
    assert main(convert) == 0
    expected = table(cells, state)
    assert pd.read_csv(tmp_path / "a.csv")["cell_type"].tolist() == expected["cell_type"].tolist()
    assert ad.read_zarr(tmp_path / "a.zarr").obs["ginseng_cell_type"].tolist() == expected["cell_type"].tolist()
    gs.pp.select_hvgs(selected := cells.copy(), 10, silent=True)
    assert pd.read_csv(tmp_path / "genes.csv")["ginseng_genes"].tolist() == selected.var["ginseng_genes"].tolist()
    assert gs.data.GinsengDataset(tmp_path / "train.zarr").n_cells == N - 12


def test_no_scheduler_there(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["select-genes", str(store), "--dask", "nowhere", "-o", "genes.csv"]) == 1
    assert "--dask nowhere" in capsys.readouterr().err
