"""Plot the labels of annotated cells: labels and confidence on an embedding, and other figures."""

from __future__ import annotations

import argparse
from typing import Any

from ginseng.cli import _options
from ginseng.cli._outputs import FIGURES, Outcome, add_outputs, check, write_figure

HELP = "plot labels on an embedding, and other figures"
EXAMPLES = """  ginseng plot embedding annotated.h5ad -o umap.png
  ginseng plot embedding annotated.h5ad --basis tsne --labels cell_type -o tsne.pdf
  ginseng plot confidence annotated.h5ad --labels cell_type -o confidence.svg
  ginseng plot clusters annotated.h5ad --groupby leiden -o clusters.png
  ginseng plot metrics annotated.h5ad --labels cell_type -o metrics.pdf
  ginseng plot composition annotated.h5ad --groupby donor -o composition.png
  ginseng plot composition annotated.h5ad --groupby condition --samples donor -o conditions.png"""

#: The parameters of each figure, besides the cells and the title.
KINDS: dict[str, tuple[str, ...]] = {
    "embedding": ("basis", "label_key", "color", "ncols", "key"),
    "clusters": ("groupby", "label_key", "key"),
    "confidence": ("label_key", "groupby", "key"),
    "uncertainty": ("label_key", "groupby", "key"),
    "composition": ("groupby", "label_key", "sample_key", "ci", "key"),
    "confusion": ("label_key", "key"),
    "metrics": ("label_key", "key"),
    "cross_validate": ("key",),
    "history": ("key",),
    "vote": ("key",),
    "rank_genes": ("n_genes", "key"),
    "explain": ("cells", "key"),
    "highly_variable_genes": (),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    names = [kind.replace("_", "-") for kind in KINDS]
    parser.add_argument("kind", metavar="FIGURE", choices=names, help=", ".join(names))
    _options.add_data(parser)
    add_outputs(parser, FIGURES, required=True)
    _options.add(parser, *dict.fromkeys(name for taken in KINDS.values() for name in taken), "title")


def run(args: argparse.Namespace) -> Outcome:
    """Plot a figure."""
    check(args.output, FIGURES, args)
    kind = args.kind.replace("-", "_")
    options = _options.given(args, *dict.fromkeys(name for taken in KINDS.values() for name in taken))
    if other := [_options.OPTIONS[name][0][-1] for name in options if name not in KINDS[kind]]:
        msg = f"A figure of {args.kind} takes no {other[0]}."
        raise ValueError(msg)
    if kind == "composition" and args.groupby is None:
        msg = "A figure of composition needs --groupby, the column of obs with the samples, donors or clusters."
        raise ValueError(msg)
    import ginseng as gs
    from ginseng._disk.readers import open_adata

    adata: Any = open_adata(args.data)
    options |= _options.given(args, "title")
    write_figure(getattr(gs.pl, kind)(adata, return_fig=True, **options), args.output)
    return Outcome(f"{args.output}: {args.kind} of {adata.n_obs:,} cells", {"output": str(args.output)})
