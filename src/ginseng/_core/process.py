"""Detect forked processes, in which JAX deadlocks: it waits for threads that exist only in the parent."""

from __future__ import annotations

import os

from jax._src import xla_bridge  # no public API tells whether JAX is initialised without initialising it

#: Whether this process was forked after JAX was initialised.
_forked = False


def _after_fork() -> None:
    global _forked
    _forked = _forked or bool(getattr(xla_bridge, "_backends", None))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def check_process() -> None:
    """Raise where JAX would deadlock; call this before the first use of JAX.

    Raises
    ------
    RuntimeError
        If the process was forked after JAX was initialised.
    """
    if _forked:
        msg = (
            "This process was forked after JAX was initialised, and JAX would deadlock in it. Spawn processes instead "
            "of forking them: `multiprocessing.get_context('spawn')`, as in `get_context('spawn').Pool(4)` or "
            "`ProcessPoolExecutor(mp_context=multiprocessing.get_context('spawn'))`."
        )
        raise RuntimeError(msg)
