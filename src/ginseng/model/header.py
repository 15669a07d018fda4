"""The part of a model file that can be read without JAX: its format and metadata."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py

from ginseng import __version__, _keys
from ginseng._disk.schema import Schema
from ginseng._disk.schema_entries import Found
from ginseng._disk.strict_hdf5 import ModelFileError, Reader, models_in, read_members
from ginseng.model.schema import FIRST, MODEL

#: The network of a file of ginseng 0.2, and how it scales counts.
FIRST_NETWORK: dict[str, Any] = {"architecture": "instance", "library_size": "model_genes"}
#: Limits on the number of weight arrays and on the nesting of their groups.
MAX_WEIGHTS, MAX_DEPTH = 10_000, 4


def located(path: str | Path) -> Path:
    """Return the path if it exists.

    Raises
    ------
    FileNotFoundError
        If it does not; the message lists the models in the same folder.
    """
    path = Path(path).expanduser()
    if not path.exists():
        others = models_in(path.parent) if path.parent.is_dir() else ""
        msg = f"There is no model at {path}. " + (f"Models there: {others}." if others else "")
        raise FileNotFoundError(msg)
    return path


def format_of(reader: Reader) -> tuple[Schema, dict[str, str]]:
    """Return the schema of a file and its header, which is empty for ginseng 0.2.

    Raises
    ------
    ModelFileError
        If the file is not a model, or has a later format.
    """
    if "format" in reader.file.attrs:
        return MODEL, MODEL.check_header(reader, f"ginseng {__version__}", "model")
    _refuse_data(reader)
    return FIRST, {}


def read_summary(path: str | Path) -> dict[str, Any]:
    """Verify a model file and return the fields of :class:`ginseng.model.GinsengClassifierState`.

    The weights are returned as stored. Whether they fit the architecture is checked by :func:`ginseng.load_model`.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ModelFileError
        If the file is damaged, is not a model, or has a later format.
    """

    def read(reader: Reader) -> dict[str, Any]:
        schema, header = format_of(reader)
        values = schema.unpack(schema.read(reader, header, _stored_shapes))
        if schema is FIRST:
            config = {name: values.pop(name) for name in ("hidden_dim", "dropout_rate")}
            values |= {"config": config, **FIRST_NETWORK}
        return {"target_sum": None, "history": {}, "info": {}} | values

    return read_members(located(path), "model", read)


def _stored_shapes(name: str, found: Found) -> Mapping[str, Any]:
    """Return the datasets of a group, nested as in the file; their shapes are the expected ones."""
    left = MAX_WEIGHTS

    def inside(path: str, depth: int) -> dict[str, Any]:
        nonlocal left
        members = found.reader.members(path)
        left -= len(members)
        if left < 0 or depth > MAX_DEPTH:
            msg = f"{name!r} has over {MAX_WEIGHTS:,} members, or groups nested deeper than {MAX_DEPTH}"
            raise ModelFileError(msg)
        out: dict[str, Any] = {}
        for member in members:
            below = f"{path}/{member}"
            is_group = found.reader.has(below)
            out[member] = inside(below, depth + 1) if is_group else found.reader.member(below, h5py.Dataset)
        return out

    return inside(name, 1)


def _refuse_data(reader: Reader) -> None:
    """Raise a helpful error for a file of cells, which may hold a model in `uns`."""
    members, path = reader.members(), reader.file.filename
    if {"obs", "var"} <= set(members):
        msg = f"it holds cells (AnnData) and is not a model file. To label them: `gs.tl.classify({path!r}, model)`. "
        if reader.has(f"uns/{_keys.DEFAULT}/model"):
            msg += f"To use the model that was trained on them: `gs.tl.classify(adata, gs.read_adata({path!r}))`."
        raise ModelFileError(msg)
    if "matrix" in members:
        msg = f"it holds counts and is not a model file. To label the cells: `gs.tl.classify({path!r}, model)`."
        raise ModelFileError(msg)
