from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from anndata import AnnData

from ginseng import _keys
from ginseng._cells.genes import MIN_OVERLAP
from ginseng._cells.labels import UNASSIGNED
from ginseng._cells.open import open_cells
from ginseng._cells.target import check_target
from ginseng._cells.write import write, write_file
from ginseng._disk.writers import check_adata_target
from ginseng._docs import document
from ginseng._errors import check_names, warn
from ginseng._logging import running
from ginseng._predict.annotate import annotate, check_adapt
from ginseng._predict.priors import given_shares
from ginseng._predict.query import ask, chosen_model
from ginseng._predict.result import Result, allowed_classes, class_terms
from ginseng.model import calibration
from ginseng.model.components import FEWEST_CELLS
from ginseng.model.file import ModelLike, is_model_file
from ginseng.model.logistic import is_logistic_regression
from ginseng.model.overlap import expectation
from ginseng.model.state import GinsengClassifierState
from ginseng.models.store import is_name, open_model
from ginseng.ontology.backoff import BackOff
from ginseng.ontology.labels import match_label

#: Packages whose versions are recorded with the labels.
PACKAGES = ("ginseng", "jax", "anndata", "numpy")

#: Stands for the thresholds of the model.
AUTO: Literal["auto"] = "auto"
#: Probability that a label needs with back-off, unless the user says otherwise.
SURE = 0.5


