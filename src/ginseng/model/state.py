from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, Self, cast

import jax
import numpy as np

from ginseng._core import registry
from ginseng._core.architecture import Architecture
from ginseng._core.members import together
from ginseng._core.normalize import LIBRARY_SIZE, LibrarySize
from ginseng._core.steps import Normalization
from ginseng._core.types import Params
from ginseng._errors import check_unique_names
from ginseng.model.calibration import check as check_calibration
from ginseng.model.calibration import shapes as of_calibration
from ginseng.model.card import assessed, model_card
from ginseng.model.classifier import GinsengClassifier
from ginseng.model.schema import MODEL


@dataclasses.dataclass
class GinsengClassifierState:
    """A trained model, with everything needed to save it, load it and label cells.

    Attributes
    ----------
    params
        Weights and biases: a nested dict of float32 arrays.
    genes
        (genes,) names in the order of the input.
    label_keys
        (classes,) names of the cell types.
    label_values
        (classes,) always 0, 1, ..., the indices of the classes.
    n_genes, n_classes
        Number of genes and classes.
    hidden_dim
        Hidden units. If None, those of `config` or the architecture's default.
    normalize
        Whether counts are scaled to `target_sum` per cell and log1p-transformed.
    target_sum
        Counts per cell after scaling; the number of genes if None.
    dropout_rate
        Dropout rate in training. If None, that of `config` or the architecture's default.
    training
        Always False; kept from ginseng 0.2, without effect.
    architecture
        Name of the network. If None, it is inferred from the layers and shapes of `params`.
    config
        Settings of the architecture, completed with its defaults.
    library_size
        Genes over which the counts of a cell are summed before scaling: all measured ones, or those of the model.
    history
        Columns with one value per epoch, see :class:`ginseng.train.GinsengLogger`.
    reference
        Statistics of the training cells, float32. Of normalised expression: `mean`, (genes,); `classes`, (classes,
        genes) means per class; and `cells`, (classes,) the number of cells of these. `share`, (genes,), is the fraction
        of each gene in the counts of a cell. None for models without them, which treat missing genes as not expressed.
    calibration
        What is known of the errors of the model, float32: see the concepts in the documentation. None for models
        without, whose probabilities are taken as they are.
    other_names
        (genes,) what the genes are also called: ids beside symbols, or the reverse; empty where unknown. None if no
        other names are known.
    levels
        Label of each class in each level, (classes,) by name of the level, the broadest first; the last one are the
        classes themselves. A label lies within one label of each level above it. None without levels.
    info
        Metadata: what the model was trained on, and how. `learned` is False if the model is no better than chance on
        the holdout, and None if the holdout is too small to tell.
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
    reference: dict[str, np.ndarray] | None = None
    calibration: dict[str, np.ndarray] | None = None
    other_names: np.ndarray | None = None
    levels: dict[str, list[str]] | None = None
    info: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        self.params = jax.tree.map(lambda a: np.asarray(a, np.float32), self.params)
        if self.reference is not None:
            self.reference = {name: np.asarray(a, np.float32) for name, a in self.reference.items()}
        if self.calibration is not None:
            self.calibration = {name: np.asarray(a, np.float32) for name, a in self.calibration.items()}
        self.genes = _text(self.genes)
        self.other_names = None if self.other_names is None else _text(self.other_names)
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
                msg = f"The model has {len(getattr(self, name)):,} {name}, but {expected:,} are expected."
                raise ValueError(msg)
        self.label_values, self.training = np.arange(self.n_classes), False

    @classmethod
    def of(cls, network: Architecture, **values: Any) -> Self:
        """Return the state of a network; `values` are the other attributes."""
        return cls(architecture=network.name, config=dataclasses.asdict(network), **values)

    def __repr__(self) -> str:
        return model_card(vars(self)).text()

    def _repr_html_(self) -> str:
        return model_card(vars(self)).html()

    @property
    def network(self) -> Architecture:
        """The architecture with its settings."""
        return registry.get(cast("str", self.architecture), self.config)

    @property
    def normalization(self) -> Normalization:
        """How counts become the input of the network."""
        return Normalization(self.normalize, self.target_sum, self.library_size)

    def assessment(self) -> dict[str, Any]:
        """Return what the model says of its errors, measured on cells that were not trained on, as numbers and lists.

        `n_cells`, the number of these, with `accuracy`, `macro_f1` and `ece`, the calibration error in 15 bins of equal
        width; `temperature`; `min_confidence` and `max_novelty`, by which 5% of the right labels would be given up;
        `overlap`, with `weight`, `accuracy`, `ece` and `temperature` for each share of the model's weight that is left;
        and `classes`, with `label`, `n_trained`, `n_cells` and `f1` of each. Empty for a model that was not calibrated.
        """
        return assessed(vars(self))

    def check(self) -> None:
        """Refuse a state that cannot label cells or could not be loaded again; faster than a forward pass.

        Raises
        ------
        ValueError
            If names are empty, repeated or not plain text, if sizes are inconsistent, or if weights are not finite or
            do not have the layers and shapes of the architecture.
        """
        for name, n in (("genes", self.n_genes), ("label_keys", self.n_classes)):
            found = np.asarray(getattr(self, name))
            if found.shape != (n,) or found.dtype.kind != "U":
                msg = f"{name!r} is {found.dtype}{found.shape}, where {n:,} names are expected"
                raise ValueError(msg)
            check_unique_names(found.tolist(), name)
        if self.other_names is not None:
            check_other_names(self.other_names, self.n_genes)
        if self.levels is not None:
            check_levels(self.levels, self.label_keys.tolist())
        network = self.network
        _check_params(self.params, shapes_of(network, self.n_genes, self.n_classes, len(self.params)))
        if network.standardizes and np.min(self.params["input"]["scale"]) < np.finfo(np.float32).tiny:
            msg = "'params/input/scale' has values that are not above 0"
            raise ValueError(msg)
        if self.reference is not None:
            _check_params(self.reference, reference_shapes(self.n_genes, self.n_classes), "reference")
            if min(self.reference["share"].min(), self.reference["cells"].min()) < 0:
                msg = "'reference' has shares or numbers of cells below 0"
                raise ValueError(msg)
        if self.calibration is not None:
            if self.reference is None:
                msg = "the model has 'calibration' without 'reference'"
                raise ValueError(msg)
            shapes = calibration_shapes(network, self.params, self.n_genes, self.n_classes)
            _check_params(self.calibration, shapes, "calibration")
            check_calibration(self.calibration, self.n_classes)

    def to_dict(self) -> dict[str, Any]:
        """Return nested dicts of arrays, numbers and strings, as stored in `uns` and HDF5."""
        return MODEL.pack(vars(self))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the state from the result of :meth:`to_dict`.

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


class Shape(NamedTuple):
    """Shape of an array, None for any number."""

    shape: tuple[int | None, ...]
    dtype: np.dtype = np.dtype(np.float32)


def shapes_of(network: Architecture, n_genes: int, n_classes: int, n_layers: int) -> Params:
    """Return the shape of each parameter.

    Parameters
    ----------
    n_layers
        Number of layers in the file. Working out the shapes of many more would take long, and they could not match.

    Raises
    ------
    ValueError
        If the network has more layers.
    """
    if getattr(network, "n_layers", 1) > n_layers:
        msg = f"'params' has {n_layers} layers, where there are more in the settings"
        raise ValueError(msg)
    return registry.shapes(network, n_genes, n_classes)


def reference_shapes(n_genes: int, n_classes: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Return the shapes of the arrays in :attr:`GinsengClassifierState.reference`."""
    shapes = {"mean": (n_genes,), "share": (n_genes,), "classes": (n_classes, n_genes), "cells": (n_classes,)}
    return {name: jax.ShapeDtypeStruct(shape, np.float32) for name, shape in shapes.items()}


