"""A table of what users hand over by mistake, and the answer that each deserves.

A row is an error that says what was found (`cause`) and what to do (`remedy`), a warning and the right result, or the
right result alone. After an error the data and all files are as they were, and where a row has `mend`, which is what
its message advises, that is run, and works.
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anndata as ad
import dask.array as da
import h5py
import numpy as np
import pandas as pd
import pytest
import zarr
from scipy import sparse, stats

import ginseng as gs
from ginseng._disk import download
from ginseng.data import GinsengDataset
from ginseng.model import GinsengClassifierState, ModelFileError

type Make = Callable[..., ad.AnnData]

FAST = {"architecture": "linear", "epochs": 1, "batch_size": 16, "silent": True}
SOURCE = str(Path(gs.__file__).parent)


@dataclass(frozen=True)
class Row:
    """What is done, and the answer.

    Attributes
    ----------
    call
        Code; the names it can use are those of :func:`scene`.
    setup
        Code that makes the input bad.
    error
        The class of the error; None for a warning, or for the right result.
    cause, remedy
        What the message must match.
    mend
        Code that does what the message advises. `"..."` is what the message has in its last backticks.
    right
        Code that asserts the right result, for rows that are no error, or after `mend`.
    ours
        Whether the error is raised by ginseng itself.
    """

    name: str
    call: str
    setup: str = ""
    error: type[Exception] | tuple[type[Exception], ...] | None = None
    cause: str = ""
    remedy: str = ""
    mend: str = ""
    right: str = ""
    ours: bool = True


#: The right labels of `query`.
TRUE = "assert (query.obs['ginseng_cell_type'] == query.obs['cell_type'].astype(str)).mean() > 0.9"
LOG = "sc_log(adata)"
TRAIN = "train(adata, 'cell_type')"
CLASSIFY = "classify(query, state)"

LABELS = [
    Row("label column misspelt", "train(adata, 'cell_typ')", "", KeyError,
        "no column 'cell_typ'", "Did you mean 'cell_type'", TRAIN),
    Row("label column not given", "train(adata)", "", ValueError,
        "Pass `label_key`", "Did you mean 'cell_type'", TRAIN),
    Row("too few labels", "train(adata, ['a', 'b'])", "", ValueError,
        "2 values for 120 cells", "one per cell", "train(adata, list(adata.obs['cell_type']))"),
    Row("a number as label column", "train(adata, 3)", "", TypeError,
        "`label_key` is 3", "name of a column", TRAIN),
    Row("labels in two dimensions", "train(adata, np.zeros((120, 2)))", "", TypeError,
        "`label_key` is", "one value per cell"),
    Row("one class", "train(adata, 'one')", "adata.obs['one'] = 'T'", ValueError,
        "at least two classes; 'one' has only 'T'", "Pass another column.*'cell_type'", TRAIN),
    Row("no label at all", "train(adata, 'none')", "adata.obs['none'] = [None] * 120", ValueError,
        "'none' has no labels in 120 cells", "Pass another column", TRAIN),
    Row("two columns of one name", TRAIN,
        "adata.obs = pd.concat([adata.obs, adata.obs[['cell_type']]], axis=1)", ValueError,
        "2 columns called 'cell_type'", "Rename all but one",
        "adata.obs.columns = ['cell_type', 'donor', 'other']; " + TRAIN),
    Row("a label with a line break", TRAIN, "relabel(adata, 'B cell', 'B\\ncell')", ValueError,
        r"'cell_type' has a name that is .* not plain text: 'B\\ncell'", "plain text"),
    Row("a label as long as a page", TRAIN, "relabel(adata, 'B cell', 'B' * 300)", ValueError,
        "too long", "over 256 characters", "relabel(adata, 'B' * 300, 'B'); " + TRAIN),
    Row("labels of other cells", "train(adata, labels)",
        "labels = adata.obs['cell_type'][::-1].rename({'cell3': 'cell 3'})", ValueError,
        "index of `label_key` .* 119 of 120", r"`label_key=values.to_numpy\(\)`",
        "labels.index = adata.obs_names[::-1]; train(adata, labels)"),
    Row("a key that is a path", "train(adata, 'cell_type', key_added='a/b')", "", ValueError,
        "`key_added` is 'a/b'", "plain text without '/'", "train(adata, 'cell_type', key_added='a_b')"),
    Row("results of others under the key", TRAIN, "adata.uns['ginseng'] = 'a note'", ValueError,
        r"`adata.uns\['ginseng'\]` was not written by ginseng", "key_added='ginseng_2'",
        "train(adata, 'cell_type', key_added='ginseng_2')"),
    Row("labels missing", TRAIN, "relabel(adata, 'B cell', None)", None,
        "40 of 120 cells have no label in 'cell_type'", "left out",
        right="assert classes(adata) == ['T/NK', 'γδ T']"),
    Row("labels NaN among numbers", "train(adata, 'leiden')",
        "adata.obs['leiden'] = [0.0, 1.0, 2.0, np.nan] * 30", None,
        "30 of 120 cells have no label", "left out", right="assert classes(adata) == ['0', '1', '2']"),
    Row("blank labels", TRAIN, "relabel(adata, 'B cell', '  ')", None,
        "40 of 120 cells have no label", "left out", right="assert classes(adata) == ['T/NK', 'γδ T']"),
    Row("labels that say nan", TRAIN, "relabel(adata, 'B cell', 'nan')", None,
        "40 of 120 cells have no label", "left out", right="assert classes(adata) == ['T/NK', 'γδ T']"),
    Row("labels that say unknown", TRAIN, "relabel(adata, 'B cell', 'Unknown', n=25); relabel(adata, 'B cell', 'n/a')",
        None, r"40 of 120 cells have no label .* \(25 'Unknown', 15 'n/a'\)", r"pass `unlabeled=\[\]`",
        "train(adata, 'cell_type', unlabeled=[])",
        "assert classes(adata) == ['T/NK', 'Unknown', 'n/a', 'γδ T']"),
    Row("a class that means no label", "train(adata, 'cell_type', unlabeled='B cell')", "", None,
        "40 of 120 cells have no label.*40 'B cell'", "left out", right="assert classes(adata) == ['T/NK', 'γδ T']"),
    Row("a word that no label is", "train(adata, 'cell_type', unlabeled='B cells')", "", ValueError,
        "`unlabeled` has 'B cells', which is not in 'cell_type'", "Did you mean 'B cell'",
        "train(adata, 'cell_type', unlabeled='B cell')"),
    Row("fractional numbers for labels", "train(adata, 'score')", "adata.obs['score'] = np.linspace(0, 1, 120)",
        ValueError, "'score' has fractional numbers .0, ", "Pass a column .*'cell_type'", TRAIN),
    Row("barcodes for labels", "train(adata, 'barcode')", "adata.obs['barcode'] = adata.obs_names", ValueError,
        "'barcode' has 120 different labels for 120 cells", "Pass a column .*'cell_type'", TRAIN),
    Row("labels that differ by case", TRAIN, "relabel(adata, 'B cell', 'b cell', n=20)", None,
        "'B cell' and 'b cell'", "Give them the same name"),
    Row("labels that differ by inner blanks", TRAIN, "relabel(adata, 'B cell', 'B  cell', n=20)", None,
        "'B  cell' and 'B cell'", "Give them the same name"),
    Row("labels that differ by how é is written", TRAIN,
        "relabel(adata, 'B cell', 'é'); relabel(adata, 'é', 'e\\u0301', n=20)", None,
        "only by case, blanks or encoding", "Give them the same name"),
    Row("a class of one cell", TRAIN, "relabel(adata, 'B cell', 'rare', n=1)", None,
        "1 of the 4 classes of 'cell_type' have a single cell: 'rare'", "Merge them",
        right="assert 'rare' in classes(adata)"),
    Row("integer labels", "train(adata, 'n')", "adata.obs['n'] = [3, 1, 2] * 40",
        right="assert classes(adata) == ['1', '2', '3']"),
    Row("bool labels", "train(adata, 'b')", "adata.obs['b'] = [True, False] * 60",
        right="assert classes(adata) == ['False', 'True']"),
    Row("labels of bytes", "train(adata, [l.encode() for l in adata.obs['cell_type']])",
        right="assert classes(adata) == ['B cell', 'T/NK', 'γδ T']"),
    Row("labels that no ASCII file holds", TRAIN + "; gs.save_model(adata, 'new.h5'); adata.write_h5ad('n.h5ad')",
        right="assert gs.load_model('new.h5').label_keys.tolist() == ['B cell', 'T/NK', 'γδ T']"),
    Row("blanks around labels", TRAIN, "relabel(adata, 'B cell', ' B cell ', n=20)",
        right="assert classes(adata) == ['B cell', 'T/NK', 'γδ T']"),
    Row("categories without cells", TRAIN,
        "adata.obs['cell_type'] = adata.obs['cell_type'].cat.add_categories(['none'])",
        right="assert classes(adata) == ['B cell', 'T/NK', 'γδ T']"),
    Row("donor column misspelt", "train(adata, 'cell_type', group_key='donr')", "", KeyError,
        "no column 'donr'", "Did you mean 'donor'", "train(adata, 'cell_type', group_key='donor')"),
    Row("donors missing", "train(adata, 'cell_type', group_key='donor')",
        "adata.obs['donor'] = [None] * 9 + ['d1', 'd2', 'd3'] * 37", ValueError,
        "9 labelled cells have no group in 'donor'", "Fill in the groups or drop these cells",
        "adata.obs['donor'] = adata.obs['donor'].fillna('none'); train(adata, 'cell_type', group_key='donor')"),
    Row("one donor to split by", "train(adata, 'cell_type', group_key='donor')", "adata.obs['donor'] = 'd'", ValueError,
        "two groups,.* 1", "needs at least two"),
    Row("a split by donor without donors", "train(adata, 'cell_type', group_level=True)", "", ValueError,
        "no groups to hold out", "Give `group_key=`",
        "train(adata, 'cell_type', group_level=True, group_key='donor')"),
]  # fmt: skip

GENES = [
    Row("duplicated genes", TRAIN, "adata.var_names = [*adata.var_names[:-1], 'GENE0']", None,
        "2 rows share the names of 1 genes", "by name: GENE0",
        right="assert model_genes(adata) == [f'GENE{i}' for i in range(29)]"),
    Row("a gene without a name", TRAIN, "adata.var_names = ['', *adata.var_names[1:]]", None,
        "1 genes without a name", "left out", right="assert model_genes(adata) == [f'GENE{i}' for i in range(1, 30)]"),
    Row("row numbers for genes", TRAIN, "adata.var_names = [str(i) for i in range(30)]", ValueError,
        r"`adata.var_names` has row numbers \(0, 1, 2, ...\)", "`adata.var_names = ",
        "adata.var_names = [f'GENE{i}' for i in range(30)]; " + TRAIN),
    Row("row numbers for genes, and symbols in a column", TRAIN,
        "adata.var['symbol'] = adata.var_names; adata.var_names = [str(i) for i in range(30)]", None,
        "`adata.var_names` has row numbers", r"`adata.var\['symbol'\]` is used",
        right="assert model_genes(adata) == [f'GENE{i}' for i in range(30)]"),
    Row("unknown genes", "train(adata, 'cell_type', genes=['GENE1', 'TP53'])", "", KeyError,
        "1 of 2 genes are not in `adata`: TP53", "Leave them out", "train(adata, 'cell_type', genes=['GENE1'])"),
    Row("genes by another name", "train(adata, 'cell_type', genes=['A1', 'A2'])",
        "adata.var['symbol'] = [f'A{i}' for i in range(30)]", KeyError,
        "2 of 2 genes are not in `adata`: A1, A2. It has GENE0", "gene_key",
        "train(adata, 'cell_type', genes=['A1', 'A2'], gene_key='symbol')"),
    Row("no genes", "train(adata, 'cell_type', genes=[])", "", ValueError, "No genes are selected", "pass none", TRAIN),
    Row("a mask of another size", "train(adata, 'cell_type', genes=np.ones(7, bool))", "", ValueError,
        "mask has 7 values for 30 genes", "30 genes", "train(adata, 'cell_type', genes=np.ones(30, bool))"),
    Row("a mask with gaps", "train(adata, 'cell_type', genes='m')",
        "adata.var['m'] = np.array([True, None] * 15, dtype=object)", ValueError,
        r"`adata.var\['m'\]` .* boolean mask .* it is object", "without missing values",
        "adata.var['m'] = [True, False] * 15; train(adata, 'cell_type', genes='m')"),
    Row("mask column misspelt", "train(adata, 'cell_type', genes='hvgs')", "adata.var['hvg'] = True", KeyError,
        "no column 'hvgs'", "Did you mean 'hvg'", "train(adata, 'cell_type', genes='hvg')"),
    Row("gene column misspelt", "train(adata, 'cell_type', gene_key='symbl')",
        "adata.var['symbol'] = adata.var_names", KeyError, "no column 'symbl'", "Did you mean 'symbol'",
        "train(adata, 'cell_type', gene_key='symbol')"),
    Row("no cells to train on", "train(adata[:0].copy(), 'cell_type')", "", ValueError,
        "has 0 cells and 30 genes", "nothing to train on"),
    Row("no genes to train on", "train(adata[:, :0].copy(), 'cell_type')", "", ValueError,
        "has 120 cells and 0 genes", "nothing to train on"),
    Row("antibodies in training", TRAIN, "adata = with_antibodies(adata)", None,
        "Only the 30 genes of 32 features.*2 'Antibody Capture'", "Drop them to silence this",
        "...; train(adata, 'cell_type')",
        "assert model_genes(adata) == [f'GENE{i}' for i in range(30)]"),
    Row("antibodies in gene selection", "gs.pp.select_hvgs(adata, 10, silent=True)", "adata = with_antibodies(adata)",
        None, "the 30 genes of 32 features", "Drop them",
        right="clean = adata[:, :30].copy(); gs.pp.select_hvgs(clean, 10, silent=True);"
        "assert adata.var['ginseng_genes'].tolist() == [*clean.var['ginseng_genes'], False, False]"),
]  # fmt: skip

VALUES = [
    Row("NaN in training", TRAIN, "adata.X.data[7] = np.nan", ValueError,
        r"`adata.X` has values that are NaN or infinite \(1 NaN", "Repair them", "adata.X.data[7] = 0; " + TRAIN),
    Row("infinity in training", TRAIN, "adata.X.data[7] = np.inf", ValueError, "1 infinite", "Repair them",
        "adata.X.data[7] = 0; " + TRAIN),
    Row("NaN among many genes", TRAIN, "adata = make_cells(60, 5001); adata.X.data[7] = np.nan", ValueError,
        "1 NaN", "Repair them, or drop these cells"),
    Row("scaled among many genes", TRAIN, "adata = make_cells(60, 5001); adata.X.data[7] = -1", ValueError,
        r"negative values \(lowest -1\)", "Pass `layer=` with counts"),
    Row("training that fails after genes were chosen", "train(adata, 'cell_type', lr=1e30)",
        "adata = make_cells(60, 5001)", ValueError, "loss", "[Ll]ower the learning rate"),
    Row("scaled, with counts in a layer", TRAIN,
        "adata.layers['counts'] = adata.X.copy(); adata.X = stats.zscore(adata.X.toarray())", ValueError,
        "`adata.X` has negative values", "Pass `layer='counts'`", "train(adata, 'cell_type', layer='counts')"),
    Row("scaled, with counts in raw", TRAIN,
        "adata.raw = adata.copy(); adata.X = stats.zscore(adata.X.toarray())", ValueError,
        "`adata.X` has negative values", "Pass `layer='raw'`, which has counts",
        "train(adata, 'cell_type', layer='raw')"),
    Row("scaled, and no counts", TRAIN, "adata.X = stats.zscore(adata.X.toarray())", ValueError,
        "negative values", "Pass `layer=` with counts"),
    Row("one negative value at the end", TRAIN, "adata.X.data[-1] = -3", ValueError,
        r"negative values \(lowest -3\)", "Pass `layer=` with counts"),
    Row("log-normalised in training", TRAIN, LOG, ValueError,
        "`adata.X` has log1p of counts per 10,000, where counts are expected", "or `normalize=False`",
        "train(adata, 'cell_type', normalize=False)"),
    Row("log-normalised, with counts in a layer", TRAIN,
        "adata.layers['raw_counts'] = adata.X.copy(); " + LOG, ValueError,
        "log1p of counts per 10,000", "Pass `layer='raw_counts'`", "train(adata, 'cell_type', layer='raw_counts')"),
    Row("log-normalised layer, with counts in X", "train(adata, 'cell_type', layer='log')",
        "log = adata.copy(); sc_log(log); adata.layers['log'] = log.X", ValueError,
        r"`adata.layers\['log'\]` has log1p", "Leave out `layer`: `adata.X` has counts", TRAIN),
    Row("log-normalised to another total", TRAIN, "sc_log(adata, 1e6)", ValueError,
        "log1p of counts per 1,000,000", "Undo the logarithm",
        "adata.layers['linear'] = np.expm1(adata.X); train(adata, 'cell_type', layer='linear')"),
    Row("log2-normalised", TRAIN, LOG + "; adata.X = adata.X / np.log(2)", ValueError,
        r"log2\(1 \+ x\) of counts per 10,000", "Undo the logarithm",
        "adata.layers['linear'] = np.expm1(adata.X * np.log(2)); train(adata, 'cell_type', layer='linear')"),
    Row("log-normalised, some genes of all", TRAIN,
        "adata = make_cells(120, 60); sc_log(adata); adata = adata[:, 3:33].copy()", ValueError,
        "log1p of counts per an unknown total", "`normalize=False` if it is log1p of counts per 10,000",
        "train(adata, 'cell_type', normalize=False)"),
    Row("log-normalised and insisted on", "train(adata, 'cell_type', normalize=True)", LOG, None,
        "log1p of counts per 10,000, where counts are expected", "or `normalize=False`"),
    Row("counts at first, log-normalised after 300 cells", TRAIN,
        "adata = make_cells(400); log = adata.copy(); sc_log(log);"
        "adata = ad.concat([adata[:300], log[300:]])", None,
        "counts in some cells and other numbers", "Pass `layer=` with counts"),
    Row("corrected counts", TRAIN, "adata.X = adata.X * np.float32(17.3)",
        right="assert model_is_close(adata, make_cells())"),
    Row("counts where log-normalised values are said to be", "train(adata, 'cell_type', normalize=False)", "", None,
        "`adata.X` has counts", "Pass `normalize=True`"),
    Row("counts per 10,000", TRAIN, "adata.X = sparse.csr_matrix(1e4 * adata.X.multiply(1 / adata.X.sum(axis=1)))",
        right="assert model_is_close(adata, make_cells())"),
    Row("layer misspelt", "train(adata, 'cell_type', layer='count')", "adata.layers['counts'] = adata.X", KeyError,
        "`adata.layers` has no 'count'", "Did you mean 'counts'", "train(adata, 'cell_type', layer='counts')"),
    Row("layer of others", "train(adata, 'cell_type', layer='counts')", "", KeyError,
        "`adata.layers` has no 'counts'", "Leave out `layer` to use `adata.X`", "train(adata, 'cell_type')"),
    Row("no X", TRAIN, "adata = ad.AnnData(obs=adata.obs, var=adata.var, layers={'counts': adata.X})", ValueError,
        "`adata.X` is empty", "Pass `layer=`. Layers: counts", "train(adata, 'cell_type', layer='counts')"),
    Row("nothing but zeros", TRAIN, "adata.X = adata.X * 0", ValueError,
        "`adata.X` has nothing but zeros", "Pass `layer=` with counts"),
    Row("numbers that are none", TRAIN, "adata.X = adata.X.astype(np.complex64)", TypeError,
        "`adata.X` has values of type complex64", "Convert them to numbers",
        "adata.X = abs(adata.X); " + TRAIN),
    Row("half an epoch", "gs.tl.train(adata, 'cell_type', epochs=1.5)", "", ValueError, "not 1.5",
        "`epochs` must be a whole number or None", "gs.tl.train(adata, 'cell_type', epochs=1, silent=True)"),
    Row("a seed below zero", "train(adata, 'cell_type', seed=-1)", "", ValueError, "not -1",
        "`seed` must be at least 0", "train(adata, 'cell_type', seed=1)"),
    Row("a number in words", "train(adata, 'cell_type', lr='high')", "", ValueError, "not 'high'",
        "`lr` must be a number or None", "train(adata, 'cell_type', lr=1e-2)"),
    Row("a learning rate below zero", "train(adata, 'cell_type', lr=-1)", "", ValueError,
        "not -1", "`lr` must be .*above 0", TRAIN),
    Row("a setting that is none", "train(adata, 'cell_type', learning_rate=1)", "", TypeError,
        "no setting 'learning_rate'", "Known: .*lr", "train(adata, 'cell_type', lr=1e-3)"),
    Row("an architecture that is none", "gs.tl.train(adata, 'cell_type', architecture='lineer')", "", ValueError,
        "lineer", "linear", TRAIN),
    Row("no epochs", "gs.tl.train(adata, 'cell_type', epochs=0)", "", ValueError, "not 0", "`epochs` must be"),
    Row("NaN in gene selection", "gs.pp.select_hvgs(adata, silent=True)", "adata.X.data[7] = np.nan", ValueError,
        "1 NaN", "Repair them", "adata.X.data[7] = 0; gs.pp.select_hvgs(adata, 10, silent=True)"),
    Row("scaled in gene selection", "gs.pp.select_hvgs(adata, silent=True)", "adata.X.data[7] = -2", ValueError,
        r"negative values \(lowest -2\)", "Pass `layer=` with counts"),
]  # fmt: skip

QUERY = [
    Row("no model", "classify(query)", "", ValueError, "No model was named", "ginseng models list", CLASSIFY),
    Row("model file that is not there", "classify(query, 'modl.h5')", "", FileNotFoundError,
        "modl.h5", "model.h5|no|No", "classify(query, 'model.h5')"),
    Row("data instead of a model", "classify(query, 'cells.h5ad')", "", ModelFileError, "cells.h5ad", "."),
    Row("a model cut short", "classify(query, 'short.h5')",
        "Path('short.h5').write_bytes(Path('model.h5').read_bytes()[:-500])", ModelFileError, "short.h5", "."),
    Row("an empty model file", "classify(query, 'empty.h5')", "Path('empty.h5').touch()", ModelFileError, "empty.h5",
        "."),
    Row("an AnnData that was never trained on", "classify(query, adata)", "", (KeyError, ValueError),
        "model", "train", TRAIN + "; classify(query, adata)"),
    Row("no gene of the model", CLASSIFY, "query.var_names = [f'x{i}' for i in range(30)]", ValueError,
        "None of the 30 genes of the model.* GENE0.* x0", "Pass `gene_key=`"),
    Row("two genes of the model", CLASSIFY, "query.var_names = [*query.var_names[:2], *(f'x{i}' for i in range(28))]",
        ValueError, r"Only 2 \(6.67%\) of the 30 genes", "lower `min_overlap`",
        "classify(query, state, min_overlap=0.05, silent=True)"),
    Row("symbols in a column", CLASSIFY,
        "query.var['gene_symbols'] = query.var_names; query.var_names = [f'ENSG{i:011}' for i in range(30)]", None,
        r"matched genes by `adata.var\['gene_symbols'\]`, which has 30 of the 30", "`adata.var_names` has 0",
        right=TRUE),
    Row("symbols in a column, and row numbers", CLASSIFY,
        "query.var['feature_name'] = query.var_names; query.var_names = [str(i) for i in range(30)]", None,
        r"matched genes by `adata.var\['feature_name'\]`", "has row numbers", right=TRUE),
    Row("row numbers and nothing else", CLASSIFY, "query.var_names = [str(i) for i in range(30)]", ValueError,
        "`adata.var_names` has row numbers", "`adata.var_names` to gene names",
        "query.var_names = adata.var_names; " + CLASSIFY, TRUE),
    Row("ids in the column asked for, symbols in another", "classify(query, state, gene_key='ids')",
        "query.var['ids'] = [f'ENSG{i:011}' for i in range(30)]; query.var['symbol'] = query.var_names;"
        "query.var_names = query.var['ids'] + '_'",
        ValueError, r"None of the 30 genes of the model is in `adata.var\['ids'\]`", "pass `gene_key='symbol'`",
        "classify(query, state, gene_key='symbol')", TRUE),
    Row("ids in the index, and symbols asked for", "classify(query, state, gene_key='symbol')",
        "query.var['symbol'] = [f's{i}' for i in range(30)]", ValueError,
        r"None of the 30 genes of the model is in `adata.var\['symbol'\]`", "leave out `gene_key`", CLASSIFY, TRUE),
    Row("Ensembl ids for a model of symbols", CLASSIFY, "query.var_names = [f'ENSG{i:011}' for i in range(30)]",
        ValueError, "the data have ENSG00000000000", "The model has symbols, the data Ensembl ids: pass `gene_key=`"),
    Row("versions in the data", "classify(query, ensembl_model)",
        "query.var_names = [f'ENSG{i:011}.{i}' for i in range(30)]", None, "30 Ensembl ids", "versions", right=TRUE),
    Row("versions in the model", "classify(query, versioned_model)",
        "query.var_names = [f'ENSG{i:011}' for i in range(30)]", None, "30 Ensembl ids", "versions", right=TRUE),
    Row("other versions in data and model", "classify(query, versioned_model)",
        "query.var_names = [f'ENSG{i:011}.{i + 3}' for i in range(30)]", None, "30 Ensembl ids", "versions",
        right=TRUE),
    Row("names with a suffix that is no version", CLASSIFY, "query.var_names = query.var_names + '.1'", None,
        "matched without the suffix '.1'", "GENE0.1 is GENE0", right=TRUE),
    Row("mouse for a human model", "classify(query, human_model)",
        "query.var_names = [n.title() for n in human]", ValueError,
        "None of the 30 genes.*the model looks human, the data mouse or rat", "by orthology",
        "query.var['human'] = human; classify(query, human_model, gene_key='human')", TRUE),
    Row("a share that is none", "classify(query, state, min_overlap=30)", "", ValueError,
        "not 30", r"`min_overlap` is a share.* in \[0, 1\]"),
    Row("some genes missing", CLASSIFY, "query = query[:, :20].copy()", None,
        "Partial gene overlap detected: 66.67%. 10 of the 30 genes",
        r"have no influence.* few genes \(20\).*genes=adata.var_names",
        "train(adata, 'cell_type', genes=query.var_names)", "classify(query, adata, key_added='two')"),
    Row("a gene twice", CLASSIFY, "query = gene_twice(query)", None, "summed 2 rows of 1 repeated genes", "summed",
        right=TRUE + "; assert same_as_once(query)"),
    Row("antibodies in the query", CLASSIFY, "query = with_antibodies(query)", None,
        "Only the 30 genes of 32 features", "Drop them",
        right="once = query[:, :30].copy(); classify(once, state);"
        "assert (once.obs['ginseng_confidence'] == query.obs['ginseng_confidence']).all()"),
    Row("NaN in one cell", CLASSIFY, "query.X.data[-1] = np.nan", ValueError, "1 NaN", "Repair them",
        "query.X.data[-1] = 0; " + CLASSIFY, TRUE),
    Row("infinity in one cell", CLASSIFY, "query.X.data[-1] = np.inf", ValueError, "1 infinite", "Repair them"),
    Row("values beyond any count", CLASSIFY, "query.X = query.X.astype(float) * 1e37", ValueError,
        r"`adata.X` has values up to \d.*e\+38", "Repair them"),
    Row("masked values", CLASSIFY,
        "query.X = np.ma.masked_array(query.X.toarray(), np.arange(query.X.shape[0] * 30).reshape(-1, 30) % 7 == 0)",
        ValueError, "`adata.X` has masked values", r"by `.filled\(0\)`",
        "query.X = query.X.filled(0); classify(query, state)"),
    Row("half precision", CLASSIFY, "query.X = query.X.toarray().astype(np.float16)", right=TRUE),
    Row("a total that is none", "classify(query, state, target_sum=-1)", "", ValueError,
        "not -1", "`target_sum` must be a finite number above 0", "classify(query, state, target_sum=1e4)"),
    Row("a total without an end", "classify(query, state, target_sum=np.inf)", "", ValueError,
        "not inf", "`target_sum` must be a finite number above 0", CLASSIFY),
    Row("yes or no in words", "classify(query, state, normalize='no')", "", ValueError,
        "`normalize` is 'no'", "True .*False .*or None", "classify(query, state, normalize=True)"),
    Row("no label that is one", "classify(query, state, min_confidence=0.9, unassigned='B cell')", "", ValueError,
        "`unassigned` is 'B cell', which is a class", "would be taken for it",
        "classify(query, state, min_confidence=0.9, unassigned='none')"),
    Row("a note under the key", CLASSIFY, "query.uns['ginseng'] = pd.DataFrame({'a': [1]})", ValueError,
        "was not written by ginseng", "key_added='ginseng_2'", "classify(query, state, key_added='ginseng_2')"),
    Row("a key without a name", "classify(query, state, key_added='')", "", ValueError, "`key_added` is ''",
        "plain text", "classify(query, state, key_added='mine')"),
    Row("scaled query, counts in a layer", CLASSIFY,
        "query.layers['counts'] = query.X.copy(); query.X = stats.zscore(query.X.toarray())", ValueError,
        "negative values", "Pass `layer='counts'`", "classify(query, state, layer='counts')", TRUE),
    Row("scaled query, counts in raw", CLASSIFY,
        "query.raw = query.copy(); query.X = stats.zscore(query.X.toarray())", ValueError,
        "negative values", "Pass `layer='raw'`, which has counts", "classify(query, state, layer='raw')", TRUE),
    Row("what the model makes of counts", CLASSIFY, "sc_log(query)", None,
        "log1p of counts per 10,000: the logarithm is undone", "Pass `normalize=False`",
        "del query.obs['ginseng_cell_type']; classify(query, state, normalize=False)", TRUE),
    Row("log-normalised to another total", CLASSIFY, "sc_log(query, 1e6)", None,
        "log1p of counts per 1,000,000: the logarithm is undone", "Pass `normalize=False`",
        "del query.obs['ginseng_cell_type']; classify(query, state, normalize=False)", TRUE),
    Row("counts that are said to be a logarithm", "classify(query, state, normalize=False)",
        "query.X = query.X * 50", ValueError, "`adata.X` has counts", "Leave out `normalize=False`",
        "classify(query, state)", TRUE),
    Row("log2-normalised query", CLASSIFY, "sc_log(query); query.X = query.X / np.log(2)", ValueError,
        r"log2\(1 \+ x\)", "Undo the logarithm",
        "query.layers['linear'] = np.expm1(query.X * np.log(2)); classify(query, state, layer='linear')", TRUE),
    Row("log-normalised before genes were left out", CLASSIFY,
        "query = make_cells(120, 60); sc_log(query); query = query[:, :30].copy()", ValueError,
        "an unknown total", "`normalize=False` if", "classify(query, state, normalize=False)", TRUE),
    Row("counts for a model of log-normalised values", "classify(query, log_model)", "", ValueError,
        "`adata.X` has counts.* log1p of normalised counts is expected", "Pass `normalize=True`",
        "classify(query, log_model, normalize=True)", TRUE),
    Row("normalised counts for a model of their logarithm", "classify(query, log_model)",
        "sc_log(query); query.X = np.expm1(query.X)", None, "not log-transformed", "Pass `layer=`"),
    Row("cells without counts", CLASSIFY, "query.X = sparse.diags([0.0] * 3 + [1] * 117) @ query.X", None,
        "3 of 120 cells have no counts in the genes of the model", "'unassigned'",
        right="assert (query.obs['ginseng_cell_type'][:3] == 'unassigned').all()"),
    Row("nothing but zeros in the query", CLASSIFY, "query.X = query.X * 0", None, "120 of 120 cells have no counts",
        "'unassigned'"),
    Row("no cells to label", CLASSIFY, "query = query[:0].copy()",
        right="assert query.obs['ginseng_cell_type'].tolist() == []"),
    Row("query layer misspelt", "classify(query, state, layer='count')", "query.layers['counts'] = query.X", KeyError,
        "no 'count'", "Did you mean 'counts'", "classify(query, state, layer='counts')", TRUE),
    Row("query without X", CLASSIFY, "query = ad.AnnData(obs=query.obs, var=query.var, layers={'counts': query.X})",
        ValueError, "`adata.X` is empty", "Pass `layer=`", "classify(query, state, layer='counts')", TRUE),
    Row("query with raw alone", CLASSIFY, "raw = query.copy(); query.raw = raw; query.X = None", ValueError,
        "`adata.X` is empty", "Pass `layer='raw'`", "classify(query, state, layer='raw')", TRUE),
    Row("query column misspelt", "classify(query, state, gene_key='symbl')", "query.var['symbol'] = query.var_names",
        KeyError, "no column 'symbl'", "Did you mean 'symbol'", "classify(query, state, gene_key='symbol')", TRUE),
    Row("labels of somebody else", CLASSIFY, "query.obs['ginseng_cell_type'] = 'mine'", ValueError,
        r"'ginseng_cell_type'\]` was not written by ginseng", "key_added='ginseng_2'",
        "classify(query, state, key_added='ginseng_2')",
        "assert (query.obs['ginseng_cell_type'] == 'mine').all(); assert 'ginseng_2_cell_type' in query.obs"),
    Row("a batch of none", "classify(query, state, batch_size=0)", "", ValueError, "not 0", "must be at least 1",
        "classify(query, state, batch_size=1)", TRUE),
    Row("weights of a model without", "classify(query, state, store_gene_weights=True)", "", ValueError,
        "has no gene weights", "leave out `store_gene_weights`", CLASSIFY, TRUE),
    Row("a file to write for an AnnData", "classify(query, state, output='new.h5ad')", "", ValueError,
        "`output` is for a path", r"adata.write_h5ad\(", CLASSIFY + "; query.write_h5ad('new.h5ad')", TRUE),
    Row("a file that is there already", "classify('cells.h5ad', state, output='notes.h5ad')",
        "Path('notes.h5ad').write_text('mine')", FileExistsError, "notes.h5ad exists", "Choose another `output`",
        "classify('cells.h5ad', state, output='new.h5ad')"),
    Row("a file of no known kind", "classify('cells.h5ad', state, output='new.csv')", "", ValueError, "'new.csv'",
        "must end in .h5ad or .zarr", "classify('cells.h5ad', state, output='new.zarr')"),
    Row("a file and a table", "classify('cells.h5ad', state, output='n.h5ad', return_table=True)", "", ValueError,
        "`copy` and `return_table` return something", "Choose one"),
    Row("data file misspelt", "classify('cell.h5ad', state)", "", FileNotFoundError, "no 'cell.h5ad'",
        "Did you mean 'cells.h5ad'", "classify('cells.h5ad', state)"),
    Row("a view", "classify(query[5:], state)", right="assert list(query.obs) == ['cell_type', 'donor']"),
    Row("columns first", CLASSIFY, "query.X = query.X.tocsc()", right=TRUE),
    Row("Fortran order", CLASSIFY, "query.layers['x'] = query.X; query.X = np.asfortranarray(query.X.toarray())",
        right=TRUE),
    Row("dask", CLASSIFY, "query.X = da.from_array(query.X.toarray(), chunks=(7, 11))", right=TRUE),
    Row("read-only memory", CLASSIFY, "query.X = query.X.toarray(); query.X.setflags(write=False)", right=TRUE),
    Row("on disk, dense, genes in another order", "table = classify('dense.h5ad', state)",
        "dense = query[:, ::-1].copy(); dense.X = dense.X.toarray(); dense.write_h5ad('dense.h5ad')",
        right="assert (table['cell_type'].astype(str) == query.obs['cell_type'].astype(str)).mean() > 0.9"),
    Row("names of cells that repeat", CLASSIFY, "query.obs_names = ['cell'] * 120", right=TRUE),
    Row("pointers of 64 bits", CLASSIFY, "query.X.indptr = query.X.indptr.astype(np.int64);"
        "query.X.indices = query.X.indices.astype(np.int64)", right=TRUE),
    Row("evaluation before classification", "gs.tl.evaluate(query, 'cell_type')", "", KeyError,
        "no predicted labels 'ginseng_cell_type'", "Run `gs.tl.classify` first",
        CLASSIFY + "; gs.tl.evaluate(query, 'cell_type')", TRUE),
    Row("evaluation against a column misspelt", "gs.tl.evaluate(query, 'celltype')", CLASSIFY, KeyError,
        "no column 'celltype'", "Did you mean 'cell_type'", "gs.tl.evaluate(query, 'cell_type')"),
    Row("evaluation without a true label", "gs.tl.evaluate(query, 'none')",
        CLASSIFY + "; query.obs['none'] = [None] * 120", ValueError, "No cell has both labels",
        "Check that these are the right columns"),
]  # fmt: skip

FILES = [
    Row("counts that are in another file", "read('linked.h5ad')",
        "shutil.copy('cells.h5ad', 'linked.h5ad'); link('linked.h5ad', 'X', 'cells.h5ad')", ValueError,
        "'linked.h5ad' is not opened: 'X' is a link to another file", "copy the data into one",
        "ad.read_h5ad('linked.h5ad').write_h5ad('whole.h5ad'); classify('whole.h5ad', state)"),
    Row("a file that is not there", "read('cell.h5ad')", "", FileNotFoundError, "no 'cell.h5ad'",
        "Did you mean 'cells.h5ad'", "read('cells.h5ad')"),
    Row("a folder that is not there", "read('no/such/cells.h5ad')", "", FileNotFoundError, "There is no",
        "Nor is there"),
    Row("an empty file", "read('x.h5ad')", "Path('x.h5ad').touch()", ValueError, "'x.h5ad' is empty", "h5ad"),
    Row("a file cut short", "read('x.h5ad')", "Path('x.h5ad').write_bytes(Path('cells.h5ad').read_bytes()[:-2000])",
        ValueError, "truncated", "download or copy it again", "shutil.copy('cells.h5ad', 'x.h5ad'); read('x.h5ad')"),
    Row("a login page", "read('x.h5ad')", "Path('x.h5ad').write_text('<!DOCTYPE html><html>')", ValueError,
        "a web page", "login"),
    Row("a Git LFS pointer", "read('x.h5ad')",
        "Path('x.h5ad').write_text('version https://git-lfs.github.com/spec/v1')", ValueError, "Git LFS pointer",
        "git lfs pull"),
    Row("a zip archive", "read('x.h5ad')", "Path('x.h5ad').write_bytes(b'PK\\x03\\x04' + bytes(99))", ValueError,
        "zip archive", "unpack it"),
    Row("a compressed file cut short", "read('x.h5ad')",
        "Path('x.h5ad').write_bytes(gzip.compress(Path('cells.h5ad').read_bytes())[:-99])", ValueError, "truncated",
        "copy it again", "Path('x.h5ad').write_bytes(gzip.compress(Path('cells.h5ad').read_bytes())); read('x.h5ad')"),
    Row("an R object", "read('x.rds')", "Path('x.rds').write_bytes(gzip.compress(b'X\\n' + bytes(20)))", ValueError,
        "R object", "zellkonverter::writeH5AD"),
    Row("a table of text", "read('x.csv')", "Path('x.csv').write_text('cell,gene')", ValueError,
        "starts with b'cell,gene'", "h5ad, h5mu, AnnData zarr, 10x h5, 10x mtx and tables"),
    Row("a molecule_info file", "read('x.h5')", "hdf5('x.h5', 'gem_group', 'umi')", ValueError, "molecule_info",
        "filtered_feature_bc_matrix.h5"),
    Row("a MuData file", "read('x.h5mu')", "hdf5('x.h5mu', 'mod/x1/X', 'mod/x2/X')", ValueError, "'x1', 'x2'",
        "modality='x1'"),
    Row("a loom file", "read('x.loom')", "hdf5('x.loom', 'col_attrs/a', 'row_attrs/a', 'matrix')", ValueError, "loom",
        "read_loom"),
    Row("a model instead of data", "read('model.h5')", "", ValueError, "a model", "ginseng.load_model",
        "gs.load_model('model.h5')"),
    Row("HDF5 of something else", "read('x.h5')", "hdf5('x.h5', 'stuff')", ValueError, "neither h5ad nor 10x h5",
        "There are: 'stuff'"),
    Row("zarr of something else", "read('x.zarr')", "zarr.open_group('x.zarr', mode='w').create_group('stuff')",
        ValueError, "not of an AnnData", "There are: 'stuff'"),
    Row("an empty folder", "read('x')", "Path('x').mkdir()", FileNotFoundError, "neither a zarr store nor a 10x folder",
        "matrix.mtx"),
    Row("the folder above", "read('run')", "shutil.copytree('tenx', 'run/other')", FileNotFoundError,
        "no 'matrix.mtx'", "Did you mean 'run/other'", "read('run/other')"),
    Row("barcodes missing", "read('tenx')", "Path('tenx/barcodes.tsv').unlink()", FileNotFoundError,
        "needs a missing file", "barcodes.tsv"),
    Row("a matrix of another shape", "read('tenx')", "Path('tenx/barcodes.tsv').write_text('c1\\nc2\\n')", ValueError,
        "'barcodes.tsv' 2", "must be genes x cells"),
    Row("a matrix cut short", "read('tenx')",
        "p = Path('tenx/matrix.mtx'); Path('tenx/matrix.mtx.gz').write_bytes(gzip.compress(p.read_bytes())[:-40]);"
        "p.unlink()", ValueError, "truncated or damaged", "copy them again"),
    Row("several samples", "read('tenx')",
        "[shutil.copy(p, p.with_name('S2_' + p.name)) for p in list(Path('tenx').iterdir())]", ValueError,
        "several samples", "prefix=", "gs.read_10x_mtx('tenx', prefix='S2_')"),
    Row("antibodies in a folder", "found = read('tenx')", "tenx('tenx', 'Antibody Capture')", None,
        "Dropped features that are not genes: 10 'Antibody Capture'", "gex_only=False",
        right="assert found.n_vars == 20"),
    Row("nothing but antibodies", "read('tenx')", "tenx('tenx', 'Antibody Capture', n=30)", ValueError,
        "no 'Gene Expression' features", "gex_only=False", "gs.read_10x_mtx('tenx', gex_only=False)"),
    Row("a gene called NA", "found = read('tenx')", "tenx('tenx', name='NA')",
        right="assert found.var_names[0] == 'NA'"),
    Row("a hash of a path", "gs.read_adata('cells.h5ad', known_hash='md5:0')", "", ValueError,
        "`known_hash` is for URLs", "Leave it out", "read('cells.h5ad')"),
    Row("a protocol that is not read", "read('s3://bucket/cells.h5ad')", "", ValueError, "not an http or https URL",
        "Download it first"),
    Row("backed='r+'", "gs.read_adata('cells.h5ad', backed='r+')", "", ValueError, r"`backed` is 'r\+'", "True or 'r'",
        "gs.read_adata('cells.h5ad', backed='r')"),
    Row("10x files on disk", "gs.read_adata('tenx', backed=True)", "", None, "cannot be backed", "read into memory"),
    Row("a file that may not be read", "read('cells.h5ad')", "as_stranger('cells.h5ad', 0o000)", PermissionError,
        "Permission denied", "cells.h5ad", ours=False),
]  # fmt: skip

URLS = [
    Row("404", "read(server.url('none.h5ad'))", "", FileNotFoundError, "cannot be downloaded: 404",
        "Check the address", "read(server.url('cells.h5ad'))"),
    Row("a login", "read(server.url('cells.h5ad', 'login'))", "", PermissionError, "401", "requires a login"),
    Row("a page instead of a file", "read(server.url('page.h5ad'))", "", ValueError, "a web page", "login"),
    Row("a server that falls silent", "read(server.url('cells.h5ad', 'stall'))", "", TimeoutError, "sent nothing",
        "Try again"),
    Row("a server that never answers", "read(server.url('cells.h5ad', 'hang'))", "", TimeoutError, "sent nothing",
        "Try again"),
    Row("a download cut short", "read(server.url('cells.h5ad', 'truncated'))", "", ConnectionError, "broke off",
        "Try again"),
    Row("a download cut short without a length", "read(server.url('cells.h5ad', 'truncated-no-length'))", "",
        ValueError, "truncated", "download or copy it again"),
    Row("another file than expected", "gs.read_adata(server.url('cells.h5ad'), known_hash='0' * 64)", "", ValueError,
        "hash", "known hash|sha256|SHA", ours=False),
    Row("no server", "read('http://127.0.0.1:9/cells.h5ad')", "", ConnectionError, "cannot be downloaded", "Try again"),
    Row("a redirect", "found = read(server.url('cells.h5ad', 'redirect'))", right="assert found.n_obs == 120"),
]  # fmt: skip

STORES = [
    Row("a store over a folder of something else", "create('results', adata, 'cell_type')",
        "Path('results').mkdir(); Path('results/mine.txt').write_text('mine')", FileExistsError,
        "results exists and is not a store of ginseng", "Choose another path",
        "create('new.zarr', adata, 'cell_type')"),
    Row("a store over a file", "create('notes.txt', adata, 'cell_type', overwrite=True)", "", FileExistsError,
        "notes.txt exists", "Choose another path"),
    Row("a store over a store", "create('store.zarr', adata, 'cell_type')", "", FileExistsError, "store.zarr exists",
        "overwrite=True", "create('store.zarr', adata, 'cell_type', overwrite=True)"),
    Row("a store with somebody's file in it", "create('store.zarr', adata, 'cell_type', overwrite=True)",
        "Path('store.zarr/mine.txt').write_text('mine')", FileExistsError, "mine",
        "not replaced"),
    Row("a misspelt label over a store", "create('store.zarr', adata, 'cell_typ', overwrite=True)", "", KeyError,
        "'cell_typ'", "Did you mean 'cell_type'", "create('store.zarr', adata, 'cell_type', overwrite=True)"),
    Row("a missing input over a store", "create('store.zarr', 'cell.h5ad', 'cell_type', overwrite=True)", "",
        FileNotFoundError, "no 'cell.h5ad'", "Did you mean 'cells.h5ad'",
        "create('store.zarr', 'cells.h5ad', 'cell_type', overwrite=True)"),
    Row("NaN in the last cell, over a store", "create('store.zarr', adata, 'cell_type', overwrite=True)",
        "adata.X.data[-1] = np.nan", ValueError, "1 NaN", "Repair them"),
    Row("a store of log-normalised values", "create('new.zarr', adata, 'cell_type')", LOG, ValueError,
        "`adata.X` has log1p of counts per 10,000, where counts are expected", "or `normalize=False`",
        "create('new.zarr', adata, 'cell_type', normalize=False); train('new.zarr', normalize=False)"),
    Row("a store of a file of log-normalised values", "create('new.zarr', 'log.h5ad', 'cell_type')",
        LOG + "; adata.write_h5ad('log.h5ad')", ValueError,
        "`adata.X` has log1p of counts per 10,000, where counts are expected", "or `normalize=False`",
        "create('new.zarr', 'log.h5ad', 'cell_type', normalize=False)"),
    Row("a store of zarr with counts in a layer", "create('store.zarr', 'log.zarr', 'cell_type', overwrite=True)",
        "adata.layers['counts'] = adata.X.copy(); " + LOG + "; adata.write_zarr('log.zarr')", ValueError,
        "`adata.X` has log1p of counts per 10,000", "Pass `layer='counts'`",
        "create('store.zarr', 'log.zarr', 'cell_type', layer='counts', overwrite=True); train('store.zarr')"),
    Row("a store of scaled values", "create('new.zarr', adata, 'cell_type')",
        "adata.layers['counts'] = adata.X.copy(); adata.X = stats.zscore(adata.X.toarray())", ValueError,
        "`adata.X` has negative values", "Pass `layer='counts'`",
        "create('new.zarr', adata, 'cell_type', layer='counts')"),
    Row("a store of log-normalised values, insisted on", "create('new.zarr', adata, 'cell_type', normalize=True)", LOG,
        None, "log1p of counts per 10,000, where counts are expected", "or `normalize=False`"),
    Row("a store of counts that are said to be a logarithm", "create('new.zarr', adata, 'cell_type', normalize=False)",
        "", None, "`adata.X` has counts", "Pass `normalize=True`"),
    Row("a store of corrected counts", "create('new.zarr', adata, 'cell_type')",
        "adata.X = adata.X * np.float32(17.3)",
        right="train('new.zarr'); assert GinsengDataset('new.zarr').normalizes"),
    Row("a store of log-normalised values, normalised again", "train('new.zarr')",
        LOG + "; create('new.zarr', adata, 'cell_type', normalize=False)", ValueError,
        "new.zarr .* log-normalised values", "pass `normalize=False`", "train('new.zarr', normalize=False)"),
    Row("a store over its input", "create('tenx', 'tenx', label_key=['a', 'b'], overwrite=True)", "", FileExistsError,
        "tenx exists and is not a store", "Choose another path"),
    Row("a label column with a slash", "create('new.zarr', adata, 'a/b')", "adata.obs['a/b'] = adata.obs['cell_type']",
        ValueError, "'a/b'", "no slash"),
    Row("no store", "GinsengDataset('stor.zarr')", "", FileNotFoundError, "no dataset at stor.zarr",
        "Write one with", "create('stor.zarr', adata, 'cell_type')"),
    Row("an AnnData instead of a store", "GinsengDataset('cells.zarr')", "", ValueError, "not a dataset of ginseng",
        "GinsengDataset.create"),
    Row("half a store", "GinsengDataset('store.zarr')",
        "shutil.rmtree('store.zarr/uns/ginseng/complete')", ValueError, "incomplete", "overwrite=True",
        "create('store.zarr', adata, 'cell_type', overwrite=True)"),
    Row("training on half a store", "train('store.zarr')",
        "shutil.rmtree('store.zarr/uns/ginseng/complete')", ValueError, "incomplete", "overwrite=True"),
    Row("other labels than a store has", "train('store.zarr', 'other')", "", ValueError, "A dataset has its own labels",
        "eave out `label_key`", "train('store.zarr')"),
    Row("a part that is none", "next(GinsengDataset('store.zarr').stream(split='trial'))", "", ValueError, "'trial'",
        "The parts are"),
    Row("a split that was not made", "next(GinsengDataset('store.zarr').stream())", "", ValueError,
        "There is no split yet", r"Call `make_split\(\)`",
        "d = GinsengDataset('store.zarr'); d.make_split(); next(d.stream())"),
    Row("a cell that is not there", "GinsengDataset('store.zarr')[500]", "", IndexError, "Cell 500", "there are 120"),
    Row("a model to save that was not trained", "gs.save_model(adata, 'new.h5')", "", (KeyError, ValueError),
        "model", "train", TRAIN + "; gs.save_model(adata, 'new.h5')"),
    Row("a model over a folder", "gs.save_model(state, 'd.h5')", "Path('d.h5').mkdir()", OSError, "d.h5", ".",
        ours=False),
    Row("a model below a file", "gs.save_model(state, 'notes.txt/m.h5')", "", OSError, "notes.txt", ".", ours=False),
    Row("names with dots", "gs.save_model(state, 'atlas.v1'); gs.save_model(state, 'atlas.v2')",
        right="assert all(Path(p).exists() or Path(p + '.h5').exists() for p in ('atlas.v1', 'atlas.v2'))"),
    Row("a folder that may not be written, a model", "gs.save_model(state, 'model.h5')", "as_stranger('.', 0o555)",
        PermissionError, "Permission denied", "model.h5", ours=False),
    Row("a folder that may not be written, a store", "create('new.zarr', adata, 'cell_type')",
        "as_stranger('.', 0o555)", PermissionError, "Permission denied", "new.zarr", ours=False),
    Row("a folder that may not be written, labels", "classify('cells.h5ad', state, output='new.h5ad')",
        "as_stranger('.', 0o555)", PermissionError, "Permission denied", "new.h5ad", ours=False),
]  # fmt: skip

TABLE = {f"{area}: {row.name}": row for area, rows in {
    "labels": LABELS, "genes": GENES, "values": VALUES, "query": QUERY, "files": FILES, "urls": URLS, "stores": STORES,
}.items() for row in rows}  # fmt: skip


# -- the scene -----------------------------------------------------------------------------------------------------


def relabel(adata: ad.AnnData, old: str, new: str | None, n: int | None = None) -> None:
    labels = adata.obs["cell_type"].astype(object).to_numpy(copy=True)
    labels[np.flatnonzero(labels == old)[:n]] = new
    adata.obs["cell_type"] = labels


def sc_log(adata: ad.AnnData, target_sum: float = 1e4) -> None:
    import scanpy as sc

    sc.pp.normalize_total(adata, target_sum=target_sum)
    adata.X = np.log1p(adata.X)


def with_antibodies(adata: ad.AnnData) -> ad.AnnData:
    """Add two antibodies with many counts, one of them called as a gene."""
    x = sparse.hstack([adata.X, np.full((adata.n_obs, 2), 500)], format="csr", dtype=np.float32)
    var = pd.DataFrame({"feature_types": ["Gene Expression"] * adata.n_vars + ["Antibody Capture"] * 2})
    var.index = pd.Index([*adata.var_names, "GENE7", "CD4_Ab"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ad.AnnData(x, obs=adata.obs, var=var)


def gene_twice(adata: ad.AnnData) -> ad.AnnData:
    x = adata.X.toarray()
    half = np.floor(x[:, :1] / 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ad.AnnData(
            np.hstack([half, x[:, 1:], x[:, :1] - half]), obs=adata.obs,
            var=pd.DataFrame(index=[*adata.var_names, adata.var_names[0]]),
        )  # fmt: skip


def tenx(folder: str, kind: str = "Gene Expression", *, n: int = 10, name: str = "gene0") -> None:
    """Write a 10x folder of 8 cells and 30 features, the last `n` of that kind."""
    Path(folder).mkdir(exist_ok=True)
    x = sparse.random(30, 8, 0.3, random_state=0, data_rvs=lambda k: np.arange(1, k + 1))
    rows = [f"{i + 1} {j + 1} {int(v)}" for i, j, v in zip(x.row, x.col, x.data, strict=True)]
    header = "%%MatrixMarket matrix coordinate integer general"
    Path(folder, "matrix.mtx").write_text("\n".join([header, f"30 8 {x.nnz}", *rows, ""]))
    Path(folder, "barcodes.tsv").write_text("".join(f"cell{i}\n" for i in range(8)))
    kinds = ["Gene Expression"] * (30 - n) + [kind] * n
    names = [name, *(f"gene{i}" for i in range(1, 30))]
    Path(folder, "features.tsv").write_text(
        "".join(f"id{i}\t{g}\t{k}\n" for i, (g, k) in enumerate(zip(names, kinds, strict=True)))
    )


def hdf5(path: str, *members: str) -> None:
    with h5py.File(path, "w") as f:
        for member in members:
            f[member] = np.zeros(3)


def link(path: str, member: str, other: str) -> None:
    with h5py.File(path, "r+") as f:
        del f[member]
        f[member] = h5py.ExternalLink(other, member)


def renamed(state: GinsengClassifierState, genes: list[str]) -> GinsengClassifierState:
    return GinsengClassifierState.from_dict({**state.to_dict(), "genes": np.array(genes)})


#: Names that look human, one for each gene of the cells.
HUMAN = [f"{a}{b}RK{c}" for a in "ACEFG" for b in "DKLM" for c in "12"][:30]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, make_cells: Make, state: GinsengClassifierState) -> dict[str, Any]:
    """Return what no row changes: models, and a folder of files to copy."""
    folder = tmp_path_factory.mktemp("made")
    adata = make_cells()
    adata.write_h5ad(folder / "cells.h5ad")
    adata.write_zarr(folder / "cells.zarr")
    gs.save_model(state, folder / "model.h5")
    GinsengDataset.create(folder / "store.zarr", adata, "cell_type", silent=True)
    tenx(str(folder / "tenx"))
    (folder / "notes.txt").write_text("mine")
    return {
        "folder": folder,
        "log_model": GinsengClassifierState.from_dict({**state.to_dict(), "normalize": False}),
        "ensembl_model": renamed(state, [f"ENSG{i:011}" for i in range(30)]),
        "versioned_model": renamed(state, [f"ENSG{i:011}.{i % 5 + 1}" for i in range(30)]),
        "human_model": renamed(state, HUMAN),
    }


@pytest.fixture
def scene(
    made: dict[str, Any],
    make_cells: Make,
    state: GinsengClassifierState,
    server: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[dict[str, Any]]:
    """Return the names that the code of a row can use; the current folder is one of its own."""
    top = Path(tempfile.mkdtemp())  # where another user can go, unlike `tmp_path`
    top.chmod(0o755)
    folder = top / "here"
    shutil.copytree(made["folder"], folder)
    folder.chmod(0o755)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(download, "TIMEOUT", (5, 0.3))
    server.files = {"cells.h5ad": (folder / "cells.h5ad").read_bytes(), "page.h5ad": b"<!DOCTYPE html><html>"}

    def as_stranger(path: str, mode: int) -> None:
        """Change what others may do with a path, and become one of them."""
        Path(path).chmod(mode)
        if os.geteuid() == 0:
            os.seteuid(65534)

    def classes(adata: ad.AnnData) -> list[str]:
        return adata.uns["ginseng"]["classes"].tolist()

    def model_genes(adata: ad.AnnData) -> list[str]:
        return adata.uns["ginseng"]["model"]["genes"].tolist()

    def model_is_close(adata: ad.AnnData, other: ad.AnnData) -> bool:
        gs.tl.train(other, "cell_type", **FAST)
        one, two = (a.uns["ginseng"]["model"]["params"]["head"]["W"] for a in (adata, other))
        return bool(np.allclose(one, two, atol=1e-3))

    def same_as_once(query: ad.AnnData) -> bool:
        once = make_cells(seed=2)
        gs.tl.classify(once, state, silent=True)
        return bool(np.allclose(query.obs["ginseng_confidence"], once.obs["ginseng_confidence"], atol=1e-6))

    user = os.geteuid()
    yield {
        **made,
        "gs": gs, "ad": ad, "np": np, "pd": pd, "sparse": sparse, "stats": stats, "da": da, "Path": Path,
        "shutil": shutil, "gzip": gzip, "zarr": zarr, "GinsengDataset": GinsengDataset,
        "make_cells": make_cells, "adata": make_cells(), "query": make_cells(seed=2), "state": state, "server": server,
        "train": partial(gs.tl.train, **FAST), "classify": gs.tl.classify, "read": gs.read_adata,
        "create": partial(GinsengDataset.create, silent=True), "human": HUMAN,
        "relabel": relabel, "sc_log": sc_log, "with_antibodies": with_antibodies, "gene_twice": gene_twice,
        "tenx": tenx, "hdf5": hdf5, "link": link, "as_stranger": as_stranger, "classes": classes,
        "model_genes": model_genes, "model_is_close": model_is_close, "same_as_once": same_as_once,
    }  # fmt: skip
    if os.geteuid() != user:
        os.seteuid(user)
    folder.chmod(0o755)
    shutil.rmtree(top)


def files() -> dict[str, bytes]:
    """Contents of every file in the current folder."""
    there = (p for p in sorted(Path().rglob("*")) if p.is_file() and os.access(p, os.R_OK, effective_ids=True))
    return {str(p): p.read_bytes() for p in there}


def shape_of(adata: ad.AnnData) -> tuple[Any, ...]:
    return (list(adata.obs), list(adata.var), list(adata.uns), list(adata.obsm), [k for k in adata.layers if k])


@pytest.mark.parametrize("name", TABLE)
def test_the_answer_that_it_deserves(name: str, scene: dict[str, Any]) -> None:
    row = TABLE[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(row.setup, scene)
    before = files()
    shapes = [shape_of(scene[key]) for key in ("adata", "query")]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if row.error is None:
            exec(row.call, scene)
        else:
            with pytest.raises(row.error) as error:
                exec(row.call, scene)
    said = [str(w.message) for w in caught if w.category is UserWarning]
    if row.error is not None:
        message = str(error.value)
        assert re.search(row.cause, message), message
        assert re.search(row.remedy, message), message
        raised_in = traceback.extract_tb(error.value.__traceback__)[-1].filename
        assert raised_in.startswith(SOURCE) or not row.ours, raised_in
        assert files() == before
        assert [shape_of(scene[key]) for key in ("adata", "query")] == shapes
    else:
        now = files()
        assert {path: now.get(path) for path in before} == before
        assert not (row.cause and not said), "nothing was said"
        if row.cause:
            message = next((m for m in said if re.search(row.cause, m)), said[0])
            assert re.search(row.cause, message), said
            assert re.search(row.remedy, message), message
        else:
            assert said == []
    mend = row.mend.replace("...", message.split("`")[-2]) if "..." in row.mend else row.mend
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(mend, scene)
        exec(row.right, scene)


#: Run on its own: a crash of HDF5 would end the tests.
FULL_DISK = """
import os, resource
from pathlib import Path
import ginseng as gs
from ginseng._disk.writers import write_adata
state = gs.load_model("model.h5")
adata = gs.read_adata("cells.h5ad")
adata.write_zarr("cells.zarr")
calls = {
    "model": lambda: gs.save_model(state, "model.h5"),
    "store": lambda: gs.data.GinsengDataset.create("store.zarr", adata, "cell_type", overwrite=True, silent=True),
    "labels": lambda: gs.tl.classify("cells.h5ad", state, output="cells.h5ad", silent=True),
    "zarr": lambda: gs.tl.classify("cells.zarr", state, output="cells.zarr", silent=True),
    "from_zarr": lambda: gs.tl.classify("cells.zarr", state, output="new.h5ad", silent=True),
    "converted": lambda: write_adata(adata, Path("cells.h5ad")),
}
before = {p: p.read_bytes() for p in Path().rglob("*") if p.is_file()}
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
for name, call in calls.items():
    for size in (100, 3000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))  # no file may grow beyond that
        try:
            call()
        except Exception as error:
            print(name, "failed:", repr(error), flush=True)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
