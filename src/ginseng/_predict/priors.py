"""How frequent the types of a query are: as given, or estimated from the cells.

A calibrated model gives p(c | x) for types as frequent as in its reference, pi_c. With shares q_c instead,

    q(c | x) = p(c | x) q_c / pi_c / sum over c' of p(c' | x) q_c' / pi_c'

and the shares that make the cells most probable are those that are the mean of this over the cells: the fixed point of
the EM algorithm of Saerens, Latinne and Decaestecker 2002, doi 10.1162/089976602753284446.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ginseng._errors import suggest
from ginseng.model.state import GinsengClassifierState

#: Stands for shares that are estimated from the cells.
QUERY = "query"
#: The least share that anything is divided by.
LEAST = 1e-6
#: Steps of EM, and the change of a share at which they end.
MOST_STEPS, TOLERANCE = 1000, 1e-6


def reference_shares(state: GinsengClassifierState) -> np.ndarray:
    """Return how frequent each class was among the cells that a model was trained on, (classes,)."""
    assert state.reference is not None
    cells = np.maximum(state.reference["cells"].astype(float), LEAST)
    return cells / cells.sum()


def given_shares(state: GinsengClassifierState, priors: Any) -> np.ndarray | None:
    """Return the shares that are given, (classes,); None where they are to be estimated.

    Classes that are not named divide what is left as in the reference.

    Raises
    ------
    ValueError
        If the model does not know the shares in its reference or has no probabilities that sum to 1, a name is no class
        of the model, or the values are no shares.
    """
    if state.reference is None or state.network.probability.kind != "softmax":
        msg = "`priors` needs a model that knows how frequent its types were in training. Train it again."
        raise ValueError(msg)
    if isinstance(priors, str) and priors == QUERY:
        return None
    if not isinstance(priors, Mapping):
        msg = f"`priors` is {priors!r:.60}; it can be 'query', or a dictionary from classes to their shares."
        raise ValueError(msg)
    names = [str(name) for name in state.label_keys]
    for name, share in priors.items():
        if str(name) not in names:
            msg = f"`priors` names {name!r}, which is no class of the model. {suggest(name, names)}"
            raise ValueError(msg)
        if isinstance(share, bool) or not isinstance(share, int | float | np.number) or not 0 <= share <= 1:
            msg = f"`priors` has {share!r} for {name!r}, which is no share of the cells, from 0 to 1."
            raise ValueError(msg)
    named = np.array([name in {str(n) for n in priors} for name in names])
    shares = np.zeros(len(names))
    shares[[names.index(str(name)) for name in priors]] = list(priors.values())
    total = shares.sum()
    if total > 1.01 or (named.all() and total < 0.99):
        msg = f"The shares in `priors` sum to {total:.4g}; those of all classes must sum to 1."
        raise ValueError(msg)
    rest = np.where(named, 0, reference_shares(state))
    shares += max(1 - total, 0) * rest / max(rest.sum(), LEAST)
    return shares / shares.sum()


def estimate(probs: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return the shares of the classes among cells, (classes,): the fixed point of EM.

    Parameters
    ----------
    probs
        (cells, classes) calibrated probabilities.
    reference
        (classes,) shares in the reference.
    """
    shares = reference
    for _ in range(MOST_STEPS if len(probs) else 0):
        after = reweighted(probs, shares, reference).mean(axis=0)
        change = np.abs(after - shares).max()
        shares = after
        if change < TOLERANCE:
            break
    return shares


def reweighted(probs: np.ndarray, shares: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return the probabilities with these shares instead of those of the reference."""
    weighed = probs * odds(shares, reference)
    return np.asarray(weighed / weighed.sum(axis=1, keepdims=True))


def odds(shares: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return by how much more frequent each class is than in the reference."""
    return np.maximum(shares, LEAST) / reference
