from __future__ import annotations

import copy
import dataclasses
import functools
import math
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import log_softmax
from sklearn.metrics import accuracy_score, f1_score

from ginseng._core import registry
from ginseng._core.architecture import Params
from ginseng._core.optim import AdamW, warmup_cosine
from ginseng._core.steps import Batch, Noise, Normalization, predict_logits, train_window
from ginseng._errors import warn
from ginseng._logging import progress, running, warning
from ginseng.data._batches import Window, batches_per_window, class_weights, empty_window, n_batches, prefetch, stream
from ginseng.data._memory import MemoryDataset
from ginseng.data._splits import held_out
from ginseng.data.dataset import GinsengDataset
from ginseng.model.classifier import GinsengClassifier
from ginseng.model.state import GinsengClassifierState
from ginseng.train.checkpoint import Checkpoint, Snapshot, describe_run
from ginseng.train.interrupt import interruptible
from ginseng.train.lbfgs import minimum
from ginseng.train.logger import GinsengLogger
from ginseng.train.settings import GinsengClassifierTrainerSettings
from ginseng.train.standardize import Moments, fit_standardization, read_moments, reference

#: Where no number of epochs is given: this many, but so many that as many cells are seen as suit the architecture,
#: and so few that it is not more than 400,000; at the most 100 and at the least 3.
EPOCHS, MOST_SEEN = 10, 400_000
MOST_EPOCHS, FEWEST_EPOCHS = 100, 3


class Validation(NamedTuple):
    """How a model does on the holdout, without dropout; NaN if nothing is held out."""

    loss: float
    error: float  # standard error of the loss
    accuracy: float
    f1: float


def choose_holdout(
    labels: np.ndarray,
    groups: np.ndarray | None,
    group_names: Sequence[str] | np.ndarray | None,
    settings: GinsengClassifierTrainerSettings,
) -> np.ndarray:
    """Return which cells these settings hold out: (cells,) bool."""
    return held_out(
        labels, groups, group_names,
        fraction=settings.holdout_fraction, by_group=settings.group_level, mode=settings.group_mode,
        rng=np.random.default_rng([settings.seed, 2**31]),  # a stream of its own
    )  # fmt: skip


