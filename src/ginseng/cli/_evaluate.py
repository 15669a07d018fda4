"""Measure predicted labels against true ones."""

from __future__ import annotations

import argparse
from pathlib import Path

from ginseng.cli._shared import Outcome, add_output, check_output, lines, write_figure, write_table

HELP = "measure predicted against true labels"
EXAMPLES = """  ginseng evaluate annotated.h5ad --labels cell_type
  ginseng evaluate annotated.h5ad --labels cell_type -o per_class.csv --figure confusion.png
  ginseng evaluate annotated.h5ad --labels cell_type --predicted majority_voting --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("data", metavar="DATA", help="what `ginseng annotate` wrote: h5ad or AnnData zarr")
    parser.add_argument("-l", "--labels", metavar="COLUMN", required=True, help="column of obs with the true types")
    parser.add_argument(
        "-p", "--predicted", metavar="COLUMN", help="column of obs with the predicted ones (default: ginseng_cell_type)"
    )
    add_output(parser, "table of the classes, .csv or .tsv", required=False)
    parser.add_argument("--figure", metavar="PATH", type=Path, help="confusion matrix, as .png, .pdf or .svg")


def run(args: argparse.Namespace) -> Outcome:
    """Evaluate labels."""
    check_output(args.output, (".csv", ".tsv"), overwrite=args.overwrite)
    check_output(args.figure, (".png", ".pdf", ".svg"), overwrite=args.overwrite)
    import matplotlib as mpl

    import ginseng as gs

    mpl.use("agg")
    adata = gs.read_adata(args.data, backed=True)
    gs.tl.evaluate(adata, args.labels, prediction_key=args.predicted)
    metrics = adata.uns["ginseng"]["metrics"]
    per_class = metrics["per_class"]
    if args.output is not None:
        write_table(per_class, args.output)
    if args.figure is not None:
        write_figure(gs.pl.confusion(adata, return_fig=True), args.figure)
    averages = {name: metrics[name] for name in ("accuracy", "balanced_accuracy", "macro_f1", "weighted_f1")}
    shown = {name.replace("_", " "): value for name, value in averages.items()}
    text = f"{metrics['n_cells']:,} cells\n{lines(shown, '  ')}\n\n{per_class.to_string(float_format='{:.3f}'.format)}"
    confusion = metrics["confusion"]
    values = {
        **averages,
        "n_cells": metrics["n_cells"],
        "per_class": per_class.to_dict("index"),
        "confusion": {"labels": confusion["labels"], "counts": confusion["counts"]},
    }
    return Outcome(text, values)
