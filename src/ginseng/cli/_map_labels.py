"""Find the Cell Ontology terms of labels, as the CELLxGENE schema requires."""

from __future__ import annotations

import argparse
from typing import Any

from ginseng.cli import _options
from ginseng.cli._outputs import CELLS, TABLES, Outcome, add_outputs, check, records, write_result

HELP = "find the Cell Ontology terms of labels"
VERBS = ("tl.map_labels",)
EXAMPLES = """  ginseng map-labels atlas.h5ad --labels cell_type
  ginseng map-labels atlas.h5ad --labels cell_type -o atlas.h5ad
  ginseng map-labels atlas.h5ad --labels cell_type --crosswalk "my T=CL:0000084" -o terms.csv"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    _options.add_data(parser)
    _options.add(parser, "label_key", required=True)
    add_outputs(parser, (*TABLES, *CELLS))
    _options.add(parser, "crosswalk", type=_term)


def run(args: argparse.Namespace) -> Outcome:
    """Map the labels."""
    check(args.output, (*TABLES, *CELLS), args)
    import ginseng as gs
    from ginseng._disk.readers import open_adata
    from ginseng.cli._outputs import is_table

    adata: Any = open_adata(args.data)
    crosswalk = dict(args.crosswalk or ())
    table: Any = gs.tl.map_labels(adata, args.label_key, crosswalk=crosswalk, return_table=True)
    if args.output is not None and not is_table(args.output):
        gs.tl.map_labels(adata, args.label_key, crosswalk=crosswalk, **_options.given(args, "overwrite"))
    document = write_result(adata, table.set_index("label"), args)
    n_known = int((table["match"] != "none").sum())
    text = f"{table.fillna('').to_string(index=False)}\n\n{n_known:,} of {len(table):,} labels have a term"
    return Outcome(text, {"n_labels": len(table), "n_known": n_known, "labels": records(table)}, document=document)


def _term(text: str) -> tuple[str, str]:
    label, equals, term = text.rpartition("=")
    if not equals or not label:
        msg = f"{text!r} is not LABEL=TERM"
        raise argparse.ArgumentTypeError(msg)
    return label, term
