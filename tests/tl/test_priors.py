"""How frequent types are: given, or estimated by EM."""

from __future__ import annotations

import dataclasses
from typing import Any

import anndata as ad
import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import softmax

import ginseng as gs
from ginseng._predict.priors import estimate, given_shares, reference_shares

type Halves = tuple[ad.AnnData, ad.AnnData]


def mixture(shares: list[float], n: int) -> np.ndarray:
    """Return the probabilities of classes that are equally frequent in the reference, of cells with these shares."""
    rng = np.random.default_rng(0)
    centres = np.array([[0, 0], [2, 0], [0, 2]])
    x = centres[rng.choice(3, n, p=shares)] + rng.normal(size=(n, 2))
    return softmax(-((x[:, None] - centres) ** 2).sum(axis=2) / 2, axis=1)


def test_em_finds_the_shares_that_make_the_cells_most_probable() -> None:
    true, reference = [0.7, 0.25, 0.05], np.full(3, 1 / 3)
    probs = mixture(true, 20_000)
    found = estimate(probs, reference)
    assert found == pytest.approx(true, abs=0.01)
    best = minimize(lambda z: -np.log(probs @ (softmax(z) / reference)).mean(), np.zeros(3), tol=1e-10)
    assert found == pytest.approx(softmax(best.x), abs=1e-3)
    assert estimate(probs[:0], reference) == pytest.approx(reference)


def test_probabilities_are_weighed(halves: Halves, calibrated: gs.model.GinsengClassifierState) -> None:
    names = [str(name) for name in calibrated.label_keys]
    how: Any = {"store_probs": True, "return_table": True, "silent": True}
    before = gs.tl.classify(halves[1], calibrated, **how)[names].to_numpy(float)
    shares = {"Dendritic": 0.5, "CD34+": 0.2}
    query = halves[1].copy()
    gs.tl.classify(query, calibrated, priors=shares, store_probs=True, silent=True)
    reference = calibrated.reference["cells"] / calibrated.reference["cells"].sum()
    rest = np.array([name not in shares for name in names])
    prior = np.where(rest, 0.3 * reference / reference[rest].sum(), [shares.get(name, 0) for name in names])
    expected = before * prior / reference
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(query.obsm["ginseng_probs"], expected, atol=1e-5)
    assert query.obs["ginseng_cell_type"].tolist() == [names[i] for i in expected.argmax(axis=1)]
    np.testing.assert_allclose(query.uns["ginseng"]["composition"]["priors"], prior, rtol=1e-4)


def test_an_estimate_from_the_query_is_near_its_composition(
    halves: Halves, calibrated: gs.model.GinsengClassifierState
) -> None:
    monocytes = (halves[1].obs["cell_type"] == "CD14+ Monocyte").to_numpy()
    rows = np.sort(np.r_[np.flatnonzero(monocytes), np.flatnonzero(~monocytes)[::10]])
    query = halves[1][rows].copy()
    gs.tl.classify(query, calibrated, priors="query", silent=True)
    found = query.uns["ginseng"]["composition"]
    place = [str(name) for name in calibrated.label_keys].index("CD14+ Monocyte")
    true = (query.obs["cell_type"] == "CD14+ Monocyte").mean()
    assert found["priors"].sum() == pytest.approx(1, abs=1e-5)
    assert abs(found["priors"][place] - true) < abs(found["reference"][place] - true) / 2
    shares = found["labelled"] - found["reference"]
    assert found["distance"] == pytest.approx(np.abs(shares).sum() / 2, abs=1e-6)


def test_another_composition_is_remarked_on(halves: Halves, calibrated: gs.model.GinsengClassifierState) -> None:
    other = ad.AnnData(
        np.repeat(halves[1].X[(halves[1].obs["cell_type"] == "CD19+ B").to_numpy()].toarray(), 4, axis=0)
    )
    other.var_names, alike = halves[1].var_names, halves[1].copy()
    for query in (alike, other):
        gs.tl.classify(query, calibrated, silent=True)
    assert "composition" not in alike.uns["ginseng"]
    assert other.uns["ginseng"]["composition"]["distance"] > 0.7
    assert "priors" not in other.uns["ginseng"]["composition"]


@pytest.mark.parametrize(
    ("priors", "match"),
    [
        ("quary", "quary"),
        (0.5, "dictionary"),
        ({"Dendritc": 0.5}, "Did you mean 'Dendritic'"),
        ({"Dendritic": 1.5}, "1.5"),
        ({"Dendritic": -0.1}, "-0.1"),
        ({"Dendritic": float("nan")}, "nan"),
        ({"Dendritic": True}, "True"),
        ({"Dendritic": 0.8, "CD19+ B": 0.8}, "1.6"),
    ],
)
def test_what_are_no_shares(
    halves: Halves, calibrated: gs.model.GinsengClassifierState, priors: Any, match: str
) -> None:
    query = halves[1][:5].copy()
    with pytest.raises(ValueError, match=match):
        gs.tl.classify(query, calibrated, priors=priors, silent=True)
    assert "ginseng" not in query.uns


def test_all_shares_must_sum_to_one(calibrated: gs.model.GinsengClassifierState) -> None:
    names = [str(name) for name in calibrated.label_keys]
    with pytest.raises(ValueError, match=r"0\.5"):
        given_shares(calibrated, dict.fromkeys(names, 0.05))
    assert given_shares(calibrated, {}) == pytest.approx(reference_shares(calibrated))
    with pytest.raises(ValueError, match="priors"):
        given_shares(dataclasses.replace(calibrated, reference=None, calibration=None), "query")
