"""Check that a matrix holds the values a verb needs, and say what to pass if it does not."""

from __future__ import annotations

import math
from typing import Literal

from ginseng._cells.bad_values import LARGEST_LOG
from ginseng._cells.open import OpenCells
from ginseng._cells.value_kind import SAME, Values
from ginseng._errors import warn


def is_log_for(found: Values, target_sum: float | None, *, any_total: bool = False) -> bool:
    """Whether values already are what the model computes from counts: log1p of counts per `target_sum`.

    Parameters
    ----------
    found
        The judged values.
    target_sum
        Counts per cell after scaling.
    any_total
        Whether the model undoes the logarithm, so that any total is accepted.
    """
    if found.kind != "log1p" or found.base != math.e or found.target_sum is None or target_sum is None:
        return False
    return any_total or abs(found.target_sum / target_sum - 1) <= SAME


def is_counts(found: Values) -> bool:
    """Whether values are counts or can be scaled like counts, however they were rounded or scaled."""
    return found.kind in ("counts", "fractional", "normalised")


def accept(
    cells: OpenCells,
    *,
    normalize: bool,
    insisted: bool,
    target_sum: float | None = None,
    any_total: bool = False,
    training: bool = False,
    option: Literal["normalize=False", "target_sum=None"] = "normalize=False",
) -> bool:
    """Compare the kind of values found with the kind needed, before any work is done.

    Parameters
    ----------
    cells
        The matrix.
    normalize
        Whether counts are needed (True) or log-normalised values (False).
    insisted
        Whether the user asked for this explicitly; what would be an error is then a warning.
    target_sum
        The model computes log1p of counts per `target_sum`. Such values are accepted, with a warning.
    any_total
        Whether the logarithm can be undone, so that log1p of counts per any total is accepted.
    training
        Whether a model is trained; an all-zero matrix is then refused.
    option
        How the user declares log-normalised values.

    Returns
    -------
    Whether to log-normalise the values.

    Raises
    ------
    ValueError
        If the values are of another kind; the message says what was found and what to pass.
    """
    found = cells.values
    has = f"`{found.where}` has {found.described}"
    if found.kind == "scaled" or (found.kind == "empty" and found.n_cells == cells.n_obs and training):
        raise ValueError(f"{has}. {_remedy(cells, option, counts=normalize)}")
    if found.kind == "empty" or (is_counts(found) if normalize else found.kind == "log1p"):
        if found.mixed:
            warn(f"{has}, where counts are expected. {_remedy(cells, option, counts=normalize)}")
        return normalize
    if not normalize:
        msg = f"{has}, but log1p of normalised counts is expected here. "
        if (any_total or option == "target_sum=None") and found.highest > LARGEST_LOG:
            # refused even if the user insists: the values cannot be logarithms
            raise ValueError(f"{msg}Leave out `{option}`. {_remedy(cells, option, counts=True)}")
        if found.kind == "counts":
            default = option.replace("False", "True").replace("None", "1e4")
            msg += f"Pass `{default}`, or log-transform the data first."
            if not insisted:
                raise ValueError(msg)
            warn(msg)
        else:
            warn(f"{msg}Pass `layer=` with log-normalised values, if there is such a layer.")
        return normalize
    if not insisted and is_log_for(found, target_sum, any_total=any_total):
        what = "the logarithm is undone, because the model takes counts" if any_total else "used unchanged"
        but = "" if any_total else ", which the model would compute from counts"
        warn(f"{has}{but}: {what}. Pass `{option}` to silence this.")
        return False
    msg = f"{has}, where counts are expected: they would be log-normalised twice. {_remedy(cells, option, found)}"
    if not insisted:
        raise ValueError(msg)
    warn(msg)
    return normalize


def where_counts_are(cells: OpenCells) -> list[str]:
    """Say how to pass each of the other matrices that hold counts."""
    return [
        "leave out `layer`: `adata.X` has counts" if other.layer is None
        else f"pass `layer={other.layer!r}`, which has counts"
        for other in cells.others()
        if other.values.kind == "counts"
    ]  # fmt: skip


def _remedy(cells: OpenCells, option: str, found: Values | None = None, *, counts: bool = True) -> str:
    if counts and (elsewhere := where_counts_are(cells)):
        return f"{elsewhere[0][0].upper()}{elsewhere[0][1:]}."
    if found is None:
        wanted = "counts" if counts else "log-normalised values"
        return f"Pass `layer=` with {wanted}, or restore them from the original data."
    if found.target_sum is None or (found.base == math.e and abs(found.target_sum / 1e4 - 1) <= SAME):
        return f"Pass `layer=` with counts, or `{option}` if it is log1p of counts per 10,000."
    code = f"np.expm1({found.where}{'' if found.base == math.e else ' * np.log(2)'})"
    if cells.is_raw:
        return f"Pass `layer=` with counts: `{code}` undoes the logarithm."
    return f"Undo the logarithm, `adata.layers['linear'] = {code}`, and pass `layer='linear'`."
