from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from tqdm.auto import tqdm

from ginseng._settings import settings

_LEVELS = (logging.ERROR, logging.WARNING, logging.INFO)

_logger = logging.getLogger("ginseng")
_logger.addHandler(logging.NullHandler())


def _log(level: int, message: str) -> None:
    if level < _LEVELS[max(0, min(settings.verbosity, len(_LEVELS) - 1))]:
        return
    if _logger.hasHandlers() and any(not isinstance(h, logging.NullHandler) for h in _logger.handlers):
        _logger.log(level, message)
    else:  # logging is not configured: print like scanpy
        tqdm.write(message, file=sys.stderr)


def warning(message: str) -> None:
    """Log a warning for the user, at verbosity 1 or higher."""
    _log(logging.WARNING, message)


def info(message: str) -> None:
    """Log what a verb does or wrote, at verbosity 2 or higher."""
    _log(logging.INFO, message)


@contextmanager
def running(what: str) -> Iterator[Callable[[str], None]]:
    """Log `running what` and, at the end, the elapsed time and what was written where.

    Yields a function that takes the lines of this report.
    """
    lines: list[str] = []
    start = time.monotonic()
    info(f"running {what}")
    yield lines.append
    minutes, seconds = divmod(int(time.monotonic() - start), 60)
    hours, minutes = divmod(minutes, 60)
    info("\n".join([f"    finished ({hours}:{minutes:02}:{seconds:02})", *(f"    {line}" for line in lines)]))


def say(message: str, *, flush: bool = True) -> None:
    """Print a line to standard output, above a progress bar if there is one."""
    tqdm.write(f"[ginseng] {message}")
    if flush:
        sys.stdout.flush()


def at_a_screen() -> bool:
    """Whether a progress bar can be drawn: at a terminal or in a notebook, but not in a batch log."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules


def has_bar() -> bool:
    """Whether to show a progress bar."""
    return settings.progress_bar and at_a_screen()


def in_lines() -> bool:
    """Whether to report progress line by line, as a progress bar cannot be drawn."""
    return settings.progress_bar and not at_a_screen()


def progress(iterable: Iterable[Any] | None = None, *, desc: str, silent: bool = False, **kwargs: Any) -> tqdm:
    """Return a progress bar; `settings.progress_bar`, `silent` or the lack of a terminal disable it."""
    return tqdm(iterable, desc=f"[ginseng] {desc}", disable=silent or not has_bar(), **kwargs)
