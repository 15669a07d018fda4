"""Show what a model is: its classes and genes, what it was trained on, how well it did, and with which versions."""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path
from typing import Any

from ginseng.cli._outputs import Outcome, lines, number

HELP = "show what a model is"
VERBS = ("load_model", "ginseng.load_model")
EXAMPLES = """  ginseng info atlas.h5
  ginseng info atlas.h5 --json | jq -r '.classes[]'"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("model", metavar="MODEL", type=Path, help="model that `ginseng train` or save_model wrote")


def run(args: argparse.Namespace) -> Outcome:
    """Describe a model."""
    import jax
    import numpy as np

    import ginseng as gs

    state = gs.load_model(args.model)
    info = state.info
    n_weights = sum(int(np.size(a)) for a in jax.tree.leaves(state.params))
    best = info.get("best_epoch")
    measured = {name: float(values[best - 1]) for name, values in state.history.items()} if best else {}
    measured.pop("epoch", None)
    counts = "counts" if state.normalize else "log-normalised values"
    shown: dict[str, Any] = {
        "model": args.model,
        "network": f"{state.architecture}, {n_weights:,} weights ({args.model.stat().st_size / 1e6:.1f} MB)",
        "input": f"{counts} of {state.n_genes:,} genes: {', '.join(state.genes[:5])}, ...",
        "settings": ", ".join(f"{name} {value}" for name, value in sorted(state.config.items())),
        "classes": textwrap.fill(f"{state.n_classes}: {', '.join(state.label_keys)}", 100, subsequent_indent=" " * 18),
    }
    if "n_train" in info:
        source = f", labels in {info['label_key']!r}" if info.get("label_key") else ""
        shown["trained on"] = f"{info['n_train']:,} cells, {info['n_holdout']:,} held out{source}"
    if best:
        stopped = ", interrupted" if info.get("interrupted") else ""
        shown["epoch"] = f"{best} of {len(state.history['epoch'])}{stopped}"
    shown |= {name.replace("_", " "): value for name, value in measured.items() if np.isfinite(value)}
    versions = info.get("versions", {})
    shown["versions"] = ", ".join(f"{n} {v}" for n, v in versions.items()) or "not recorded (a file of ginseng 0.2)"
    values = {
        "model": str(args.model), "architecture": state.architecture, "settings": state.config,
        "n_weights": n_weights, "normalize": state.normalize, "target_sum": state.target_sum,
        "library_size": state.library_size, "classes": state.label_keys, "genes": state.genes, "info": info,
        "metrics": {name: number(value) for name, value in measured.items()},
        "history": {name: [number(value) for value in column] for name, column in state.history.items()},
    }  # fmt: skip
    return Outcome(lines(shown), values)
