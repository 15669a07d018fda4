"""Checkpoints: everything that a training run needs to resume with the same result.

HDF5, written atomically and read as strictly as a model. A checkpoint identifies its run by the settings and by digests
of the data; no other run can resume from it.
"""

from __future__ import annotations

import dataclasses
import glob
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ginseng import __version__
from ginseng._core.types import Params
from ginseng._disk.atomic import LockedError, claimed, recover, replacing
from ginseng._disk.schema import Schema
from ginseng._disk.schema_entries import Array, Columns, Found, Number, Text, Tree
from ginseng._disk.strict_hdf5 import ModelFileError, Reader, read_members, write_members
from ginseng._errors import warn
from ginseng._logging import info, warning
from ginseng.data.dataset import GinsengDataset
from ginseng.model.schema import MAX_EPOCHS
from ginseng.train.logger import GinsengLogger
from ginseng.train.metrics import MEASURES, Measures
from ginseng.train.processes import is_first, n_processes
from ginseng.train.selection import NOTHING

CHECKPOINT = Schema(
    "ginseng-checkpoint",
    (
        Text("run", "JSON: all settings, and SHA-256 of genes, classes, labels, holdout and cells"),
        Number("epoch", "completed epochs", int, counts=True),
        Number("window", "completed windows of batches of the next epoch", int, counts=True),
        Number("step", "completed steps", int, counts=True),
        Number("best_epoch", "epoch of the weights kept; 0 if none yet", int, counts=True),
        Number("finished", "whether training has ended", bool),
        Number("seconds", "training time so far"),
        Tree("params", "weights", "<layer>/<name>", exact=True),
        Tree("optimizer", "state of the optimiser", "...", exact=True),
        Tree("kept", "weights of the best epoch", "<layer>/<name>", exact=True, optional=True),
        Columns("history", "a value per epoch", "epoch", most=MAX_EPOCHS),
        Array("losses", "loss of each batch of the current epoch", "<f4", (None,)),
        Array("best", f"{', '.join(MEASURES)} of the best epoch on the holdout", "<f8", (len(MEASURES),)),
    ),
)  # fmt: skip

#: Seconds between checkpoints within an epoch.
SECONDS = 600
#: At the end of an epoch a checkpoint is due once this many times the duration of the last write has passed; in runs of
#: several processes, any of which may be lost, at the end of any window.
WAIT = 50

#: What a run depends on besides its settings, as worded in errors.
_PARTS = {
    "genes": "other genes",
    "classes": "other classes",
    "labels": "other labels",
    "held_out": "other cells held out",
    "cells": "other cells, or the same in another order",
}


@dataclasses.dataclass
class Progress:
    """The state of a training run: everything that the loop changes and a checkpoint stores."""

    params: Params
    optimizer: Any
    logger: GinsengLogger
    losses: list[Any] = dataclasses.field(default_factory=list)  # per batch of the current epoch, one array per window
    kept: Params | None = None  # weights of the best epoch; None if none yet
    best: Measures = dataclasses.field(default_factory=NOTHING.copy)  # measures of the best epoch on the holdout
    epoch: int = 0
    window: int = 0
    step: int = 0
    best_epoch: int = 0
    finished: bool = False
    started: float = dataclasses.field(default_factory=time.time)  # shifted on resuming

    @property
    def seconds(self) -> float:
        """Training time so far."""
        return time.time() - self.started


def describe_run(dataset: Any, held_out: np.ndarray, settings: Any) -> dict[str, Any]:
    """Return everything that determines the weights: the resolved settings, and digests of the data."""
    given = dataclasses.asdict(settings)
    given = {name: value for name, value in given.items() if name not in given["config"]}  # `config` has them as well
    return {
        "settings": json.loads(json.dumps(given, default=lambda value: value.item())),
        **describe_data(dataset),
        "held_out": _digest(held_out),
    }


