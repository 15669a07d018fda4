"""Processes that train together, started through `jax.distributed.initialize`; usually there is only one.

All of them make the same calls of the functions here, in the same order.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from ginseng._logging import warning

#: Seconds of waiting for other processes after which the user is told.
SLOW = 30.0


class LostProcessError(RuntimeError):
    """Another process of the run has ended or cannot be reached."""


def n_processes() -> int:
    """Return how many processes train together."""
    return jax.process_count()


def is_first() -> bool:
    """Whether this is the process that writes files and reports."""
    return jax.process_index() == 0


@contextmanager
def _waiting() -> Iterator[None]:
    """Tell the user if this takes long: a process that hangs sends heartbeats all the same, so nothing else does."""
    msg = (
        f"Process {jax.process_index()} has waited for the others of this run of {n_processes()} for {SLOW:g} s. The "
        "one that does not say so is slow or hangs, for example on a file system. If it does not go on, end all of "
        "them and start them again with `resume=True`."
    )
    timer = threading.Timer(SLOW, warning, [msg])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _allgather(own: np.ndarray) -> np.ndarray:
    with _waiting():
        return np.asarray(multihost_utils.process_allgather(own))


def any_process(flag: bool) -> bool:
    """Whether the flag is set in any process."""
    return flag if n_processes() == 1 else bool(np.any(_allgather(np.array(flag))))


def gathered(rows: np.ndarray) -> np.ndarray:
    """Return the rows of all processes, in the order of the processes."""
    if n_processes() == 1:
        return rows
    n = _allgather(np.array(len(rows), np.int32))
    padded = np.zeros((n.max(), *rows.shape[1:]), rows.dtype)
    padded[: len(rows)] = rows
    parts = _allgather(padded)
    return np.concatenate([part[:size] for part, size in zip(parts, n, strict=True)])


def from_first[T](tree: T) -> T:
    """Return the arrays of the first process, to the bit: those of other machines may differ in the last ones."""
    if n_processes() == 1:
        return tree

    def sent(a: Any) -> np.ndarray:
        a = np.asarray(a)
        with _waiting():
            sent = np.asarray(multihost_utils.broadcast_one_to_all(np.frombuffer(a.tobytes(), np.uint8)))
        return np.frombuffer(sent.tobytes(), a.dtype).reshape(a.shape)

    return jax.tree.map(sent, tree)


def check_same(what: str, text: str) -> None:
    """Raise unless all processes pass the same text.

    Raises
    ------
    ValueError
        If a process passes another text than the others, `what` being what it has.
    """
    digest = np.frombuffer(hashlib.sha256(text.encode()).digest(), np.uint8)
    if len(np.unique(gathered(digest[None]), axis=0)) > 1:
        msg = f"Some processes of this run have {what}. Start all of them with the same data, settings and files."
        raise ValueError(msg)


@contextmanager
def together(advice: str) -> Iterator[None]:
    """Turn the failure of a call that needs all processes into an error that says so, followed by `advice`.

    Raises
    ------
    LostProcessError
        If the call failed in a run of several processes.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if n_processes() == 1:
            raise
        lines = str(error).strip().splitlines() or [""]
        msg = (
            f"Another process of this run of {n_processes()} was lost: it has ended, or cannot be reached "
            f"({lines[0][:200]}). {advice}"
        )
        raise LostProcessError(msg) from error
