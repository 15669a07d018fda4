"""The HTML report: numbers against the AnnData, nothing loaded, nothing injected."""

from __future__ import annotations

import html.parser
import re
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import ginseng as gs

VOID = {"meta", "img", "br"}  # elements of SVG nest if they are not closed


class Page(html.parser.HTMLParser):
    """The elements of a page, its text by section, and everything it refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.handlers: list[str] = []
        self.sections: dict[str, str] = {"": ""}
        self.images = 0
        self.text, here = text, self
        self._section = ""
        here.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        given = dict(attrs)
        self.handlers += [name for name in given if name.startswith("on")]
        self.links += [given[name] for name in ("src", "href", "action", "data", "poster") if name in given]
        if tag == "section":
            self._section = given["id"]
            self.sections[self._section] = ""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.sections[self._section] += " " + data


def page(adata: Any, path: Path, **how: Any) -> Page:
    gs.report(adata, path, **how)
    assert path.stat().st_size < 3e6
    found = Page(path.read_text(encoding="utf-8"))
    assert not found.handlers
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in found.links)
    assert not re.search(r"https?://", re.sub(r"<pre>.*?</pre>", "", found.text, flags=re.DOTALL))
    return found


@pytest.fixture(scope="module")
def cells() -> ad.AnnData:
    adata = gs.datasets.pbmc68k()
    adata.obs["donor"] = np.where(np.arange(adata.n_obs) % 3, "d1", "d2")
    adata.obs["cluster"] = adata.obs["cell_type"].astype(str)
    gs.tl.train(adata, "cell_type", architecture="linear", epochs=20, silent=True)
    gs.tl.classify(adata, adata, min_confidence=0.6, silent=True)
    gs.tl.evaluate(adata, "cell_type")
    gs.tl.vote(adata, "cluster")
    gs.tl.rank_genes(adata, adata, n_genes=5, silent=True)
    adata.obs["ginseng_novelty"] = (1 - adata.obs["ginseng_confidence"]).astype(np.float32)
    return adata


def test_it_says_what_the_cells_are(cells: ad.AnnData, tmp_path: Path) -> None:
    found = page(cells, tmp_path / "a.html", groupby="donor", model=cells, title="My cells")
    assert found.text.count("<img") == 4
    label = cells.obs["ginseng_cell_type"].astype(str)
    types = found.sections["types"]
    for name, n in label.value_counts().items():
        assert name in types
        assert f" {n:,} " in types
        median = cells.obs["ginseng_confidence"][label == name].median()
        assert f"{median:.2f}" in types
    metrics = cells.uns["ginseng"]["metrics"]
    assert f"{metrics['accuracy']:.2f}" in found.sections["metrics"]
    n_low = cells.uns["ginseng"]["unassigned"]["n_low_confidence"]
    assert f"{n_low:,} cells are below 0.6" in found.sections["certainty"]
    ranked = cells.uns["ginseng_rank_genes"]
    gene = next(
        gene for gene, change in zip(ranked["names"]["CD19+ B"], ranked["logfoldchanges"]["CD19+ B"], strict=True)
        if change > 0
    )  # fmt: skip
    assert gene in found.sections["genes"]
    assert "d1 (466 cells)" in found.sections["groups"]
    assert "765 of the 765 genes" in found.sections["methods"]
    assert f"{metrics['accuracy']:.3f}" in found.sections["methods"]
    for package in ("ginseng", "jax", "anndata", "scanpy"):
        assert f"{package} " in found.sections["methods"]
    assert "min_confidence=0.6" in found.sections["methods"]
    assert "of another study" not in found.sections["methods"]
    assert "@software{ginseng" in found.sections["citation"]
    assert "counts (whole numbers" in found.sections["checks"]
    assert "700 cells" in found.sections["model"] or "665 cells" in found.sections["model"]


def test_it_says_how_much_the_cells_themselves_count(cells: ad.AnnData, tmp_path: Path) -> None:
    far = cells.copy()
    far.uns["ginseng"]["adaptation"]["own_classes"] = 0.37
    assert "weight of 37%" in page(far, tmp_path / "a.html").sections["methods"]


def test_types_to_distrust(cells: ad.AnnData, tmp_path: Path) -> None:
    adata = cells[:, :5].copy()
    label = adata.obs["ginseng_cell_type"].astype(str)
    adata.obs["ginseng_confidence"] = np.where(label == "CD19+ B", 0.3, 0.99).astype(np.float32)
    adata.obs["ginseng_novelty"] = np.where(label == "Dendritic", 0.9, 0.01).astype(np.float32)
    for name in ("ginseng_vote", "ginseng_vote_fraction"):
        del adata.obs[name]
    del adata.uns["ginseng"]["metrics"]
    told = page(adata, tmp_path / "a.html").sections["distrust"]
    assert "CD19+ B" in told
    assert "below 0.30" in told
    assert "Dendritic" in told
    assert "above 0.90" in told
    few = label.value_counts()
    assert all(
        (name in told) == (n < 10) for name, n in few.items() if name not in ("CD19+ B", "Dendritic", "unassigned")
    )


def test_labels_alone_are_enough(tmp_path: Path) -> None:
    adata = ad.AnnData(obs=pd.DataFrame({"ginseng_cell_type": ["B", "T", None]}, index=list("abc")))
    found = page(adata, tmp_path / "a.html")
    assert "embedding" not in found.sections
    assert "certainty" not in found.sections
    assert "genes" not in found.sections
    assert "3 cells" in found.sections["methods"]


HOSTILE = [
    '<script>alert("x")</script>',
    "</style><b>",
    '" onload="alert(1)',
    "<img src=x onerror=alert(1)>",
    "&lt;",
    "T/NK",
]


def test_names_cannot_break_the_page(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    n = 20 * len(HOSTILE)
    y = np.arange(n) % len(HOSTILE)
    x = rng.poisson(1, (n, 30)).astype(np.float32)
    x[np.arange(n), y] += 20
    names = np.array(HOSTILE, object)
    adata = ad.AnnData(
        sparse.csr_matrix(x), obs=pd.DataFrame({"<i>type": names[y]}, index=[f"<u>{i}" for i in range(n)])
    )
    adata.var_names = [f"<a href='x'>{i}" for i in range(30)]
    adata.obsm["X_umap"] = rng.normal(size=(n, 2))
    gs.tl.train(adata, "<i>type", architecture="linear", epochs=20, silent=True)
    gs.tl.classify(adata, adata, silent=True, key_added="<b>")
    gs.tl.evaluate(adata, "<i>type", key_added="<b>")
    gs.tl.rank_genes(adata, adata, key_added="<b>", silent=True)
    adata.uns["<b>_cell_type_colors"] = ['red"><script>alert(2)</script>'] * len(HOSTILE)
    adata.uns["<b>"]["reference"] = {"citation": "</pre><script>", "licence": "<script>"}
    found = page(adata, tmp_path / "a.html", key="<b>", groupby="<i>type", title="</title><script>", model=adata)
    assert found.tags.count("script") == 1
    assert not {"b", "i", "u", "iframe"} & set(found.tags) - {"b"}
    assert "alert" not in re.sub(r"&[a-z#0-9]+;.*?(?=<)", "", re.sub(r"<script>for.*?</script>", "", found.text))
    assert found.tags.count("img") == 3
    for name in HOSTILE:
        assert name in found.sections["types"]


def test_many_cells_stay_small(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    n, k = 150_000, 60
    label = pd.Categorical.from_codes(rng.integers(0, k, n), [f"type {i}" for i in range(k)])
    obs = pd.DataFrame({"ginseng_cell_type": label, "ginseng_confidence": rng.random(n).astype(np.float32)})
    obs["ginseng_novelty"] = rng.random(n).astype(np.float32)
    obs["truth"] = obs["ginseng_cell_type"]
    adata = ad.AnnData(sparse.csr_matrix((n, 3), dtype=np.float32), obs=obs.set_axis(obs.index.astype(str)))
    adata.obsm["X_umap"] = rng.normal(size=(n, 2))
    found = page(adata, tmp_path / "a.html", label_key="truth")
    assert "random sample of 100,000" in found.sections["embedding"]


def test_files_are_kept(cells: ad.AnnData, tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    path.write_text("mine")
    with pytest.raises(FileExistsError, match="overwrite"):
        gs.report(cells, path)
    assert path.read_text() == "mine"
    gs.report(cells, path, overwrite=True)
    assert "<html" in path.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match=r"\.html"):
        gs.report(cells, tmp_path / "a.pdf")
    with pytest.raises(KeyError, match="no predicted labels"):
        gs.report(gs.datasets.pbmc68k(), tmp_path / "b.html")
    with pytest.raises(KeyError, match="tsne"):
        gs.report(cells, tmp_path / "b.html", basis="tsne")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.html"]


def test_on_the_command_line(cells: ad.AnnData, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from ginseng.cli import main

    cells.write_h5ad(tmp_path / "a.h5ad")
    before = (tmp_path / "a.h5ad").read_bytes()
    assert main(["report", str(tmp_path / "a.h5ad"), "-o", str(tmp_path / "a.html"), "--title", "Mine"]) == 0
    assert "a.html" in capsys.readouterr().out
    found = Page((tmp_path / "a.html").read_text(encoding="utf-8"))
    assert "Mine" in found.sections[""]
    assert (tmp_path / "a.h5ad").read_bytes() == before
    assert main(["report", str(tmp_path / "a.h5ad"), "-o", str(tmp_path / "a.html")]) == 1
    assert "--overwrite" in capsys.readouterr().err


def test_no_cells_at_all(cells: ad.AnnData, tmp_path: Path) -> None:
    gs.report(cells[:0].copy(), tmp_path / "none.html")
    assert "0 cells" in (tmp_path / "none.html").read_text()
