"""Labels and terms, against ids and relations that were looked up in the Cell Ontology by hand."""

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import ginseng as gs
from ginseng.ontology import terms as terms_file
from ginseng.ontology.backoff import BackOff
from ginseng.ontology.distance import measure_terms, similarity
from ginseng.ontology.terms import SAY_NOTHING, cell_ontology

T, CD4, CD8, B, NK = "CL:0000084", "CL:0000624", "CL:0000625", "CL:0000236", "CL:0000623"
LYMPHOCYTE, MONOCYTE, HEPATOCYTE = "CL:0000542", "CL:0000576", "CL:0000182"

LABELS = {
    "T cell": (T, "exact"),
    "CL:0000084": (T, "exact"),
    "http://purl.obolibrary.org/obo/CL_0000084": (T, "exact"),
    "T lymphocyte": (T, "synonym"),
    "T cells": (T, "normalised"),
    "t-lymphocytes": (T, "normalised"),
    "CD4+ T cells": (CD4, "crosswalk"),
    "CD4-positive, alpha-beta T cell": (CD4, "exact"),
    "CD8+ T": (CD8, "crosswalk"),
    "NK cells": (NK, "normalised"),
    "γδ T cells": ("CL:0000798", "normalised"),
    "CD14+ Monocytes": ("CL:0001054", "normalised"),
    "type II pneumocyte": ("CL:0002063", "synonym"),
    "Alpha cell": ("CL:0000171", "crosswalk"),  # not the ganglion cell that has the synonym "alpha cell"
    "alpha cell": ("CL:0000171", "crosswalk"),
    "beta": ("CL:0000169", "crosswalk"),
    "Regulatory T cells": ("CL:0000815", "normalised"),
    "FCGR3A+ Mono": ("CL:0002396", "crosswalk"),
    "Mesothelial": ("CL:0000077", "normalised"),
    "cluster 7": (None, "none"),
    "unknown": (None, "none"),
    "": (None, "none"),
    "CL:9999999": (None, "none"),
}


@pytest.mark.parametrize("label", LABELS)
def test_labels_have_terms(label: str) -> None:
    table = gs.tl.map_labels([label])
    term, kind = LABELS[label]
    assert (table["ontology_term_id"][0], table["match"][0]) == (term, kind)


def test_a_row_per_label() -> None:
    table = gs.tl.map_labels(pd.Series(["T cell", "B cells", "T cell", None], dtype="category"))
    assert table.columns.tolist() == ["label", "ontology_term_id", "ontology_label", "match"]
    assert table.to_numpy().tolist() == [["T cell", T, "T cell", "exact"], ["B cells", B, "B cell", "normalised"]]


def test_obsolete_terms_are_replaced() -> None:
    ontology = cell_ontology()
    old = [term for term in ontology.terms.values() if term.obsolete and term.replaced_by in ontology.terms]
    assert len(old) > 50
    for term in old:
        assert ontology.current(term.id) in (term.replaced_by, None)
    assert gs.tl.map_labels(["CL:0000003"])["ontology_term_id"][0] == "CL:0000000"


def test_the_tables_hold_together() -> None:
    ontology = cell_ontology()
    folder = Path(terms_file.__file__).parent / "data"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 2**18
    assert {T, LYMPHOCYTE, "CL:0000988", "CL:0000000"} <= ontology.with_ancestors(CD4)
    assert MONOCYTE not in ontology.with_ancestors(CD4)
    for term in ontology.terms:
        above = ontology.with_ancestors(term) - {term}
        assert all(ontology.depth(other) < ontology.depth(term) for other in above)
    published = terms_file.read_table("crosswalk.tsv.gz")
    assert set(published["source"]) == {"ginseng", "panhumanpy", "azimuth", "celltypist"}
    assert set(published["id"]) <= set(ontology.terms)
    # of those that say that they are the same, nearly all are what the names alone say
    exact = published[(published["match"] == "exact") & (published["source"] == "panhumanpy")]
    found = gs.tl.map_labels(exact["label"]).set_index("label")["ontology_term_id"]
    assert (found.loc[exact["label"]].to_numpy() == exact["id"].to_numpy()).mean() > 0.95


def labelled(labels: list[str], **columns: list[str]) -> ad.AnnData:
    obs = pd.DataFrame({"cell_type": pd.Categorical(labels), **columns}, index=[f"c{i}" for i in range(len(labels))])
    return ad.AnnData(np.ones((len(labels), 2), np.float32), obs=obs)


def test_terms_as_cellxgene_wants_them(tmp_path: Path) -> None:
    adata = labelled(["T cell", "my own", "B cells", "T cell"])
    gs.tl.map_labels(adata, "cell_type")
    column = adata.obs["cell_type_ontology_term_id"]
    assert column.tolist() == [T, "unknown", B, T]
    assert isinstance(column.dtype, pd.CategoricalDtype)
    gs.tl.map_labels(adata, "cell_type")  # again
    with pytest.raises(ValueError, match="was not written by ginseng"):
        gs.tl.map_labels(adata, "cell_type", crosswalk={"my own": MONOCYTE})
    gs.tl.map_labels(adata, "cell_type", crosswalk={"my own": MONOCYTE}, overwrite=True)
    assert adata.obs["cell_type_ontology_term_id"].tolist() == [T, MONOCYTE, B, T]
    adata.write_h5ad(tmp_path / "a.h5ad")