def calibration_shapes(network: Architecture, params: Params, n_genes: int, n_classes: int) -> dict[str, Shape]:
    """Return the shapes of the arrays in :attr:`GinsengClassifierState.calibration`."""
    x = jax.ShapeDtypeStruct((n_genes,), np.float32)
    width = jax.eval_shape(together(network).see, params, x)[1].shape[0]
    return {name: Shape(shape) for name, shape in of_calibration(width, n_classes).items()}


def check_other_names(names: np.ndarray, n_genes: int) -> None:
    """Refuse other names of the genes that are not one for each, or empty.

    Raises
    ------
    ValueError
        If there is another number of them, or genes share one.
    """
    if names.shape != (n_genes,):
        msg = f"'other_names' is {names.dtype}{names.shape}, where {n_genes:,} names are expected"
        raise ValueError(msg)
    check_unique_names(names[names != ""].tolist(), "other_names")


def check_levels(levels: Any, classes: list[str]) -> None:
    """Refuse levels that do not have a label for each class, or are no tree with the classes as its leaves.

    Raises
    ------
    ValueError
        If there are none, the last are not the classes, or a label lies within several of the level above.
    """
    if not isinstance(levels, Mapping) or not levels:
        msg = "'levels' must have a list of labels for each level"
        raise ValueError(msg)
    check_unique_names(list(levels), "levels")
    above: list[str] = []
    for name, labels in levels.items():
        if not isinstance(labels, list) or len(labels) != len(classes) or not all(isinstance(v, str) for v in labels):
            msg = f"'levels/{name}' must have {len(classes):,} labels, one for each class"
            raise ValueError(msg)
        check_unique_names(list(dict.fromkeys(labels)), f"levels/{name}")
        if above and len(set(zip(labels, above, strict=True))) > len(set(labels)):
            msg = f"'levels/{name}' has a label that lies within several of the level above"
            raise ValueError(msg)
        above = labels
    if above != classes:
        msg = "the last of 'levels' are not the classes"
        raise ValueError(msg)


def _check_params(params: Any, shapes: Mapping[str, Any], path: str = "params") -> None:
    found = sorted(map(str, params)) if isinstance(params, Mapping) else ["an array"]
    if found != sorted(shapes):
        msg = f"{path!r} has {', '.join(found[:10])}, where {', '.join(sorted(shapes))} are expected"
        raise ValueError(msg)
    for name, shape in shapes.items():
        if isinstance(shape, Mapping):
            _check_params(params[name], shape, f"{path}/{name}")
            continue
        found_shape = np.shape(params[name])
        if len(found_shape) != len(shape.shape) or any(
            n not in (None, m) for m, n in zip(found_shape, shape.shape, strict=True)
        ):
            msg = f"'{path}/{name}' has shape {np.shape(params[name])}, where {shape.shape} is expected"
            raise ValueError(msg)
        if not np.isfinite(params[name]).all():
            msg = f"'{path}/{name}' has values that are NaN or infinite"
            raise ValueError(msg)


def _text(names: Any) -> np.ndarray:
    return np.array(np.asarray(names).tolist(), str)  # via a list: string arrays from zarr do not cast to `str`


class Fitted(Protocol):
    """A trainer."""

    state: GinsengClassifierState


def classifier_from_state(state: GinsengClassifierState) -> GinsengClassifier:
    """Return a classifier with the weights of `state`, ready to predict.

    Raises
    ------
    ValueError
        If the state fails :meth:`GinsengClassifierState.check`.
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
