"""What the genes that a query lacks cost, as measured in training."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import numpy as np

from ginseng._core import registry
from ginseng._core.architecture import Architecture
from ginseng._core.attribution import gene_leverage
from ginseng._core.types import Params
from ginseng.model import calibration
from ginseng.model.state import GinsengClassifierState

#: Share of the weight from which on nothing is said.
NEARLY_ALL = 0.98
#: A type collapses if fewer of its cells are recognised than the first, of more than the second with all genes.
COLLAPSED, RECOGNISED = 0.5, 0.7


def weight_of_genes(params: Params, reference: Mapping[str, np.ndarray], network: Architecture) -> np.ndarray:
    """Return how much each gene tells the classes of the reference apart, (genes,)."""
    params = jax.device_put(params)
    return np.asarray(gene_leverage(params, reference["mean"], reference["classes"], architecture=network), float)


def compile_weights(network: Architecture, n_genes: int, n_classes: int) -> None:
    """Compile :func:`weight_of_genes` ahead of the first call."""
    mean, classes = np.zeros(n_genes, np.float32), np.zeros((n_classes, n_genes), np.float32)
    gene_leverage.lower(registry.shapes(network, n_genes, n_classes), mean, classes, architecture=network).compile()


def measured_weight(state: GinsengClassifierState, measured: np.ndarray) -> float | None:
    """Return how much of what tells the classes of the reference apart is in genes that were measured, from 0 to 1.

    None for a model that does not know its reference.

    Parameters
    ----------
    measured
        (genes of the model,) bool.
    """
    if state.reference is None:
        return None
    if measured.all():
        return 1.0
    leverage = weight_of_genes(state.params, state.reference, state.network)
    return float(leverage[measured].sum() / max(leverage.sum(), np.finfo(float).tiny))


def expectation(state: GinsengClassifierState, weight: float | None) -> str:
    """Say how many labels to expect to be right with this share of the weight; nothing where it is nearly all."""
    if weight is None or weight >= NEARLY_ALL or state.calibration is None:
        return ""
    here, best = (calibration.expected_at(state.calibration, share) for share in (weight, 1.0))
    if not here:
        return ""
    return (
        f"{weight:.0%} of the model's weight is in your genes: expect about {here['accuracy']:.2f} of labels right "
        f"({best['accuracy']:.2f} with all) in cells like those of the reference"
    )


def collapsing(state: GinsengClassifierState, weight: float | None) -> list[str]:
    """Return the classes that are hardly recognised with this share of the weight, and are with all genes."""
    if weight is None or state.calibration is None or not len(state.calibration["overlap"]):
        return []
    levels = state.calibration["overlap"][:, calibration.OVERLAP.index("weight")].astype(float)
    found = []
    for name, recall in zip(state.label_keys, state.calibration["recall"].T.astype(float), strict=True):
        here, best = np.interp([weight, 1.0], levels, recall)
        if here < COLLAPSED and best > RECOGNISED and recall.min() >= 0:  # -1 for a class that was not measured
            found.append(str(name))
    return found
