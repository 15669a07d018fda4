"""`key_added` writes, and `key` reads."""

from __future__ import annotations

import ginseng as gs


def test_labels_are_read_under_one_prefix_and_results_written_under_another() -> None:
    adata = gs.datasets.pbmc68k()
    gs.tl.train(adata, "cell_type", architecture="linear", epochs=3, silent=True)
    gs.tl.classify(adata, adata, key_added="mine", min_confidence=0.9, unassigned="nobody", silent=True)
    adata.obs["cluster"] = adata.obs["cell_type"].astype(str)
    gs.tl.vote(adata, "cluster", key="mine", key_added="theirs")
    assert adata.uns["theirs"]["vote"]["prediction_key"] == "mine_cell_type"
    assert adata.uns["theirs"]["vote"]["unassigned"] == "nobody"
    assert "theirs_vote" in adata.obs
    assert "mine_vote" not in adata.obs
    gs.tl.evaluate(adata, "cell_type", key="mine", key_added="theirs")
    assert adata.uns["theirs"]["metrics"]["prediction_key"] == "mine_cell_type"
    gs.tl.rank_genes(adata, adata, key="mine", key_added="theirs", n_genes=2, silent=True)
    assert adata.uns["theirs_rank_genes"]["params"]["groupby"] == "mine_cell_type"
    gs.tl.evaluate(adata, "cell_type", key_added="mine")  # as before, for both
    assert adata.uns["mine"]["metrics"]["prediction_key"] == "mine_cell_type"
