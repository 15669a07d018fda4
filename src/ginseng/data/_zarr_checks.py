"""Zarr folders from others: nothing in them may run code, lead out of the folder, or fill the memory.

All is told from the names, the sizes and the JSON of the folder, before zarr opens it: what zarr does not find by
itself, such as what stands in consolidated metadata alone, included.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterator
from math import prod
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

#: Codecs that turn bytes into numbers or text, and do nothing else; `pickle` and other codecs of objects run code.
CODECS = {
    "bytes", "endian", "transpose", "sharding_indexed", "crc32c", "crc32", "adler32", "fletcher32", "blosc", "zstd",
    "gzip", "zlib", "bz2", "lzma", "lz4", "shuffle", "delta", "packbits", "vlen-utf8", "vlen-bytes",
}  # fmt: skip
_STRINGS = {"vlen-utf8", "vlen-bytes"}
#: Arrays may declare so many times the bytes that they store; beyond, all together this many bytes.
RATIO, ALLOWANCE = 1000, 2**30
#: Bytes of one JSON file.
MAX_JSON = 64 * 2**20
_METADATA = ("zarr.json", ".zarray", ".zgroup", ".zmetadata", ".zattrs")


def check_zarr(root: Path, name: str) -> None:
    """Refuse a zarr folder that could do harm.

    Parameters
    ----------
    root
        The folder.
    name
        What errors call it.

    Raises
    ------
    ValueError
        If it has links or special files, codecs other than those in `CODECS`, entries outside of the folder, arrays
        that declare far more than they store, or metadata that cannot be read.
    """
    declared: dict[str, int] = defaultdict(int)
    stored: dict[str, int] = defaultdict(int)
    try:
        folders = [("", "")]  # path below the root, and the array that it is part of
        while folders:
            folder, array = folders.pop()
            below, size = [], 0
            with os.scandir(root / folder) as found:
                entries = list(found)
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
                elif entry.name in _METADATA:
                    if entry.name != ".zattrs":
                        for node, metadata in _nodes(folder, entry.name, _json(Path(entry.path), where)):
                            declared[node] = max(declared[node], _check_array(node, metadata))
                            array = folder if node == folder else array
                else:
                    size += entry.stat().st_size
            stored[array] += size
            folders += [(where, array) for where in below]
    except _RefusedError as error:
        msg = f"{name} is not opened: {error}."
        raise ValueError(msg) from error.__cause__
    excess = {node: size for node, size in declared.items() if size > RATIO * stored[node]}
    if sum(excess.values()) > ALLOWANCE:
        node = max(excess, key=lambda node: excess[node])
        msg = f"{name} is not opened: {node!r} declares {declared[node]:,} bytes and stores {stored[node]:,}."
        raise ValueError(msg)


class _RefusedError(Exception):
    """Why a folder is refused."""


def _json(path: Path, where: str) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_JSON:
            msg = f"over {MAX_JSON:,} bytes"
            raise ValueError(msg)
        found = json.loads(path.read_bytes())
        if not isinstance(found, dict):
            msg = "no JSON object"
            raise TypeError(msg)
    except (ValueError, TypeError, RecursionError) as error:
        msg = f"{where!r} cannot be read ({error})"
        raise _RefusedError(msg) from error
    return found


def _nodes(folder: str, file: str, metadata: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield path and metadata of each array that a metadata file speaks of."""
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
        msg = f"its metadata lead out of the folder, to {key!r}"
        raise _RefusedError(msg)
    return "/".join((*filter(None, [folder]), *parts))


def _check_array(node: str, metadata: dict[str, Any]) -> int:
    """Return the bytes that an array takes in memory, by its metadata, or its largest chunk if that is more."""
    try:
        if metadata.get("zarr_format") == 2:
            stages = [*(metadata.get("filters") or []), metadata.get("compressor")]
            codecs = [codec["id"] for codec in stages if codec is not None]
            dtype: Any = metadata["dtype"]
            dtype = np.dtype([tuple(field) for field in dtype] if isinstance(dtype, list) else dtype)
            if dtype.hasobject and (dtype.kind != "O" or not _STRINGS & set(codecs)):
                msg = f"{node!r} holds objects"
                raise _RefusedError(msg)
            size, chunks = dtype.itemsize, metadata["chunks"]
        else:
            codecs = list(_codec_names(metadata["codecs"]))
            size, grid = _item_size(metadata["data_type"]), metadata["chunk_grid"]
            encoding = metadata.get("chunk_key_encoding", {"name": "default"})
            if grid["name"] != "regular" or encoding["name"] not in ("default", "v2"):
                msg = f"{node!r} keeps its chunks in an unknown way"
                raise _RefusedError(msg)
            if metadata.get("storage_transformers"):
                msg = f"{node!r} has storage transformers"
                raise _RefusedError(msg)
            chunks = grid["configuration"]["chunk_shape"]
        if unknown := sorted(set(codecs) - CODECS):
            msg = f"{node!r} is stored through codecs that ginseng does not run: {', '.join(unknown)}"
            raise _RefusedError(msg)
        return size * prod(max(int(n), int(chunk)) for n, chunk in zip(metadata["shape"], chunks, strict=True))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, SyntaxError, RecursionError) as error:
        msg = f"the metadata of {node!r} cannot be read ({type(error).__name__}: {error})"
        raise _RefusedError(msg) from error


def _codec_names(codecs: list[Any]) -> Iterator[str]:
    for codec in codecs:
        name = codec if isinstance(codec, str) else codec["name"]
        yield name.removeprefix("numcodecs.")
        if name == "sharding_indexed":
            inner = codec["configuration"]
            yield from _codec_names([*inner["codecs"], *inner.get("index_codecs", [])])


def _item_size(data_type: Any) -> int:
    """Return the bytes of a value of a zarr v3 data type, 8 if they are not fixed."""
    if isinstance(data_type, str):
        digits = "".join(filter(str.isdigit, data_type.rpartition(".")[2]))
        return max(1, int(digits) // 8) if digits else 1 if data_type == "bool" else 8
    config = data_type.get("configuration", {})
    if "fields" in config:  # pairs, or objects with a name and a type
        return sum(_item_size(f["data_type"] if isinstance(f, dict) else f[1]) for f in config["fields"])
    return max(8, int(config.get("length_bytes", 8)))
