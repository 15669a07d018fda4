"""The model that :func:`ginseng.tl.train` stores in `adata.uns`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ginseng import _keys
from ginseng.model.state import GinsengClassifierState

if TYPE_CHECKING:
    from anndata import AnnData


def model_of(model: GinsengClassifierState | AnnData) -> GinsengClassifierState:
    """Return a checked state, given the state itself or the AnnData that it was trained on.

    Raises
    ------
    ValueError
        If there is no model, or it fails :meth:`GinsengClassifierState.check`.
    TypeError
        If `model` is neither a state nor an AnnData.
    """
    if isinstance(model, GinsengClassifierState):
        model.check()
        return model
    if not hasattr(model, "uns"):
        msg = f"A model is a state or an AnnData with one in `uns['{_keys.DEFAULT}']`, not {type(model).__name__}."
        raise TypeError(msg)
    holders = [k for k, v in model.uns.items() if isinstance(v, Mapping) and isinstance(v.get("model"), Mapping)]
    if not holders:
        msg = "The AnnData holds no model. Run `gs.tl.train(adata, label_key)` first."
        raise ValueError(msg)
    if len(holders) > 1 and _keys.DEFAULT not in holders:
        msg = f"The AnnData holds several models in `uns`: {holders}. Rename one to {_keys.DEFAULT!r}."
        raise ValueError(msg)
    key = _keys.DEFAULT if _keys.DEFAULT in holders else holders[0]
    try:
        return GinsengClassifierState.from_dict(model.uns[key]["model"])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        msg = f"The model in `adata.uns[{key!r}]['model']` cannot be used: {reason}. Train it again, or load its file."
        raise ValueError(msg) from error
