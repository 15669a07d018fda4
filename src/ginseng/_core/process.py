"""What a process has to do before it uses JAX."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import jax
from jax._src import xla_bridge  # no public API tells whether JAX is initialised without initialising it
from jax.experimental.compilation_cache import compilation_cache

#: Whether this process was forked after JAX was initialised, in which case it would wait for threads of its parent.
_forked = False

#: Programs that take less time to compile, in seconds, are not kept.
LEAST_SECONDS = 0.05


def _after_fork() -> None:
    global _forked
    _forked = _forked or bool(getattr(xla_bridge, "_backends", None))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def prepare(cache_dir: Path) -> None:
    """Check that JAX can be used, and let it keep compiled programs; call this before each use of JAX.

    Later processes load the programs in a few hundredths of a second instead of compiling them for seconds. If JAX
    already keeps them elsewhere, or must not (`JAX_ENABLE_COMPILATION_CACHE=false`), nothing is changed.

    Parameters
    ----------
    cache_dir
        Where programs are kept, in a folder of this machine, for whose processor they are made.

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
    if jax.config.jax_compilation_cache_dir is None and jax.config.jax_enable_compilation_cache:
        _keep_programs(cache_dir / "compiled" / platform.node())


def _keep_programs(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    if not os.access(folder, os.W_OK):
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", LEAST_SECONDS)
    compilation_cache.reset_cache()  # JAX looks for the folder once, when it first compiles
