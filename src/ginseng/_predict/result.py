"""What a model says of each cell, as it comes and as it is written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ginseng import _keys
from ginseng._cells.colors import hex_colors
from ginseng._cells.genes import Alignment
from ginseng._cells.labels import UNASSIGNED
from ginseng._cells.write import Results, label_column
from ginseng._disk.atomic import check_writable
from ginseng._disk.writers import can_be_added_to, check_adata_target
from ginseng._errors import suggest
from ginseng._predict.adapt import Adaptation, measured_genes_of
from ginseng._predict.forward import Rows, predict
from ginseng._predict.priors import reference_shares
from ginseng.data._store import is_store
from ginseng.model import calibration
from ginseng.model.overlap import measured_weight
from ginseng.model.state import GinsengClassifierState
from ginseng.ontology.backoff import BackOff
from ginseng.ontology.terms import UNKNOWN, cell_ontology

#: Distance from the composition of the reference that is worth a remark, and the fewest cells that tell it.
OTHER_COMPOSITION, LEAST_CELLS = 0.3, 100


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
                msg = f"`{what}` names {name!r}, which is not a class of the model. {suggest(name, names)}"
                raise ValueError(msg)
        chosen[what] = np.isin(names, wanted)
    mask: np.ndarray = ~chosen["excluded"] if allowed is None else chosen["allowed"] & ~chosen["excluded"]
    if not mask.any():
        msg = f"`allowed` and `excluded` leave none of the {len(names)} classes of the model."
        raise ValueError(msg)
    return mask


def class_terms(state: GinsengClassifierState) -> list[str | None] | None:
    """Return the Cell Ontology id of each class, None where it has none; None if the model has no ids."""
    ids = state.info.get("ontology")
    if not isinstance(ids, Mapping):
        return None
    return [cell_ontology().current(str(ids.get(str(label), ""))) for label in state.label_keys]


def _names(
    labels: np.ndarray, ids: Sequence[str | None] | None, backoff: BackOff | None
) -> tuple[np.ndarray, list[str | None] | None, np.ndarray]:
    """Return all labels that cells may have, the classes first, their terms, and which labels those of back-off are."""
    names = [str(label) for label in labels]
    terms: list[str | None] = [None] * len(names) if ids is None else list(ids)
    places = []
    for broader in backoff.labels if backoff else ():
        name = broader.label
        if name in names and (broader.id is None or terms[names.index(name)] != broader.id):
            name = f"{name} ({broader.of})"  # the class of that name is another type
        if name not in names:
            names.append(name)
            terms.append(broader.id)
        places.append(names.index(name))
    # the last one is where no label is sure enough
    found = None if ids is None else terms
    return (labels if len(names) == len(labels) else np.array(names, object)), found, np.array([*places, -1])


class Level:
    """Labels of a level of the model, filled in as they come.

    Parameters
    ----------
    of_class
        Label of each class.
    """

    def __init__(self, of_class: Sequence[str], n_cells: int) -> None:
        self.names = list(dict.fromkeys(of_class))
        self.code = np.zeros(n_cells, np.int32)
        self.confidence = np.zeros(n_cells, np.float32)

    @staticmethod
    def most_probable(of_class: Sequence[str], probs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the place of the most probable label, by the sum over the classes within it, and that sum."""
        names = list(dict.fromkeys(of_class))
        sums = np.eye(len(names))[[names.index(label) for label in of_class]]  # (classes, labels)
        probs = np.minimum(probs @ sums, 1)
        return probs.argmax(axis=1), probs.max(axis=1)

    def add(self, part: Labelled, label: np.ndarray, confidence: np.ndarray, min_confidence: float) -> None:
        """Take in the most probable label of some cells, and its probability."""
        here = slice(part.start, part.stop)
        self.confidence[here] = np.where(part.empty, 0, confidence)
        self.code[here] = np.where(part.empty | (self.confidence[here] < min_confidence), -1, label)


