"""Write the embedding that a model has learned: a basis for neighbours, UMAP and clustering."""

from __future__ import annotations

import argparse
from typing import Any

from ginseng.cli import _options
from ginseng.cli._outputs import CELLS, TABLES, Outcome, add_outputs, check, is_table, write_cells, write_table

HELP = "write the embedding that a model has learned"
VERBS = ("tl.embed",)
EXAMPLES = """  ginseng embed query.h5ad --model atlas.h5 --layer counts -o embedded.h5ad
  ginseng embed query.h5ad --model atlas.h5 -o embedding.tsv.gz"""

PARAMETERS = ("layer", "gene_key", "normalize", "key_added")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    _options.add_data(parser, many=True)
    _options.add_model(parser)
    add_outputs(parser, (*CELLS, *TABLES), many=True, required=True)
    _options.add(parser, *PARAMETERS, "dask")


def run(args: argparse.Namespace) -> Outcome:
    """Embed cells."""
    check(args.output, (*CELLS, *TABLES), args)
    import ginseng as gs
    from ginseng import _keys
    from ginseng._disk.readers import open_adata

    options = _options.given(args, *PARAMETERS, "overwrite")
    document, adata = None, open_adata(args.data, dask=bool(args.dask))
    if is_table(args.output):
        table: Any = gs.tl.embed(adata, args.model, return_table=True, **options)
        shape, document = table.shape, write_table(table, args)
    else:
        gs.tl.embed(adata, args.model, **options)
        shape = adata.obsm[_keys.embedding(args.key_added or _keys.DEFAULT)].shape
        write_cells(adata, args)
    where = "" if document else f" in {args.output}"
    text = f"{shape[0]:,} cells in {shape[1]:,} dimensions{where}"
    return Outcome(text, {"output": str(args.output), "shape": list(shape)}, document=document)
