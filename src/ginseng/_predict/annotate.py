"""The one way from cells and a model to labels and probabilities: look at the cells, then label them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ginseng._errors import warn
from ginseng._logging import Report, progress
from ginseng._predict.adapt import AGREES, Adaptation, adapt, compare, correction_for, own_classes_of
from ginseng._predict.forward import predict
from ginseng._predict.priors import estimate, given_shares, odds
from ginseng._predict.query import Query
from ginseng._predict.result import Result, label
from ginseng.model.components import MOST_CELLS
from ginseng.model.state import GinsengClassifierState

#: How unlike the reference a query is throughout that is worth a remark, in standard deviations.
LEVEL = 2.0


def check_adapt(state: GinsengClassifierState, wanted: bool | None) -> bool:
    """Return whether to adapt: if None, where the model knows its reference.

    Raises
    ------
    ValueError
        If it is wanted and the model does not.
    """
    if wanted and state.reference is None:
        why = "it does not know what it was trained on: leave out `adapt`"
        msg = f"The model cannot be adapted to other data, since {why}."
        raise ValueError(msg)
    return wanted is not False and state.reference is not None


def _report_unlike(found: Adaptation, report: Report) -> None:
    if found.agreement < AGREES[0]:
        warn(
            "The cells may be of another tissue than the reference: what are labelled as different types differ in "
            f"other genes than these types do in the reference (correlation {found.agreement:.2f}). Look at "
            "confidence and novelty before you use the labels."
        )
    elif found.level > LEVEL:
        report("the cells are unlike the reference throughout, and novelty is beyond that")


def annotate(
    query: Query,
    state: GinsengClassifierState,
    result: Result,
    report: Report,
    *,
    adapts: bool,
    batch_size: int,
    priors: Any = None,
    seed: int | None = None,
    silent: bool = False,
) -> None:
    """Fill in a result.

    Parameters
    ----------
    query
        The cells, checked against the model.
    state
        The model as it was given, before what it knows of genes that were not measured was taken out.
    result
        To be filled in; it says what is wanted.
    report
        Gets a line of what was adapted to.
    adapts
        Whether to look at the cells first.
    batch_size
        Cells per forward pass.
    priors
        `"query"`, or the share of each class by name; as in the reference if None.
    seed
        If given, dropout acts, drawn from it.
    """
    n_cells = query.adata.n_obs
    how: Any = {"batch_size": batch_size, "normalization": query.normalization, "allowed": result.allowed}
    shift = sample = None
    if adapts:
        every = max(1, -(-query.n_some // MOST_CELLS))
        compared = replace(query, state=state).map_some(compare, genes=query.genes, every=every, **how)
        result.adaptation, sample = adapt(state, compared, query.genes, n_cells)
        shift = result.adaptation.shift
        how |= {name: getattr(result.adaptation, name) for name in ("directions", "together", "level", "members")}
        report(f"adapted to the cells by {result.adaptation.n_classes} of {state.n_classes} classes")
        _report_unlike(result.adaptation, report)
    how |= {"correction": correction_for(state, query.genes, shift, always=adapts), "weight": result.weight}
    if result.adaptation is not None:
        how["own"] = own_classes_of(query.state, result.adaptation, sample, **how)
        result.adaptation = replace(result.adaptation, own=how["own"])
        if how["own"] is not None:
            report(f"another study: the types as they lie in the cells count {how['own'].share:.0%}")
    if priors is not None and result.shares is not None:
        result.priors = given_shares(state, priors)
        if result.priors is None:
            some = [part.probs[~part.empty] for part in query.map_some(predict, **how)]
            result.priors = estimate(np.concatenate([np.zeros((0, state.n_classes)), *some]), result.shares)
        how["odds"] = odds(result.priors, result.shares)
        distance = np.abs(result.priors - result.shares).sum() / 2
        report(f"composition of the query: {distance:.0%} of the cells are of other types than in the reference")
    labelled = query.map(
        label,
        **how,
        seed=seed,
        gene_weights=result.gene_weights is not None,
        backoff=result.backoff,
        probs=result.probs is not None,
    )
    with progress(desc="Classifying", total=n_cells, unit="cells", silent=silent) as bar:
        for part in labelled:
            result.add(part)
            bar.update(part.stop - part.start)