class Labelled(NamedTuple):
    """What is kept of what a model says of consecutive cells."""

    start: int
    stop: int
    label: np.ndarray  # (cells,) place among the classes
    confidence: np.ndarray  # (cells,) float32, its probability
    broader: tuple[np.ndarray, np.ndarray] | None  # (cells,) places among the terms of back-off, and their probability
    levels: dict[str, tuple[np.ndarray, np.ndarray]]  # the same of the labels of each level
    probs: np.ndarray | None  # (cells, classes) float32
    gene_weights: np.ndarray | None  # (cells, genes) float32
    empty: np.ndarray  # (cells,) bool, cells without a count in the genes of the model
    moved: np.ndarray  # (cells,) bool, cells whose label would be one that is not allowed
    novelty: np.ndarray | None  # (cells,) float32, how unlike the reference


def label(
    state: GinsengClassifierState, rows: Iterable[Rows], *, backoff: BackOff | None, probs: bool, **how: Any
) -> Iterator[Labelled]:
    """Yield what :func:`ginseng._predict.forward.predict` says of the cells, without what is not asked for.

    Parameters
    ----------
    backoff
        Gives cells broader labels.
    probs
        Whether to keep the probability of each class.
    """
    for part in predict(state, rows, **how):
        yield Labelled(
            part.start,
            part.stop,
            part.label,
            np.take_along_axis(part.probs, part.label[:, None], axis=1)[:, 0],
            None if backoff is None else backoff(part.probs),
            {name: Level.most_probable(of_class, part.probs) for name, of_class in (state.levels or {}).items()},
            part.probs if probs else None,
            part.gene_weights,
            part.empty,
            part.moved,
            part.novelty,
        )


