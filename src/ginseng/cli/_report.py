"""Write an HTML report about annotated cells: types, confidence, genes, methods and citation in one file."""

from __future__ import annotations

import argparse

from ginseng.cli import _options
from ginseng.cli._outputs import Outcome, add_outputs, check

HELP = "write an HTML report about the labels"
VERBS = ("report", "ginseng.report")
EXAMPLES = """  ginseng report labelled.h5ad -o report.html
  ginseng report labelled.h5ad --labels cell_type --groupby donor -o report.html
  ginseng report labelled.h5ad --model atlas.h5 -o report.html"""

PAGES = (".html",)
PARAMETERS = ("label_key", "groupby", "basis", "key", "title")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    _options.add_data(parser)
    _options.add_model(parser, required=False)
    add_outputs(parser, PAGES, required=True)
    _options.add(parser, *PARAMETERS)


def run(args: argparse.Namespace) -> Outcome:
    """Write the page."""
    check(args.output, PAGES, args)
    import ginseng as gs

    gs.report(args.data, args.output, model=args.model, **_options.given(args, *PARAMETERS, "overwrite"))
    n_bytes = args.output.stat().st_size
    values = {"output": str(args.output), "bytes": n_bytes}
    return Outcome(f"{args.output}: {max(n_bytes / 1e6, 0.1):.1f} MB, open it in a browser", values)
