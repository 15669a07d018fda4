"""Models that can be compared: networks and scikit-learn estimators behind one interface."""

from __future__ import annotations

import copy
import dataclasses
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.utils import get_tags

from ginseng import _keys
from ginseng._cells.accept import accept
from ginseng._cells.matrix import row_sums
from ginseng._cells.open import OpenCells
from ginseng._cells.training_set import TrainingSet
from ginseng._cells.write import label_column
from ginseng._core import registry
from ginseng._core.architecture import Architecture
from ginseng._core.normalize import log_normalize
from ginseng._errors import suggest
from ginseng._predict.forward import Rows, predict
from ginseng._select.markers import find_markers
from ginseng.data._memory import MemoryDataset
from ginseng.model.state import GinsengClassifierState
from ginseng.tl._signature import settings_of
from ginseng.tl._train import ALL_GENES, TOP_GENES
from ginseng.train.settings import GinsengClassifierTrainerSettings
from ginseng.train.trainer import GinsengClassifierTrainer

#: Estimators that can be named, by seed.
ESTIMATORS: dict[str, Callable[[int], Any]] = {
    "logistic_regression": lambda seed: LogisticRegression(class_weight="balanced", max_iter=1000, random_state=seed),
    "random_forest": lambda seed: RandomForestClassifier(class_weight="balanced", n_jobs=-1, random_state=seed),
}


class Predictions(NamedTuple):
    """Predictions of a model for some cells."""

    y: np.ndarray  # (cells,) index into the labels, or -1 for cells without counts in the genes
    probs: np.ndarray | None  # (cells, classes) float32, if the model has probabilities
    seconds: float


class Contender(Protocol):
    """A model that can be fitted to some cells of a dataset and can label others."""

    settings: GinsengClassifierTrainerSettings

    def fit(self, data: MemoryDataset, train: np.ndarray, validation: np.ndarray, *, silent: bool = False) -> None:
        """Fit the model to these rows."""

    def predict(self, data: MemoryDataset, rows: np.ndarray) -> Predictions:
        """Predict the labels of these rows."""

    def chosen(self) -> dict[str, Any]:
        """Return the result of a parameter search; empty without one."""


@dataclasses.dataclass
class Network:
    """A registered architecture, trained as :func:`ginseng.tl.train` does."""

    settings: GinsengClassifierTrainerSettings
    state: GinsengClassifierState | None = None

    def fit(self, data: MemoryDataset, train: np.ndarray, validation: np.ndarray, *, silent: bool = False) -> None:
        """Train on `train`, with `validation` as holdout; if it is empty, the settings decide on the holdout."""
        rows = np.sort(np.concatenate([train, validation]))
        part = data.take(rows, np.isin(rows, validation) if len(validation) else None)
        settings = dataclasses.replace(self.settings, calibrate=bool(self.settings.calibrate))  # which takes longest
        if part.groups is not None:  # as in `train` with groups; a single group cannot be held out
            settings = dataclasses.replace(settings, group_level=len(np.unique(part.groups)) > 1)
        self.state = GinsengClassifierTrainer(part, settings).fit(silent=silent, reports=False)[1]

    def predict(self, data: MemoryDataset, rows: np.ndarray) -> Predictions:
        """Predict the labels of these rows."""
        assert self.state is not None
        start = time.perf_counter()
        cells = Rows(0, len(rows), data.source.counts[rows], data.source.totals[rows])
        probs = np.concatenate([part.probs for part in predict(self.state, [cells], batch_size=1024)])
        return Predictions(probs.argmax(axis=1), probs, time.perf_counter() - start)

    def chosen(self) -> dict[str, Any]:
        """Return an empty dict: networks have no parameter search."""
        return {}


