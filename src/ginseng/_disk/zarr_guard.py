"""Check zarr folders from untrusted sources: they must not run code, leave the folder, or exhaust the memory.

All checks use names, sizes, JSON and the first bytes of chunks, before zarr opens the folder. They cover everything
that zarr could be directed to, including arrays that exist only in consolidated metadata.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ginseng._disk.zarr_chunks import COMPRESSORS, NAME, Chunks, DamagedError, Packing

#: Codecs that only convert between bytes and numbers or text; `pickle` and other object codecs run code.
CODECS = {
    "bytes", "endian", "transpose", "sharding_indexed", "crc32c", "crc32", "adler32", "fletcher32", "shuffle", "delta",
    "packbits", "vlen-utf8", "vlen-bytes", *COMPRESSORS,
}  # fmt: skip
_STRINGS = {"vlen-utf8", "vlen-bytes"}
#: Maximum ratio of declared to stored bytes of an array; and the total that may exceed it.
RATIO, ALLOWANCE = 1000, 2**30
#: Maximum number of missing chunks, which zarr visits one by one.
MAX_MISSING = 2**17
#: Maximum bytes of a JSON file.
MAX_JSON = 64 * 2**20
#: Metadata files of groups and arrays.
DESCRIBING = frozenset({"zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata"})


def check_zarr(root: Path, name: str) -> dict[str, int]:
    """Reject a zarr folder that could do harm.

    Parameters
    ----------
    root
        The folder.
    name
        Name of the folder in errors.

    Returns
    -------
    Number of missing chunks per array.

    Raises
    ------
    ValueError
        If it has links or special files, codecs other than `CODECS`, entries outside of the folder, arrays that declare
        far more than they store, chunks that unpack to more than declared, or unreadable metadata.
    """
    arrays: dict[str, list[_Array]] = defaultdict(list)  # by path; conflicting metadata are all kept
    stored: dict[str | None, int] = defaultdict(int)
    text: dict[str, int] = defaultdict(int)  # unpacked bytes of chunks whose array declares no size
    n_chunks: dict[str, int] = defaultdict(int)
    chunks, seen = Chunks(RATIO), set()
    try:
        folders: list[tuple[str, str | None]] = [("", None)]  # path below the root, and the array that contains it
        while folders:
            folder, array = folders.pop()
            seen.add(folder)
            files: dict[str, os.DirEntry[str]] = {}
            below = []
            with os.scandir(root / folder) as scanned:
                entries = list(scanned)
            for entry in entries:
                where = f"{folder}/{entry.name}".lstrip("/")
                if entry.is_symlink():
                    msg = f"{where!r} is a link; copy the store with `cp -rL` if you trust what it leads to"
                    raise _RefusedError(msg)
                if entry.is_dir():
                    below.append(where)
                elif not entry.is_file():
                    msg = f"{where!r} is neither a file nor a folder"
                    raise _RefusedError(msg)
                elif entry.name not in DESCRIBING:
                    files[where] = entry
                elif entry.name != ".zattrs":
                    for node, metadata in _nodes(folder, entry.name, _json(Path(entry.path), where)):
                        if (array_here := _array(node, metadata)) not in arrays[node]:
                            arrays[node].append(array_here)
            if folder in arrays:
                if array is not None:
                    msg = f"{folder!r} is an array inside another"
                    raise _RefusedError(msg)
                array = folder
            for where, entry in files.items():
                size = entry.stat().st_size
                stored[array] += size
                if array is not None and NAME.fullmatch(where[len(array) :].lstrip("/")):
                    found_here = [_check_chunks(chunks, entry, where, each) for each in arrays[array]]
                    n_chunks[array] += min(n for n, _ in found_here)
                    text[array] += max(n for _, n in found_here)
            folders += [(where, array) for where in below]
        if hidden := [node for node in arrays.keys() - seen if (root / node).exists()]:
            msg = f"{hidden[0]!r} names a folder a second time"  # on a case-insensitive disk
            raise _RefusedError(msg)
    except _RefusedError as error:
        msg = f"{name} is not opened: {error}."
        if isinstance(error.__cause__, DamagedError):
            msg += (
                " If it is damaged, copy it again, or create it again with `GinsengDataset.create` if it is a dataset."
            )
        raise ValueError(msg) from error.__cause__
    declared = {node: max(array.size for array in found) + text[node] for node, found in arrays.items()}
    excess = {node: size for node, size in declared.items() if size > RATIO * stored[node]}
    if sum(excess.values()) > ALLOWANCE:
        node = max(excess, key=lambda node: excess[node])
        msg = f"{name} is not opened: {node!r} declares {declared[node]:,} bytes and stores {stored[node]:,}."
        raise ValueError(msg)
    missing = {node: max(array.n_chunks for array in found) - n_chunks[node] for node, found in arrays.items()}
    if sum(n for n in missing.values() if n > 0) > MAX_MISSING:
        node = max(missing, key=lambda node: missing[node])
        msg = f"{name} is not opened: {missing[node]:,} of the chunks that {node!r} declares are not there."
        raise ValueError(msg)
    return missing


@dataclass(frozen=True)
class _Array:
    """Metadata of an array: its bytes, its chunks, and how they are stored."""

    size: int
    n_chunks: int
    packing: Packing


def _check_chunks(chunks: Chunks, file: os.DirEntry[str], where: str, array: _Array) -> tuple[int, int]:
    """Return the number of chunks in a file, and their unpacked bytes if they are text."""
    try:
        sizes = list(chunks.sizes(Path(file.path), file.stat().st_size, array.packing))
    except DamagedError as error:
        msg = f"{where!r} {error}"
        raise _RefusedError(msg) from error
    return len(sizes), sum(sizes) if array.packing.size is None else 0


class _RefusedError(Exception):
    """The reason to reject a folder."""


def _json(path: Path, where: str) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_JSON:
            msg = f"over {MAX_JSON:,} bytes"
            raise ValueError(msg)
        found = json.loads(path.read_bytes())
        if not isinstance(found, dict):
            msg = "not a JSON object"
            raise TypeError(msg)
    except (ValueError, TypeError, RecursionError) as error:
        msg = f"{where!r} cannot be read ({error})"
        raise _RefusedError(msg) from error
    return found


def _nodes(folder: str, file: str, metadata: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield path and metadata of each array in a metadata file."""
    if file == ".zarray":
        yield folder, metadata
    elif file == ".zmetadata":
        for key, value in _members(metadata, "metadata").items():
            node, _, last = _inside(folder, key).rpartition("/")
            if last == ".zarray":
                yield node, value
    elif file == "zarr.json":
        if metadata.get("node_type") == "array":
            yield folder, metadata
        for key, value in _members(metadata.get("consolidated_metadata") or {}, "metadata").items():
            yield from _nodes(_inside(folder, key), "zarr.json", value)


