"""Models in HDF5: written whole or not at all, read by a reader that trusts nothing in the file.

The layout is `ginseng-model` 1: attributes that are fixed-length text or numbers, `genes` and `label_keys` as fixed-
length UTF-8, `label_values`, `params/<layer>/<name>` as contiguous float32, `history/<name>` as float64, from 1.2 on
`reference/<name>` as float32, and `sha256` over all of it. The reader knows from the attributes which datasets there
have to be, of which shape, and opens those by name; it never walks the file. Files without `format` are of ginseng 0.2.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from ginseng import __version__, _keys
from ginseng._core import registry
from ginseng._core.architecture import Architecture
from ginseng._disk.atomic import kind_of_path, replacing
from ginseng._disk.strict_hdf5 import (
    ERRORS,
    MAX_ATTRIBUTE,
    ModelFileError,
    Reader,
    models_in,
    read_members,
    write_members,
)
from ginseng._errors import check_unique_names
from ginseng.model.state import GinsengClassifierState, check_parts, parsed, reference_shapes, shapes_of

if TYPE_CHECKING:
    from anndata import AnnData

FORMAT = "ginseng-model"
FORMAT_VERSION = "1.2"
MAX_BYTES = 4 * 2**30
MAX_GENES, MAX_CLASSES, MAX_EPOCHS = 1_000_000, 100_000, 1_000_000
#: Bytes of the names of genes and classes together, and of all columns of the history.
MAX_NAME_BYTES, MAX_HISTORY_BYTES = 8 * 2**20, 16 * 2**20
#: Bytes of `info`.
MAX_INFO = 4 * 2**20

_TEXT = ("architecture", "config", "library_size", "info")
_NUMBERS = ("normalize", "training", "target_sum")
_MEMBERS = {"genes", "label_keys", "label_values", "params", "history", "reference", "info"}
#: What a file of 0.2 has: members, and attributes besides `target_sum`.
_FIRST = {"genes", "label_keys", "label_values", "params"}
_FIRST_NUMBERS = ("n_genes", "n_classes", "hidden_dim", "dropout_rate", "normalize", "training")


def save_model(state: GinsengClassifierState | AnnData, path: str | Path) -> None:
    """Save a trained model to a file.

    The file is written beside its target and renamed, so that an earlier model at `path` stays until the new one is
    whole.

    Parameters
    ----------
    state
        A trained state, or an AnnData that :func:`ginseng.tl.train` trained a model on.
    path
        The file; `.h5` is added if it does not end so.

    Raises
    ------
    ValueError
        If the state could not be loaded again: weights that are not finite or have other shapes than the architecture
        says, names that are not unique.
    FileExistsError
        If something is at `path` that is no model of ginseng.
    OSError
        If another process writes to `path`, or the disk has no room.
    """
    values = model_of(state).to_dict()
    path = target_of(path)
    long = len(values["info"].encode()) > MAX_ATTRIBUTE
    attributes: dict[str, Any] = {
        "format": FORMAT,
        # no later one than it takes, so that earlier versions read what they can
        "format_version": FORMAT_VERSION if "reference" in values else "1.1" if long else "1.0",
        "written_by": f"ginseng {__version__}",
        **{name: values[name] for name in (*_TEXT, *_NUMBERS)},
    }
    datasets = {
        "genes": _to_bytes(values["genes"]),
        "label_keys": _to_bytes(values["label_keys"]),
        "label_values": np.asarray(values["label_values"], "<i8"),
        **{name: np.asarray(a, "<f4") for name, a in _leaves(values["params"], "params")},
        **{name: np.asarray(a, "<f8") for name, a in _leaves(values["history"], "history")},
        **{name: np.asarray(a, "<f4") for name, a in _leaves(values.get("reference", {}), "reference")},
    }
    with replacing(path, size=sum(array.nbytes for array in datasets.values())) as partial:
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
        if kind != "a file" or (path.stat().st_size and not is_model_file(path)):
            kind = "not a model" if kind == "a file" else f"{kind}, not a model"
            msg = f"{path} exists and is {kind}, so it is not replaced. Choose another path or move it away."
            raise FileExistsError(msg)
    return path


def load_model(path: str | Path, *, max_bytes: int = MAX_BYTES) -> GinsengClassifierState:
    """Load a model that :func:`save_model` wrote, or one of ginseng 0.2.

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
    path = Path(path).expanduser()
    if not path.exists():
        others = models_in(path.parent) if path.parent.is_dir() else ""
        msg = f"There is no model at {path}. " + (f"Models there: {others}." if others else "")
        raise FileNotFoundError(msg)
    return read_members(path, "model", _read, max_bytes)


