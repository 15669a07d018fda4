"""Look at data before they are worked with: what the values are, which names genes have, how many a model finds."""

from __future__ import annotations

import argparse

from ginseng.cli._shared import Outcome

HELP = "look at data before they are worked with"
EXAMPLES = """  ginseng check query.h5ad
  ginseng check query.h5ad --model atlas.h5 --json

The exit code is 1 if something stands in the way."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("data", metavar="DATA", help="h5ad, AnnData zarr, 10x h5 or 10x folder, or a URL")
    parser.add_argument("-m", "--model", metavar="MODEL", help="model that is to annotate them")


def run(args: argparse.Namespace) -> Outcome:
    """Check data."""
    import ginseng as gs

    found = gs.pp.check(args.data, args.model)
    return Outcome(repr(found), found.to_dict(), ok=found.ok)
