"""What the platform does with features; what each of them promises is in tests/conformance/test_features.py."""

from typing import get_args

import numpy as np
import pytest
from feature_block import arrays, block

from marketday.errors import StepError
from marketday.features import declare
from marketday.features.declare import Feature, get, registry
from marketday.features.evaluate import Rows, latest, picked
from marketday.features.groups import Group, total_lag


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
        feature.apply(lambda _: np.zeros((1, 1)))


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
