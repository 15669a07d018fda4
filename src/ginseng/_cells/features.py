"""Tell the rows of `var` that are genes from antibodies, peaks and other features."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from ginseng._errors import warn

#: Columns of `var` that give the feature type of a row; in lower case, without blanks, dashes and underscores.
_COLUMNS = ("featuretypes", "featuretype", "modality", "featureclass", "featurebiotype", "featurekind")

#: Words for genes in such columns, in the same spelling, and Ensembl's biotypes.
_GENES = {
    "geneexpression", "gex", "rna", "mrna", "scrna", "snrna", "scrnaseq", "snrnaseq", "rnaseq", "gene", "genes",
    "geneexp", "expression", "transcript", "transcripts", "transcriptome", "transcriptomics", "wta", "cdna", "tec",
    "ribozyme", "artifact", "proteincoding", "noncoding", "antisense", "senseintronic", "senseoverlapping",
}  # fmt: skip
_GENES_LIKE = re.compile(r"geneexpression|[a-z]+(rna|trna|gene|pseudogene|transcript)")
#: Words for other features.
_OTHERS = {
    "ab", "abs", "adt", "adts", "prot", "cite", "citeseq", "hto", "htos", "cmo", "cmos", "atac", "scatac", "atacseq",
    "chromatin", "grna", "grnas", "sgrna", "sgrnas", "guiderna", "vdj", "tcr", "bcr", "ercc", "synthetic", "motif",
    "motifs", "lipid", "metabolite",
}  # fmt: skip
_OTHERS_LIKE = re.compile(
    r"antibod|protein(?!coding)|hashtag|hashing|peak|accessib|crispr|guide|custom|multiplex|antigen|isotype|spikein|"
    r"control|blank|codeword|barcode"
)
#: A column with more kinds than this says something else, for instance the pathway or the chromosome.
_MAX_KINDS = 20

#: Names of antibodies, hashtags, peaks and guides.
_NAMES = re.compile(
    r"(ab|adt|hto|cmo|prot|protein|cite|anti|antibody|totalseq\w*|hashtag|sgrna|grna)[-_:. ].+|hto[-_. ]?\w*|"
    r"(sample)?hashtag[-_. ]?\w*|cmo\d{3}|.+[-_.: ](adt|hto|totalseq[-_. ]?\w?|prot|protein|antibody)\d*|.+[_.]ab|"
    r".+[-_.|]pabo?|"
    r"(chr)?[\dxymt]{1,2}[-:_]\d+[-_]\d+",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Features:
    """Feature types of an AnnData.

    Attributes
    ----------
    is_gene
        (rows of `var`,) bool, whether each feature is a gene.
    column
        Column of `var` with the feature types; None if there is none, and all features are taken for genes.
    kinds
        (rows of `var`,) feature types, or None.
    """

    is_gene: np.ndarray
    column: str | None = None
    kinds: pd.Series | None = None

    @cached_property
    def others(self) -> dict[str, int]:
        """Number of features of each kind other than genes."""
        if self.kinds is None or self.is_gene.all():
            return {}
        return {str(kind): int(n) for kind, n in self.kinds[~self.is_gene].value_counts().items()}

    @property
    def only_genes(self) -> str:
        """Python expression that selects the genes."""
        assert self.kinds is not None
        kinds = self.kinds[self.is_gene].unique().tolist()
        values = f"adata.var[{self.column!r}]"
        if kinds == ["missing"]:
            return f"{values}.isna()"
        return f"{values} == {kinds[0]!r}" if len(kinds) == 1 else f"{values}.isin({kinds!r})"


def features_of(var: pd.DataFrame) -> Features:
    """Tell genes from antibodies, peaks and other features.

    The first column that distinguishes feature types decides: one with a usual name, or any other that gives a known
    kind for every feature. Without one, all features are taken for genes.

    Raises
    ------
    ValueError
        If a column has several kinds and none of them is known to mean genes.
    """
    keys = {_plain(key): key for key in reversed(var.columns)}
    for key in (keys[name] for name in _COLUMNS if name in keys):
        values = var[key].astype(object).where(var[key].notna(), "missing").astype(str)
        kinds = values.reset_index(drop=True)
        named = [str(kind) for kind in kinds.unique() if kind != "missing"]
        genes = [kind for kind in named if _is_gene(kind)]
        others = [kind for kind in named if _is_gene(kind) is False]
        if len(genes) == len(named) or (not others and not genes and not 1 < len(named) <= _MAX_KINDS):
            continue  # it distinguishes nothing
        if genes:
            return Features(kinds.isin(genes).to_numpy(), key, kinds)
        missing = (kinds == "missing").to_numpy()
        if missing.any() and len(others) == len(named):  # other features were joined to unannotated genes
            return Features(missing, key, kinds)
        if len(named) > 1:
            sizes = kinds.value_counts()
            listed = ", ".join(f"{n:,} {kind!r}" for kind, n in sizes.items())
            likely = next((kind for kind in sizes.index if kind not in others), sizes.index[0])
            msg = (
                f"`adata.var[{key!r}]` has {listed}; none of these is known to mean genes. Keep one kind: "
                f"`adata = adata[:, adata.var[{key!r}] == {likely!r}].copy()`."
            )
            raise ValueError(msg)
    for name, key in keys.items():
        if name not in _COLUMNS and len(genes := _genes_of(var[key])) > 0:
            kinds = var[key].astype(str).reset_index(drop=True)
            return Features(kinds.isin(genes).to_numpy(), key, kinds)
    return Features(np.ones(len(var), bool))


def _genes_of(values: Any) -> list[str]:
    """Return the kinds that are genes if a column of any name says of every row whether it is one, and of both."""
    if isinstance(values, pd.DataFrame) or values.dtype.kind in "biufc" or values.isna().any():
        return []
    kinds = [str(kind) for kind in values.unique()]
    known = [] if len(kinds) > _MAX_KINDS else [_is_gene(kind) for kind in kinds]
    if None in known or not (True in known and False in known):
        return []
    return [kind for kind, is_gene in zip(kinds, known, strict=True) if is_gene]


def measured_genes(var: pd.DataFrame) -> np.ndarray:
    """Return a bool per row of `var`: True for genes, False for antibodies, peaks and other features."""
    return features_of(var).is_gene


def look_like_others(names: Any) -> np.ndarray:
    """Return a bool per name: whether it looks like an antibody, a hashtag, a peak or a guide."""
    return np.array([_NAMES.fullmatch(str(name)) is not None for name in names], bool)


def warn_of_other_features(var: pd.DataFrame) -> None:
    """Warn of features that are not genes, or do not look like genes."""
    found = features_of(var)
    for note in [*other_features(found, len(var)), *suspected_features(var, found)]:
        warn(note)


def other_features(found: Features, n_features: int) -> list[str]:
    """Say which features are left out, if any."""
    if not found.others:
        return []
    listed = ", ".join(f"{n:,} {kind!r}" for kind, n in found.others.items())
    return [
        f"Only the {found.is_gene.sum():,} genes of {n_features:,} features are used, also for the library size; "
        f"left out by `adata.var[{found.column!r}]`: {listed}. "
        f"Drop them to silence this: `adata = adata[:, {found.only_genes}].copy()`."
    ]


def suspected_features(var: pd.DataFrame, found: Features) -> list[str]:
    """Say which features taken for genes have names that look like other features."""
    suspected = look_like_others(var.index) & found.is_gene
    if not suspected.any():
        return []
    names = [str(name) for name in var.index[suspected]]
    listed = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    return [
        f"{len(names):,} of {len(var):,} features have names that look like antibodies, hashtags, peaks or guides "
        f"({listed}). They are taken for genes, as no column of `adata.var` says otherwise. Set "
        "`adata.var['feature_types']` ('Gene Expression', 'Antibody Capture', ...), or drop them."
    ]


def _plain(text: Any) -> str:
    return re.sub(r"[^a-z0-9]+", "", str(text).casefold())


def _is_gene(kind: str) -> bool | None:
    """Whether a word means genes; None if it is not known."""
    word = _plain(kind)
    if word in _GENES:
        return True
    if word in _OTHERS or _OTHERS_LIKE.search(word):
        return False
    return True if _GENES_LIKE.search(word) else None
