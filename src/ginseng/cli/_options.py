"""Every option of the command line, defined once, under the name of its parameter in Python.

Parsers and messages are both built from these rows: what Python calls `label_key` is `--labels` here, see
:mod:`ginseng.cli._words`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

#: Flags, and the other arguments of argparse.
type Row = tuple[tuple[str, ...], dict[str, Any]]


def _row(*flags: str, **how: Any) -> Row:
    return flags, how


def _confidence(text: str) -> float | str:
    """Return a number, or "auto" for the thresholds of the model."""
    return text if text == "auto" else float(text)


def _prior(text: str) -> str | tuple[str, float]:
    """Return a class and its share, or "query" for shares that are estimated."""
    name, equals, share = text.rpartition("=")
    if text == "query":
        return text
    try:
        return name, float(share if equals and name else "")
    except ValueError:
        msg = f"{text!r} is neither query nor CLASS=SHARE"
        raise argparse.ArgumentTypeError(msg) from None


def _total(text: str) -> float | None:
    return None if text == "none" else float(text)


_FLAG: dict[str, Any] = {"action": "store_const", "const": True}
_NAMES: dict[str, Any] = {"nargs": "+"}

#: Parameters that locate data; `dask` exists on the command line only.
_PLACES = {
    "label_key": _row("-l", "--labels", metavar="COLUMN", help="column of obs with the cell types"),
    "levels": _row(
        "--levels", metavar="COLUMN", **_NAMES, help="columns of obs with broad to fine cell types; the last is learned"
    ),
    "group_key": _row("--groups", metavar="COLUMN", help="column of obs with donors or batches"),
    "batch_key": _row("--batches", metavar="COLUMN", help="column of obs with batches, to select genes within each"),
    "groupby": _row("--groupby", metavar="COLUMN", help="column of obs with the groups"),
    "sample_key": _row("--samples", metavar="COLUMN", help="column of obs with the samples, to compare their groups"),
    "color": _row("--color", metavar="COLUMN", **_NAMES, help="columns of obs to plot, one panel each"),
    "prediction_key": _row(
        "-p",
        "--predicted",
        metavar="COLUMN",
        help="column of obs with the predicted types",
    ),
    "split_key": _row("--split-column", metavar="COLUMN", help="column of obs with train, validation or test"),
    "layer": _row("--layer", metavar="NAME", help="layer with the counts, or raw (default: X)"),
    "gene_key": _row("--gene-key", metavar="COLUMN", help="column of var with the gene names (default: its index)"),
    "basis": _row("--basis", metavar="NAME", help="entry of obsm with the embedding (default: umap)"),
    "modality": _row("--modality", metavar="NAME", help="modality of a MuData (default: the one with the genes)"),
    "transpose": _row(
        "--transpose",
        action=argparse.BooleanOptionalAction,
        help="table or mtx: rows are genes (default: detected)",
    ),
    "join": _row("--join", choices=("inner", "outer"), help="several samples: genes of all (default) or of any"),
    "genome": _row("--genome", metavar="NAME", help="10x: keep the genes of this genome only"),
    "prefix": _row("--prefix", metavar="NAME", help="10x folder: prefix of the files of one sample"),
    "gex_only": _row(
        "--gex-only", action=argparse.BooleanOptionalAction, help="10x: keep genes only (the default), or all features"
    ),
    "dask": _row(
        "--dask",
        metavar="SCHEDULER",
        help="address or file of a dask scheduler, whose workers read DATA and compute (default: this process)",
    ),
    "title": _row("--title", metavar="TEXT", help="heading of the report"),
    "key_added": _row("--key-added", metavar="NAME", help="prefix of what is written (default: ginseng)"),
    "key": _row("--key", metavar="NAME", help="prefix under which results were written (default: ginseng)"),
}

#: Parameters of the method.
_MANNERS = {
    "normalize": _row(
        "--normalize", action=argparse.BooleanOptionalAction,
        help="declare that the values are counts, or already log-normalised (default: detected)",
    ),
    "target_sum": _row(
        "--target-sum", metavar="N", type=_total, default=argparse.SUPPRESS,
        help="counts per cell after scaling; none for log-normalised values",
    ),
    "min_overlap": _row(
        "--min-overlap", metavar="SHARE", type=float, help="minimum share of the model's genes that the data must have"
    ),
    "min_confidence": _row(
        "--min-confidence", metavar="P", type=_confidence,
        help="leave cells below this confidence unassigned (default: 0), or auto: by the thresholds of the model",
    ),
    "priors": _row(
        "--priors", metavar="CLASS=SHARE", type=_prior, **_NAMES,
        help="how frequent types are, or query: estimated from the cells (default: as the model sees each cell)",
    ),
    "alpha": _row(
        "--alpha", metavar="SHARE", type=float, help="share of sets that may lack the true type (default: 0.1)"
    ),
    "min_cells": _row(
        "--min-cells", metavar="N", type=int, help="cells that a cluster needs to be called new (default: 10)"
    ),
    "min_score": _row(
        "--min-score", metavar="P", type=float,
        help="minimum probability at which a label counts as wrong (default: 0.5)",
    ),
    "min_fraction": _row(
        "--min-fraction", metavar="SHARE", type=float,
        help="leave clusters unassigned if fewer of their cells agree (default: 0.5)",
    ),
    "unassigned": _row("--unassigned", metavar="NAME", help="name for cells without a label (default: unassigned)"),
    "to": _row("--to", choices=("ensembl", "symbol", "entrez"), help="target names (default: ensembl)"),
    "from_": _row(
        "--from", choices=("ensembl", "symbol", "entrez"), help="current names (default: inferred)"
    ),
    "species": _row("--species", choices=("human", "mouse"), help="species of the genes (default: inferred)"),
    "to_species": _row("--to-species", choices=("human", "mouse"), help="species to map to by orthologs"),
    "table": _row("--table", metavar="PATH", type=Path, help="table of genes to use (default: packaged)"),
    "rename": _row("--rename", **_FLAG, help="replace the gene names, and sum rows that map to one gene"),
    "crosswalk": _row("--crosswalk", metavar="PAIR", **_NAMES, help="LABEL=TERM: your own terms, used first"),
    "allowed": _row("--allowed", metavar="CLASS", **_NAMES, help="classes that are possible (default: all)"),
    "excluded": _row("--excluded", metavar="CLASS", **_NAMES, help="classes that are not possible"),
    "backoff": _row("--backoff", **_FLAG, help="give uncertain cells a broader type (default: no type)"),
    "ontology": _row("--ontology", **_FLAG, help="compare types by the Cell Ontology as well"),
    "store_probs": _row("--probabilities", **_FLAG, help="also write the probability of every class"),
    "unlabeled": _row(
        "--unlabeled", metavar="LABEL", nargs="*",
        help="labels that mean none (default: unknown, unassigned and the like; empty: every name is a type)",
    ),
    "adapt": _row(
        "--adapt", action=argparse.BooleanOptionalAction, help="adapt to these cells (default: if the model can)"
    ),
    "genes": _row("--genes", metavar="COLUMN", help="boolean column of var with the genes to use"),
    "n_top_genes": _row("--n-top-genes", metavar="N", type=int, help="select this many genes first"),
    "flavor": _row("--flavor", choices=("seurat", "cell_ranger", "seurat_v3"), help="how variability is measured"),
    "span": _row("--span", metavar="SHARE", type=float, help="seurat_v3: share of genes in each local fit"),
    "min_mean": _row("--min-mean", metavar="QUANTILE", type=float, help="minimum mean expression, as a quantile"),
    "max_mean": _row("--max-mean", metavar="QUANTILE", type=float, help="maximum mean expression, as a quantile"),
    "n_genes": _row("--n-genes", metavar="N", type=int, help="genes to list"),
    "cells": _row("--cells", metavar="CELL", **_NAMES, help="names of the cells, as in the index of obs"),
    "versus": _row("--versus", metavar="CLASS", help="class to compare the label with (default: the runner-up)"),
    "n_steps": _row("--n-steps", metavar="N", type=int, help="integration steps per cell"),
    "n_passes": _row("--n-passes", metavar="N", type=int, help="dropout passes per cell (default: 50)"),
    "models": _row("--models", metavar="NAME", **_NAMES, help="networks, logistic_regression or random_forest"),
    "fractions": _row(
        "--split", metavar="SHARE", nargs=3, type=float,
        help="shares for training, validation and test (default: 0.7 0.1 0.2)",
    ),
    "n_folds": _row("--folds", metavar="N", help="number of folds, or loo to leave out one group at a time"),
    "epochs": _row("--epochs", metavar="N", type=int, help="passes over the data (default: by the number of cells)"),
    "architecture": _row("--architecture", metavar="NAME", help="the network (default: gated)"),
    "holdout_fraction": _row(
        "--holdout", metavar="SHARE", type=float, help="share of the cells or groups to hold out"
    ),
    "ncols": _row("--columns", metavar="N", type=int, help="number of panels side by side"),
    "ci": _row("--ci", metavar="LEVEL", type=float, help="level of the confidence intervals (default: 0.95)"),
    "title": _row("--title", metavar="TEXT", help="title of the figure"),
    "seed": _row("--seed", metavar="N", type=int, help="random seed (default: 0)"),
    "rng": _row("--seed", metavar="N", type=int, help="random seed (default: 0)"),
    "checkpoint": _row(
        "--checkpoint", metavar="PATH", type=Path, help="checkpoint file, to resume from (default: beside OUTPUT)"
    ),
    "distributed": _row(
        "--distributed", **_FLAG,
        help="train with all processes of this command that a cluster (Slurm, Open MPI, Kubernetes) has started",
    ),
    "coordinator_address": _row(
        "--coordinator", metavar="HOST:PORT", help="with --distributed: address of process 0 (default: the cluster's)"
    ),
    "num_processes": _row(
        "--processes", metavar="N", type=int, help="with --distributed: number of processes (default: from the cluster)"
    ),
    "process_id": _row(
        "--process", metavar="I", type=int, help="with --distributed: this process, from 0 (default: from the cluster)"
    ),
    "resume": _row("--resume", **_FLAG, help="continue from the checkpoint of an interrupted run"),
}  # fmt: skip

#: Parameters of outputs; `output_dir` and `format` exist on the command line only.
_OUTPUTS = {
    "output": _row("-o", "--output", metavar="PATH", type=Path, help="file for the result"),
    "output_dir": _row("--output-dir", metavar="FOLDER", type=Path, help="folder for the results of several DATA"),
    "format": _row("--format", metavar="SUFFIX", help="suffix of files in --output-dir, or format of -o -"),
    "figure": _row("--figure", metavar="PATH", type=Path, help="also plot the result, as .png, .pdf or .svg"),
    "overwrite": _row("--overwrite", **_FLAG, help="replace existing outputs, and columns with the names of results"),
}

OPTIONS = {**_PLACES, **_MANNERS, **_OUTPUTS}


def add(parser: Any, *parameters: str, **changes: Any) -> None:
    """Add the options of these parameters; `changes` override their usual definition."""
    for parameter in parameters:
        flags, how = OPTIONS[parameter]
        parser.add_argument(*flags, dest=parameter, **{**how, **changes})


def add_data(parser: argparse.ArgumentParser, *, many: bool = False) -> None:
    """Add the argument for the data."""
    more: dict[str, Any] = {"nargs": "+"} if many else {}
    kinds = "h5ad, zarr, h5mu, 10x h5, folder with an mtx, text table, or a URL"
    parser.add_argument("data", metavar="DATA", help=kinds + ("; may be several" if many else ""), **more)
    add(parser, "modality")


def add_model(parser: argparse.ArgumentParser, *, required: bool = True, default: str | None = None) -> None:
    """Add the argument for the model, with its default."""
    text = "model file of ginseng or CellTypist, or a name that `ginseng models list` shows"
    text += f" (default: {default})" if default else ""
    parser.add_argument("-m", "--model", metavar="MODEL", required=required, help=text)


def given(args: argparse.Namespace, *parameters: str) -> dict[str, Any]:
    """Return those of these parameters that were given, as keyword arguments; the others keep the verb's defaults."""
    found = {parameter: vars(args).get(parameter) for parameter in parameters}
    kept = {"target_sum"} & vars(args).keys()  # where None is a value
    return {parameter: value for parameter, value in found.items() if value is not None or parameter in kept}
