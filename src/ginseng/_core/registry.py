from __future__ import annotations

import dataclasses
import functools
import importlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ginseng._core.architecture import Architecture
from ginseng._core.types import Params

#: Built-in architectures, each in a module of that name; the default comes first.
OWN = ("gated", "linear", "instance", "transformer", "cascade", "logistic")

_registry: dict[str, type[Architecture]] = {}


def _known() -> dict[str, type[Architecture]]:
    for name in OWN:
        importlib.import_module(f"ginseng._core.{name}")
    return {name: _registry[name] for name in OWN} | _registry


def register[T: type[Architecture]](cls: T) -> T:
    """Register an architecture under its `name`."""
    _registry[cls.name] = cls
    return cls


def names() -> list[str]:
    """Return the names of the architectures that can be trained, the default first."""
    return [name for name, cls in _known().items() if cls.trains]


def get(name: str, config: Mapping[str, Any] | None = None) -> Architecture:
    """Return the architecture `name` with these settings.

    Raises
    ------
    ValueError
        If there is no such architecture, or it has no such setting.
    """
    architectures = _known()
    if name not in architectures:
        msg = f"No architecture {name!r}. There are: {', '.join(map(repr, architectures))}."
        raise ValueError(msg)
    cls = architectures[name]
    config = {k: v.item() if isinstance(v, np.generic) else v for k, v in (config or {}).items()}
    known = {f.name for f in dataclasses.fields(cls)}
    if unknown := config.keys() - known:
        msg = f"Architecture {name!r} has no setting {', '.join(sorted(unknown))}. It has: {', '.join(sorted(known))}."
        raise ValueError(msg)
    return cls(**config)


@functools.lru_cache(maxsize=64)
def _shapes(architecture: Architecture, n_genes: int, n_classes: int) -> Params:
    return jax.eval_shape(lambda: architecture.init_members(jax.random.key(0), n_genes, n_classes))


def shapes(architecture: Architecture, n_genes: int, n_classes: int) -> Params:
    """Return the shape and dtype of each parameter without allocating any."""
    # a copy, since the cached dict must not change
    return jax.tree.map(lambda shape: shape, _shapes(architecture, n_genes, n_classes))


def given(**settings: Any) -> dict[str, Any]:
    """Drop settings that are None; the architecture's default applies to them."""
    return {name: value for name, value in settings.items() if value is not None}


def recognize(params: Params, n_genes: int, n_classes: int, config: Mapping[str, Any]) -> Architecture:
    """Return the architecture whose parameters have the same layers and shapes as `params`.

    Only for weights without the name of their architecture, as in ginseng 0.2, which had a single one. Everything else
    stores the name, since variants of an architecture may share its parameter shapes.

    Raises
    ------
    ValueError
        If no architecture fits, or several do.
    """
    found = jax.tree.map(jnp.shape, params)
    fitting = []
    for cls in _known().values():
        known = {f.name for f in dataclasses.fields(cls)}
        architecture = cls(**{k: v for k, v in config.items() if k in known})
        if jax.tree.map(jnp.shape, shapes(architecture, n_genes, n_classes)) == found:
            fitting.append(architecture)
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        names = ", ".join(repr(architecture.name) for architecture in fitting)
        msg = f"Several architectures have parameters of these shapes: {names}. Pass `architecture`."
        raise ValueError(msg)
    msg = (
        f"No architecture has parameters {found} for {n_genes} genes and {n_classes} classes with {dict(config)}. "
        "Pass `architecture` and `config`, as stored on a trained state."
    )
    raise ValueError(msg)