assert {p: p.read_bytes() for p in Path().rglob("*") if p.is_file()} == before
print("all is as it was", flush=True)
os._exit(0)
"""


def test_a_full_disk_leaves_what_was_there(scene: dict[str, Any]) -> None:
    done = subprocess.run([sys.executable, "-c", FULL_DISK], capture_output=True, text=True, timeout=300)
    assert done.stdout.endswith("all is as it was\n"), done
    failed = re.findall(r"^(\w+) failed: OSError.* too large", done.stdout, re.MULTILINE)
    assert set(failed) == {"model", "store", "labels", "zarr", "from_zarr", "converted"}, done.stdout
    assert "Traceback" not in done.stderr  # HDF5 would show one for each of its objects


def test_values_past_two_to_the_31(make_cells: Make, state: GinsengClassifierState, tmp_path: Path) -> None:
    """A file that says it has more than 2**31 values; those of one cell in the middle were never written."""
    adata = make_cells(6)
    adata.write_h5ad(tmp_path / "a.h5ad")
    with h5py.File(tmp_path / "a.h5ad", "r+") as f:
        data, indices, indptr = (f[f"X/{name}"][:].astype(np.int64) for name in ("data", "indices", "indptr"))
        half, gap = indptr[3], 2**31 + 7
        for name, values, dtype in (("data", data, "f4"), ("indices", indices, "i4")):
            del f[f"X/{name}"]
            shape = (len(values) + gap,)
            array = f["X"].create_dataset(name, shape, dtype, chunks=(1 << 14,), compression="gzip")
            array[:half], array[gap + half :] = values[:half], values[half:]
        del f["X/indptr"]
        f["X/indptr"] = np.concatenate([indptr[:4], indptr[3:] + gap])
        f["X"].attrs["shape"] = (7, 30)
        del f["obs"]
        ad.io.write_elem(f, "obs", pd.DataFrame(index=list("0123456")))
    backed = gs.read_adata(tmp_path / "a.h5ad", backed=True)
    found = gs.tl.classify(backed[[0, 1, 2, 4, 5, 6]], state, return_table=True, store_probs=True, silent=True)
    expected = gs.tl.classify(adata, state, return_table=True, store_probs=True, silent=True)
    np.testing.assert_array_equal(found.iloc[:, 1:].to_numpy(), expected.iloc[:, 1:].to_numpy())  # type: ignore[union-attr]
    backed.file.close()


def test_the_table_is_as_long_as_it_should_be() -> None:
    assert len(TABLE) >= 100
    assert sum(bool(row.mend) for row in TABLE.values() if row.error) >= 30
