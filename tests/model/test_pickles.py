"""Pickles are read without executing them, and hostile ones are refused."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.preprocessing import StandardScaler

import ginseng as gs
from ginseng.model.pickle_values import PickleError, Record
from ginseng.model.pickles import read_pickle

RAN = Path("ran")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def read(content: bytes) -> Any:
    Path("x.pkl").write_bytes(content)
    return read_pickle(Path("x.pkl"))


class Runs:
    """An object whose pickle calls a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.answer = (function, arguments)

    def __reduce__(self) -> Any:
        return self.answer


class Sets:
    """An object whose pickle sets the state of the result of another call."""

    def __init__(self, *answer: Any) -> None:
        self.answer = answer

    def __reduce__(self) -> Any:
        return self.answer


def fitted(classifier: Any, seed: int = 0, n: int = 6) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(60, n)), np.array(["B", "T/NK", "γδ T"])[np.arange(60) % 3]
    scaler = StandardScaler().fit(x)
    classifier.fit(scaler.transform(x), y)
    classifier.features = np.array([f"GENE{i}" for i in range(n)], dtype=object)
    description = {"date": "2026-01-02", "details": "blood", "url": "", "source": "here", "version": "v1", "number": 3}
    return {"Model": classifier, "Scaler_": scaler, "description": description}


MODEL = {"Model": LogisticRegression(), "Scaler_": StandardScaler(), "description": {}}
TOUCH = f"touch {RAN}"


def s(text: str) -> bytes:
    return b"\x8c" + bytes([len(text.encode())]) + text.encode()


def persistent() -> bytes:
    class P(pickle.Pickler):
        def persistent_id(self, obj: Any) -> Any:
            return "elsewhere" if obj == 7 else None

    file = io.BytesIO()
    P(file, 4).dump({"Model": 7})
    return file.getvalue()


def array_of(shape: tuple[int, ...], values: Any, code: str = "f8") -> bytes:
    """Return a pickled array that declares this shape and dtype, right or wrong."""
    array = np.zeros(1)
    function, arguments, _ = array.__reduce__()
    state = (1, shape, np.dtype(code), False, values)
    return pickle.dumps({"Model": Sets(function, arguments, state)}, 4)


