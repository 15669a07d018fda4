"""The most frequent label per cluster, compared with pandas and NumPy."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import ginseng as gs

LABELS = ["B cell", "T/NK", "γδ T"]


def labelled(rows: dict[str, list[str]], confidence: list[float] | None = None) -> ad.AnnData:
    """Return cells with the given labels by cluster: `{cluster: labels}`."""
    cluster = [name for name, cells in rows.items() for _ in cells]
    label = [cell for cells in rows.values() for cell in cells]
    obs = pd.DataFrame(
        {
            "leiden": pd.Categorical(cluster, categories=[*rows, "never"]),
            "ginseng_cell_type": pd.Categorical(label, categories=[*LABELS, "unassigned"]),
            "ginseng_confidence": np.ones(len(label), np.float32) if confidence is None else confidence,
        },
        index=[f"cell{i}" for i in range(len(label))],
    )
    return ad.AnnData(np.zeros((len(label), 1), np.float32), obs=obs)


def many(n: int = 3000, n_clusters: int = 40, n_labels: int = 60, seed: int = 0) -> ad.AnnData:
    rng = np.random.default_rng(seed)
    cluster = rng.integers(n_clusters, size=n)
    label = np.where(
        rng.random(n) < rng.random(n_clusters)[cluster], cluster % n_labels, rng.integers(n_labels, size=n)
    )
    obs = {
        "leiden": pd.Categorical([f"{c}" for c in cluster]),
        "ginseng_cell_type": pd.Categorical([f"type/{i:02}" for i in label]),
        "ginseng_confidence": rng.random(n, dtype=np.float32),
    }
    return ad.AnnData(np.zeros((n, 1), np.float32), obs=pd.DataFrame(obs, index=[f"cell{i}" for i in range(n)]))


@pytest.mark.parametrize("min_fraction", [0, 0.3, 1])
def test_the_most_frequent_label_of_each_cluster(min_fraction: float) -> None:
    adata = many()
    gs.tl.vote(adata, min_fraction=min_fraction)
    found = adata.uns["ginseng"]["vote"]
    counts = pd.crosstab(adata.obs["leiden"], adata.obs["ginseng_cell_type"])
    shares = counts.div(counts.sum(axis=1), axis=0)
    table = found["table"]
    assert table.index.tolist() == counts.index.tolist()
    assert found["labels"].tolist() == [*counts.columns, "unassigned"]
    np.testing.assert_array_equal(found["counts"][:, :-1], counts)
    assert (found["counts"][:, -1] == 0).all()
    np.testing.assert_allclose(table["fraction"], shares.max(axis=1))
    np.testing.assert_allclose(table["runner_up_fraction"], np.sort(shares, axis=1)[:, -2])
    bits = -(shares * np.log2(shares.where(shares > 0, 1))).sum(axis=1)
    np.testing.assert_allclose(table["entropy"], bits)
    assert table["n_cells"].tolist() == counts.sum(axis=1).tolist()
    assert table["decided"].tolist() == (shares.max(axis=1) >= min_fraction).tolist()
    best = shares.max(axis=1)
    for cluster, row in table.iterrows():
        assert shares.loc[cluster, row["label"]] == best[cluster]
        assert row["runner_up"] != row["label"]
        assert shares.loc[cluster, row["runner_up"]] == row["runner_up_fraction"]
    of_cell = adata.obs["leiden"].astype(str)
    expected = table["label"].where(table["decided"], "unassigned")[of_cell]
    assert adata.obs["ginseng_vote"].tolist() == expected.tolist()
    assert adata.obs["ginseng_vote_fraction"].dtype == np.float32
    np.testing.assert_allclose(adata.obs["ginseng_vote_fraction"], table["fraction"][of_cell], rtol=1e-6)
    undecided = not table["decided"].all()
    occur = set(adata.obs["ginseng_vote"])
    in_order = [name for name in [*adata.obs["ginseng_cell_type"].cat.categories, "unassigned"] if name in occur]
    assert adata.obs["ginseng_vote"].cat.categories.tolist() == in_order
    assert ("unassigned" in occur) == undecided
    assert undecided == (min_fraction > 0)


def test_cells_without_a_label_have_no_vote() -> None:
    adata = labelled(
        {
            "0": ["B cell"] * 2 + ["unassigned"] * 3,
            "1": ["unassigned"] * 4,
            "2": ["T/NK"] * 3 + ["unassigned"],
            "10": ["γδ T"],
        }
    )
    adata.obs.loc["cell3", "ginseng_cell_type"] = np.nan
    gs.tl.vote(adata)
    table = adata.uns["ginseng"]["vote"]["table"]
    assert table.index.tolist() == ["0", "1", "2", "10"]
    assert table["label"].tolist() == ["B cell", "unassigned", "T/NK", "γδ T"]
    assert table["fraction"].tolist() == [0.4, 0, 0.75, 1]
    assert table["runner_up"].tolist() == [""] * 4
    assert table["decided"].tolist() == [False, False, True, True]
    assert adata.uns["ginseng"]["vote"]["counts"][:, -1].tolist() == [3, 4, 1, 0]
    assert adata.obs["ginseng_vote"].tolist() == ["unassigned"] * 9 + ["T/NK"] * 4 + ["γδ T"]
    gs.tl.vote(adata, min_fraction=0.4, unassigned="?")
    assert adata.obs["ginseng_vote"].tolist() == ["B cell"] * 5 + ["?"] * 4 + ["T/NK"] * 4 + ["γδ T"]


def test_a_tie_goes_to_the_higher_confidence() -> None:
    rows = {"0": ["B cell", "T/NK", "T/NK", "B cell", "γδ T"]}
    for confidence, winner in (([0.5, 0.9, 0.9, 0.6, 1], "T/NK"), ([0.9, 0.5, 0.9, 0.9, 1], "B cell")):
        adata = labelled(rows, confidence)
        gs.tl.vote(adata, min_fraction=0.4)
        assert adata.uns["ginseng"]["vote"]["table"].loc["0", ["label", "fraction"]].tolist() == [winner, 0.4]
        del adata.obs["ginseng_confidence"]
        gs.tl.vote(adata, min_fraction=0.4)
        assert set(adata.obs["ginseng_vote"]) == {"B cell"}


@pytest.mark.parametrize("values", ["category", "text", "int", "float", "bool"])
def test_any_clusters_will_do(values: str) -> None:
    adata = labelled({"10": ["B cell"] * 3, "2": ["T/NK"] * 2})
    column = adata.obs.pop("leiden").astype(str)
    made = {
        "category": column.astype("category").cat.reorder_categories(["2", "10"]),
        "text": column,
        "int": column.astype(int),
        "float": column.astype(float),
        "bool": column == "10",
    }
    adata.obs["clusters"] = made[values]
    gs.tl.vote(adata, "clusters")
    order = {"bool": ["False", "True"]}.get(values, ["2", "10"])
    table = adata.uns["ginseng"]["vote"]["table"]
    assert table.index.tolist() == order
    assert table["label"].tolist() == ["T/NK", "B cell"]


def test_cells_outside_all_clusters() -> None:
    adata = labelled({"0": ["B cell"] * 3, "1": ["T/NK"] * 2})
    adata.obs.loc["cell4", "leiden"] = np.nan
    with pytest.warns(UserWarning, match=r"1 of 5 .*'leiden'.*'unassigned'") as caught:
        gs.tl.vote(adata)
    assert caught[0].filename == __file__
    assert adata.obs["ginseng_vote"].tolist() == ["B cell"] * 3 + ["T/NK", "unassigned"]
    assert adata.obs["ginseng_vote_fraction"].tolist() == [1, 1, 1, 1, 0]
    assert adata.uns["ginseng"]["vote"]["table"]["n_cells"].tolist() == [3, 1]


def test_what_is_written_survives_files(tmp_path) -> None:
    adata = labelled({"a/b": ["B cell", "T/NK", "T/NK"], "γδ": ["unassigned"]})
    adata.obs["mine"] = 1
    adata.uns["ginseng"] = {"overlap": {"share": 1.0}, "unassigned": {"label": "unassigned"}}
    before = adata.copy()
    assert gs.tl.vote(adata, min_fraction=0.6) is None
    pd.testing.assert_frame_equal(adata.obs[before.obs.columns], before.obs)
    assert list(adata.obs.columns) == [*before.obs.columns, "ginseng_vote", "ginseng_vote_fraction"]
    assert set(adata.uns["ginseng"]) == {"overlap", "unassigned", "vote"}
    adata.write_h5ad(tmp_path / "a.h5ad")
    adata.write_zarr(tmp_path / "a.zarr")
    for found in (ad.read_h5ad(tmp_path / "a.h5ad"), ad.read_zarr(tmp_path / "a.zarr")):
        assert found.obs["ginseng_vote"].tolist() == ["T/NK"] * 3 + ["unassigned"]
        pd.testing.assert_frame_equal(
            found.uns["ginseng"]["vote"]["table"].astype({"label": object, "runner_up": object}),
            adata.uns["ginseng"]["vote"]["table"].astype({"label": object, "runner_up": object}),
            check_index_type=False,
        )
        assert found.uns["ginseng"]["vote"]["groupby"] == "leiden"
        assert found.uns["ginseng"]["vote"]["labels"].tolist() == [*LABELS, "unassigned"]


@pytest.mark.filterwarnings("ignore:.*share none of")  # donors have no majority
@pytest.mark.filterwarnings("ignore:.*share none of 3 names")  # no vote is decided
def test_copies_views_and_other_names(make_cells, state) -> None:
    adata = make_cells()
    gs.tl.classify(adata, state, key_added="mine", min_confidence=0.9, unassigned="open")
    copy = gs.tl.vote(adata, "donor", key_added="mine", copy=True)
    assert "mine_vote" not in adata.obs
    assert "vote" not in adata.uns["mine"]
    assert copy.uns["mine"]["vote"]["unassigned"] == "open"
    view = adata[10:60]
    gs.tl.vote(view, "donor", key_added="mine")
    assert "mine_vote" not in adata.obs
    assert "mine_vote" in view.obs
    gs.tl.vote(adata, "donor", prediction_key="cell_type", key_added="truth")
    assert set(adata.uns["truth"]["vote"]["labels"]) == {*adata.obs["cell_type"], "unassigned"}
    gs.tl.evaluate(copy, "cell_type", prediction_key="mine_vote", key_added="vote")
    assert 0 <= copy.uns["vote"]["metrics"]["accuracy"] <= 1
    copy.obs["cluster"] = copy.obs["cell_type"]
    gs.tl.vote(copy, "cluster", key_added="mine")  # columns by ginseng are replaced, as in scanpy
    other = adata.copy()
    other.obs["mine_vote"] = "by hand"
    with pytest.raises(ValueError, match="'mine_vote'"):
        gs.tl.vote(other, "donor", key_added="mine")


def test_errors_say_what_to_do() -> None:
    adata = labelled({"0": ["B cell"] * 3})
    adata.obs["score"] = [0.1, 0.5, 2]
    adata.obs["louvain"] = adata.obs.pop("leiden")
    before = adata.copy()
    with pytest.raises(KeyError, match=r"'leiden'.*`sc\.pp\.neighbors\(adata\); sc\.tl") as e:
        gs.tl.vote(adata)
    assert "'louvain'" in str(e.value)
    adata.uns["neighbors"] = {}
    with pytest.raises(KeyError, match=r"`sc\.tl\.leiden\(adata, .*, key_added='luvain'\)`.*'louvain'"):
        gs.tl.vote(adata, "luvain")
    with pytest.raises(KeyError, match=r"'other_cell_type'.*`gs\.tl\.classify`"):
        gs.tl.vote(adata, "louvain", key_added="other")
    with pytest.raises(ValueError, match="'score'"):
        gs.tl.vote(adata, "score")
    with pytest.raises(ValueError, match=r"`min_fraction`.* 50"):
        gs.tl.vote(adata, "louvain", min_fraction=50)
    pd.testing.assert_frame_equal(adata.obs, before.obs)
    assert set(adata.uns) == {"neighbors"}


def test_scanpy_calls_in_the_error_are_valid() -> None:
    import inspect
    from types import SimpleNamespace

    import scanpy as sc

    calls = []

    def like(function):
        return lambda *args, **kwargs: calls.append((function, inspect.signature(function).bind(*args, **kwargs)))

    stub = SimpleNamespace(
        pp=SimpleNamespace(neighbors=like(sc.pp.neighbors)), tl=SimpleNamespace(leiden=like(sc.tl.leiden))
    )
    with pytest.raises(KeyError) as error:
        gs.tl.vote(labelled({"0": ["B cell"]}), "clusters")
    for call in str(error.value).split("`")[1::2]:
        if call.startswith("sc."):
            exec(call, {"sc": stub, "adata": None})
    (_, _), (leiden, given) = calls
    assert leiden is sc.tl.leiden
    assert given.arguments["key_added"] == "clusters"


def test_no_cells() -> None:
    adata = labelled({"0": ["B cell"]})[:0].copy()
    gs.tl.vote(adata)
    assert adata.uns["ginseng"]["vote"]["table"].shape == (0, 7)
    assert len(adata.obs["ginseng_vote"]) == 0