def _members(metadata: Any, name: str) -> dict[str, Any]:
    members = metadata.get(name, {}) if isinstance(metadata, dict) else None
    if not isinstance(members, dict) or not all(isinstance(v, dict) for v in members.values()):
        msg = "its consolidated metadata cannot be read"
        raise _RefusedError(msg)
    return members


def _inside(folder: str, key: str) -> str:
    parts = PurePosixPath(key).parts
    if key.startswith("/") or "\\" in key or ".." in parts:
        msg = f"its metadata refer to {key!r}, outside of the folder"
        raise _RefusedError(msg)
    return "/".join((*filter(None, [folder]), *parts))


def _array(node: str, metadata: dict[str, Any]) -> _Array:
    """Parse the metadata of an array; unknown fields are rejected."""
    try:
        if metadata.get("zarr_format") == 2:
            stages = [*(metadata.get("filters") or []), metadata.get("compressor")]
            codecs: list[Any] = [codec["id"] for codec in stages if codec is not None]
            dtype: Any = metadata["dtype"]
            dtype = np.dtype([tuple(field) for field in dtype] if isinstance(dtype, list) else dtype)
            if dtype.hasobject and (dtype.kind != "O" or not _STRINGS & set(codecs)):
                msg = f"{node!r} holds objects"
                raise _RefusedError(msg)
            size, chunks, separator = dtype.itemsize, metadata["chunks"], metadata.get("dimension_separator", ".")
        else:
            codecs = metadata["codecs"]
            size, grid = _item_size(metadata["data_type"]), metadata["chunk_grid"]
            encoding = metadata.get("chunk_key_encoding", {"name": "default"})
            separator = (encoding.get("configuration") or {}).get("separator", "/")
            if grid["name"] != "regular" or encoding["name"] not in ("default", "v2"):
                msg = f"{node!r} stores its chunks in an unknown way"
                raise _RefusedError(msg)
            if metadata.get("storage_transformers"):
                msg = f"{node!r} has storage transformers"
                raise _RefusedError(msg)
            chunks = grid["configuration"]["chunk_shape"]
        if unknown := sorted(set(_codec_names(codecs)) - CODECS):
            msg = f"{node!r} uses codecs that ginseng does not run: {', '.join(unknown)}"
            raise _RefusedError(msg)
        shape, chunks = [int(n) for n in metadata["shape"]], [max(1, int(n)) for n in chunks]
        packing, inner = _packing(codecs, chunks, size)
        if packing is None or separator not in ("/", "."):
            msg = f"{node!r} stores its chunks in an unknown way"
            raise _RefusedError(msg)
        return _Array(
            size * prod(max(n, chunk) for n, chunk in zip(shape, chunks, strict=True)),
            prod(-(-n // chunk) for n, chunk in zip(shape, inner, strict=True)),
            packing,
        )
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, SyntaxError, RecursionError) as error:
        msg = f"the metadata of {node!r} cannot be read ({type(error).__name__}: {error})"
        raise _RefusedError(msg) from error


def _packing(codecs: list[Any], chunks: list[int], size: int) -> tuple[Packing | None, list[int]]:
    """Return how chunks are stored (None if unknown) and their shape."""
    names = [_name(codec) for codec in codecs]
    if "sharding_indexed" in names:
        config = codecs[0]["configuration"]
        inner = [int(n) for n in config["chunk_shape"]]
        packing, _ = _packing(config["codecs"], inner, size)
        index_codecs = config.get("index_codecs", ["bytes", "crc32c"])
        index = [_name(codec) for codec in index_codecs]
        first = config.get("index_location", "end") == "start"
        known = len(codecs) == 1 and index in (["bytes"], ["bytes", "crc32c"]) and "'big'" not in str(index_codecs)
        if not known or packing is None or packing.n_in_file is not None or min(inner, default=1) < 1:
            return None, chunks
        n = prod(-(-outer // chunk) for outer, chunk in zip(chunks, inner, strict=True))
        return (
            Packing(packing.size, packing.compressor, n, first, 16 * n + 4 * (len(index) - 1), packing.trailer),
            inner,
        )
    after: list[str] = []
    compressor = None
    for name in names:
        if name in COMPRESSORS and compressor is None:
            compressor, after = name, []
        else:
            after.append(name)
    if compressor is not None and set(after) - {"crc32c"}:  # compressed twice, or transformed after compression
        return None, chunks
    text = bool(_STRINGS & set(names))
    return Packing(
        None if text else size * prod(chunks), compressor, trailer=4 * len(after) if compressor else 0
    ), chunks


def _name(codec: Any) -> str:
    name: str = codec if isinstance(codec, str) else codec["name"]
    return name.removeprefix("numcodecs.")


def _codec_names(codecs: list[Any]) -> Iterator[str]:
    for codec in codecs:
        yield (name := _name(codec))
        if name == "sharding_indexed":
            inner = codec["configuration"]
            yield from _codec_names([*inner["codecs"], *inner.get("index_codecs", [])])


def _item_size(data_type: Any) -> int:
    """Return the bytes per value of a zarr v3 data type, 8 if they are variable."""
    if isinstance(data_type, str):
        digits = "".join(filter(str.isdigit, data_type.rpartition(".")[2]))
        return max(1, int(digits) // 8) if digits else 1 if data_type == "bool" else 8
    config = data_type.get("configuration", {})
    if "fields" in config:  # as pairs, or as objects with name and type
        return sum(_item_size(f["data_type"] if isinstance(f, dict) else f[1]) for f in config["fields"])
    return max(8, int(config.get("length_bytes", 8)))


def foreign(folder: Path) -> Iterator[Path]:
    """Yield files that zarr neither writes nor reads."""
    here = {path.name: path for path in folder.iterdir()}
    if not here.keys() & {"zarr.json", ".zarray", ".zgroup"}:
        yield folder
    elif ".zarray" in here or ("zarr.json" in here and is_array(here["zarr.json"])):
        for path in folder.rglob("*"):
            described = path.name in DESCRIBING or NAME.fullmatch(path.relative_to(folder).as_posix())
            if not described and (path.is_file() or not any(path.iterdir())):
                yield path
    else:
        for path in here.values():
            if path.is_dir():
                yield from foreign(path)
            elif path.name not in DESCRIBING:
                yield path


def is_array(metadata: Path) -> bool:
    """Whether a `zarr.json` describes an array."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return bool(json.loads(metadata.read_bytes())["node_type"] == "array")
    return False