@document
def classify(
    adata: AnnData | str | Path,
    model: ModelLike | None = None,
    gene_key: str | None = None,
    *,
    layer: str | None = None,
    backed: bool | Literal["dask"] = True,
    min_overlap: float = MIN_OVERLAP,
    normalize: bool | None = None,
    target_sum: float | None = None,
    randomness: bool = False,
    batch_size: int = 1024,
    min_confidence: float | Literal["auto"] = 0.0,
    unassigned: str = UNASSIGNED,
    allowed: str | Sequence[str] | None = None,
    excluded: str | Sequence[str] | None = None,
    adapt: bool | None = None,
    priors: Literal["query"] | Mapping[str, float] | None = None,
    backoff: bool = False,
    copy: bool = False,
    output: str | Path | None = None,
    overwrite: bool = False,
    store_probs: bool = False,
    store_gene_weights: bool = False,
    return_table: bool = False,
    seed: int = 0,
    silent: bool = False,
    key_added: str = _keys.DEFAULT,
    model_state: ModelLike | None = None,
) -> AnnData | pd.DataFrame | None:
    """Label each cell with its most probable cell type.

    Genes are matched by name. Genes that the model knows and the data lack have no influence (models of earlier
    versions count them as zero). Differences in expression between query and reference that all types share are
    estimated and removed (`adapt`), and in another study the cells next to a cell have a say in its label, so that it
    depends to some degree on the other cells. Counts are scaled as in training: by the sum over the genes of the model,
    or over all measured genes if the model was trained that way. Data and model may be passed in either order.

    Parameters
    ----------
    %(adata_or_path)s
    model
        A trained state, the path of a saved one or of a CellTypist model, an AnnData trained with
        :func:`ginseng.tl.train`, a logistic regression of scikit-learn (see :func:`ginseng.models.from_sklearn`), or a
        name such as `"human"` (see :func:`ginseng.models.available`). If None, the installed pan-tissue model of the
        species, which is recognised by the gene names.
    %(query_gene_key)s
    %(layer)s
    backed
        Whether to read a path in chunks rather than load it; with `"dask"`, dask workers read it (see the guide on
        scaling).
    min_overlap
        Minimum fraction of the genes of the model that the data must have.
    normalize
        Overrides the model: whether the data are counts that still have to be log-normalised. If None, values unlike
        those that the model was trained on are refused. The exception is log1p of counts per some total, which is
        accepted with a warning: for a model that scales by its own genes, the logarithm is undone, so that labels equal
        those from counts; a model that scales by all genes uses log1p of counts per `target_sum` unchanged.
    target_sum
        Overrides the model: counts per cell after scaling.
    randomness
        Whether to apply dropout, so that repeated calls with different seeds show how certain the model is (Monte
        Carlo dropout, Gal and Ghahramani 2016). :func:`ginseng.tl.uncertainty` does this in one call.
    batch_size
        Cells per forward pass. Changes memory use, never the result, except which random numbers are drawn with
        `randomness`.
    min_confidence
        Cells below this confidence get no label; they keep their confidence. Choose the threshold on labelled cells
        that were not used in training, see :func:`ginseng.pl.confidence`. With `"auto"`, cells that are too unlike the
        reference get no label either. Both thresholds were then determined in training, such that 5% of the correctly
        labelled cells would lose their label. By default, every cell with counts gets a label.
    unassigned
        Name for cells without a label, whether below a threshold or without counts. If the model has a class of that
        name, they become part of it. `"auto"` stands for `min_confidence="auto"` with the default name.
    allowed
        Classes that are possible in this tissue; all if None. Probabilities are the softmax over the logits of these
        classes, so they sum to 1. The confidence of a cell whose true type is not allowed is therefore meaningless;
        `uns` records for how many cells another class was the first choice. Where each class has an independent
        probability, as in CellTypist, the probabilities of allowed classes do not change.
    excluded
        Classes that are not possible; removed from `allowed`.
    adapt
        Whether to read the cells twice: first to estimate by how much each gene differs from the training cells in all
        types alike, as it does between laboratories, chemistries and species, then to label them with that difference
        removed (see the concepts in the documentation). With more than 20,000 cells, the estimate uses blocks of about
        10,000 in total. It requires at least three types with five cells each; with fewer, the cells are labelled
        unchanged. Where the difference is that of another study, classes as they lie in these cells, normal
        distributions fitted to the first labels, count up to one half. With False, the label of each cell depends on
        nothing but itself. If None, models adapt that know what they were trained on, as those of earlier versions do
        not. A `transformer` reads expressed genes alone, and removes no difference.
    priors
        How frequent the types are among the cells: a dictionary from classes to their shares, by which those that are
        not named divide what is left; or `"query"`, to estimate it by EM from the probabilities (Saerens et al. 2002,
        doi 10.1162/089976602753284446). Probabilities are weighed by it. If None, the model's own view of the cell
        decides, which is right more often than with `"query"` between studies, see the figures on accuracy.
    backoff
        Whether cells with a confidence below `min_confidence`, or 0.5 if that is 0, get a broader label where there is
        one: the deepest term of the Cell Ontology whose summed probability reaches it, as `"T cell"` for one of which
        the model cannot tell whether it is CD4 or CD8. The confidence is that sum. The classes need terms: those that
        the model has, else those that :func:`ginseng.tl.map_labels` finds. A model that has levels and no terms backs
        off to the finest level that is sure enough.
    %(copy)s
    output
        With a path as `adata`: the file to write, `.h5ad` or `.zarr`, with the contents of the input and the results.
        It may be the input itself, which is replaced only once the new file is complete.
    overwrite
        Whether to replace existing data that have the names of the results but were not written by ginseng, and an
        existing file of another AnnData at `output`.
    store_probs
        Whether to write the probabilities of all classes.
    store_gene_weights
        Whether to write the weight of each gene of the model in each cell: cells x genes, dense.
    %(return_table)s
    seed
        Seed of the dropout.
    %(query_silent)s
    %(key_added)s
    model_state
        Name of `model` in ginseng 0.2.

    Returns
    -------
    `None`; the copy if `copy=True`; a table with `cell_type` and `confidence` per cell (and a column per class with
    `store_probs`) if `return_table=True`. For a path, the table, or the AnnData with `copy=True`, or `None` with
    `output`, to which the results are written. Sets:

    `adata.obs['ginseng_cell_type']` : :class:`pandas.Series` (dtype ``category``)
        Predicted cell type; `"unassigned"` for cells without counts in the genes of the model or below
        `min_confidence`. The categories are the types that occur, in the order of the classes of the model;
        `uns["ginseng"]["classes"]` has all classes.
    `adata.obs['ginseng_confidence']` : :class:`pandas.Series` (dtype ``float32``)
        Probability of the most probable type; 0 for cells without counts.
    `adata.obs['ginseng_novelty']` : :class:`pandas.Series` (dtype ``float32``)
        How unlike the training cells the cell and those next to it are, whatever their label, beyond what all cells
        of the query are, from 0 to 1; 5% of the correctly labelled cells of the reference are above 0.5. With
        `adapt=False`, of the cell by itself. 1 for cells without counts. Not written by models of earlier versions or
        converted from other tools.
    `adata.obs['ginseng_cell_type_ontology_term_id']` : :class:`pandas.Series` (dtype ``category``)
        Cell Ontology id of the predicted type, `"unknown"` where there is none, as the CELLxGENE schema requires. Only
        if the model has ids, or with `backoff`.
    `adata.obs['ginseng_{level}']` : :class:`pandas.Series` (dtype ``category``)
        For each of the `levels` of the model (see :func:`ginseng.tl.train`), the most probable label, or `unassigned`
        as above. Its probability is the sum over the classes within it, so it is not necessarily the one above the most
        probable class. The suffix `_level` is added if another result has that name: `ginseng_cell_type_level`.
    `adata.obs['ginseng_{level}_confidence']` : :class:`pandas.Series` (dtype ``float32``)
        That sum.
    `adata.obs['ginseng_class']` : :class:`pandas.Series` (dtype ``category``)
        With `backoff`: the most probable class, whatever its probability.
    `adata.obs['ginseng_class_confidence']` : :class:`pandas.Series` (dtype ``float32``)
        With `backoff`: its probability.
    `adata.obsm['ginseng_probs']` : :class:`pandas.DataFrame`
        Cells x classes, float32, rows sum to 1, if `store_probs`. The columns are in the order of
        `uns["ginseng"]["classes"]`, with `"|"` for `"/"`, which files do not allow; :func:`ginseng.get.probabilities`
        returns the table with the original names.
    `adata.obsm['ginseng_gene_weights']` : :class:`numpy.ndarray`
        (cells, genes) float32, in the order of `uns["ginseng"]["genes"]`, if `store_gene_weights`.
    `adata.uns['ginseng_cell_type_colors']` : :class:`list`
        Colours of these types, stored as by scanpy. Taken from the column of `obs` with the name of the training
        labels, else from the training data, else from a palette. If that column has no colours, it gets the same ones.
    `adata.uns['ginseng']` : :class:`dict`
        `classes`; in `reference` the `licence` and `citation` of the model; in `overlap` how many genes of the model
        were found, and their `weight`: their share of what separates the classes; in `adaptation` the `shift` of each
        of the `genes` that has one, the number of classes averaged over (`n_classes`), and `n_relabelled`, how many of
        the `n_cells` used for the estimate have a different label because of it, the `agreement` of the differences
        between classes with those of the reference (a correlation), the `level`, how unlike the reference the cells
        are throughout, which novelty is beyond, how much each of the `members` of the network counts, if not all
        alike, and how much `own_classes` do, those as they lie in these cells (of 1); in
        `unassigned` the `label` and the `min_confidence` above, and how many cells were below it (`n_low_confidence`)
        or empty (`n_no_counts`), with `"auto"` also `max_novelty` and how many were above it (`n_novel`); in
        `calibration` the `temperature` of the model, and the `accuracy` and calibration error (`ece`) to expect with
        the genes that were found, of cells like those of the reference; in `composition` the `distance` from the
        reference (half the sum of the differences of all shares), and the shares of the classes in the `reference` and
        as `labelled`, if it is .3 or more, or with `priors`, which are there then; in `ontology` the Cell Ontology id
        of each class; in `backoff` its `threshold` and `n_broader`, the number of cells that got a broader label; in
        `levels` their names. With `allowed` or `excluded`, in `restriction` the classes that were `allowed`, and
        `n_relabelled`:
        cells whose most probable class was another. In `run` the `model`, if it has a name, its `architecture`,
        `n_genes`, `n_classes` and `n_train`, the `parameters` of the call that are not the defaults, as JSON, and
        `versions`.

    Results of an earlier call are replaced, and everything derived from its labels is removed: probabilities, metrics,
    votes, explanations, ranked genes and uncertainty. Columns with these names that ginseng did not write cause an
    error; labels of samples that were concatenated since are recognised as ginseng's.

    Raises
    ------
    KeyError
        If a layer or column does not exist.
    ValueError
        If `adapt` is True and the model does not know what it was trained on, no class has a term to back off to, fewer
        genes match than `min_overlap`, values are unlike those that the model was trained on, `allowed` or `excluded`
        has a name that is not a class of the model, or a result would replace something that ginseng did not write.

    Examples
    --------
    >>> import ginseng as gs
    >>> adata = gs.datasets.pbmc68k()
    >>> ref, query = adata[::2].copy(), adata[1::2].copy()
    >>> gs.tl.train(ref, "cell_type", epochs=1, silent=True)
    >>> gs.tl.classify(query, ref, silent=True)
    >>> list(query.obs.columns[-3:])
    ['ginseng_cell_type', 'ginseng_confidence', 'ginseng_novelty']
    """
    adata, model = _in_order(adata, model if model_state is None else model_state)
    from_path = not isinstance(adata, AnnData)
    output = _checked_output(adata, output, copy=copy, return_table=return_table, overwrite=overwrite)
    state = None if model is None else open_model(model)
    name = Path(model).name if isinstance(model, str | Path) else ""
    cells = open_cells(adata, layer=layer, gene_key=gene_key, backed=False if copy else backed)
    data = cells.adata
    if state is None:
        state = chosen_model(cells)
    if store_gene_weights and not state.network.has_gene_weights:
        msg = f"A model of architecture {state.architecture!r} has no gene weights: leave out `store_gene_weights`."
        raise ValueError(msg)
    adapts = check_adapt(state, adapt)
    max_novelty = 1.0
    if unassigned == AUTO:
        min_confidence, unassigned = AUTO, UNASSIGNED
    if min_confidence == AUTO:
        min_confidence, max_novelty = _thresholds(state, alone=not adapts or data.n_obs < FEWEST_CELLS)
    if isinstance(min_confidence, str) or not 0 <= min_confidence <= 1:
        msg = f"`min_confidence` is a probability, between 0 and 1, or 'auto', not {min_confidence!r}."
        raise ValueError(msg)
    check_names([unassigned], "`unassigned`")
    if unassigned != UNASSIGNED and unassigned in [str(label) for label in state.label_keys]:
        msg = f"`unassigned` is {unassigned!r}, which is a class of the model: such cells would be taken for it."
        raise ValueError(msg)
    possible = allowed_classes(state.label_keys, allowed, excluded)
    if priors is not None:
        given_shares(state, priors)
    ids = class_terms(state)
    broader = None
    if backoff:
        min_confidence = min_confidence or SURE
        if ids is None and state.levels is None:
            ids = [match_label(str(label)).id for label in state.label_keys]
        if ids is None and state.levels is not None:
            broader = BackOff.to_levels(state.levels, min_confidence)
        elif any(ids or ()):
            broader = BackOff.to_terms(ids or (), min_confidence)
        else:
            msg = (
                "No class of the model is known to the Cell Ontology, so that there is nothing to back off to: leave "
                "out `backoff`, or train with `levels`, or with ids beside the labels, in a column that ends in "
                "`_ontology_term_id`."
            )
            raise ValueError(msg)
    query = ask(
        cells, state,
        normalize=normalize, target_sum=target_sum, min_overlap=min_overlap, silent=silent,
    )  # fmt: skip
    if output is not None or copy or not (return_table or from_path):
        check_target(data, "classify", key_added, overwrite=overwrite, levels=state.levels or ())

    with running(f"classification of {data.n_obs:,} cells", silent=silent) as report:
        result = Result(
            data.n_obs, state, query.genes, probs=store_probs, gene_weights=store_gene_weights,
            min_confidence=min_confidence, max_novelty=max_novelty, unassigned=unassigned, allowed=possible,
            ids=ids, backoff=broader,
        )  # fmt: skip
        if output is not None:
            result.check_output(_local_path(adata), output)
        annotate(
            query, state, result, report,
            adapts=adapts, batch_size=batch_size, priors=priors, seed=seed if randomness else None, silent=silent,
        )  # fmt: skip
        if result.n_empty:
            msg = (
                f"{result.n_empty:,} of {data.n_obs:,} cells have no counts in the genes of the model: {unassigned!r}."
            )
            warn(msg)
        if min_confidence:
            unlike = "" if max_novelty == 1 else f" or above novelty {max_novelty:.2g}"
            report(
                f"{result.n_unsure:,} of {data.n_obs:,} cells below confidence {min_confidence:.2g}{unlike}: "
                f"{unassigned!r}"
            )
        if backoff:
            report(f"{result.n_broader:,} cells got a broader label")
        if possible is not None:
            report(f"{possible.sum()} of {len(possible)} classes allowed; {result.n_moved:,} cells had another first")
        if result.composition and priors is None:
            distance = result.composition["distance"]
            report(f"composition: {distance:.0%} of the cells are of other types than in the reference")
        report.done = "; ".join(filter(None, [_said(result, data.n_obs), expectation(state, result.weight)]))
        found = result.results(key_added)
        found.members["run"] = _run(
            state, name,
            layer=layer, gene_key=gene_key, min_overlap=min_overlap, normalize=normalize, target_sum=target_sum,
            randomness=randomness, min_confidence=min_confidence, unassigned=unassigned, adapt=adapt, priors=priors,
            backoff=backoff, **_chosen(allowed=allowed, excluded=excluded),
        )  # fmt: skip
        if output is not None:
            write_file(_local_path(adata), data, output, "classify", key_added, found, overwrite=overwrite)
            report(f"wrote {output}")
            return None
        if return_table or (from_path and not copy):
            return result.table(data.obs_names)
        data = write(data, "classify", key_added, found, copy=copy and not from_path)
        report(f"added `.obs[{_keys.cell_type(key_added)!r}]` and `.obs[{_keys.confidence(key_added)!r}]`")
    return data if copy else None


