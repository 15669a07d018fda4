"""Run the model many times per cell, with dropout, and measure the spread of the predictions."""

from __future__ import annotations

import argparse
from typing import Any

from ginseng.cli import _options
from ginseng.cli._outputs import CELLS, TABLES, Outcome, add_outputs, check, is_table, lines, write_cells, write_table

HELP = "measure how certain a model is, by Monte Carlo dropout"
VERBS = ("tl.uncertainty",)
EXAMPLES = """  ginseng uncertainty query.h5ad --model atlas.h5 --layer counts -o query_uncertainty.csv
  ginseng uncertainty annotated.h5ad --model atlas.h5 --n-passes 100 -o annotated.h5ad"""

PARAMETERS = ("n_passes", "layer", "gene_key", "normalize", "key_added", "rng")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    _options.add_data(parser, many=True)
    _options.add_model(parser)
    add_outputs(parser, (*CELLS, *TABLES), many=True, required=True)
    _options.add(parser, *PARAMETERS, "dask")


def run(args: argparse.Namespace) -> Outcome:
    """Measure uncertainty."""
    check(args.output, (*CELLS, *TABLES), args)
    import ginseng as gs
    from ginseng import _keys
    from ginseng._disk.readers import open_adata

    options, key = _options.given(args, *PARAMETERS, "overwrite"), args.key_added or _keys.DEFAULT
    document, adata = None, open_adata(args.data, dask=bool(args.dask))
    if is_table(args.output):
        table: Any = gs.tl.uncertainty(adata, args.model, return_table=True, **options)
        document = write_table(table, args)
        doubt, spread = table["uncertainty"], table["spread"]
    else:
        gs.tl.uncertainty(adata, args.model, **options)
        doubt, spread = adata.obs[_keys.uncertainty(key)], adata.obs[_keys.spread(key)]
        write_cells(adata, args)
    found = {"n_cells": len(doubt), "mean uncertainty": float(doubt.mean()), "mean spread": float(spread.mean())}
    where = "" if document else f" in {args.output}"
    text = f"{found.pop('n_cells'):,} cells{where}\n{lines(found, '  ')}"
    values = {name.replace(" ", "_"): value for name, value in found.items()}
    return Outcome(text, {"output": str(args.output), "n_cells": len(doubt), **values}, document=document)
