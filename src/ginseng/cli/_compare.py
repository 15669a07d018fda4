"""Train models on the same cells and genes, and test them on the same held-out cells."""

from __future__ import annotations

import argparse
from typing import Any

from ginseng.cli import _options
from ginseng.cli._outputs import FIGURES, TABLES, Outcome, add_outputs, check, write_figure, write_table

HELP = "compare models on the same cells"
VERBS = ("tl.compare",)
EXAMPLES = """  ginseng compare atlas.h5ad --labels cell_type
  ginseng compare atlas.h5ad --labels cell_type --models gated linear random_forest -o table.csv --figure table.png
  ginseng compare atlas.h5ad --labels cell_type --groups donor --split 0.6 0.2 0.2"""


PARAMETERS = (
    "models", "unlabeled", "layer", "genes", "n_top_genes", "gene_key", "group_key", "split_key", "fractions",
    "normalize", "epochs", "rng",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    _options.add_data(parser)
    _options.add(parser, "label_key", required=True)
    add_outputs(parser, TABLES)
    _options.add(parser, "figure", *PARAMETERS)


def run(args: argparse.Namespace) -> Outcome:
    """Compare models."""
    check(args.output, TABLES, args)
    check(args.figure, FIGURES, args, option="--figure")
    import ginseng as gs
    from ginseng._disk.readers import open_adata

    adata = open_adata(args.data)
    table: Any = gs.tl.compare(adata, args.label_key, **_options.given(args, *PARAMETERS, "overwrite"))
    document = None if args.output is None else write_table(table, args)
    if args.figure is not None:
        write_figure(gs.pl.compare(adata, return_fig=True), args.figure)
    text = table.to_string(float_format="{:.3f}".format)
    return Outcome(text, {"models": table.to_dict("index")}, document=document)
