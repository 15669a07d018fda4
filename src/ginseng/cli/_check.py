"""Check data before an analysis: what the values are, how genes are named, how many genes of a model they have."""

from __future__ import annotations

import argparse
import dataclasses

from ginseng.cli import _options
from ginseng.cli._outputs import Outcome

HELP = "check data before an analysis"
VERBS = ("pp.check",)
EXAMPLES = """  ginseng check query.h5ad
  ginseng check query.h5ad --model atlas.h5 --json

The exit code is 1 if the data cannot be used as they are."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    _options.add_data(parser, many=True)
    _options.add_model(parser, required=False)


def run(args: argparse.Namespace) -> Outcome:
    """Check data."""
    import ginseng as gs

    said = args.words
    found = gs.pp.check(args.data, args.model)
    found = dataclasses.replace(
        found,
        call="\n".join(said.code(line) for line in found.call.splitlines()[-1:]),
        problems=list(map(said.say, found.problems)),
        notes=list(map(said.say, found.notes)),
    )
    return Outcome("\n".join(map(said.line, repr(found).splitlines())), found.to_dict(), ok=found.ok)
