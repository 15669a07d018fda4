"""What the package says: one line per verb, warnings, details on request, and progress.

`settings.verbosity` decides: 0 errors only; 1 also warnings, and one line per verb with what it did; 2 also what runs
and what was written where.
"""

from __future__ import annotations

import logging
import sys
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

with warnings.catch_warnings():
    # in Jupyter without ipywidgets, tqdm advises to install them; its text bar does as well
    warnings.simplefilter("ignore")
    from tqdm.auto import tqdm

from ginseng._settings import settings

#: The lowest level that each verbosity shows.
_LEVELS = (logging.ERROR, logging.INFO, logging.DEBUG)

_logger = logging.getLogger("ginseng")
_outcomes = True
_logger.addHandler(logging.NullHandler())


def _log(level: int, message: str) -> None:
    if level < _LEVELS[max(0, min(settings.verbosity, len(_LEVELS) - 1))]:
        return
    if _logger.hasHandlers() and any(not isinstance(h, logging.NullHandler) for h in _logger.handlers):
        _logger.log(level, message)
    else:  # logging is not configured: print like scanpy
        tqdm.write(message, file=sys.stdout if in_notebook() else sys.stderr)


def warning(message: str) -> None:
    """Log a warning for the user, at verbosity 1 or higher."""
    _log(logging.WARNING, message)


def info(message: str) -> None:
    """Log what a verb does or wrote, at verbosity 2 or higher."""
    _log(logging.DEBUG, message)


def done(message: str, seconds: float) -> None:
    """Log in one line what a verb did, at verbosity 1 or higher."""
    if _outcomes:
        _log(logging.INFO, f"{message}, {_duration(seconds)}")


@contextmanager
def without_outcomes() -> Iterator[None]:
    """Leave out what verbs did, for a caller that says it itself."""
    global _outcomes
    before, _outcomes = _outcomes, False
    try:
        yield
    finally:
        _outcomes = before


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


class Report:
    """What a verb says of its run: lines of detail, by calling it, and in `done` what it did, in a few words."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.done = ""

    def __call__(self, line: str) -> None:
        """Add a line of detail."""
        self.lines.append(line)


@contextmanager
def running(what: str, *, silent: bool = False) -> Iterator[Report]:
    """Log `running what` and, at the end, the elapsed time, what was done and what was written where.

    Yields the report to fill; `silent` leaves out the line that is shown by default.
    """
    report = Report()
    start = time.monotonic()
    info(f"running {what}")
    yield report
    seconds = time.monotonic() - start
    info("\n".join([f"    finished ({_duration(seconds)})", *(f"    {line}" for line in report.lines)]))
    if report.done and not silent:
        done(report.done, seconds)


def say(message: str, *, flush: bool = True) -> None:
    """Print a line to standard output, above a progress bar if there is one."""
    if settings.verbosity < 1:
        return
    tqdm.write(f"[ginseng] {message}")
    if flush:
        sys.stdout.flush()


def in_notebook() -> bool:
    """Whether the code runs in Jupyter."""
    return "ipykernel" in sys.modules


def at_a_screen() -> bool:
    """Whether a progress bar can be drawn: at a terminal or in a notebook, but not in a batch log."""
    return sys.stderr.isatty() or in_notebook()


def has_bar() -> bool:
    """Whether to show a progress bar."""
    return settings.progress_bar and settings.verbosity > 0 and at_a_screen()


def in_lines() -> bool:
    """Whether to report progress line by line, as a progress bar cannot be drawn."""
    return settings.progress_bar and not at_a_screen()


def progress(iterable: Iterable[Any] | None = None, *, desc: str, silent: bool = False, **kwargs: Any) -> tqdm:
    """Return a progress bar; `settings.progress_bar`, `silent` or the lack of a terminal disable it."""
    return tqdm(iterable, desc=f"[ginseng] {desc}", disable=silent or not has_bar(), **kwargs)
