from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Self, cast

import jax
import numpy as np

from ginseng._core import registry
from ginseng._core.architecture import Architecture, Params
from ginseng._core.steps import Normalization
from ginseng._errors import check_unique_names

if TYPE_CHECKING:
    from ginseng.model.classifier import GinsengClassifier
    from ginseng.train.trainer import GinsengClassifierTrainer


#: Settings of the network that have an attribute of their own; `config` has the others.
_NAMED = ("hidden_dim", "dropout_rate")
#: Brackets and commas in a text of JSON: as Python objects, what they hold takes many times the memory of the text.
MAX_PARTS = 300_000


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
        (classes,) integer of each name.
    n_genes, n_classes
        Sizes.
    hidden_dim
        Hidden units.
    normalize
        Whether counts are scaled to `target_sum` a cell and log1p is taken.
    target_sum
        Counts a cell after scaling; the number of genes if None.
    dropout_rate
        Dropout in training.
    training
        Whether the weights are to be trained further.
    architecture
        Name of the network; read off the layers of `params` if None.
    config
        Its other settings.
    library_size
        Whether the counts of a cell are summed over all measured genes, or over those of the model, before scaling.
    history
        Columns of equal length, a value an epoch; see :class:`ginseng.train.GinsengLogger`.
    reference
        What the cells were like that the model was trained on, float32, of normalised expression: `mean`, (genes,);
        `classes`, (classes, genes) means of each class; `cells`, (classes,) that these are of; and `share`, (genes,) of
        each gene in the counts of a cell. Empty for models that do not know it, which take genes that a query lacks for
        not expressed.
    info
        Anything else that is worth keeping: what the model was trained on, and how.
    """

    params: Params
    genes: np.ndarray
    label_keys: np.ndarray
    label_values: np.ndarray
    n_genes: int
    n_classes: int
    hidden_dim: int = 64
    normalize: bool = True
    target_sum: float | None = 1e4
    dropout_rate: float = 0.5
    training: bool = False
    architecture: str | None = None
    config: dict[str, Any] = dataclasses.field(default_factory=dict)
    library_size: Literal["all_genes", "model_genes"] = "all_genes"
    history: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    reference: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    info: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        self.params = jax.tree.map(lambda a: np.asarray(a, np.float32), self.params)
        self.reference = {name: np.asarray(a, np.float32) for name, a in self.reference.items()}
        self.genes = _text(self.genes)
        self.label_keys = _text(self.label_keys)
        self.label_values = np.asarray(self.label_values)
        if self.architecture is None:
            self.architecture = registry.identify(self.params, self.n_genes, self.n_classes, self.settings)
        self.config = {k: v for k, v in dataclasses.asdict(self.network).items() if k not in _NAMED}
        if self.target_sum is not None and not 0 < self.target_sum < np.inf:
            msg = f"`target_sum` must be None or above 0, not {self.target_sum!r}."
            raise ValueError(msg)
        if self.library_size not in ("all_genes", "model_genes"):
            msg = f"`library_size` must be 'all_genes' or 'model_genes', not {self.library_size!r}."
            raise ValueError(msg)
        for name, expected in (
            ("genes", self.n_genes),
            ("label_keys", self.n_classes),
            ("label_values", self.n_classes),
        ):
            if len(getattr(self, name)) != expected:
                msg = f"The model has {len(getattr(self, name)):,} {name}, where {expected:,} are expected."
                raise ValueError(msg)

    @classmethod
    def of(cls, network: Architecture, **values: Any) -> Self:
        """Return a state of this network; `values` are the other attributes."""
        config = dataclasses.asdict(network)
        return cls(architecture=network.name, config=config, **{name: config[name] for name in _NAMED}, **values)

    @property
    def settings(self) -> dict[str, Any]:
        """All settings of the network."""
        return {**self.config, "hidden_dim": self.hidden_dim, "dropout_rate": self.dropout_rate}

    def __repr__(self) -> str:
        return (
            f"GinsengClassifierState({self.architecture!r}: {self.n_genes:,} genes, {self.n_classes} classes: "
            f"{', '.join(self.label_keys[:8])}{', ...' if self.n_classes > 8 else ''})"
        )

    @property
    def network(self) -> Architecture:
        """The architecture with its settings."""
        return registry.get(cast("str", self.architecture), self.settings)

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
        values = np.asarray(self.label_values)
        if values.shape != (self.n_classes,) or values.dtype.kind not in "iu":
            msg = f"'label_values' is {values.dtype}{values.shape}, where {self.n_classes:,} integers are expected"
            raise ValueError(msg)
        network = self.network
        _check_params(self.params, shapes_of(network, self.n_genes, self.n_classes, len(self.params)))
        if network.standardizes and np.min(self.params["input"]["scale"]) < np.finfo(np.float32).tiny:
            msg = "'params/input/scale' has values that are not above 0"
            raise ValueError(msg)
        if self.reference:
            _check_params(self.reference, reference_shapes(self.n_genes, self.n_classes), "reference")
            if min(self.reference["share"].min(), self.reference["cells"].min()) < 0:
                msg = "'reference' has shares or numbers of cells below 0"
                raise ValueError(msg)

    def to_dict(self) -> dict[str, Any]:
        """Return nested dicts of arrays, numbers and text, as `uns` and HDF5 hold them."""
        return {
            "architecture": self.architecture,
            "config": json.dumps(self.settings),
            "normalize": bool(self.normalize),
            "training": bool(self.training),
            "target_sum": np.nan if self.target_sum is None else float(self.target_sum),
            "library_size": self.library_size,
            "genes": self.genes,
            "label_keys": self.label_keys,
            "label_values": self.label_values,
            "params": self.params,
            "history": self.history,
            **({"reference": self.reference} if self.reference else {}),
            "info": json.dumps(self.info),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the state that :meth:`to_dict` turned into this.

        Raises
        ------
        ValueError
            If :meth:`check` refuses it.
        """
        target_sum = float(values["target_sum"])
        state = cls.of(
            registry.get(str(values["architecture"]), parsed(values["config"], "config")),
            params=_plain(values["params"]),
            genes=values["genes"],
            label_keys=values["label_keys"],
            label_values=values["label_values"],
            n_genes=len(values["genes"]),
            n_classes=len(values["label_keys"]),
            normalize=bool(values["normalize"]),
            target_sum=None if np.isnan(target_sum) else target_sum,
            training=bool(values["training"]),
            library_size=cast("Literal['all_genes', 'model_genes']", str(values["library_size"])),
            history={k: np.asarray(v) for k, v in values["history"].items()},
            reference={k: np.asarray(v) for k, v in values.get("reference", {}).items()},
            info=parsed(values["info"], "info"),
        )
        state.check()
        return state


