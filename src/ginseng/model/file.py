"""Models in HDF5: written whole or not at all, read by a reader that trusts nothing in the file.

What a file has is said in `schema.py`. The reader knows from the attributes which datasets there have to be, of which
shape, and opens those by name; it never walks the file.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py

from ginseng import __version__
from ginseng._core import registry
from ginseng._disk.atomic import kind_of_path, replacing
from ginseng._disk.schema import Found, parsed
from ginseng._disk.strict_hdf5 import ERRORS, Reader, read_members, write_members
from ginseng.model.header import FIRST_NETWORK, format_of, located
from ginseng.model.logistic import from_sklearn, is_logistic_regression, read_celltypist
from ginseng.model.pickles import MAX_BYTES as MAX_PICKLE
from ginseng.model.pickles import is_pickle
from ginseng.model.schema import FIRST, MODEL
from ginseng.model.state import GinsengClassifierState, reference_shapes, shapes_of
from ginseng.model.uns import model_of

if TYPE_CHECKING:
    from anndata import AnnData
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline

#: What a model is kept in.
type ModelLike = GinsengClassifierState | AnnData | LogisticRegression | Pipeline | str | Path

MAX_BYTES = 4 * 2**30


def save_model(state: GinsengClassifierState | AnnData, path: str | Path, *, overwrite: bool = True) -> None:
    """Save a trained model to a file.

    The file is written beside its target and renamed, so that an earlier model at `path` stays until the new one is
    whole.

    Parameters
    ----------
    state
        A trained state, or an AnnData that :func:`ginseng.tl.train` trained a model on.
    path
        The file; `.h5` is added if it does not end so.
    overwrite
        Whether an earlier model at `path` is replaced.

    Raises
    ------
    ValueError
        If the state could not be loaded again: weights that are not finite or have other shapes than the architecture
        says, names that are not unique.
    FileExistsError
        If something is at `path` that is no model of ginseng, was written there while this one was, or must not be
        replaced.
    OSError
        If another process writes to `path`, or the disk has no room.
    """
    attributes, datasets = MODEL.stored(model_of(state).to_dict(), f"ginseng {__version__}")
    path = target_of(path)
    size = sum(array.nbytes for array in datasets.values())
    with replacing(path, size=size, overwrite=overwrite) as partial:
        write_members(partial, attributes, datasets)
        with h5py.File(partial, "r") as file:  # what could not be loaded must not take the place of what can
            _read(Reader(file, sys.maxsize))


def target_of(path: str | Path) -> Path:
    """Return the file that a model is written to, unless something else is there.

    Raises
    ------
    FileExistsError
        If so.
    """
    path = Path(path).expanduser()
    if path.suffix not in (".h5", ".hdf5"):
        path = path.with_name(f"{path.name}.h5")
    if path.exists():
        kind = kind_of_path(path)
        if kind != "a file" or (path.stat().st_size and not _is_own(path)):
            kind = "not a model" if kind == "a file" else f"{kind}, not a model"
            msg = f"{path} exists and is {kind}, so it is not replaced. Choose another path or move it away."
            raise FileExistsError(msg)
    return path


def load_model(path: str | Path, *, max_bytes: int = MAX_BYTES) -> GinsengClassifierState:
    """Load a model that :func:`save_model` wrote, or one of ginseng 0.2, or of CellTypist (`.pkl`).

    Nothing in the file is executed, no other file is opened, and no more memory is taken than `max_bytes`.

    Parameters
    ----------
    path
        The file.
    max_bytes
        Refuse larger models.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ModelFileError
        If it is damaged, not a model, or of a later format.
    """
    path = located(path)
    if path.is_file() and is_pickle(path):
        return read_celltypist(path, max_bytes=min(max_bytes, MAX_PICKLE))
    return read_members(path, "model", _read, max_bytes)


def open_model(model: ModelLike) -> GinsengClassifierState:
    """Return a model, whatever it is kept in, once it has been looked at; :func:`load_model` says what is refused."""
    if isinstance(model, str | Path):
        return load_model(model)
    return from_sklearn(model) if is_logistic_regression(model) else model_of(model)


def is_model_file(path: str | Path) -> bool:
    """Whether a file says that it is a model of ginseng, or can be loaded as one of 0.2, or is a pickle."""
    path = Path(path).expanduser()
    if not path.is_file():  # to open a pipe would wait for ever
        return False
    return is_pickle(path) or _is_own(path)


def _is_own(path: Path) -> bool:
    try:
        with h5py.File(path, "r") as file:
            reader = Reader(file, MAX_BYTES)
            return reader.text("format") == MODEL.format if "format" in file.attrs else bool(_read_first(reader))
    except ERRORS:
        return False


def _read(reader: Reader) -> GinsengClassifierState:
    schema, header = format_of(reader)
    if schema is FIRST:
        return _read_first(reader)
    return GinsengClassifierState.from_dict(MODEL.read(reader, header, _shapes))


def _read_first(reader: Reader) -> GinsengClassifierState:
    """Read a file of ginseng 0.2."""
    values = {"target_sum": None} | FIRST.unpack(FIRST.read(reader, {}, _shapes))
    state = GinsengClassifierState(**values, **FIRST_NETWORK)
    state.check()
    return state


def _shapes(name: str, found: Found) -> Mapping[str, Any] | None:
    """Return the shape of each array, from what the file says of its network; None for what it need not have."""
    if name == "reference" and name not in found.reader.members():
        return None
    if name == "reference":
        return reference_shapes(found.sizes["n_genes"], found.sizes["n_classes"])
    values, n_layers = found.values, len(found.reader.members(name))
    if "architecture" in values:
        network = registry.get(values["architecture"], parsed(values["config"], "config"))
    else:
        config = {"hidden_dim": int(values["hidden_dim"]), "dropout_rate": float(values["dropout_rate"])}
        network = registry.get(FIRST_NETWORK["architecture"], config)
    return shapes_of(network, found.sizes["n_genes"], found.sizes["n_classes"], n_layers)
