"""The calibration of a model after its training: what is compiled for it, and what if it is interrupted or diverges."""

from __future__ import annotations

import functools
import threading
from concurrent.futures import Future
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

from ginseng._core.architecture import Architecture
from ginseng._core.process import prepare
from ginseng._core.steps import Normalization
from ginseng._errors import warn
from ginseng._logging import warning
from ginseng._settings import settings as folders
from ginseng.model.overlap import compile_weights, weight_of_genes
from ginseng.train.assess import ENOUGH, FEWEST, Reader, Trained, assess, compile_seen
from ginseng.train.checkpoint import Checkpoint
from ginseng.train.compiling import ahead
from ginseng.train.loop import DivergedError
from ginseng.train.processes import n_processes
from ginseng.train.refits import Fit, parts, refitted
from ginseng.train.settings import GinsengClassifierTrainerSettings


def calibrates(settings: GinsengClassifierTrainerSettings, n_cells: int) -> bool:
    """Whether a model that is trained on so many cells is calibrated."""
    wanted = settings.solver == "adamw" if settings.calibrate is None else bool(settings.calibrate)
    return wanted and settings.network.knows_reference and n_cells >= FEWEST


def start_compiling(settings: GinsengClassifierTrainerSettings, *, n_cells: int, n_genes: int, n_classes: int) -> None:
    """Compile the programs of the calibration in the background, if a model of these sizes will have one."""
    if calibrates(settings, n_cells):
        prepare(folders.cache_dir)
        _start(settings.network, settings.normalization, n_genes, n_classes)


@functools.lru_cache(8)  # not twice at the same time
def _start(network: Architecture, normalization: Normalization, n_genes: int, n_classes: int) -> list[Future[Any]]:
    return ahead(
        partial(compile_weights, network, n_genes, n_classes),
        partial(import_module, "sklearn.cluster"),  # for the prototypes: takes half a second
        partial(compile_seen, network, normalization, n_genes, n_classes),
    )


def calibrated(
    final: Trained,
    data: Any,
    settings: GinsengClassifierTrainerSettings,
    *,
    fit: Fit,
    lr: float,
    interrupted: bool,
    silent: bool,
    place: Checkpoint | None,
) -> tuple[dict[str, np.ndarray] | None, bool]:
    """Return how far a model can be trusted, see `assess.py`, and whether training or this was interrupted.

    If it was, the model is measured as far as that got; None if it was not at all.

    Parameters
    ----------
    data
        The dataset.
    fit
        Trains again on some of the cells.
    lr
        The learning rate, for what is said if training again diverges.
    interrupted
        Whether training was: then it is not trained again.
    place
        Where the model is calibrated from, if that was interrupted.
    """
    import sklearn.cluster  # noqa: F401, before `assess` limits the threads of what is loaded

    network, n_classes = settings.network, len(data.label_names)
    enough = final.others.sum() >= ENOUGH or interrupted or n_processes() > 1 or settings.solver == "lbfgs"
    stopped = threading.Event()
    if interrupted:
        stopped.set()
    again = partial(refitted, fit=fit, stopped=stopped, silent=silent)
    models = iter([final]) if enough else again(parts(data, settings, n_classes))
    lacking = again(parts(data, settings, n_classes, lacking=True)) if settings.calibrate == "types" else ()
    read = Reader(data.source, network, settings.normalization)
    weight = weight_of_genes(final.params, final.reference, network)
    measured = None
    try:
        measured = assess(models, final, read, lacking=lacking, weight=weight, seed=settings.seed)
    except KeyboardInterrupt:
        if n_processes() > 1:  # the others go on
            raise
        stopped.set()
    except DivergedError as error:
        warn(
            f"Training again on some of the cells, to calibrate the model, diverged in epoch {error.epoch}. The model "
            f"is trained, and was not calibrated. Lower `lr` ({lr:g}), or train without calibration (`calibrate`)."
        )
    if stopped.is_set() and not interrupted:
        told = "Calibration was interrupted. The model is trained, and "
        told += "was not calibrated." if measured is None else "calibrated by fewer cells or types."
        warning(told + ("" if place is None else f" `resume=True` calibrates it from {place.path}."))
    return measured, stopped.is_set()
