from __future__ import annotations

import copy
import dataclasses
import functools
import json
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ginseng._core.devices import global_mesh, own_cells, rounded_up
from ginseng._core.optim import warmup_cosine
from ginseng._core.types import Params
from ginseng._errors import warn
from ginseng._logging import progress, running
from ginseng._repr import Card, listed
from ginseng.data._batches import batches_per_window, class_weights, n_batches, prefetch, stream_own
from ginseng.data._memory import MemoryDataset
from ginseng.data.dataset import GinsengDataset
from ginseng.model.classifier import GinsengClassifier
from ginseng.model.state import GinsengClassifierState
from ginseng.train.assess import Trained
from ginseng.train.calibrating import calibrated, calibrates, start_compiling
from ginseng.train.checkpoint import Checkpoint, Progress, describe_data, describe_run
from ginseng.train.compiling import Step, ahead
from ginseng.train.diagnosis import divergence, warn_if_useless
from ginseng.train.holdout import Holdout, holdout_of
from ginseng.train.interrupt import interruptible, report_interruption
from ginseng.train.lbfgs import minimum
from ginseng.train.logger import GinsengLogger
from ginseng.train.loop import DivergedError, Plan, run
from ginseng.train.metrics import Measures
from ginseng.train.processes import any_process, check_same, from_first, is_first, n_processes, together
from ginseng.train.settings import GinsengClassifierTrainerSettings
from ginseng.train.standardize import Moments, fit_standardization, of_members, read_moments, reference

#: Default number of epochs, raised until the architecture's minimum number of cells is seen and lowered so that at most
#: `MOST_SEEN` are, within these bounds.
EPOCHS, MOST_SEEN = 10, 400_000
MOST_EPOCHS, FEWEST_EPOCHS = 100, 3
#: Cells to train on from which larger batches are taken.
MANY = 50_000


