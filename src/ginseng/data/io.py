"""All functions that read and write files, under their documented names."""

from ginseng._disk.readers import read_10x_h5, read_10x_mtx, read_adata
from ginseng.model.file import load_model, save_model

__all__ = ["load_model", "read_10x_h5", "read_10x_mtx", "read_adata", "save_model"]