class GinsengClassifierTrainer:
    """Trains a model on a dataset.

    Parameters
    ----------
    dataset
        A :class:`ginseng.data.GinsengDataset`, or the path of one. If it has a split, its test part is the holdout;
        otherwise the settings say what is held out, and nothing is written to the dataset.
    settings
        How to train.

    Attributes
    ----------
    settings, dataset
        As given.
    logger : :class:`ginseng.train.GinsengLogger`
        Losses and metrics of each epoch.
    holdout : :class:`numpy.ndarray`
        (cells,) bool, the cells that training does not see.
    model : :class:`ginseng.model.GinsengClassifier`
        The network with its weights.
    state : :class:`ginseng.model.GinsengClassifierState`
        The trained model, after :meth:`fit`.

    Raises
    ------
    ValueError
        If groups are to be held out and there are none, or values would be log-normalised twice.
    """

    def __init__(
        self,
        dataset: GinsengDataset | MemoryDataset | str | Path,
        settings: GinsengClassifierTrainerSettings | None = None,
    ) -> None:
        self.dataset: Any = GinsengDataset(dataset) if isinstance(dataset, str | Path) else dataset
        self.settings = GinsengClassifierTrainerSettings() if settings is None else copy.copy(settings)
        stored = isinstance(self.dataset, GinsengDataset)  # what is in memory was judged before it was read
        if stored and self.settings.normalize and not getattr(self.dataset, "normalizes", True):
            where = getattr(self.dataset, "path", "The dataset")
            msg = f"{where} has log-normalised values, as it was told: pass `normalize=False` here as well."
            raise ValueError(msg)
        if stored and self.settings.normalize and self.dataset.source.counts.dtype.kind == "f":
            warn(
                "The values are not whole numbers: they look normalised, and are log-normalised once more. Train on "
                "counts (`layer=`), or say `normalize=False`."
            )
        self.holdout = self._hold_out()
        self.keep = ~self.holdout
        self.network = self.settings.network
        recipe = self.network.recipe
        self.lr = recipe.lr if self.settings.lr is None else self.settings.lr
        self.batch_size = recipe.batch_size if self.settings.batch_size is None else self.settings.batch_size
        self.monitor = recipe.monitor if self.settings.monitor is None else self.settings.monitor
        s = self.settings
        self.normalization = Normalization(s.normalize, s.target_sum, s.library_size)
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

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.dataset.label_names)

    def _hold_out(self) -> np.ndarray:
        s, data = self.settings, self.dataset
        if getattr(data, "has_split", False):
            out = np.asarray(data.in_split("test"))
        else:
            out = choose_holdout(data.labels, data.groups, data.group_names, s)
        unseen = np.setdiff1d(np.unique(data.labels[out]), np.unique(data.labels[~out]))
        if len(unseen):
            names = ", ".join(repr(data.label_names[i]) for i in unseen)
            warn(f"No cell of {names} is left to train on: all are in the groups held out.")
        return out

    @property
    def epochs(self) -> int:
        """Number of epochs where none is given."""
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

        The weights are those of the latest epoch whose loss on the holdout is not above the lowest by more than its
        standard error (the one-standard-error rule, Breiman et al. 1984): on a small holdout the lowest loss is a
        matter of chance. If macro F1 is watched, they are those of the latest epoch with the highest. Without a holdout
        they are those of the last epoch. Same seed, same machine: same weights, also if training was interrupted and
        resumed.

        Ctrl-C ends training after the batches that are being worked on. A checkpoint is written if there is a place
        for it, and the best weights so far come back, with `state.info["interrupted"]`. A second ctrl-C stops at once.

        Parameters
        ----------
        epochs
            Passes over the data; those of the settings if None.
        silent
            Whether to show neither progress nor reports.
        reports
            Whether to print a line for each epoch.
        checkpoint
            File that takes all that training needs to go on: after each epoch (of quick ones not all, so that no more
            than 2% of the time goes into it), and every ten minutes of a long one. It is kept when training has ended,
            and then gives the model at once. If None, a dataset on disk has one beside it, named after its folder,
            which is removed at the end; cells in memory have none. False for none. The solver "lbfgs" has none.
        resume
            Whether to go on from the checkpoint. The run must be the same: the cells, the genes, the settings. Without
            a checkpoint, training starts from the beginning.

        Raises
        ------
        ValueError
            If there is no epoch to train for, the loss is no longer finite, or the checkpoint is of another run.
        FileExistsError
            If `checkpoint` is a file that is no checkpoint of this run.
        KeyboardInterrupt
            If ctrl-C was pressed before the first epoch had ended, or twice.
        """
        s = self.settings
        epochs = self.epochs if epochs is None else epochs
        if epochs < 1:
            msg = f"`epochs` must be at least 1, not {epochs!r}."
            raise ValueError(msg)
        place = None
        if s.solver != "lbfgs":
            used = dataclasses.replace(s, epochs=epochs, lr=self.lr, batch_size=self.batch_size, monitor=self.monitor)
            run = describe_run(self.dataset, self.holdout, used, self.network)
            place = Checkpoint.of(self.dataset, run, checkpoint, resume=resume)
        self.logger, self.best_epoch, self.interrupted = GinsengLogger(), None, False
        self._started = time.time()
        with running(f"training of {self.network.name!r} on {int(self.keep.sum()):,} cells") as report:
            if s.solver == "lbfgs":
                self.model.params = self._fit_exactly(silent, reports=reports)
            else:
                trained = self._fit(epochs, silent, reports=reports, place=place, resume=resume)
                self.model.params = self._adjusted(trained)
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
            reference=reference(self._moments) if self.network.knows_reference else {},
            info={
                "versions": {name: version(name) for name in ("ginseng", "jax", "anndata")},
                "n_train": int(self.keep.sum()),
                "n_holdout": int(self.holdout.sum()),
                "best_epoch": self.best_epoch,
                "interrupted": self.interrupted,
                "seconds": round(time.time() - self._started, 3),
                "seed": int(s.seed),
            },
        )
        if place is not None and not self.interrupted:
            place.end()
        return self.model, self.state

    def _init(self) -> Params:
        s = self.settings
        params = self.model.init()
        if self.network.standardizes and s.standardize:
            weigh = s.weigh_genes and self.network.weighs and s.solver == "adamw"
            centred, uncentred = fit_standardization(self._moments, floor=s.scale_floor, weigh=weigh)
            n = self.network.n_members
            kinds = [centred] * (n - self.n_uncentered) + [uncentred] * self.n_uncentered
            params["input"] = {  # with NumPy: nothing to compile
                name: jax.device_put(np.stack([kind[name] for kind in kinds]).reshape(a.shape))
                for name, a in params["input"].items()
            }
        return params

    @functools.cached_property
    def _moments(self) -> Moments:
        batch = min(4096, int(self.keep.sum()))
        windows = stream(self.dataset.source, self.keep, batch_size=batch, n_per_window=1, seed=self.settings.seed)
        return read_moments(windows, self.n_classes, self.normalization)

    @property
    def noise(self) -> Noise:
        """What is done to the counts of each batch."""
        s = self.settings
        fold_change = s.fold_change if s.normalize and self.network.knows_reference else 0.0
        return Noise(s.rate, s.lam_max, s.lower, s.upper, fold_change)

    @property
    def n_uncentered(self) -> int:
        """Members that read all genes on one scale, from zero."""
        n = self.network.n_members
        return (n + 2) // 4 if self.settings.n_uncentered is None else min(self.settings.n_uncentered, n - 1)

    def _adjusted(self, params: Params) -> Params:
        """Return the parameters with the logits of large classes lowered, and those of small ones raised."""
        if not (self.settings.balance_train and self.settings.logit_adjustment):
            return params
        sizes = np.log(np.maximum(np.bincount(self.dataset.labels[self.keep], minlength=self.n_classes), 1))
        offset: Any = (-self.settings.logit_adjustment * (sizes - sizes.mean())).astype(np.float32)
        return self.network.with_offset(params, offset)

    def _fit_exactly(self, silent: bool, *, reports: bool) -> Params:
        n = int(self.keep.sum())
        read = partial(
            stream,
            self.dataset.source,
            self.keep,
            batch_size=min(self.network.cells_at_once or 4096, n),
            n_per_window=1,
            shuffle=False,
        )
        with progress(desc="Training", unit="iteration", silent=silent) as bar:
            params, loss, self.best_epoch = minimum(
                self._init(), lambda: prefetch(read()), architecture=self.network, normalization=self.normalization,
                C=self.settings.C, n_cells=n, after_each=bar.update,
            )  # fmt: skip
        found = self._validate(params)
        self.logger.update(self.best_epoch, loss, found.loss, found.accuracy, found.f1)
        self.logger.report(silent or not reports)
        return params

    def _fit(self, epochs: int, silent: bool, *, reports: bool, place: Checkpoint | None, resume: bool) -> Params:
        s = self.settings
        optimizer = AdamW((s.betas[0], s.betas[1]), s.eps, s.weight_decay)
        step_of = partial(
            train_window,
            architecture=self.network,
            optimizer=optimizer,
            normalization=self.normalization,
            noise=self.noise,
            label_smoothing=s.label_smoothing,
        )
        root = jax.random.key(s.seed)
        n_epoch = n_batches(int(self.keep.sum()), self.batch_size)
        n_window = batches_per_window(self.batch_size, self.n_genes, n_epoch)
        lr = warmup_cosine(epochs * n_epoch, self.lr)
        weights = None
        if s.balance_train:
            weights = class_weights(self.dataset.labels[self.keep], self.n_classes, s.balance_exponent)
        windows = partial(
            stream, self.dataset.source, self.keep,
            batch_size=self.batch_size, n_per_window=n_window, seed=s.seed,
            weights=weights if s.balance_by == "sampling" else None,
        )  # fmt: skip
        shapes = registry.shapes(self.network, self.n_genes, self.n_classes)
        at = place.read(shapes, jax.eval_shape(optimizer.init, shapes)) if place and resume else None
        if at is not None:
            self.logger, self.best_epoch = GinsengLogger.from_dict(at.history), at.best_epoch or None
            self._started -= at.seconds
            if at.finished and at.kept is not None:
                return at.kept
        # compiling takes longest of what comes before the first step, and validation is not needed before its end
        pool = ThreadPoolExecutor(1)
        step_compiled = pool.submit(self._compile_step, step_of, optimizer, root, n_window)
        validation_compiled = pool.submit(self._compile_validation)
        pool.shutdown(wait=False)
        if at is None:
            params = self._init()
            state = optimizer.init(params)
        else:
            params, state = jax.tree.map(jnp.array, (at.params, at.optimizer))
        step_compiled.result()
        kept: Params | None = None
        best, step, losses = Validation(math.inf, 0.0, 0.0, -1.0), 0, []
        first = done = 0  # epochs, and windows of the next one, that a checkpoint is ahead
        if at is not None:
            kept, best, step, losses = at.kept, Validation(*at.best.tolist()), at.step, [at.losses]
            first, done = at.epoch, at.window

        def snapshot(epoch: int, window: int = 0, *, finished: bool = False) -> Snapshot:
            return Snapshot(
                params=params,
                optimizer=state,
                kept=kept,
                history=self.logger.to_dict(),
                losses=np.concatenate([*losses, np.empty(0)]),
                best=np.array(best),
                epoch=epoch,
                window=window,
                step=step,
                best_epoch=self.best_epoch or 0,
                finished=finished,
                seconds=time.time() - self._started,
            )

        with (
            progress(desc="Training", total=epochs * n_epoch, initial=step, unit="batch", silent=silent) as bar,
            interruptible() as interrupted,
        ):
            for epoch in range(first, epochs):
                for window in prefetch(islice(windows(epoch=epoch), done, None)):
                    if weights is not None and s.balance_by == "weights":
                        window = window._replace(weight=window.weight * weights[window.y])
                    n = int(window.weight.any(axis=1).sum())
                    rates = np.resize(lr[step : step + n], n_window)
                    batches = Batch(*map(jnp.asarray, window))
                    params, state, loss = step_of(params, state, batches, n, rates, step, root)
                    losses.append(loss[:n])
                    step += n
                    done += 1
                    bar.update(n)
                    if not all(np.isfinite(loss).all() for loss in losses[-2:-1]):  # the latest is being computed
                        break
                    if interrupted():
                        break
                    if place is not None and place.is_due(epoch_ended=False):
                        place.write(snapshot(epoch, done))
                if not np.isfinite(np.concatenate(losses)).all() or not _finite(params):
                    raise self._divergence(np.concatenate(losses), epoch, place)
                if interrupted():
                    self.interrupted = True
                    if place is not None:
                        place.write(snapshot(epoch, done))
                    break
                train_loss = float(np.concatenate(losses).mean())
                validation_compiled.result()
                found = self._validate(self._adjusted(params))
                self.logger.update(epoch + 1, train_loss, found.loss, found.accuracy, found.f1)
                self.logger.report(silent or not reports)
                bar.set_postfix({k: f"{v:.3f}" for k, v in self.logger.latest().items()})
                if self.monitor == "loss":
                    best = found if found.loss < best.loss else best
                    keep = not found.loss > best.loss + best.error
                else:
                    keep = not found.f1 < best.f1  # of equals the latest: a small holdout has many
                    best = found if keep else best
                if keep:  # also if the holdout is empty and all is NaN, so that the last epoch is kept
                    kept, self.best_epoch = jax.tree.map(np.array, params), epoch + 1
                finished = epoch + 1 == epochs or epoch + 1 - (self.best_epoch or 0) >= s.patience
                done, losses = 0, []
                if place is not None and (place.is_due(epoch_ended=True) or finished):
                    place.write(snapshot(epoch + 1, finished=finished))
                if finished:
                    break
        if self.interrupted:
            self._report_interruption(epoch, epochs, place)
        assert kept is not None  # the first epoch is always kept
        return kept

    def _report_interruption(self, epoch: int, epochs: int, place: Checkpoint | None) -> None:
        """Say what has become of the training, and how to go on; raise if there is no model yet."""
        told = f"Training was interrupted in epoch {epoch + 1} of {epochs}. "
        if self.best_epoch is not None:
            told += f"The model is that of epoch {self.best_epoch}. "
        if place is None:
            told += "To be able to go on after an interruption, pass `checkpoint=` with the path of a file."
        else:
            told += f"To go on, train again with `resume=True`: the checkpoint is {place.path}."
        if self.best_epoch is None:
            raise KeyboardInterrupt(told)
        warning(told)

    def _divergence(self, losses: np.ndarray, epoch: int, place: Checkpoint | None) -> ValueError:
        """Return the error that says why the loss is no longer finite.

        The data are the cause if the weights that training started from give no finite logits either.
        """
        if place is not None:
            place.end()
        n = int(np.isfinite(losses).argmin()) if not np.isfinite(losses).all() else len(losses) - 1
        found = f"The training loss is {losses[n]} in epoch {epoch + 1}, batch {n + 1}. "
        first, peak = self._init(), np.zeros(self.n_genes)
        finite = _finite(first)
        batch = min(1024, len(self.keep))
        for window in stream(self.dataset.source, self.keep, batch_size=batch, n_per_window=1, shuffle=False):
            finite = finite and bool(np.isfinite(self._logits(first, window)).all())
            peak = np.maximum(peak, np.abs(window.x[0]).max(axis=0))
        if finite:
            return ValueError(
                f"{found}The data are not the cause: the weights that training started from take them. Lower the "
                f"learning rate (lr={self.lr:g}), to {self.lr / 10:g}, say."
            )
        gene = self.dataset.gene_names[int(peak.argmax())]
        return ValueError(
            f"{found}The data are the cause: values are up to {peak.max():.3g} (gene {gene!r}), too large to compute "
            "with. Repair or leave out the cells or genes that have them."
        )

    def _compile_step(self, step_of: Any, optimizer: AdamW, root: Any, n_window: int) -> None:
        """Compile the training step for windows of this shape; the first call finds it done."""
        params = registry.shapes(self.network, self.n_genes, self.n_classes)
        shape = (n_window, self.batch_size)
        arrays: Any = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in empty_window(shape, self.dataset.source)]
        rates = jax.ShapeDtypeStruct((n_window,), np.float32)
        step_of.func.lower(
            params, jax.eval_shape(optimizer.init, params), Batch(*arrays), 0, rates, 0, root, **step_of.keywords
        ).compile()

    def _compile_validation(self) -> None:
        """Compile the forward pass over held-out cells, if there are any; the first call finds it done."""
        if not self.holdout.any():
            return
        params = registry.shapes(self.network, self.n_genes, self.n_classes)
        window = empty_window((1, self.holdout_batch), self.dataset.source)
        x, total = (jax.ShapeDtypeStruct(a.shape[1:], a.dtype) for a in (window.x, window.total))
        how = {"architecture": self.network, "normalization": self.normalization}
        predict_logits.lower(params, x, total, **how).compile()

    @property
    def holdout_batch(self) -> int:
        """Held-out cells a forward pass."""
        return int(np.clip(self.holdout.sum(), 1, 1024))

    def _logits(self, params: Params, window: Window) -> np.ndarray:
        x, total = window.x[0], window.total[0]
        return np.asarray(predict_logits(params, x, total, architecture=self.network, normalization=self.normalization))

    def _validate(self, params: Params) -> Validation:
        if not self.holdout.any():
            return Validation(math.nan, math.nan, math.nan, math.nan)
        logits, y = [], []
        for window in prefetch(
            stream(self.dataset.source, self.holdout, batch_size=self.holdout_batch, n_per_window=1, shuffle=False)
        ):
            real = window.weight[0] > 0
            logits.append(self._logits(params, window)[real])
            y.append(window.y[0, real])
        all_logits, all_y = np.concatenate(logits), np.concatenate(y)
        predicted = all_logits.argmax(axis=1)
        losses = -log_softmax(all_logits, axis=1)[np.arange(len(all_y)), all_y]
        return Validation(
            float(losses.mean()),
            float(losses.std() / math.sqrt(len(losses))),
            float(accuracy_score(all_y, predicted)),
            float(f1_score(all_y, predicted, average="macro", zero_division=0)),
        )


def _finite(params: Params) -> bool:
    return all(np.isfinite(a).all() for a in jax.tree.leaves(params))
