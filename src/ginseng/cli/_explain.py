"""Show which genes of a cell support its label, and which support the runner-up."""

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

HELP = "show the genes for and against the label of a cell"
VERBS = ("tl.explain",)
EXAMPLES = """  ginseng explain query.h5ad --model atlas.h5 --cells AAACATACAACCAC-1 --layer counts
  ginseng explain query.h5ad --model atlas.h5 --cells AAACATACAACCAC-1 --versus "B cell" --figure cell.png"""

PARAMETERS = ("versus", "n_genes", "layer", "gene_key", "normalize", "n_steps", "key_added")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    _options.add_data(parser)
    _options.add_model(parser)
    _options.add(parser, "cells", required=True)
    add_outputs(parser, (*TABLES, *CELLS))
    _options.add(parser, "figure", *PARAMETERS)


def run(args: argparse.Namespace) -> Outcome:
    """Explain labels."""
    check(args.output, (*TABLES, *CELLS), args)
    check(args.figure, FIGURES, args, option="--figure")
    import ginseng as gs
    from ginseng import _keys
    from ginseng._disk.readers import open_adata

    adata, key = open_adata(args.data), args.key_added or _keys.DEFAULT
    gs.tl.explain(adata, args.model, args.cells, **_options.given(args, *PARAMETERS, "overwrite"))
    table = adata.uns[key][_keys.EXPLANATION].set_index("cell")
    document = write_result(adata, table, args)
    if args.figure is not None:
        write_figure(gs.pl.explain(adata, key=key, return_fig=True), args.figure)
    parts = []
    for cell, rows in table.groupby("cell", sort=False):
        first = rows.iloc[0]
        genes = rows[["gene", "contribution", "expression", "baseline"]].to_string(
            index=False, float_format="{:.3f}".format
        )
        parts.append(f"{cell}: {first['label']} rather than {first['versus']}\n{genes}")
    return Outcome("\n\n".join(parts), {"genes": records(table.reset_index())}, document=document)
