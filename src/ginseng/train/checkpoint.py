"""Checkpoints: all that a training needs to go on as if it had never stopped.

HDF5, written whole or not at all and read as strictly as a model. A checkpoint says which run it is of, by the settings
and by digests of the data, and no other run goes on from it.
"""

from __future__ import annotations

import dataclasses
import glob
import hashlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from ginseng import __version__
from ginseng._core.architecture import Params
from ginseng._disk.atomic import recover, replacing
from ginseng._disk.strict_hdf5 import ModelFileError, Reader, read_members, write_members
from ginseng._errors import warn
from ginseng._logging import info, warning
from ginseng.data.dataset import GinsengDataset
from ginseng.model.file import MAX_EPOCHS

FORMAT = "ginseng-checkpoint"
FORMAT_VERSION = "1.0"

_TEXT = ("format", "format_version", "written_by", "run")
_COUNTS = ("epoch", "window", "step", "best_epoch")
_MEMBERS = {"params", "optimizer", "kept", "history", "losses", "best"}
_MOST_STEPS = 2**31

#: Seconds after which a checkpoint is due within an epoch.
SECONDS = 600
#: After an epoch one is due, but not before so many times the time has passed that the last one took to write.
WAIT = 50

#: What a run depends on besides its settings, in words.
_PARTS = {
    "genes": "other genes",
    "classes": "other classes",
    "labels": "other labels",
    "held_out": "other cells held out",
    "cells": "other cells, or the same in another order",
}


class Snapshot(NamedTuple):
    """A training after some epochs and some windows of the next."""

    params: Params
    optimizer: Any
    kept: Params | None  # of the best epoch; None before there is one
    history: Mapping[str, np.ndarray]
    losses: np.ndarray  # of each batch of the epoch under way
    best: np.ndarray  # figures of the best epoch on the holdout
    epoch: int
    window: int
    step: int
    best_epoch: int  # 0 before there is one
    finished: bool
    seconds: float


def describe_run(dataset: Any, held_out: np.ndarray, settings: Any, network: Any) -> dict[str, Any]:
    """Return what decides the weights, to the bit: the settings, and digests of the data."""
    counts = dataset.source.counts
    given = dataclasses.asdict(settings) | {"config": dataclasses.asdict(network)}
    for name in ("hidden_dim", "dropout_rate"):
        del given[name]  # they are in `config`
    return {
        "settings": json.loads(json.dumps(given, default=lambda value: value.item())),
        "genes": _digest("\n".join(dataset.gene_names).encode()),
        "classes": _digest("\n".join(dataset.label_names).encode()),
        "labels": _digest(dataset.labels),
        "held_out": _digest(held_out),
        "cells": _digest(f"{counts.shape} {counts.dtype}".encode(), dataset.source.totals),
    }


