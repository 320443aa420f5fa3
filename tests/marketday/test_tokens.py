"""Retailers' tokens: made, replaced and revoked, kept as hashes, known to the service within seconds."""

import asyncio
import datetime as dt
import hashlib
import re
import sqlite3
import threading
from collections import Counter

import pytest
import throwaway_postgres

from marketday import secrets
from marketday.errors import ServiceError, ServiceUnavailable
from marketday.service import known_tokens, migrations
from marketday.service.database import engine
from marketday.service.known_tokens import FRESH_SECONDS, KnownTokens
from marketday.service.rate import Rate
from marketday.service.tokens import TokenStore

NOW = dt.datetime(2026, 3, 2, 4, 0, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request, tmp_path):
    """A migrated database of each kind."""
    if request.param == "sqlite":
        yield from opened(f"sqlite:///{tmp_path / 'jobs.db'}")
    else:
        with throwaway_postgres.running() as url:
            yield from opened(url)


@pytest.fixture
def on_file(tmp_path):
    yield from opened(f"sqlite:///{tmp_path / 'jobs.db'}")


def opened(url):
    migrations.migrate(url)
    database = engine(url)
    yield TokenStore(database)
    database.dispose()


def test_tokens_are_made_replaced_and_revoked_each_for_its_retailer_and_label(store):
    first, shown = store.create("corner", "till", now=NOW)
    other, _ = store.create("corner", "office", now=NOW, expires=NOW + 3 * HOUR)
    elsewhere, _ = store.create("mall", "till", now=NOW)
    assert re.fullmatch(r"mdt_[\w-]{43}", shown)
    assert first.hash == hashlib.sha256(shown.encode()).hexdigest()
    with pytest.raises(ServiceError, match="has a valid token labelled 'till'") as refused:
        store.create("corner", "till", now=NOW)
    assert "token rotate corner --label till" in refused.value.hint

    second, _ = store.rotate("corner", "till", now=NOW, overlap=24 * HOUR)
    assert {token.id: token.expires for token in store.all("corner")} == {
        first.id: NOW + 24 * HOUR,
        second.id: None,
        other.id: other.expires,
    }
    third, _ = store.rotate("corner", "till", now=NOW + HOUR, overlap=24 * HOUR)
    expiries = {token.id: token.expires for token in store.all("corner")}
    assert expiries[first.id] == NOW + 24 * HOUR, "nothing lives longer for being replaced again"
    assert expiries[second.id] == NOW + 25 * HOUR

    assert {token.id for token in store.valid(NOW + 24 * HOUR)} == {second.id, third.id, elsewhere.id}
    with pytest.raises(ServiceError, match="corner has no token nobody") as refused:
        store.revoke("corner", ["nobody", third.id], now=NOW)
    assert third.id in refused.value.hint
    with pytest.raises(ServiceError, match=f"mall has no token {third.id}"):
        store.revoke("mall", [third.id], now=NOW)
    assert third.id in {token.id for token in store.valid(NOW)}, "all or nothing"
    (revoked,) = store.revoke("corner", [third.id], now=NOW)
    assert store.revoke("corner", [third.id], now=NOW + HOUR) == [revoked], "twice is as once"
    assert third.id not in {token.id for token in store.valid(NOW)}
    assert store.retailers() == {"corner", "mall"}


def test_without_a_valid_token_there_is_nothing_to_replace(on_file):
    made, _ = on_file.create("corner", "till", now=NOW, expires=NOW + HOUR)
    on_file.create("corner", "office", now=NOW)
    for label, now in (("tills", NOW), ("till", NOW + HOUR)):
        with pytest.raises(ServiceError, match=f"no valid token labelled '{label}', but office"):
            on_file.rotate("corner", label, now=now, overlap=HOUR)
    assert [token.expires for token in on_file.all("corner") if token.id == made.id] == [NOW + HOUR]
    replaced, _ = on_file.rotate("corner", "office", now=NOW, overlap=0 * HOUR)
    assert [token.id for token in on_file.valid(NOW)] == [replaced.id, made.id], "without overlap it ends at once"


def test_the_database_has_no_token(on_file, tmp_path):
    _, shown = on_file.create("corner", "till", now=NOW)
    with sqlite3.connect(tmp_path / "jobs.db") as database:
        assert shown not in "\n".join(database.iterdump())
        assert hashlib.sha256(shown.encode()).hexdigest() in "\n".join(database.iterdump())


def test_a_token_is_masked_wherever_it_is_written_though_nobody_has_learnt_it(on_file):
    _, shown = on_file.create("corner", "till", now=NOW)
    for text in (f"got {shown}!", f'{{"shown": "{shown}"}}', f"https://host/x?{shown}", f"b'{shown}'", f"x_{shown}"):
        assert shown[4:] not in secrets.redact(text)
        assert "mdt_***" in secrets.redact(text)


class Counted(TokenStore):
    """Counts what the database is asked."""

    def __init__(self, store):
        super().__init__(store._engine)
        self.asked = Counter()

    def valid(self, now):
        self.asked["valid"] += 1
        return super().valid(now)

    def note_use(self, token_id, now):
        self.asked["note_use"] += 1
        super().note_use(token_id, now)