def check_parts(text: str, name: str) -> None:
    """Refuse JSON that would take many times the memory of its text.

    Raises
    ------
    ValueError
        If it has over 300,000 brackets and commas.
    """
    if sum(map(text.count, "[{,")) > MAX_PARTS:
        msg = f"{name!r} has over {MAX_PARTS:,} brackets and commas"
        raise ValueError(msg)


def parsed(text: Any, name: str) -> dict[str, Any]:
    """Return the object that is written in JSON.

    Raises
    ------
    ValueError
        If it is none, or :func:`check_parts` refuses it.
    """
    text = str(text)
    check_parts(text, name)
    value = json.loads(text)
    if not isinstance(value, dict):
        msg = f"{name!r} must be a JSON object"
        raise ValueError(msg)
    return value


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


def reference_shapes(n_genes: int, n_classes: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Return the shape of each array of :attr:`GinsengClassifierState.reference`."""
    shapes = {"mean": (n_genes,), "share": (n_genes,), "classes": (n_classes, n_genes), "cells": (n_classes,)}
    return {name: jax.ShapeDtypeStruct(shape, np.float32) for name, shape in shapes.items()}


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


def _plain(tree: Any) -> Any:
    return {k: _plain(v) for k, v in tree.items()} if isinstance(tree, Mapping) else tree


def classifier_from_state(state: GinsengClassifierState) -> GinsengClassifier:
    """Return a classifier with the weights of `state`, ready to predict."""
    from ginseng.model.classifier import GinsengClassifier  # it knows the state's parts, not the other way round

    return GinsengClassifier.from_state(state)


def state_from_classifier_trainer(trainer: GinsengClassifierTrainer) -> GinsengClassifierState:
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
