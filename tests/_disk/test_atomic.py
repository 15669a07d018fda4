"""Files and folders that are whole or not there at all, written by one process at a time."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from ginseng._disk import atomic
from ginseng._disk.atomic import LockedError, check_space, claimed, recover, replacing, replacing_folder


def forks(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test that forks; JAX and Python warn of that, but the children only write files."""
    for mark in (
        pytest.mark.skipif(not hasattr(os, "fork"), reason="forks"),
        pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning", "ignore:.*fork.*:RuntimeWarning"),
    ):
        test = mark(test)
    return test


HERE = atomic._machine()
ELSEWHERE = "another_machine.org"


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def write(path: Path, text: str = "new") -> None:
    with replacing(path) as partial:
        partial.write_text(text)


def write_folder(path: Path, text: str = "new") -> None:
    with replacing_folder(path) as partial:
        (partial / "inner").mkdir(parents=True)
        (partial / "inner" / "a").write_text(text)


def read_folder(path: Path) -> str:
    return (path / "inner" / "a").read_text()


def test_who_may_read_and_write_it_stays(tmp_path: Path) -> None:
    write(tmp_path / "f", "old")
    (tmp_path / "f").chmod(0o600)
    write(tmp_path / "f")
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o600
    (tmp_path / "f").chmod(0o444)
    with pytest.raises(PermissionError, match="write-protected"):
        write(tmp_path / "f", "newer")
    assert (tmp_path / "f").read_text() == "new"


def test_nothing_is_left_by_threads_that_go_on(tmp_path: Path) -> None:
    def go_on(folder: Path) -> None:
        for i in range(100):
            with suppress(FileNotFoundError):
                folder.mkdir(exist_ok=True)
                (folder / f"{i}").touch()
            time.sleep(0.001)

    def fail(pool: ThreadPoolExecutor) -> None:
        with replacing_folder(tmp_path / "d") as partial:
            for _ in range(4):
                pool.submit(go_on, partial)
            time.sleep(0.02)
            raise OSError("mine")

    with ThreadPoolExecutor(4) as pool, pytest.raises(OSError, match="mine"):
        fail(pool)
    assert names(tmp_path) == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes")