def test_bad_labels() -> None:
    adata = labelled(["T cell"])
    with pytest.raises(ValueError, match="not the id of a Cell Ontology term"):
        gs.tl.map_labels(["x"], crosswalk={"x": "UBERON:1"})
    with pytest.raises(TypeError, match="label_key"):
        gs.tl.map_labels(adata)
    with pytest.raises(TypeError, match="Pass labels"):
        gs.tl.map_labels("T cell")
    with pytest.raises(KeyError, match="cell_tipe"):
        gs.tl.map_labels(adata, "cell_tipe")


def by_hand(probs: np.ndarray, ids: list[str | None], threshold: float) -> tuple[str | None, float]:
    """Deepest term over the threshold, by sets of names alone."""
    ontology = cell_ontology()
    best: tuple[float, float, str | None] = (-1, 0, None)
    for term in set(ontology.terms) - SAY_NOTHING:
        p = sum(p for p, i in zip(probs, ids, strict=True) if i is not None and term in ontology.with_ancestors(i))
        if p >= threshold:
            best = max(best, (ontology.depth(term), p, term))
    return best[2], best[1]


def test_back_off_is_the_deepest_term_that_is_sure() -> None:
    ids = [CD4, CD8, B, NK, MONOCYTE, HEPATOCYTE, None]
    probs = np.random.default_rng(0).dirichlet(np.full(len(ids), 0.4), 40)
    backoff = BackOff.to_terms(ids, 0.6)
    place, summed = backoff(probs)
    for row, j, p in zip(probs, place, summed, strict=True):
        term, expected = by_hand(row, ids, 0.6)
        assert (backoff.labels[j].id if j >= 0 else None) == term
        assert p == pytest.approx(expected)
    assert len(set(place)) > 4
    place, _ = backoff(np.array([[0.4, 0.4, 0.1, 0.1, 0, 0, 0], [0, 0, 0, 0, 0.3, 0.3, 0.4]]))
    assert T in cell_ontology().with_ancestors(backoff.labels[place[0]].id)  # alpha-beta, as both are
    assert place[1] == -1


def test_shares_of_independent_probabilities() -> None:
    backoff = BackOff.to_terms([CD4, CD8, MONOCYTE], 0.6)
    place, summed = backoff(np.array([[0.9, 0.9, 0.9], [0.2, 0.1, 0.0]]))
    assert place[1] == -1
    assert summed[0] == pytest.approx(2 / 3)


def test_similarity() -> None:
    assert similarity(T, T) == 1
    assert similarity(T, CD4) == similarity(CD4, T)
    assert 1 > similarity(CD4, T) > similarity(CD4, NK) > similarity(CD4, HEPATOCYTE)
    # by the ancestors that `cellxgene-ontology-guide` lists for T cell (7) and lymphocyte (5)
    t, lymphocyte = (len(cell_ontology().with_ancestors(term) - SAY_NOTHING) for term in (T, LYMPHOCYTE))
    assert similarity(T, LYMPHOCYTE) == pytest.approx(2 * lymphocyte / (t + lymphocyte))


def test_scores_by_terms() -> None:
    scores = measure_terms([CD4, CD4, T, T, B], [CD4, T, CD4, MONOCYTE, None])
    shares = {name: scores[name] for name in ("same", "broader", "finer", "other", "none")}
    assert shares == dict.fromkeys(shares, 0.2)
    wanted = [1, similarity(CD4, T), similarity(T, CD4), similarity(T, MONOCYTE), 0]
    assert scores["accuracy"] == pytest.approx(np.mean(wanted))
    assert 0 < scores["precision"] < 1
    assert scores["f1"] == pytest.approx(2 / (1 / scores["precision"] + 1 / scores["recall"]))


def test_evaluation_of_other_words() -> None:
    adata = labelled(["T cells", "T cells", "B", "Monocytes", "odd"])
    adata.obs["predicted"] = ["CD4-positive, alpha-beta T cell", "T cell", "B cell", "hepatocyte", "T cell"]
    with pytest.warns(UserWarning, match=r"share none"), pytest.warns(UserWarning, match=r"1 of 5 cells.*'odd'"):
        gs.tl.evaluate(adata, "cell_type", prediction_key="predicted", ontology=True)
    found = adata.uns["ginseng"]["metrics"]
    assert found["accuracy"] == 0
    scores = found["ontology"]
    assert (scores["same"], scores["finer"], scores["other"]) == (0.5, 0.25, 0.25)
    assert (scores["n_cells"], scores["n_without"]) == (4, 1)
    # ids that are there count for more than names
    adata.obs["cell_type_ontology_term_id"] = [CD4, T, B, HEPATOCYTE, "unknown"]
    with pytest.warns(UserWarning, match=r"share none"), pytest.warns(UserWarning, match=r"1 of 5 cells.*'odd'"):
        gs.tl.evaluate(adata, "cell_type", prediction_key="predicted", ontology=True)
    assert adata.uns["ginseng"]["metrics"]["ontology"]["same"] == 1
    odd = labelled(["odd", "odder"])
    odd.obs["predicted"] = ["odd", "odd"]
    with pytest.raises(ValueError, match="No label in 'cell_type' is known"):
        gs.tl.evaluate(odd, "cell_type", prediction_key="predicted", ontology=True)
