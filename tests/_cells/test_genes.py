"""Genes by name, against dictionaries."""

import re
from collections.abc import Callable

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ginseng._cells.genes import align_genes

NAMES = st.sampled_from([f"G{i}" for i in range(12)])


def with_genes(names: list[str], **columns: list[str]) -> ad.AnnData:
    return ad.AnnData(np.ones((1, len(names))), var=pd.DataFrame(columns, index=pd.Index(names, dtype=str)))


@settings(deadline=None)
@given(st.lists(NAMES, min_size=1, unique=True), st.lists(NAMES, min_size=1), st.booleans())
def test_each_gene_goes_to_its_name(model: list[str], data: list[str], in_column: bool) -> None:
    adata = with_genes([f"id{i}" for i in range(len(data))], name=data)
    if not in_column:
        adata.var_names = adata.var_names.astype(str)
        adata.var.index = pd.Index(data)
    if not set(model) & set(data):
        with pytest.raises(ValueError, match="None of the"):
            align_genes(adata, np.array(model), "name" if in_column else None)
        return
    found = align_genes(adata, np.array(model), "name" if in_column else None, min_overlap=0)
    assert found.position.tolist() == [model.index(name) if name in model else -1 for name in data]
    assert found.missing.tolist() == [name for name in model if name not in data]
    assert found.n_model == len(model)
    assert found.overlap == pytest.approx(len(set(model) & set(data)) / len(model))


GENES = np.array(["CD3D", "MS4A1", "LYZ"])


def test_the_column_that_matches_is_taken() -> None:
    adata = with_genes(["ENSG1", "ENSG2", "ENSG3"], other=["x", "y", "LYZ"], symbol=["LYZ", "CD3D", "y"])
    found = align_genes(adata, GENES)
    assert found.gene_key == "symbol"
    assert found.position.tolist() == [2, 0, -1]
    assert found.notes == (
        "matched genes by `adata.var['symbol']`, which has 2 of the 3 of the model; `adata.var_names` has 0",
    )
    assert align_genes(adata, GENES, "symbol").notes == ()
    adata.var_names = ["x", "y", "LYZ"]  # also where the index has enough
    assert align_genes(adata, GENES).gene_key == "symbol"


def test_the_column_that_matches_is_named_where_another_was_asked_for() -> None:
    adata = with_genes(["LYZ", "CD3D", "MS4A1"], other=["x", "y", "LYZ"])
    found = align_genes(adata, GENES, "other")
    assert found.gene_key == "other"
    assert found.notes == (
        "matched 1 genes by `adata.var['other']`, where `adata.var_names` has 3: leave out `gene_key`",
    )
    assert align_genes(adata, GENES).notes == ()


NUMBERS = {
    "text": [str(i) for i in range(60)],
    "from 1": [str(i + 1) for i in range(60)],
    "floats": [f"{i}.0" for i in range(60)],
    "in another order": [str(i) for i in range(60)][::-1],
    "some of them": [str(i) for i in range(0, 180, 3)],
    "of R": [f"V{i + 1}" for i in range(60)],
}


@pytest.mark.parametrize("kind", NUMBERS)
def test_row_numbers_are_no_names(kind: str) -> None:
    names = [f"GENE{i}" for i in range(60)]
    model = np.array(names[:50])
    adata = with_genes(NUMBERS[kind])
    with pytest.raises(ValueError, match=r"`adata.var_names` has row numbers \(.*`adata.var_names"):
        align_genes(adata, model)
    with pytest.raises(ValueError, match="model are row numbers"):
        align_genes(adata, np.array(NUMBERS[kind]))
    adata.var["feature_name"] = pd.Categorical(names)
    found = align_genes(adata, model)
    assert found.gene_key == "feature_name"
    assert "row numbers" in found.notes[0]
    assert found.position.tolist() == [*range(50), *[-1] * 10]


def test_entrez_ids_are_names() -> None:
    ids = ["915", "920", "925", "3702", "931", "100507436"]
    adata = with_genes(ids, entrez=ids)
    adata.var["number"] = [int(i) for i in ids]
    assert align_genes(adata, np.array(ids[::-1])).position.tolist() == [5, 4, 3, 2, 1, 0]
    adata.var_names = list("abcdef")
    assert align_genes(adata, np.array(ids)).gene_key == "entrez"
    del adata.var["entrez"]
    assert align_genes(adata, np.array(ids)).gene_key == "number"


