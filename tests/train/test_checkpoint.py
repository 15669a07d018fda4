"""Interrupted training, once resumed, ends with bit-identical weights and history."""

import itertools
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import jax
import numpy as np
import pandas as pd
import pytest

import ginseng as gs
from ginseng._disk.atomic import LockedError
from ginseng.data import GinsengDataset, _batches
from ginseng.data._memory import MemoryDataset
from ginseng.model import GinsengClassifierState, ModelFileError
from ginseng.train import GinsengClassifierTrainer, GinsengClassifierTrainerSettings, checkpoint, loop

#: Five windows an epoch, whose last batches go over into the next window, and noise, which is drawn by step.
SETTINGS: dict[str, Any] = {
    "epochs": 3, "batch_size": 8, "rate": 0.1, "config": {"hidden_dim": 6, "gate_dim": 4, "n_layers": 1},
}  # fmt: skip
WINDOWS = 5


@pytest.fixture(scope="module", autouse=True)
def small_windows() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_batches, "WINDOW_BYTES", 4 * 8 * 16 * 3)
        patch.setattr(checkpoint, "WAIT", 0)
        patch.setattr(_batches, "BLOCK_ROWS", 10)
        patch.setattr(_batches, "BLOCKS_PER_WINDOW", 4)
        yield


