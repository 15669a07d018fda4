"""Label every cell with a model that has not seen it, and evaluate the labels."""

from __future__ import annotations

import argparse

from ginseng.cli import _options
from ginseng.cli._outputs import (
    CELLS,
    FIGURES,
    TABLES,
    Outcome,
    add_outputs,
    check,
    records,
    write_figure,
    write_result,
)

HELP = "evaluate a model on cells that it has not seen"
VERBS = ("tl.cross_validate",)
EXAMPLES = """  ginseng cross-validate atlas.h5ad --labels cell_type --layer counts
  ginseng cross-validate atlas.h5ad --labels cell_type --groups donor --folds loo -o folds.csv --figure confusion.png
  ginseng cross-validate atlas.h5ad --labels cell_type --model linear -o atlas_cv.h5ad"""

PARAMETERS = (
    "n_folds",
    "unlabeled",
    "layer",
    "genes",
    "n_top_genes",
    "gene_key",
    "group_key",
    "normalize",
    "epochs",
    "rng",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    _options.add_data(parser)
    _options.add(parser, "label_key", required=True)
    parser.add_argument(
        "-m", "--model", metavar="NAME", help="a network, logistic_regression or random_forest (default: gated)"
    )
    add_outputs(parser, (*TABLES, *CELLS))
    _options.add(parser, "figure", *PARAMETERS, "key_added")


def run(args: argparse.Namespace) -> Outcome:
    """Cross-validate a model."""
    check(args.output, (*TABLES, *CELLS), args)
    check(args.figure, FIGURES, args, option="--figure")
    import ginseng as gs
    from ginseng import _keys
    from ginseng._disk.readers import open_adata

    adata, key = open_adata(args.data), args.key_added or _keys.CROSS_VALIDATION
    options = _options.given(args, *PARAMETERS, "key_added", "overwrite")
    if str(options.get("n_folds", "loo")) != "loo":
        options["n_folds"] = _whole(options["n_folds"])
    gs.tl.cross_validate(adata, args.label_key, args.model, **options)
    folds, metrics = adata.uns[key]["folds"], adata.uns[key]["metrics"]
    document = write_result(adata, folds, args)
    if args.figure is not None:
        write_figure(gs.pl.confusion(adata, key=key, return_fig=True), args.figure)
    averages = {name: float(metrics[name]) for name in ("accuracy", "balanced_accuracy", "macro_f1", "weighted_f1")}
    overall = ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in averages.items())
    text = f"{folds.to_string(float_format='{:.3f}'.format)}\n\nall {metrics['n_cells']:,} cells: {overall}"
    values = {**averages, "n_cells": metrics["n_cells"], "folds": records(folds.reset_index())}
    return Outcome(text, values, document=document)


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        msg = f"--folds must be a number or loo, not {text}."
        raise ValueError(msg) from None
