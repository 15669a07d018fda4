from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol, Self, cast

import jax
import numpy as np

from ginseng._core import registry
from ginseng._core.architecture import Architecture
from ginseng._core.normalize import LIBRARY_SIZE, LibrarySize
from ginseng._core.steps import Normalization
from ginseng._core.types import Params
from ginseng._errors import check_unique_names
from ginseng.model.classifier import GinsengClassifier
from ginseng.model.schema import MODEL


@dataclasses.dataclass
class GinsengClassifierState:
    """All of a trained model: what is needed to save it, load it and label cells with it.

    Attributes
    ----------
    params
        Weights and biases: a nested dict of float32 arrays.
    genes
        (genes,) names, in the order of the input.
    label_keys
        (classes,) names of the cell types.
    label_values
        (classes,) 0, 1, ...: the places of the names, whatever integers are given.
    n_genes, n_classes
        Sizes.
    hidden_dim
        Hidden units; those of `config`, or else the architecture's own number, if None.
    normalize
        Whether counts are scaled to `target_sum` a cell and log1p is taken.
    target_sum
        Counts a cell after scaling; the number of genes if None.
    dropout_rate
        Dropout in training; that of `config`, or else the architecture's own rate, if None.
    training
        False, whatever is given. Documented in ginseng 0.2, and without effect.
    architecture
        Name of the network; if None, the one whose layers and shapes `params` have.
    config
        Its settings, all of them once the state has been made.
    library_size
        Whether the counts of a cell are summed over all measured genes, or over those of the model, before scaling.
    history
        Columns of equal length, a value an epoch; see :class:`ginseng.train.GinsengLogger`.
    info
        Anything else that is worth keeping: what the model was trained on, and how. `learned` is False if it does no
        better than chance on the holdout, and None if that could not be told.
    """

    params: Params
    genes: np.ndarray
    label_keys: np.ndarray
    label_values: np.ndarray
    n_genes: int
    n_classes: int
    hidden_dim: int | None = None
    normalize: bool = True
    target_sum: float | None = 1e4
    dropout_rate: float | None = None
    training: bool = False
    architecture: str | None = None
    config: dict[str, Any] = dataclasses.field(default_factory=dict)
    library_size: LibrarySize = LIBRARY_SIZE
    history: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    info: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        self.params = jax.tree.map(lambda a: np.asarray(a, np.float32), self.params)
        self.genes = _text(self.genes)
        self.label_keys = _text(self.label_keys)
        given = self.config | registry.given(hidden_dim=self.hidden_dim, dropout_rate=self.dropout_rate)
        if self.architecture is None:
            network = registry.recognize(self.params, self.n_genes, self.n_classes, given)
        else:
            network = registry.get(self.architecture, given)
        self.architecture, self.config = network.name, dataclasses.asdict(network)
        self.hidden_dim, self.dropout_rate = network.hidden_dim, network.dropout_rate
        if self.target_sum is not None and not 0 < self.target_sum < np.inf:
            msg = f"`target_sum` must be None or above 0, not {self.target_sum!r}."
            raise ValueError(msg)
        if self.library_size not in ("all_genes", "model_genes"):
            msg = f"`library_size` must be 'all_genes' or 'model_genes', not {self.library_size!r}."
            raise ValueError(msg)
        sizes = {"genes": self.n_genes, "label_keys": self.n_classes, "label_values": self.n_classes}
        for name, expected in sizes.items():
            if len(getattr(self, name)) != expected:
                msg = f"The model has {len(getattr(self, name)):,} {name}, where {expected:,} are expected."
                raise ValueError(msg)
        self.label_values, self.training = np.arange(self.n_classes), False

    @classmethod
    def of(cls, network: Architecture, **values: Any) -> Self:
        """Return a state of this network; `values` are the other attributes."""
        return cls(architecture=network.name, config=dataclasses.asdict(network), **values)

    def __repr__(self) -> str:
        return (
            f"GinsengClassifierState({self.architecture!r}: {self.n_genes:,} genes, {self.n_classes} classes: "
            f"{', '.join(self.label_keys[:8])}{', ...' if self.n_classes > 8 else ''})"
        )

    @property
    def network(self) -> Architecture:
        """The architecture with its settings."""
        return registry.get(cast("str", self.architecture), self.config)

    @property
    def normalization(self) -> Normalization:
        """How counts become the input of the network."""
        return Normalization(self.normalize, self.target_sum, self.library_size)

    def check(self) -> None:
        """Refuse what cannot label cells, or could not be loaded again; quick beside one forward pass.

        Raises
        ------
        ValueError
            If names are empty, repeated or not plain text, if their numbers contradict each other, or if weights are
            not finite or not of the layers and shapes that the architecture has.
        """
        for name, n in (("genes", self.n_genes), ("label_keys", self.n_classes)):
            found = np.asarray(getattr(self, name))
            if found.shape != (n,) or found.dtype.kind != "U":
                msg = f"{name!r} is {found.dtype}{found.shape}, where {n:,} names are expected"
                raise ValueError(msg)
            check_unique_names(found.tolist(), name)
        network = self.network
        _check_params(self.params, shapes_of(network, self.n_genes, self.n_classes, len(self.params)))
        if network.standardizes and np.min(self.params["input"]["scale"]) < np.finfo(np.float32).tiny:
            msg = "'params/input/scale' has values that are not above 0"
            raise ValueError(msg)

    def to_dict(self) -> dict[str, Any]:
        """Return nested dicts of arrays, numbers and text, as `uns` and HDF5 hold them."""
        return MODEL.pack(vars(self))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the state that :meth:`to_dict` turned into this.

        Raises
        ------
        ValueError
            If :meth:`check` refuses it.
        """
        n_genes, n_classes = len(values["genes"]), len(values["label_keys"])
        sizes: dict[str, Any] = {"n_genes": n_genes, "n_classes": n_classes, "label_values": np.arange(n_classes)}
        state = cls(**MODEL.unpack(values), **sizes)
        state.check()
        return state


def shapes_of(network: Architecture, n_genes: int, n_classes: int, n_layers: int) -> Params:
    """Return the shape of each parameter.

    Parameters
    ----------
    n_layers
        Layers that there are. To say the shapes of many more takes time, and they could not be right.

    Raises
    ------
    ValueError
        If the network has more.
    """
    if getattr(network, "n_layers", 1) > n_layers:
        msg = f"'params' has {n_layers} layers, where there are more in the settings"
        raise ValueError(msg)
    return registry.shapes(network, n_genes, n_classes)


def _check_params(params: Any, shapes: Mapping[str, Any], path: str = "params") -> None:
    found = sorted(map(str, params)) if isinstance(params, Mapping) else ["an array"]
    if found != sorted(shapes):
        msg = f"{path!r} has {', '.join(found[:10])}, where {', '.join(sorted(shapes))} are expected"
        raise ValueError(msg)
    for name, shape in shapes.items():
        if isinstance(shape, Mapping):
            _check_params(params[name], shape, f"{path}/{name}")
            continue
        if np.shape(params[name]) != shape.shape:
            msg = f"'{path}/{name}' has shape {np.shape(params[name])}, where {shape.shape} is expected"
            raise ValueError(msg)
        if not np.isfinite(params[name]).all():
            msg = f"'{path}/{name}' has values that are NaN or infinite"
            raise ValueError(msg)


def _text(names: Any) -> np.ndarray:
    return np.array(np.asarray(names).tolist(), str)  # through a list, since what zarr reads does not cast to `str`


class Fitted(Protocol):
    """A trainer."""

    state: GinsengClassifierState


def classifier_from_state(state: GinsengClassifierState) -> GinsengClassifier:
    """Return a classifier with the weights of `state`, ready to predict.

    Raises
    ------
    ValueError
        If the state is of no use, as :meth:`GinsengClassifierState.check` says.
    """
    state.check()
    model = GinsengClassifier(
        state.n_genes, state.n_classes, normalize=state.normalize, target_sum=state.target_sum,
        architecture=state.network.name, config=state.config, library_size=state.library_size,
    )  # fmt: skip
    model.params = state.params
    return model


def state_from_classifier_trainer(trainer: Fitted) -> GinsengClassifierState:
    """Return the state of a trainer after `fit`.

    Raises
    ------
    ValueError
        If the trainer has not been fitted.
    """
    if not hasattr(trainer, "state"):
        msg = "The trainer has no model yet. Call `trainer.fit()` first."
        raise ValueError(msg)
    return trainer.state
