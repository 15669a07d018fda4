"""Models by name: told of, fetched, and loaded."""

from __future__ import annotations

import dataclasses
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd

from ginseng import _logging
from ginseng._settings import settings
from ginseng.model.file import ModelLike, load_model, save_model
from ginseng.model.file import open_model as open_file
from ginseng.model.logistic import read_celltypist
from ginseng.model.state import GinsengClassifierState
from ginseng.models import actinn, catalogue
from ginseng.models.catalogue import Entry

#: Columns of the table of models.
_COLUMNS = ("species", "tissues", "n_classes", "n_genes", "gene_ids", "source", "licence", "citation")
#: What files end in that models, cells or results are in: no name ends so.
_SUFFIXES = (
    ".h5",
    ".hdf5",
    ".pkl",
    ".pickle",
    ".h5ad",
    ".zarr",
    ".mtx",
    ".gz",
    ".csv",
    ".tsv",
    ".txt",
    ".loom",
    ".npz",
)
#: Models whose licence has been told in this session.
_told: set[str] = set()


def available(*, refresh: bool = False) -> pd.DataFrame:
    """List the models that are known by name.

    These are the included models, those in the folder `settings.models_dir`, and those in the catalogues at
    `settings.models_url` and of CellTypist, once these have been fetched.

    Parameters
    ----------
    refresh
        Whether to fetch the catalogues again. Otherwise nothing is downloaded.

    Returns
    -------
    A table with one row per model, indexed by name: `also` (other names), `species`, `tissues`, `n_classes`, `n_genes`,
    `gene_ids`, `source`, `licence`, `citation`, and `where`: `"packaged"`, `"yours"`, `"cached"` or `"remote"`.

    Examples
    --------
    >>> import ginseng as gs
    >>> gs.models.available().loc["human", ["species", "where"]].tolist()
    ['human', 'packaged']
    """
    found = catalogue.entries(refresh=refresh)
    rows = {name: [getattr(entry, name) for entry in found] for name in _COLUMNS}
    rows = {"also": [", ".join(entry.also) for entry in found], **rows, "where": [_where(entry) for entry in found]}
    table = pd.DataFrame(rows, index=pd.Index([entry.name for entry in found], name="name"))
    return table.astype({"n_classes": "Int64", "n_genes": "Int64"})


def info(name: str) -> dict[str, Any]:
    """Return what is known of a model, and its classes and genes if it is on this machine.

    Raises
    ------
    FileNotFoundError
        If there is no model of this name.
    """
    entry = catalogue.find(name)
    values = {"name": entry.name, **{column: getattr(entry, column) for column in _COLUMNS}, "url": entry.url}
    values["where"] = _where(entry)
    if values["where"] == "remote":
        return values
    state = _local(entry)
    assert state is not None
    own = {"n_classes": state.n_classes, "n_genes": state.n_genes, "architecture": state.architecture}
    return {**values, **state.info.get("reference", {}), **own, "classes": state.label_keys.tolist()}


def load(name: str) -> GinsengClassifierState:
    """Load a model by name, and download it if necessary.

    Its licence and citation are shown once per session, and stored in `state.info["reference"]`.

    Parameters
    ----------
    name
        A name from :func:`available`, such as `"human"`, or from CellTypist's list, such as
        `"celltypist/Immune_All_Low"`.

    Raises
    ------
    FileNotFoundError
        If no model has this name.
    ConnectionError
        If it has to be downloaded and cannot be, or `settings.offline` is set.
    ValueError
        If the file does not match its entry in the catalogue.

    Examples
    --------
    >>> import ginseng as gs
    >>> state = gs.models.load("human")
    >>> state.n_genes, state.n_classes
    (4000, 324)
    """
    entry = catalogue.find(name)
    state = _local(entry)
    if state is None:
        fetch(name)
        state = _local(entry)
        assert state is not None
    if entry.name not in _told and (entry.licence or entry.citation):
        _told.add(entry.name)
        _logging.warning(f"model {entry.name!r}: licence {entry.licence}. Please cite {entry.citation}")
    return state


