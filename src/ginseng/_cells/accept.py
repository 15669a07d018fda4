"""Whether the numbers of a matrix are those that are wanted, and what to pass if not."""

from __future__ import annotations

import math
from typing import Literal

from ginseng._cells.bad_values import LARGEST_LOG
from ginseng._cells.open import OpenCells
from ginseng._cells.value_kind import SAME, Values
from ginseng._errors import warn


def is_log_for(found: Values, target_sum: float | None, *, any_total: bool = False) -> bool:
    """Whether values are what a model makes of counts: log1p of counts per `target_sum`.

    Parameters
    ----------
    found
        The values.
    target_sum
        Counts per cell after scaling.
    any_total
        Whether the model undoes the logarithm, so that any total will do.
    """
    if found.kind != "log1p" or found.base != math.e or found.target_sum is None or target_sum is None:
        return False
    return any_total or abs(found.target_sum / target_sum - 1) <= SAME


def is_counts(found: Values) -> bool:
    """Whether values are counts, or what can be scaled like counts; how they were rounded or scaled does not matter."""
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
    """Hold what the matrix is against what it should be, before any of it is worked with.

    Parameters
    ----------
    cells
        The matrix.
    normalize
        Whether counts are wanted, or else log-normalised values.
    insisted
        Whether the user has said so: what would be an error is a warning then.
    target_sum
        What a model makes of counts: log1p of counts per this. Such values are taken, with a warning.
    any_total
        Whether the logarithm can be undone, so that log1p of counts per any total is taken.
    training
        Whether a model is to be trained, for which there must be a value.
    option
        How the user says that values are log-normalised.

    Returns
    -------
    Whether to log-normalise.

    Raises
    ------
    ValueError
        If it is something else; the message says what was found and what to pass.
    """
    found = cells.values
    has = f"`{found.where}` has {found.described}"
    if found.kind == "scaled" or (found.kind == "empty" and found.n_cells == cells.n_obs and training):
        raise ValueError(f"{has}. {_remedy(cells, option, counts=normalize)}")
    if found.kind == "empty" or (is_counts(found) if normalize else found.kind == "log1p"):
        if found.mixed:
            warn(f"{has}, where counts are wanted. {_remedy(cells, option, counts=normalize)}")
        return normalize
    if not normalize:
        msg = f"{has}, and log1p of normalised counts is wanted here. "
        if (any_total or option == "target_sum=None") and found.highest > LARGEST_LOG:
            # whatever the user says: there is no logarithm to undo
            raise ValueError(f"{msg}Leave out `{option}`. {_remedy(cells, option, counts=True)}")
        if found.kind == "counts":
            default = option.replace("False", "True").replace("None", "1e4")
            msg += f"Pass `{default}`, or take the logarithm first."
            if not insisted:
                raise ValueError(msg)
            warn(msg)
        else:
            warn(f"{msg}Pass `layer=` with that, if there is one.")
        return normalize
    if not insisted and is_log_for(found, target_sum, any_total=any_total):
        what = "the logarithm is undone for the model, which takes counts" if any_total else "it is used as it is"
        but = "" if any_total else ", which is what the model makes of counts"
        warn(f"{has}{but}: {what}. Say so with `{option}`.")
        return False
    msg = f"{has}, where counts are wanted: it would be log-normalised twice. {_remedy(cells, option, found)}"
    if not insisted:
        raise ValueError(msg)
    warn(msg)
    return normalize


def where_counts_are(cells: OpenCells) -> list[str]:
    """Say how to pass the other matrices that hold counts."""
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
        return f"Pass `layer=` with {wanted}, or put them back from where the data came from."
    if found.target_sum is None or (found.base == math.e and abs(found.target_sum / 1e4 - 1) <= SAME):
        return f"Pass `layer=` with counts, or `{option}` if it is log1p of counts per 10,000."
    code = f"np.expm1({found.where}{'' if found.base == math.e else ' * np.log(2)'})"
    if cells.is_raw:
        return f"Pass `layer=` with counts: `{code}` undoes the logarithm."
    return f"Undo the logarithm, `adata.layers['linear'] = {code}`, and pass `layer='linear'`."