@dataclasses.dataclass
class Estimator:
    """A scikit-learn estimator, or an object with the same methods, on log1p counts per 10,000."""

    estimator: Any
    settings: GinsengClassifierTrainerSettings
    classes: np.ndarray | None = None  # seen in training

    def fit(self, data: MemoryDataset, train: np.ndarray, validation: np.ndarray, *, silent: bool = False) -> None:
        """Fit to all of these rows: estimators need no holdout."""
        rows = np.sort(np.concatenate([train, validation]))
        self.classes, y = np.unique(data.labels[rows], return_inverse=True)
        self.estimator = _fresh(self.estimator)
        self.estimator.fit(self._expression(data, rows), y)

    def predict(self, data: MemoryDataset, rows: np.ndarray) -> Predictions:
        """Predict the labels of these rows."""
        assert self.classes is not None
        start = time.perf_counter()
        x = self._expression(data, rows)
        y = self.classes[np.asarray(self.estimator.predict(x)).astype(int)]
        seconds = time.perf_counter() - start
        probs = None
        if hasattr(self.estimator, "predict_proba"):
            probs = np.zeros((len(rows), len(data.label_names)), np.float32)
            probs[:, self.classes] = self.estimator.predict_proba(x)
        return Predictions(y, probs, seconds)

    def chosen(self) -> dict[str, Any]:
        """Return the best parameters of a parameter search."""
        return dict(getattr(self.estimator, "best_params_", {}))

    def _expression(self, data: MemoryDataset, rows: np.ndarray) -> sparse.csr_matrix | np.ndarray:
        """Return the same input as for networks, (cells, genes); sparse if the estimator supports it."""
        x, s = data.source.counts[rows].astype(np.float32), self.settings
        if s.normalize:
            x = log_normalize(x, data.source.totals[rows] if s.library_size == "all_genes" else None, s.target_sum)
        return x if _takes_sparse(self.estimator) else x.toarray()


def _fresh(estimator: Any) -> Any:
    return clone(estimator) if isinstance(estimator, BaseEstimator) else copy.deepcopy(estimator)


def _takes_sparse(estimator: Any) -> bool:
    return not isinstance(estimator, BaseEstimator) or get_tags(estimator).input_tags.sparse


def resolve(models: Any, settings: GinsengClassifierTrainerSettings) -> dict[str, Contender]:
    """Return the models by name.

    Parameters
    ----------
    models
        Any mix of names, settings and estimators, or a mapping from names to these; None for the default set.
    settings
        Default settings of the models.

    Raises
    ------
    ValueError
        If a model is unknown, or a name is used twice or cannot be stored in a file.
    TypeError
        If something is not a model.
    """
    if models is None:
        models = [settings.architecture, *ESTIMATORS]
    if isinstance(models, Mapping):
        named = [(str(name), contender_of(model, settings)) for name, model in models.items()]
    elif isinstance(models, str) or not isinstance(models, Sequence):
        msg = f"`models` must be a list or a dictionary from names to models, not {models!r}."
        raise TypeError(msg)
    else:
        named = [(name_of(model), contender_of(model, settings)) for model in models]
    if not named:
        msg = "`models` is empty."
        raise ValueError(msg)
    names = [name for name, _ in named]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        msg = f"Several models would be named {twice[0]!r}. Name them: `models={{'first': ..., 'second': ...}}`."
        raise ValueError(msg)
    if bad := [name for name in names if not name.isprintable() or not name.strip() or "/" in name]:
        msg = f"{bad[0]!r} cannot be the name of a column in a file. Choose printable text without '/'."
        raise ValueError(msg)
    return dict(named)


def contender_of(model: Any, settings: GinsengClassifierTrainerSettings) -> Contender:
    """Return a contender, given a name, settings, an architecture or an estimator."""
    if isinstance(model, str) and model in ESTIMATORS:
        return Estimator(ESTIMATORS[model](settings.seed), settings)
    if isinstance(model, str):
        known = [*registry.names(), *ESTIMATORS]
        if model not in known:
            msg = f"There is no model {model!r}. {suggest(model, known)} Any scikit-learn estimator works too."
            raise ValueError(msg)
        return Network(settings_of(settings, architecture=model))
    if isinstance(model, Mapping):
        return Network(settings_of(settings, **model))
    if isinstance(model, GinsengClassifierTrainerSettings):
        return Network(model)
    if isinstance(model, Architecture):
        return Network(settings_of(settings, architecture=model.name, config=dataclasses.asdict(model)))
    if hasattr(model, "fit") and hasattr(model, "predict") and not isinstance(model, type):
        return Estimator(model, settings)
    msg = f"{model!r} is not a model. Pass a name, a dictionary of settings, or an estimator with `fit` and `predict`."
    raise TypeError(msg)


