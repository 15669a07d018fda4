"""Train models on the same cells and genes, and measure them on the same other cells."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ginseng.cli._shared import Outcome, add_data, add_output, check_output, write_figure, write_table

HELP = "compare models on the same cells"
EXAMPLES = """  ginseng compare atlas.h5ad --labels cell_type
  ginseng compare atlas.h5ad --labels cell_type --models gated linear random_forest -o table.csv --figure table.png
  ginseng compare atlas.h5ad --labels cell_type --groups donor --split 0.6 0.2 0.2"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_data(parser, labels=True)
    add_output(parser, "table of the models, .csv or .tsv", required=False)
    parser.add_argument(
        "--models", nargs="+", metavar="NAME",
        help="networks, logistic_regression, random_forest (default: the default network and these two)",
    )  # fmt: skip
    parser.add_argument("--genes", metavar="COLUMN", help="boolean column of var with the genes to train on")
    parser.add_argument("--n-top-genes", type=int, metavar="N", help="train on so many highly variable genes")
    parser.add_argument("--groups", metavar="COLUMN", help="column of obs with donors or batches, to be tested whole")
    parser.add_argument(
        "--split", nargs=3, type=float, metavar="SHARE", default=(0.7, 0.1, 0.2),
        help="for training, validation and test (default: 0.7 0.1 0.2)",
    )  # fmt: skip
    parser.add_argument("--epochs", type=int, help="passes over the data (default: by the number of cells)")
    parser.add_argument("--seed", type=int, default=0, help="draws the split (default: 0)")
    parser.add_argument("--figure", metavar="PATH", type=Path, help="the table as a figure, .png, .pdf or .svg")


def run(args: argparse.Namespace) -> Outcome:
    """Compare models."""
    check_output(args.output, (".csv", ".tsv"), overwrite=args.overwrite)
    check_output(args.figure, (".png", ".pdf", ".svg"), overwrite=args.overwrite)
    import matplotlib as mpl

    import ginseng as gs

    mpl.use("agg")
    adata = gs.read_adata(args.data, backed=True)
    more = {} if args.epochs is None else {"epochs": args.epochs}
    table: Any = gs.tl.compare(
        adata, args.labels, args.models, layer=args.layer, genes=args.genes, n_top_genes=args.n_top_genes,
        gene_key=args.gene_key, group_key=args.groups, fractions=args.split, rng=args.seed, **more,
    )  # fmt: skip
    if args.output is not None:
        write_table(table, args.output)
    if args.figure is not None:
        write_figure(gs.pl.compare(adata, return_fig=True), args.figure)
    return Outcome(table.to_string(float_format="{:.3f}".format), {"models": table.to_dict("index")})