def fetch(name: str) -> Path:
    """Download a model, verify and convert it, and return its path.

    Raises
    ------
    FileNotFoundError
        If no model has this name.
    ConnectionError
        If it cannot be downloaded, or `settings.offline` is set and it is not in the cache.
    ValueError
        If the file does not match its entry in the catalogue.
    """
    entry = catalogue.find(name)
    target = _target(entry)
    if entry.path is not None or target.exists():
        return entry.path or target
    if (packaged := _packaged(entry)) is not None:
        return packaged
    read = {"actinn-jax": _read_archive, "celltypist": read_celltypist, "ginseng": load_model}[entry.format]
    path = catalogue.download(entry, read)
    target.parent.mkdir(parents=True, exist_ok=True)
    save_model(_described(read(path), entry), target)
    path.unlink()  # the converted one is what is kept
    return target


def open_model(model: ModelLike) -> GinsengClassifierState:
    """Return a model, whatever it is kept in, or whatever its name is, once it has been looked at.

    Raises
    ------
    FileNotFoundError
        If there is neither such a file nor such a name.
    """
    return load(str(model)) if is_name(model) else open_file(model)


def is_name(model: Any) -> bool:
    """Whether this may name a model: text that is no file, and does not look like the path of one."""
    if not isinstance(model, str) or Path(model).expanduser().exists():
        return False
    if model.startswith(catalogue.CELLTYPIST_PREFIX):
        return True
    return Path(model).suffix.lower() not in _SUFFIXES and not any(c in model for c in "/\\~:")


def default_model(species: str | None) -> str:
    """Return the name of a model on this machine that labels cells of any tissue of a species.

    Raises
    ------
    ValueError
        If there is none.
    """
    for animal in (species or "").split(" or "):
        if (name := default_for(animal)) is not None:
            return name
    animals = (species or "").split(" or ")
    remote = [e.name for e in catalogue.entries() if e.species in animals and e.tissues == "all"]
    what = f"look {species}" if species else "are of no species that can be told"
    advice = f"Fetch one, `ginseng models fetch {remote[0]}`, or name" if remote else "Name"
    msg = f"No model was named, and the genes {what}, for which none is on this machine. {advice} a file, or one that "
    msg += "`ginseng models list` shows."
    raise ValueError(msg)


def default_for(species: str | None) -> str | None:
    """Return the name of the model on this machine that labels cells of any tissue of a species; None if none does."""
    for entry in catalogue.entries():
        if entry.species == species and entry.tissues == "all" and _where(entry) in ("packaged", "cached"):
            return entry.name
    return None


def _local(entry: Entry) -> GinsengClassifierState | None:
    """Return a model that is on this machine."""
    if entry.path is not None:
        return load_model(entry.path)
    if (target := _target(entry)).exists():
        return load_model(target)
    if (folder := _packaged(entry)) is not None:
        return _described(actinn.read_reference(actinn.files_in(folder)), entry)
    return None


def _where(entry: Entry) -> str:
    if entry.path is not None:
        return "yours"
    if _packaged(entry) is not None:
        return "packaged"
    return "cached" if _target(entry).exists() else "remote"


def _packaged(entry: Entry) -> Path | None:
    if entry.format != "actinn-jax":
        return None
    return next((folder for name in entry.names if (folder := actinn.packaged_folder(name)) is not None), None)


def _target(entry: Entry) -> Path:
    """Return where the converted model is kept; another version of it, elsewhere."""
    version = sha256("\n".join([entry.url, entry.sha256, entry.version]).encode()).hexdigest()[:16]
    safe = "".join(c if c.isalnum() or c in "-_." else "-" for c in entry.name)[:80]
    return settings.cache_dir / "models" / f"{safe}-{version}.h5"


def _read_archive(path: Path) -> GinsengClassifierState:
    return actinn.read_reference(actinn.archived_files(path))


def _described(state: GinsengClassifierState, entry: Entry) -> GinsengClassifierState:
    reference = {**state.info.get("reference", {}), **entry.reference}
    return dataclasses.replace(state, info={**state.info, "reference": reference})
