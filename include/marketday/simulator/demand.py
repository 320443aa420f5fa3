"""True demand, and the sales that stock allowed: a recursion over days from the world's first day."""

import datetime as dt
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
import polars as pl

from marketday.simulator.conditions import event_effect, shelf, weather
from marketday.simulator.world import DEPARTMENTS, FIRST_DAY, SEED, SUPPLIERS, Flags, Reals, World, build, number_of

_DEMAND, _SUPPLY = 11, 12  # subjects of random generators
_AHEAD_DAYS = 14  # no order arrives later than this
_FIRST_STOCK_DAYS = 7
_SMOOTHING = 0.08  # of the old ordering system's running mean of sales
_SAFETY = 1.2  # its order-up-to level over the expected sales of the covered days
_REVIEW_DAYS = 2
_PROMOTION_EFFECT = np.array([0.0, 0.15, 0.35, 0.25])  # on log demand beside the price's; by PROMOTION_KINDS


class Day(NamedTuple):
    """One closed day, one value per series."""

    listed: Flags
    mean: Reals
    demand: Reals
    sales: Reals
    on_hand: Reals
    on_order: Reals
    stockout_share: Reals


def listed(world: World, day: dt.date) -> Flags:
    """Return which series are on sale."""
    number = number_of(day)
    return ((world.launched <= number) & (number < world.delisted))[world.product]


def mean_demand(world: World, day: dt.date) -> Reals:
    """Return the expected demand of every series, (S,): an ordinary day's rate times the effects of the day."""
    age = number_of(day) - world.launched[world.product]
    newness = np.where(world.launched[world.product] > 0, np.log1p(-0.8 * np.exp(-np.maximum(age, 0) / 12)), 0.0)
    temperature, precipitation = weather(world, day)
    offer = shelf(world, day)
    effects = _department_effects(day)[world.department[world.product]]
    warmth, rain = (_per_department(name)[world.department[world.product]] for name in ("warmth", "rain"))
    log_mean = (
        effects
        + newness
        + warmth * (temperature[world.location] - 10) / 10
        + rain * np.minimum(precipitation[world.location], 20) / 10
        + world.elasticity[world.product] * np.log(offer.price / world.base_price[world.product])
        + _PROMOTION_EFFECT[offer.promotion]
        + event_effect(world, day)[world.location]
    )
    mean: Reals = world.rate * np.exp(log_mean)
    return mean


class Simulation:
    """Days of one world, carried out in order and kept; asking for a day carries out those before it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._days: list[Day] = []
        pack = world.pack_size[world.product]
        self._on_hand = np.ceil(_FIRST_STOCK_DAYS * world.rate / pack) * pack
        self._on_hand[world.launched[world.product] > 0] = 0.0
        self._arriving = np.zeros((_AHEAD_DAYS, len(world.product)))
        self._usual_sales = world.rate.copy()

    def day(self, day: dt.date) -> Day:
        """Return a day of the simulation."""
        while len(self._days) <= number_of(day):
            self._days.append(self._next(FIRST_DAY + dt.timedelta(len(self._days))))
        return self._days[number_of(day)]

    def _next(self, day: dt.date) -> Day:
        world = self.world
        arrived = np.where(_failed(world, day), 0.0, self._arriving[0])
        self._arriving = np.vstack([self._arriving[1:], np.zeros(len(world.product))])
        on_sale = listed(world, day)
        mean = np.where(on_sale, mean_demand(world, day), 0.0)
        demand = _draw(world, day, mean)
        available = self._on_hand + arrived
        sales = np.minimum(demand, available)
        # Customers come evenly over the day, so stock for a share of the demand lasts for that share of the day.
        share = np.where(demand > available, 1 - sales / np.maximum(demand, 1e-9), np.where(available <= 0, 1.0, 0.0))
        gone = number_of(day) + 1 >= world.delisted[world.product]
        self._on_hand = np.where(gone, 0.0, available - sales).round(3)
        self._usual_sales = np.where(
            on_sale, (1 - _SMOOTHING) * self._usual_sales + _SMOOTHING * sales, self._usual_sales
        )
        self._order(day)
        return Day(on_sale, mean, demand, sales, self._on_hand, self._arriving.sum(axis=0), share)

    def _order(self, day: dt.date) -> None:
        """Order as the retailer's old system does: up to a level, in whole packs, not on Sundays."""
        world = self.world
        if day.isoweekday() == 7:
            return
        number = number_of(day)
        offset = np.array([_days_to_arrival(v, day) for v in range(len(SUPPLIERS))])[world.supplier][world.product]
        wanted = ((world.launched - 7 <= number) & (number + offset.max() < world.delisted))[world.product]
        position = self._on_hand + self._arriving.sum(axis=0)
        target = self._usual_sales * (offset + _REVIEW_DAYS) * _SAFETY + np.minimum(world.rate, 1.0)
        pack = world.pack_size[world.product]
        quantity = np.where(wanted, np.ceil(np.maximum(target - position, 0) / pack) * pack, 0.0)
        # Row 0 is tomorrow, today having been taken off.
        self._arriving[offset - 1, np.arange(len(offset))] += quantity


@lru_cache(maxsize=4)
def simulation(world: World) -> Simulation:
    """Return the one simulation of a world."""
    return Simulation(world)


def true_demand(day: dt.date, seed: int = SEED) -> pl.DataFrame:
    """Return what nobody in the simulated world can see: the demand of a day, also where stock ran out.

    Columns: location_id, product_id, day, mean (expected), demand (drawn), sales (what stock allowed).
    """
    world = build(seed)
    closed = simulation(world).day(day)
    return world.series.with_columns(
        day=pl.lit(day), mean=pl.Series(closed.mean), demand=pl.Series(closed.demand), sales=pl.Series(closed.sales)
    ).filter(pl.Series(closed.listed))


def _draw(world: World, day: dt.date, mean: Reals) -> Reals:
    """Draw demand: negative binomial (a Poisson whose rate is gamma) for pieces, gamma for weight."""
    rng = world.generator(number_of(day), _DEMAND)
    drawn = rng.gamma(1 / world.dispersion, world.dispersion * mean)
    return np.where(world.by_weight, drawn.round(3), rng.poisson(drawn).astype(np.float64))


def _failed(world: World, day: dt.date) -> Flags:
    rng = world.generator(number_of(day), _SUPPLY)
    failed = rng.random(len(SUPPLIERS)) < np.array([supplier.failure for supplier in SUPPLIERS])
    return failed[world.supplier][world.product]


def _days_to_arrival(supplier: int, ordered: dt.date) -> int:
    terms = SUPPLIERS[supplier]
    ahead = range(terms.lead_time, terms.lead_time + 7)
    return next(n for n in ahead if str((ordered + dt.timedelta(n)).isoweekday()) in terms.weekdays)


@cache
def _per_department(name: str) -> Reals:
    return np.array([getattr(department, name) for department in DEPARTMENTS], dtype=np.float64)


def _department_effects(day: dt.date) -> Reals:
    """Return weekday and season, (departments,)."""
    through_week = (-0.5, -0.45, -0.35, -0.1, 0.4, 0.5, -0.3)[day.weekday()]
    yearly = np.cos(2 * np.pi * (day.timetuple().tm_yday - 197) / 365.25)
    effects: Reals = _per_department("weekend") * through_week + _per_department("season") * yearly
    return effects
