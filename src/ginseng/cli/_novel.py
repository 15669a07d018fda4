"""Find clusters that the reference of the model cannot explain. The clusters are a column of obs, as that of leiden."""

from __future__ import annotations

import argparse
from typing import Any

from ginseng.cli import _options
from ginseng.cli._outputs import CELLS, TABLES, Outcome, add_outputs, check, records, write_result

HELP = "find clusters of types that the reference lacks"
VERBS = ("tl.novel",)
EXAMPLES = """  ginseng novel annotated.h5ad --groupby leiden
  ginseng novel annotated.h5ad --groupby leiden --n-genes 20 -o new.csv
  ginseng novel annotated.h5ad --groupby leiden -o annotated.h5ad"""

PARAMETERS = ("min_cells", "n_genes", "layer", "key", "key_added")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    _options.add_data(parser, many=True)
    _options.add(parser, "groupby", help="column of obs with the clusters (default: leiden)")
    add_outputs(parser, (*CELLS, *TABLES), many=True)
    _options.add(parser, "n_genes", help="markers to list of each new cluster (default: 10)")
    _options.add(parser, *(name for name in PARAMETERS if name != "n_genes"))


def run(args: argparse.Namespace) -> Outcome:
    """Find new clusters."""
    check(args.output, (*CELLS, *TABLES), args)
    import ginseng as gs
    from ginseng._disk.readers import open_adata

    adata: Any = open_adata(args.data)
    table: Any = gs.tl.novel(adata, **_options.given(args, "groupby", *PARAMETERS, "overwrite"))
    document = write_result(adata, table.rename_axis("cluster"), args)
    n = int(table["novel"].sum())
    text = f"{n} of {len(table)} clusters are new\n{table.to_string(float_format='{:.3f}'.format)}"
    clusters = records(table.rename_axis("cluster").reset_index())
    return Outcome(text, {"n_cells": adata.n_obs, "n_new": n, "clusters": clusters}, document=document)
