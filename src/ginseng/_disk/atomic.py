"""Files and folders that are whole or not there at all, written by one process at a time.

What is written goes to a neighbour of its target, named after the process and the machine that write it, and is
renamed when it is whole and on the disk. A lock, which goes with the process that holds it, keeps others away
meanwhile. What a process that was killed has left is cleared away by the next one that writes to the same place.
"""

from __future__ import annotations

import errno
import glob
import os
import platform
import re
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

#: Seconds after which what another machine has left is cleared away, and a lock without a locking system is void.
STALE = 24 * 3600
#: Space that must be left once all is written, for the small files that nobody counts.
SPARE = 2**20
#: How the names end of what is built beside its target, so that no name of a user is taken for one.
_MARK = ".ginseng"
_MEANWHILE = "{} was written by somebody else in the meantime, so it is not replaced."


class LockedError(OSError):
    """Another process writes to the same place."""


@contextmanager
def replacing(path: Path, *, size: int = 0, overwrite: bool = True) -> Iterator[Path]:
    """Yield a path to write a file to; it takes the place of `path` once the block has ended without an error.

    Parameters
    ----------
    path
        The file. If it is a link, what it leads to is replaced. The new file may be read by whom the old one was.
    size
        Bytes that will be written, as far as they are known.
    overwrite
        Whether a file that is there already is replaced.

    Raises
    ------
    FileExistsError
        If what is at `path` is no file, as a folder or a device; if it was written by somebody else in the meantime, or
        is there and must not be replaced.
    PermissionError
        If it is write-protected.
    LockedError
        If another process writes to `path`.
    OSError
        If the disk has less than `size` bytes left, or is full before all is written.
    """
    path = Path(os.path.realpath(path))
    _check_replaceable(path)
    with _writing(path), _named_if_full(path):
        check_space(path.parent, size)
        partial = _neighbour(path, "partial")
        try:
            before = _identity(path)
            if before is not None and not overwrite:
                msg = f"{path} exists, so it is not replaced. Choose another path, or move it away."
                raise FileExistsError(msg)
            yield partial
            if path.exists():
                shutil.copymode(path, partial)
            _sync(partial)
            if _identity(path) not in (None, before):
                raise FileExistsError(_MEANWHILE.format(path))
            partial.replace(path)
            _sync_folder(path.parent)
        finally:
            with suppress(OSError):
                partial.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path, *, size: int = 0) -> Iterator[Path]:
    """Yield a path to build a folder at; it takes the place of `path` once the block has ended without an error.

    Parameters and errors are those of :func:`replacing`.
    """
    path = Path(os.path.realpath(path))
    with _writing(path), _named_if_full(path):
        check_space(path.parent, size)
        partial, aside = _neighbour(path, "partial"), _neighbour(path, "replaced")
        before = (_identity(path) or ())[:2]  # what is in it may change while it is read
        try:
            yield partial
            for folder, _, files in os.walk(partial):
                for name in files:
                    _sync(Path(folder, name))
                _sync_folder(Path(folder))
            if (now := (_identity(path) or ())[:2]) and now != before:
                raise FileExistsError(_MEANWHILE.format(path))
            if path.exists():
                path.rename(aside)
            partial.rename(path)
            _sync_folder(path.parent)
        finally:
            _remove(partial)
            with suppress(OSError):
                _clear(path)


def _remove(folder: Path) -> None:
    """Remove a folder, into which threads of zarr may still write what another of them has failed to."""
    for _ in range(50):
        if not folder.exists():
            return
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.02)


