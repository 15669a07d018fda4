"""Names of genes for one another, against rows of HGNC and MGI that were looked up by hand."""

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import ginseng as gs
from ginseng._cells import gene_map
from ginseng._cells.gene_map import GeneTable, gene_table, map_names
from ginseng._cells.genes import align_genes
from ginseng._cells.named_genes import species_of

#: Symbol today, a previous symbol or an alias, Ensembl id, Entrez id.
HUMAN = [
    ("CD3D", "T3D", "ENSG00000167286", "915"),
    ("MARCHF1", "MARCH1", "ENSG00000145416", "55016"),
    ("SEPTIN9", "SEPT9", "ENSG00000184640", "10801"),
    ("ADGRE5", "CD97", "ENSG00000123146", "976"),
    ("MS4A1", "CD20", "ENSG00000156738", "931"),
    ("PTPRC", "CD45", "ENSG00000081237", "5788"),
    ("NKX2-1", "TITF1", "ENSG00000136352", "7080"),
    ("HLA-DRA", "HLA-DRA1", "ENSG00000204287", "3122"),
    ("FCGR3A", "CD16a", "ENSG00000203747", "2214"),
    ("NKG7", "GMP-17", "ENSG00000105374", "4818"),
    ("PPBP", "THBGB1", "ENSG00000163736", "5473"),
]
#: One-to-one, by MGI: human and mouse symbol, human and mouse Ensembl id.
PAIRS = [
    ("CD3D", "Cd3d", "ENSG00000167286", "ENSMUSG00000032094"),
    ("MS4A1", "Ms4a1", "ENSG00000156738", "ENSMUSG00000024673"),
    ("PTPRC", "Ptprc", "ENSG00000081237", "ENSMUSG00000026395"),
    ("NKX2-1", "Nkx2-1", "ENSG00000136352", "ENSMUSG00000001496"),
]
SYMBOLS, OTHERS, IDS, ENTREZ = (list(column) for column in zip(*HUMAN, strict=True))
#: Names that HGNC has as previous symbol or alias of several genes, and as the symbol of none.
AMBIGUOUS = ["SEPT2", "SARS", "GIF"]


def with_names(names: list[str], counts: object = None, **columns: list[str]) -> ad.AnnData:
    x = np.arange(1, 2 * len(names) + 1, dtype=np.float32).reshape(2, -1) if counts is None else np.array(counts)
    return ad.AnnData(x, var=pd.DataFrame(columns, index=pd.Index(names, dtype=str)))


FORMS = {
    "symbols": SYMBOLS,
    "other names": OTHERS,
    "ids": IDS,
    "versions": [f"{name}.{i + 3}" for i, name in enumerate(IDS)],
    "Entrez": ENTREZ,
    "floats": [f"{name}.0" for name in ENTREZ],
    "R": [name.replace("-", ".") for name in SYMBOLS],
    "genome": [f"GRCh38_{name}" for name in SYMBOLS],
    "blanks": [f" {name} " for name in SYMBOLS],
    "both": [f"{name}_{gene}" for name, gene in zip(SYMBOLS, IDS, strict=True)],
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("to", "wanted"), [("ensembl", IDS), ("symbol", SYMBOLS), ("entrez", ENTREZ)])
def test_any_name_leads_to_any_other(form: str, to: str, wanted: list[str]) -> None:
    assert map_names(FORMS[form], to, species="human").names.tolist() == wanted  # type: ignore[arg-type]


@pytest.mark.parametrize("model", [SYMBOLS, IDS, OTHERS, ENTREZ], ids=["symbols", "ids", "others", "Entrez"])
@pytest.mark.parametrize("form", FORMS)
def test_a_model_of_other_names_finds_its_genes(form: str, model: list[str]) -> None:
    found = align_genes(with_names(FORMS[form]), np.array(model))
    assert found.position.tolist() == list(range(len(model)))
    assert len(found.missing) == 0


def test_the_tables_are_of_unique_genes() -> None:
    for species, n_genes in {"human": 45_000, "mouse": 56_000}.items():
        table = gene_table(species)  # type: ignore[arg-type]
        ids = table.ensembl[table.ensembl != ""]
        assert len(ids) == len(set(ids))
        assert len(table.symbol) > n_genes
        approved = table.symbol[table.approved]
        assert species == "mouse" or len(approved) == len(set(approved))
    folder = Path(gene_map.__file__).parent / "tables"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 3 * 2**20


def test_ambiguous_names_are_not_guessed() -> None:
    found = map_names([*AMBIGUOUS, "CD3D", "no gene"], species="human")
    assert found.names.tolist() == ["", "", "", "ENSG00000167286", ""]
    assert found.ambiguous.tolist() == [True, True, True, False, False]
    # a symbol of today is that gene, whatever else was called so
    assert map_names(["AGER"], "ensembl", species="human").names.tolist() == ["ENSG00000204305"]