class Clock:
    """Seconds that pass when the test says so, and the instant that goes with them."""

    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        return self.seconds

    def now(self):
        return NOW + dt.timedelta(seconds=self.seconds)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def counted(on_file):
    return Counted(on_file)


@pytest.fixture
def holder(counted, clock):
    """Whose a token is, as the service knows it."""
    known = KnownTokens(counted, clock=clock, now=clock.now)
    return lambda shown: asyncio.run(known.holder(shown))


def test_a_revocation_takes_effect_within_seconds_and_requests_do_not_ask_the_database_each(counted, clock, holder):
    made, shown = counted.create("corner", "till", now=NOW)
    assert [holder(shown) for _ in range(100)] == ["corner"] * 100
    assert counted.asked["valid"] == 1
    counted.revoke("corner", [made.id], now=NOW)
    clock.seconds = FRESH_SECONDS
    assert holder(shown) == "corner"
    clock.seconds = FRESH_SECONDS + 0.01
    assert holder(shown) is None


def test_an_expiry_takes_effect_at_its_instant(counted, clock, holder):
    _, shown = counted.create("corner", "till", now=NOW, expires=NOW + dt.timedelta(seconds=2))
    clock.seconds = 1.9
    assert holder(shown) == "corner"
    clock.seconds = 2.0
    assert holder(shown) is None


def test_a_new_token_works_after_a_second_and_guesses_ask_the_database_no_oftener(counted, clock, holder):
    assert holder("mdt_" + 43 * "x") is None
    _, shown = counted.create("corner", "till", now=NOW)
    clock.seconds = 1.0
    assert [holder("mdt_" + 43 * "x") for _ in range(100)] == [None] * 100
    clock.seconds = 1.01
    assert holder(shown) == "corner"
    assert counted.asked["valid"] == 2
    assert holder("what is no token at all") is None
    assert counted.asked["valid"] == 2


def test_every_valid_hash_is_compared_in_constant_time(counted, holder, monkeypatch):
    tokens = [counted.create("corner", str(label), now=NOW) for label in range(4)]
    compared = []

    def compare(known, shown):
        compared.append((known, shown))
        return known == shown

    monkeypatch.setattr(known_tokens.secrets, "compare_digest", compare)
    made, shown = tokens[0]
    assert holder(shown) == "corner"
    assert compared == [(each.hash, made.hash) for each, _ in tokens]


def test_the_last_use_is_noted_to_the_hour(counted, clock, holder):
    made, shown = counted.create("corner", "till", now=NOW)
    for clock.seconds in (0.0, 10.0, 3599.0, 3600.0, 3610.0):
        holder(shown)
    assert counted.asked["note_use"] == 2
    (token,) = counted.all("corner")
    assert (token.id, token.last_used) == (made.id, NOW + HOUR)


def test_many_who_come_at_once_share_one_look_into_the_database(counted, clock):
    _, shown = counted.create("corner", "till", now=NOW)
    known = KnownTokens(counted, clock=clock, now=clock.now)

    async def all_at_once():
        return await asyncio.gather(*[known.holder(shown) for _ in range(50)])

    assert asyncio.run(all_at_once()) == ["corner"] * 50
    assert counted.asked["valid"] == 1


def test_a_database_that_is_away_lets_nobody_in_once_the_copy_is_old(clock):
    away = TokenStore(engine("postgresql://marketday@127.0.0.1:9/jobs"))
    known = KnownTokens(away, clock=clock, now=clock.now)
    for _ in range(2):
        with pytest.raises(ServiceUnavailable, match="does not answer"):
            asyncio.run(known.holder("mdt_" + 43 * "x"))


def test_a_rate_allows_so_many_a_minute_at_once_or_spread_and_says_when_the_next_may_come(clock):
    rate = Rate(30, clock)
    assert [rate.wait("corner") for _ in range(30)] == [0.0] * 30
    assert rate.wait("corner") == pytest.approx(2.0)
    assert rate.wait("mall") == 0.0, "everybody has his own"
    clock.seconds = 1.5
    assert rate.wait("corner") == pytest.approx(0.5), "to ask in vain costs nothing"
    clock.seconds = 2.0
    assert rate.wait("corner") == 0.0
    assert rate.wait("corner") > 0.0
    clock.seconds = 3600.0
    assert sum(rate.wait("corner") == 0.0 for _ in range(100)) == 30, "nobody saves up more than a minute's"
    assert {Rate(0, clock).wait("corner") for _ in range(1000)} == {0.0}


def test_a_rate_remembers_a_bounded_number(clock):
    rate = Rate(1, clock)
    for number in range(20_000):
        rate.wait(str(number))
    assert len(rate._buckets) == 10_000
    assert rate.wait("19999") > 0.0


def test_two_who_replace_the_same_token_at_once_leave_both_of_theirs_valid(on_file):
    on_file.create("corner", "till", now=NOW)
    made = []

    def rotate():
        made.append(on_file.rotate("corner", "till", now=NOW, overlap=HOUR)[0].id)

    threads = [threading.Thread(target=rotate) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 4
    assert set(made) <= {token.id for token in on_file.valid(NOW)}
