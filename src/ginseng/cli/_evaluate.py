"""Compare predicted labels with true ones."""

from __future__ import annotations

import argparse

from ginseng.cli import _options
from ginseng.cli._outputs import FIGURES, TABLES, Outcome, add_outputs, check, lines, write_figure, write_table

HELP = "compare predicted with true labels"
VERBS = ("tl.evaluate",)
EXAMPLES = """  ginseng evaluate annotated.h5ad --labels cell_type
  ginseng evaluate annotated.h5ad --labels cell_type -o per_class.csv --figure confusion.png
  ginseng evaluate annotated.h5ad --labels cell_type --ontology
  ginseng evaluate annotated.h5ad --labels cell_type --predicted majority_voting --json"""

PARAMETERS = ("key", "prediction_key", "unlabeled", "ontology")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    _options.add_data(parser, many=True)
    _options.add(parser, "label_key", required=True, help="column of obs with the true types")
    add_outputs(parser, TABLES, many=True)
    _options.add(parser, "figure", *PARAMETERS)


def run(args: argparse.Namespace) -> Outcome:
    """Evaluate labels."""
    check(args.output, TABLES, args)
    check(args.figure, FIGURES, args, option="--figure")
    import ginseng as gs
    from ginseng._disk.readers import open_adata

    adata = open_adata(args.data)
    gs.tl.evaluate(adata, **_options.given(args, "label_key", *PARAMETERS, "overwrite"))
    metrics = adata.uns["ginseng"]["metrics"]
    per_class = metrics["per_class"]
    document = None if args.output is None else write_table(per_class, args)
    if args.figure is not None:
        write_figure(gs.pl.confusion(adata, return_fig=True), args.figure)
    averages = {name: metrics[name] for name in ("accuracy", "balanced_accuracy", "macro_f1", "weighted_f1")}
    shown = {name.replace("_", " "): value for name, value in averages.items()}
    text = f"{metrics['n_cells']:,} cells\n{lines(shown, '  ')}\n\n{per_class.to_string(float_format='{:.3f}'.format)}"
    terms = metrics.get("ontology", {})
    if terms:
        text += f"\n\nby the Cell Ontology, {terms['n_cells']:,} cells\n{lines(terms, '  ')}"
    confusion = metrics["confusion"]
    values = {
        **averages,
        "n_cells": metrics["n_cells"],
        **({"ontology": terms} if terms else {}),
        "per_class": per_class.to_dict("index"),
        "confusion": {"labels": confusion["labels"], "counts": confusion["counts"]},
    }
    return Outcome(text, values, document=document)