def test_only_a_file_is_replaced_by_one(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(FileExistsError, match="not replaced by a file"):
            write(tmp_path / name)
    assert names(tmp_path) == ["folder", "pipe"]


@pytest.mark.parametrize("before", [None, "old"])
def test_the_new_takes_the_place_of_the_old(tmp_path: Path, before: str | None) -> None:
    for text in filter(None, (before, "new")):
        write(tmp_path / "f", text)
        write_folder(tmp_path / "d", text)
    assert (tmp_path / "f").read_text() == "new"
    assert read_folder(tmp_path / "d") == "new"
    assert names(tmp_path) == ["d", "f"]


@pytest.mark.parametrize("before", [None, "old"])
def test_what_somebody_else_writes_in_the_meantime_stays(tmp_path: Path, before: str | None) -> None:
    """Of those that do not ask for the lock, as other programs."""
    file, folder = tmp_path / "f", tmp_path / "d"
    if before:
        write(file, before)
        write_folder(folder, before)

    def meanwhile() -> None:
        with replacing(file) as partial:
            partial.write_text("new")
            file.write_text("theirs, and longer")

    def meanwhile_a_folder() -> None:
        with replacing_folder(folder) as partial:
            (partial / "inner").mkdir(parents=True)
            (tmp_path / "theirs" / "inner").mkdir(parents=True)
            (tmp_path / "theirs" / "inner" / "a").write_text("theirs")
            if before:
                shutil.rmtree(folder)
            (tmp_path / "theirs").rename(folder)

    with pytest.raises(FileExistsError, match="f was written by another"):
        meanwhile()
    with pytest.raises(FileExistsError, match="d was written by another"):
        meanwhile_a_folder()
    assert file.read_text() == "theirs, and longer"
    assert read_folder(folder) == "theirs"
    assert names(tmp_path) == ["d", "f"]


def test_a_file_that_is_there_can_be_kept(tmp_path: Path) -> None:
    file = tmp_path / "f"

    def new(meanwhile: str = "") -> None:
        with replacing(file, overwrite=False) as partial:
            partial.write_text("new")
            if meanwhile:
                file.write_text(meanwhile)

    new()
    with pytest.raises(FileExistsError, match="exists"):
        new()
    assert file.read_text() == "new"
    file.unlink()
    with pytest.raises(FileExistsError, match="in the meantime"):
        new(meanwhile="theirs")
    assert file.read_text() == "theirs"


def test_a_claim_lasts_over_several_writes(tmp_path: Path) -> None:
    file = tmp_path / "f"
    with claimed(file):
        for text in ("1", "2"):
            write(file, text)
            with pytest.raises(LockedError, match=str(os.getpid())), claimed(file):
                pass
    with claimed(file):
        pass
    assert names(tmp_path) == ["f"]


def test_folders_on_the_way_are_made(tmp_path: Path) -> None:
    write(tmp_path / "a/b/f")
    write_folder(tmp_path / "c/d")
    assert (tmp_path / "a/b/f").exists()
    assert (tmp_path / "c/d").exists()


def test_what_a_link_leads_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there/f").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "there/f")
    write(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there/f").read_text() == "new"
    assert names(tmp_path / "there") == ["f"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_error_leaves_what_was_there(tmp_path: Path, error: type[BaseException]) -> None:
    write(tmp_path / "f", "old")
    write_folder(tmp_path / "d", "old")
    with pytest.raises(error), replacing(tmp_path / "f") as partial:  # noqa: PT012
        partial.write_text("half")
        raise error
    with pytest.raises(error), replacing_folder(tmp_path / "d") as partial:  # noqa: PT012
        leave(partial, "half")
        raise error
    assert (tmp_path / "f").read_text() == "old"
    assert read_folder(tmp_path / "d") == "old"
    assert names(tmp_path) == ["d", "f"]


# -- one writer --------------------------------------------------------------------------------------------------


def test_a_second_writer_is_told_who_the_first_is(tmp_path: Path) -> None:
    for first, second in ((replacing, write), (replacing_folder, write_folder)):
        path = tmp_path / first.__name__
        with first(path) as partial:
            partial.mkdir() if first is replacing_folder else partial.touch()
            with pytest.raises(
                LockedError, match=rf"{path.name} is being written by process {os.getpid()} on {HERE} since 2"
            ):
                second(path)
        second(path)
    assert names(tmp_path) == ["replacing", "replacing_folder"]


@forks
def test_a_lock_goes_with_the_process_that_held_it(tmp_path: Path) -> None:
    """Even if it could not remove the file."""
    if (pid := os.fork()) == 0:
        with replacing(tmp_path / "f") as partial:
            partial.touch()
            os._exit(0)
    os.waitpid(pid, 0)
    assert len(names(tmp_path)) == 2  # the lock and the half file
    write(tmp_path / "f")
    assert names(tmp_path) == ["f"]


def race(path: Path) -> int:
    """Fork a process that writes its number to two files in `path`; it ends with 1 if another process does."""
    if pid := os.fork():
        return pid
    code = 3
    try:
        with replacing_folder(path) as partial:
            partial.mkdir()
            for part in "ab":
                (partial / part).write_text(str(os.getpid()))
        code = 0
    except LockedError:
        code = 1
    finally:
        os._exit(code)


def ended(pids: list[int]) -> dict[int, int]:
    return {pid: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids}


@forks
@pytest.mark.parametrize("n", [2, 8])
def test_several_writers_at_once_leave_one_whole_folder(tmp_path: Path, n: int, long: bool) -> None:
    path = tmp_path / "d"
    for _ in range(50 if long else 5):
        codes = ended([race(path) for _ in range(n)])
        assert set(codes.values()) <= {0, 1}
        winners = [str(pid) for pid, code in codes.items() if code == 0]
        assert winners  # several, if one began after another had ended
        found = {(path / part).read_text() for part in "ab"}
        assert len(found) == 1
        assert found <= set(winners)
        assert names(tmp_path) == ["d"]


@forks
def test_other_processes_are_refused_while_one_writes(tmp_path: Path) -> None:
    with replacing_folder(tmp_path / "d") as partial:
        leave(partial, "mine")
        assert list(ended([race(tmp_path / "d") for _ in range(4)]).values()) == [1, 1, 1, 1]
    assert read_folder(tmp_path / "d") == "mine"
    assert list(ended([race(tmp_path / "d")]).values()) == [0]


@pytest.fixture
def without_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "no locks here")

    monkeypatch.setattr(atomic, "fcntl", SimpleNamespace(flock=refuse, LOCK_EX=0, LOCK_NB=0))


@pytest.mark.usefixtures("without_locks")
@pytest.mark.parametrize(
    ("owner", "age", "free"),
    [
        ("", 0, True), ("process {dead} on {here} since then", 0, True), ("process 1 on {here} since then", 0, False),
        ("process 1 on {there} since then", 0, False), ("process 1 on {there} since then", 2 * atomic.STALE, True),
    ],
)  # fmt: skip
def test_where_there_are_no_locks_the_owner_is_asked_for(tmp_path: Path, owner: str, age: float, free: bool) -> None:
    lock = tmp_path / ".f.lock"
    lock.write_text(owner.format(dead=4_000_000, here=HERE, there=ELSEWHERE))
    os.utime(lock, (time.time() - age,) * 2)
    if free:
        write(tmp_path / "f")
        assert names(tmp_path) == ["f"]
    else:
        with pytest.raises(LockedError, match=r"is being written by process 1 on .* delete .*\.f\.lock"):
            write(tmp_path / "f")
        assert names(tmp_path) == [".f.lock"]


# -- what dead writers leave -------------------------------------------------------------------------------------


def leave(path: Path, text: str, *, age: float = 0) -> Path:
    (path / "inner").mkdir(parents=True)
    (path / "inner" / "a").write_text(text)
    for p in (path, path / "inner", path / "inner" / "a"):
        os.utime(p, (time.time() - age,) * 2)
    return path


@pytest.mark.parametrize("clean", [recover, write_folder])
def test_leftovers_of_this_machine_are_cleared_away(tmp_path: Path, clean: Callable[[Path], None]) -> None:
    write_folder(tmp_path / "d")
    for kind in ("partial", "replaced", "removed"):
        leave(tmp_path / f".d.{kind}-4000000-{HERE}.ginseng", "half")
    leave(tmp_path / f".d.partial-4000000-{HERE}.ginseng-parts123", "half")
    clean(tmp_path / "d")
    assert names(tmp_path) == ["d"]
    assert read_folder(tmp_path / "d") == "new"


def test_leftovers_of_another_machine_are_left_for_a_day(tmp_path: Path) -> None:
    """Its writer may be alive, where locks do not reach from machine to machine."""
    fresh = leave(tmp_path / f".d.partial-1-{ELSEWHERE}.ginseng", "half")
    leave(tmp_path / f".d.partial-2-{ELSEWHERE}.ginseng", "half", age=2 * atomic.STALE)
    write_folder(tmp_path / "d")
    assert names(tmp_path) == [fresh.name, "d"]


def test_what_was_moved_aside_is_put_back(tmp_path: Path) -> None:
    leave(tmp_path / f".d.replaced-4000000-{HERE}.ginseng", "old")
    leave(tmp_path / f".d.partial-4000000-{HERE}.ginseng", "half")
    recover(tmp_path / "d")
    assert names(tmp_path) == ["d"]
    assert read_folder(tmp_path / "d") == "old"


def test_what_is_being_removed_is_never_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "d", "old")

    def killed(path: Path, **_: object) -> None:
        if ".removed-" in path.name:
            raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        write_folder(tmp_path / "d", "new")
    monkeypatch.undo()
    (tmp_path / "d").rename(tmp_path / "moved by the user")
    recover(tmp_path / "d")
    assert names(tmp_path) == ["moved by the user"]


def test_what_only_looks_like_a_leftover_stays(tmp_path: Path) -> None:
    mine = [".d.partial", ".d.partial-x-y", ".d.notes-1-2", ".other.partial-1-x", "d.partial-4000000-x", ".d.txt"]
    mine += [f".d.{kind}-99-{end}" for kind in ("partial", "replaced", "removed") for end in ("backup", HERE)]
    mine += [f".d.partial-99-{HERE}.ginseng{end}" for end in ("-mine", ".bak", "~", "-")]
    for name in mine:
        leave(tmp_path / name, "thesis", age=2 * atomic.STALE)
    write_folder(tmp_path / "d")
    recover(tmp_path / "d")
    assert names(tmp_path) == sorted([*mine, "d"])


def test_nothing_is_cleared_away_while_somebody_writes(tmp_path: Path) -> None:
    write_folder(tmp_path / "d", "old")
    with replacing_folder(tmp_path / "d") as partial:
        leave(partial, "new")
        recover(tmp_path / "d")
        assert partial.exists()
    assert read_folder(tmp_path / "d") == "new"


# -- errors ------------------------------------------------------------------------------------------------------


def test_space_is_looked_at_before_the_first_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=3 * 10**9))
    check_space(tmp_path, 2 * 10**9)
    with pytest.raises(OSError, match=r"no room for about 7\.000 GB in .*: 3\.000 GB are free") as caught:
        check_space(tmp_path, 7 * 10**9)
    assert caught.value.errno == errno.ENOSPC
    for write in (replacing, replacing_folder):
        with pytest.raises(OSError, match="no room"), write(tmp_path / "f", size=7 * 10**9):
            pytest.fail("it began")
    assert names(tmp_path) == []


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "x"), RuntimeError("write: No space left on device (28)")])
@pytest.mark.parametrize("writing", [replacing, replacing_folder])
def test_a_disk_that_fills_up_is_named(
    tmp_path: Path, writing: Callable[..., AbstractContextManager[Path]], error: Exception
) -> None:
    said = r"The disk of .* is full: 'f' {}"
    with pytest.raises(OSError, match=said.format("was not created")) as caught, writing(tmp_path / "f"):
        raise error
    assert caught.value.errno == errno.ENOSPC
    (tmp_path / "f").touch()
    with pytest.raises(OSError, match=said.format("is unchanged")), writing(tmp_path / "f"):
        raise error
    assert names(tmp_path) == ["f"]


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(atomic.os, "open", denied)
    with pytest.raises(PermissionError, match=r"Cannot write to .* 'f'"):
        write(tmp_path / "f")
