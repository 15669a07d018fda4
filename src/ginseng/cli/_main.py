"""One parser for all commands, and what they share: multiple inputs, errors, warnings, JSON, pipes."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from ginseng import __version__
from ginseng.cli import (
    _annotate,
    _audit,
    _check,
    _compare,
    _completion,
    _convert,
    _cross_validate,
    _demo,
    _embed,
    _evaluate,
    _explain,
    _info,
    _map_genes,
    _map_labels,
    _models,
    _novel,
    _plot,
    _rank_genes,
    _report,
    _select_genes,
    _sets,
    _train,
    _uncertainty,
    _vote,
)
from ginseng.cli._outputs import PIPE, Outcome
from ginseng.cli._words import Words

#: A new verb is a module like these, and a row here.
COMMANDS = (
    _demo, _check, _audit, _map_genes, _map_labels, _select_genes, _train, _annotate, _vote, _novel, _sets, _evaluate,
    _cross_validate,
    _compare, _rank_genes, _explain,
    _embed, _uncertainty, _plot, _report, _models, _info, _convert, _completion,
)  # fmt: skip

#: Exit codes. Those above 128 stand for the signals 2 and 13.
DONE, FAILED, INVALID, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 130, 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    try:
        with _nothing_after_a_broken_pipe():
            return _run(arguments)
    except BrokenPipeError:  # the reader closed the pipe
        return BROKEN_PIPE
    except KeyboardInterrupt:
        print("ginseng: interrupted", file=sys.stderr)
        return INTERRUPTED


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    return _parsers()[0]


def words() -> Words:
    """Return the translation of Python into the words of the commands."""
    return _parsers()[1]


def _run(arguments: Sequence[str] | None) -> int:
    root, said = _parsers()
    if not (sys.argv[1:] if arguments is None else arguments):
        root.print_help(sys.stderr)
        root.exit(INVALID)
    args, unknown = root.parse_known_args(arguments, argparse.Namespace(root=root, words=said))
    if unknown:  # with the usage of the command, rather than of all of them
        args.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    if vars(args).get("output") == PIPE and args.json:
        root.error("--json and -o - both write to standard output; choose one")
    try:
        inputs = _inputs(args)
    except (ValueError, OSError) as error:
        return _fail(error, args, said)
    outcomes, failed = [], False
    stdout = sys.stdout
    for one in inputs:
        try:
            # only the result goes to standard output, so that progress and notes stay out of pipes
            redirected = contextlib.redirect_stdout(_Spoken(sys.stderr, said))
            with redirected, _warnings_in_lines(said), _settings(args), _cluster(args):
                outcome = args.run(one)
        except BrokenPipeError:
            raise
        except KeyboardInterrupt as error:
            print(f"ginseng: {said.say(str(error)) or 'interrupted'}", file=sys.stderr)
            return INTERRUPTED
        except Exception as error:  # noqa: BLE001 - users get one line, never a traceback
            _fail(error, args, said, f"{one.data}: " if len(inputs) > 1 else "")
            failed = True
            continue
        failed |= not outcome.ok
        outcomes.append((vars(one).get("data"), outcome))
        if not args.json:
            _print(outcome, stdout, f"{one.data}\n" if len(inputs) > 1 else "", quiet=args.quiet)
    if args.json and outcomes:
        values = outcomes[0][1].values if len(inputs) == 1 else [{"data": d, **o.values} for d, o in outcomes]
        print(json.dumps(values, indent=2, allow_nan=False, default=_plain), file=stdout)
    return FAILED if failed else DONE


def _inputs(args: argparse.Namespace) -> list[argparse.Namespace]:
    """Return the arguments for each input, with an output file each if results go to a folder.

    Raises
    ------
    ValueError
        If several inputs would be written to one file.
    FileExistsError
        If an output exists.
    """
    data = vars(args).get("data")
    if data is None:
        return [args]
    if modality := vars(args).get("modality"):
        data = [f"{each}/{modality}" for each in data] if isinstance(data, list) else f"{data}/{modality}"
    if not isinstance(data, list):
        return [argparse.Namespace(**{**vars(args), "data": data})]
    folder: Path | None = vars(args).get("output_dir")
    if folder is None:
        if len(data) > 1 and vars(args).get("output") is not None:
            msg = f"--output takes one DATA, and there are {len(data)}. Pass a folder for the results as --output-dir."
            raise ValueError(msg)
        return [argparse.Namespace(**{**vars(args), "data": each}) for each in data]
    suffix = f".{args.format or args.suffixes[0].removeprefix('.')}"
    outputs = [folder / f"{name}{suffix}" for name in _names(data)]
    for output in outputs:
        if output.exists() and not args.overwrite:
            msg = f"{output} exists. Choose another --output-dir, or pass --overwrite."
            raise FileExistsError(msg)
    if folder.exists() and not folder.is_dir():
        msg = f"--output-dir {folder} is a file. Choose another."
        raise FileExistsError(msg)
    folder.mkdir(parents=True, exist_ok=True)
    pairs = zip(data, outputs, strict=True)
    return [argparse.Namespace(**{**vars(args), "data": each, "output": output}) for each, output in pairs]


def _names(data: Sequence[str]) -> list[str]:
    """Return a name for the result of each input: its own, with its folder if names are repeated.

    Raises
    ------
    ValueError
        If an input is repeated.
    """
    paths = [Path(each.rstrip("/")) for each in data]
    names = [Path(path.stem).stem if path.suffix == ".gz" else path.stem for path in paths]
    for name in {name for name in names if names.count(name) > 1}:
        alike = [i for i, other in enumerate(names) if other == name]
        shared = set.intersection(*(set(paths[i].parts) for i in alike))
        for i in alike:
            names[i] = "_".join(part for part in paths[i].parts if part not in shared) or name
    if twice := [each for each, name in zip(data, names, strict=True) if names.count(name) > 1]:
        msg = f"{twice[0]} and {twice[-1]} would be written to the same file. Run them one by one, with --output."
        raise ValueError(msg)
    return names


def _parsers() -> tuple[argparse.ArgumentParser, Words]:
    root = argparse.ArgumentParser(
        prog="ginseng",
        description="Label the cells of single-cell RNA-seq data with their types.",
        epilog="`ginseng COMMAND --help` shows what a command takes, with examples. Exit codes: 0 done, 1 failed, "
        "2 invalid command line, 130 interrupted.",
    )
    root.add_argument("--version", action="version", version=f"ginseng {__version__}")
    commands = root.add_subparsers(required=True, metavar="COMMAND")
    known = {}
    for command in COMMANDS:
        name = command.__name__.rpartition("._")[2].replace("_", "-")
        own = commands.add_parser(
            name,
            help=command.HELP,
            description=command.__doc__,
            epilog=f"examples:\n{command.EXAMPLES}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(own)
        own.add_argument("--json", action="store_true", help="print the result as JSON")
        own.add_argument("-q", "--quiet", action="store_true", help="show no progress")
        own.add_argument("--debug", action="store_true", help="show the traceback of an error")
        own.set_defaults(parser=own, run=command.run, light=command in (_info, _completion))
        known[name] = (own, getattr(command, "VERBS", ()))
    return root, Words(known)


@contextlib.contextmanager
def _settings(args: argparse.Namespace) -> Iterator[None]:
    """Apply the settings of the run; commands that compute nothing skip this, as it loads the package."""
    if args.light:
        yield
        return
    from ginseng._logging import without_outcomes
    from ginseng._settings import settings

    with without_outcomes(), settings.override(progress_bar=settings.progress_bar and not args.quiet, autoshow=False):
        if "matplotlib" not in sys.modules:
            os.environ.setdefault("MPLBACKEND", "agg")  # there may not be a display
        yield


@contextlib.contextmanager
def _cluster(args: argparse.Namespace) -> Iterator[None]:
    """Connect to the dask scheduler of the command, so that dask computes there."""
    scheduler = vars(args).get("dask")
    if scheduler is None:
        yield
        return
    try:
        from distributed import Client
    except ImportError as error:
        msg = '--dask needs dask: `pip install "ginseng[dask]"`.'
        raise ImportError(msg) from error
    if Path(scheduler).is_file():
        client = Client(scheduler_file=scheduler)
    elif "://" in scheduler:
        client = Client(scheduler)
    else:
        msg = f"--dask {scheduler} is neither the file of a scheduler nor an address, such as tcp://10.0.0.1:8786."
        raise ValueError(msg)
    with client:
        yield


@contextlib.contextmanager
def _warnings_in_lines(words: Words) -> Iterator[None]:
    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        print(f"ginseng: warning: {words.say(str(message))}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show
        yield


@contextlib.contextmanager
def _nothing_after_a_broken_pipe() -> Iterator[None]:
    """Flush standard output while errors can still be reported, so that nothing is written at exit."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError, ValueError), open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        raise


