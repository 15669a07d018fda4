"""Label each cell with its most probable cell type, and write the data with the labels, or a table of them."""

from __future__ import annotations

import argparse
from typing import Any

from ginseng.cli import _options
from ginseng.cli._outputs import CELLS, TABLES, Outcome, add_outputs, check, is_table, lines, write_table

HELP = "label cells with a model"
VERBS = ("tl.classify", "classify")
EXAMPLES = """  ginseng annotate my.h5ad -o labelled.h5ad
  ginseng annotate query.h5ad --model atlas.h5 --layer counts -o annotated.h5ad
  ginseng annotate filtered_feature_bc_matrix.h5 --model atlas.h5 -o labels.csv.gz
  ginseng annotate query.h5ad --model atlas.h5 --min-confidence 0.5 --excluded "B cell" "T/NK" -o annotated.h5ad
  ginseng annotate query.h5ad --model atlas.h5 --min-confidence auto -o annotated.h5ad
  ginseng annotate my.h5ad --backoff --min-confidence 0.7 -o labelled.h5ad
  ginseng annotate s1.h5ad s2.h5ad s3.h5ad --model atlas.h5 --output-dir labels --format csv
  ginseng annotate atlas.zarr --model atlas.h5 --dask tcp://10.0.0.1:8786 -o labels.csv.gz
  ginseng annotate query.h5ad --model atlas.h5 -o - | cut -d, -f2 | sort | uniq -c"""

PARAMETERS = (
    "layer", "gene_key", "normalize", "min_overlap", "min_confidence", "unassigned", "allowed", "excluded", "adapt",
    "priors", "backoff", "store_probs", "key_added",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    _options.add_data(parser, many=True)
    _options.add_model(parser, required=False, default="an included one, by the species of the genes")
    add_outputs(parser, (*CELLS, *TABLES), many=True, required=True)
    _options.add(parser, *PARAMETERS, "dask")


def run(args: argparse.Namespace) -> Outcome:
    """Annotate cells."""
    check(args.output, (*CELLS, *TABLES), args)
    import ginseng as gs

    options = _options.given(args, *PARAMETERS, "overwrite")
    if "priors" in options:
        options["priors"] = _priors(options["priors"])
    options["backed"] = "dask" if args.dask else True
    document = None
    if is_table(args.output):
        table: Any = gs.classify(args.data, args.model, return_table=True, **options)
        document = write_table(table, args)
        cell_type, confidence = table["cell_type"], table["confidence"]
    else:
        gs.classify(args.data, args.model, output=args.output, **options)
        obs, key = gs.read_adata(args.output, backed=True).obs, args.key_added or "ginseng"
        cell_type, confidence = obs[f"{key}_cell_type"], obs[f"{key}_confidence"]
    counts = {str(name): int(n) for name, n in cell_type.value_counts().items() if n}
    mean = float(confidence.mean())
    where = "" if document else f" in {args.output}"
    text = f"{len(cell_type):,} cells{where}, mean confidence {mean:.3f}\n{lines(counts, '  ')}"
    values = {"output": str(args.output), "n_cells": len(cell_type), "mean_confidence": mean, "cell_types": counts}
    return Outcome(text, values, document=document)


def _priors(given: list[Any]) -> Any:
    """Return what was given as in Python: the word for an estimate, or a dictionary."""
    if "query" in given:
        if len(given) > 1:
            msg = "--priors takes either query or the shares of classes, not both."
            raise ValueError(msg)
        return "query"
    return dict(given)
