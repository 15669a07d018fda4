"""Which features are genes, against a list of what instruments and tools call them."""

import re

import numpy as np
import pandas as pd
import pytest

from ginseng._cells.features import features_of, look_like_others, warn_of_other_features

GENES = [
    "Gene Expression", "GEX", "gex", "RNA", "rna", "gene", "Gene", "genes", "mRNA", "Transcripts", "protein_coding",
    "lncRNA", "IG_V_gene", "processed_pseudogene", "miRNA", "Targeted Gene Expression",
]  # fmt: skip
OTHERS = [
    "Antibody Capture", "ADT", "Protein", "protein", "prot", "CITE", "CITE-seq", "HTO", "Hashtag", "Peaks", "peak",
    "ATAC", "Chromatin Accessibility", "CRISPR Guide Capture", "CRISPR", "gRNA", "Custom", "Multiplexing Capture",
    "Antigen Capture", "spike-in", "Negative Control Probe", "Blank Codeword", "VDJ",
]  # fmt: skip
COLUMNS = ["feature_types", "feature_type", "Feature Types", "featureType", "modality", "feature_class"]


def features(kinds: list[object], column: str = "feature_types") -> pd.DataFrame:
    return pd.DataFrame({column: kinds}, index=[f"GENE{i}" for i in range(len(kinds))])


@pytest.mark.parametrize("gene", GENES)
@pytest.mark.parametrize("other", OTHERS)
def test_genes_are_told_from_others(gene: str, other: str) -> None:
    found = features_of(features([gene, gene, other]))
    assert found.is_gene.tolist() == [True, True, False]
    assert found.others == {other: 1}


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("dtype", ["str", "category", "object"])
def test_the_line_that_drops_them(column: str, dtype: str) -> None:
    var = features(["RNA", "GEX", "ADT", "GEX"], column).astype(dtype)
    with pytest.warns(UserWarning, match=rf"the 3 genes of .*'{column}'\]`: 1 'ADT'") as said:
        warn_of_other_features(var)
    code = re.search(r"adata\[:, (.*)\]\.copy", str(said[0].message))
    assert code is not None
    assert eval(code[1], {"adata": Adata(var)}).tolist() == [True, True, False, True]


@pytest.mark.parametrize("column", ["type", "library_type", "Assay", "kind"])
def test_a_column_of_any_name_that_says_it_of_every_row(column: str) -> None:
    assert features_of(features(["Gene Expression", "Antibody Capture", "GEX"], column)).is_gene.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    "kinds",
    [
        ["Gene Expression", "Antibody Capture", None],  # not of every row
        ["gene", "control", "chr1"],  # what chr1 means is not known
        ["protein_coding", "lncRNA", "IG_C_gene"],
        [True, False, True],
        [1, 2, 3],
    ],
)
def test_a_column_of_any_name_that_may_say_something_else(kinds: list[object]) -> None:
    assert features_of(features(kinds, "type")).is_gene.all()


class Adata:
    def __init__(self, var: pd.DataFrame) -> None:
        self.var = var


@pytest.mark.parametrize(
    "kinds",
    [
        ["Gene Expression"] * 4,
        ["whatever"] * 4,  # of one kind all are as good
        ["ADT"] * 4,
        ["protein_coding", "lncRNA", "IG_C_gene", "TR_J_pseudogene"],
        ["Gene Expression", None, np.nan, "gene"],
        [f"pathway {i}" for i in range(40)],
        [None] * 4,
    ],
)
def test_columns_that_tell_nothing_apart(kinds: list[object]) -> None:
    assert features_of(features(kinds)).is_gene.all()
    assert features_of(features(kinds, "another")).is_gene.all()


@pytest.mark.parametrize(
    ("kinds", "says", "line"),
    [
        (["one", "one", "two"], "2 'one', 1 'two'", "adata.var['feature_types'] == 'one'"),
        (["ADT", "ADT", "mine"], "2 'ADT', 1 'mine'", "adata.var['feature_types'] == 'mine'"),
        (["ADT", "ADT", "HTO"], "2 'ADT', 1 'HTO'", "adata.var['feature_types'] == 'ADT'"),
    ],
)
def test_kinds_that_are_not_known_are_listed(kinds: list[object], says: str, line: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"`adata.var['feature_types']` has {says}")) as error:
        features_of(features(kinds))
    assert f"`adata = adata[:, {line}].copy()`" in str(error.value)


def test_missing_kinds() -> None:
    joined = features_of(features([None, None, "Antibody Capture"]))  # genes without a kind, joined to antibodies
    assert joined.is_gene.tolist() == [True, True, False]
    assert joined.only_genes == "adata.var['feature_types'].isna()"
    assert features_of(features(["RNA", None, "ADT"])).others == {"missing": 1, "ADT": 1}


def test_the_column_that_tells_decides() -> None:
    var = features(["gene", "gene", "spike-in"], "feature_biotype")
    var["feature_type"] = ["protein_coding", "lncRNA", "synthetic"]
    var["modality"] = "rna"
    assert features_of(var).is_gene.tolist() == [True, True, False]


OTHER_NAMES = [
    "AB_CD3", "ADT_CD19", "adt-CD4", "HTO1", "HTO_2", "HTO-A", "Hashtag1", "hashtag_5", "CMO301", "prot:CD3",
    "CD45RA_TotalSeqB", "CD4-ADT", "CD4:ADT", "CD4|CD4|AHS0032|pAbO",
    "CD8_prot", "anti-CD3", "chr1:100-200", "chrX-1000-2000", "sgRNA_TP53", "CITE_CD3",
]  # fmt: skip
GENE_NAMES = [
    "ABCA1", "ABL1", "ADT1", "ADTRP", "PROTOR1", "HLA-A", "AB015752.3", "ANTXR1", "CITED2", "CD4", "MT-CO1",
    "RP11-34P13.7", "HTR1A", "PROC", "ENSG00000167286.15", "Y74C9A.3", "abu-1", "chr1", "CHRM1", "SAMPLE1", "7SK",
]  # fmt: skip


def test_names_of_what_is_no_gene() -> None:
    assert [name for name in OTHER_NAMES if not look_like_others([name])[0]] == []
    assert [name for name in GENE_NAMES if look_like_others([name])[0]] == []


def test_suspicious_names_are_warned_about_where_no_column_tells() -> None:
    var = features([None] * 4)
    var.index = pd.Index(["CD3D", "ADT_CD3", "HTO1", "LYZ"])
    with pytest.warns(UserWarning, match=r"2 of 4 .*\(ADT_CD3, HTO1\)"):
        warn_of_other_features(var)
    var["feature_types"] = ["RNA", "ADT", "HTO", "RNA"]
    with pytest.warns(UserWarning, match="1 'ADT', 1 'HTO'") as said:
        warn_of_other_features(var)
    assert len(said) == 1
