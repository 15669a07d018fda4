"""Describe a model: its classes and genes, training data, holdout metrics, and versions."""

from __future__ import annotations

import argparse
import math
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ginseng.cli._outputs import Outcome, lines, number

HELP = "describe a model file"
VERBS = ("load_model", "ginseng.load_model")
EXAMPLES = """  ginseng info atlas.h5
  ginseng info atlas.h5 --json | jq -r '.classes[]'"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("model", metavar="MODEL", type=Path, help="model that `ginseng train` or save_model wrote")


def run(args: argparse.Namespace) -> Outcome:
    """Describe a model."""
    from ginseng.model.header import read_summary

    model = read_summary(args.model)
    info, history, classes, genes = model["info"], model["history"], model["label_keys"], model["genes"]
    n_weights = sum(_sizes(model["params"]))
    best = info.get("best_epoch")
    measured = {name: float(values[best - 1]) for name, values in history.items()} if best else {}
    measured.pop("epoch", None)
    counts = "counts" if model["normalize"] else "log-normalised values"
    shown: dict[str, Any] = {
        "model": args.model,
        "network": f"{model['architecture']}, {n_weights:,} weights ({args.model.stat().st_size / 1e6:.1f} MB)",
        "input": f"{counts} of {len(genes):,} genes: {', '.join(genes[:5])}, ...",
        "settings": ", ".join(f"{name} {value}" for name, value in sorted(model["config"].items())),
        "classes": textwrap.fill(f"{len(classes)}: {', '.join(classes)}", 100, subsequent_indent=" " * 18),
    }
    if "n_train" in info:
        source = f", labels in {info['label_key']!r}" if info.get("label_key") else ""
        shown["trained on"] = f"{info['n_train']:,} cells, {info['n_holdout']:,} held out{source}"
    if best:
        stopped = ", interrupted" if info.get("interrupted") else ""
        shown["epoch"] = f"{best} of {len(history['epoch'])}{stopped}"
    if info.get("learned") is False:
        shown["learned"] = "nothing: it is no better than chance on the held-out cells"
    shown |= {name.replace("_", " "): value for name, value in measured.items() if math.isfinite(value)}
    versions = info.get("versions", {})
    shown["versions"] = ", ".join(f"{n} {v}" for n, v in versions.items()) or "not recorded (a file of ginseng 0.2)"
    values = {
        "model": str(args.model), "architecture": model["architecture"], "settings": model["config"],
        "n_weights": n_weights, "normalize": model["normalize"], "target_sum": model["target_sum"],
        "library_size": model["library_size"], "classes": classes, "genes": genes, "info": info,
        "metrics": {name: number(value) for name, value in measured.items()},
        "history": {name: [number(value) for value in column] for name, column in history.items()},
    }  # fmt: skip
    return Outcome(lines(shown), values)


def _sizes(params: Mapping[str, Any]) -> Iterator[int]:
    for value in params.values():
        yield from _sizes(value) if isinstance(value, Mapping) else [int(value.size)]
