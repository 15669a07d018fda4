from __future__ import annotations

import dataclasses
import math
import types
from numbers import Integral, Real
from typing import Any, Literal, TypedDict, Union, get_args, get_origin, get_type_hints

from ginseng._core import registry
from ginseng._core.normalize import LIBRARY_SIZE, LibrarySize
from ginseng._core.steps import Normalization
from ginseng._repr import Card


@dataclasses.dataclass(repr=False)
class GinsengClassifierTrainerSettings:
    """Training settings.

    Attributes
    ----------
    rate
        Augmentation: probability of masking a count. None to disable.
    lam_max
        Augmentation: maximum mean of the Poisson background counts. None to disable.
    lower, upper
        Augmentation: in each batch, at least `lower` and fewer than `upper` genes are set to zero. None to disable.
    fold_change
        Augmentation: simulates another study in a quarter of the cells of each batch, by multiplying each gene with a
        random factor that these cells share. This is the standard deviation of its natural logarithm, for example 0.6;
        0 to disable. Improves accuracy on other studies at some cost within the study. Not for `"instance"`, nor for
        log-normalised values.
    hidden_dim
        Hidden units; the architecture's default if None.
    dropout_rate
        Dropout rate in training; the architecture's default if None.
    batch_size
        Cells per step; the architecture's default if None, which may be larger from 50,000 training cells on ("gated":
        256 instead of 128). At most the number of training cells.
    lr
        Peak learning rate; the architecture's default if None. Linear warm-up over the first tenth of the steps (up to
        100), then cosine decay.
    betas, eps
        Parameters of AdamW.
    weight_decay
        Weight decay of AdamW, for weight matrices only.
    normalize
        Whether the data are counts, which are then scaled to `target_sum` per cell and log1p-transformed. If False, the
        values are used as they are and should be log-normalised.
    target_sum
        Counts per cell after scaling; the number of genes if None.
    library_size
        Genes over which the counts of a cell are summed before scaling: those of the model, or all measured ones. The
        former is more accurate (see the concepts in the documentation) and independent of what else was measured.
    holdout_fraction
        Fraction of each class, or of the groups, to hold out for validation. 0 trains on all cells.
    balance_train
        Whether to give cells of small classes a higher sampling probability or weight.
    balance_by
        `"sampling"`, or `"weights"` to sample uniformly and weight the loss of each cell instead.
    balance_exponent
        Strength of the balancing: the probability or weight of a cell is the size of its class to the power of minus
        this. With 1, all classes are sampled equally often.
    logit_adjustment
        With `balance_train`, lowers the logit of each class after training by this times the logarithm of its number of
        training cells (Menon et al. 2021). Improves balanced accuracy, at the cost of overall accuracy (for class
        frequencies as in training) and of calibration. Without effect for `"lbfgs"`.
    group_level
        Whether to hold out whole groups.
    group_mode
        `"fraction"` holds out `holdout_fraction` of the groups, `"loo"` a single one.
    seed
        Seed of the initial weights, batches, dropout, noise and holdout.
    architecture
        Name of the network.
    config
        Other settings of the network, such as `{"gate_dim": 32}`.
    epochs
        Passes over the data. If None, 10, but as many as it takes to see 30,000 cells in total (or the architecture's
        default; at most 100 passes), and so few that it sees at most 400,000 (but at least 3 passes).
    label_smoothing
        Fraction of each target that is spread over all classes. Makes the model underconfident: on other studies, the
        probabilities are then far too low.
    monitor
        Holdout measure for model selection and early stopping: `"loss"`, or `"macro_f1"`, in which all classes count
        equally. The architecture's default if None.
    patience
        Training stops after this many epochs with a holdout loss more than a standard error above the lowest, or with a
        macro F1 below the highest.
    solver
        `"adamw"`, or `"lbfgs"`, which trains on all cells at once until convergence, without balancing, dropout, noise
        or smoothing. With `"linear"`, the result is scikit-learn's multinomial logistic regression. Slower, and usually
        not more accurate.
    C
        For `"lbfgs"`: inverse strength of the L2 penalty on weight matrices, as in
        :class:`sklearn.linear_model.LogisticRegression`.
    standardize
        Whether genes are centred and scaled, for architectures that support it.
    calibrate
        Whether to measure, on cells that were not trained on, how sure the model may be of its labels and how unlike
        the reference a cell is (see the concepts in the documentation). If fewer than 750 cells are held out, this
        trains again, on two thirds of the cells, until 1,000 others were measured on: up to three times, and always
        three times with groups. If None, with `"adamw"` only. Never with fewer than 200 cells. With `"types"`, it
        trains three times more, each time without a third of the types, to measure which types would be noticed if the
        reference lacked them.
    n_uncentered
        Number of ensemble members that read all genes on one common scale without centring, instead of standardising
        each gene; one in four if None. Standardised members are best within a study, the others on other studies (see
        the accuracy in the documentation).
    scale_floor
        Minimum standard deviation (of log1p counts per `target_sum`) by which genes are scaled, for architectures that
        standardise their input.
    weigh_genes
        Whether to weight genes by the fraction of their variance that lies between classes too (see the concepts in the
        documentation), for architectures that support it. Prevents many uninformative genes from dominating. Without
        effect for `"lbfgs"`.
    n_streams
        Number of separately shuffled parts of the cells of which each batch is composed. If None, the number of
        processes that train together, each of which then reads a part of its own; 1 for cells in memory, for a dataset
        of fewer windows (of 8,192 cells) than processes, and in a single process. The weights depend on it, and not on
        how many processes read the streams.
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
    calibrate: bool | Literal["types"] | None = None
    fold_change: float = 0.0
    n_streams: int | None = None

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
            "n_streams": (self.n_streams is None or self.n_streams >= 1, "None or at least 1"),
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
            "calibrate": (self.calibrate in (None, True, False, "types"), "None, True, False or 'types'"),
            "C": (0 < self.C < math.inf, "above 0 and finite"),
        }
        for name, (valid, wanted) in checks.items():
            if not valid:
                msg = f"`{name}` must be {wanted}, not {getattr(self, name)!r}."
                raise ValueError(msg)
        _ = self.network

    def _card(self) -> Card:
        changed: dict[str, Any] = {}
        defaults: dict[str, Any] = {}
        for setting in dataclasses.fields(self):
            value = getattr(self, setting.name)
            made: Any = setting.default_factory
            default = made() if setting.default is dataclasses.MISSING else setting.default
            (defaults if value == default else changed)[setting.name] = value
        rows = {name: repr(value) for name, value in changed.items()}
        rows["by default" if changed else "all by default"] = ", ".join(f"{n}={v!r}" for n, v in defaults.items())
        return Card("GinsengClassifierTrainerSettings", rows)

    def __repr__(self) -> str:
        return self._card().text()

    def _repr_html_(self) -> str:
        return self._card().html()

    @property
    def normalization(self) -> Normalization:
        """How counts become input."""
        return Normalization(self.normalize, self.target_sum, self.library_size)

    @property
    def network(self) -> registry.Architecture:
        """The architecture with its settings."""
        given = registry.given(hidden_dim=self.hidden_dim, dropout_rate=self.dropout_rate)
        if self.solver == "lbfgs":
            given["n_members"] = 1  # all members would be the same
        network = registry.get(self.architecture, given | self.config)
        if not network.trains:
            names = ", ".join(map(repr, registry.names()))
            msg = f"{self.architecture!r} cannot be trained here. Architectures that can: {names}."
            raise ValueError(msg)
        return network


class SettingsByName(TypedDict, total=False):
    """The same settings as keywords, from which editors complete calls such as `gs.tl.train(adata, key, lr=1e-3)`."""

    rate: float | None
    lam_max: float | None
    lower: int | None
    upper: int | None
    hidden_dim: int | None
    dropout_rate: float | None
    batch_size: int | None
    lr: float | None
    betas: tuple[float, float]
    eps: float
    weight_decay: float
    normalize: bool
    target_sum: float | None
    holdout_fraction: float
    balance_train: bool
    group_level: bool
    group_mode: Literal["fraction", "loo"]
    seed: int
    architecture: str
    config: dict[str, Any]
    epochs: int | None
    label_smoothing: float
    balance_exponent: float
    patience: int
    scale_floor: float
    balance_by: Literal["sampling", "weights"]
    monitor: Literal["loss", "macro_f1"] | None
    standardize: bool
    solver: Literal["adamw", "lbfgs"]
    C: float
    library_size: LibrarySize
    logit_adjustment: float
    weigh_genes: bool
    n_uncentered: int | None
    calibrate: bool | Literal["types"] | None
    fold_change: float
    n_streams: int | None


def _check_type(name: str, value: Any, kind: Any) -> None:
    """Refuse values of the wrong type for numeric settings; NumPy scalars are accepted."""
    kinds = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    numbers = {int: (Integral, "a whole number"), float: (Real, "a number")}
    wanted = [numbers[k] for k in kinds if k in numbers]
    if not wanted or (value is None and type(None) in kinds):
        return
    accepted, described = wanted[0]
    if isinstance(value, bool) or not isinstance(value, accepted):
        msg = f"`{name}` must be {described}{' or None' if type(None) in kinds else ''}, not {value!r}."
        raise ValueError(msg)
