"""Models in HDF5: written whole or not at all, read by a reader that trusts nothing in the file.

The layout is `ginseng-model` 1: attributes that are fixed-length text or numbers, `genes` and `label_keys` as
fixed-length UTF-8, `label_values`, `params/<layer>/<name>` as contiguous float32, `history/<name>` as float64, and
`sha256` over all of it. The reader knows from the attributes which datasets there have to be, of which shape, and
opens those by name; it never walks the file. Files without `format` are of ginseng 0.2.
"""

from __future__ import annotations

import hashlib
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from ginseng import __version__, _keys
from ginseng._checks import MAX_NAME, check_unique_names
from ginseng._core import registry
from ginseng._core.architecture import Architecture
from ginseng._files import kind_of_path, replacing
from ginseng._hdf5 import written

from .state import GinsengClassifierState, check_parts, parsed, shapes_of

if TYPE_CHECKING:
    from anndata import AnnData

FORMAT = "ginseng-model"
FORMAT_VERSION = "1.1"
MAX_BYTES = 4 * 2**30
MAX_GENES, MAX_CLASSES, MAX_EPOCHS = 1_000_000, 100_000, 1_000_000
#: Bytes of the names of genes and classes together, and of all columns of the history.
MAX_NAME_BYTES, MAX_HISTORY_BYTES = 8 * 2**20, 16 * 2**20
#: Members of a group.
MAX_MEMBERS = 256
#: Bytes of `info`, and those of one attribute, beyond which it is a dataset (format 1.1; 1.0 has no such files).
MAX_INFO, MAX_ATTRIBUTE = 4 * 2**20, 60_000

_TEXT = ("architecture", "config", "library_size", "info")
_NUMBERS = ("normalize", "training", "target_sum")
_MEMBERS = {"genes", "label_keys", "label_values", "params", "history", "info"}
#: What a file of 0.2 has: members, and attributes besides `target_sum`.
_FIRST = {"genes", "label_keys", "label_values", "params"}
_FIRST_NUMBERS = ("n_genes", "n_classes", "hidden_dim", "dropout_rate", "normalize", "training")
_DEFLATE, _SHUFFLE, _FLETCHER32 = 1, 2, 3
#: Bytes that a packed byte may stand for, and bytes of a file that may be beyond that: names of one length pack well.
_RATIO, _BEYOND = 64, 4 * 2**20
#: Chunks that a small dataset may have; the size of those of a large one.
_CHUNKS, _CHUNK_BYTES = 1024, 4096
#: Types that are looked at: to translate others for NumPy takes time that the file sets.
_PLAIN = {h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.STRING}
#: What an error is called that a file can cause in h5py, NumPy or here.
_ERRORS = (OSError, KeyError, TypeError, ValueError, RuntimeError, OverflowError, RecursionError, zlib.error)


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
    path = target_of(path)
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
    if (kind := kind_of_path(path)) != "a file":
        msg = f"{path} is {kind}, not a {what} file."
        if kind == "a folder" and (names := _models_in(path)):
            msg += f" There are: {names}."
        raise ModelFileError(msg)
    try:
        with h5py.File(path, "r") as file:
            return read(Reader(file, max_bytes))
    except ModelFileError as error:
        msg = f"{path}: {error}"
        raise ModelFileError(msg) from error.__cause__
    except _ERRORS as error:
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
    path = Path(path).expanduser()
    if not path.exists():
        others = _models_in(path.parent) if path.parent.is_dir() else ""
        msg = f"There is no model at {path}. " + (f"Models there: {others}." if others else "")
        raise FileNotFoundError(msg)
    return read_members(path, "model", _read, max_bytes)


