"""Code that runs in a fresh process, and what it took."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any


def run(
    python: str,
    code: str,
    *args: object,
    limit: int | None = None,
    timeout: float | None = None,
    env: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Run code in a fresh process, with the environment's own packages alone for peers.

    Parameters
    ----------
    python
        The interpreter.
    code
        What it runs. It may print `RESULT` and a dict as JSON, on one line; the last such line counts.
    args
        Arguments of the code.
    limit
        Seconds of all cores after which it is ended, which other work on the machine does not change.
    timeout
        Seconds after which it is ended.
    env
        Environment variables besides those of this process.

    Returns
    -------
    The dict that was printed, with `process_seconds` and `process_cpu_seconds` of the process from its start to its
    end. Instead of these, `unfinished_cpu_seconds` (the limit) or `unfinished_seconds` (the timeout) if it was ended,
    and `failed`, its last words, if it failed.
    """
    inherited = {k: v for k, v in os.environ.items() if python == sys.executable or k != "PYTHONPATH"}
    if limit is not None:  # set by the process itself: code that runs after a fork is a danger to JAX
        code = f"import resource; resource.setrlimit(resource.RLIMIT_CPU, ({limit}, -1))\n{code}"
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command, env = [python, "-c", code, *map(str, args)], inherited | dict(env or {})
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=env, timeout=timeout)
    except subprocess.TimeoutExpired as error:
        return _printed((error.stdout or b"").decode()) | {"unfinished_seconds": timeout}
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    found = _printed(done.stdout)
    if limit is not None and done.returncode == -signal.SIGXCPU:
        return found | {"unfinished_cpu_seconds": limit}
    if done.returncode:
        print(done.stderr[-2000:], file=sys.stderr)
        return found | {"failed": (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]}
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return found | {"process_seconds": seconds, "process_cpu_seconds": cpu}


def _printed(text: str) -> dict[str, Any]:
    lines = [line for line in text.splitlines() if line.startswith("RESULT ")]
    return json.loads(lines[-1].removeprefix("RESULT ")) if lines else {}