class Checkpoint:
    """The file of one run.

    Parameters
    ----------
    path
        Where it is.
    run
        What :func:`describe_run` says.
    temporary
        Whether the file is of no use once the training has ended.
    """

    def __init__(self, path: Path, run: Mapping[str, Any], *, temporary: bool) -> None:
        self.path = path
        self.run = run
        self.temporary = temporary
        self._failed = False
        self._written, self._cost = time.monotonic(), 0.0

    @classmethod
    def of(
        cls, dataset: Any, run: Mapping[str, Any], given: bool | str | Path | None, *, resume: bool
    ) -> Checkpoint | None:
        """Return the checkpoint of a run, or None if it has none.

        Parameters
        ----------
        given
            A path; True for one beside the store, whose name tells runs apart; None for that where there is a store.

        Raises
        ------
        ValueError
            If `resume` asks for a checkpoint and the one that is there is of another run, or there cannot be any.
        FileExistsError
            If at the path is something other than a checkpoint of this run.
        PermissionError
            If no file can be written there.
        """
        store = dataset.path if isinstance(dataset, GinsengDataset) else None
        others: list[Path] = []
        if isinstance(given, str | Path):
            own = cls(Path(given).expanduser(), run, temporary=False)
        elif store is not None and given is not False:
            name = _digest(json.dumps(run, sort_keys=True).encode())[:8]
            own = cls(store.with_name(f"{store.name}.checkpoint-{name}.h5"), run, temporary=True)
            others = sorted(store.parent.glob(f"{glob.escape(store.name)}.checkpoint-*.h5"), key=os.path.getmtime)
        elif given or resume:
            msg = "There is no place for a checkpoint: pass the path of a file, `checkpoint=...`."
            raise ValueError(msg)
        else:
            return None
        recover(own.path)
        if own.path.exists():
            own._check_present(resume=resume)
        elif resume and others:
            raise ValueError(own._refusal(others[-1]))
        elif resume:
            warning(f"There is no checkpoint at {own.path}: training starts with the first epoch.")
        return own._if_writable()

    def _check_present(self, *, resume: bool) -> None:
        """Refuse a file that is not of this run, and name one that is about to be replaced."""
        try:
            run = _read_run(self.path)
        except ModelFileError as error:
            msg = f"{error}. It is not replaced: move it away, or choose another `checkpoint`."
            raise (ModelFileError(msg) if resume else FileExistsError(msg)) from error
        if run != self.run:
            raise (ValueError if resume else FileExistsError)(self._refusal(self.path))
        if not resume:
            warning(f"{self.path} is a checkpoint of this run, and is replaced. To go on from it, pass `resume=True`.")

    def _refusal(self, path: Path) -> str:
        run = _read_run(path)
        mine, theirs = self.run["settings"], run.get("settings", {})
        reasons = [
            f"`{name}` is {theirs.get(name)!r} there and {mine.get(name)!r} here"
            for name in sorted({*mine, *theirs})
            if mine.get(name) != theirs.get(name)
        ]
        reasons += [words for name, words in _PARTS.items() if run.get(name) != self.run[name]]
        return (
            f"{path} is a checkpoint of another run ({'; '.join(reasons)}). Train as it was begun to go on from it, "
            "or choose another `checkpoint` and leave out `resume`."
        )

    def _if_writable(self) -> Checkpoint | None:
        folder = self.path.parent
        if self.path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
            msg = f"No checkpoint can be written at {self.path}."
            if not self.temporary:
                raise PermissionError(f"{msg} Choose another `checkpoint`, a file in a folder that is there.")
            warn(f"{msg} What is trained is lost if training is interrupted. Pass `checkpoint=` with a path, or False.")
            return None
        return self

    def is_due(self, *, epoch_ended: bool) -> bool:
        """Whether it is time to write."""
        return time.monotonic() - self._written >= (WAIT * self._cost if epoch_ended else SECONDS)

    def write(self, found: Snapshot) -> None:
        """Replace the file. Training goes on where that fails, with a warning."""
        started = time.monotonic()
        attributes = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "written_by": _writer(),
            "run": json.dumps(self.run),
            **{name: getattr(found, name) for name in (*_COUNTS, "finished", "seconds")},
        }
        arrays = {
            **_named(found.params, "params"),
            **_named(found.optimizer, "optimizer"),
            **({} if found.kept is None else _named(found.kept, "kept")),
            **{f"history/{name}": np.asarray(column, "<f8") for name, column in found.history.items()},
            "losses": np.asarray(found.losses, "<f4"),
            "best": np.asarray(found.best, "<f8"),
        }
        try:
            with replacing(self.path) as partial:
                write_members(partial, attributes, {name: np.asarray(a) for name, a in arrays.items()})
        except OSError as error:
            if not self._failed:
                warning(f"The checkpoint {self.path} cannot be written ({error}). Training goes on without.")
            self._failed = True
        else:
            self._failed = False
        self._written = time.monotonic()
        self._cost = self._written - started

    def read(self, params: Params, optimizer: Any) -> Snapshot | None:
        """Return what was written, or None if there is no file; `params` and `optimizer` say which shapes it has.

        Raises
        ------
        ModelFileError
            If the file is damaged, foreign, or of a later version.
        """
        if not self.path.exists():
            return None
        found = read_members(self.path, "checkpoint", lambda reader: _read(reader, params, optimizer))
        info(f"resuming after {found.epoch} epochs, from {self.path}")
        return found

    def end(self) -> None:
        """Remove the file if the run alone needed it."""
        if self.temporary:
            self.path.unlink(missing_ok=True)


