"""JAX in forked processes, where it waits forever for threads that only the parent has."""

from __future__ import annotations

import os

from jax._src import xla_bridge  # nothing public says whether JAX has run without making it run

#: Whether this process was forked from one in which JAX had run.
_forked = False


def _after_fork() -> None:
    global _forked
    _forked = _forked or bool(getattr(xla_bridge, "_backends", None))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def check_process() -> None:
    """Refuse to compute where that would never end; to be called before JAX is first asked for anything.

    Raises
    ------
    RuntimeError
        If the process was forked after JAX had run.
    """
    if _forked:
        msg = (
            "This process was forked from one in which JAX had run, and JAX would wait here forever. Start processes "
            "anew: `multiprocessing.get_context('spawn')`, as in `get_context('spawn').Pool(4)` or "
            "`ProcessPoolExecutor(mp_context=multiprocessing.get_context('spawn'))`."
        )
        raise RuntimeError(msg)
