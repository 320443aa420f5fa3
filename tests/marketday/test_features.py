"""What every declared feature promises, with nothing needed from its author; and what the platform does with them."""

from typing import get_args

import numpy as np
import pytest
from feature_block import DAYS, ROWS, arrays, block

from marketday.errors import StepError
from marketday.features import declare
from marketday.features.declare import INPUTS, Feature, get, registry
from marketday.features.evaluate import Rows, dense, latest, picked
from marketday.features.groups import Group, total_lag

NAMES = list(registry())
ORIGINS = (DAYS - 60, DAYS - 59, DAYS - 1)


def apply(feature: Feature, given, days=slice(None)):
    """Compute a feature on some days of all of its rows."""
    whole = block(given)
    rows = slice(0, ROWS[feature.per])
    return feature.apply(lambda name: whole.read(feature.per, name, rows)[:, days])


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
    assert feature.doc.endswith(".")
    assert feature.lookback >= 1
    assert dense(block(arrays()), [feature], ahead=1, groups_ahead=1)[name].dtype == feature.dtype


def test_all_features_together_are_what_each_is_alone():
    whole = block(arrays())
    together = dense(whole, list(registry().values()), ahead=1, groups_ahead=28)
    assert set(together) == set(NAMES)
    for name in NAMES:
        np.testing.assert_array_equal(together[name], dense(whole, [get(name)], ahead=1, groups_ahead=28)[name])


def test_a_recursive_forecast_feeds_its_own_days_back():
    demand = np.arange(2 * 40, dtype=np.float32).reshape(2, 40)
    demand[:, 30:] = np.nan
    features = [get("lag_1"), get("weekday_1"), get("mean_7_back_0")]
    for origin in (29, 30):
        row = latest(features, {"demand": demand}, origin)
        assert row[:, 0].tolist() == demand[:, origin].tolist()
        assert row[:, 1].tolist() == demand[:, origin - 6].tolist()
        assert row[:, 2].tolist() == pytest.approx(demand[:, origin - 6 : origin + 1].mean(axis=1))
        demand[:, origin + 1] = row[:, 2]


def test_the_weekday_of_a_target_is_the_last_one_known_at_its_origin():
    feature = get("weekday_1")
    assert [feature.behind(ahead) for ahead in (1, 6, 7, 8, 14, 15)] == [7, 7, 7, 14, 14, 21]


def declared(**options):
    made = {"name": "odd", "inputs": ("demand",), "lookback": 1, "knows": "origin", "compute": lambda v: v.demand}
    return declare.declare(Feature(**{**made, "doc": "Odd.", **options}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "lag_7"}, "Two features are called lag_7"),
        ({"inputs": ("demnd",)}, "Feature odd reads demnd\nWhat to do: Inputs: demand, known, price"),
        ({"knows": "planned"}, 'knows what is planned but reads demand.*\n.*knows="origin"'),
        ({"lookback": 0}, "lookback is 0, at least 1"),
        (
            {"per": "location", "inputs": ("price",)},
            "Feature odd is per location, and not all of its inputs are: price",
        ),
    ],
)
def test_a_declaration_that_cannot_be_is_refused(options, message):
    with pytest.raises(StepError, match=message):
        declared(**options)
    assert "odd" not in registry()


def test_a_feature_cannot_read_what_it_does_not_declare():
    feature = Feature(name="odd", inputs=("price",), lookback=1, knows="planned", compute=lambda v: v.demand, doc=".")
    with pytest.raises(StepError, match="Feature odd reads 'demand' but declares only: price"):
        apply(feature, arrays())


def test_an_unknown_feature_is_answered_with_those_like_it():
    with pytest.raises(StepError, match="There is no feature 'lag_5'\nWhat to do: Use one of: lag_1, lag_7, lag_14"):
        get("lag_5")


def test_a_block_without_an_input_says_which_are_there():
    only_price = {key: array for key, array in arrays().items() if key[1] == "price"}
    with pytest.raises(StepError, match="There is no demand per series here\nWhat to do: There are: price per series"):
        picked(block(only_price), [get("lag_1")], Rows(*(np.zeros(1, dtype=int),) * 3), 1)


def test_groups_are_those_that_totals_are_made_of():
    assert set(get_args(Group)) == {key[0] for key in arrays() if key[1] == "known"} - {"series"}
    with pytest.raises(StepError, match="Two features are called location_total_lag_1"):
        total_lag("location", 1)


def test_these_tests_catch_a_feature_that_looks_ahead_or_further_back_than_it_says():
    def roll(days):
        return Feature(
            name="odd",
            inputs=("demand",),
            lookback=1,
            knows="origin",
            compute=lambda view: np.roll(view.demand, days, axis=1),
            doc="Odd.",
        )

    given, column = arrays(), ORIGINS[0]
    ahead, back = roll(-1), roll(1)
    changed = apply(ahead, changed_after(given, column))
    assert not np.array_equal(changed[:, column], apply(ahead, given)[:, column], equal_nan=True)
    part = apply(back, given, slice(column, column + 1))
    assert not np.array_equal(part[:, -1], apply(back, given)[:, column], equal_nan=True)