def test_one_to_one_orthologs() -> None:
    human, mouse, human_ids, mouse_ids = (list(column) for column in zip(*PAIRS, strict=True))
    assert map_names(mouse, "symbol", species="mouse", to_species="human").names.tolist() == human
    assert map_names(mouse, "ensembl", to_species="human", species="mouse").names.tolist() == human_ids
    assert map_names(human_ids, "symbol", to_species="mouse").names.tolist() == mouse
    assert map_names([f"{name}.2" for name in mouse_ids], "symbol", to_species="human").names.tolist() == human
    # GAPDH has many copies in mice; HLA-A and H2-K1 are of families
    assert map_names(["HLA-A"], "symbol", species="human", to_species="mouse").names.tolist() == [""]


def test_ids_without_a_symbol_stay() -> None:
    names = ["ENSG00000999999.1", "ENSG00000002586.20_PAR_Y", "ENSMUSG00000032094"]
    assert map_names(names, species="human").names.tolist() == ["ENSG00000999999", "ENSG00000002586", ""]
    assert map_names(names, "symbol", species="human").names.tolist() == ["", "CD99", ""]


def test_names_by_a_table_of_ones_own(tmp_path: Path) -> None:
    hgnc = pd.DataFrame(
        {
            "symbol": ["NEW1", "NEW2"], "prev_symbol": ["OLD1|OLDER1", ""], "alias_symbol": ["", "A|OLDER1"],
            "ensembl_gene_id": ["ENSG00000000011.1", "ENSG00000000012"], "entrez_id": ["7", "8"],
        }
    )  # fmt: skip
    hgnc.to_csv(tmp_path / "hgnc.txt", sep="\t", index=False)
    names = ["OLD1", "OLDER1", "A", "NEW2", "ENSG00000000011", "CD3D"]
    for table in (hgnc, tmp_path / "hgnc.txt"):
        adata = with_names(names)
        gs.pp.map_genes(adata, "symbol", table=table)
        assert adata.var["ginseng_symbol"].tolist() == ["NEW1", "", "NEW2", "NEW2", "NEW1", ""]
    adata = with_names(names)
    gs.pp.map_genes(adata, "symbol", table={"OLD1": "mine", "A": "mine"})
    assert adata.var["ginseng_symbol"].tolist() == ["mine", "", "mine", "", "", ""]
    with pytest.raises(ValueError, match="it needs two or more of"):
        gs.pp.map_genes(adata, table=hgnc[["symbol"]])


def test_a_column_is_written_and_the_report_kept(tmp_path: Path) -> None:
    adata = with_names(["CD20", "MS4A1", "SEPT2", "xyz", "CD45", "nan", "PTPRC"], feature_types=["Gene Expression"] * 7)
    before = adata.copy()
    gs.pp.map_genes(adata, species="human")
    ms4a1, ptprc = "ENSG00000156738", "ENSG00000081237"
    assert adata.var["ginseng_ensembl"].tolist() == [ms4a1, ms4a1, "", "", ptprc, "", ptprc]
    assert adata.var_names.tolist() == before.var_names.tolist()
    np.testing.assert_array_equal(adata.X, before.X)
    adata.write_h5ad(tmp_path / "a.h5ad")
    report = ad.read_h5ad(tmp_path / "a.h5ad").uns["ginseng_gene_map"]
    counted = {name: int(value) for name, value in report.items() if name.startswith("n_")}
    assert counted == {"n_genes": 6, "n_mapped": 4, "n_changed": 4, "n_summed": 4, "n_lost": 2, "n_ambiguous": 1}
    assert list(report["lost"]) == ["SEPT2", "xyz"]
    assert list(report["ambiguous"]) == ["SEPT2"]
    assert sorted(report["summed"]["name"]) == ["CD20", "CD45", "MS4A1", "PTPRC"]
    assert (report["to"], report["species"], report["key"]) == ("ensembl", "human", "ginseng_ensembl")


@pytest.mark.parametrize("sparse", [False, True])
def test_renamed_genes_are_summed(sparse: bool) -> None:
    from scipy.sparse import csc_matrix

    counts = np.array([[1, 2, 3, 4], [5, 0, 7, 8]], np.float32)
    adata = with_names(["CD20", "xyz", "MS4A1", "LYZ"], counts, note=["a", "b", "c", "d"])
    adata.X = csc_matrix(counts) if sparse else counts
    adata.layers["twice"] = 2 * counts
    adata.raw = adata.copy()
    new = gs.pp.map_genes(adata, "symbol", species="human", rename=True, copy=True)
    assert new is not None
    assert adata.var_names.tolist() == ["CD20", "xyz", "MS4A1", "LYZ"]
    assert new.var_names.tolist() == ["MS4A1", "xyz", "LYZ"]
    wanted = np.array([[4, 2, 4], [12, 0, 8]])
    np.testing.assert_array_equal(new.X.toarray() if sparse else new.X, wanted)
    np.testing.assert_array_equal(new.layers["twice"], 2 * wanted)
    assert new.var["note"].tolist() == ["a", "b", "d"]
    assert new.raw.n_vars == 4
    gs.pp.map_genes(adata, "symbol", species="human", rename=True)
    assert adata.var_names.tolist() == ["MS4A1", "xyz", "LYZ"]


