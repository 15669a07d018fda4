"""Atomic writes: a file or folder is complete or absent, and has one writer at a time.

A write goes to a temporary sibling of the target, whose name contains the process and the machine. Once it is complete
and synced, it is renamed to the target. Meanwhile a lock, which is released when its process ends, keeps other writers
away. The next writer to the same target removes what a killed process left behind.
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

#: Seconds after which leftovers of other machines are removed, and locks on systems without file locking expire.
STALE = 24 * 3600
#: Free space to leave after a write, for small files that no estimate includes.
SPARE = 2**20
#: Suffixes of temporary siblings, chosen so that they never clash with names of users.
_MARK = ".ginseng"
_MEANWHILE = "{} was written by another process in the meantime, so it is not replaced."


class LockedError(OSError):
    """Another process is writing to the same path."""


@contextmanager
def replacing(path: Path, *, size: int = 0, overwrite: bool = True) -> Iterator[Path]:
    """Yield a temporary path to write a file to; it replaces `path` when the block ends without an error.

    Parameters
    ----------
    path
        The file. If it is a link, its target is replaced. The new file keeps the permissions of the old one.
    size
        Number of bytes that will be written, as far as known.
    overwrite
        Whether an existing file is replaced.

    Raises
    ------
    FileExistsError
        If `path` is not a regular file, such as a folder or a device; if another process wrote it in the meantime;
        or if it exists and must not be replaced.
    PermissionError
        If it is write-protected.
    LockedError
        If another process is writing to `path`.
    OSError
        If the disk has fewer than `size` bytes left, or fills up during the write.
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
    """Yield a temporary path to build a folder at; it replaces `path` when the block ends without an error.

    Takes the parameters of :func:`replacing` and raises the same errors.
    """
    path = Path(os.path.realpath(path))
    with _writing(path), _named_if_full(path):
        check_space(path.parent, size)
        partial, aside = _neighbour(path, "partial"), _neighbour(path, "replaced")
        before = (_identity(path) or ())[:2]  # ignore the time: the folder may be read meanwhile
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
    """Remove a folder to which threads of zarr may still be writing after one of them failed."""
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
    """Describe what a path leads to. Opening a special file may block forever or have side effects."""
    return _KINDS.get(stat.S_IFMT(path.stat().st_mode), "a special file")


def check_readable(path: Path) -> None:
    """Reject anything but files and folders, before it is opened.

    Raises
    ------
    ValueError
        If `path` is a special file.
    """
    if (kind := kind_of_path(path)) not in ("a file", "a folder"):
        msg = f"{str(path)!r} is {kind}, not a file or folder. Write its contents to a file, and pass that."
        raise ValueError(msg)


