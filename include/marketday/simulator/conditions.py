"""What a day brings to the simulated stores: weather, events, prices and promotions."""

import datetime as dt
from functools import cache
from typing import NamedTuple

import holidays
import numpy as np
import polars as pl

from marketday.simulator.world import STORES, Reals, World, number_of

REGIONS = tuple(dict.fromkeys(store.region for store in STORES))
PROMOTION_KINDS = ("", "price", "leaflet", "display")

# Subjects of random generators.
_WEATHER, _FORECAST, _PRICE, _PROMOTION = 1, 2, 3, 4
_EPOCH = 1000  # keeps the numbers of days before the first day, whose weather lingers, from being negative
_MEMORY_DAYS = 12

_FESTIVAL_WEEK = {"S01": 21, "S02": 35, "S03": 7, "S04": 18, "S05": 38, "S06": 30}
"""ISO week of each store's local festival, Friday to Sunday."""


class Shelf(NamedTuple):
    """Prices and promotions of a day, one value per series."""

    price: Reals
    discount: Reals
    """Share off the regular price; 0 without promotion and for a display."""
    promotion: np.ndarray[tuple[int], np.dtype[np.int64]]
    """Index into ``PROMOTION_KINDS``; 0 is none."""


@cache
def weather(world: World, day: dt.date) -> tuple[Reals, Reals]:
    """Return the observed temperature in °C and precipitation in mm, both (locations,)."""
    number = number_of(day) + _EPOCH
    yearly = np.cos(2 * np.pi * (day.timetuple().tm_yday - 200) / 365.25)
    noise = sum(0.8**lag * _weather_noise(world, number - lag)[0] for lag in range(_MEMORY_DAYS))
    temperature = 10 + 9 * yearly + 2.2 * np.asarray(noise)
    precipitation = _weather_noise(world, number)[1]
    region = [REGIONS.index(store.region) for store in STORES]
    return temperature[region].round(1), precipitation[region].round(1)


def weather_forecast(world: World, issued: dt.date, day: dt.date) -> tuple[Reals, Reals]:
    """Return the forecast for ``day`` as issued on the morning of ``issued``; its error grows with the distance."""
    temperature, precipitation = weather(world, day)
    ahead = (day - issued).days + 1
    rng = world.generator(number_of(issued) + _EPOCH, _FORECAST, ahead)
    region = [REGIONS.index(store.region) for store in STORES]
    error = rng.normal(0, 0.4 + 0.25 * ahead, len(REGIONS))[region]
    missed = rng.random(len(REGIONS))[region] < min(0.03 * ahead, 0.5)
    rain = np.where(missed, np.where(precipitation > 0, 0.0, 3.0), precipitation)
    return (temperature + error).round(1), (rain * np.exp(rng.normal(0, 0.3, len(REGIONS))[region])).round(1)


@cache
def events(day: dt.date) -> tuple[tuple[str, str, str], ...]:
    """Return the day's events as (location or ``*``, name, kind)."""
    public = _public_holidays(day.year).get(day)
    found = [("*", public, "national")] if public else []
    if day == _payday(day):
        found.append(("*", "Payday", "payday"))
    _, week, weekday = day.isocalendar()
    if weekday >= 5:
        found += [(store, "City festival", "local") for store, festival in _FESTIVAL_WEEK.items() if festival == week]
    return tuple(found)


def event_effect(world: World, day: dt.date) -> Reals:
    """Return the events' effect on log demand, (locations,): short hours on holidays, crowds on their eve."""
    effect = np.zeros(len(STORES))
    if "national" in {kind for _, _, kind in events(day)}:
        effect -= 0.6
    elif "national" in {kind for _, _, kind in events(day + dt.timedelta(1))}:
        effect += 0.3
    if day in {_payday(day), _payday(day - dt.timedelta(1)) + dt.timedelta(1)}:
        effect += 0.1
    at_festival = {location for location, _, kind in events(day) if kind == "local"}
    return effect + 0.2 * world.locations["location_id"].is_in(list(at_festival)).to_numpy()


@cache
def shelf(world: World, day: dt.date) -> Shelf:
    """Return the day's prices and promotions; both are planned, so any later day can be asked for."""
    monday = day - dt.timedelta(day.weekday())
    week = max(number_of(monday) // 7, 0)
    products = len(world.base_price)
    change = np.prod([_price_change(world, w) for w in range(1, week + 1)], axis=0) * np.ones(products)
    regular = (world.base_price * change).round(2)
    rng = world.generator(week, _PROMOTION)
    promoted = (rng.random(products) < 0.08)[world.product] & (rng.random(len(world.product)) < 0.9)
    kind = rng.integers(1, len(PROMOTION_KINDS), products)
    share = np.where(kind == PROMOTION_KINDS.index("display"), 0.0, rng.choice([0.1, 0.15, 0.2, 0.3], products))
    discount = np.where(promoted, share[world.product], 0.0)
    price = np.maximum((regular[world.product] * (1 - discount)).round(2), 0.01)
    return Shelf(price, discount, np.where(promoted, kind[world.product], 0))


def weather_rows(world: World, first: dt.date, last: dt.date, issued: dt.date) -> pl.DataFrame:
    """Return the table `weather`: observed before ``issued``, its forecast from then on."""
    days = [first + dt.timedelta(n) for n in range((last - first).days + 1)]
    drawn = [weather(world, day) if day < issued else weather_forecast(world, issued, day) for day in days]
    frames = [
        world.locations.select(
            "location_id",
            pl.lit(day).alias("day"),
            pl.Series("temperature", temperature),
            pl.Series("precipitation", precipitation),
            pl.lit("observed" if day < issued else "forecast").alias("source"),
        )
        for day, (temperature, precipitation) in zip(days, drawn, strict=True)
    ]
    return pl.concat(frames)


def event_rows(first: dt.date, last: dt.date) -> pl.DataFrame:
    """Return the table `events`."""
    days = [first + dt.timedelta(n) for n in range((last - first).days + 1)]
    rows = [(location, day, name, kind) for day in days for location, name, kind in events(day)]
    schema = {"location_id": pl.String, "day": pl.Date, "name": pl.String, "kind": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


@cache
def _weather_noise(world: World, number: int) -> tuple[Reals, Reals]:
    rng = world.generator(number, _WEATHER)
    noise = rng.normal(0, 1, len(REGIONS))
    return noise, np.where(rng.random(len(REGIONS)) < 0.4, rng.gamma(0.8, 6.0, len(REGIONS)), 0.0)


@cache
def _price_change(world: World, week: int) -> Reals:
    rng = world.generator(week, _PRICE)
    count = len(world.base_price)
    return np.where(rng.random(count) < 0.025, np.exp(rng.normal(0.015, 0.04, count)), 1.0)


@cache
def _public_holidays(year: int) -> dict[dt.date, str]:
    return dict(holidays.country_holidays("DE", years=year, language="en_US"))


def _payday(day: dt.date) -> dt.date:
    """Return the last Monday-to-Friday of the day's month."""
    last = (day.replace(day=28) + dt.timedelta(4)).replace(day=1) - dt.timedelta(1)
    return last - dt.timedelta(max(last.isoweekday() - 5, 0))