def describe_data(dataset: Any) -> dict[str, str]:
    """Return digests of the genes, classes, labels and cells, which are the same for the same data."""
    counts = dataset.source.counts
    return {
        "genes": _digest("\n".join(dataset.gene_names).encode()),
        "classes": _digest("\n".join(dataset.label_names).encode()),
        "labels": _digest(dataset.labels),
        "cells": _digest(f"{counts.shape} {counts.dtype}".encode(), dataset.source.totals),
    }


class Checkpoint:
    """The checkpoint file of one run.

    Parameters
    ----------
    path
        Path of the file.
    run
        Description of the run, from :func:`describe_run`.
    temporary
        Whether to remove the file once training has ended.
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
            A path; True for a file next to the store, named after the run; None for the same, but only with a store.

        Raises
        ------
        ValueError
            If `resume` is set and the existing checkpoint belongs to another run, or there is no place for one.
        FileExistsError
            If the path holds anything but a checkpoint of this run.
        PermissionError
            If the file cannot be written.
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
        if is_first():
            recover(own.path)
        if own.path.exists():
            own._check_present(resume=resume)
        elif resume and others:
            raise ValueError(own._refusal(others[-1]))
        elif resume:
            warning(f"There is no checkpoint at {own.path}: training starts from the first epoch.")
        return own._if_writable()

    def _check_present(self, *, resume: bool) -> None:
        """Refuse a file of another run, and warn about one that will be replaced."""
        try:
            run = _read_run(self.path)
        except ModelFileError as error:
            msg = f"{error}. It is not replaced: move it, or choose another `checkpoint`."
            raise (ModelFileError(msg) if resume else FileExistsError(msg)) from error
        if run != self.run:
            raise (ValueError if resume else FileExistsError)(self._refusal(self.path))
        if not resume:
            warning(f"{self.path} is a checkpoint of this run and is replaced. To resume from it, pass `resume=True`.")

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
            f"{path} is a checkpoint of another run ({'; '.join(reasons)}). To resume, train with the same data and "
            "settings. Otherwise choose another `checkpoint` and leave out `resume`."
        )

    def _if_writable(self) -> Checkpoint | None:
        folder = self.path.parent
        if self.path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
            msg = f"No checkpoint can be written at {self.path}."
            if not self.temporary:
                raise PermissionError(f"{msg} Choose another `checkpoint`, a file in an existing folder.")
            warn(f"{msg} An interrupted training run will be lost. Pass `checkpoint=` with a path, or False.")
            return None
        return self

    @contextmanager
    def claimed(self, *, resume: bool) -> Iterator[None]:
        """Lock the file during training: two runs that share a checkpoint would overwrite each other's.

        Of several processes that train together, the first writes and locks it.

        A file next to the store gets another name if the usual one is locked.

        Raises
        ------
        LockedError
            If another run has locked the file.
        """
        with ExitStack() as held:
            if not is_first():
                yield
                return
            try:
                held.enter_context(claimed(self.path))
            except LockedError as error:
                if not self.temporary or resume:
                    msg = f"{self.path} is the checkpoint of a training run in progress ({error})"
                    raise LockedError(msg) from error
                self.path = self.path.with_name(f"{self.path.stem}-{os.getpid()}{self.path.suffix}")
                held.enter_context(claimed(self.path))
            yield

    def is_due(self, *, epoch_ended: bool) -> bool:
        """Whether the next checkpoint is due."""
        often = epoch_ended or n_processes() > 1
        return time.monotonic() - self._written >= (WAIT * self._cost if often else SECONDS)

    def write(self, at: Progress) -> None:
        """Replace the file atomically. If that fails, warn and go on training."""
        started = time.monotonic()
        values = {
            **{name: getattr(at, name) for name in ("epoch", "window", "step", "best_epoch", "finished", "seconds")},
            "run": json.dumps(self.run),
            "params": _nested(at.params),
            "optimizer": _nested(at.optimizer),
            "kept": None if at.kept is None else _nested(at.kept),
            "history": at.logger.to_dict(),
            "losses": np.concatenate([*at.losses, np.empty(0)]),
            "best": [at.best[name] for name in MEASURES],
        }
        attributes, arrays = CHECKPOINT.stored(CHECKPOINT.pack(values), _writer())
        try:
            with replacing(self.path) as partial:
                write_members(partial, attributes, arrays)
        except OSError as error:
            if not self._failed:
                warning(f"The checkpoint {self.path} cannot be written ({error}). Training continues without it.")
            self._failed = True
        else:
            self._failed = False
        self._written = time.monotonic()
        self._cost = self._written - started

    def read(self, params: Params, optimizer: Any) -> Progress | None:
        """Return the stored state, or None if there is no file; `params` and `optimizer` have the expected shapes.

        Raises
        ------
        ModelFileError
            If the file is damaged, is not a checkpoint, or has a later version.
        """
        if not self.path.exists():
            return None
        found = read_members(self.path, "checkpoint", lambda reader: _read(reader, params, optimizer))
        info(f"resuming after {found.epoch} epochs, from {self.path}")
        return found

    def end(self) -> None:
        """Remove the file if it is temporary."""
        if self.temporary:
            self.path.unlink(missing_ok=True)


def _digest(*parts: bytes | np.ndarray) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()


def _writer() -> str:
    return f"ginseng {__version__}, jax {jax.__version__} on {jax.default_backend()}"


def _nested(tree: Any) -> dict[str, Any]:
    """Return any pytree as nested dicts."""
    out: dict[str, Any] = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        *groups, name = jax.tree_util.keystr(path, simple=True, separator="/").split("/")
        inside = out
        for group in groups:
            inside = inside.setdefault(group, {})
        inside[name] = leaf
    return out


def _as(tree: Any, nested: dict[str, Any]) -> Any:
    """Invert :func:`_nested`, given a pytree of the same structure."""
    structure: Any = jax.tree.structure(tree)
    order = jax.tree.leaves(_nested(jax.tree.unflatten(structure, range(structure.num_leaves))))
    return jax.tree.unflatten(structure, [leaf for _, leaf in sorted(zip(order, jax.tree.leaves(nested), strict=True))])


def _read_run(path: Path) -> dict[str, Any]:
    def read(reader: Reader) -> dict[str, Any]:
        _check_header(reader)
        run = json.loads(reader.text("run"))
        if not isinstance(run, dict) or not isinstance(run.get("settings"), dict):
            msg = "it does not describe its run"
            raise ModelFileError(msg)
        return run

    return read_members(path, "checkpoint", read)


def _check_header(reader: Reader) -> dict[str, str]:
    return CHECKPOINT.check_header(reader, f"ginseng {__version__}", "checkpoint")


def _read(reader: Reader, params: Params, optimizer: Any) -> Progress:
    shapes = {"params": params, "optimizer": optimizer, "kept": params}

    def expected(name: str, found: Found) -> dict[str, Any] | None:
        if bool(found.values["best_epoch"]) != bool(found.values["epoch"]):
            msg = "the weights of its best epoch are missing"
            raise ModelFileError(msg)
        return None if name == "kept" and not found.values["best_epoch"] else _nested(shapes[name])

    header = _check_header(reader)
    values = CHECKPOINT.read(reader, header, expected)
    if header["written_by"] != _writer():
        warning(f"The checkpoint was written by {header['written_by']}; with {_writer()} the last bits may differ.")
    return Progress(
        **{name: _as(shapes[name], values[name]) for name in shapes if name in values},
        **{name: values[name] for name in ("epoch", "window", "step", "best_epoch", "finished")},
        logger=GinsengLogger.from_dict(values["history"]),
        losses=[values["losses"]],
        best=dict(zip(MEASURES, values["best"].tolist(), strict=True)),
        started=time.time() - values["seconds"],
    )
