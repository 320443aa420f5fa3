"""A call is data, and its key is a hash of that data."""

import datetime as dt

import pytest
from pydantic import ValidationError

from marketday.calls import Call

CALL = Call(
    step="predict", retailer="simulated", day=dt.date(2025, 3, 3), block="001", inputs={"features": 4, "models": 2}
)


def test_equal_calls_have_equal_keys_whatever_the_order_of_their_inputs():
    twin = Call.model_validate_json(
        '{"inputs": {"models": 2, "features": 4}, "block": "001", "day": "2025-03-03",'
        ' "retailer": "simulated", "step": "predict"}'
    )
    assert twin.key == CALL.key


@pytest.mark.parametrize(
    "change",
    [
        {"step": "features"},
        {"version": 2},
        {"version": "latest"},
        {"retailer": "m5"},
        {"day": dt.date(2025, 3, 4)},
        {"block": None},
        {"inputs": {"features": 5, "models": 2}},
        {"params": {"only_if_missing": True}},
    ],
)
def test_whatever_changes_the_call_changes_its_key(change: dict[str, object]):
    assert CALL.model_copy(update=change).key != CALL.key


def test_the_origin_is_the_day_before_the_business_day():
    assert CALL.origin == dt.date(2025, 3, 2)
    assert str(CALL) == "predict[001] simulated 2025-03-03"


@pytest.mark.parametrize(("version", "shown"), [(2, "predict@2[001]"), ("latest", "predict@latest[001]")])
def test_a_version_other_than_the_first_is_shown(version: object, shown: str):
    assert str(CALL.model_copy(update={"version": version})) == f"{shown} simulated 2025-03-03"


@pytest.mark.parametrize("version", ["newest", "2.x", 1.5])
def test_a_version_is_a_number_or_latest(version: object):
    with pytest.raises(ValidationError, match="version"):
        Call(step="clean", version=version, retailer="simulated", day=dt.date(2025, 3, 3))


def test_a_retailers_name_cannot_lead_out_of_its_folder():
    with pytest.raises(ValidationError):
        Call(step="clean", retailer="../other", day=dt.date(2025, 3, 3))
