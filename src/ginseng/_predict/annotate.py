"""The one way from cells and a model to labels and probabilities: look at the cells, then label them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ginseng._logging import Report, progress
from ginseng._predict.adapt import adapt, can_adapt, compare, correction_for
from ginseng._predict.query import Query
from ginseng._predict.result import Result, label
from ginseng.model.state import GinsengClassifierState


def check_adapt(state: GinsengClassifierState, wanted: bool | None) -> bool:
    """Return whether to adapt: if None, where the model can.

    Raises
    ------
    ValueError
        If it is wanted and the model cannot.
    """
    if wanted and not can_adapt(state):
        msg = "it does not know what it was trained on" if state.reference is None else "it reads expressed genes alone"
        msg = f"The model cannot be adapted to other data, since {msg}: leave out `adapt`."
        raise ValueError(msg)
    return wanted is not False and can_adapt(state)


def annotate(
    query: Query,
    state: GinsengClassifierState,
    result: Result,
    report: Report,
    *,
    adapts: bool,
    batch_size: int,
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
    seed
        If given, dropout acts, drawn from it.
    """
    n_cells = query.adata.n_obs
    how: Any = {"batch_size": batch_size, "normalization": query.normalization, "allowed": result.allowed}
    shift = None
    if adapts:
        compared = replace(query, state=state).map_some(compare, genes=query.genes, **how)
        result.adaptation = adapt(state, compared, query.genes, n_cells)
        shift = result.adaptation.shift
        report(f"adapted to the cells by {result.adaptation.n_classes} of {state.n_classes} classes")
    labelled = query.map(
        label,
        correction=correction_for(state, query.genes, shift),
        **how,
        seed=seed,
        gene_weights=result.gene_weights is not None,
        backoff=result.backoff,
        probs=result.probs is not None,
        weight=result.weight,
    )
    with progress(desc="Classifying", total=n_cells, unit="cells", silent=silent) as bar:
        for part in labelled:
            result.add(part)
            bar.update(part.stop - part.start)