def test_logarithms_are_not_summed() -> None:
    counts = np.random.default_rng(0).poisson(3, (20, 4))
    adata = with_names(["CD20", "xyz", "MS4A1", "LYZ"], np.log1p(counts / counts.sum(1, keepdims=True) * 1e4))
    with pytest.raises(ValueError, match=r"1 rows would be summed.*adata\.X.*log"):
        gs.pp.map_genes(adata, species="human", rename=True)
    assert "ginseng_gene_map" not in adata.uns
    gs.pp.map_genes(adata, species="human")
    assert adata.var["ginseng_ensembl"].iloc[0] == adata.var["ginseng_ensembl"].iloc[2]


def test_what_is_there_is_not_replaced() -> None:
    adata = with_names(SYMBOLS, ginseng_ensembl=["mine"] * len(SYMBOLS))
    with pytest.raises(ValueError, match="was not written by ginseng"):
        gs.pp.map_genes(adata)
    gs.pp.map_genes(adata, overwrite=True)
    gs.pp.map_genes(adata)
    assert adata.var["ginseng_ensembl"].tolist() == IDS


@pytest.mark.parametrize(
    ("names", "given", "message"),
    [
        (SYMBOLS, {"to": "ensemble"}, "Did you mean 'ensembl'"),
        (SYMBOLS, {"species": "rat"}, "human"),
        (SYMBOLS, {"from_": "uniprot"}, "symbol"),
        ([str(i) for i in range(9)], {}, "row numbers"),
        ([f"ENSRNOG{i:011d}" for i in range(9)], {}, "look rat.*`species=`"),
        (["a1b", "c2d"], {}, "no species that can be told"),
        (["a1b", "c2d"], {"species": "human"}, "None of the 2 names"),
    ],
)
def test_bad_input(names: list[str], given: dict[str, str], message: str) -> None:
    adata = with_names(names)
    with pytest.raises(ValueError, match=message):
        gs.pp.map_genes(adata, **given)  # type: ignore[arg-type]
    assert not adata.uns
    assert adata.var.shape[1] == 0


def test_antibodies_are_no_genes() -> None:
    kinds = ["Gene Expression", "Antibody Capture", "Gene Expression"]
    adata = with_names(["MS4A1", "CD20", "LYZ"], feature_types=kinds)
    gs.pp.map_genes(adata, "symbol", species="human")
    assert adata.var["ginseng_symbol"].tolist() == ["MS4A1", "", "LYZ"]


def test_a_gene_that_is_there_takes_no_other_name() -> None:
    """What the model found as it is stays as it was, though the data have an alias of it as well."""
    adata = with_names(["MS4A1", "CD20", *SYMBOLS[5:]])
    found = align_genes(adata, np.array(["MS4A1", "T3D", *SYMBOLS[5:]]), min_overlap=0)
    assert found.position[:2].tolist() == [0, -1]
    found = align_genes(adata, np.array(["ENSG00000156738", *IDS[5:]]))
    assert found.position[:2].tolist() == [0, 0]
    assert any("summed 2 rows" in note for note in found.notes)
    assert found.n_mapped == len(IDS[5:]) + 1


def test_mouse_data_for_a_human_model_are_offered_orthologs() -> None:
    human = gene_table("human").symbol[gene_table("human").approved][::100]
    mouse = map_names(human.tolist(), "symbol", species="human", to_species="mouse").names
    mouse = mouse[mouse != ""]
    adata = with_names(mouse.tolist())
    ids = map_names(human.tolist(), species="human").names
    with pytest.raises(ValueError, match=r"map_genes\(adata, 'ensembl', to_species='human'\)"):
        align_genes(adata, ids[ids != ""])
    gs.pp.map_genes(adata, "ensembl", to_species="human")
    assert len(mouse) > 50
    found = align_genes(adata, ids[ids != ""], "ginseng_ensembl")
    assert (found.position >= 0).sum() == len(mouse)


def test_a_table_refuses_what_has_no_names() -> None:
    with pytest.raises(ValueError, match="it needs two or more of"):
        GeneTable.read(pd.DataFrame({"a": ["x"], "b": ["y"]}))


@pytest.mark.parametrize("form", ["ids", "versions", "Entrez", "floats", "genome", "blanks", "numbered"])
def test_the_species_is_told_by_any_names(form: str) -> None:
    """So that a model is chosen whatever the genes are called."""
    numbered = with_names([str(i) for i in range(len(IDS))], symbol=SYMBOLS)
    adata = numbered if form == "numbered" else with_names(FORMS[form])
    assert species_of(adata.var, None) == "human"
    assert species_of(with_names([f"c{i}x" for i in range(40)]).var, None) is None
