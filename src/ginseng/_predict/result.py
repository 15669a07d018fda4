"""What a model says of each cell, and where that is written: an AnnData, a table, a file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from ginseng import _keys
from ginseng._cells.genes import Alignment
from ginseng._cells.labels import in_memory
from ginseng._cells.matrix import make_actual
from ginseng._disk.atomic import check_writable
from ginseng._disk.writers import can_be_added_to, check_adata_target, write_adata, write_added
from ginseng._errors import suggest
from ginseng._predict.forward import Predicted
from ginseng.data._store import is_store
from ginseng.model.state import GinsengClassifierState


def allowed_classes(
    classes: Sequence[Any] | np.ndarray, allowed: str | Iterable[str] | None, excluded: str | Iterable[str] | None
) -> np.ndarray | None:
    """Return which classes may be given, (classes,) bool, or `None` for all of them.

    Raises
    ------
    ValueError
        If a name is no class of the model, or no class is left.
    """
    if allowed is None and excluded is None:
        return None
    names = [str(label) for label in classes]
    chosen = {}
    for what, given in {"allowed": allowed, "excluded": excluded}.items():
        wanted = [given] if isinstance(given, str) else [str(name) for name in (() if given is None else given)]
        for name in wanted:
            if name not in names:
                msg = f"`{what}` names {name!r}, which is no class of the model. {suggest(name, names)}"
                raise ValueError(msg)
        chosen[what] = np.isin(names, wanted)
    mask: np.ndarray = ~chosen["excluded"] if allowed is None else chosen["allowed"] & ~chosen["excluded"]
    if not mask.any():
        msg = f"`allowed` and `excluded` leave none of the {len(names)} classes of the model."
        raise ValueError(msg)
    return mask


def refuse_columns_of_others(obs: Any, columns: Iterable[str], key_added: str, *, known: bool) -> None:
    """Refuse to replace columns of `obs`, unless it is `known` that they were written by the same verb before.

    Raises
    ------
    ValueError
        If there are such columns.
    """
    found = [name for name in columns if name in obs.columns]
    if found and not known:
        msg = (
            f"`adata.obs` has a column {found[0]!r} that ginseng has no record of in `adata.uns[{key_added!r}]`. It is "
            f"not replaced. Write to another with `key_added='{key_added}_2'`, or drop it: "
            f"`del adata.obs[{found[0]!r}]`."
        )
        raise ValueError(msg)


class Result:
    """Labels and confidence of all cells, filled in as they come.

    Parameters
    ----------
    min_confidence
        Cells below it get no label.
    unassigned
        What such cells, and cells without counts, are called.
    allowed
        (classes,) bool: the classes that may be given, or `None` for all.
    """

    def __init__(
        self,
        n_cells: int,
        state: GinsengClassifierState,
        genes: Alignment,
        *,
        probs: bool,
        gene_weights: bool,
        min_confidence: float,
        unassigned: str,
        allowed: np.ndarray | None,
    ) -> None:
        self.min_confidence = min_confidence
        self.unassigned = unassigned
        self.allowed = allowed
        self.n_unsure = self.n_moved = 0
        self.code = np.zeros(n_cells, np.int32)
        self.confidence = np.zeros(n_cells, np.float32)
        self.n_empty = 0
        self.labels = state.label_keys
        self.genes = state.genes
        self.found = genes
        self.probs = np.zeros((n_cells, state.n_classes), np.float32) if probs else None
        self.gene_weights = np.zeros((n_cells, state.n_genes), np.float32) if gene_weights else None

    def add(self, part: Predicted) -> None:
        """Take in what is said of some cells."""
        here = slice(part.start, part.stop)
        confidence = np.where(part.empty, 0, part.probs.max(axis=1))
        unsure = ~part.empty & (confidence < self.min_confidence)
        self.code[here] = np.where(part.empty | unsure, -1, part.probs.argmax(axis=1))
        self.confidence[here] = confidence
        self.n_empty += int(part.empty.sum())
        self.n_unsure += int(unsure.sum())
        self.n_moved += int((part.moved & ~part.empty).sum())
        if self.probs is not None:
            self.probs[here] = part.probs
        if self.gene_weights is not None:
            self.gene_weights[here] = part.gene_weights

    @property
    def cell_type(self) -> pd.Categorical:
        """Predicted label of each cell."""
        names: Any = [str(label) for label in self.labels]
        code: Any = self.code
        if (code < 0).any():
            if self.unassigned not in names:
                names.append(self.unassigned)
            code = np.where(code < 0, names.index(self.unassigned), code)
        return pd.Categorical.from_codes(code, names)

    def table(self, obs_names: pd.Index) -> pd.DataFrame:
        """Return a row a cell: label, confidence, and the probability of each class if they were asked for."""
        table = pd.DataFrame({"cell_type": self.cell_type, "confidence": self.confidence}, index=obs_names)
        if self.probs is None:
            return table
        probs = pd.DataFrame(self.probs, index=obs_names, columns=[str(label) for label in self.labels])
        return pd.concat([table, probs], axis=1)  # by position, whatever the names of cells and classes

    def _obs(self, key_added: str) -> dict[str, Any]:
        return {_keys.cell_type(key_added): self.cell_type, _keys.confidence(key_added): self.confidence}

    def _obsm(self, key_added: str) -> dict[str, np.ndarray]:
        entries = {_keys.probs(key_added): self.probs, _keys.gene_weights(key_added): self.gene_weights}
        return {name: values for name, values in entries.items() if values is not None}

    def _uns(self, before: dict[str, Any]) -> dict[str, Any]:
        overlap = {
            "n_genes": self.found.n_model,
            "n_found": self.found.n_model - len(self.found.missing),
            "share": self.found.overlap,
        }
        after = {
            # with `format` it would pass for a training store
            **{name: value for name, value in before.items() if name not in ("restriction", "format")},
            "classes": self.labels.astype(object),
            "overlap": overlap,
            "unassigned": {
                "label": self.unassigned,
                "min_confidence": float(self.min_confidence),
                "n_low_confidence": self.n_unsure,
                "n_no_counts": self.n_empty,
            },
        }
        if self.gene_weights is not None:
            after["genes"] = self.genes.astype(object)
        if self.allowed is not None:
            after["restriction"] = {"allowed": self.labels[self.allowed].astype(object), "n_relabelled": self.n_moved}
        return after

    def write(self, adata: AnnData, key_added: str) -> None:
        """Write into an AnnData; a view becomes an AnnData of its own."""
        make_actual(adata)
        adata.obs = in_memory(adata.obs).assign(**self._obs(key_added))
        for name, values in self._obsm(key_added).items():
            adata.obsm[name] = values
        adata.uns[key_added] = self._uns(adata.uns.get(key_added, {}))

    def check_output(self, source: Path | None, output: Path) -> None:
        """Refuse an output that :meth:`write_file` could not write, before the cells are labelled.

        Raises
        ------
        OSError
            If its folder cannot be written to, another process writes to it, or the disk has no room.
        FileExistsError
            If it is the source, and holds more than the cells, as the other modalities of a MuData.
        ValueError
            If it is a training store, which it would no longer be.
        """
        if is_store(output):
            other = str(output.with_suffix(".h5ad"))
            msg = f"{output} is a training store, and labels in it would end that. Write to a file: `output={other!r}`."
            raise ValueError(msg)
        if source is not None and not can_be_added_to(source, output):
            check_adata_target(output)  # it may be the source, and hold more than the cells that are labelled
        files = [] if source is None else [f for f in (source, *source.rglob("*")) if f.is_file()]
        columns = [self.code, self.confidence, *self._obsm("").values()]
        check_writable(output, sum(f.stat().st_size for f in files) + sum(values.nbytes for values in columns))

    def write_file(
        self, source: Path | None, adata: AnnData, output: Path, key_added: str, *, overwrite: bool = False
    ) -> None:
        """Write a file of the cells with their labels; `output` is what it was before, or all of the new file.

        Parameters
        ----------
        source
            The file that the cells came from, if there is one. If it is of the format of `output`, it is copied and
            added to, never loaded.
        adata
            The cells.
        output
            The file to write, h5ad or zarr; may be `source`.
        key_added
            Prefix of what is written.
        overwrite
            Whether `output` may be another file that exists.
        """
        if not overwrite and output.exists() and not (source is not None and output.samefile(source)):
            msg = f"{output} was written by somebody else while the cells were labelled. It is not replaced."
            raise FileExistsError(msg)
        if source is None or not can_be_added_to(source, output):
            adata = adata.to_memory()
            self.write(adata, key_added)
            write_adata(adata, output)
            return
        uns = self._uns(adata.uns.get(key_added, {}))
        obs, obsm = self._obs(key_added), self._obsm(key_added)
        write_added(source, output, obs, obsm, {key_added: uns}, obs_names=adata.obs_names)
