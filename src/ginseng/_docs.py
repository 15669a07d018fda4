"""Descriptions of parameters shared by several public functions."""

from __future__ import annotations

import re
import textwrap

#: By placeholder: the parameter and its description.
PARAMETERS = {
    "adata_labelled": ("adata", "Annotated data, labelled by :func:`ginseng.tl.classify`."),
    "adata_or_path": (
        "adata",
        "Counts: an AnnData (in memory, backed or lazy; with dask arrays, the workers of dask compute), or a path or "
        "URL that :func:`ginseng.read_adata` reads.",
    ),
    "adata_with_labels": (
        "adata",
        "Counts with labels: an AnnData (in memory, backed or lazy), or a path or URL that "
        ":func:`ginseng.read_adata` reads.",
    ),
    "batch_size": ("batch_size", "Cells per forward pass. Changes memory use, never the result."),
    "copy": ("copy", "Whether to write to a copy of `adata` and return it. The copy of a backed `adata` is in memory."),
    "key": ("key", "Prefix with which the labels were written."),
    "key_read": ("key", "Prefix with which the labels were written; `key_added` if None."),
    "key_added": ("key_added", "Prefix of everything that is written."),
    "label_key_or_labels": ("label_key", "Column of `obs` with the cell types, or one label per cell."),
    "layer": ("layer", "Layer with the counts; `X` if None, `adata.raw` if `'raw'`."),
    "layer_values": ("layer", "Layer to use instead of `X`; `adata.raw` if `'raw'`."),
    "gene_key": ("gene_key", "Column of `var` with the gene names; the index if None."),
    "query_gene_key": (
        "gene_key",
        "Column of `var` with names like those of the model. If None, the index, or a column that matches more genes.",
    ),
    "overwrite": (
        "overwrite",
        "Whether to replace existing data that have the names of the results but were not written by ginseng.",
    ),
    "overwrite_genes": ("overwrite", "Whether to replace a manual selection of genes."),
    "palette": (
        "palette",
        "Name of a palette, one colour per label, or a dictionary from labels to colours. By default as in "
        ":func:`ginseng.pl.embedding`.",
    ),
    "model": (
        "model",
        "A trained state, the path of a saved one, or an AnnData trained with :func:`ginseng.tl.train`.",
    ),
    "query_normalize": (
        "normalize",
        "Overrides the model: whether the data are counts that still have to be log-normalised.",
    ),
    "return_table": ("return_table", "Whether to return a table instead of writing anything."),
    "show": ("show", "Show the plot. Defaults to :attr:`ginseng.settings.autoshow`, or False if `ax` is given."),
    "return_fig": ("return_fig", "Return the figure instead of showing it."),
    "ax": ("ax", "Axes to draw into, one per panel. By default a new figure, large enough for all names."),
    "title": ("title", "Title of the figure. A list has one title per panel."),
    "figsize": (
        "figsize",
        "Width and height of the figure in inches. By default the figure is fitted to its panels and all names.",
    ),
    "save": (
        "save",
        "Save the figure. True, or the end of a file name such as `'_atlas.png'`: as in scanpy, to its folder of "
        "figures, after the name of the plot. A path that has a folder is taken as it is. The suffix "
        "sets the format, such as .pdf, .png or .svg.",
    ),
    "unlabeled": (
        "unlabeled",
        'Labels that mean "no label": these cells are left out. One or more names, besides the usual words (unknown, '
        "unassigned, n/a and the like), which always count if None. With an empty list, every name is a label.",
    ),
    "silent": ("silent", "Whether to hide the progress bar."),
    "query_silent": ("silent", "Whether to hide the progress bar and the warning about missing genes."),
}

#: Placeholders that stand for several parameters.
GROUPS = {"plot_options": ("title", "figsize", "ax", "save", "show", "return_fig")}

_PLACE = re.compile(r"^( *)%\((\w+)\)s$", re.MULTILINE)
_WIDTH = 110


def document[T](documented: T) -> T:
    """Insert the shared descriptions into a docstring: a line ``%(layer)s`` becomes that parameter and its text."""

    def text(place: re.Match[str]) -> str:
        indent, key = place.groups()
        inner = f"{indent}    "
        return "\n".join(
            f"{indent}{name}\n{textwrap.fill(words, _WIDTH, initial_indent=inner, subsequent_indent=inner)}"
            for name, words in (PARAMETERS[each] for each in GROUPS.get(key, (key,)))
        )

    if documented.__doc__:  # None with `python -OO`
        documented.__doc__ = _PLACE.sub(text, documented.__doc__)
    return documented
