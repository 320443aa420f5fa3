"""Many at a time at the way in, and what the service says of its own mistakes: real HTTP, in this process."""

import contextlib
import http.client
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from probe_service import until
from served_shops import DAY, MINE, THEIRS, served

from marketday.service import intake
from marketday.service.uploads import counted
from marketday.tables import DELIVERED

SALES = b"location_id,product_id,day,units\nS01,P001,2026-03-01,2\n"


@pytest.fixture
def shop(tmp_path):
    with served(tmp_path, service_slots=1) as shop:
        yield shop


def put(shop, name, content=SALES, table="sales"):
    return shop.ask("PUT", f"/retailers/{name}/deliveries/{DAY}/{table}", shop.tokens[name], content=content)


def test_a_retailer_has_as_many_uploads_under_way_as_there_are_tables_and_no_more(shop):
    under_way = shop.app.state.under_way
    with contextlib.ExitStack() as uploads:
        for _ in DELIVERED:
            uploads.enter_context(counted(under_way, MINE))
        late = put(shop, MINE)
        assert (late.status_code, late.headers["Retry-After"]) == (503, "5")
        assert "uploads under way" in late.json()["detail"]
        assert put(shop, THEIRS).status_code == 200, "everybody has his own"
    assert put(shop, MINE).status_code == 200, "they have ended"
    assert not any(under_way.values())


def test_an_upload_that_breaks_off_or_is_refused_counts_no_more(shop):
    under_way = shop.app.state.under_way
    base = shop.http.base_url
    with contextlib.closing(http.client.HTTPConnection(base.host, base.port, timeout=30)) as connection:
        connection.putrequest("PUT", f"/retailers/{MINE}/deliveries/{DAY}/sales")
        connection.putheader("Authorization", f"Bearer {shop.tokens[MINE]}")
        connection.putheader("Content-Length", str(len(SALES)))
        connection.endheaders()
        assert until(lambda: under_way[MINE] == 1, 60)
    assert until(lambda: under_way[MINE] == 0, 60)
    assert put(shop, MINE, content=b"no table").status_code == 422
    assert under_way[MINE] == 0


def test_a_file_is_read_while_a_delivery_is_judged(shop, monkeypatch):
    judging, judged = threading.Event(), threading.Event()

    def judge(*_):
        judging.set()
        assert judged.wait(60)

    monkeypatch.setattr(intake, "judge", judge)
    assert put(shop, MINE).status_code == 200
    with ThreadPoolExecutor() as pool:
        path = f"/retailers/{MINE}/deliveries/{DAY}/complete?kind=daily"
        completed = pool.submit(shop.ask, "POST", path, shop.tokens[MINE])
        try:
            assert judging.wait(30)
            assert put(shop, THEIRS).status_code == 200
            assert not completed.done()
        finally:
            judged.set()
        assert completed.result().status_code == 200


def test_a_definition_with_a_mistake_is_no_fault_of_who_asks_and_shows_no_file_of_the_service(shop):
    (shop.settings.retailers / f"{MINE}.yaml").write_text("titel: a mistake\n")
    for answer in (put(shop, MINE), shop.ask("GET", f"/retailers/{MINE}/tables", shop.tokens[MINE])):
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "60")
        assert answer.json()["detail"].startswith(f"The definition of {MINE} has a mistake; whoever runs Marketday")
        assert str(shop.settings.retailers) not in answer.text
        assert "titel" not in answer.text
    assert put(shop, THEIRS).status_code == 200


def test_a_table_that_there_is_not_is_not_found_whatever_is_done_with_it(shop):
    for answer in (
        put(shop, MINE, table="forecasts"),
        shop.ask("GET", f"/retailers/{MINE}/tables/forecasts", shop.tokens[MINE]),
    ):
        assert answer.status_code == 404
        assert answer.json()["rule"] == "table"
        assert "sales" in answer.json()["error"]["hint"]
