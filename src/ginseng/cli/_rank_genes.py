"""Rank the genes that drive the label of each type."""

from __future__ import annotations

import argparse
from typing import Any

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

HELP = "rank the genes that drive each label"
VERBS = ("tl.rank_genes",)
EXAMPLES = """  ginseng rank-genes annotated.h5ad --model atlas.h5 --layer counts -o genes.csv
  ginseng rank-genes atlas.h5ad --model atlas.h5 --groupby cell_type --n-genes 20 -o genes.csv --figure genes.png"""

PARAMETERS = ("groupby", "n_genes", "layer", "gene_key", "normalize", "n_steps", "key", "key_added")
#: Genes printed per type.
SHOWN = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    _options.add_data(parser, many=True)
    _options.add_model(parser)
    _options.add(parser, "groupby", help="column of obs with the groups (default: the labels that annotate wrote)")
    add_outputs(parser, (*CELLS, *TABLES), many=True)
    _options.add(parser, "figure", *PARAMETERS[1:])


def run(args: argparse.Namespace) -> Outcome:
    """Rank genes."""
    check(args.output, (*CELLS, *TABLES), args)
    check(args.figure, FIGURES, args, option="--figure")
    import scanpy as sc

    import ginseng as gs
    from ginseng import _keys
    from ginseng._disk.readers import open_adata

    adata, key = open_adata(args.data), args.key_added or _keys.DEFAULT
    gs.tl.rank_genes(adata, args.model, **_options.given(args, *PARAMETERS, "overwrite"))
    name = _keys.rank_genes(key)
    groups = list(adata.uns[name]["names"].dtype.names)
    parts: Any = {group: sc.get.rank_genes_groups_df(adata, group, key=name) for group in groups}
    columns = ["names", "scores", "logfoldchanges"]
    import pandas as pd

    table = pd.concat({group: part[columns] for group, part in parts.items()}, names=["group"])
    table = table.reset_index("group").set_index("group")
    document = write_result(adata, table, args)
    if args.figure is not None:
        write_figure(gs.pl.rank_genes(adata, key=key, return_fig=True), args.figure)
    best = {group: table.loc[[group]].head(SHOWN) for group in groups}
    width = max(map(len, groups))
    text = "\n".join(f"{group:<{width}}  {', '.join(rows['names'])}" for group, rows in best.items())
    return Outcome(text, {"groups": {g: records(table.loc[[g]]) for g in groups}}, document=document)
