"""Label each cell with its most probable cell type, and write the data with the labels, or a table of them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ginseng.cli._shared import Outcome, add_data, check_output, lines, write_table

HELP = "label cells with a model"
EXAMPLES = """  ginseng annotate query.h5ad --model atlas.h5 --layer counts -o annotated.h5ad
  ginseng annotate filtered_feature_bc_matrix.h5 --model atlas.h5 -o labels.csv
  ginseng annotate query.h5ad --model atlas.h5 --min-confidence 0.5 --excluded "B cell" "T/NK" -o annotated.h5ad"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_data(parser, labels=None)
    parser.add_argument("-m", "--model", metavar="MODEL", required=True, help="model that `ginseng train` wrote")
    parser.add_argument(
        "-o", "--output", metavar="PATH", type=Path, required=True,
        help=".h5ad or .zarr for the data with the labels (may be DATA itself), .csv or .tsv for a table of them",
    )  # fmt: skip
    parser.add_argument("--key-added", metavar="NAME", default="ginseng", help="prefix of what is written")
    parser.add_argument("--probabilities", action="store_true", help="write the probability of every class as well")
    parser.add_argument(
        "--min-confidence", type=float, metavar="P", help="leave cells below it unassigned (default: 0)"
    )
    parser.add_argument(
        "--min-overlap", type=float, metavar="SHARE", help="share of the genes of the model that the data must have"
    )
    parser.add_argument("--allowed", nargs="+", metavar="CLASS", help="classes that are possible (default: all)")
    parser.add_argument("--excluded", nargs="+", metavar="CLASS", help="classes that are not possible")
    parser.add_argument(
        "--no-adapt", dest="adapt", action="store_const", const=False,
        help="take each cell for itself, and do not adapt to how all differ from the cells that were trained on",
    )  # fmt: skip


def run(args: argparse.Namespace) -> Outcome:
    """Annotate cells."""
    source = Path(args.data)
    in_place = args.output.suffix in (".h5ad", ".zarr") and source.exists() and args.output.exists()
    in_place = in_place and args.output.samefile(source)
    check_output(args.output, (".h5ad", ".zarr", ".csv", ".tsv"), overwrite=in_place)
    import ginseng as gs

    given: dict[str, Any] = {
        "layer": args.layer, "gene_key": args.gene_key, "store_probs": args.probabilities,
        "key_added": args.key_added, "min_confidence": args.min_confidence, "allowed": args.allowed,
        "excluded": args.excluded, "min_overlap": args.min_overlap, "adapt": args.adapt,
    }  # fmt: skip
    options = {name: value for name, value in given.items() if value is not None}
    if args.output.suffix in (".csv", ".tsv"):
        table: Any = gs.classify(args.data, args.model, return_table=True, **options)
        write_table(table, args.output)
        cell_type, confidence = table["cell_type"], table["confidence"]
    else:
        gs.classify(args.data, args.model, output=args.output, **options)
        obs = gs.read_adata(args.output, backed=True).obs
        cell_type, confidence = obs[f"{args.key_added}_cell_type"], obs[f"{args.key_added}_confidence"]
    counts = {str(name): int(n) for name, n in cell_type.value_counts().items() if n}
    mean = float(confidence.mean())
    text = f"{len(cell_type):,} cells in {args.output}, mean confidence {mean:.3f}\n{lines(counts, '  ')}"
    return Outcome(
        text,
        {"output": str(args.output), "n_cells": len(cell_type), "mean_confidence": mean, "cell_types": counts},
    )
