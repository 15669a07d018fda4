"""HDF5 files on a disk that is full: an error in our words, and a process that goes on."""

import errno
import gc
import os
from collections.abc import Callable
from io import BytesIO, FileIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from ginseng._disk import hdf5
from ginseng._disk.hdf5 import added_to, written


class Full(FileIO):
    """A file that takes so many bytes more."""

    room = 0

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data)


def fill(file: h5py.File) -> None:
    for i in range(20):
        file.create_dataset(f"group{i}/values", data=np.arange(5000.0))
        file.create_dataset(f"group{i}/text", data=["text"] * 100)


@pytest.mark.parametrize("how", [written, added_to])
def test_what_is_written_is_there(how: Callable[..., Any], tmp_path: Path) -> None:
    h5py.File(tmp_path / "a.h5", "w").close()
    with how(tmp_path / "a.h5") as file:
        fill(file)
    with h5py.File(tmp_path / "a.h5") as file:
        assert len(file) == 20
        np.testing.assert_array_equal(file["group7/values"], np.arange(5000.0))


@pytest.mark.parametrize("room", [0, 100, 5_000, 50_000, 400_000, 700_000])
def test_a_write_that_fails_is_raised_at_the_end(room: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5, "FileIO", Full)
    monkeypatch.setattr(Full, "room", room)
    h5py.File(tmp_path / "a.h5", "w").close()
    with pytest.raises(OSError, match="No space left") as caught, added_to(tmp_path / "a.h5") as file:
        fill(file)
    assert caught.value.errno == errno.ENOSPC
    del file
    gc.collect()  # where HDF5 would end the process


@pytest.mark.parametrize("room", [0, 500, 10**6])
def test_what_was_not_written_is_read_back(room: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5, "FileIO", Full)
    monkeypatch.setattr(Full, "room", room)
    path = tmp_path / "a"
    path.write_bytes(bytes(range(200)))
    rng = np.random.default_rng(0)
    with hdf5._Kept(path) as kept, BytesIO(path.read_bytes()) as expected:
        for _ in range(300):
            data, at, length = rng.bytes(rng.integers(1, 90)), *(int(n) for n in rng.integers(0, 900, 2))
            for file in (kept, expected):
                file.seek(at)
                file.write(data)
            size = expected.seek(0, os.SEEK_END)
            assert kept.seek(0, os.SEEK_END) == size
            expected.seek(min(at, size - 1))
            kept.seek(min(at, size - 1))
            found = expected.read(length)
            assert kept.read(len(found)) == found
        assert (kept.error is None) == (room == 10**6)


@pytest.mark.parametrize("how", [written, added_to])
def test_other_errors_are_themselves(how: Callable[..., Any], tmp_path: Path) -> None:
    h5py.File(tmp_path / "a.h5", "w").close()
    with pytest.raises(KeyError, match="mine"), how(tmp_path / "a.h5"):
        raise KeyError("mine")