def _chosen(**names: str | Sequence[str] | None) -> dict[str, list[str] | None]:
    return {
        name: None if given is None else [given] if isinstance(given, str) else list(map(str, given))
        for name, given in names.items()
    }


def _run(state: GinsengClassifierState, name: str, **given: Any) -> dict[str, Any]:
    """Return what a methods section says: the model, the parameters that were not left at their defaults, versions."""
    defaults = inspect.signature(classify).parameters
    changed = {name: value for name, value in given.items() if value != defaults[name].default}
    info = state.info
    return {
        "model": name,
        "architecture": str(state.architecture),
        "n_genes": state.n_genes,
        "n_classes": state.n_classes,
        **({"n_train": int(info["n_train"])} if "n_train" in info else {}),
        **({"label_key": info["label_key"]} if isinstance(info.get("label_key"), str) else {}),
        "model_version": str(info.get("versions", {}).get("ginseng", "")),
        "parameters": json.dumps(changed, default=str),
        "versions": {package: version(package) for package in PACKAGES},
    }


def _said(result: Result, n_cells: int) -> str:
    """Say in a line what was found."""
    n_types = len(np.unique(result.code[result.code >= 0]))
    said = f"{n_cells:,} cells labelled with {n_types} of {len(result.labels)} types"
    if result.min_confidence:
        said += f", {result.n_unsure:,} below confidence {result.min_confidence:.2g}"
        said += "" if result.max_novelty == 1 else f" or above novelty {result.max_novelty:.2g}"
    return said + (f", {result.n_empty:,} without counts" if result.n_empty else "")


