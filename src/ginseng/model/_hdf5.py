"""Models in HDF5: written whole or not at all, read by a reader that trusts nothing in the file.

The layout is `ginseng-model` 1: attributes that are fixed-length text or numbers, `genes` and `label_keys` as
fixed-length UTF-8, `label_values`, `params/<layer>/<name>` as contiguous float32, `history/<name>` as float64, and
`sha256` over all of it. The reader knows from the attributes which datasets there have to be, of which shape, and
opens those by name; it never walks the file. Files without `format` are of ginseng 0.2.
"""

from __future__ import annotations

import hashlib
import json
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from ginseng import __version__, _keys
from ginseng._checks import MAX_NAME, check_names
from ginseng._core import registry
from ginseng._files import replacing
from ginseng._hdf5 import written

from .state import GinsengClassifierState

if TYPE_CHECKING:
    from anndata import AnnData

FORMAT = "ginseng-model"
FORMAT_VERSION = "1.1"
MAX_BYTES = 4 * 2**30
MAX_GENES, MAX_CLASSES, MAX_EPOCHS = 1_000_000, 100_000, 1_000_000
#: Bytes of `info`, and those of one attribute, beyond which it is a dataset (format 1.1; 1.0 has no such files).
MAX_INFO, MAX_ATTRIBUTE = 16 * 2**20, 60_000

_TEXT = ("architecture", "config", "library_size", "info")
_NUMBERS = ("normalize", "training", "target_sum")
_MEMBERS = {"genes", "label_keys", "label_values", "params", "history", "info"}
_DEFLATE, _SHUFFLE, _FLETCHER32 = 1, 2, 3
#: Deflate packs at most so much into a byte.
_DEFLATE_RATIO = 1032


class ModelFileError(ValueError):
    """A model file that is damaged, foreign, or of a later version."""


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
    path = Path(path)
    if path.suffix not in (".h5", ".hdf5"):
        path = path.with_name(f"{path.name}.h5")
    if path.exists() and path.stat().st_size and not is_model_file(path):
        msg = f"{path} exists and is not a model, so it is not replaced. Choose another path or move it away."
        raise FileExistsError(msg)
    long = len(values["info"].encode()) > MAX_ATTRIBUTE
    attributes: dict[str, Any] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION if long else "1.0",  # which earlier versions read without a word
        "written_by": f"ginseng {__version__}",
        **{name: values[name] for name in (*_TEXT, *_NUMBERS)},
    }
    datasets = {
        "genes": _to_bytes(values["genes"]),
        "label_keys": _to_bytes(values["label_keys"]),
        "label_values": np.asarray(values["label_values"], "<i8"),
        **{name: np.asarray(a, "<f4") for name, a in _leaves(values["params"], "params")},
        **{name: np.asarray(a, "<f8") for name, a in _leaves(values["history"], "history")},
    }
    with replacing(path, size=sum(array.nbytes for array in datasets.values())) as partial:
        write_members(partial, attributes, datasets)
        with h5py.File(partial, "r") as file:  # what could not be loaded must not take the place of what can
            _read(Reader(file, sys.maxsize))


def write_members(path: Path, attributes: Mapping[str, Any], datasets: Mapping[str, np.ndarray]) -> None:
    """Write an HDF5 file of these attributes and datasets, with a `sha256` over all of them."""
    with written(path) as file:
        for name, value in {**attributes, "sha256": _digest(attributes, datasets)}.items():
            if isinstance(value, str) and len(value.encode()) > MAX_ATTRIBUTE:  # it holds 64 kB
                file.create_dataset(name, data=np.frombuffer(value.encode(), np.uint8))
            else:
                file.attrs[name] = np.bytes_(value.encode()) if isinstance(value, str) else value
        for name, array in datasets.items():
            file.create_dataset(name, data=array)