def is_model_file(path: str | Path) -> bool:
    """Whether a file says that it is a model of ginseng, or has all that one of 0.2 has, and nothing else."""
    path = Path(path).expanduser()
    if not path.is_file():  # to open a pipe would wait for ever
        return False
    try:
        with h5py.File(path, "r") as file:
            reader = Reader(file, MAX_BYTES)
            if "format" in file.attrs:
                return reader.text("format") == FORMAT
            if set(reader.members()) != _FIRST:
                return False
            numbers = {name: reader.number(name) for name in _FIRST_NUMBERS}
            layers = registry.shapes(registry.get("instance"), 1, 1)
            found = {name: sorted(reader.members(f"params/{name}")) for name in reader.members("params")}
            return found == {name: sorted(layers[name]) for name in layers} and all(
                reader.shape(name) == (numbers[n],)
                for name, n in (("genes", "n_genes"), ("label_keys", "n_classes"), ("label_values", "n_classes"))
            )
    except ERRORS:
        return False


def model_of(model: GinsengClassifierState | AnnData) -> GinsengClassifierState:
    """Return a trained state, also from the `uns` of the AnnData it was trained on, once it has been looked at.

    Raises
    ------
    ValueError
        If there is none, or it is of no use, as :meth:`GinsengClassifierState.check` says.
    """
    if isinstance(model, GinsengClassifierState):
        model.check()
        return model
    if not hasattr(model, "uns"):
        msg = f"A model is a state, or an AnnData with one in `uns['{_keys.DEFAULT}']`, not {type(model).__name__}."
        raise TypeError(msg)
    holders = [k for k, v in model.uns.items() if isinstance(v, Mapping) and isinstance(v.get("model"), Mapping)]
    if not holders:
        msg = "The AnnData holds no model. Run `gs.tl.train(adata, label_key)` first."
        raise ValueError(msg)
    if len(holders) > 1 and _keys.DEFAULT not in holders:
        msg = f"The AnnData holds several models, in `uns` {holders}: rename one to {_keys.DEFAULT!r}."
        raise ValueError(msg)
    key = _keys.DEFAULT if _keys.DEFAULT in holders else holders[0]
    try:
        return GinsengClassifierState.from_dict(model.uns[key]["model"])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        msg = f"The model in `adata.uns[{key!r}]['model']` cannot be used: {reason}. Train it again, or load its file."
        raise ValueError(msg) from error


def _to_bytes(names: np.ndarray) -> np.ndarray:
    encoded = np.char.encode(np.asarray(names, str), "utf-8")
    return encoded if encoded.dtype.itemsize else encoded.astype("S1")