class GinsengClassifierTrainer:
    """Trains a model on a dataset.

    Parameters
    ----------
    dataset
        A :class:`ginseng.data.GinsengDataset`, or its path. If it has a split, the test part is the holdout; otherwise
        the holdout follows from the settings. Nothing is written to the dataset.
    settings
        Training settings.

    Attributes
    ----------
    settings, dataset
        The arguments.
    logger : :class:`ginseng.train.GinsengLogger`
        Losses and metrics of each epoch.
    holdout : :class:`numpy.ndarray`
        (cells,) bool mask of the held-out cells.
    model : :class:`ginseng.model.GinsengClassifier`
        The network with its weights.
    state : :class:`ginseng.model.GinsengClassifierState`
        The trained model, after :meth:`fit`.

    Raises
    ------
    ValueError
        If groups are to be held out but there are none, or values would be log-normalised twice.
    """

    def __init__(
        self,
        dataset: GinsengDataset | MemoryDataset | str | Path,
        settings: GinsengClassifierTrainerSettings | None = None,
    ) -> None:
        self.dataset: Any = GinsengDataset(dataset) if isinstance(dataset, str | Path) else dataset
        self.settings = GinsengClassifierTrainerSettings() if settings is None else copy.copy(settings)
        stored = isinstance(self.dataset, GinsengDataset)  # cells in memory were checked when they were read
        if stored and self.settings.normalize and not getattr(self.dataset, "normalizes", True):
            where = getattr(self.dataset, "path", "The dataset")
            msg = f"{where} was created with log-normalised values: pass `normalize=False` here as well."
            raise ValueError(msg)
        if stored and self.settings.normalize and self.dataset.source.counts.dtype.kind == "f":
            warn(
                "The values are not whole numbers and look normalised, but are log-normalised again. Train on counts "
                "(`layer=`), or pass `normalize=False`."
            )
        self.holdout = holdout_of(self.dataset, self.settings)
        self.keep = ~self.holdout
        self.network = self.settings.network
        recipe = self.network.recipe
        self.lr = recipe.lr if self.settings.lr is None else self.settings.lr
        wanted = recipe.batch_size if self.settings.batch_size is None else self.settings.batch_size
        if self.settings.batch_size is None and self.keep.sum() >= MANY:
            wanted = recipe.batch_size_of_many or wanted
        # larger batches would be padding, which costs memory and time
        wanted = min(wanted, max(int(self.keep.sum()), recipe.batch_size))
        self.n_streams = self._choose_n_streams()
        self.batch_size = -(-wanted // self.n_streams) * self.n_streams
        n_epoch = n_batches(int(self.keep.sum()), self.batch_size)
        self.n_window = batches_per_window(self.batch_size, self.n_genes, n_epoch)
        self.monitor = recipe.monitor if self.settings.monitor is None else self.settings.monitor
        self.normalization = self.settings.normalization
        self._held_out = Holdout(self.dataset.source, self.holdout, self.network, self.normalization)
        self.logger = GinsengLogger()
        self.best_epoch: int | None = None
        self.model = GinsengClassifier(
            self.n_genes, self.n_classes, normalize=self.settings.normalize, target_sum=self.settings.target_sum,
            seed=self.settings.seed, architecture=self.network.name, config=dataclasses.asdict(self.network),
            library_size=self.settings.library_size,
        )  # fmt: skip

    @property
    def n_genes(self) -> int:
        """Number of genes."""
        return len(self.dataset.gene_names)

    def _card(self) -> Card:
        rows: dict[str, Any] = {
            "cells": f"{int(self.keep.sum()):,} to train on, {int(self.holdout.sum()):,} held out",
            "genes": self.n_genes,
            "classes": f"{self.n_classes}: {listed(self.dataset.label_names)}",
            "network": self.network.name,
            "steps": f"{self.epochs} epochs of {self.batch_size:,} cells per batch, learning rate {self.lr:g}",
        }
        rows["trained"] = "not yet"
        if hasattr(self, "state"):
            rows["trained"] = f"yes, in {self.logger.epoch[-1]} epochs: the model is in `state`"
        return Card("GinsengClassifierTrainer", rows)

    def __repr__(self) -> str:
        return self._card().text()

    def _repr_html_(self) -> str:
        return self._card().html()

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.dataset.label_names)

    def _choose_n_streams(self) -> int:
        """Return as many streams as there are processes, if there are enough windows for each to read its own."""
        n = n_processes()
        if self.settings.n_streams is not None:
            return self.settings.n_streams
        return n if self.dataset.source.n_windows >= n else 1

    @property
    def epochs(self) -> int:
        """Default number of epochs."""
        if self.settings.epochs is not None:
            return self.settings.epochs
        n = int(self.keep.sum())
        wanted = min(max(EPOCHS, -(-self.network.recipe.least_seen // n)), MOST_SEEN // n)
        return int(np.clip(wanted, FEWEST_EPOCHS, MOST_EPOCHS))

    def fit(
        self,
        epochs: int | None = None,
        silent: bool = False,
        *,
        reports: bool = True,
        checkpoint: bool | str | Path | None = None,
        resume: bool = False,
    ) -> tuple[GinsengClassifier, GinsengClassifierState]:
        """Train, and return the model and its state.

        By default, the weights are those of the latest epoch whose holdout loss is within one standard error of the
        lowest (the one-standard-error rule, Breiman et al. 1984), since on a small holdout the lowest loss is a matter
        of chance. If macro F1 is monitored, they are those of the latest epoch with the highest value; without a
        holdout, those of the last epoch. The same seed on the same machine gives the same weights, even if training was
        interrupted and resumed.

        Ctrl-C ends training after the current batches. A checkpoint is written if there is one, and the best weights so
        far are returned, with `state.info["interrupted"]` set. A second ctrl-C aborts at once. While the trained model
        is calibrated, ctrl-C ends that, and the model is returned.

        Parameters
        ----------
        epochs
            Passes over the data; as in the settings if None.
        silent
            Whether to hide all output.
        reports
            Whether to print one line per epoch.
        checkpoint
            Path of a file from which training can resume. It is written after each epoch (less often if epochs are
            short, to spend at most 2% of the time on it) and every ten minutes within long ones. It is kept at the end,
            and then returns the finished model, which is only calibrated again. If None, a dataset on disk has a
            checkpoint next to it, which is removed at the end; cells in memory have none. False for none. Not used by
            "lbfgs".
        resume
            Whether to resume from the checkpoint. Cells, genes and settings must be the same. Without a checkpoint,
            training starts from the beginning.

        Raises
        ------
        ValueError
            If `epochs` is below 1, the loss diverges, or the checkpoint belongs to another run.
        FileExistsError
            If `checkpoint` is a file other than a checkpoint of this run.
        KeyboardInterrupt
            If ctrl-C was pressed before the end of the first epoch, or twice.
        RuntimeError
            If another process of a run of several has ended or cannot be reached.
        """
        s = self.settings
        epochs = self.epochs if epochs is None else epochs
        silent = silent or not is_first()
        if epochs < 1:
            msg = f"`epochs` must be at least 1, not {epochs!r}."
            raise ValueError(msg)
        place = None
        if s.solver != "lbfgs":
            described = self._run(epochs)
            with together("Start all processes again."):
                check_same("other cells or settings", json.dumps(described, sort_keys=True))
            place = Checkpoint.of(self.dataset, described, checkpoint, resume=resume)
        self.logger, self.best_epoch, self.interrupted = GinsengLogger(), None, False
        self._started = time.time()
        start_compiling(s, n_cells=int(self.keep.sum()), n_genes=self.n_genes, n_classes=self.n_classes)
        what = f"training of {self.network.name!r} on {int(self.keep.sum()):,} cells"
        advice = "Start all processes again"
        advice += "." if place is None else f" with `resume=True`, to continue from the checkpoint {place.path}."
        with together(advice), running(what) as report:
            if s.solver == "lbfgs":
                self.model.params = self._fit_lbfgs(silent, reports=reports)
            else:
                with nullcontext() if place is None else place.claimed(resume=resume):
                    try:
                        trained = self._fit_adamw(epochs, silent, reports=reports, place=place, resume=resume)
                    except DivergedError as error:
                        if place is not None and is_first():
                            place.end()
                        raise self._explained(error) from None
                if self.interrupted:
                    report_interruption(trained.epoch, epochs, self.best_epoch, place)
                assert trained.kept is not None  # the first epoch is always kept
                self.model.params = self._adjusted(trained.kept)
            learned = warn_if_useless(*self._held_out.predict(self.model.params))
            known = reference(self._moments) if self.network.knows_reference else None
            measured, stopped = self._calibrate(known, silent, place)
            report(f"best epoch {self.best_epoch} of {self.logger.epoch[-1]}")
        self.state = GinsengClassifierState.of(
            self.network,
            params=self.model.params,
            genes=np.array(self.dataset.gene_names),
            label_keys=np.array(self.dataset.label_names),
            label_values=np.arange(self.n_classes),
            n_genes=self.n_genes,
            n_classes=self.n_classes,
            normalize=s.normalize,
            target_sum=s.target_sum,
            library_size=s.library_size,
            history=self.logger.to_dict(),
            reference=known,
            calibration=measured,
            other_names=self.dataset.other_names,
            levels=self.dataset.levels,
            info={
                "versions": {name: version(name) for name in ("ginseng", "jax", "anndata")},
                "n_train": int(self.keep.sum()),
                "n_holdout": int(self.holdout.sum()),
                "learned": learned,
                "best_epoch": self.best_epoch,
                "interrupted": self.interrupted,
                "seconds": round(time.time() - self._started, 3),
                "seed": int(s.seed),
                "date": time.strftime("%Y-%m-%d", time.gmtime(self._started)),
                "data": describe_data(self.dataset),
            },
        )
        if place is not None and is_first() and not stopped:
            place.end()
        return self.model, self.state

    def _run(self, epochs: int) -> dict[str, Any]:
        """Return everything that determines the weights, with defaults resolved."""
        used = dataclasses.replace(
            self.settings, config=dataclasses.asdict(self.network), epochs=epochs, lr=self.lr,
            batch_size=self.batch_size, monitor=self.monitor, n_streams=self.n_streams,
        )  # fmt: skip
        return describe_run(self.dataset, self.holdout, used)

    def _init(self) -> Params:
        s = self.settings
        params = self.model.init()
        if self.network.standardizes and s.standardize:
            weigh = s.weigh_genes and self.network.weighs and s.solver == "adamw"
            kinds = fit_standardization(self._moments, floor=s.scale_floor, weigh=weigh)
            params["input"] = of_members(*kinds, shapes=params["input"], n_uncentered=s.n_uncentered)
        return params

    @functools.cached_property
    def _moments(self) -> Moments:
        return read_moments(self.dataset.source, self.keep, self.n_classes, self.normalization, seed=self.settings.seed)

    def _adjusted(self, params: Params) -> Params:
        """Apply the logit adjustment, which favours small classes."""
        if not (self.settings.balance_train and self.settings.logit_adjustment):
            return params
        sizes = np.log(np.maximum(np.bincount(self.dataset.labels[self.keep], minlength=self.n_classes), 1))
        offset: Any = (-self.settings.logit_adjustment * (sizes - sizes.mean())).astype(np.float32)
        return self.network.with_offset(params, offset)

    def _fit_lbfgs(self, silent: bool, *, reports: bool, interrupted: Callable[[], bool] = lambda: False) -> Params:
        n, mesh = int(self.keep.sum()), global_mesh()
        size = min(self.network.cells_at_once or 4096, n)
        # each process reads all cells, as the sums are over all of them, and passes on its part of each batch
        read = partial(
            stream_own, self.dataset.source, self.keep, own=own_cells(mesh, rounded_up(mesh, size)), batch_size=size,
            n_per_window=1, n_epoch=n_batches(n, size), shuffle=False,
        )  # fmt: skip
        with progress(desc="Training", unit="iteration", silent=silent) as bar:

            def after_each() -> None:
                bar.update()
                if interrupted():
                    raise KeyboardInterrupt

            params, loss, self.best_epoch = minimum(
                from_first(self._init()), lambda: prefetch(read()), architecture=self.network,
                normalization=self.normalization, C=self.settings.C, n_cells=n, after_each=after_each,
            )  # fmt: skip
        found = self._held_out.measure(params)
        self.logger.update(self.best_epoch, loss, **{f"holdout_{name}": value for name, value in found.items()})
        self.logger.report(silent or not reports)
        return params

    def _fit_adamw(
        self,
        epochs: int,
        silent: bool,
        *,
        reports: bool,
        place: Checkpoint | None,
        resume: bool,
        interrupted: Callable[[], bool] | None = None,
    ) -> Progress:
        """Train until the end, or until `interrupted` says so; ctrl-C if None."""
        n_epoch = n_batches(int(self.keep.sum()), self.batch_size)
        step = Step(
            self.dataset.source, self.network, self.normalization, self.settings,
            n_window=self.n_window, batch_size=self.batch_size,
        )  # fmt: skip
        plan = self._plan(epochs, n_epoch, step)
        at = place.read(*step.shapes(self.n_genes, self.n_classes)) if place and resume else None
        check_same("other checkpoints", "none" if at is None else f"{at.epoch} {at.window} {at.step}")
        writes = place if is_first() else None
        if at is None or not at.finished:
            # validation is not needed before the end of the first epoch
            step_compiled, validation_compiled = ahead(
                partial(step.compile, self.n_classes),
                partial(self._held_out.compile, self.n_classes),
            )
            if at is None:
                params = from_first(self._init())
                at = Progress(params, step.optimizer.init(params), self.logger)
            at.params, at.optimizer = step.place((at.params, at.optimizer))
            step_compiled.result()

            def measure(params: Params) -> Measures:
                validation_compiled.result()
                found = self._held_out.measure(self._adjusted(params))
                return {name: float(value) for name, value in from_first(found).items()}

            with interruptible() if interrupted is None else nullcontext(interrupted) as stops:
                self.interrupted = run(
                    at, plan, step, measure, interrupted=stops, place=writes, silent=silent, reports=reports
                )
        self.logger, self.best_epoch, self._started = at.logger, at.best_epoch or None, at.started
        return at

    def _explained(self, error: DivergedError) -> ValueError:
        return divergence(
            error.losses, error.epoch, lr=self.lr, first=self._init(), logits=self._held_out.logits,
            source=self.dataset.source, keep=self.keep, gene_names=self.dataset.gene_names,
        )  # fmt: skip

    def _calibrate(
        self, known: dict[str, np.ndarray] | None, silent: bool, place: Checkpoint | None
    ) -> tuple[dict[str, np.ndarray] | None, bool]:
        """Return the calibration if there is one, and whether training or calibration was interrupted."""
        if known is None or not calibrates(self.settings, int(self.keep.sum())):
            return None, self.interrupted
        final = Trained(self.model.params, known, self.keep, self.holdout)
        return calibrated(
            final, self.dataset, self.settings,
            fit=self._refit, lr=self.lr, interrupted=self.interrupted, silent=silent, place=place,
        )  # fmt: skip

    def _refit(self, keep: np.ndarray, interrupted: Callable[[], bool]) -> tuple[Params, dict[str, np.ndarray]] | None:
        """Train again on these cells, as long as the model was; return weights and reference, None if interrupted."""
        if any_process(interrupted()):
            return None
        part = copy.copy(self)
        part.keep, part.holdout = keep, np.zeros_like(keep)
        part._held_out = Holdout(self.dataset.source, part.holdout, self.network, self.normalization)
        part.logger = GinsengLogger()
        part.__dict__.pop("_moments", None)
        if self.settings.solver == "lbfgs":
            params = part._fit_lbfgs(True, reports=False, interrupted=interrupted)
        else:
            epochs = self.best_epoch or 1
            trained = part._fit_adamw(epochs, True, reports=False, place=None, resume=False, interrupted=interrupted)
            if trained.kept is None or part.interrupted:
                return None
            params = part._adjusted(trained.kept)
        return params, reference(part._moments)

    def _plan(self, epochs: int, n_epoch: int, step: Step) -> Plan:
        s = self.settings
        weights = None
        if s.balance_train:
            weights = class_weights(self.dataset.labels[self.keep], self.n_classes, s.balance_exponent)
        drawn = s.balance_by == "sampling"
        windows = partial(
            stream_own, self.dataset.source, self.keep, own=step.own, batch_size=self.batch_size, seed=s.seed,
            n_per_window=step.shape[0], n_epoch=n_epoch, n_streams=self.n_streams, weights=weights if drawn else None,
            form=step.feed.form,
        )  # fmt: skip
        return Plan(
            epochs=epochs,
            n_epoch=n_epoch,
            rates=warmup_cosine(epochs * n_epoch, self.lr),
            windows=lambda epoch: windows(epoch=epoch),
            weights=None if drawn else weights,
            monitor=self.monitor,
            patience=s.patience,
        )
