"""Give each cluster the label of most of its cells. The clusters are a column of obs, such as that of leiden."""

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

HELP = "give each cluster the label of most of its cells"
VERBS = ("tl.vote",)
EXAMPLES = """  ginseng vote annotated.h5ad --groupby leiden -o annotated.h5ad
  ginseng vote annotated.h5ad --groupby leiden --min-fraction 0.6 -o votes.csv --figure votes.png"""

PARAMETERS = ("min_fraction", "unassigned", "key", "prediction_key", "key_added")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    _options.add_data(parser, many=True)
    _options.add(parser, "groupby", help="column of obs with the clusters (default: leiden)")
    add_outputs(parser, (*CELLS, *TABLES), many=True)
    _options.add(parser, "figure", *PARAMETERS)


def run(args: argparse.Namespace) -> Outcome:
    """Vote."""
    check(args.output, (*CELLS, *TABLES), args)
    check(args.figure, FIGURES, args, option="--figure")
    import ginseng as gs
    from ginseng import _keys
    from ginseng._disk.readers import open_adata

    adata: Any = open_adata(args.data)
    gs.tl.vote(adata, **_options.given(args, "groupby", *PARAMETERS, "overwrite"))
    key = args.key_added or _keys.DEFAULT
    found = adata.uns[key]["vote"]
    clusters = found["table"]
    names = [found["groupby"], found["prediction_key"], _keys.vote(key), _keys.vote_fraction(key)]
    document = write_result(adata, adata.obs[names], args)
    if args.figure is not None:
        write_figure(gs.pl.vote(adata, key=key, return_fig=True), args.figure)
    n = int(clusters["decided"].sum())
    text = f"{n} of {len(clusters)} clusters have a label\n{clusters.to_string(float_format='{:.3f}'.format)}"
    values = {"n_cells": adata.n_obs, "clusters": records(clusters.rename_axis("cluster").reset_index())}
    return Outcome(text, values, document=document)
