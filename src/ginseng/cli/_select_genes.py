"""Select genes to train on: with --labels, those that differ most between cell types, else highly variable genes."""

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
    write_figure,
    write_result,
)

HELP = "select the genes to train on"
VERBS = ("pp.select_hvgs", "pp.select_markers")
EXAMPLES = """  ginseng select-genes atlas.h5ad --labels cell_type --layer counts -o atlas.h5ad
  ginseng select-genes atlas.h5ad --n-top-genes 3000 --batches donor -o genes.csv --figure genes.png"""

COMMON = ("n_top_genes", "layer", "target_sum")
VARIABLE = ("flavor", "batch_key", "span", "min_mean", "max_mean")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    _options.add_data(parser)
    _options.add(parser, "label_key", help="column of obs with the cell types, to select marker genes")
    _options.add(parser, "unlabeled")
    add_outputs(parser, (*CELLS, *TABLES), required=True)
    _options.add(parser, "n_top_genes", help="how many (default: 2000)")
    _options.add(parser, "figure", *COMMON[1:], *VARIABLE, "dask")


def run(args: argparse.Namespace) -> Outcome:
    """Select genes."""
    check(args.output, (*CELLS, *TABLES), args)
    check(args.figure, FIGURES, args, option="--figure")
    if args.label_key is not None and (both := [*_options.given(args, *VARIABLE), *_options.given(args, "figure")]):
        flags = ", ".join(_options.OPTIONS[name][0][-1] for name in both)
        msg = f"{flags}: for highly variable genes only. With --labels, marker genes are selected. Leave one out."
        raise ValueError(msg)
    import ginseng as gs
    from ginseng import _keys
    from ginseng._disk.readers import open_adata

    adata: Any = open_adata(args.data, dask=bool(args.dask))
    before = list(adata.var.columns)
    if args.label_key is not None:
        gs.pp.select_markers(adata, args.label_key, **_options.given(args, *COMMON, "unlabeled", "overwrite"))
    else:
        gs.pp.select_hvgs(adata, **_options.given(args, *COMMON, *VARIABLE, "overwrite"))
    new = [name for name in adata.var.columns if name not in before or name.startswith(f"{_keys.DEFAULT}_")]
    document = write_result(adata, adata.var[new], args)
    if args.figure is not None:
        write_figure(gs.pl.highly_variable_genes(adata, return_fig=True), args.figure)
    names = adata.var_names[adata.var[_keys.GENES].to_numpy(bool)].tolist()
    text = f"{len(names):,} of {adata.n_vars:,} genes" + ("" if document else f" in {args.output}")
    return Outcome(text, {"output": str(args.output), "n_genes": adata.n_vars, "genes": names}, document=document)