def read_members[T](path: Path, what: str, read: Callable[[Reader], T], max_bytes: int = sys.maxsize) -> T:
    """Return what `read` finds in an HDF5 file; whatever else it meets there is a `ModelFileError`."""
    try:
        with h5py.File(path, "r") as file:
            return read(Reader(file, max_bytes))
    except ModelFileError as error:
        msg = f"{path}: {error}"
        raise ModelFileError(msg) from error.__cause__
    except (
        OSError, KeyError, TypeError, ValueError, RuntimeError, OverflowError, RecursionError, zlib.error
    ) as error:  # fmt: skip
        msg = f"{path} is not a readable {what}: {error}"
        raise ModelFileError(msg) from error


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
    path = Path(path)
    if not path.exists():
        others = sorted(p.name for p in path.parent.glob("*.h5")) if path.parent.is_dir() else []
        msg = f"There is no model at {path}. " + (f"Models there: {', '.join(others[:10])}." if others else "")
        raise FileNotFoundError(msg)
    return read_members(path, "model", _read, max_bytes)


def is_model_file(path: str | Path) -> bool:
    """Whether a file is a model of ginseng, of this format or of 0.2."""
    try:
        with h5py.File(path, "r") as file:
            return "params" in file and "label_keys" in file
    except OSError:
        return False


def model_of(model: GinsengClassifierState | AnnData) -> GinsengClassifierState:
    """Return a trained state, also from the `uns` of the AnnData it was trained on."""
    if isinstance(model, GinsengClassifierState):
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
    return GinsengClassifierState.from_dict(model.uns[key]["model"])


def _to_bytes(names: np.ndarray) -> np.ndarray:
    encoded = np.char.encode(np.asarray(names, str), "utf-8")
    return encoded if encoded.dtype.itemsize else encoded.astype("S1")