HUMAN = [
    "CD3D", "MS4A1", "LYZ", "NKG7", "HLA-A", "HLA-DRB1", "HLA-B", "MT-CO1", "RP11-34P13.7", "C1orf43", "AC093323.1",
    "GNLY", "CCL5", "ACTB", "GAPDH", "MALAT1", "TPT1", "EEF1A1", "FTL", "VIM", "PPBP", "NKX2-1", "7SK", "HLA-C",
]  # fmt: skip
IDS = [f"ENSG{i:011}" for i in range(len(HUMAN))]


def r_names(names: list[str]) -> list[str]:
    """Names as R's `make.names` makes them."""
    valid = [re.sub(r"[^A-Za-z0-9._]", ".", name) for name in names]
    return [name if re.match(r"[A-Za-z.]", name) else f"X{name}" for name in valid]


SPELT: dict[str, tuple[Callable[[], list[str]], str]] = {
    "genome and underscore": (lambda: [f"GRCh38_{n}" for n in HUMAN], "GRCh38_CD3D is CD3D"),
    "genome and dash": (lambda: [f"GRCh38-{n}" for n in HUMAN], "GRCh38-CD3D is CD3D"),
    "genome and underscores": (lambda: [f"hg19___{n}" for n in HUMAN], "hg19___CD3D is CD3D"),
    "genome of a reference": (lambda: [f"refdata-gex-GRCh38-{n}" for n in HUMAN], "refdata-gex-GRCh38-CD3D is CD3D"),
    "genome, but for spike-ins": (
        lambda: [*(f"GRCh38_{n}" for n in HUMAN), "ERCC-00002", "ERCC-00003"], "GRCh38_CD3D is CD3D"
    ),
    "two genomes": (
        lambda: [*(f"mm10___{n.title()}" for n in HUMAN), *(f"hg19___{n}" for n in HUMAN)], "hg19___CD3D is CD3D"
    ),
    "another prefix": (lambda: [f"gene-{n}" for n in HUMAN], "gene-CD3D is CD3D"),
    "symbol and id": (lambda: [f"{n}_{i}" for n, i in zip(HUMAN, IDS, strict=True)], "CD3D_ENSG00000000000 is CD3D"),
    "id and symbol": (
        lambda: [f"{i} | {n}" for n, i in zip(HUMAN, IDS, strict=True)], r"ENSG00000000000 \| CD3D is CD3D"
    ),
    "versioned id and symbol": (
        lambda: [f"{i}.4|{n}" for n, i in zip(HUMAN, IDS, strict=True)], r"ENSG00000000000.4\|CD3D is CD3D"
    ),
    "genome, symbol and id": (
        lambda: [f"GRCh38_{n}_{i}" for n, i in zip(HUMAN, IDS, strict=True)], "GRCh38_CD3D_ENSG00000000000 is CD3D"
    ),
    "id in brackets": (lambda: [f"{n} ({i})" for n, i in zip(HUMAN, IDS, strict=True)], "is CD3D"),
    "Entrez id in brackets": (lambda: [f"{n} ({i + 900})" for i, n in enumerate(HUMAN)], r"CD3D \(900\) is CD3D"),
    "Entrez id behind a bar": (lambda: [f"{n}|{i + 900}" for i, n in enumerate(HUMAN)], r"CD3D\|900 is CD3D"),
    "blanks": (lambda: [f" {n} " for n in HUMAN], "CD3D  is CD3D"),
    "blanks around some": (lambda: [n if i % 3 else f"{n}\t" for i, n in enumerate(HUMAN)], "is CD3D"),
    "quotes": (lambda: [f'"{n}"' for n in HUMAN], '"CD3D" is CD3D'),
    "-1 on all": (lambda: [f"{n}-1" for n in HUMAN], "CD3D-1 is CD3D"),
    ".1 on all": (lambda: [f"{n}.1" for n in HUMAN], "CD3D.1 is CD3D"),
    "versions": (lambda: [f"{n}.{i}" for i, n in enumerate(HUMAN)], "CD3D.0 is CD3D"),
    "a word behind": (lambda: [f"{n}_human" for n in HUMAN], "CD3D_human is CD3D"),
    "names of R": (lambda: r_names(HUMAN), "differ only by punctuation .HLA.A is HLA-A"),
    "names of R and a genome": (lambda: [f"GRCh38_{n}" for n in r_names(HUMAN)], "only by punctuation .HLA.A is HLA-A"),
    "upper case": (lambda: [n.upper() for n in HUMAN], "1 genes .* only by case .C1ORF43 is C1orf43"),
    "lower case": (lambda: [n.lower() for n in HUMAN], "24 genes .* by case .cd3d is CD3D"),
    "capitals": (lambda: [n.capitalize() for n in HUMAN], "by case .Cd3d is CD3D"),
}  # fmt: skip


