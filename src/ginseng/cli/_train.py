"""Train a model that recognises cell types.

DATA may also be a training store, which `ginseng convert --labels` writes, for cells that do not fit in memory. Ctrl-C
keeps a checkpoint, and the same command with --resume continues from it.
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path
from typing import Any

from ginseng.cli import _options
from ginseng.cli._outputs import MODELS, Outcome, add_outputs, check, lines, number

HELP = "train a model"
VERBS = ("tl.train", "train")
EXAMPLES = """  ginseng train atlas.h5ad --labels cell_type --layer counts -o atlas.h5
  ginseng train atlas.h5ad --labels cell_type --groups donor --set lr=1e-3 --set upper=200 -o atlas.h5
  ginseng train atlas.h5ad --levels lineage cell_type -o atlas.h5
  ginseng train atlas.zarr -o atlas.h5 --resume"""


#: Parameters, and settings that have an option of their own.
PARAMETERS = ("label_key", "levels", "unlabeled", "layer", "genes", "gene_key", "group_key", "epochs", "resume")
SETTINGS = ("architecture", "holdout_fraction", "normalize", "seed")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    _options.add_data(parser)
    add_outputs(parser, MODELS, required=True)
    _options.add(parser, *PARAMETERS[:-1], "n_top_genes", *SETTINGS)
    parser.add_argument(
        "--set", dest="settings", metavar="NAME=VALUE", action="append", default=[], type=_setting,
        help="any other setting of ginseng.train.GinsengClassifierTrainerSettings; may be repeated",
    )  # fmt: skip
    _options.add(parser, "checkpoint", help="checkpoint file (default: beside the output, until training ends)")
    _options.add(parser, "resume")


def run(args: argparse.Namespace) -> Outcome:
    """Train and save a model."""
    check(args.output, MODELS, args)
    import ginseng as gs
    from ginseng._disk.readers import open_adata
    from ginseng.model.file import target_of

    target_of(args.output)
    checkpoint = args.checkpoint or args.output.with_name(f"{args.output.name}.checkpoint")
    data: Any = args.data
    options = _options.given(args, *PARAMETERS)
    if args.n_top_genes is not None:
        data, options["genes"] = open_adata(args.data), "ginseng_genes"
        gs.pp.select_hvgs(data, args.n_top_genes, args.layer)
    settings = dict(args.settings) | _options.given(args, *SETTINGS)
    state: Any = gs.tl.train(data, settings=settings, checkpoint=checkpoint, **options)
    state = gs.model.GinsengClassifierState.from_dict(data.uns["ginseng"]["model"]) if state is None else state
    if state.info["interrupted"]:
        msg = f"Interrupted; no model was written. The same command with --resume continues from {checkpoint}."
        raise KeyboardInterrupt(msg)
    _save(state, args.output, overwrite=bool(args.overwrite))
    if args.checkpoint is None:
        checkpoint.unlink(missing_ok=True)
    best = (state.info["best_epoch"] or 1) - 1
    measured = {name: float(values[best]) for name, values in state.history.items() if name != "epoch"}
    shown = {
        "model": args.output,
        "network": state.architecture,
        "genes": f"{state.n_genes:,}",
        "classes": state.n_classes,
        "cells": f"{state.info['n_train']:,} for training, {state.info['n_holdout']:,} held out",
        "epoch": f"{best + 1} of {len(state.history['epoch'])}",
        **{name.replace("_", " "): value for name, value in measured.items() if value == value},
    }
    values = {
        "output": str(args.output), "architecture": state.architecture, "n_genes": state.n_genes,
        "classes": state.label_keys, **{name: number(value) for name, value in measured.items()}, **state.info,
    }  # fmt: skip
    return Outcome(lines(shown), values)


def _save(state: Any, path: Path, *, overwrite: bool) -> None:
    """Save the model; beside its target if that was created during training."""
    import ginseng as gs

    try:
        gs.save_model(state, path, overwrite=overwrite)
    except FileExistsError as error:
        others = (path.with_name(f"{path.stem}-{i}{path.suffix}") for i in itertools.count(2))
        aside = next(other for other in others if not other.exists())
        gs.save_model(state, aside, overwrite=False)
        msg = f"Another process wrote {path} in the meantime. It is not replaced: the model is in {aside}."
        raise FileExistsError(msg) from error


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        msg = f"{text!r} is not NAME=VALUE"
        raise argparse.ArgumentTypeError(msg)
    try:
        return name, json.loads({"True": "true", "False": "false", "None": "null"}.get(value, value))
    except json.JSONDecodeError:
        return name, value
