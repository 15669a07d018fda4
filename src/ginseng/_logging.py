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
    else:  # nobody has set up logging: speak as scanpy does
        tqdm.write(message, file=sys.stderr)


def warning(message: str) -> None:
    """Log what the user should know while it runs, from verbosity 1 on."""
    _log(logging.WARNING, message)


def info(message: str) -> None:
    """Log what a verb does or wrote, from verbosity 2 on."""
    _log(logging.INFO, message)


@contextmanager
def running(what: str) -> Iterator[Callable[[str], None]]:
    """Log `running what` and, at the end, how long it took and what was added where.

    Yields a function that takes the lines of that report.
    """
    lines: list[str] = []
    start = time.monotonic()
    info(f"running {what}")
    yield lines.append
    minutes, seconds = divmod(int(time.monotonic() - start), 60)
    hours, minutes = divmod(minutes, 60)
    info("\n".join([f"    finished ({hours}:{minutes:02}:{seconds:02})", *(f"    {line}" for line in lines)]))


def say(message: str, *, flush: bool = True) -> None:
    """Print a line for the user to standard output, above a progress bar if there is one."""
    tqdm.write(f"[ginseng] {message}")
    if flush:
        sys.stdout.flush()


def at_a_screen() -> bool:
    """Whether a bar can move: at a terminal or in a notebook, and not in the log of a job."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules


def has_bar() -> bool:
    """Whether long work shows a bar."""
    return settings.progress_bar and at_a_screen()


def in_lines() -> bool:
    """Whether progress is told line by line, since there is no screen for a bar."""
    return settings.progress_bar and not at_a_screen()


def progress(iterable: Iterable[Any] | None = None, *, desc: str, silent: bool = False, **kwargs: Any) -> tqdm:
    """Return a progress bar, which `settings.progress_bar` or `silent` switch off; there is none without a screen."""
    return tqdm(iterable, desc=f"[ginseng] {desc}", disable=silent or not has_bar(), **kwargs)
