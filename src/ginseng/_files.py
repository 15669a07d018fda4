"""Files and folders that are whole or not there at all.

What is written goes to a neighbour of its target, named after the process that writes it, and is renamed when it is
whole. What a process that was killed has left is cleared away by the next one that writes to the same place.
"""

from __future__ import annotations

import glob
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path to write a file to; it takes the place of `path` once the block has ended without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    recover(path)
    partial = _neighbour(path, "partial")
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield a path to build a folder at; it takes the place of `path` once the block has ended without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    recover(path)
    partial, aside = _neighbour(path, "partial"), _neighbour(path, "replaced")
    try:
        yield partial
        if path.exists():
            path.rename(aside)
        partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        recover(path)


def recover(path: Path) -> None:
    """Clear away what interrupted writers of `path` left, and put back what one of them had moved aside."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*-*"):
        found = re.match(r"(partial|replaced)-(\d+)", leftover.name.removeprefix(f".{path.name}."))
        if found is None or _runs(int(found[2])):
            continue
        if found[1] == "replaced" and not path.exists():
            leftover.rename(path)
        elif leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def _neighbour(path: Path, kind: str) -> Path:
    return path.with_name(f".{path.name}.{kind}-{os.getpid()}")


def _runs(pid: int) -> bool:
    """Whether another process of this number runs; this one does not write to one place twice at a time."""
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
