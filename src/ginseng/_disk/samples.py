"""Join several samples into one AnnData."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any, Literal

import anndata
from anndata import AnnData

from ginseng import _logging

#: Parts of paths that do not identify a sample.
_USUAL = re.compile(
    r"(sample_)?(filtered|raw)_(feature|gene)_bc_matri(x|ces)|outs?|count|DGE_filtered|Gene|filtered|raw|Solo\.out|"
    r"cells_x_genes|matrix|DGE|count_matrix|GRCh38|mm10|hg19",
    re.IGNORECASE,
)
_SUFFIX = re.compile(r"(\.(gz|bz2|xz|zip|mtx|h5ad|h5mu|h5|zarr|csv|tsv|txt))+$", re.IGNORECASE)


def names_of(paths: Sequence[str]) -> list[str]:
    """Name samples by the parts in which their paths differ."""
    parts = [[_trimmed(part) for part in PurePath(path).parts] for path in paths]
    parts = [[part for part in each if part and not _USUAL.fullmatch(part)] for each in parts]
    common = set.intersection(*map(set, parts)) if len(parts) > 1 else set()
    names = [[part for part in each if part not in common] for each in parts]
    last = [each[-1] if each else "" for each in names]
    if len(set(last)) < len(last) or not all(last):
        last = ["_".join(each) for each in names]
    if len(set(last)) < len(last) or not all(last):
        last = [str(i + 1) for i in range(len(paths))]
    return last


def _trimmed(part: str) -> str:
    part = _SUFFIX.sub("", part)
    return re.sub(rf"[._-]+({_USUAL.pattern})$", "", part, flags=re.IGNORECASE)


def join_samples(samples: Mapping[str, AnnData], join: Literal["inner", "outer"] = "inner") -> AnnData:
    """Concatenate the cells of several samples.

    Parameters
    ----------
    samples
        AnnData in memory, by sample name.
    join
        Keep the genes that all samples have (`"inner"`), or all genes, with zeros (`"outer"`).

    Returns
    -------
    The cells, with the sample in `obs["sample"]`. The sample is appended to cell names that occur more than once.

    Raises
    ------
    ValueError
        If the samples have no gene in common.
    """
    for name, adata in samples.items():
        if "sample" in adata.obs and not (adata.obs["sample"].astype(str) == name).all():
            obs: Any = adata.obs
            adata.obs = obs.rename(columns={"sample": "sample_in_file"})
        adata.var_names_make_unique()
    first, *others = (adata.var_names for adata in samples.values())
    shared, every = first, first
    for names in others:
        shared, every = shared.intersection(names), every.union(names, sort=False)
    if not len(shared):
        msg = f"The samples {', '.join(map(repr, samples))} share no genes. Read them separately, and rename the genes."
        raise ValueError(msg)
    repeated = len({n for a in samples.values() for n in a.obs_names}) < sum(a.n_obs for a in samples.values())
    joined = anndata.concat(
        samples, join=join, label="sample", index_unique="_" if repeated else None, merge="same", fill_value=0
    )
    joined.obs_names_make_unique()
    what = (
        f"the {len(every):,} genes that any of them has"
        if join == "outer"
        else f"the {len(shared):,} genes that all have"
    )
    left = f", of {len(every):,} (`join='outer'` keeps all)" if join == "inner" and len(every) > len(shared) else ""
    _logging.warning(f"{len(samples)} samples with {joined.n_obs:,} cells are joined on {what}{left}.")
    return joined
