"""Look at data before they are worked with: what the values are, which names genes have, how many a model finds."""

from __future__ import annotations

import argparse
import dataclasses

from ginseng.cli import _options
from ginseng.cli._outputs import Outcome

HELP = "look at data before they are worked with"
VERBS = ("pp.check",)
EXAMPLES = """  ginseng check query.h5ad
  ginseng check query.h5ad --model atlas.h5 --json

The exit code is 1 if something stands in the way."""


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