@pytest.fixture(scope="module")
def store(dataset: MemoryDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    obs = pd.DataFrame({"cell_type": pd.Categorical.from_codes(dataset.labels, dataset.label_names)})
    obs.index = obs.index.astype(str)
    adata = ad.AnnData(dataset.source.counts.copy(), obs, pd.DataFrame(index=dataset.gene_names))
    folder = tmp_path_factory.mktemp("store")
    return GinsengDataset.create(folder / "cells.zarr", adata, "cell_type", silent=True).path


def trainer(store: Path, **settings: Any) -> GinsengClassifierTrainer:
    return GinsengClassifierTrainer(store, GinsengClassifierTrainerSettings(**{**SETTINGS, **settings}))


def fit(store: Path, **arguments: Any) -> GinsengClassifierState:
    return trainer(store).fit(silent=True, **arguments)[1]


@pytest.fixture(scope="module")
def whole(store: Path, small_windows: None) -> GinsengClassifierState:
    return fit(store, checkpoint=False)


def assert_same(found: GinsengClassifierState, whole: GinsengClassifierState) -> None:
    jax.tree.map(np.testing.assert_array_equal, found.params, whole.params)
    assert found.history.keys() == whole.history.keys()
    for name, column in whole.history.items():
        np.testing.assert_array_equal(found.history[name], column)
    assert {**found.info, "seconds": 0} == {**whole.info, "seconds": 0}


def beside(store: Path) -> list[Path]:
    return sorted(p for p in store.parent.iterdir() if p != store)


@pytest.fixture
def at_window(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that schedules a callback after a number of windows."""

    def at(n: int, happens: Callable[[], Any]) -> None:
        seen, progress = itertools.count(1), loop.progress

        def bar(**kwargs: Any) -> Any:
            made = progress(**kwargs)
            update = made.update
            made.update = lambda steps: (update(steps), happens() if next(seen) == n else None)
            return made

        monkeypatch.setattr(loop, "progress", bar)

    return at


def fail() -> None:
    raise RuntimeError("power cut")


# -- interruptions ---------------------------------------------------------------------------------------------------


def test_checkpoints_change_nothing_and_none_is_left(store: Path, whole: GinsengClassifierState) -> None:
    assert_same(fit(store), whole)
    assert beside(store) == []


def test_quick_epochs_are_not_held_up(
    store: Path, monkeypatch: pytest.MonkeyPatch, whole: GinsengClassifierState
) -> None:
    """Checkpoints follow the first and the last epoch; others only once writing is a small part of the time."""
    written: list[int] = []
    write = checkpoint.Checkpoint.write
    monkeypatch.setattr(
        checkpoint.Checkpoint, "write", lambda self, found: (written.append(found.epoch), write(self, found))
    )
    monkeypatch.setattr(checkpoint, "WAIT", 1e9)
    assert_same(fit(store), whole)
    assert written == [1, 3]


@pytest.mark.parametrize("each_window", [False, True])
@pytest.mark.parametrize("n", [1, 3, 5, 6, 10, 12, 15])
def test_an_error_at_any_moment(
    store: Path, whole: GinsengClassifierState, at_window: Callable, monkeypatch: pytest.MonkeyPatch,
    n: int, each_window: bool, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    if each_window:
        monkeypatch.setattr(checkpoint, "SECONDS", -1)
    at_window(n, fail)
    with pytest.raises(RuntimeError, match="power cut"):
        fit(store)
    written = n > 1 if each_window else n > WINDOWS
    assert len(beside(store)) == written
    monkeypatch.undo()
    assert_same(fit(store, resume=True), whole)
    assert ("no checkpoint at" in capsys.readouterr().err) is not written
    assert beside(store) == []


@pytest.mark.parametrize("n", [6, 8, 10])
def test_ctrl_c_gives_the_best_model_so_far(
    store: Path, whole: GinsengClassifierState, at_window: Callable, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], n: int,
) -> None:  # fmt: skip
    at_window(n, lambda: signal.raise_signal(signal.SIGINT))
    state = fit(store)
    assert state.info["interrupted"] is True
    assert not whole.info["interrupted"]
    assert state.info["best_epoch"] == 1
    assert state.history["epoch"].tolist() == [1]
    assert state.history["holdout_loss"] == whole.history["holdout_loss"][:1]
    assert all(np.isfinite(a).all() for a in jax.tree.leaves(state.params))
    (path,) = beside(store)
    told = capsys.readouterr().err
    assert re.search("epoch 2 of 3.*epoch 1", told)
    assert "`resume=True`" in told
    assert str(path) in told
    with h5py.File(path) as file:
        assert (file.attrs["epoch"], file.attrs["window"]) == (1, n - WINDOWS)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    monkeypatch.undo()
    assert_same(fit(store, resume=True), whole)


def test_ctrl_c_in_the_first_epoch(
    store: Path, whole: GinsengClassifierState, at_window: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_window(2, lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt, match=r"epoch 1 of 3.*`resume=True`"):
        fit(store)
    monkeypatch.undo()
    assert_same(fit(store, resume=True), whole)


def test_a_second_ctrl_c_stops_at_once(store: Path, at_window: Callable) -> None:
    at_window(7, lambda: [signal.raise_signal(signal.SIGINT) for _ in range(2)])
    with pytest.raises(KeyboardInterrupt):
        fit(store)
    (path,) = beside(store)
    with h5py.File(path) as file:
        assert (file.attrs["epoch"], file.attrs["window"]) == (1, 0)
    path.unlink()


def test_a_program_that_handles_the_signal_itself_keeps_it(store: Path, at_window: Callable) -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
    try:
        at_window(7, lambda: signal.raise_signal(signal.SIGINT))
        assert not fit(store).info["interrupted"]
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == [signal.SIGINT]


KILLED = """
import os, signal, sys, warnings
from pathlib import Path
from ginseng.data import _batches
from ginseng.train import GinsengClassifierTrainer, GinsengClassifierTrainerSettings, checkpoint, compiling
checkpoint.WAIT = 0
_batches.WINDOW_BYTES, _batches.BLOCK_ROWS, _batches.BLOCKS_PER_WINDOW = 4 * 8 * 16 * 3, 10, 4
store, model, settings = sys.argv[1], sys.argv[2], eval(sys.argv[3])

def kill_at(n, owner, name):
    left, call = [n], getattr(owner, name)
    def killing(*args, **kwargs):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*args, **kwargs)
    setattr(owner, name, killing)

for n, where in [(3, "window"), (8, "window"), (1, "fsync"), (2, "replace"), (0, None)]:
    if child := os.fork():  # after the imports, before JAX starts threads
        code = os.waitpid(child, 0)[1]
        assert os.WIFSIGNALED(code) == bool(where), (n, where, code)
        continue
    if where == "window":
        kill_at(n, compiling.Step, "__call__")
    elif where:
        kill_at(n, *{"fsync": (os, "fsync"), "replace": (Path, "replace")}[where])
    fit = GinsengClassifierTrainer(store, GinsengClassifierTrainerSettings(**settings)).fit
    state = fit(silent=True, resume=True)[1]
    import ginseng
    ginseng.save_model(state, model)
    os._exit(0)
"""


@pytest.mark.slow
def test_kill_9_again_and_again(store: Path, whole: GinsengClassifierState, tmp_path: Path) -> None:
    """Killed in the first and the second epoch, while flushing a checkpoint, and while renaming it."""
    command = [sys.executable, "-c", KILLED, str(store), str(tmp_path / "model.h5"), repr(SETTINGS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert_same(gs.load_model(tmp_path / "model.h5"), whole)
    assert beside(store) == []


# -- which checkpoint ------------------------------------------------------------------------------------------------


@pytest.fixture
def stopped(store: Path, at_window: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return the checkpoint of a run that stopped after one epoch and three windows."""
    path = tmp_path / "run.checkpoint"
    at_window(8, fail)
    with pytest.raises(RuntimeError):
        fit(store, checkpoint=path)
    monkeypatch.undo()
    return path


def test_a_path_of_ones_own_is_kept_and_ends_finished(
    store: Path, whole: GinsengClassifierState, stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_same(fit(store, checkpoint=stopped, resume=True), whole)
    assert beside(store) == []
    monkeypatch.setattr(GinsengClassifierTrainer, "_init", fail)
    monkeypatch.setattr(GinsengClassifierTrainer, "_calibrate", lambda *_: (whole.calibration, False))
    assert_same(fit(store, checkpoint=stopped, resume=True), whole)  # nothing of the model is left to compute


def test_cells_in_memory_have_a_checkpoint_on_request(
    dataset: MemoryDataset, at_window: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    obs = pd.DataFrame({"cell_type": pd.Categorical.from_codes(dataset.labels, dataset.label_names)})
    obs.index = obs.index.astype(str)

    def train(**arguments: Any) -> GinsengClassifierState:
        adata = ad.AnnData(dataset.source.counts.copy(), obs, pd.DataFrame(index=dataset.gene_names))
        gs.tl.train(adata, "cell_type", settings=SETTINGS, silent=True, **arguments)
        return GinsengClassifierState.from_dict(adata.uns["ginseng"]["model"])

    whole = train()
    at_window(8, fail)
    with pytest.raises(RuntimeError):
        train(checkpoint=tmp_path / "run.h5")
    monkeypatch.undo()
    assert_same(train(checkpoint=tmp_path / "run.h5", resume=True), whole)
    for given in ({"resume": True}, {"checkpoint": True}):
        with pytest.raises(ValueError, match="`checkpoint="):
            train(**given)


def test_checkpoints_of_other_runs_are_refused(store: Path, stopped: Path, dataset: MemoryDataset) -> None:
    before = stopped.read_bytes()
    cases: list[tuple[dict[str, Any], str]] = [
        ({"lr": 1e-3}, r"`lr` .*0\.\d+ .*0\.001"),
        ({"epochs": 4}, "`epochs` .*3 .*4"),
        ({"seed": 1}, "`seed` .*0 .*1 .*held out"),
        ({"config": {}}, "`config`"),
    ]
    for settings, reason in cases:
        with pytest.raises(ValueError, match=f"{stopped.name}.*{reason}"):
            trainer(store, **settings).fit(silent=True, checkpoint=stopped, resume=True)
        with pytest.raises(FileExistsError, match=reason):
            trainer(store, **settings).fit(silent=True, checkpoint=stopped)
    with pytest.raises(ValueError, match="cells"):
        GinsengClassifierTrainer(dataset, GinsengClassifierTrainerSettings(**SETTINGS)).fit(
            silent=True, checkpoint=stopped, resume=True
        )
    renamed = MemoryDataset(dataset.source, dataset.labels, ["a", "b", "c", "d"], dataset.gene_names[::-1], None, None)
    with pytest.raises(ValueError, match=r"genes.*classes"):
        GinsengClassifierTrainer(renamed, GinsengClassifierTrainerSettings(**SETTINGS)).fit(
            silent=True, checkpoint=stopped, resume=True
        )
    assert stopped.read_bytes() == before


def test_each_run_has_its_own_checkpoint_next_to_a_store(
    store: Path, whole: GinsengClassifierState, at_window: Callable, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    at_window(8, fail)
    with pytest.raises(RuntimeError):
        fit(store)
    monkeypatch.undo()
    (path,) = beside(store)
    with pytest.raises(ValueError, match=rf"{path.name}.*`lr` .*0\.5"):
        trainer(store, lr=0.5).fit(silent=True, resume=True)
    trainer(store, seed=3).fit(silent=True)
    assert beside(store) == [path]
    assert capsys.readouterr().err == ""
    assert_same(fit(store), whole)
    assert str(path) in capsys.readouterr().err
    assert beside(store) == []


def test_two_trainings_do_not_share_a_checkpoint(
    store: Path, tmp_path: Path, at_window: Callable, whole: GinsengClassifierState
) -> None:
    mine, others = tmp_path / "mine.h5", []

    def second() -> None:
        before = mine.stat().st_ino, mine.stat().st_mtime_ns
        for resume in (False, True):
            with pytest.raises(LockedError, match=f"mine.h5.*{os.getpid()}"):
                fit(store, checkpoint=mine, resume=resume)
        assert (mine.stat().st_ino, mine.stat().st_mtime_ns) == before

    at_window(8, second)
    assert_same(fit(store, checkpoint=mine), whole)

    def beside_it() -> None:
        assert_same(fit(store), whole)  # the same run with a separate checkpoint
        others.extend(beside(store))

    at_window(8, beside_it)
    assert_same(fit(store), whole)
    assert len([p for p in others if p.suffix == ".h5"]) == 1  # the first run's, which is still going
    assert beside(store) == []


def test_unusable_checkpoint_paths(store: Path, tmp_path: Path, whole: GinsengClassifierState) -> None:
    mine = tmp_path / "mine.h5"
    mine.write_text("keep")
    with pytest.raises(FileExistsError, match=mine.name):
        fit(store, checkpoint=mine)
    with pytest.raises(ModelFileError, match=mine.name):
        fit(store, checkpoint=mine, resume=True)
    gs.save_model(whole, tmp_path / "model.h5")
    with pytest.raises(FileExistsError, match="'ginseng-model'"):
        fit(store, checkpoint=tmp_path / "model.h5")
    assert mine.read_text() == "keep"
    with pytest.raises(PermissionError, match="`checkpoint`"):
        fit(store, checkpoint=tmp_path / "nowhere" / "run.h5")


def test_a_full_disk_does_not_end_training(
    store: Path, whole: GinsengClassifierState, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "write_members", full)
    assert_same(fit(store), whole)
    assert capsys.readouterr().err.count("is full") == 1
    assert beside(store) == []


def _attribute(name: str, value: Any) -> Callable[[h5py.File], None]:
    return lambda file: file.attrs.create(name, value)


def _replace(name: str, value: np.ndarray) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = value

    return change


def _link(file: h5py.File) -> None:
    del file["losses"]
    file["losses"] = h5py.ExternalLink("elsewhere.h5", "/losses")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: file["params/head/W"].write_direct(np.ones_like(file["params/head/W"])), "SHA-256"),
        (_replace("params/head/W", np.zeros((2, 2), np.float32)), "shape"),
        (_replace("optimizer/0/mu", np.zeros(3, np.float32)), "shape"),
        (_replace("optimizer/0/count", np.int64(3)), "int64, not int32"),
        (lambda file: file["kept/head/b"].write_direct(np.full_like(file["kept/head/b"], np.nan)), "not finite"),
        (_replace("best", np.zeros(5)), "shape"),
        (_replace("history/epoch", np.zeros(7)), "shape"),
        (_link, "link"),
        (lambda file: file.create_group("more"), "'more'"),
        (lambda file: file.pop("kept"), "SHA-256"),
        (_attribute("epoch", -1), "'epoch'.*-1"),
        (_attribute("epoch", 0), "best epoch"),
        (_attribute("step", 4), "SHA-256"),
        (_attribute("run", np.bytes_(b"[]")), "run"),
        (_attribute("run", np.bytes_(b"{")), "checkpoint"),
        (_attribute("format_version", np.bytes_(b"2.0")), r"2\.0"),
    ],
)  # fmt: skip
def test_a_damaged_checkpoint_is_refused(
    store: Path, stopped: Path, change: Callable[[h5py.File], Any], message: str
) -> None:
    with h5py.File(stopped, "r+") as file:
        change(file)
    with pytest.raises(ModelFileError, match=message):
        fit(store, checkpoint=stopped, resume=True)


def test_description_of_the_run(stopped: Path) -> None:
    with h5py.File(stopped) as file:
        run = json.loads(file.attrs["run"])
        assert file.attrs["format"] == b"ginseng-checkpoint"
        assert {name: run["settings"][name] for name in ("epochs", "batch_size", "rate")} == {
            "epochs": 3, "batch_size": 8, "rate": 0.1,
        }  # fmt: skip
