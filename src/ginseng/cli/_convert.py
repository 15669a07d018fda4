"""Turn a file into another format, told by its content and by the name of the output.

h5ad, AnnData zarr and 10x become h5ad or zarr; with --labels, a training store, in memory that hardly grows with the
cells; a model of ginseng 0.2 becomes one of the present format.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ginseng.cli import _options
from ginseng.cli._outputs import CELLS, MODELS, Outcome, check

HELP = "turn a file into another format"
VERBS = ("GinsengDataset.create", "read_10x_h5", "read_10x_mtx")
EXAMPLES = """  ginseng convert filtered_feature_bc_matrix/ cells.h5ad
  ginseng convert atlas.h5ad atlas.zarr
  ginseng convert atlas.h5ad store.zarr --labels cell_type --groups donor --layer counts --n-top-genes 2500
  ginseng convert old_model.h5 model.h5"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("data", metavar="INPUT", help="h5ad, AnnData zarr, 10x h5, 10x folder, model, or a URL")
    parser.add_argument("output", metavar="OUTPUT", type=Path, help=".h5ad, .zarr, or .h5 for a model")
    _options.add(parser, "overwrite")
    _options.add(parser.add_argument_group("to read 10x"), "genome", "prefix", "gex_only")
    store = parser.add_argument_group("to write a training store")
    _options.add(store, "label_key", "group_key", "layer", "gene_key", "genes", "n_top_genes")


def run(args: argparse.Namespace) -> Outcome:
    """Convert a file."""
    import ginseng as gs
    from ginseng._disk.writers import write_adata
    from ginseng.model.file import is_model_file

    is_model = is_model_file(args.data)
    check(args.output, MODELS if is_model else (".zarr",) if args.label_key else CELLS, args, option="OUTPUT")
    if is_model:
        state = gs.load_model(args.data)
        gs.save_model(state, args.output)
        what, shape = "model", (state.n_genes, state.n_classes)
        text = f"{args.output}: a model of {state.n_genes:,} genes and {state.n_classes} classes"
    elif args.label_key:
        store = _store(args)
        what, shape, text = "training store", (store.n_cells, store.n_genes), repr(store)
    else:
        adata = _read(args)
        write_adata(adata, args.output)
        what, shape = args.output.suffix.removeprefix("."), adata.shape
        text = f"{args.output}: {adata.n_obs:,} cells x {adata.n_vars:,} genes"
    return Outcome(text, {"output": str(args.output), "format": what, "shape": list(shape)})


def _read(args: argparse.Namespace) -> Any:
    import ginseng as gs
    from ginseng._disk.readers import open_adata

    options = _options.given(args, "genome", "prefix", "gex_only")
    if not options:
        return open_adata(args.data) if args.label_key else gs.read_adata(args.data)
    if Path(args.data).is_file() and "prefix" not in options:
        return gs.read_10x_h5(args.data, **options)
    return gs.read_10x_mtx(args.data, **options)


def _store(args: argparse.Namespace) -> Any:
    import ginseng as gs

    adata, genes = _read(args), args.genes
    if args.n_top_genes is not None:
        gs.pp.select_hvgs(adata, args.n_top_genes, args.layer)
        genes = "ginseng_genes"
    return gs.data.GinsengDataset.create(
        args.output, adata, args.label_key, args.layer, genes, args.group_key, overwrite=bool(args.overwrite),
        gene_key=args.gene_key,
    )  # fmt: skip
