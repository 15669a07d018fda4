"""Convert a file to the format given by the name of the output.

Whatever other commands read is converted to h5ad or zarr; with --labels, to a training store, in nearly constant
memory. A model of ginseng 0.2 or of CellTypist is converted to the current format.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ginseng.cli import _options
from ginseng.cli._outputs import CELLS, MODELS, Outcome, check

HELP = "convert a file to another format"
VERBS = ("GinsengDataset.create", "read_adata", "read_10x_h5", "read_10x_mtx")
EXAMPLES = """  ginseng convert filtered_feature_bc_matrix/ cells.h5ad
  ginseng convert atlas.h5ad atlas.zarr
  ginseng convert sample1/ sample2/ sample3/ cells.h5ad
  ginseng convert atlas.h5ad store.zarr --labels cell_type --groups donor --layer counts --n-top-genes 2500
  ginseng convert old_model.h5 model.h5
  ginseng convert Immune_All_Low.pkl Immune_All_Low.h5"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "inputs", metavar="INPUT", nargs="+", help="data that other commands read, or a model; several are joined"
    )
    parser.add_argument("output", metavar="OUTPUT", type=Path, help=".h5ad, .zarr, or .h5 for a model")
    _options.add(parser, "overwrite")
    _options.add(parser.add_argument_group("reading"), "modality", "transpose", "join", "genome", "prefix", "gex_only")
    store = parser.add_argument_group("writing a training store")
    _options.add(
        store, "label_key", "levels", "unlabeled", "group_key", "layer", "gene_key", "genes", "n_top_genes", "dask"
    )


def run(args: argparse.Namespace) -> Outcome:
    """Convert a file."""
    import ginseng as gs
    from ginseng._disk.writers import write_adata
    from ginseng.model.file import is_model_file

    is_model = len(args.inputs) == 1 and is_model_file(args.inputs[0])
    suffixes = MODELS if is_model else (".zarr",) if to_store(args) else CELLS
    check(args.output, suffixes, args, option="OUTPUT")
    if is_model:
        state = gs.load_model(args.inputs[0])
        gs.save_model(state, args.output)
        what, shape = "model", (state.n_genes, state.n_classes)
        text = f"{args.output}: a model of {state.n_genes:,} genes and {state.n_classes} classes"
    elif to_store(args):
        store = _store(args)
        what, shape, text = "training store", (store.n_cells, store.n_genes), repr(store)
    else:
        adata = _read(args)
        write_adata(adata, args.output)
        what, shape = args.output.suffix.removeprefix("."), adata.shape
        text = f"{args.output}: {adata.n_obs:,} cells x {adata.n_vars:,} genes"
    return Outcome(text, {"output": str(args.output), "format": what, "shape": list(shape)})


def to_store(args: argparse.Namespace) -> bool:
    """Whether a training store is wanted, rather than an AnnData."""
    return bool(args.label_key or args.levels)


def _read(args: argparse.Namespace) -> Any:
    import ginseng as gs
    from ginseng._disk.readers import open_adata

    of_10x = _options.given(args, "genome", "prefix", "gex_only")
    options = _options.given(args, "modality", "transpose", "join")
    if args.dask and args.label_key:
        options["backed"] = "dask"
    (source, *others) = args.inputs
    if others:
        return gs.read_adata(args.inputs, **options, **of_10x)
    if not of_10x:
        return open_adata(source) if to_store(args) and not options else gs.read_adata(source, **options)
    if Path(source).is_file() and "prefix" not in of_10x:
        return gs.read_10x_h5(source, **options, **of_10x)
    return gs.read_10x_mtx(source, **options, **of_10x)


def _store(args: argparse.Namespace) -> Any:
    import ginseng as gs

    adata, genes = _read(args), args.genes
    if args.n_top_genes is not None:
        gs.pp.select_hvgs(adata, args.n_top_genes, args.layer)
        genes = "ginseng_genes"
    return gs.data.GinsengDataset.create(
        args.output, adata, args.label_key, args.layer, genes, args.group_key, overwrite=bool(args.overwrite),
        gene_key=args.gene_key, unlabeled=args.unlabeled, levels=args.levels,
    )  # fmt: skip