def _thresholds(state: GinsengClassifierState, *, alone: bool) -> tuple[float, float]:
    """Return the confidence and the novelty at which a model gives up labels of cells, looked at alone or together."""
    if state.calibration is None:
        msg = (
            "The model has no thresholds of its own, as it was not calibrated: give `min_confidence` as a number, or "
            "train the model again."
        )
        raise ValueError(msg)
    found = calibration.thresholds(state.calibration, alone=alone)
    return found.min_confidence, found.max_novelty


def _in_order(adata: Any, model: Any) -> tuple[Any, Any]:
    """Return data and model, whichever came first; without a model one is chosen."""
    first_is_model = isinstance(adata, GinsengClassifierState) or is_logistic_regression(adata)
    first_is_model |= isinstance(adata, str | Path) and is_model_file(adata)
    first_is_model |= isinstance(model, AnnData) and is_name(adata)
    if first_is_model and model is None:
        msg = "`classify` needs cells: `classify(adata, model)`."
        raise TypeError(msg)
    return (model, adata) if first_is_model else (adata, model)


def _local_path(adata: Any) -> Path | None:
    if isinstance(adata, AnnData):
        return None
    path = Path(adata).expanduser()
    return path if path.exists() else None  # else it is a URL


def _checked_output(
    adata: Any, output: str | Path | None, *, copy: bool, return_table: bool, overwrite: bool
) -> Path | None:
    if output is None:
        return None
    if isinstance(adata, AnnData):
        msg = "`output` is for a path as input. Results go into an AnnData: write that, with `adata.write_h5ad(...)`."
        raise ValueError(msg)
    if copy or return_table:
        msg = "`output` writes a file, and `copy` and `return_table` return something. Choose one."
        raise ValueError(msg)
    path = Path(output).expanduser()
    if path.suffix not in (".h5ad", ".zarr"):
        msg = f"`output` is {str(output)!r}; it must end in .h5ad or .zarr."
        raise ValueError(msg)
    source = _local_path(adata)
    if path.exists() and (source is None or not path.samefile(source)):
        if not overwrite:
            msg = f"{path} exists and is not replaced. Choose another `output`, or pass `overwrite=True`."
            raise FileExistsError(msg)
        check_adata_target(path)
    return path
