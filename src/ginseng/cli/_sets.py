"""Give each cell the set of types that contains the true one with a chosen probability, by conformal prediction."""

from __future__ import annotations

import argparse
from typing import Any

from ginseng.cli import _options
from ginseng.cli._outputs import CELLS, TABLES, Outcome, add_outputs, check, is_table, lines, write_cells, write_table

HELP = "give each cell the set of types that contains the true one with a chosen probability"
VERBS = ("tl.prediction_sets",)
EXAMPLES = """  ginseng sets query.h5ad --model atlas.h5 --layer counts -o query_sets.csv
  ginseng sets annotated.h5ad --model atlas.h5 --alpha 0.05 -o annotated.h5ad"""

PARAMETERS = ("alpha", "layer", "gene_key", "normalize", "adapt", "key_added")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    _options.add_data(parser, many=True)
    _options.add_model(parser)
    add_outputs(parser, (*CELLS, *TABLES), many=True, required=True)
    _options.add(parser, *PARAMETERS)


def run(args: argparse.Namespace) -> Outcome:
    """Give sets."""
    check(args.output, (*CELLS, *TABLES), args)
    import ginseng as gs
    from ginseng import _keys
    from ginseng._disk.readers import open_adata

    options, key = _options.given(args, *PARAMETERS, "overwrite"), args.key_added or _keys.DEFAULT
    document, adata = None, open_adata(args.data)
    if is_table(args.output):
        table: Any = gs.tl.prediction_sets(adata, args.model, return_table=True, **options)
        document = write_table(table, args)
        size = table.sum(axis=1)
    else:
        gs.tl.prediction_sets(adata, args.model, **options)
        size = adata.obs[_keys.set_size(key)]
        write_cells(adata, args)
    counts = {str(n): int(cells) for n, cells in size.value_counts().sort_index().items()}
    where = "" if document else f" in {args.output}"
    text = f"{len(size):,} cells{where}, {size.mean():.2f} types in the mean\nTypes in the set, and cells:\n"
    values = {"output": str(args.output), "n_cells": len(size), "mean_size": float(size.mean()), "sizes": counts}
    return Outcome(text + lines(counts, "  "), values, document=document)
