"""Training and labelling on the device of this process. `gpu.py` runs it in a fresh one for each network and device.

    python on_device.py FOLDER NETWORK FEW MANY

Cells per second of training are those of the epochs by which MANY exceed FEW, so that starting and compiling cancel
out. The share of time waiting is read from a trace by JAX's profiler: between the first training step and the last, the
time in which the device runs no kernel (on a CPU: in which no thread of XLA runs any part of a program).
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

#: Names of the threads that run compiled programs on a CPU, and of the streams of a GPU.
THREADS, STREAMS = ("tf_XLAEigen", "tf_XLAExecute"), ("Stream",)
#: What is in the name of a training step, and what a GPU does on a stream without computing.
STEP, COPIES = "train_window", ("Memcpy", "Memset")


def share_waiting(spans: Iterable[tuple[float, float]], start: float) -> float:
    """Return the share of the time from `start` to the end of the last span that is in none of the spans."""
    end, busy = start, 0.0
    for first, last in sorted(spans):
        busy += max(0.0, last - max(first, end))
        end = max(end, last)
    return 1 - busy / (end - start) if end > start else float("nan")


def spans_of(profile: Any) -> tuple[list[tuple[float, float]], float]:
    """Return when the device computed, and when the first training step was started, in nanoseconds."""
    spans, starts = [], []
    on_gpu = any(plane.name.startswith("/device:GPU") for plane in profile.planes)
    for plane in profile.planes:
        for line in plane.lines:
            computes = plane.name.startswith("/device:GPU") and line.name.startswith(STREAMS)
            computes |= not on_gpu and line.name.startswith(THREADS)
            for event in line.events:
                if computes and not event.name.startswith(COPIES):
                    spans.append((event.start_ns, event.start_ns + event.duration_ns))
                if STEP in event.name:
                    starts.append(event.start_ns)
    first = min(starts, default=min((start for start, _ in spans), default=0.0))
    return spans, first


def traced(job: Any) -> float:
    """Run a training, and return the share of time that the device waits."""
    import jax

    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder, profiler_options=options):
            job()
        (path,) = Path(folder).rglob("*.xplane.pb")
        return share_waiting(*spans_of(jax.profiler.ProfileData.from_file(str(path))))


def now() -> np.ndarray:
    """Return seconds, and those of all cores that this process has used."""
    return np.array([time.perf_counter(), time.process_time()])


def rates(what: str, n_cells: int, spent: np.ndarray) -> dict[str, float]:
    """Return cells per second, and per second of a core, which other work on the machine changes less."""
    return {f"{what}_cells_per_s": n_cells / spent[0], f"{what}_cells_per_cpu_s": n_cells / spent[1]}


def figures(folder: Path, network: str, few: int, many: int) -> Iterator[dict[str, Any]]:
    """Yield what is measured, one after the other, so that it can be kept if time runs out."""
    import jax

    import ginseng as gs
    from ginseng.train import GinsengClassifierTrainer, GinsengClassifierTrainerSettings

    device = jax.devices()[0]
    yield {"platform": device.platform, "device": device.device_kind, "jax": jax.__version__}
    dataset = gs.data.GinsengDataset(folder / "store.zarr")

    def train(epochs: int) -> tuple[np.ndarray, Any, Any]:
        settings = GinsengClassifierTrainerSettings(
            architecture=network, epochs=epochs, patience=epochs, calibrate=False
        )
        trainer = GinsengClassifierTrainer(dataset, settings)
        start = now()
        state = trainer.fit(silent=True, checkpoint=False)[1]
        return now() - start, trainer, state

    cold, trainer, _ = train(few)
    n_train = int(trainer.keep.sum())
    n_epoch = -(-n_train // trainer.batch_size)
    yield {"batch_size": trainer.batch_size, "n_train": n_train, "steps": many * n_epoch, "first_fit_seconds": cold[0]}
    (short, _, _), (long, _, state) = train(few), train(many)
    yield {
        **rates("train", n_train * (many - few), long - short),
        "n_parameters": sum(p.size for p in jax.tree.leaves(state.params)),
        "holdout_accuracy": float(state.history["holdout_accuracy"][-1]),
    }
    query = gs.read_adata(folder / "query.h5ad", backed=True)
    true, genes = query.obs["cell_type"].astype(str).to_numpy(), np.load(folder / "genes.npy")

    def label(given: Any, **how: Any) -> tuple[np.ndarray, Any]:
        start = now()
        table = gs.tl.classify(given, state, silent=True, return_table=True, **how)
        return now() - start, table["cell_type"].astype(str).to_numpy()

    first, said = label(folder / "query.h5ad")
    again = label(folder / "query.h5ad")[0]
    yield {"accuracy": (said == true).mean(), "first_labels_seconds": first[0], **rates("label", query.n_obs, again)}
    in_memory = query[:, genes].to_memory()
    label(in_memory, adapt=False)
    yield rates("label_in_memory", query.n_obs, label(in_memory, adapt=False)[0])
    try:
        yield {"share_waiting": traced(lambda: train(few))}
    except Exception as error:  # noqa: BLE001 - the other figures are kept
        yield {"no_trace": f"{type(error).__name__}: {error}"}


def main() -> None:
    warnings.simplefilter("ignore")
    folder, network, few, many = sys.argv[1:]
    found: dict[str, Any] = {}
    for more in figures(Path(folder), network, int(few), int(many)):
        found |= more
        print("RESULT", json.dumps(found, default=float), flush=True)


if __name__ == "__main__":
    main()
