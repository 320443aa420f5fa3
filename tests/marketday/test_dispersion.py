"""What the width of a forecast promises: from what the series shows, from its like where it shows nothing."""

import datetime as dt
import json

import numpy as np
import polars as pl
import pytest

from marketday.distributions import overall_dispersion
from marketday.models.dispersion import Dispersion, days_missed, own_spread
from marketday.models.rows import Rows
from marketday.scoring import coverage, randomised_pit
from marketday.tables import RECENT_DAYS

DAYS = 28
ORIGIN = dt.date(2026, 3, 1)


def rows_of(recent: np.ndarray, family: str = "negative_binomial") -> Rows:
    """Return the rows of four weeks of series with this recent demand; what else they are does not matter here."""
    series = np.repeat(np.arange(len(recent)), DAYS)
    ahead = np.tile(np.arange(1, DAYS + 1), len(recent))
    frame = pl.DataFrame({"day": [ORIGIN + dt.timedelta(days=int(h)) for h in ahead]})
    return Rows(frame, series, ahead, recent.astype(np.float32), np.full(len(recent), family))


def shop(seed: int, *, common: float = 0.0, series: int = 800) -> tuple[Rows, np.ndarray, np.ndarray]:
    """Return rows, means and actuals of series of any pace; wide ones are slow, and a tenth has an empty shelf."""
    random = np.random.default_rng(seed)
    pace = np.exp(random.uniform(np.log(0.2), np.log(20.0), series))
    dispersion = 0.8 * pace**-0.4 * random.choice([0.5, 1.5], series)
    empty = random.random(series) < 0.1

    def draw(days: int, level: np.ndarray) -> np.ndarray:
        own = ((dispersion - common * dispersion) / (1 + common * dispersion))[:, None]
        mean = (pace * level)[:, None] * np.ones(days)
        return random.negative_binomial(1 / own, 1 / (1 + own * mean)).astype(float)

    recent = draw(RECENT_DAYS, np.ones(series))
    recent[empty, -21:] = 0.0
    share = common * dispersion
    level = random.gamma(1 / share, share) if common else np.ones(series)
    actual = np.where(empty[:, None] & (random.random((series, DAYS)) < 0.6), 0.0, draw(DAYS, level))
    mean = np.where(empty, 0.4, 1.0)[:, None] * pace[:, None] * np.ones(DAYS)
    return rows_of(recent), mean.ravel(), actual.ravel()


def test_a_width_fitted_to_held_out_days_covers_the_days_to_come_in_every_velocity_class():
    fitted = Dispersion.fit(*shop(1))
    rows, mean, actual = shop(2)
    found = fitted.predict(rows, mean)
    pit = randomised_pit(actual, mean, found.dispersion, "negative_binomial", found.zero_share)
    nominal = np.array([0.5, 0.67, 0.95, 0.99])
    for low, high in ((0.0, 0.5), (0.5, 5.0), (5.0, np.inf)):
        mine = (mean >= low) & (mean < high)
        assert coverage(pit[mine], nominal) == pytest.approx(nominal, abs=0.04)
    assert json.loads(json.dumps(fitted.to_dict())) == fitted.to_dict()


def test_an_empty_shelf_has_more_surplus_zeros_than_one_that_sells():
    rows, mean, _ = shop(1)
    missed = days_missed(rows.recent)[rows.series] >= 21
    zeros = Dispersion.fit(*shop(1)).predict(rows, mean).zero_share
    assert zeros[missed & (mean > 2.0)].mean() > 0.3
    assert zeros[~missed & (mean > 2.0)].mean() < 0.1


def test_the_share_that_days_have_in_common_is_found_again():
    apart, together = (Dispersion.fit(*shop(3, common=share, series=3000)) for share in (0.0, 0.5))
    for name in ("negative_binomial|3", "negative_binomial|4"):
        assert together.common[name] == pytest.approx(0.5, abs=0.15)
        assert apart.common[name] < 0.1
    assert all(0.0 <= share <= 1.0 for share in together.common.values())


@pytest.mark.parametrize("family", ["negative_binomial", "gamma"])
def test_a_series_without_history_has_the_width_of_its_like_and_more_and_days_in_common_too(family):
    random = np.random.default_rng(4)
    demand = random.gamma(2.0, 2.0, (2, RECENT_DAYS))
    demand = np.round(demand) if family == "negative_binomial" else demand
    demand[1] = np.nan
    rows = rows_of(demand, family)
    found = Dispersion().predict(rows, np.full(2 * DAYS, 4.0))
    known, new = found.dispersion[:DAYS], found.dispersion[DAYS:]
    assert (new > 1.3 * known).all()
    assert (new < 8.0 * known).all()
    assert (found.common_dispersion[DAYS:] > found.common_dispersion[:DAYS]).all()
    assert (found.zero_share[DAYS:] < 0.3).all()


def test_what_is_predicted_is_sound_for_any_mean_and_history():
    recent = np.full((4, RECENT_DAYS), np.nan)
    recent[1], recent[2], recent[3, -1] = 0.0, 1e5, 3.0
    for family in ("negative_binomial", "gamma"):
        rows = rows_of(recent, family)
        for level in (0.0, 1e-6, 1.0, 1e6):
            found = Dispersion().predict(rows, np.full(4 * DAYS, level))
            overall = overall_dispersion(found.dispersion, found.zero_share)
            assert np.isfinite(overall).all()
            assert ((found.zero_share >= 0.0) & (found.zero_share < 1.0)).all()
            assert ((found.common_dispersion >= 0.0) & (found.common_dispersion <= overall)).all()


def test_own_spread_is_the_variance_beyond_the_mean_weighted_to_the_present_and_shrunk_to_the_usual():
    recent = np.full((2, RECENT_DAYS), np.nan)
    recent[0, -28:] = [0.0, 8.0] * 14
    found, days = own_spread(recent, "negative_binomial", np.array([1.0, 4.0]))
    weight = 0.97 ** np.arange(27, -1, -1)
    average = (weight * recent[0, -28:]).sum() / weight.sum()
    excess = (weight * ((recent[0, -28:] - average) ** 2)).sum() - weight.sum() * average
    usual = 0.8 * average**-0.5
    assert found[0] == pytest.approx((excess / average**2 + 14 * usual) / (weight.sum() + 14))
    assert found[1] == pytest.approx(0.8 * 4.0**-0.5)
    assert days == pytest.approx([weight.sum(), 0.0])


def test_missed_days_are_the_known_ones_since_the_last_sale():
    recent = np.full((3, RECENT_DAYS), np.nan)
    recent[0, -6:] = [5.0, 0.0, np.nan, 0.0, 0.0, np.nan]
    recent[1, -3:] = 0.0
    assert days_missed(recent).tolist() == [3.0, 3.0, 0.0]


def test_it_is_fitted_without_actuals_and_with_too_many_rows_to_learn_from(monkeypatch):
    rows, mean, actual = shop(1)
    unfitted = Dispersion.fit(rows, mean, np.full_like(actual, np.nan))
    assert (unfitted.spread, unfitted.zeros) == ({}, {})
    monkeypatch.setattr("marketday.models.dispersion.LEARNT_ROWS", 8000)
    part, whole = Dispersion.fit(rows, mean, actual), Dispersion.fit(rows, mean, actual)
    assert part == whole
    monkeypatch.undo()
    ratio = part.predict(rows, mean).dispersion / Dispersion.fit(rows, mean, actual).predict(rows, mean).dispersion
    assert np.median(ratio) == pytest.approx(1.0, abs=0.15)
