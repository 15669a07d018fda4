"""Cell type annotation for single-cell RNA-seq data."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import TYPE_CHECKING

from ginseng._lazy import lazy

if TYPE_CHECKING:
    from ginseng import data, datasets, get, model, models, pl, pp, tl, train, utils
    from ginseng._disk.readers import read_10x_h5, read_10x_mtx, read_adata
    from ginseng._report.page import report
    from ginseng._settings import settings
    from ginseng.model.file import load_model, save_model
    from ginseng.tl import classify

__version__ = version("ginseng")

__all__ = [
    "classify",
    "data",
    "datasets",
    "get",
    "load_model",
    "model",
    "models",
    "pl",
    "pp",
    "read_10x_h5",
    "read_10x_mtx",
    "read_adata",
    "report",
    "save_model",
    "settings",
    "tl",
    "train",
    "utils",
]

_HOMES = {
    "classify": "ginseng.tl",
    "report": "ginseng._report.page",
    "settings": "ginseng._settings",
    **dict.fromkeys(["read_10x_h5", "read_10x_mtx", "read_adata"], "ginseng._disk.readers"),
    **dict.fromkeys(["load_model", "save_model"], "ginseng.model.file"),
}

if "ipykernel" in sys.modules:
    # before anything else imports tqdm, which warns in Jupyter without ipywidgets
    import ginseng._logging  # noqa: F401

# `ginseng --help` must not import JAX
__getattr__, __dir__ = lazy(globals(), {name: _HOMES.get(name, f"ginseng.{name}") for name in __all__})
