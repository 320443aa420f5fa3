"""What a task returns fits into 4 KiB of Airflow's database, whatever its step returns."""

import json

import pytest

from marketday.calls import Result
from marketday.errors import StepError
from operators.returned import MOST, returned

HASH = "f" * 64


def size(data: dict) -> int:
    return len(json.dumps(data).encode())


def tables(n: int) -> list[str]:
    return [f"table_with_quite_a_long_name_{i:03}" for i in range(n)]


def test_a_result_that_fits_is_returned_as_it_is():
    result = Result(snapshots={"sales": 3}, hashes={"sales": HASH}, rows={"sales": 9}, facts={"n": 1})
    assert Result.model_validate(returned(result)) == result


def test_the_blocks_of_three_thousand_locations_fit_beside_everything_else():
    names = tables(25)
    blocks = [f"{i:03}" for i in range(60)]
    result = Result(snapshots=dict.fromkeys(names, 12345), hashes={"features": HASH}, facts={"blocks": blocks})
    assert Result.model_validate(returned(result)) == result


def test_hashes_go_first():
    names = tables(30)
    result = Result(snapshots=dict.fromkeys(names, 1), hashes=dict.fromkeys(names, HASH), rows=dict.fromkeys(names, 1))
    data = returned(result)
    assert size(data) <= MOST
    assert Result.model_validate(data) == result.model_copy(update={"hashes": {}})


def test_rows_go_next():
    names = tables(60)
    result = Result(
        snapshots=dict.fromkeys(names, 1), hashes=dict.fromkeys(names, HASH), rows=dict.fromkeys(names, 10**30)
    )
    data = returned(result)
    assert size(data) <= MOST
    assert Result.model_validate(data) == result.model_copy(update={"hashes": {}, "rows": {}})


def test_facts_that_are_too_large_are_refused_with_their_size():
    with pytest.raises(StepError, match=r"50\d\d bytes of 4096 \(facts 50\d\d\)") as refused:
        returned(Result(facts={"text": "x" * 5000}, hashes={"sales": HASH}))
    assert "write lists to a table" in refused.value.hint


def test_what_counts_are_bytes_and_not_letters():
    with pytest.raises(StepError):
        returned(Result(facts={"text": "ä" * 2000}))
