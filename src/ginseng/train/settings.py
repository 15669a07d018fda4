from __future__ import annotations

import dataclasses
import math
import types
from numbers import Integral, Real
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ginseng._core import registry
from ginseng._core.normalize import LIBRARY_SIZE, LibrarySize


@dataclasses.dataclass
class GinsengClassifierTrainerSettings:
    """How to train a model.

    Attributes
    ----------
    rate
        Augmentation: probability of masking a count. None for none.
    lam_max
        Augmentation: largest mean of Poisson background counts. None for none.
    lower, upper
        Augmentation: in each batch at least `lower` and fewer than `upper` genes are set to zero. None for none.
    fold_change
        Augmentation: in each batch, one cell in four is counted as another study would, each gene times a factor that
        is the same in all of these cells; the standard deviation of its natural logarithm, 0.6 say. 0 for none. It
        helps in other studies and costs some accuracy within the study. Not for `"instance"`, nor for values that are
        log-normalised already.
    hidden_dim
        Hidden units; the architecture's own number if None.
    dropout_rate
        Dropout in training; the architecture's own rate if None.
    batch_size
        Cells per step; as many as suit the architecture if None. Cut to the number of cells that are trained on.
    lr
        Highest learning rate; the one that suits the architecture if None. It rises for the first tenth of the steps
        (at most 100) and then falls as a cosine.
    betas, eps
        Of AdamW.
    weight_decay
        Of AdamW; acts on matrices only.
    normalize
        Whether the data are counts, to be scaled to `target_sum` a cell and log1p to be taken. False takes them as
        they are: log-normalised by you.
    target_sum
        Counts a cell after scaling; the number of genes if None.
    library_size
        Whether the counts of a cell are summed over the genes of the model before scaling, or over all measured genes.
        The former is more accurate (see the concepts in the documentation), and independent of what else was measured.
    holdout_fraction
        Share of each class, or of the groups, that is held out to watch training. 0 trains on all cells.
    balance_train
        Whether cells of small classes are drawn more often, or weigh more. Every cell can still be drawn.
    balance_by
        `"sampling"`, or `"weights"`: cells are drawn alike, and the loss of each is weighted instead.
    balance_exponent
        How much more: a cell is drawn, or weighs, with its class' size to the power of minus this. 1 draws all classes
        equally often.
    logit_adjustment
        Once trained, the logit of each class is lowered by this times the logarithm of its number of training cells
        (Menon et al. 2021), if `balance_train`: for balanced accuracy, at the cost of accuracy where classes are as
        frequent as in training, and of probabilities that mean what they say. `"lbfgs"` takes none.
    group_level
        Whether to hold out whole groups.
    group_mode
        `"fraction"` of the groups, or one: `"loo"`.
    seed
        Draws weights, batches, dropout, noise and the holdout.
    architecture
        Name of the network.
    config
        Its other settings, as `{"gate_dim": 32}`.
    epochs
        Passes over the data. If None, 10; more where there are few cells, so that 30,000 are seen in all, or what suits
        the architecture (at the most 100 passes), and fewer where there are many, so that it is not more than 400,000
        (but at least 3).
    label_smoothing
        Share of each target that is spread over all classes. It makes the model modest: on cells of another study the
        probabilities are then too low by far.
    monitor
        What is watched on the holdout, to keep the best weights and to stop: `"loss"`, or `"macro_f1"`, by which each
        class counts alike; what suits the architecture if None.
    patience
        Training stops after so many epochs with a holdout loss above the lowest by more than its standard error, or
        with a macro F1 below the highest.
    solver
        `"adamw"`, or `"lbfgs"`: all cells at once, until the minimum is reached, each cell counting alike, without
        dropout, noise or smoothing. Of `"linear"` this makes scikit-learn's multinomial logistic regression. Slower,
        and no more accurate as a rule.
    C
        Of `"lbfgs"`: inverse strength of the L2 penalty on matrices, as in
        :class:`sklearn.linear_model.LogisticRegression`.
    standardize
        Whether genes are centred and scaled, for architectures that do so.
    n_uncentered
        Of the members of an architecture with several, how many read all genes on one scale and from zero, instead of
        each gene by how far it is from its mean, in deviations; one in four if None. The latter tell types apart best
        within a study, the former hold up best in others (see the accuracy in the documentation).
    scale_floor
        Genes are centred and scaled by their deviation, but by no less than this (on log1p counts per `target_sum`),
        for architectures that standardise their input.
    weigh_genes
        Whether genes then also weigh by how much of their variance lies between the classes (see the concepts in the
        documentation), for architectures that do so. So many genes can be read without those that say little
        drowning the others. `"lbfgs"` does not.
    """

    rate: float | None = None
    lam_max: float | None = None
    lower: int | None = None
    upper: int | None = None
    hidden_dim: int | None = None
    dropout_rate: float | None = None
    batch_size: int | None = None
    lr: float | None = None
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.01
    normalize: bool = True
    target_sum: float | None = 1e4
    holdout_fraction: float = 0.05
    balance_train: bool = True
    group_level: bool = False
    group_mode: Literal["fraction", "loo"] = "fraction"
    seed: int = 0
    architecture: str = "gated"
    config: dict[str, Any] = dataclasses.field(default_factory=dict)
    epochs: int | None = None
    label_smoothing: float = 0.0
    balance_exponent: float = 1.0
    patience: int = 5
    scale_floor: float = 0.5
    balance_by: Literal["sampling", "weights"] = "sampling"
    monitor: Literal["loss", "macro_f1"] | None = None
    standardize: bool = True
    solver: Literal["adamw", "lbfgs"] = "adamw"
    C: float = 1.0
    library_size: LibrarySize = LIBRARY_SIZE
    logit_adjustment: float = 0.0
    weigh_genes: bool = True
    n_uncentered: int | None = None
    fold_change: float = 0.0

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(type(self)).items():
            _check_type(name, getattr(self, name), kind)
        checks = {
            "rate": (self.rate is None or 0 <= self.rate < 1, "None or in [0, 1)"),
            "lam_max": (self.lam_max is None or self.lam_max >= 0, "None or at least 0"),
            "lower": (self.lower is None or self.lower >= 0, "None or at least 0"),
            "upper": (
                not self.lower if self.upper is None else self.upper >= (self.lower + 1 if self.lower else 0),
                "above `lower`" if self.lower else "None or at least 0",
            ),
            "batch_size": (self.batch_size is None or self.batch_size >= 1, "None or at least 1"),
            "lr": (self.lr is None or self.lr > 0, "None or above 0"),
            "betas": (len(self.betas) == 2 and all(0 <= b < 1 for b in self.betas), "two numbers in [0, 1)"),
            "eps": (self.eps > 0, "above 0"),
            "weight_decay": (self.weight_decay >= 0, "at least 0"),
            "target_sum": (self.target_sum is None or self.target_sum > 0, "None or above 0"),
            "holdout_fraction": (0 <= self.holdout_fraction < 1, "in [0, 1)"),
            "group_mode": (self.group_mode in ("fraction", "loo"), "'fraction' or 'loo'"),
            "seed": (self.seed >= 0, "at least 0"),
            "fold_change": (0 <= self.fold_change <= 3, "in [0, 3]"),
            "n_uncentered": (self.n_uncentered is None or self.n_uncentered >= 0, "None or at least 0"),
            "epochs": (self.epochs is None or self.epochs >= 1, "None or at least 1"),
            "label_smoothing": (0 <= self.label_smoothing < 1, "in [0, 1)"),
            "balance_exponent": (0 <= self.balance_exponent <= 1, "in [0, 1]"),
            "logit_adjustment": (0 <= self.logit_adjustment <= 1, "in [0, 1]"),
            "patience": (self.patience >= 1, "at least 1"),
            "scale_floor": (self.scale_floor > 0, "above 0"),
            "balance_by": (self.balance_by in ("sampling", "weights"), "'sampling' or 'weights'"),
            "monitor": (self.monitor in (None, "loss", "macro_f1"), "None, 'loss' or 'macro_f1'"),
            "solver": (self.solver in ("adamw", "lbfgs"), "'adamw' or 'lbfgs'"),
            "library_size": (self.library_size in ("all_genes", "model_genes"), "'all_genes' or 'model_genes'"),
            "C": (0 < self.C < math.inf, "above 0 and finite"),
        }
        for name, (valid, wanted) in checks.items():
            if not valid:
                msg = f"`{name}` must be {wanted}, not {getattr(self, name)!r}."
                raise ValueError(msg)
        _ = self.network

    @property
    def network(self) -> registry.Architecture:
        """The architecture with its settings."""
        given = registry.given(hidden_dim=self.hidden_dim, dropout_rate=self.dropout_rate)
        if self.solver == "lbfgs":
            given["n_members"] = 1  # there is nothing that members would differ in
        network = registry.get(self.architecture, given | self.config)
        if not network.trains:
            names = ", ".join(map(repr, registry.names()))
            msg = f"The weights of {self.architecture!r} were fitted elsewhere. Architectures that train: {names}."
            raise ValueError(msg)
        return network


def _check_type(name: str, value: Any, kind: Any) -> None:
    """Refuse what is no number where a number is wanted; what NumPy makes of numbers is taken."""
    kinds = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    numbers = {int: (Integral, "a whole number"), float: (Real, "a number")}
    wanted = [numbers[k] for k in kinds if k in numbers]
    if not wanted or (value is None and type(None) in kinds):
        return
    accepted, described = wanted[0]
    if isinstance(value, bool) or not isinstance(value, accepted):
        msg = f"`{name}` must be {described}{' or None' if type(None) in kinds else ''}, not {value!r}."
        raise ValueError(msg)
