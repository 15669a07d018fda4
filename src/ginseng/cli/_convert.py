"""Turn a file into another format, told by its content and by the name of the output.

h5ad, AnnData zarr and 10x become h5ad or zarr; with --labels, a training store, in memory that hardly grows with the
cells; a model of ginseng 0.2 becomes one of the present format.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ginseng.cli._shared import Outcome, check_output

HELP = "turn a file into another format"
EXAMPLES = """  ginseng convert filtered_feature_bc_matrix/ cells.h5ad
  ginseng convert atlas.h5ad atlas.zarr
  ginseng convert atlas.h5ad store.zarr --labels cell_type --groups donor --layer counts --n-top-genes 2500
  ginseng convert old_model.h5 model.h5"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("data", metavar="INPUT", help="h5ad, AnnData zarr, 10x h5, 10x folder, model, or a URL")
    parser.add_argument("output", metavar="OUTPUT", type=Path, help=".h5ad, .zarr, or .h5 for a model")
    parser.add_argument("--overwrite", action="store_true", help="replace the output if it is there")
    store = parser.add_argument_group("to write a training store")
    store.add_argument("-l", "--labels", metavar="COLUMN", help="column of obs with the cell types")
    store.add_argument("--groups", metavar="COLUMN", help="column of obs with donors or batches")
    store.add_argument("--layer", help="layer with the counts (default: X)")
    store.add_argument("--gene-key", metavar="COLUMN", help="column of var with the gene names (default: its index)")
    store.add_argument("--genes", metavar="COLUMN", help="boolean column of var with the genes to keep (default: all)")
    store.add_argument("--n-top-genes", type=int, metavar="N", help="keep so many highly variable genes")


def run(args: argparse.Namespace) -> Outcome:
    """Convert a file."""
    import ginseng as gs
    from ginseng._disk.writers import check_adata_target, write_adata
    from ginseng.model.file import is_model_file

    is_model = is_model_file(args.data)
    suffixes = (".h5", ".hdf5") if is_model else (".zarr",) if args.labels else (".h5ad", ".zarr")
    check_output(args.output, suffixes, overwrite=args.overwrite)
    if is_model:
        state = gs.load_model(args.data)
        gs.save_model(state, args.output)
        what, shape = "model", (state.n_genes, state.n_classes)
        text = f"{args.output}: a model of {state.n_genes:,} genes and {state.n_classes} classes"
    elif args.labels:
        store = _store(args)
        what, shape, text = "training store", (store.n_cells, store.n_genes), repr(store)
    else:
        check_adata_target(args.output)
        adata = gs.read_adata(args.data)
        write_adata(adata, args.output)
        what, shape = args.output.suffix.removeprefix("."), adata.shape
        text = f"{args.output}: {adata.n_obs:,} cells x {adata.n_vars:,} genes"
    return Outcome(text, {"output": str(args.output), "format": what, "shape": list(shape)})


def _store(args: argparse.Namespace) -> Any:
    import ginseng as gs

    adata, genes = gs.read_adata(args.data, backed=True), args.genes
    if args.n_top_genes is not None:
        gs.pp.select_hvgs(adata, args.n_top_genes, args.layer)
        genes = "ginseng_genes"
    return gs.data.GinsengDataset.create(
        args.output, adata, args.labels, args.layer, genes, args.groups, overwrite=args.overwrite,
        gene_key=args.gene_key,
    )  # fmt: skip