class Result:
    """Labels and confidence of all cells, filled in as they come.

    Parameters
    ----------
    min_confidence, max_novelty
        Cells below the one or above the other get no label.
    unassigned
        What such cells, and cells without counts, are called.
    allowed
        (classes,) bool: the classes that may be given, or `None` for all.
    ids
        (classes,) Cell Ontology ids; None where there is none, or the model has none.
    backoff
        Gives cells that are unsure of a class a broader label.

    Attributes
    ----------
    adaptation
        How the cells were adapted to, if they were; to be known before the first are added.
    priors
        (classes,) how frequent the classes were taken to be, if not as in the reference.
    """

    def __init__(
        self,
        n_cells: int,
        state: GinsengClassifierState,
        genes: Alignment,
        *,
        probs: bool = False,
        gene_weights: bool = False,
        min_confidence: float = 0.0,
        max_novelty: float = 1.0,
        unassigned: str = UNASSIGNED,
        allowed: np.ndarray | None = None,
        ids: Sequence[str | None] | None = None,
        backoff: BackOff | None = None,
    ) -> None:
        self.min_confidence, self.max_novelty = min_confidence, max_novelty
        self.unassigned = unassigned
        self.allowed = allowed
        self.adaptation: Adaptation | None = None
        self.n_unsure = self.n_moved = self.n_relabelled = 0
        self.code = np.zeros(n_cells, np.int32)
        self.confidence = np.zeros(n_cells, np.float32)
        self.calibration = state.calibration
        self.novelty = None if state.calibration is None else np.ones(n_cells, np.float32)
        self.n_novel = 0
        self.n_broader = 0
        self.empty = np.zeros(n_cells, bool)
        self.ids, self.backoff = ids, backoff
        self.names, self.terms, self._of_term = _names(state.label_keys, ids, backoff)
        self.best = np.zeros(n_cells, np.int32) if backoff else None
        self.best_confidence = np.zeros(n_cells, np.float32) if backoff else None
        self.labels, self.info = state.label_keys, state.info
        self.levels = {name: Level(labels, n_cells) for name, labels in (state.levels or {}).items()}
        self.reference = {k: v for k, v in state.info.get("reference", {}).items() if isinstance(v, str)}
        self.genes = state.genes
        self.found = genes
        self.weight = measured_weight(state, measured_genes_of(genes))
        self.shares = None if state.reference is None else reference_shares(state)
        self.priors: np.ndarray | None = None
        self.n_of_class = np.zeros(state.n_classes, int)
        self.probs = np.zeros((n_cells, state.n_classes), np.float32) if probs else None
        self.gene_weights = np.zeros((n_cells, state.n_genes), np.float32) if gene_weights else None

    def add(self, part: Labelled) -> None:
        """Take in what is said of some cells."""
        here = slice(part.start, part.stop)
        confidence = np.where(part.empty, 0, part.confidence)
        for name, found in part.levels.items():
            self.levels[name].add(part, *found, self.min_confidence)
        unsure = ~part.empty & (confidence < self.min_confidence)
        if self.novelty is not None and part.novelty is not None:
            self.novelty[here] = np.where(part.empty, 1, part.novelty)
            novel = ~part.empty & (part.novelty > self.max_novelty)
            self.n_novel += int(novel.sum())
            unsure |= novel
        label = np.where(part.empty | unsure, -1, part.label)
        if part.broader is not None and self.best is not None and self.best_confidence is not None:
            self.best[here], self.best_confidence[here] = np.where(part.empty, -1, part.label), confidence
            place, summed = part.broader
            broader = unsure & (place >= 0)
            label = np.where(broader, self._of_term[place], label)
            confidence = np.where(broader, summed, confidence)
            self.n_broader += int(broader.sum())
            unsure &= ~broader
        self.code[here] = label
        if self.adaptation is not None:
            first = self.adaptation.first[here]
            self.n_relabelled += int(((first >= 0) & (part.label != first)).sum())
        self.confidence[here] = confidence
        self.empty[here] = part.empty
        self.n_of_class += np.bincount(part.label[~part.empty], minlength=len(self.n_of_class))
        self.n_unsure += int(unsure.sum())
        self.n_moved += int((part.moved & ~part.empty).sum())
        if self.probs is not None:
            self.probs[here] = part.probs
        if self.gene_weights is not None:
            self.gene_weights[here] = part.gene_weights

    @property
    def n_empty(self) -> int:
        """Number of cells without a count in the genes of the model."""
        return int(self.empty.sum())

    @property
    def composition(self) -> dict[str, Any]:
        """How frequent the classes are, where that is much unlike the reference, or was asked for."""
        n = self.n_of_class.sum()
        if self.shares is None or not n:
            return {}
        here = self.n_of_class / n
        distance = float(np.abs(here - self.shares).sum() / 2)
        if self.priors is None and (distance < OTHER_COMPOSITION or n < LEAST_CELLS):
            return {}
        shares = {"reference": self.shares, "labelled": here} | ({} if self.priors is None else {"priors": self.priors})
        return {"distance": distance, **{name: values.astype(np.float32) for name, values in shares.items()}}

    @property
    def cell_type(self) -> pd.Categorical:
        """Predicted label of each cell."""
        return label_column(self.code, self.names, self.unassigned)

    @property
    def obs(self) -> dict[_keys.Named, Any]:
        """What is said of each cell, by the functions of :mod:`ginseng._keys` that name it."""
        found: dict[_keys.Named, Any] = {_keys.cell_type: self.cell_type, _keys.confidence: self.confidence}
        if self.novelty is not None:
            found[_keys.novelty] = self.novelty
        if self.best is not None:
            found[_keys.best_class] = label_column(self.best, self.labels, self.unassigned)
            found[_keys.class_confidence] = self.best_confidence
        for name, level in self.levels.items():
            found[_keys.level(name)] = label_column(level.code, level.names, self.unassigned)
            found[_keys.level_confidence(name)] = level.confidence
        if self.terms is not None:
            terms = np.array([*(term or UNKNOWN for term in self.terms), UNKNOWN], object)
            found[_keys.ontology_term_id] = pd.Categorical(terms[self.code])
        return found

    def table(self, obs_names: pd.Index) -> pd.DataFrame:
        """Return a row a cell: label, confidence, and the probability of each class if they were asked for."""
        columns = {name("").removeprefix("_"): values for name, values in self.obs.items()}
        table = pd.DataFrame(columns, index=obs_names)
        if self.probs is None:
            return table
        probs = pd.DataFrame(self.probs, index=obs_names, columns=[str(label) for label in self.labels])
        return pd.concat([table, probs], axis=1)  # by position, whatever the names of cells and classes

    def results(self, key_added: str) -> Results:
        """Return what :func:`ginseng.tl.classify` writes."""
        arrays = {_keys.probs(key_added): self.probs, _keys.gene_weights(key_added): self.gene_weights}
        members: dict[str, Any] = {
            "classes": self.labels.astype(object),
            "overlap": {
                "n_genes": self.found.n_model,
                "n_found": self.found.n_model - len(self.found.missing),
                "share": self.found.overlap,
                **({} if self.weight is None else {"weight": self.weight}),
                **({"n_mapped": self.found.n_mapped} if self.found.n_mapped else {}),
            },
            "unassigned": {
                "label": self.unassigned,
                "min_confidence": float(self.min_confidence),
                **({} if self.max_novelty == 1 else {"max_novelty": float(self.max_novelty), "n_novel": self.n_novel}),
                "n_low_confidence": self.n_unsure,
                "n_no_counts": self.n_empty,
            },
        }
        if self.ids is not None:
            members["ontology"] = np.array([term or UNKNOWN for term in self.ids], object)
        if self.backoff is not None:
            members["backoff"] = {"threshold": float(self.backoff.threshold), "n_broader": self.n_broader}
        if self.calibration is not None:
            members["calibration"] = {
                "temperature": float(self.calibration["temperature"]),
                **calibration.expected_at(self.calibration, 1.0 if self.weight is None else self.weight),
            }
        if composition := self.composition:
            members["composition"] = composition
        if self.levels:
            members[_keys.LEVELS] = np.array(list(self.levels), object)
        if self.reference:
            members["reference"] = self.reference
        if self.gene_weights is not None:
            members["genes"] = self.genes.astype(object)
        if self.adaptation is not None:
            shifted = np.flatnonzero(self.adaptation.shift)
            members["adaptation"] = {
                "n_classes": self.adaptation.n_classes,
                "n_cells": int((self.adaptation.first >= 0).sum()),
                "agreement": float(self.adaptation.agreement),
                "level": float(self.adaptation.level),
                "own_classes": 0.0 if self.adaptation.own is None else self.adaptation.own.share,
                **({} if self.adaptation.members is None else {"members": self.adaptation.members.astype(np.float32)}),
                "n_relabelled": self.n_relabelled,
                "genes": self.genes[shifted].astype(object),
                "shift": self.adaptation.shift[shifted],
            }
        if self.allowed is not None:
            allowed = self.labels[self.allowed].astype(object)
            members["restriction"] = {"allowed": allowed, "n_relabelled": self.n_moved}
        label_key = self.info.get("label_key")
        return Results(
            obs={name(key_added): values for name, values in self.obs.items()},
            obsm={name: values for name, values in arrays.items() if values is not None},
            members=members,
            classes=self.names,
            truth=label_key if isinstance(label_key, str) else None,
            colors=hex_colors(self.info.get("colors")),
            unassigned=self.unassigned,
        )

    def check_output(self, source: Path | None, output: Path) -> None:
        """Refuse an output that could not be written, before the cells are labelled.

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
        columns = [self.code, self.confidence, self.probs, self.gene_weights]
        n_bytes = sum(values.nbytes for values in columns if values is not None)
        check_writable(output, sum(f.stat().st_size for f in files) + n_bytes)