def _leaves(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name in sorted(tree):
        value, path = tree[name], f"{prefix}/{name}"
        yield from _leaves(value, path) if isinstance(value, Mapping) else [(path, value)]


def _read(reader: Reader) -> GinsengClassifierState:
    if "format" not in reader.file.attrs:
        return _read_first(reader)
    if (found := reader.text("format")) != FORMAT:
        msg = f"its format is {found!r}, not {FORMAT!r}"
        raise ModelFileError(msg)
    written = reader.text("format_version")
    if written.split(".")[0] != FORMAT_VERSION.split(".")[0]:
        msg = (
            f"it was written by {reader.text('written_by')} in format {written}, and this is ginseng "
            f"{__version__}, which reads {FORMAT_VERSION}. Run `pip install -U ginseng`."
        )
        raise ModelFileError(msg)
    members = _members(reader, _MEMBERS)
    columns = reader.members("history") if "history" in members else []
    values: dict[str, Any] = {name: _text(reader, name, members) for name in _TEXT}
    for name in ("config", "info"):
        check_parts(values[name], name)
    values |= {name: reader.number(name) for name in _NUMBERS}
    values |= _read_names(reader)
    network = registry.get(values["architecture"], parsed(values["config"], "config"))
    values["params"] = _read_params(reader, network, len(values["genes"]), len(values["label_keys"]))
    values["history"], left = {}, MAX_HISTORY_BYTES
    for name in columns:
        column = reader.array(f"history/{name}", (None,), "f", MAX_EPOCHS, left)
        values["history"][name], left = column, left - column.nbytes
    if "reference" in members:
        shapes = reference_shapes(len(values["genes"]), len(values["label_keys"]))
        values["reference"] = _read_layers(reader, shapes, "reference")
    _verify(reader, values)  # before what takes more than to read it
    return GinsengClassifierState.from_dict(values | _decoded(values))


def _members(reader: Reader, known: set[str]) -> list[str]:
    members = reader.members()
    if unknown := set(members) - known:
        msg = f"it has unknown members: {', '.join(map(repr, sorted(unknown)[:10]))}"
        raise ModelFileError(msg)
    return members


def _text(reader: Reader, name: str, members: list[str]) -> str:
    if name == "info" and name in members:
        return reader.array(name, (None,), "u", MAX_INFO).tobytes().decode("utf-8")
    return reader.text(name)


def _verify(reader: Reader, values: dict[str, Any]) -> None:
    names = ("format", "format_version", "written_by")
    attributes = {name: reader.text(name) for name in names} | {name: values[name] for name in (*_TEXT, *_NUMBERS)}
    datasets = {
        "genes": values["genes"],
        "label_keys": values["label_keys"],
        "label_values": values["label_values"],
        **dict(_leaves(values["params"], "params")),
        **dict(_leaves(values["history"], "history")),
        **dict(_leaves(values.get("reference", {}), "reference")),
    }
    reader.verify(attributes, datasets)


def _read_names(reader: Reader) -> dict[str, np.ndarray]:
    """Return names as the bytes that are stored, and the integers of the classes."""
    genes = reader.array("genes", (None,), "S", MAX_GENES, MAX_NAME_BYTES)
    labels = reader.array("label_keys", (None,), "S", MAX_CLASSES, MAX_NAME_BYTES - genes.nbytes)
    values = reader.array("label_values", (len(labels),), "iu", MAX_CLASSES)
    for name, found in {"genes": genes, "label_keys": labels}.items():
        if not len(found):
            msg = f"{name!r} are empty or not unique"
            raise ModelFileError(msg)
    return {"genes": _shortest(genes), "label_keys": _shortest(labels), "label_values": values}


def _shortest(names: np.ndarray) -> np.ndarray:
    """Return names as bytes of the length of the longest one, as they are written."""
    return names.astype(f"S{max(1, int(np.strings.str_len(names).max(initial=0)))}", copy=False)


def _decoded(values: Mapping[str, np.ndarray]) -> dict[str, list[str]]:
    """Return names as text, a list until they are known to be short."""
    names = {what: [name.decode("utf-8") for name in values[what].tolist()] for what in ("genes", "label_keys")}
    for what, found in names.items():
        check_unique_names(found, what)
    return names


def _read_params(reader: Reader, network: Architecture, n_genes: int, n_classes: int) -> dict[str, Any]:
    return _read_layers(reader, shapes_of(network, n_genes, n_classes, len(reader.members("params"))), "params")


def _read_layers(reader: Reader, shapes: Mapping[str, Any], path: str) -> dict[str, Any]:
    if (found := sorted(reader.members(path))) != sorted(shapes):
        msg = f"{path!r} has {', '.join(found[:10])}, where {', '.join(sorted(shapes))} are expected"
        raise ModelFileError(msg)
    out: dict[str, Any] = {}
    for name, shape in shapes.items():
        if isinstance(shape, Mapping):
            out[name] = _read_layers(reader, shape, f"{path}/{name}")
        else:
            array = reader.array(f"{path}/{name}", shape.shape, "f", MAX_GENES)
            out[name] = array.astype(np.float32, copy=False)
    return out


def _read_first(reader: Reader) -> GinsengClassifierState:
    """Read a file of ginseng 0.2: the `instance` network, scaled by the counts of the model's own genes."""
    _refuse_data(reader)
    _members(reader, _FIRST)
    numbers = {name: reader.number(name) for name in _FIRST_NUMBERS}
    names: dict[str, Any] = _read_names(reader)
    for name, expected in {"n_genes": len(names["genes"]), "n_classes": len(names["label_keys"])}.items():
        if numbers[name] != expected:
            msg = f"{name!r} is {numbers[name]}, and there are {expected}"
            raise ModelFileError(msg)
    config: dict[str, Any] = {
        "hidden_dim": int(numbers["hidden_dim"]),
        "dropout_rate": float(numbers["dropout_rate"]),
    }
    network = registry.get("instance", config)
    state = GinsengClassifierState(
        params=_read_params(reader, network, len(names["genes"]), len(names["label_keys"])),
        n_genes=len(names["genes"]),
        n_classes=len(names["label_keys"]),
        normalize=bool(numbers["normalize"]),
        target_sum=float(reader.number("target_sum")) if "target_sum" in reader.file.attrs else None,
        training=bool(numbers["training"]),
        architecture="instance",
        library_size="model_genes",
        **names | _decoded(names),
        **config,
    )
    state.check()
    return state


def _refuse_data(reader: Reader) -> None:
    """Say so where cells were given for a model; they may have one in `uns`."""
    members, path = reader.members(), reader.file.filename
    if {"obs", "var"} <= set(members):
        msg = f"it holds cells (AnnData), and is no model file. To label them: `gs.tl.classify({path!r}, model)`. "
        if reader.has(f"uns/{_keys.DEFAULT}/model"):
            msg += f"The model that was trained on them: `gs.tl.classify(adata, gs.read_adata({path!r}))`."
        raise ModelFileError(msg)
    if "matrix" in members:
        msg = f"it holds counts, and is no model file. To label the cells: `gs.tl.classify({path!r}, model)`."
        raise ModelFileError(msg)
