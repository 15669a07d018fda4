"""Cell type annotation for single-cell RNA-seq data."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ginseng import data, datasets, model, pl, pp, tl, train, utils
    from ginseng._disk.readers import read_10x_h5, read_10x_mtx, read_adata
    from ginseng._settings import settings
    from ginseng.model.file import load_model, save_model
    from ginseng.tl import classify

__version__ = version("ginseng")

__all__ = [
    "classify",
    "data",
    "datasets",
    "load_model",
    "model",
    "pl",
    "pp",
    "read_10x_h5",
    "read_10x_mtx",
    "read_adata",
    "save_model",
    "settings",
    "tl",
    "train",
    "utils",
]

#: Where the names are that are no modules.
_HOMES = {
    "classify": "tl",
    "settings": "_settings",
    **dict.fromkeys(["read_10x_h5", "read_10x_mtx", "read_adata"], "_disk.readers"),
    **dict.fromkeys(["load_model", "save_model"], "model.file"),
}


def __getattr__(name: str) -> Any:  # imported when first asked for: `ginseng --help` needs no JAX
    if name not in __all__:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    home = _HOMES.get(name)
    found = import_module(f"{__name__}.{name}") if home is None else getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
