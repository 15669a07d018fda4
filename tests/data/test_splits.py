"""Which cells are held out."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ginseng.data._splits import folds, held_out, partition

FRACTIONS = st.floats(0, 0.99)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=80), FRACTIONS, st.integers(0, 9))
def test_by_cell_each_class_gives_its_share_and_keeps_a_cell(labels: list[int], fraction: float, seed: int) -> None:
    y = np.array(labels)
    out = held_out(y, fraction=fraction, rng=np.random.default_rng(seed))
    assert out.shape == y.shape
    assert out.dtype == bool
    assert set(y[~out]) == set(y)
    taken, sizes = Counter(y[out].tolist()), Counter(labels)
    assert all(abs(taken[k] - fraction * n) <= 1 for k, n in sizes.items())
    assert out.sum() <= fraction * len(y)
    np.testing.assert_array_equal(out, held_out(y, fraction=fraction, rng=np.random.default_rng(seed)))


@given(st.lists(st.integers(0, 7), min_size=2, max_size=80), FRACTIONS, st.integers(0, 9))
def test_by_group_no_group_is_in_both_parts(groups: list[int], fraction: float, seed: int) -> None:
    g, names = np.array(groups), [f"d{i}" for i in range(8)]
    how = {"fraction": fraction, "by_group": True, "rng": np.random.default_rng(seed)}
    if len(set(groups)) < 2:
        with pytest.raises(ValueError, match=r"two groups,.* 1"):
            held_out(np.zeros(len(g), int), g, names, **how)
        return
    out = held_out(np.zeros(len(g), int), g, names, **how)
    assert not set(g[out]) & set(g[~out])
    assert (~out).any()
    n = len(set(groups))
    assert len(set(g[out])) == (0 if fraction == 0 else min(max(1, round(fraction * n)), n - 1))


def test_leave_one_out() -> None:
    groups, names = np.array([0, 1, 2, 1, 0]), ["a", "b", "c"]
    y, rng = np.zeros(5, int), np.random.default_rng(0)
    out = held_out(y, groups, names, mode="loo", group="b", rng=rng)
    assert out.tolist() == [False, True, False, True, False]
    drawn = [held_out(y, groups, names, mode="loo", rng=rng) for _ in range(40)]
    assert {tuple(set(groups[out])) for out in drawn} == {(0,), (1,), (2,)}
    assert all((out == np.isin(groups, groups[out])).all() for out in drawn)


def test_every_cell_can_be_held_out() -> None:
    y, rng = np.arange(20) % 2, np.random.default_rng(0)
    assert np.logical_or.reduce([held_out(y, fraction=0.2, rng=rng) for _ in range(60)]).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fraction": 1.0}, r"in \[0, 1\), not 1\.0"),
        ({"fraction": -0.1}, r"in \[0, 1\)"),
        ({"fraction": float("nan")}, r"in \[0, 1\)"),
        ({"mode": "lou"}, "not 'lou'"),
        ({"by_group": True, "groups": None}, "Give `group_key=`"),
        ({"mode": "loo", "group": "c3"}, r"no group 'c3'\. .*There are: 'c1', 'c2'"),
    ],
)
def test_errors(arguments: dict, message: str) -> None:
    given = {"groups": np.array([0, 1, 0, 1]), "group_names": ["c1", "c2"], "rng": np.random.default_rng(0)}
    with pytest.raises(ValueError, match=message):
        held_out(np.array([0, 1, 1, 0]), **{**given, **arguments})


@given(st.lists(st.integers(0, 5), min_size=10, max_size=80), st.integers(0, 9))
def test_three_parts_have_their_share_of_each_class(labels: list[int], seed: int) -> None:
    y = np.array(labels)
    part = partition(y, fractions=(0.7, 0.1, 0.2), rng=np.random.default_rng(seed))
    assert set(y[part == 0]) == set(y)
    for label, n in Counter(labels).items():
        sizes = np.bincount(part[y == label], minlength=3)
        assert np.abs(sizes - np.array([0.7, 0.1, 0.2]) * n).max() <= 2
    assert set(np.unique(partition(y, fractions=(0.5, 0, 0.5), rng=np.random.default_rng(0)))) <= {0, 2}


@given(st.permutations([0, 1, 2, 3, 4, 5, 6, 7, 8, 9] * 3), st.integers(0, 9))
def test_no_group_is_in_two_of_three_parts(groups: list[int], seed: int) -> None:
    g, names = np.array(groups), [f"d{i}" for i in range(10)]
    part = partition(np.zeros(30, int), g, names, fractions=(0.7, 0.1, 0.2), rng=np.random.default_rng(seed))
    assert [len(set(g[part == code])) for code in range(3)] == [7, 1, 2]
    assert all(len(set(part[g == group])) == 1 for group in range(10))


@given(st.lists(st.integers(0, 3), min_size=20, max_size=80), st.integers(2, 5), st.integers(0, 9))
def test_each_cell_is_in_one_fold(labels: list[int], n_folds: int, seed: int) -> None:
    y = np.array(labels)
    parts = folds(y, n_folds=n_folds, rng=np.random.default_rng(seed))
    assert [name for name, _ in parts] == [str(i + 1) for i in range(n_folds)]
    tests = np.stack([test for _, test in parts])
    assert (tests.sum(axis=0) == 1).all()
    for label in set(labels):
        assert np.ptp(tests[:, y == label].sum(axis=1)) <= 1


def test_folds_of_groups() -> None:
    g, names = np.arange(30) % 5, [f"d{i}" for i in range(5)]
    left_out = folds(np.zeros(30, int), g, names, n_folds="loo", rng=np.random.default_rng(0))
    assert [name for name, _ in left_out] == names
    for i, (_, test) in enumerate(left_out):
        np.testing.assert_array_equal(test, g == i)
    parts = folds(np.arange(30) % 2, g, names, n_folds=3, rng=np.random.default_rng(0))
    assert sum(len(set(g[test])) for _, test in parts) == 5
