"""Describe a model: its classes and genes, training data, holdout metrics, and versions."""

from __future__ import annotations

import argparse
from pathlib import Path

from ginseng.cli._outputs import Outcome, number

HELP = "describe a model file"
VERBS = ("load_model", "ginseng.load_model")
EXAMPLES = """  ginseng info atlas.h5
  ginseng info atlas.h5 --json | jq -r '.classes[]'"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("model", metavar="MODEL", type=Path, help="model that `ginseng train` or save_model wrote")


def run(args: argparse.Namespace) -> Outcome:
    """Describe a model."""
    from ginseng.model.card import assessed, measured, model_card, n_weights
    from ginseng.model.header import read_summary

    model = read_summary(args.model)
    card = model_card(model, model=args.model, size=f"{args.model.stat().st_size / 1e6:.1f} MB")
    values = {
        "model": str(args.model), "architecture": model["architecture"], "settings": model["config"],
        "n_weights": n_weights(model["params"]), "normalize": model["normalize"], "target_sum": model["target_sum"],
        "library_size": model["library_size"], "classes": model["label_keys"], "genes": model["genes"],
        "info": model["info"],
        "metrics": {name: number(value) for name, value in measured(model).items()},
        "assessment": assessed(model),
        "history": {name: [number(value) for value in column] for name, column in model["history"].items()},
    }  # fmt: skip
    return Outcome(card.text(), values)