HOSTILE: dict[str, bytes] = {
    "os.system": pickle.dumps(Runs(os.system, TOUCH), 4),
    "os.system, protocol 0": pickle.dumps(Runs(os.system, TOUCH), 0),
    "os.system, protocol 2": pickle.dumps(Runs(os.system, TOUCH), 2),
    "eval": pickle.dumps(Runs(eval, f"open('{RAN}', 'w')"), 4),
    "exec": pickle.dumps(Runs(exec, f"open('{RAN}', 'w')"), 5),
    "open": pickle.dumps(Runs(open, str(RAN), "w"), 3),
    "getattr": pickle.dumps(Runs(getattr, "x", "upper"), 4),
    "import": pickle.dumps(Runs(__import__, "antigravity"), 4),
    "a call within a model": pickle.dumps({**MODEL, "description": {"date": Runs(os.system, TOUCH)}}, 4),
    "a call within a list within a dict": pickle.dumps({"a": [{"b": [Runs(os.system, TOUCH)]}]}, 4),
    "a call in place of an array": pickle.dumps({"Model": Sets(np.array, ([1, 2],))}, 4),
    "a pickle within a pickle": pickle.dumps(Runs(pickle.loads, pickle.dumps(Runs(os.system, TOUCH))), 4),
    "numpy.load": pickle.dumps(Runs(np.load, "x.pkl"), 4),
    "numpy's runstring": b"cnumpy.testing._private.utils\nrunstring\n(Vopen('ran','w')\n}tR.",
    "stack global of os": b"\x80\x04" + s("os") + s("system") + b"\x93" + s(TOUCH) + b"\x85R.",
    "stack global put together": b"\x80\x04" + s("posix") + b"\x94" + s("system") + b"h\x00" + b"\x93.",
    "stack global of a dotted name": b"\x80\x04" + s("numpy") + s("lib.npyio.load") + b"\x93.",
    "stack global of numbers": b"\x80\x04K\x01K\x02\x93.",
    "a name that another module has": b"\x80\x04" + s("evil.models") + s("Model") + b"\x93)\x81.",
    "a method of a class that is known": b"\x80\x04" + s("sklearn.preprocessing._data")
    + s("StandardScaler.__init__") + b"\x93)R.",
    "extension code 1": b"\x80\x02\x82\x01.",
    "extension code 2": b"\x80\x02\x83\x01\x01.",
    "extension code 4": b"\x80\x02\x84\x01\x01\x01\x01.",
    "persistent id": b"Pelsewhere\n.",
    "binary persistent id": persistent(),
    "out-of-band buffer": b"\x80\x05\x97.",
    "INST": b"(S'" + TOUCH.encode() + b"'\nios\nsystem\n.",
    "OBJ": b"(cos\nsystem\nS'" + TOUCH.encode() + b"'\no.",
    "NEWOBJ of a foreign class": b"\x80\x04" + s("subprocess") + s("Popen") + b"\x93" + s(TOUCH) + b"\x85\x81.",
    "NEWOBJ_EX": b"\x80\x04" + s("sklearn.preprocessing._data") + s("StandardScaler") + b"\x93)}\x92.",
    "NEWOBJ with arguments": b"\x80\x04" + s("sklearn.preprocessing._data") + s("StandardScaler")
    + b"\x93K\x01\x85\x81.",
    "NEWOBJ of a function": b"\x80\x04" + s("numpy") + s("dtype") + b"\x93)\x81.",
    "a call of a class that is known": b"\x80\x04" + s("celltypist.models") + s("Model") + b"\x93)R.",
    "BUILD on a name": b"\x80\x04" + s("numpy") + s("ndarray") + b"\x93}b.",
    "BUILD on a dict": b"\x80\x04}}b.",
    "BUILD on text": b"\x80\x04" + s("x") + b"}b.",
    "BUILD on a foreign class": b"\x80\x04" + s("collections") + s("OrderedDict") + b"\x93)R}b.",
    "BUILD with slots": b"\x80\x04" + s("sklearn.preprocessing._data") + s("StandardScaler") + b"\x93)\x81N}\x86b.",
    "BUILD twice": b"\x80\x04" + s("sklearn.preprocessing._data") + s("StandardScaler")
    + b"\x93)\x81}" + s("a") + b"K\x01sb}" + s("a") + b"K\x02sb.",
    "memo of what is not there": b"\x80\x04h\x05.",
    "memo of a high number": b"\x80\x04}r\xff\xff\xff\x7f.",
    "memo of a number below 0": b"(lp-1\n.",
    "memo again and again": b"\x80\x04}" + b"\x94" * 200_000 + b".",
    "a list in itself": b"\x80\x04]\x94h\x00a.",
    "a dict in itself": b"\x80\x04}\x94" + s("Model") + b"h\x00s.",
    "tuples of tuples, as keys": b"\x80\x04}(" + b")\x94" + b"".join(b"h%c" % i * 2 + b"\x86\x94" for i in range(90))
    + b"K\x01u.",
    "a frame of exabytes": b"\x80\x04\x95" + struct.pack("<Q", 2**60) + b"}.",
    "text of exabytes": b"\x80\x04\x8d" + struct.pack("<Q", 2**60) + b"x.",
    "bytes of gigabytes": b"\x80\x03B" + struct.pack("<I", 2**31) + b"x.",
    "a bytearray of exabytes": b"\x80\x05\x96" + struct.pack("<Q", 2**62) + b"x.",
    "a whole number of megabytes": b"\x80\x02\x8b" + struct.pack("<i", 2**20) + b"\x7f" * 2**20 + b".",
    "a whole number of a negative size": b"\x80\x02\x8b" + struct.pack("<i", -5) + b".",
    "a whole number of many digits": b"I" + b"9" * 10_000 + b"\n.",
    "an array of another size than its bytes": array_of((10**12,), b"\0" * 8),
    "an array of a negative size": array_of((-1, -8), b"\0" * 8),
    "an array of 64 dimensions": array_of((1,) * 64, b"\0" * 8),
    "an array of objects": array_of((1,), [Runs(os.system, TOUCH)], "O"),
    "an array of lists": array_of((1,), [["a"]], "O"),
    "an array of records": array_of((1,), b"\0" * 8, "i4,f4"),
    "an array of times": array_of((1,), b"\0" * 8, "M8[s]"),
    "a stack without an end": b"\x80\x04" + b"N" * 500_000 + b".",
    "marks without an end": b"\x80\x04" + b"(" * 500_000 + b".",
    "nothing but a stop": b".",
    "two objects": b"\x80\x04}}.",
    "POP and POP_MARK": b"\x80\x04(N0N1}.",
    "DUP": b"\x80\x04}2.",
    "set": pickle.dumps({1, 2}, 4),
    "frozenset": pickle.dumps(frozenset({1}), 4),
    "behind its end": pickle.dumps(MODEL, 4) + b"cos\nsystem\n.",
    "no end": pickle.dumps(MODEL, 4)[:-1],
    "cut in the middle": pickle.dumps(MODEL, 4)[:100],
    "protocol 99": b"\x80\x63}.",
    "an opcode that is none": b"\x80\x04\xfe.",
    "text that is none": b"\x80\x04\x8c\x02\xff\xfe.",
    "a web page": b"<html>Log in</html>",
    "nothing": b"",
    "keys that are no text": pickle.dumps({1: 2}, 4),
    "complex numbers": pickle.dumps(1j, 4),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickles_are_refused(name: str) -> None:
    if name in ("a list in itself", "a dict in itself"):  # harmless, but not a model
        Path("x.pkl").write_bytes(HOSTILE[name])
        with pytest.raises(PickleError):
            gs.load_model("x.pkl")
        return
    with pytest.raises(PickleError):
        read(HOSTILE[name])
    assert not RAN.exists()


@pytest.mark.parametrize("name", ["os.system", "stack global of os", "INST", "os.system, protocol 0"])
def test_pickle_itself_runs_them(name: str) -> None:
    """The pickles refused above are indeed harmful."""
    pickle.loads(HOSTILE[name])
    assert RAN.exists()


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("classifier", [LogisticRegression(), SGDClassifier(loss="log_loss", random_state=0)])
def test_what_is_read_is_what_was_written(protocol: int, classifier: Any) -> None:
    model = fitted(classifier)
    found = read(pickle.dumps(model, protocol))
    assert isinstance(found["Model"], Record)
    assert found["description"] == model["description"]
    for record, written in ((found["Model"], model["Model"]), (found["Scaler_"], model["Scaler_"])):
        assert record.name.name == type(written).__name__
        for name, value in vars(written).items():
            if isinstance(value, np.ndarray):
                np.testing.assert_array_equal(record.attributes[name], value)
                assert record.attributes[name].dtype == value.dtype
            elif isinstance(value, str | int | float | bool | None):
                assert record.attributes[name] == value


@pytest.mark.parametrize(
    "array",
    [np.arange(12.0).reshape(3, 4), np.asfortranarray(np.arange(12.0).reshape(3, 4)), np.arange(3, dtype=">i4"),
     np.array(["a", "γδ T"]), np.array(["a", "bc"], object), np.zeros((0, 3)), np.array(1.5), np.array([True, False]),
     np.arange(6, dtype="u1")[::2]],
)  # fmt: skip
@pytest.mark.parametrize("protocol", range(6))
def test_arrays(array: np.ndarray, protocol: int) -> None:
    found = read(pickle.dumps({"a": array, "b": [array]}, protocol))
    for value in (found["a"], found["b"][0]):
        np.testing.assert_array_equal(value, array)
        assert value.shape == array.shape
        assert value.dtype.kind == array.dtype.kind


def test_scalars_of_numpy() -> None:
    assert read(pickle.dumps({"a": np.float64(1.5), "b": np.int32(3), "c": np.str_("x")}, 4)) == {
        "a": 1.5, "b": 3, "c": "x"
    }  # fmt: skip


def test_size_limit() -> None:
    Path("x.pkl").write_bytes(pickle.dumps(fitted(LogisticRegression()), 4))
    with pytest.raises(PickleError, match=r"max_bytes"):
        gs.load_model("x.pkl", max_bytes=1000)


@pytest.mark.parametrize("seed", range(60))
def test_damaged_pickles_are_refused_or_read(seed: int) -> None:
    """Whatever bytes change, the only exception is `PickleError`."""
    rng = np.random.default_rng(seed)
    content = bytearray(pickle.dumps(fitted(LogisticRegression()), int(rng.integers(6))))
    for _ in range(int(rng.integers(1, 6))):
        content[int(rng.integers(len(content)))] = int(rng.integers(256))
    Path("x.pkl").write_bytes(bytes(content))
    with contextlib.suppress(PickleError):
        gs.load_model("x.pkl").check()
    assert not RAN.exists()
