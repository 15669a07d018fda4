"""Train a model that recognises cell types.

DATA may also be a training store, which `ginseng convert --labels` writes, for cells that do not fit in memory. Ctrl-C
keeps a checkpoint, and the same command with --resume continues from it.
"""

from __future__ import annotations

import argparse
import atexit
import itertools
import json
import os
import sys
from pathlib import Path
from typing import Any

from ginseng.cli import _options
from ginseng.cli._outputs import MODELS, Outcome, add_outputs, check, lines, number

HELP = "train a model"
VERBS = ("tl.train", "train")
EXAMPLES = """  ginseng train atlas.h5ad --labels cell_type --layer counts -o atlas.h5
  ginseng train atlas.h5ad --labels cell_type --groups donor --set lr=1e-3 --set upper=200 -o atlas.h5
  ginseng train atlas.h5ad --levels lineage cell_type -o atlas.h5
  ginseng train atlas.zarr -o atlas.h5 --resume
  srun ginseng train atlas.zarr -o atlas.h5 --distributed"""


#: Parameters, and settings that have an option of their own.
PARAMETERS = ("label_key", "levels", "unlabeled", "layer", "genes", "gene_key", "group_key", "epochs", "resume")
SETTINGS = ("architecture", "holdout_fraction", "normalize", "seed")
#: Arguments of `jax.distributed.initialize`.
PROCESSES = ("coordinator_address", "num_processes", "process_id")
#: Seconds without a sign of life after which a process counts as lost, and that processes wait for each other to end.
LOST, ENDED = 20, 10


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
    _options.add(parser, "resume", "distributed", *PROCESSES)


def run(args: argparse.Namespace) -> Outcome:
    """Train and save a model."""
    check(args.output, MODELS, args)
    import ginseng as gs
    from ginseng._disk.readers import open_adata
    from ginseng.model.file import target_of
    from ginseng.train.processes import LostProcessError, is_first

    target_of(args.output)
    place = _options.given(args, *PROCESSES)
    if args.distributed:
        _join(place)
    elif place:
        msg = f"`{next(iter(place))}` has no effect without `distributed`."
        raise ValueError(msg)
    checkpoint = args.checkpoint or args.output.with_name(f"{args.output.name}.checkpoint")
    data: Any = args.data
    options = _options.given(args, *PARAMETERS)
    if args.n_top_genes is not None:
        data, options["genes"] = open_adata(args.data), "ginseng_genes"
        gs.pp.select_hvgs(data, args.n_top_genes, args.layer)
    settings = dict(args.settings) | _options.given(args, *SETTINGS)
    try:
        state: Any = gs.tl.train(data, settings=settings, checkpoint=checkpoint, **options)
    except LostProcessError:
        atexit.register(_end_alone)
        raise
    state = gs.model.GinsengClassifierState.from_dict(data.uns["ginseng"]["model"]) if state is None else state
    if state.info["interrupted"]:
        msg = f"Interrupted; no model was written. The same command with --resume continues from {checkpoint}."
        raise KeyboardInterrupt(msg)
    if not is_first():
        return Outcome("Process 0 writes the model.", {"output": None})
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


def _join(place: dict[str, Any]) -> None:
    """Wait for the other processes, and train with them.

    Raises
    ------
    ValueError
        If neither the options nor the cluster tell which processes there are.
    """
    import jax

    try:
        jax.distributed.initialize(
            **place, heartbeat_timeout_seconds=LOST, shutdown_timeout_seconds=ENDED, initialization_timeout=300
        )
    except (ValueError, TypeError) as error:
        msg = (
            f"The processes of this run are unknown ({error}). Start them with Slurm, Open MPI or Kubernetes, or pass "
            "`coordinator_address`, `num_processes` and `process_id`."
        )
        raise ValueError(msg) from error


def _end_alone() -> None:
    """End without the other processes, which JAX would wait for."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


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