def _identity(path: Path) -> tuple[int, ...] | None:
    """Return values that change when a file does; None if there is no file."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _check_replaceable(path: Path) -> None:
    if not path.exists():
        return
    if (kind := kind_of_path(path)) != "a file":
        msg = f"{path} exists and is {kind}; it is not replaced by a file."
        raise FileExistsError(msg)
    if not path.stat().st_mode & 0o222:
        msg = (
            f"{path} is write-protected, so it is not replaced. Choose another path, or make it writable: `chmod u+w`."
        )
        raise PermissionError(msg)


@contextmanager
def _named_if_full(path: Path) -> Iterator[None]:
    """Raise a clear error when the disk is full, whichever library hit it; HDF5 hides the reason among error codes."""
    try:
        yield
    except Exception as error:
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or os.strerror(errno.ENOSPC) in str(error)
        if not full or "There is no room" in str(error):
            raise
        was = "is unchanged" if path.exists() else "was not created"
        msg = f"The disk of {path.parent} is full: {path.name!r} {was}. Free some space, or write to another disk."
        raise OSError(errno.ENOSPC, msg) from error


def check_writable(path: Path, size: int) -> None:
    """Raise the errors of :func:`replacing` in advance, before the work whose result will be written."""
    path = Path(os.path.realpath(path))
    if not path.is_dir():
        _check_replaceable(path)
    with _writing(path):
        check_space(path.parent, size)


def recover(path: Path) -> None:
    """Remove what interrupted writers of `path` left, and restore what one of them had moved aside.

    Does nothing if another process is writing to `path`, or if the folder is read-only.
    """
    path = Path(os.path.realpath(path))
    if not any(_leftovers(path)):
        return
    with suppress(OSError), _writing(path):
        return
    for _ in range(50):  # wait: a writer may be between two renames
        if path.exists():
            return
        time.sleep(0.02)


def check_space(folder: Path, size: int) -> None:
    """Raise if a folder has no room for so many bytes.

    Raises
    ------
    OSError
        If there is too little free space; the message says how much there is.
    """
    free = shutil.disk_usage(folder).free
    if size and size + SPARE > free:
        msg = (
            f"There is no room for about {size / 1e9:,.3f} GB in {folder}: {free / 1e9:,.3f} GB are free. "
            "Free some space, or write to another disk."
        )
        raise OSError(errno.ENOSPC, msg)


# -- one writer at a time ------------------------------------------------------------------------------------------


@contextmanager
def claimed(path: Path) -> Iterator[None]:
    """Lock a file for this process while the block runs, even if the file is replaced meanwhile.

    Raises
    ------
    LockedError
        If another process holds the lock.
    """
    with _writing(path.with_name(f"{path.name}.run")):
        yield


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Become the only writer of `path`, and remove what earlier ones left."""
    lock = path.with_name(f".{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = _take(lock)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        msg = f"Cannot write to {path.parent} ({error.strerror}): choose another folder for {path.name!r}."
        raise OSError(error.errno, msg) from error  # the errno makes it a PermissionError where it applies
    try:
        os.truncate(file, 0)
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        os.write(file, f"process {os.getpid()} on {_machine()} since {since}".encode())
        _clear(path)
        yield
    finally:
        with suppress(OSError):
            lock.unlink(missing_ok=True)  # before the lock is released, so that no other process can hold it
        os.close(file)


def _take(lock: Path) -> int:
    while True:
        file = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not _locks(file):
                owner = os.read(file, 200).decode(errors="replace")
                msg = (
                    f"{lock.parent / lock.name[1:-5]} is being written by {owner or 'another process'}. Wait until it "
                    f"finishes, or choose another path. If there is no such process, delete {lock}."
                )
                raise LockedError(msg)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file), lock.stat()):
                    return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)  # its owner removed it between open and lock


def _locks(file: int) -> bool:
    """Lock an open file, unless another process holds the lock."""
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
    # no file locking on this system: identify the owner by the contents of the file
    found = re.match(r"process (\d+) on ([^ ]+) ", os.read(file, 200).decode(errors="replace"))
    os.lseek(file, 0, os.SEEK_SET)
    fresh = time.time() - os.fstat(file).st_mtime < STALE
    return found is None or not fresh or (found[2] == _machine() and not _runs(int(found[1])))


def _runs(pid: int) -> bool:
    """Whether a process is running on this machine."""
    if os.name == "nt":  # where `os.kill` would end it
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


# -- leftovers of interrupted writers ------------------------------------------------------------------------------


def _machine() -> str:
    return re.sub(r"[^\w.]", "_", platform.node()) or "localhost"


def _neighbour(path: Path, kind: str) -> Path:
    return path.with_name(f".{path.name}.{kind}-{os.getpid()}-{_machine()}{_MARK}")


def _leftovers(path: Path) -> Iterator[tuple[Path, str, str]]:
    """Yield the temporary siblings of `path`, each with its kind and the machine that wrote it."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*-*"):
        # the last part is added by `tempfile`
        names = rf"(partial|replaced|removed)-[1-9]\d*-([\w.]+){re.escape(_MARK)}(-[a-z0-9_]{{8}})?"
        found = re.fullmatch(names, leftover.name.removeprefix(f".{path.name}."))
        if found is not None:
            yield leftover, found[1], found[2]


def _clear(path: Path) -> None:
    """Remove what dead writers left; the caller holds the lock."""
    for leftover, kind, machine in sorted(_leftovers(path), key=lambda found: found[1]):  # "replaced" comes last
        if kind == "replaced" and not path.exists():
            leftover.rename(path)
        # locks may not work across machines
        elif machine != _machine() and time.time() - _last_change(leftover) < STALE:
            continue
        elif leftover.is_dir():
            if kind == "replaced":  # rename first: a half-removed folder must never be restored
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
    """Flush a file to disk."""
    with file.open("rb+") as opened:
        os.fsync(opened.fileno())


def _sync_folder(folder: Path) -> None:
    """Flush the names in a folder to disk, where the system supports it."""
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
