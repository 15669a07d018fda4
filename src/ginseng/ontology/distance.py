"""How near a predicted term is to the true one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from ginseng.ontology.terms import SAY_NOTHING, cell_ontology


def similarity(one: str, other: str) -> float:
    """Return 2 |A & B| / (|A| + |B|) of the terms and what is above them, without those that say nothing.

    1 for the same term, 0 for terms that have nothing in common.
    """
    a, b = (cell_ontology().with_ancestors(term) - SAY_NOTHING for term in (one, other))
    return 2 * len(a & b) / (len(a) + len(b)) if a or b else float(one == other)


def measure_terms(true: Sequence[str], predicted: Sequence[str | None]) -> dict[str, Any]:
    """Compare terms, cell by cell.

    Parameters
    ----------
    true
        (cells,).
    predicted
        (cells,), None where there is none, which has nothing in common with the true one.

    Returns
    -------
    `accuracy`, the mean of :func:`similarity`; the shares of the cells whose prediction is the `same` term, a `broader`
    one (above the true one), a `finer` one (below it) or an `other` one, and of those with `none`; and `precision`,
    `recall` and `f1` over the terms above, all cells pooled (Kiritchenko et al. 2005).
    """
    ontology = cell_ontology()
    pairs = pd.DataFrame({"true": list(true), "predicted": list(predicted)}, dtype=object).fillna("")
    counts = pairs.value_counts(["true", "predicted"], sort=False)
    total = {"accuracy": 0.0, "same": 0, "broader": 0, "finer": 0, "other": 0, "none": 0}
    common = n_true = n_predicted = 0
    for (term, guess), n in zip(counts.index.tolist(), counts.tolist(), strict=True):
        above = ontology.with_ancestors(term) - SAY_NOTHING
        n_true += n * len(above)
        if not guess:
            total["none"] += n
            continue
        of_guess = ontology.with_ancestors(guess) - SAY_NOTHING
        common, n_predicted = common + n * len(above & of_guess), n_predicted + n * len(of_guess)
        total["accuracy"] += n * similarity(term, guess)
        if term == guess:
            kind = "same"
        elif guess in ontology.with_ancestors(term):
            kind = "broader"
        else:
            kind = "finer" if term in ontology.with_ancestors(guess) else "other"
        total[kind] += n
    n_cells = max(len(pairs), 1)
    shares = {name: float(value / n_cells) for name, value in total.items()}
    precision, recall = common / max(n_predicted, 1), common / max(n_true, 1)
    f1 = 2 * common / max(n_predicted + n_true, 1)
    return {**shares, "precision": float(precision), "recall": float(recall), "f1": float(f1)}
