"""What an explanation promises: its parts make up the mean exactly, and each step is credited to its split."""

import json
from functools import cache

import lightgbm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketday.models.explain import GROUPS, Forest, group_of, joined, logarithmic_mean
from marketday.models.gbm import COLUMNS

NAMES = ("product", "price", "weekday", "mean_28_back_0", "temperature", "unheard_of")
CATEGORIES = 12


def random_rows(size: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    rows = random.normal(size=(size, len(NAMES))).astype(np.float32)
    rows[:, 0] = random.integers(0, CATEGORIES, size)
    rows[random.random(rows.shape) < 0.1] = np.nan
    return rows


@cache
def booster(seed: int = 1, rounds: int = 20, leaves: int = 8) -> tuple[lightgbm.Booster, np.ndarray]:
    """Return a booster with categorical splits and missing values, and the rows that it was fitted to."""
    rows = random_rows(3000, seed)
    level = np.exp(0.3 * np.nan_to_num(rows[:, 0] % 5) + 0.5 * np.nan_to_num(rows[:, 1] * rows[:, 2]))
    demand = np.random.default_rng(seed).poisson(level)
    data = lightgbm.Dataset(rows, label=demand, feature_name=list(NAMES), categorical_feature=["product"])
    params = {"objective": "tweedie", "num_leaves": leaves, "verbosity": -1, "num_threads": 1, "seed": seed}
    return lightgbm.train(params, data, num_boost_round=rounds), rows


def slowly(trees: lightgbm.Booster, row: np.ndarray) -> tuple[float, np.ndarray]:
    """Walk down every tree of LightGBM's dump to the row's leaf and credit each step to the group split on."""
    leaves = trees.predict(row[None], pred_leaf=True).astype(int)[0]
    base, parts = 0.0, np.zeros(len(GROUPS))
    for leaf, tree in zip(leaves, trees.dump_model()["tree_info"], strict=True):
        node = tree["tree_structure"]
        base += expected(node)
        while "split_feature" in node:
            child = next(c for c in (node["left_child"], node["right_child"]) if leaf in leaves_below(c))
            parts[GROUPS.index(group_of(NAMES[node["split_feature"]]))] += expected(child) - expected(node)
            node = child
    return base, parts


def leaves_below(node: dict) -> dict[int, tuple[float, int]]:
    """Return value and training rows of each leaf below a node."""
    if "split_feature" not in node:
        return {node.get("leaf_index", 0): (node["leaf_value"], node.get("leaf_count", 1))}
    return leaves_below(node["left_child"]) | leaves_below(node["right_child"])


def expected(node: dict) -> float:
    values, counts = zip(*leaves_below(node).values(), strict=True)
    return float(np.average(values, weights=counts))


def test_the_contributions_are_those_of_a_walk_down_every_tree() -> None:
    trees, _ = booster()
    assert '"decision_type": "=="' in json.dumps(trees.dump_model()), "no categorical split was tested"
    forest = Forest.of(trees)
    rows = random_rows(40, 5)
    _, parts = forest.contributions(rows)
    for row, found in zip(rows, parts, strict=True):
        base, oracle = slowly(trees, row)
        assert forest.base == pytest.approx(base, abs=1e-9)
        np.testing.assert_allclose(found, oracle, atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(1, 4),
    rounds=st.sampled_from([1, 7, 30]),
    leaves=st.sampled_from([2, 5, 31]),
    rows=st.integers(0, 99),
)
def test_base_and_contributions_add_up_to_the_raw_score(seed: int, rounds: int, leaves: int, rows: int) -> None:
    trees, _ = booster(seed, rounds, leaves)
    forest, matrix = Forest.of(trees), random_rows(200, rows)
    raw, parts = forest.contributions(matrix)
    assert np.array_equal(raw, trees.predict(matrix, raw_score=True)), "the mean must be the same to the last bit"
    np.testing.assert_allclose(forest.base + parts.sum(axis=1), raw, atol=1e-6)


def test_in_training_the_base_is_the_mean_and_every_group_moves_it_by_nothing() -> None:
    trees, rows = booster()
    forest = Forest.of(trees)
    raw, parts = forest.contributions(rows)
    assert forest.base == pytest.approx(raw.mean(), abs=1e-6)
    np.testing.assert_allclose(parts.mean(axis=0), 0.0, atol=1e-6)
    assert np.abs(parts).mean(axis=0)[GROUPS.index("place_product")] > 0.05


def test_the_number_of_threads_changes_nothing() -> None:
    forest, rows = Forest.of(booster()[0]), random_rows(20_000, 3)
    one, two = (forest.contributions(rows, threads) for threads in (1, 2))
    assert all(np.array_equal(left, right) for left, right in zip(one, two, strict=True))


def test_a_tree_without_a_split_is_all_base() -> None:
    rows = random_rows(50, 1)
    data = lightgbm.Dataset(rows, label=np.ones(50), feature_name=list(NAMES))
    stump = lightgbm.train({"objective": "tweedie", "verbosity": -1}, data, num_boost_round=3)
    forest = Forest.of(stump)
    raw, parts = forest.contributions(rows)
    assert not parts.any()
    np.testing.assert_allclose(raw, forest.base)


def test_no_rows_have_no_contributions() -> None:
    raw, parts = Forest.of(booster()[0]).contributions(np.empty((0, len(NAMES)), dtype=np.float32))
    assert raw.shape == (0,)
    assert parts.shape == (0, len(GROUPS))


log_scale = st.floats(-3.0, 3.0)


@given(st.data())
def test_base_times_factors_is_the_average_of_the_models(data: st.DataObject) -> None:
    bases = np.array(data.draw(st.lists(st.lists(log_scale, min_size=3, max_size=3), min_size=2, max_size=2)))
    flat = data.draw(st.lists(log_scale, min_size=24, max_size=24))
    parts = np.array(flat).reshape(2, 3, 4)
    base, factors = joined(bases, parts)
    np.testing.assert_allclose(base, np.exp(bases).mean(axis=0))
    np.testing.assert_allclose(base * factors.prod(axis=1), np.exp(bases + parts.sum(axis=2)).mean(axis=0))


def test_models_that_agree_are_joined_to_what_they_say() -> None:
    bases, parts = np.full((2, 1), 0.5), np.tile([[[0.2, -0.4, 0.0]]], (2, 1, 1))
    base, factors = joined(bases, parts)
    np.testing.assert_allclose(base, np.exp(0.5))
    np.testing.assert_allclose(factors, np.exp([[0.2, -0.4, 0.0]]))


@given(st.floats(0.01, 100.0), st.floats(0.01, 100.0))
def test_the_logarithmic_mean_lies_between_and_of_equals_is_their_value(left: float, right: float) -> None:
    mean = logarithmic_mean(np.array([left]), np.array([right]))[0]
    assert min(left, right) * (1 - 1e-9) <= mean <= max(left, right) * (1 + 1e-9)
    assert logarithmic_mean(np.array([left]), np.array([left]))[0] == pytest.approx(left)


def test_every_column_of_the_model_has_a_group() -> None:
    assert {name for name in COLUMNS if group_of(name) == "other"} == {"ahead", "in_stock"}
    assert {group_of(name) for name in COLUMNS} == set(GROUPS)
