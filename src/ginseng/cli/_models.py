"""List, download or describe the models that are known by name.

Names can be passed as --model: of included models, of models in your own folder (GINSENG_MODELS_DIR) or in a list at
a URL (GINSENG_MODELS_URL), and of CellTypist models. Only `fetch`, `list --refresh` and the use of a model that is not
yet on this machine download anything; with GINSENG_OFFLINE=1, nothing does.
"""

from __future__ import annotations

import argparse
import textwrap
from typing import Any

from ginseng.cli._outputs import Outcome, lines

HELP = "list, download and describe models known by name"
EXAMPLES = """  ginseng models list
  ginseng models list --refresh
  ginseng models info human
  ginseng models fetch celltypist/Immune_All_Low"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("action", choices=("list", "fetch", "info"), help="what to do")
    parser.add_argument("names", metavar="NAME", nargs="*", help="models to download or describe")
    parser.add_argument("--refresh", action="store_true", help="list: download the lists again")


def run(args: argparse.Namespace) -> Outcome:
    """List, download or describe models."""
    if args.action == "list" and args.names:
        msg = "`list` takes no names: use `info` to describe a model."
        raise ValueError(msg)
    if args.action != "list" and not args.names:
        msg = f"`{args.action}` needs the name of a model: `ginseng models list` shows them."
        raise ValueError(msg)
    return {"list": _list, "fetch": _fetch, "info": _info}[args.action](args)


def _list(args: argparse.Namespace) -> Outcome:
    from ginseng.models import available

    table = available(refresh=args.refresh)
    shown = table[["species", "tissues", "n_classes", "where"]].astype(object)
    shown = shown.where(shown.notna(), "").reset_index()
    shown["tissues"] = [textwrap.shorten(str(tissues), 60) for tissues in shown["tissues"]]
    text = shown.to_string(index=False)
    if not any(name.startswith("celltypist/") for name in table.index):
        text += "\n\nThe list of CellTypist has not been downloaded: run `ginseng models list --refresh`."
    rows = table.astype(object).where(table.notna(), None).reset_index()
    return Outcome(text, {"models": rows.to_dict("records")})


def _fetch(args: argparse.Namespace) -> Outcome:
    from ginseng.models import fetch

    paths = {name: str(fetch(name)) for name in args.names}
    return Outcome(lines(paths), {"paths": paths})


def _info(args: argparse.Namespace) -> Outcome:
    from ginseng.models import info

    found = [info(name) for name in args.names]
    return Outcome("\n\n".join(map(_text, found)), {"models": found})


def _text(values: dict[str, Any]) -> str:
    shown = {name: value for name, value in values.items() if value not in ("", None)}
    if "classes" in shown:
        shown["classes"] = ", ".join(shown["classes"])
    width = max(map(len, shown)) + 2
    indent = " " * width
    return lines({k: textwrap.fill(str(v), 100 - width, subsequent_indent=indent) for k, v in shown.items()})
