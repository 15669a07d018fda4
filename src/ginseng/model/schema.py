"""The contents of model files, today's and those of ginseng 0.2. `uns` and the trained state use the same names.

To add an array, add a row here and an attribute to :class:`ginseng.model.GinsengClassifierState` (None if the row is
`optional`). Set `since` of the row to the next minor version; earlier versions can still read files without the array.
"""

from __future__ import annotations

import numpy as np

from ginseng._disk.schema import Schema
from ginseng._disk.schema_entries import Array, Columns, Names, Number, Text, Tree

MAX_GENES, MAX_CLASSES, MAX_EPOCHS = 1_000_000, 100_000, 1_000_000
#: Maximum size of `info` in bytes.
MAX_INFO = 4 * 2**20

_GENES = Names("genes", "names, in the order of the input", "n_genes", most=MAX_GENES)
_CLASSES = Names("label_keys", "names of the classes", "n_classes", most=MAX_CLASSES)

MODEL = Schema(
    "ginseng-model",
    (
        Text("architecture", "name of the network"),
        Text("config", "JSON of its settings", json=True),
        Text("library_size", '`"model_genes"` or `"all_genes"`: the genes that the counts of a cell are summed over'),
        Text("info", "JSON: versions, numbers of cells, best epoch, seed, whether the model has learned anything",
             json=True, longest=MAX_INFO),
        Number("normalize", "whether counts are normalised", bool),
        Number("training", "always false, for readers of ginseng 0.3.0", bool, always=lambda _: False),
        Number("target_sum", "counts per cell after scaling; NaN for the number of genes", nan=True),
        _GENES,
        _CLASSES,
        Array("label_values", "always 0, 1, ..., for readers of ginseng 0.3.0", "<i8", ("n_classes",),
              always=lambda packed: np.arange(len(packed["label_keys"]))),
        Tree("params", "weights", "<layer>/<name>"),
        Columns("history", "a value per epoch", most=MAX_EPOCHS),
        Tree("reference", "normalised expression of the training cells: `mean` of each gene, and of each gene in each "
             "class, `classes`, of so many `cells`; and `share` of each gene in the counts of a cell",
             "<name>", since="1.2", optional=True),
        Tree("calibration", "what was measured on cells that were not trained on: `temperature` of the logits; of each "
             "of these `cells` the true and the predicted class, the probability of each, and how unlike the reference "
             "it is; `prototypes` of the embedding, and `depth`, `range`, `offset` and `scale` of the scores; and what "
             "missing genes cost, `overlap`, and in each class, `recall`",
             "<name>", since="1.3", optional=True),
        Names("other_names", "what the genes are also called, ids beside symbols or the reverse; empty where unknown",
              "n_genes", most=MAX_GENES, blank=True, since="1.3", optional=True),
        Text("levels", "JSON: label of each class in each level, by name of the level, the broadest first; the last is "
             "`label_keys`",
             json=True, longest=MAX_INFO, since="1.3", optional=True),
    ),
)  # fmt: skip

#: A file of ginseng 0.2, which has no `format`: the `instance` network, scaled by the counts of the model's own genes.
FIRST = Schema(
    "",
    (
        Number("n_genes", "number of genes", int, counts=True),
        Number("n_classes", "number of classes", int, counts=True),
        Number("hidden_dim", "hidden units", int),
        Number("dropout_rate", "dropout in training"),
        Number("normalize", "whether counts are normalised", bool),
        Number("target_sum", "counts per cell after scaling", optional=True),
        Number("training", "without effect", bool),
        _GENES,
        _CLASSES,
        Array("label_values", "without effect", "<i8", ("n_classes",)),
        Tree("params", "weights", "<layer>/<name>"),
    ),
)