def _leaves(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name in sorted(tree):
        value, path = tree[name], f"{prefix}/{name}"
        yield from _leaves(value, path) if isinstance(value, Mapping) else [(path, value)]


def _digest(attributes: Mapping[str, Any], datasets: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(attributes):
        digest.update(f"{name}={attributes[name]!s}\n".encode())
    for name in sorted(datasets):
        array = np.ascontiguousarray(datasets[name])
        digest.update(f"{name}:{array.dtype.str}{array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


class Reader:
    """Members of an HDF5 file by name, each checked before a byte of it is read."""

    def __init__(self, file: h5py.File, max_bytes: int) -> None:
        self.file = file
        self.left = max_bytes
        self.groups: dict[str, h5py.Group] = {}  # which have been checked

    def number(self, name: str) -> Any:
        """Return an attribute that is one number."""
        attribute = self._attribute(name)
        if attribute.shape != () or attribute.dtype.kind not in "biuf" or attribute.dtype.itemsize > 8:
            msg = f"attribute {name!r} is {attribute.dtype}{attribute.shape}, not a number"
            raise ModelFileError(msg)
        return self.file.attrs[name].item()

    def text(self, name: str, default: str | None = None) -> str:
        """Return an attribute that is a fixed-length UTF-8 text."""
        if default is not None and name not in self.file.attrs:
            return default
        attribute = self._attribute(name)
        if (
            attribute.shape != ()
            or attribute.dtype.kind != "S"
            or h5py.check_string_dtype(attribute.dtype).length is None
        ):
            msg = f"attribute {name!r} is {attribute.dtype}{attribute.shape}, not a fixed-length text"
            raise ModelFileError(msg)
        return bytes(self.file.attrs[name]).decode("utf-8")

    def _attribute(self, name: str) -> h5py.h5a.AttrID:
        if name not in self.file.attrs:
            msg = f"attribute {name!r} is missing"
            raise ModelFileError(msg)
        return self.file.attrs.get_id(name)

    def members(self, group: str) -> list[str]:
        """Return the names in a group."""
        return list(self._hard(group, h5py.Group))

    def array(self, name: str, shape: tuple[int | None, ...], kinds: str, most: int) -> np.ndarray:
        """Return a dataset of this shape (None: up to `most`) and kind of numbers or bytes."""
        data = self._hard(name, h5py.Dataset)
        if data.external is not None or data.is_virtual:
            msg = f"{name!r} keeps its values in another file"
            raise ModelFileError(msg)
        if data.dtype.kind not in kinds or data.dtype.itemsize > (4 * MAX_NAME if data.dtype.kind == "S" else 8):
            msg = f"{name!r} has values of type {data.dtype}"
            raise ModelFileError(msg)
        if len(data.shape) != len(shape) or any(
            found > most if expected is None else found != expected
            for found, expected in zip(data.shape, shape, strict=True)
        ):
            msg = f"{name!r} has shape {data.shape}, where {shape} is expected"
            raise ModelFileError(msg)
        size = int(np.prod(data.shape, dtype=object)) * data.dtype.itemsize
        plan = data.id.get_create_plist()
        filters = [plan.get_filter(i)[0] for i in range(plan.get_nfilters())]
        if set(filters) - {_DEFLATE, _SHUFFLE, _FLETCHER32} or filters.count(_DEFLATE) > 1:
            msg = f"{name!r} is stored through unknown filters {filters}"
            raise ModelFileError(msg)
        # what is not packed is as large as it says
        if size > data.id.get_storage_size() * (_DEFLATE_RATIO if filters else 1):
            msg = f"{name!r} declares {size:,} bytes and stores {data.id.get_storage_size():,}"
            raise ModelFileError(msg)
        self.left -= size
        if self.left < 0:
            msg = f"{name!r} is too large; `max_bytes=` sets the limit"
            raise ModelFileError(msg)
        if data.chunks is not None and self._unfolds(data, filters, size):
            msg = f"{name!r} has chunks that are not of the size that it declares"
            raise ModelFileError(msg)
        return data[()]

    @staticmethod
    def _unfolds(data: h5py.Dataset, filters: list[int], size: int) -> bool:
        """Whether a chunk takes more memory than it should: HDF5 unpacks all that is stored, whatever is declared."""
        declared = int(np.prod(data.chunks, dtype=object)) * data.dtype.itemsize
        if declared > max(size, 2**20):
            return True
        stored: list[Any] = []
        data.id.chunk_iter(stored.append)
        for chunk in stored:
            if chunk.size > declared + declared // 100 + 100:  # what cannot be packed grows by that at the most
                return True
            if _DEFLATE not in filters:
                continue
            skipped, packed = data.id.read_direct_chunk(chunk.chunk_offset)
            if skipped >> filters.index(_DEFLATE) & 1:
                continue
            limit = declared + 4  # with a checksum
            if len(zlib.decompressobj().decompress(packed, limit + 1)) > limit:
                return True
        return False

    def verify(self, attributes: Mapping[str, Any], datasets: Mapping[str, np.ndarray]) -> None:
        """Compare what has been read with the SHA-256 of what was saved."""
        if _digest(attributes, datasets) != self.text("sha256"):
            msg = "its contents are not those that were saved (SHA-256 differs): the file is damaged or was changed"
            raise ModelFileError(msg)

    def _hard(self, name: str, kind: type) -> Any:
        parent, _, last = name.rpartition("/")
        found: Any = self.groups.get(parent, self.file)
        for part in [last] if parent in self.groups else name.split("/"):
            if not isinstance(found, h5py.Group) or part not in found:
                msg = f"{name!r} is missing"
                raise ModelFileError(msg)
            if found.get(part, getclass=True, getlink=True) is not h5py.HardLink:
                msg = f"{name!r} is a link to elsewhere"
                raise ModelFileError(msg)
            found = found[part]
        if not isinstance(found, kind):
            msg = f"{name!r} is not a {kind.__name__.lower()}"
            raise ModelFileError(msg)
        if kind is h5py.Group:
            self.groups[name] = found
        return found


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
    if unknown := set(reader.file) - _MEMBERS:
        msg = f"it has unknown members: {', '.join(map(repr, sorted(unknown)[:10]))}"
        raise ModelFileError(msg)
    values: dict[str, Any] = {name: _text(reader, name) for name in _TEXT}
    values |= {name: reader.number(name) for name in _NUMBERS}
    values |= _read_names(reader)
    config, info = json.loads(values["config"]), json.loads(values["info"])
    if not (isinstance(config, dict) and isinstance(info, dict)):
        msg = "attributes 'config' and 'info' must be JSON objects"
        raise ModelFileError(msg)
    network = registry.get(values["architecture"], config)
    shapes = registry.shapes(network, len(values["genes"]), len(values["label_keys"]))
    values["params"] = _read_params(reader, shapes)
    values["history"] = {
        name: reader.array(f"history/{name}", (None,), "f", MAX_EPOCHS)
        for name in (reader.members("history") if "history" in reader.file else ())
    }
    state = GinsengClassifierState.from_dict(values)
    _verify(reader, values)
    return state


def _text(reader: Reader, name: str) -> str:
    if name == "info" and name in reader.file:
        return reader.array(name, (None,), "u", MAX_INFO).tobytes().decode("utf-8")
    return reader.text(name)


def _verify(reader: Reader, values: dict[str, Any]) -> None:
    names = ("format", "format_version", "written_by")
    attributes = {name: reader.text(name) for name in names} | {name: values[name] for name in (*_TEXT, *_NUMBERS)}
    datasets = {
        "genes": _to_bytes(values["genes"]),
        "label_keys": _to_bytes(values["label_keys"]),
        "label_values": values["label_values"],
        **dict(_leaves(values["params"], "params")),
        **dict(_leaves(values["history"], "history")),
    }
    reader.verify(attributes, datasets)


def _read_names(reader: Reader) -> dict[str, np.ndarray]:
    genes = _unique_names(reader.array("genes", (None,), "S", MAX_GENES), "genes")
    labels = _unique_names(reader.array("label_keys", (None,), "S", MAX_CLASSES), "label_keys")
    return {
        "genes": genes,
        "label_keys": labels,
        "label_values": reader.array("label_values", (len(labels),), "iu", MAX_CLASSES),
    }


def _unique_names(encoded: np.ndarray, what: str) -> np.ndarray:
    names = np.char.decode(encoded, "utf-8")
    if len(names) == 0 or len(np.unique(names)) < len(names):
        msg = f"{what!r} are empty or not unique"
        raise ModelFileError(msg)
    check_names(names, what)
    return names


def _read_params(reader: Reader, shapes: Mapping[str, Any], path: str = "params") -> dict[str, Any]:
    if (found := sorted(reader.members(path))) != sorted(shapes):
        msg = f"{path!r} has {', '.join(found[:10])}, where {', '.join(sorted(shapes))} are expected"
        raise ModelFileError(msg)
    out: dict[str, Any] = {}
    for name, shape in shapes.items():
        if isinstance(shape, Mapping):
            out[name] = _read_params(reader, shape, f"{path}/{name}")
            continue
        out[name] = reader.array(f"{path}/{name}", shape.shape, "f", MAX_GENES).astype(np.float32, copy=False)
        if not np.isfinite(out[name]).all():
            msg = f"'{path}/{name}' has values that are NaN or infinite"
            raise ModelFileError(msg)
    return out


def _read_first(reader: Reader) -> GinsengClassifierState:
    """Read a file of ginseng 0.2: the `instance` network, scaled by the counts of the model's own genes."""
    names: dict[str, Any] = _read_names(reader)
    for name, expected in {"n_genes": len(names["genes"]), "n_classes": len(names["label_keys"])}.items():
        if reader.number(name) != expected:
            msg = f"{name!r} is {reader.number(name)}, and there are {expected}"
            raise ModelFileError(msg)
    config: dict[str, Any] = {
        "hidden_dim": int(reader.number("hidden_dim")),
        "dropout_rate": float(reader.number("dropout_rate")),
    }
    shapes = registry.shapes(registry.get("instance", config), len(names["genes"]), len(names["label_keys"]))
    return GinsengClassifierState(
        params=_read_params(reader, shapes),
        n_genes=len(names["genes"]),
        n_classes=len(names["label_keys"]),
        normalize=bool(reader.number("normalize")),
        target_sum=float(reader.number("target_sum")) if "target_sum" in reader.file.attrs else None,
        training=bool(reader.number("training")),
        architecture="instance",
        library_size="model_genes",
        **names,
        **config,
    )
