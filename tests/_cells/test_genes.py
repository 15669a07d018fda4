"""Genes by name, against dictionaries."""

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


def test_the_column_that_matches_is_named_and_works() -> None:
    adata = with_genes(["ENSG1", "ENSG2", "ENSG3"], other=["x", "y", "LYZ"], symbol=["LYZ", "CD3D", "y"])
    with pytest.raises(
        ValueError, match=r"Column 'symbol' of `adata.var` matches 2: pass `gene_key='symbol'`"
    ) as error:
        align_genes(adata, GENES)
    assert "CD3D, MS4A1, LYZ" in str(error.value)
    assert "ENSG1, ENSG2, ENSG3" in str(error.value)
    assert align_genes(adata, GENES, "symbol").position.tolist() == [2, 0, -1]


def test_a_categorical_column_will_do() -> None:
    adata = with_genes(["a", "b"])
    adata.var["symbol"] = pd.Categorical(["LYZ", None])
    assert align_genes(adata, GENES, "symbol").position.tolist() == [2, -1]


def test_a_gene_key_that_is_in_the_way() -> None:
    adata = with_genes(["LYZ", "CD3D"], ids=["ENSG1", "ENSG2"])
    with pytest.raises(ValueError, match=r"`adata.var_names` match 2: leave out `gene_key`"):
        align_genes(adata, GENES, "ids")


def test_versions_of_genes_come_off_by_the_line_in_the_message() -> None:
    adata = with_genes(["LYZ.12", "CD3D.1"])
    with pytest.raises(ValueError, match="match without the version") as error:
        align_genes(adata, GENES)
    exec(str(error.value).split("`")[-2], {"adata": adata})
    assert align_genes(adata, GENES).position.tolist() == [2, 0]


def test_another_species_is_suspected() -> None:
    with pytest.raises(ValueError, match="of another species"):
        align_genes(with_genes(["Lyz", "Cd3d"]), GENES)


def test_nothing_that_matches() -> None:
    with pytest.raises(ValueError, match="Pass `gene_key=`"):
        align_genes(with_genes(["x", "y"]), GENES)


def test_a_column_that_is_not_there() -> None:
    with pytest.raises(KeyError, match=r"`adata.var` has no column 'symbl'\. Did you mean 'symbol'\?"):
        align_genes(with_genes(["LYZ"], symbol=["a"]), GENES, "symbl")
