"""One parser for all commands, and what they share: errors, warnings, JSON."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Any

from ginseng import __version__
from ginseng.cli import _annotate, _check, _compare, _convert, _demo, _evaluate, _info, _train
from ginseng.cli._shared import Outcome

COMMANDS = (_demo, _check, _train, _annotate, _evaluate, _compare, _info, _convert)

#: Exit codes, besides 2 for a command line that cannot be understood.
DONE, FAILED, INTERRUPTED = 0, 1, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    args = _parser().parse_args(arguments)
    try:
        # only the result goes to standard output: progress and notes do not get into a pipe
        with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", UserWarning)
            warnings.showwarning = _show_warning
            outcome = _run(args)
        print(json.dumps(outcome.values, indent=2, allow_nan=False, default=_plain) if args.json else outcome.text)
    except KeyboardInterrupt as error:
        print(f"ginseng: {_one_line(error) or 'interrupted'}", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - whatever it is, the user gets a line and not a traceback
        if args.debug:
            traceback.print_exc()
        told = _one_line(error) if isinstance(error, OSError | ValueError | KeyError) else repr(error)
        print(f"ginseng: {told or repr(error)}", file=sys.stderr)
        return FAILED
    return DONE if outcome.ok else FAILED


def _run(args: argparse.Namespace) -> Outcome:
    from ginseng._settings import settings

    with settings.override(progress_bar=settings.progress_bar and not args.quiet, autoshow=False):
        outcome: Outcome = args.run(args)
        return outcome


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ginseng",
        description="Label the cells of single-cell RNA-seq data with their types.",
        epilog="`ginseng COMMAND --help` shows what a command takes, with examples. Exit codes: 0 done, 1 failed, "
        "2 not understood, 130 interrupted.",
    )
    parser.add_argument("--version", action="version", version=f"ginseng {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        own = commands.add_parser(
            command.__name__.rpartition("._")[2],
            help=command.HELP,
            description=command.__doc__,
            epilog=f"examples:\n{command.EXAMPLES}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(own)
        own.add_argument("--json", action="store_true", help="print the result as JSON")
        own.add_argument("-q", "--quiet", action="store_true", help="show no progress bars")
        own.add_argument("--debug", action="store_true", help="show the traceback of an error")
        own.set_defaults(run=command.run)
    return parser


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"ginseng: warning: {' '.join(str(message).split())}", file=sys.stderr)


def _plain(value: Any) -> Any:
    """Turn what NumPy and pandas return into what JSON takes."""
    return value.tolist() if hasattr(value, "tolist") else str(value)
