"""Model files in HDF5, written atomically and read without trusting the file.

`schema.py` defines their contents. The reader derives the names and shapes of all datasets from the attributes and
opens only those; it never walks the file.
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
from ginseng._disk.safe_json import parsed
from ginseng._disk.schema_entries import Found
from ginseng._disk.strict_hdf5 import ERRORS, Reader, read_members, write_members
from ginseng.model.header import FIRST_NETWORK, format_of, located
from ginseng.model.logistic import from_sklearn, is_logistic_regression, read_celltypist
from ginseng.model.pickles import MAX_BYTES as MAX_PICKLE
from ginseng.model.pickles import is_pickle
from ginseng.model.schema import FIRST, MODEL
from ginseng.model.state import GinsengClassifierState, calibration_shapes, reference_shapes, shapes_of
from ginseng.model.uns import model_of

if TYPE_CHECKING:
    from anndata import AnnData
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline

#: Everything that a model can be passed as.
type ModelLike = GinsengClassifierState | AnnData | LogisticRegression | Pipeline | str | Path

MAX_BYTES = 4 * 2**30


def save_model(state: GinsengClassifierState | AnnData, path: str | Path, *, overwrite: bool = True) -> None:
    """Save a trained model to a file.

    The write is atomic: an existing model at `path` is replaced only once the new file is complete.

    Parameters
    ----------
    state
        A trained state, or an AnnData with a model trained by :func:`ginseng.tl.train`.
    path
        Path of the file; the suffix `.h5` is added if missing.
    overwrite
        Whether to replace an existing model at `path`.

    Raises
    ------
    ValueError
        If the state could not be loaded again: weights are not finite or do not have the shapes of the architecture, or
        names are not unique.
    FileExistsError
        If `path` exists and is not a ginseng model, appeared during the call, or must not be replaced.
    OSError
        If another process is writing to `path`, or the disk is full.
    """
    attributes, datasets = MODEL.stored(model_of(state).to_dict(), f"ginseng {__version__}")
    path = target_of(path)
    size = sum(array.nbytes for array in datasets.values())
    with replacing(path, size=size, overwrite=overwrite) as partial:
        write_members(partial, attributes, datasets)
        with h5py.File(partial, "r") as file:  # verify before the existing file is replaced
            _read(Reader(file, sys.maxsize))


def target_of(path: str | Path) -> Path:
    """Return the path that a model is written to.

    Raises
    ------
    FileExistsError
        If the path exists and is not a model.
    """
    path = Path(path).expanduser()
    if path.suffix not in (".h5", ".hdf5"):
        path = path.with_name(f"{path.name}.h5")
    if path.exists():
        kind = kind_of_path(path)
        if kind != "a file" or (path.stat().st_size and not _is_own(path)):
            kind = "not a model" if kind == "a file" else f"{kind}, not a model"
            msg = f"{path} exists and is {kind}, so it is not replaced. Choose another path or move it."
            raise FileExistsError(msg)
    return path


def load_model(path: str | Path, *, max_bytes: int = MAX_BYTES) -> GinsengClassifierState:
    """Load a model of :func:`save_model`, ginseng 0.2 or CellTypist (`.pkl`).

    Nothing in the file is executed, no other file is opened, and memory use is limited to `max_bytes`.

    Parameters
    ----------
    path
        Path of the file.
    max_bytes
        Maximum size of the model in bytes.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ModelFileError
        If the file is damaged, is not a model, or has a later format.
    """
    path = located(path)
    if path.is_file() and is_pickle(path):
        return read_celltypist(path, max_bytes=min(max_bytes, MAX_PICKLE))
    return read_members(path, "model", _read, max_bytes)


def open_model(model: ModelLike) -> GinsengClassifierState:
    """Return a checked model, given any :data:`ModelLike`; for errors see :func:`load_model`."""
    if isinstance(model, str | Path):
        return load_model(model)
    return from_sklearn(model) if is_logistic_regression(model) else model_of(model)


def is_model_file(path: str | Path) -> bool:
    """Whether a file has the format of a ginseng model, is one of ginseng 0.2, or is a pickle."""
    path = Path(path).expanduser()
    if not path.is_file():  # opening a pipe would block forever
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
    if name == "calibration" and name not in found.reader.members():
        return None
    values, n_layers = found.values, len(found.reader.members(name))
    if "architecture" in values:
        network = registry.get(values["architecture"], parsed(values["config"], "config"))
    else:
        config = {"hidden_dim": int(values["hidden_dim"]), "dropout_rate": float(values["dropout_rate"])}
        network = registry.get(FIRST_NETWORK["architecture"], config)
    sizes = found.sizes["n_genes"], found.sizes["n_classes"]
    if name == "calibration":
        return calibration_shapes(network, found.values["params"], *sizes)
    return shapes_of(network, *sizes, n_layers)