class _Spoken:
    """A stream that translates what the package logs into the words of the shell."""

    def __init__(self, stream: TextIO, words: Words) -> None:
        self.stream, self.words = stream, words

    def write(self, text: str) -> int:
        self.stream.write(self.words.line(text) if "`" in text else text)
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def _print(outcome: Outcome, stdout: TextIO, heading: str, *, quiet: bool) -> None:
    if outcome.document is None:
        print(f"{heading}{outcome.text}", file=stdout)
        return
    outcome.document(stdout)
    stdout.flush()
    if not quiet:
        print(outcome.text, file=sys.stderr)


def _fail(error: Exception, args: argparse.Namespace, words: Words, where: str = "") -> int:
    """Report an error in one line."""
    if args.debug:
        traceback.print_exception(error)
    told = words.say(str(error))
    if not _is_told(error) or not told:
        told = f"{type(error).__name__}: {told} This is unexpected: --debug shows where it happened."
    print(f"ginseng: {where}{told}", file=sys.stderr)
    return FAILED


def _is_told(error: Exception) -> bool:
    """Whether an error is meant for users: raised in this package, or of a kind whose message explains it."""
    if isinstance(error, OSError | ValueError):
        return True
    last = list(traceback.walk_tb(error.__traceback__))[-1:]
    return any(frame.f_globals.get("__name__", "").startswith("ginseng") for frame, _ in last)


def _plain(value: Any) -> Any:
    """Convert NumPy and pandas values for JSON."""
    return value.tolist() if hasattr(value, "tolist") else str(value)
