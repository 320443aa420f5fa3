"""What every declared feature promises, with nothing needed from its author: it knows nothing of the future, and all
ways to compute it give the same bits."""

import re

import numpy as np
import pytest
from feature_block import DAYS, ROWS, arrays, block

from marketday.features.declare import INPUTS, Feature, get, registry
from marketday.features.evaluate import Rows, dense, latest, picked

NAMES = list(registry())
ORIGINS = (DAYS - 60, DAYS - 59, DAYS - 1)


def apply(feature: Feature, given, days=slice(None), rows=slice(None)):
    """Compute a feature on some days of some (or all) of its rows."""
    whole, own = block(given), slice(0, ROWS[feature.per])
    return feature.apply(lambda name: whole.read(feature.per, name, own)[rows, days])


def changed_after(given, column, *, only_observed=False, seed=9):
    """Return the inputs with other values on all days after ``column``."""
    other = arrays(seed)
    made = {key: array.copy() for key, array in given.items()}
    for key, array in made.items():
        if INPUTS[key[1]].observed or not only_observed:
            array[:, column + 1 :] = other[key][:, column + 1 :]
    return made


@pytest.mark.parametrize("name", NAMES)
def test_no_feature_knows_what_comes_after_its_day(name):
    feature, given = get(name), arrays()
    before = apply(feature, given)
    for column in ORIGINS[:2]:
        after = apply(feature, changed_after(given, column))
        np.testing.assert_array_equal(after[:, : column + 1], before[:, : column + 1])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ahead", [1, 5, 7, 28])
def test_no_row_of_a_target_knows_what_is_observed_after_its_origin(name, ahead):
    feature, given = get(name), arrays()
    series, target = np.arange(ROWS["series"]), np.full(ROWS["series"], DAYS - 20)
    rows = (Rows(series, target, np.full_like(target, ahead)), ahead)
    before = picked(block(given), [feature], *rows)
    changed = changed_after(given, DAYS - 20 - ahead, only_observed=True)
    np.testing.assert_array_equal(picked(block(changed), [feature], *rows), before)


@pytest.mark.parametrize("name", NAMES)
def test_the_look_back_is_all_that_a_feature_needs(name):
    feature, given = get(name), arrays()
    whole = apply(feature, given)
    for column in ORIGINS:
        part = apply(feature, given, slice(column - feature.lookback + 1, column + 1))
        np.testing.assert_array_equal(part[:, -1], whole[:, column])


@pytest.mark.parametrize("name", NAMES)
def test_a_row_rests_on_its_own_inputs_and_on_no_other_row(name):
    feature, given = get(name), arrays()
    whole = apply(feature, given)
    for row in range(ROWS[feature.per]):
        alone = apply(feature, given, rows=slice(row, row + 1))
        np.testing.assert_array_equal(alone[0], whole[row])


@pytest.mark.parametrize("name", NAMES)
def test_a_feature_leaves_its_inputs_as_they_are(name):
    feature, given = get(name), arrays()
    apply(feature, given)
    for key, array in arrays().items():
        np.testing.assert_array_equal(given[key], array)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ahead", [1, 6, 14])
def test_one_origin_alone_gives_what_the_matrix_of_all_days_gives(name, ahead):
    feature, given = get(name), arrays()
    whole, rows = block(given), slice(0, ROWS[feature.per])
    read = {key: whole.read(feature.per, key, rows) for key in feature.inputs}
    matrix = dense(whole, [feature], ahead=ahead, groups_ahead=ahead)[name].astype(np.float32)
    for origin in (DAYS - 60, DAYS - 1 - ahead):
        alone = latest([feature], read, origin, ahead)[:, 0]
        of_series = alone if feature.per == "series" else alone[whole.row.get(feature.per, np.zeros(6, dtype=int))]
        np.testing.assert_array_equal(of_series, matrix[:, origin + ahead])


@pytest.mark.parametrize("name", NAMES)
def test_chosen_rows_have_the_values_of_the_matrix_of_all_days(name):
    feature, whole = get(name), block(arrays())
    series, target = np.repeat(np.arange(ROWS["series"]), 3), np.tile([2, 300, DAYS - 1], ROWS["series"])
    found = picked(whole, [feature], Rows(series, target, np.full_like(target, 3)), 3)[:, 0]
    expected = dense(whole, [feature], ahead=3, groups_ahead=3)[name][series, target].astype(np.float32)
    if feature.vocabulary:
        expected[expected < 0] = np.nan
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", NAMES)
def test_every_feature_says_what_it_is_and_keeps_its_type(name):
    feature = get(name)
    assert re.fullmatch(r"[a-z][a-z0-9_]*", name)
    assert feature.doc.split("\n")[0].endswith("."), "the first line of its docstring, in one sentence"
    assert feature.reach < DAYS, "further back than these tests look"
    assert dense(block(arrays()), [feature], ahead=1, groups_ahead=1)[name].dtype == feature.dtype


def test_all_features_together_are_what_each_is_alone():
    whole = block(arrays())
    together = dense(whole, list(registry().values()), ahead=1, groups_ahead=28)
    assert set(together) == set(NAMES)
    for name in NAMES:
        np.testing.assert_array_equal(together[name], dense(whole, [get(name)], ahead=1, groups_ahead=28)[name])


def test_these_tests_catch_a_feature_that_looks_ahead_or_further_back_than_it_says_or_at_its_neighbours():
    def odd(compute):
        return Feature(name="odd", inputs=("demand",), lookback=1, knows="origin", compute=compute, doc="Odd.")

    given, column = arrays(), ORIGINS[0]
    ahead, back, beside = (
        odd(lambda view, days=days, axis=axis: np.roll(view.demand, days, axis=axis))
        for days, axis in ((-1, 1), (1, 1), (1, 0))
    )
    changed = apply(ahead, changed_after(given, column))
    assert not np.array_equal(changed[:, column], apply(ahead, given)[:, column], equal_nan=True)
    part = apply(back, given, slice(column, column + 1))
    assert not np.array_equal(part[:, -1], apply(back, given)[:, column], equal_nan=True)
    alone = apply(beside, given, rows=slice(0, 1))
    assert not np.array_equal(alone[0], apply(beside, given)[0], equal_nan=True)