def _models_in(folder: Path) -> str:
    return ", ".join(sorted(p.name for p in folder.glob("*.h5"))[:10])


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
    except _ERRORS:
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
        self.beyond = 0  # bytes that packed data stand for, more than is usual
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
            or attribute.dtype.itemsize > 2**16
        ):
            msg = f"attribute {name!r} is {attribute.dtype}{attribute.shape}, not a fixed-length text"
            raise ModelFileError(msg)
        return bytes(self.file.attrs[name]).decode("utf-8")

    def _attribute(self, name: str) -> h5py.h5a.AttrID:
        if name not in self.file.attrs:
            msg = f"attribute {name!r} is missing"
            raise ModelFileError(msg)
        attribute = self.file.attrs.get_id(name)
        kind = attribute.get_type()
        is_bool = isinstance(kind, h5py.h5t.TypeEnumID) and kind.get_nmembers() == 2
        if kind.get_class() not in _PLAIN and not is_bool:
            msg = f"attribute {name!r} is neither a number nor text"
            raise ModelFileError(msg)
        return attribute

    def members(self, group: str = "") -> list[str]:
        """Return the names in a group, or in the file itself."""
        found = self._hard(group, h5py.Group) if group else self.file
        if len(found) > MAX_MEMBERS:
            msg = f"{group or 'the file'!r} has {len(found):,} members, and may have {MAX_MEMBERS}"
            raise ModelFileError(msg)
        return list(found)

    def has(self, name: str) -> bool:
        """Whether there is such a group."""
        try:
            self._hard(name, h5py.Group)
        except ModelFileError:
            return False
        return True

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape that a dataset declares."""
        return self._hard(name, h5py.Dataset).shape

    def array(
        self, name: str, shape: tuple[int | None, ...], kinds: str, most: int, most_bytes: int = sys.maxsize
    ) -> np.ndarray:
        """Return a dataset of this shape (None: up to `most`), kind of numbers or bytes, and size in memory."""
        data = self._hard(name, h5py.Dataset)
        if data.id.get_type().get_class() not in _PLAIN:
            msg = f"{name!r} has values that are neither numbers nor text"
            raise ModelFileError(msg)
        if data.external is not None or data.is_virtual:
            msg = f"{name!r} keeps its values in another file"
            raise ModelFileError(msg)
        if data.dtype.kind not in kinds or data.dtype.itemsize > (4 * MAX_NAME if data.dtype.kind == "S" else 8):
            msg = f"{name!r} has values of type {data.dtype}"
            raise ModelFileError(msg)
        if len(data.shape) != len(shape) or any(
            found != expected for found, expected in zip(data.shape, shape, strict=True) if expected is not None
        ):
            msg = f"{name!r} has shape {data.shape}, where {shape} is expected"
            raise ModelFileError(msg)
        if max(data.shape, default=0) > most:
            msg = f"{name!r} has {max(data.shape):,} values, and may have {most:,}"
            raise ModelFileError(msg)
        size = int(np.prod(data.shape, dtype=object)) * data.dtype.itemsize
        plan = data.id.get_create_plist()
        filters = [plan.get_filter(i)[0] for i in range(plan.get_nfilters())]
        if set(filters) - {_DEFLATE, _SHUFFLE, _FLETCHER32} or filters.count(_DEFLATE) > 1:
            msg = f"{name!r} is stored through unknown filters {filters}"
            raise ModelFileError(msg)
        if size > most_bytes:
            msg = f"{name!r} takes {size:,} bytes, and may take {max(most_bytes, 0):,}"
            raise ModelFileError(msg)
        chunk_bytes = 0 if data.chunks is None else self._chunk_bytes(data, size)
        if chunk_bytes is None:  # before they are walked
            msg = f"{name!r} has chunks of shape {data.chunks}, too many or too large for {size:,} bytes"
            raise ModelFileError(msg)
        stored = data.id.get_storage_size()
        self.beyond += max(0, size - _RATIO * stored)
        # what is not packed is as large as it says
        if (size > stored and not filters) or (size and not stored) or self.beyond > _BEYOND:
            msg = f"{name!r} declares {size:,} bytes and stores {stored:,}"
            raise ModelFileError(msg)
        self.left -= size * (5 if data.dtype.kind == "S" else 1)  # in Python a character of text takes four
        if self.left < 0:
            msg = f"{name!r} is too large; `max_bytes=` sets the limit"
            raise ModelFileError(msg)
        if chunk_bytes and self._unfolds(data, filters, chunk_bytes):
            msg = f"{name!r} has chunks that are not of the size that it declares"
            raise ModelFileError(msg)
        return data[()]

    @staticmethod
    def _chunk_bytes(data: h5py.Dataset, size: int) -> int | None:
        """Return the bytes of a chunk, or None if they are too many, or there are too many chunks."""
        declared = int(np.prod(data.chunks, dtype=object)) * data.dtype.itemsize
        n = int(np.prod([-(-n // m) for n, m in zip(data.shape, data.chunks, strict=True)], dtype=object))
        if declared > max(size, 2**20) or n > max(_CHUNKS, size // _CHUNK_BYTES):
            return None
        return declared if n * declared <= 4 * size + 2**22 else None  # those at the edges are as large as the others

    @staticmethod
    def _unfolds(data: h5py.Dataset, filters: list[int], declared: int) -> bool:
        """Whether a chunk takes more memory than it should: HDF5 unpacks all that is stored, whatever is declared."""
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
    }
    reader.verify(attributes, datasets)


def _read_names(reader: Reader) -> dict[str, np.ndarray]:
    """Return names as the bytes that are stored, and the integers of the classes."""
    genes = reader.array("genes", (None,), "S", MAX_GENES, MAX_NAME_BYTES)
    labels = reader.array("label_keys", (None,), "S", MAX_CLASSES, MAX_NAME_BYTES - genes.nbytes)
    values = reader.array("label_values", (len(labels),), "iu", MAX_CLASSES)
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
