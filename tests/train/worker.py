"""Trains in a process of its own: on simulated devices, or as one of several processes.

Its argument is JSON: `store`, `out` (path of a pickle), `runs` (settings of each training) and, optionally, `devices`,
`place` (coordinator, number of processes, this process), `arguments` of `fit`, `labels` (whether to label cells as
well), `forms` (what windows have of the counts, in each training), and `lost_at` (the step at which the process is
killed).
"""

import json
import os
import pickle
import signal
import sys
from typing import Any

import jax
import numpy as np

#: Small blocks and windows, so that 700 cells make several.
BLOCKS = {"BLOCK_ROWS": 70, "BLOCKS_PER_WINDOW": 3, "WINDOW_BYTES": 4 * 100 * 765 * 2}
MULTIPLE = {"heartbeat_timeout_seconds": 20, "shutdown_timeout_seconds": 10}


def main(how: dict[str, Any]) -> None:
    jax.config.update("jax_num_cpu_devices", how.get("devices", 1))
    if "place" in how:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(*how["place"], **MULTIPLE)
    from ginseng.data import _batches
    from ginseng.train import checkpoint, loop

    for name, value in BLOCKS.items():
        setattr(_batches, name, value)
    checkpoint.WAIT = 0
    if "lost_at" in how:
        advance = loop._advance

        def lost(at: Any, *args: Any) -> int:
            if at.step >= how["lost_at"]:
                os.kill(os.getpid(), signal.SIGKILL)
            return advance(at, *args)

        loop._advance = lost
    arguments = how.get("arguments", {})
    found = train(how["store"], how["runs"], arguments, labels=how.get("labels", False), forms=how.get("forms"))
    with open(how["out"], "wb") as file:
        pickle.dump(found, file)


def train(
    store: str,
    runs: list[dict[str, Any]],
    arguments: dict[str, Any],
    *,
    labels: bool = False,
    forms: list[str] | None = None,
) -> list[dict[str, Any]]:
    """Train with each of the settings, and return what came out, with labels of the same cells if `labels`."""
    import ginseng as gs
    from ginseng.train import GinsengClassifierTrainer, GinsengClassifierTrainerSettings, feed
    from ginseng.train.compiling import Step

    programs: list[str] = []

    def listen(event: str, _: float, **about: Any) -> None:
        if "backend_compile" in event and "train_window" in str(about.get("fun_name")):
            programs.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    compiled: list[Any] = []
    compiling = Step.compile

    def compile_and_keep(self: Step, *args: Any) -> Any:
        compiled.append(compiling(self, *args))
        return compiled[-1]

    Step.compile = compile_and_keep  # type: ignore[method-assign]
    found = []
    for i, settings in enumerate(runs):
        programs.clear()
        if forms is not None:
            feed.form_of = lambda source, mesh, form=forms[i]: form  # type: ignore[assignment]
        trainer = GinsengClassifierTrainer(store, GinsengClassifierTrainerSettings(**settings))
        state = trainer.fit(silent=True, **{"checkpoint": False, **arguments})[1]
        n_programs = len(programs)
        said = {}
        if labels:
            query = gs.datasets.pbmc68k()
            gs.tl.classify(query, state)
            gs.tl.classify(query, state, seed=3, key_added="dropout")
            gs.tl.embed(query, state)
            said = {
                "labels": query.obs["ginseng_cell_type"].astype(str).to_numpy(),
                "confidence": query.obs["ginseng_confidence"].to_numpy(),
                "dropout": query.obs["dropout_confidence"].to_numpy(),
                "embedding": query.obsm["X_ginseng"],
            }
        weights, window = [], []
        if compiled:
            params, optimizer, arrays = compiled.pop().input_shardings[0][:3]
            weights, window = jax.tree.leaves((params, optimizer)), jax.tree.leaves(arrays)
        found.append({
            "params": jax.tree.map(np.asarray, state.params),
            "history": state.history,
            **said,
            "n_streams": trainer.n_streams,
            "programs": n_programs,
            "split": {len(a.device_set) for a in window if not a.is_fully_replicated},
            "copied": len(weights) > 0 and all(a.is_fully_replicated for a in weights),
        })  # fmt: skip
    jax.monitoring.unregister_event_duration_listener(listen)
    Step.compile = compiling  # type: ignore[method-assign]
    return found


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
