"""Cell type annotation for single-cell RNA-seq data."""

from importlib.metadata import version

from ginseng import data, datasets, model, pl, pp, tl, train, utils
from ginseng._settings import settings
from ginseng.data.io import load_model, read_10x_h5, read_10x_mtx, read_adata, save_model
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
