"""What a pickle of a classifier may name, and the inert values that come of it. Nothing named is imported or called."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from ginseng._disk.strict_hdf5 import ModelFileError

#: Maximum dimensions of an array.
MAX_DIMENSIONS = 4


class PickleError(ModelFileError):
    """A pickle that is not a classifier, or tries to execute something."""


@dataclass(frozen=True)
class Name:
    """A global that the file refers to; never looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass
class Record:
    """An instance of a known class: attributes without behaviour."""

    name: Name
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass
class Type:
    """A NumPy dtype: its code, and its byte order once known."""

    code: str
    order: str = "="

    @property
    def dtype(self) -> np.dtype:
        """The dtype in NumPy."""
        return np.dtype(self.order.replace("|", "=") + self.code)


@dataclass
class Array:
    """A NumPy array whose contents follow."""

    values: np.ndarray | None = None


def _modules(package: str, *files: str) -> tuple[str, ...]:
    return tuple(f"{package}.{file}" for file in files)


#: Losses that a fitted SGDClassifier stores; they are ignored.
_LOSSES = {
    "Log": _modules("sklearn.linear_model", "_sgd_fast", "sgd_fast"),
    "CyHalfBinomialLoss": ("sklearn._loss._loss", "_loss"),  # the name that the compiled module gives itself
}
#: Classes whose instances become records, and the modules that they have been defined in.
RECORDS = {
    "LogisticRegression": _modules("sklearn.linear_model", "_logistic", "logistic"),
    "SGDClassifier": _modules("sklearn.linear_model", "_stochastic_gradient", "stochastic_gradient"),
    "StandardScaler": _modules("sklearn.preprocessing", "_data", "data"),
    "Model": ("celltypist.models",),
    **_LOSSES,
}
_BUILTINS = ("builtins", "__builtin__")
_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")


def kind_of(value: Any) -> str:
    """Return what a value is, for messages."""
    return str(value) if isinstance(value, Name | Record) else type(value).__name__.strip("_").lower()


# NumPy without NumPy's own unpickling


def _type(code: Any, *_: Any) -> Type:
    known = type(code) is str and (code in _CODES or (code[:1] in "US" and code[1:].isdecimal() and len(code) < 8))
    if not known:
        msg = f"it has values of the unsupported dtype {str(code)[:20]!r}"
        raise PickleError(msg)
    return Type(code)


def set_order(target: Type, state: Any) -> None:
    """Set the byte order of a dtype from its state."""
    if type(state) is not tuple or len(state) < 2 or state[1] not in ("<", ">", "=", "|") or any(state[2:5]):
        msg = "it has a structured dtype"
        raise PickleError(msg)
    target.order = state[1]


def _reconstruct(cls: Any, shape: Any, code: Any) -> Array:
    del shape, code  # placeholders; the state has the real ones
    if not isinstance(cls, Name) or cls.name != "ndarray":
        msg = f"it has an array of class {kind_of(cls)}"
        raise PickleError(msg)
    return Array()


def filled(state: Any) -> np.ndarray:
    """Return an array from its state."""
    if type(state) is not tuple or len(state) != 5:
        msg = "it has an array without shape, dtype or values"
        raise PickleError(msg)
    _, shape, kind, fortran, values = state
    return _array(values, kind, shape, "F" if fortran else "C")


def _from_buffer(values: Any, kind: Any, shape: Any, order: Any, *_: Any) -> Array:
    return Array(_array(values, kind, shape, order))


def _scalar(kind: Any, values: Any) -> Any:
    return _array(values, kind, (), "C").item()


def _array(values: Any, kind: Any, shape: Any, order: Any) -> np.ndarray:
    """Return the array with these bytes or strings, which must be as many as the shape says."""
    if not isinstance(kind, Type) or type(shape) is not tuple or len(shape) > MAX_DIMENSIONS or order not in ("C", "F"):
        msg = "it has an array with an unsupported dtype or shape"
        raise PickleError(msg)
    if any(type(n) is not int or n < 0 for n in shape):
        msg = f"it has an array with the invalid shape {shape}"
        raise PickleError(msg)
    size = math.prod(shape)
    if kind.code[0] == "O":
        if type(values) is not list or any(type(value) is not str for value in values) or len(values) != size:
            msg = "it has an object array with values other than strings, or not as many as its shape says"
            raise PickleError(msg)
        return np.array(values, dtype=object).reshape(shape, order=order)
    dtype = kind.dtype
    if type(values) is not bytes or dtype.itemsize == 0 or len(values) != size * dtype.itemsize:
        msg = f"it has an array of shape {shape} with too few or too many bytes"
        raise PickleError(msg)
    return np.frombuffer(values, dtype).astype(dtype.newbyteorder("="), copy=False).reshape(shape, order=order)


def _encode(text: Any, encoding: Any) -> bytes:
    """Return bytes, which early protocols store as a string."""
    if type(text) is not str or encoding not in ("latin1", "latin-1"):
        msg = "it encodes something other than bytes"
        raise PickleError(msg)
    return text.encode("latin1")


def _reconstructor(cls: Any, base: Any, state: Any) -> Record:
    """Return an empty instance, as created by early protocols."""
    plain = isinstance(base, Name) and base.name == "object" and state is None
    if not isinstance(cls, Name) or cls.name not in RECORDS or not plain:
        msg = f"it creates an instance of {kind_of(cls)}"
        raise PickleError(msg)
    return Record(cls)


def _loss(name: str, *_: Any) -> Record:
    return Record(Name(_LOSSES[name][0], name))


def _empty_bytes(*arguments: Any) -> bytes:
    if arguments:
        msg = "it calls bytes with arguments"
        raise PickleError(msg)
    return b""


_CODES = {f"{kind}{n}" for kind, sizes in {"f": (2, 4, 8), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8)}.items() for n in sizes}
_CODES |= {"b1", "O8", "O"}

#: Replacement for the call of each function.
CALLS: dict[str, Callable[..., Any]] = {
    "_reconstruct": _reconstruct,
    "_frombuffer": _from_buffer,
    "scalar": _scalar,
    "dtype": _type,
    "encode": _encode,
    "_reconstructor": _reconstructor,
    **{name: partial(_loss, name) for name in _LOSSES},
    "bytes": _empty_bytes,
}
NAMES: dict[str, tuple[str, ...]] = {
    **RECORDS,
    "_reconstruct": _MULTIARRAY,
    "scalar": _MULTIARRAY,
    "_frombuffer": _NUMERIC,
    "dtype": ("numpy",),
    "ndarray": ("numpy",),
    "encode": ("_codecs",),
    "_reconstructor": ("copy_reg", "copyreg"),
    "object": _BUILTINS,
    "bytes": _BUILTINS,
}