def _digest(*parts: bytes | np.ndarray) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()


def _writer() -> str:
    return f"ginseng {__version__}, jax {jax.__version__} on {jax.default_backend()}"


def _named(tree: Any, prefix: str) -> dict[str, Any]:
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {f"{prefix}/{jax.tree_util.keystr(path, simple=True, separator='/')}": leaf for path, leaf in leaves}


def _read_run(path: Path) -> dict[str, Any]:
    def read(reader: Reader) -> dict[str, Any]:
        if (found := reader.text("format", "")) != FORMAT:
            msg = f"it is no checkpoint of ginseng (format {found!r})"
            raise ModelFileError(msg)
        written = reader.text("format_version")
        if written.split(".")[0] != FORMAT_VERSION.split(".")[0]:
            msg = f"it was written by {reader.text('written_by')} in format {written}; this one reads {FORMAT_VERSION}"
            raise ModelFileError(msg)
        run = json.loads(reader.text("run"))
        if not isinstance(run, dict) or not isinstance(run.get("settings"), dict):
            msg = "it does not say which run it is of"
            raise ModelFileError(msg)
        return run

    return read_members(path, "checkpoint", read)


def _read(reader: Reader, params: Params, optimizer: Any) -> Snapshot:
    if unknown := set(reader.members()) - _MEMBERS:
        msg = f"it has unknown members: {', '.join(map(repr, sorted(unknown)[:10]))}"
        raise ModelFileError(msg)
    attributes: dict[str, Any] = {name: reader.text(name) for name in _TEXT}
    attributes |= {name: reader.number(name) for name in (*_COUNTS, "finished", "seconds")}
    for name in _COUNTS:
        if type(attributes[name]) is not int or not 0 <= attributes[name] < _MOST_STEPS:
            msg = f"attribute {name!r} is {attributes[name]!r}"
            raise ModelFileError(msg)
    if bool(attributes["best_epoch"]) != bool(attributes["epoch"]):
        msg = "it has no weights to keep"
        raise ModelFileError(msg)
    arrays: dict[str, np.ndarray] = {}

    def tree(shapes: Any, prefix: str) -> Any:
        for name, shape in _named(shapes, prefix).items():
            arrays[name] = reader.array(name, shape.shape, shape.dtype.kind, _MOST_STEPS)
            if arrays[name].dtype != shape.dtype or not np.isfinite(arrays[name]).all():
                msg = f"{name!r} is {arrays[name].dtype}, not {shape.dtype}, or has values that are not finite"
                raise ModelFileError(msg)
        return jax.tree.unflatten(jax.tree.structure(shapes), [arrays[name] for name in _named(shapes, prefix)])

    trees = {"params": tree(params, "params"), "optimizer": tree(optimizer, "optimizer")}
    trees["kept"] = tree(params, "kept") if attributes["best_epoch"] else None
    history = {f"history/{name}": None for name in reader.members("history")}
    for name in history:
        arrays[name] = reader.array(name, (attributes["epoch"],), "f", MAX_EPOCHS)
    arrays["losses"] = reader.array("losses", (None,), "f", _MOST_STEPS)
    arrays["best"] = reader.array("best", (4,), "f", 4)
    reader.verify(attributes, arrays)
    if attributes["written_by"] != _writer():
        warning(f"The checkpoint is of {attributes['written_by']}; with {_writer()} the last bits may differ.")
    return Snapshot(
        **trees,
        history={name.removeprefix("history/"): arrays[name] for name in history},
        losses=arrays["losses"],
        best=arrays["best"],
        **{name: attributes[name] for name in _COUNTS},
        finished=bool(attributes["finished"]),
        seconds=float(attributes["seconds"]),
    )