_KINDS = {
    stat.S_IFREG: "a file",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def kind_of_path(path: Path) -> str:
    """Say what a path leads to. Opening what is neither a file nor a folder may wait for ever, or do things."""
    return _KINDS.get(stat.S_IFMT(path.stat().st_mode), "a special file")


def check_readable(path: Path) -> None:
    """Refuse what is neither a file nor a folder, before it is opened.

    Raises
    ------
    ValueError
        If it is so.
    """
    if (kind := kind_of_path(path)) not in ("a file", "a folder"):
        msg = f"{str(path)!r} is {kind}, not a file or folder. Write what comes from it to a file, and pass that."
        raise ValueError(msg)


def _identity(path: Path) -> tuple[int, ...] | None:
    """Return what tells whether a file is still the same, or None if there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _check_replaceable(path: Path) -> None:
    if not path.exists():
        return
    if (kind := kind_of_path(path)) != "a file":
        msg = f"{path} exists and is {kind}: it is not replaced by a file."
        raise FileExistsError(msg)
    if not path.stat().st_mode & 0o222:
        msg = f"{path} is write-protected, so it is not replaced. Choose another path, or allow it with `chmod u+w`."
        raise PermissionError(msg)


@contextmanager
def _named_if_full(path: Path) -> Iterator[None]:
    """Say in our words that the disk is full, whichever library met it: HDF5 tells it among numbers of its own."""
    try:
        yield
    except Exception as error:
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or os.strerror(errno.ENOSPC) in str(error)
        if not full or "There is no room" in str(error):
            raise
        was = "is as it was before" if path.exists() else "was not made"
        msg = f"The disk of {path.parent} is full: {path.name!r} {was}. Make room there, or write to another disk."
        raise OSError(errno.ENOSPC, msg) from error


def check_writable(path: Path, size: int) -> None:
    """Raise what :func:`replacing` would raise, before the work whose result is to be written."""
    path = Path(os.path.realpath(path))
    if not path.is_dir():
        _check_replaceable(path)
    with _writing(path):
        check_space(path.parent, size)


def recover(path: Path) -> None:
    """Clear away what interrupted writers of `path` left, and put back what one of them had moved aside.

    Nothing is done where another process writes to `path`, or nothing can be written.
    """
    path = Path(os.path.realpath(path))
    if not any(_leftovers(path)):
        return
    with suppress(OSError), _writing(path):
        return
    for _ in range(50):  # a writer may be between two renames
        if path.exists():
            return
        time.sleep(0.02)


def check_space(folder: Path, size: int) -> None:
    """Refuse to write so many bytes where there is no room for them.

    Raises
    ------
    OSError
        If so much is not free; the message says how much is.
    """
    free = shutil.disk_usage(folder).free
    if size and size + SPARE > free:
        msg = (
            f"There is no room for about {size / 1e9:,.3f} GB in {folder}: {free / 1e9:,.3f} GB are free. "
            "Make room there, or write to another disk."
        )
        raise OSError(errno.ENOSPC, msg)


# -- one writer at a time ------------------------------------------------------------------------------------------


@contextmanager
def claimed(path: Path) -> Iterator[None]:
    """Keep a file for this process for as long as the block lasts, whatever is written to it in between.

    Raises
    ------
    LockedError
        If it is another's.
    """
    with _writing(path.with_name(f"{path.name}.run")):
        yield


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Be the only writer of `path`, and clear away what earlier ones have left."""
    lock = path.with_name(f".{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = _take(lock)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        msg = f"Nothing can be written to {path.parent} ({error.strerror}): choose another folder for {path.name!r}."
        raise OSError(error.errno, msg) from error  # a PermissionError, by its number
    try:
        os.truncate(file, 0)
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        os.write(file, f"process {os.getpid()} on {_machine()} since {since}".encode())
        _clear(path)
        yield
    finally:
        with suppress(OSError):
            lock.unlink(missing_ok=True)  # before it is let go, so that nobody else holds it
        os.close(file)


def _take(lock: Path) -> int:
    while True:
        file = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not _locks(file):
                owner = os.read(file, 200).decode(errors="replace")
                msg = (
                    f"{lock.parent / lock.name[1:-5]} is being written by {owner or 'another process'}. Wait until it "
                    f"has ended, or choose another path. If there is no such process, delete {lock}."
                )
                raise LockedError(msg)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file), lock.stat()):
                    return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)  # it was removed by its owner between the two


def _locks(file: int) -> bool:
    """Lock an open file, unless another process has."""
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL):
                raise
        else:
            return True
    # no locks on this system: the owner has to be told by what it wrote
    found = re.match(r"process (\d+) on ([^ ]+) ", os.read(file, 200).decode(errors="replace"))
    os.lseek(file, 0, os.SEEK_SET)
    fresh = time.time() - os.fstat(file).st_mtime < STALE
    return found is None or not fresh or (found[2] == _machine() and not _runs(int(found[1])))


def _runs(pid: int) -> bool:
    """Whether a process of this machine runs."""
    if os.name == "nt":  # where asking would end it
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


# -- what writers leave --------------------------------------------------------------------------------------------


def _machine() -> str:
    return re.sub(r"[^\w.]", "_", platform.node()) or "localhost"


def _neighbour(path: Path, kind: str) -> Path:
    return path.with_name(f".{path.name}.{kind}-{os.getpid()}-{_machine()}{_MARK}")


def _leftovers(path: Path) -> Iterator[tuple[Path, str, str]]:
    """Yield what lies beside `path`, its kind, and the machine that wrote it."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*-*"):
        # the last is what `tempfile` adds
        names = rf"(partial|replaced|removed)-[1-9]\d*-([\w.]+){re.escape(_MARK)}(-[a-z0-9_]{{8}})?"
        found = re.fullmatch(names, leftover.name.removeprefix(f".{path.name}."))
        if found is not None:
            yield leftover, found[1], found[2]


def _clear(path: Path) -> None:
    """Clear away what is left by writers that are no more; their lock is ours."""
    for leftover, kind, machine in sorted(_leftovers(path), key=lambda found: found[1]):  # what was moved aside last
        if kind == "replaced" and not path.exists():
            leftover.rename(path)
        # locks may not reach other machines
        elif machine != _machine() and time.time() - _last_change(leftover) < STALE:
            continue
        elif leftover.is_dir():
            if kind == "replaced":  # under another name first: what is half removed must not be put back
                removed = leftover.name.replace(f"{path.name}.replaced-", f"{path.name}.removed-")
                leftover = leftover.rename(leftover.with_name(removed))
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def _last_change(path: Path) -> float:
    with suppress(FileNotFoundError):
        return max(p.lstat().st_mtime for p in (path, *path.rglob("*")))
    return time.time()


def _sync(file: Path) -> None:
    """Wait until a file is on the disk, and not only on its way there."""
    with file.open("rb+") as opened:
        os.fsync(opened.fileno())


def _sync_folder(folder: Path) -> None:
    """The same for the names in a folder, where the system can."""
    if os.name == "nt":
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.EBADF):
            raise
    finally:
        os.close(opened)
