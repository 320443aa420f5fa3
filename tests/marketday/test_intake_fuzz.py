"""Whatever is sent to the API, as its own description allows it or not, it never answers that it failed."""

from pathlib import Path

import hypothesis
import probe_service
import pytest
import schemathesis
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from marketday.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
SENSIBLE = {"retailer": "simulated", "day": "2026-03-02", "table": "sales", "step": "probe"}
"""What most requests need to get further than the door."""
CSV = b"location_id,product_id,day,units\nS01,P001,2026-03-01,2\n"
FILES = ("application/vnd.apache.parquet", "application/vnd.apache.arrow.stream", "text/csv", "application/x-ndjson")

for media_type in FILES:
    schemathesis.openapi.media_type(
        media_type, st.binary(max_size=200) | st.just(CSV) | st.just(b"PAR1" + CSV + b"PAR1")
    )


@schemathesis.serializer(*FILES)
def as_it_is(_: object, value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode(errors="replace")


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    settings = Settings(home=tmp_path_factory.mktemp("fuzz"), retailers=ROOT / "include" / "retailers")
    with probe_service.running(settings, environment={"MARKETDAY_DELIVERY_RATE": "0"}) as service:
        yield service


def fuzz(service, examples: int) -> int:
    """Send requests to every operation, and as many that break its description; return how many it were in all."""
    schema = schemathesis.openapi.from_url(f"{service.url}/openapi.json")
    sent = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        for mode in schemathesis.GenerationMode:
            sent += _fuzzed(operation, mode, examples)
    return sent


def _fuzzed(operation: schemathesis.APIOperation, mode: schemathesis.GenerationMode, examples: int) -> int:
    sent = 0

    @given(case=operation.as_strategy(generation_mode=mode), sensible=st.integers(0, 3))
    @hypothesis.settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    def send(case: schemathesis.Case, sensible: int) -> None:
        nonlocal sent
        if sensible:
            case.path_parameters = {
                name: SENSIBLE.get(name, given) for name, given in (case.path_parameters or {}).items()
            }
        if "wait" in (case.query or {}):
            case.query["wait"] = "0.01"  # nobody waits for a minute here
        answer = case.call()
        sent += 1
        assert answer.status_code < 500, (case.as_curl_command(), answer.text)

    try:
        send()
    except hypothesis.errors.Unsatisfiable:
        assert mode.is_negative, f"nothing can be sent to {operation.label}"  # of a route that takes nothing
    return sent


def test_no_request_of_some_hundred_makes_the_api_fail(service):
    assert fuzz(service, examples=4) > 100


@pytest.mark.slow
def test_no_request_of_thousands_makes_the_api_fail(service):
    assert fuzz(service, examples=100) > 2000