def name_of(model: Any) -> str:
    """Return the default name of a model."""
    if isinstance(model, str):
        return model
    if isinstance(model, Mapping):
        return str(model.get("architecture", GinsengClassifierTrainerSettings.architecture))
    if isinstance(model, GinsengClassifierTrainerSettings):
        return model.architecture
    if isinstance(model, Architecture):
        return model.name
    inner = []  # the last step of a pipeline, or the estimator of a search
    if hasattr(model, "steps"):
        inner = [model.steps[-1][1]]
    elif hasattr(model, "cv") and hasattr(model, "estimator"):
        inner = [model.estimator]
    return type(model).__name__ + "".join(f"({name_of(part)})" for part in inner)


def accept_values(
    cells: OpenCells, models: Iterable[Contender], common: GinsengClassifierTrainerSettings, *, insisted: bool
) -> None:
    """Refuse values that :func:`ginseng.tl.train` would refuse for any of the models."""
    for normalize in sorted({common.normalize, *(model.settings.normalize for model in models)}):
        # the user has set `normalize` explicitly in a model's own settings if they differ
        accept(cells, normalize=normalize, insisted=insisted or normalize != common.normalize, training=True)


def read_cells(
    cells: OpenCells,
    chosen: TrainingSet,
    *,
    train: np.ndarray,
    given: bool,
    n_top_genes: int | None,
    settings: GinsengClassifierTrainerSettings,
) -> MemoryDataset:
    """Read the cells, with the genes that the models use.

    Parameters
    ----------
    cells, chosen
        The cells to read.
    train
        Rows of `chosen` on which genes may be selected.
    given
        Whether to use the genes of `chosen`. If False, those that differ most between the labels are selected.
    n_top_genes
        Number of genes to select. If None, all genes if there are at most 5,000, otherwise 2,000.
    settings
        Settings of the normalisation.
    """
    if not given and (n_top_genes is not None or cells.measured.sum() > ALL_GENES):
        seen = np.full(cells.n_obs, -1)
        seen[chosen.rows[train]] = chosen.labels[train]
        target_sum = (settings.target_sum or cells.n_vars) if settings.normalize else None
        found = find_markers(
            cells, seen, n_top_genes or TOP_GENES, genes=chosen.genes, silent=True, target_sum=target_sum
        )
        chosen = chosen.only(found[_keys.GENES])
    return MemoryDataset.read(cells, chosen)


def marked(data: MemoryDataset, rows: np.ndarray, said: Predictions) -> Predictions:
    """Remove the labels of cells without counts in the genes: no model can know them."""
    empty = row_sums(data.source.counts[rows]) == 0
    return said._replace(y=np.where(empty, -1, said.y))


def label_columns(
    n_obs: int,
    rows: np.ndarray,
    y: np.ndarray,
    probs: np.ndarray | None,
    label_names: Sequence[str] | np.ndarray,
    key: str,
) -> dict[str, Any]:
    """Return columns of `obs` with labels and confidence, missing for cells without a prediction.

    Parameters
    ----------
    n_obs
        Number of cells of the AnnData.
    rows
        Rows of the predicted cells.
    y, probs
        Their predictions, as in :class:`Predictions`.
    label_names
        Names of the classes.
    key
        Prefix of the columns.
    """
    columns: dict[str, Any] = {_keys.cell_type(key): label_column(y, label_names, rows=rows, n_obs=n_obs)}
    if probs is not None:
        confidence = np.full(n_obs, np.nan, np.float32)
        confidence[rows] = np.where(y < 0, 0, probs[np.arange(len(y)), y])
        columns[_keys.confidence(key)] = confidence
    return columns


def as_json(values: Mapping[str, Any]) -> str:
    """Return parameters as JSON, which can be stored in files."""
    return json.dumps(dict(values), default=str)