@pytest.mark.parametrize("kind", SPELT)
@pytest.mark.parametrize("swapped", [False, True])
def test_names_in_another_spelling(kind: str, swapped: bool) -> None:
    """In the data, or in the model."""
    make, example = SPELT[kind]
    spelt = make()
    data, model = (HUMAN, spelt) if swapped else (spelt, HUMAN)
    if swapped and len(spelt) > len(HUMAN):
        pytest.skip("a model of more than one genome")
    found = align_genes(with_genes(data), np.array(model))
    expected = list(range(len(HUMAN)))
    if kind == "two genomes":
        expected = [-1] * len(HUMAN) + expected
    assert found.position.tolist() == expected + [-1] * (len(data) - len(expected))
    assert len(found.missing) == 0
    if not swapped:
        assert re.search(example, "; ".join(found.notes)), found.notes


def test_names_as_they_are_come_first() -> None:
    """What could also be another spelling is not, where the model has the name itself or that of another species."""
    model = np.array(["HLA-A", "HLA.A", "TBCE", "TBCE-1", *HUMAN[:4]])
    adata = with_genes(["HLA.A", "HLA-A", "TBCE-1", "TBCE.1", "NKX2-1", *HUMAN[:3]])
    found = align_genes(adata, model)
    assert found.position.tolist() == [1, 0, 3, -1, -1, 4, 5, 6]
    mouse = with_genes([*(n.title() for n in HUMAN), "H2-K1", "H2-D1", "H2-Aa"])
    with pytest.raises(ValueError, match="another species"):
        align_genes(mouse, np.array(HUMAN))
    with pytest.raises(ValueError, match="the model looks human, the data mouse"):
        align_genes(with_genes([f"mm10___{n}" for n in mouse.var_names]), np.array(HUMAN))
    two = align_genes(with_genes(["HLA.A", "HLA_A", *HUMAN[:4]]), np.array(["HLA-A", *HUMAN[:4]]))
    assert two.position.tolist() == [-1, -1, 1, 2, 3, 4]  # either could be it


def test_antibodies_are_no_genes_without_their_prefix() -> None:
    adata = with_genes([f"ADT_{n}" for n in HUMAN])
    with pytest.raises(ValueError, match="None of the"):
        align_genes(adata, np.array(HUMAN))


def test_a_panel_is_told_so() -> None:
    model = np.array([f"GENE{i}" for i in range(100)])
    few = with_genes([f"GENE{i}" for i in range(0, 200, 2)])
    advice = align_genes(few, model).advice
    assert "few genes (100)" in advice
    assert "`gs.tl.train(reference, label_key, genes=adata.var_names)`" in advice
    assert "genes=adata.var['name']" in align_genes(in_column(few), model, "name").advice
    assert align_genes(with_genes(model.tolist()), model).advice == ""
    many = with_genes([f"GENE{i}" for i in range(50, 9000)])
    assert align_genes(many, model).advice == ""
    with pytest.raises(ValueError, match=r"Only 10 .10.00%. .* few genes \(20\)"):
        align_genes(few[:, 40:60].copy(), model)


def in_column(adata: ad.AnnData) -> ad.AnnData:
    adata = adata.copy()
    adata.var["name"] = adata.var_names
    adata.var_names = [f"x{i}" for i in range(adata.n_vars)]
    return adata


def test_a_categorical_column_will_do() -> None:
    adata = with_genes(["a", "b"])
    adata.var["symbol"] = pd.Categorical(["LYZ", None])
    assert align_genes(adata, GENES, "symbol").position.tolist() == [2, -1]


def test_a_gene_key_that_is_in_the_way() -> None:
    adata = with_genes(["LYZ", "CD3D"], ids=["ENSG1", "ENSG2"])
    with pytest.raises(ValueError, match=r"`adata.var_names` matches 2: leave out `gene_key`"):
        align_genes(adata, GENES, "ids")


def test_another_species_is_suspected() -> None:
    with pytest.raises(ValueError, match="another species"):
        align_genes(with_genes(["Lyz", "Cd3d"]), GENES)


def test_nothing_that_matches() -> None:
    with pytest.raises(ValueError, match="Pass `gene_key=`"):
        align_genes(with_genes(["x", "y"]), GENES)


def test_a_column_that_is_not_there() -> None:
    with pytest.raises(KeyError, match=r"`adata.var` has no column 'symbl'\. Did you mean 'symbol'\?"):
        align_genes(with_genes(["LYZ"], symbol=["a"]), GENES, "symbl")
