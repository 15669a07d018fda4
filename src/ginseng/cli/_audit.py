"""Find labels that are probably wrong, types that cannot be told apart, and types too small to learn.

Every cell is labelled by a model that has not seen it, nor its donor with --groups.
"""

from __future__ import annotations

import argparse
from typing import Any

from ginseng.cli import _options
from ginseng.cli._outputs import CELLS, TABLES, Outcome, add_outputs, check, write_result

HELP = "find labels that are probably wrong"
VERBS = ("tl.audit_labels",)
EXAMPLES = """  ginseng audit atlas.h5ad --labels cell_type --layer counts
  ginseng audit atlas.h5ad --labels cell_type --groups donor -o wrong.csv
  ginseng audit atlas.h5ad --labels cell_type -o audited.h5ad"""

PARAMETERS = (
    "group_key",
    "min_score",
    "unlabeled",
    "layer",
    "genes",
    "n_top_genes",
    "gene_key",
    "normalize",
    "epochs",
    "rng",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    _options.add_data(parser)
    _options.add(parser, "label_key", required=True)
    parser.add_argument(
        "-m", "--model", metavar="NAME", help="a network, logistic_regression or random_forest (default: linear)"
    )
    add_outputs(parser, (*TABLES, *CELLS))
    _options.add(parser, "n_folds", type=int, help="number of folds (default: 5, or one per group if there are fewer)")
    _options.add(parser, *PARAMETERS, "key_added")


def run(args: argparse.Namespace) -> Outcome:
    """Audit the labels."""
    check(args.output, (*TABLES, *CELLS), args)
    import ginseng as gs
    from ginseng._disk.readers import open_adata

    adata = open_adata(args.data)
    options = _options.given(args, "n_folds", *PARAMETERS, "key_added", "overwrite")
    found: Any = gs.tl.audit_labels(adata, args.label_key, model=args.model, **options)
    document = write_result(adata, found.wrong.rename_axis("cell"), args)
    return Outcome(repr(found), found.to_dict(), document=document)
