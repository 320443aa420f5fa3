"""What never changes in the simulated world: stores, products, suppliers, and what an ordinary day sells."""

import datetime as dt
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

Reals = NDArray[np.float64]
Indices = NDArray[np.int64]
Flags = NDArray[np.bool_]

FIRST_DAY = dt.date(2024, 1, 1)
SEED = 7


class Store(NamedTuple):
    """A store; ``size`` multiplies its sales, ``assortment`` is the share of products that it lists."""

    name: str
    region: str
    size: float
    assortment: float


class Department(NamedTuple):
    """A department and how its sales move. Effects are on the logarithm of demand."""

    category: str
    name: str
    unit: str
    shelf_life: int
    units: float
    """Typical sales of a product per day in a store of size 1."""
    price: float
    weekend: float
    """Saturday against Monday."""
    season: float
    """Amplitude over the year, with its peak in mid July; negative: in mid January."""
    warmth: float
    """Per 10 °C above 10 °C."""
    rain: float
    """Per 10 mm."""
    products: tuple[str, ...]


class Supplier(NamedTuple):
    """A supplier's terms: days from order to arrival, ISO weekdays of arrival, chance that a delivery fails."""

    name: str
    lead_time: int
    weekdays: str
    failure: float
    minimum_packs: int


STORES = (
    Store("Berlin Mitte", "Berlin", 1.6, 1.0),
    Store("Berlin Spandau", "Berlin", 0.9, 0.95),
    Store("Köln Ehrenfeld", "Rheinland", 1.2, 1.0),
    Store("Bonn Zentrum", "Rheinland", 0.7, 0.9),
    Store("München Ost", "Bayern", 1.3, 1.0),
    Store("Garmisch", "Bayern", 0.4, 0.85),
)

DEPARTMENTS = (
    Department("fresh", "fruit", "weight", 5, 14, 2.9, 0.35, 0.20, 0.06, -0.05,
               ("Bananas", "Apples", "Oranges", "Grapes", "Strawberries")),
    Department("fresh", "vegetables", "weight", 6, 9, 2.2, 0.30, 0.10, 0.02, -0.04,
               ("Tomatoes", "Carrots", "Potatoes", "Onions", "Asparagus")),
    Department("fresh", "bread", "pieces", 2, 30, 1.6, 0.25, 0.00, -0.03, -0.08,
               ("Rolls", "Rye bread", "Baguette", "Croissant", "Gluten-free bread")),
    Department("fresh", "meat", "weight", 4, 5, 9.5, 0.55, 0.05, 0.05, -0.05,
               ("Minced beef", "Chicken breast", "Pork steak", "Bratwurst", "Veal")),
    Department("chilled", "milk", "pieces", 12, 26, 1.3, 0.15, 0.00, 0.00, -0.02,
               ("Whole milk", "Low-fat milk", "Butter", "Cream", "Goat milk")),
    Department("chilled", "yoghurt", "pieces", 18, 11, 0.9, 0.15, 0.05, 0.04, -0.02,
               ("Plain yoghurt", "Fruit yoghurt", "Quark", "Skyr", "Soy yoghurt")),
    Department("chilled", "cheese", "pieces", 30, 6, 2.7, 0.30, -0.05, -0.02, 0.00,
               ("Gouda", "Mozzarella", "Feta", "Camembert", "Manchego")),
    Department("drinks", "water and juice", "pieces", 365, 18, 1.2, 0.30, 0.15, 0.16, -0.06,
               ("Still water", "Sparkling water", "Orange juice", "Apple juice", "Iced tea")),
    Department("drinks", "beer", "pieces", 180, 10, 4.9, 0.65, 0.10, 0.12, -0.08,
               ("Pilsner", "Wheat beer", "Lager", "Alcohol-free beer", "Stout")),
    Department("frozen", "ice cream", "pieces", 365, 4, 3.5, 0.35, 0.45, 0.30, -0.12,
               ("Vanilla ice", "Chocolate ice", "Ice lollies", "Sorbet", "Vegan ice")),
    Department("dry", "pantry", "pieces", 540, 3, 1.9, 0.25, -0.15, -0.04, 0.03,
               ("Spaghetti", "Rice", "Canned tomatoes", "Chicken soup", "Capers")),
    Department("dry", "household", "pieces", 720, 0.8, 4.2, 0.30, 0.00, 0.00, 0.02,
               ("Washing powder", "Dish soap", "Candles", "Light bulbs", "Shoe polish")),
)  # fmt: skip

SUPPLIERS = (
    Supplier("Fresh & Co", 1, "123456", 0.01, 1),
    Supplier("Bakery Nord", 1, "1234567", 0.01, 1),
    Supplier("Dairy Union", 2, "1246", 0.02, 1),
    Supplier("Drinks Express", 2, "25", 0.03, 2),
    Supplier("Central Warehouse", 3, "36", 0.03, 1),
)
_SUPPLIER_OF = {"fresh": 0, "chilled": 2, "drinks": 3, "frozen": 4, "dry": 4}

# Launches and delistings: product number → days after the first day.
_LAUNCHES = {4: 96, 18: 250, 34: 330, 44: 140, 49: 455, 54: 400}
_DELISTINGS = {23: 300, 39: 380, 58: 470}
NEVER = 10**6


@dataclass(frozen=True, eq=False)
class World:
    """The static world. A series is a product in a store that lists it; S series, P products, sorted by their ids."""

    seed: int
    products: pl.DataFrame
    locations: pl.DataFrame
    suppliers: pl.DataFrame
    offers: pl.DataFrame
    """A row per supplier and product: ``cost`` on the first day and the terms."""
    series: pl.DataFrame
    """``location_id`` and ``product_id`` of the S series."""
    location: Indices
    """(S,) index into ``locations``."""
    product: Indices
    """(S,) index into ``products``."""
    department: Indices
    """(P,) index into ``DEPARTMENTS``."""
    supplier: Indices
    """(P,) index of the main supplier."""
    launched: Indices
    """(P,) days after the first day."""
    delisted: Indices
    """(P,) days after the first day; ``NEVER`` where it stays."""
    base_price: Reals
    """(P,) price on the first day."""
    elasticity: Reals
    """(P,) change of log demand per log price."""
    pack_size: Reals
    """(P,) units per pack of the main supplier."""
    rate: Reals
    """(S,) units on an ordinary day."""
    dispersion: Reals
    """(S,) pieces: variance = mean + dispersion x mean^2; weight: variance = dispersion x mean^2."""
    by_weight: Flags
    """(S,) whether it is weighed."""

    def generator(self, *subject: int) -> np.random.Generator:
        """Return the random generator of a subject, such as (day, what)."""
        return np.random.default_rng([self.seed, *subject])


def number_of(day: dt.date) -> int:
    """Return the days from the first day of the world to ``day``."""
    return (day - FIRST_DAY).days


@lru_cache(maxsize=4)
def build(seed: int = SEED) -> World:
    """Draw the world of a seed."""
    rng = np.random.default_rng([seed])
    names = [name for department in DEPARTMENTS for name in department.products]
    department = np.array([d for d, group in enumerate(DEPARTMENTS) for _ in group.products])
    groups = [DEPARTMENTS[d] for d in department]
    count = len(names)
    supplier = np.array([1 if group.name == "bread" else _SUPPLIER_OF[group.category] for group in groups])
    # Within a department sales fall from the first product to the last, down to one in twenty days.
    rank = np.array([group.products.index(name) for group, name in zip(groups, names, strict=True)])
    units = np.array([group.units for group in groups]) * np.exp(0.8 - 0.65 * rank + rng.normal(0, 0.25, count))
    base_price = _shelf_price(np.array([group.price for group in groups]) * np.exp(rng.normal(0, 0.3, count)))
    by_weight = np.array([group.unit == "weight" for group in groups])
    pack_size = np.where(by_weight, rng.choice([2.5, 5.0], count), rng.choice([6.0, 8.0, 12.0], count))
    pack_size = np.where(~by_weight & (units < 2), 3.0, pack_size)
    launched = np.array([_LAUNCHES.get(p, 0) for p in range(count)])
    delisted = np.array([_DELISTINGS.get(p, NEVER) for p in range(count)])
    product_ids = [f"P{p + 1:03d}" for p in range(count)]
    location_ids = [f"S{s + 1:02d}" for s in range(len(STORES))]
    assortment = np.array([store.assortment for store in STORES])
    location, product = np.nonzero(rng.random((len(STORES), count)) < assortment[:, None])
    size = np.array([store.size for store in STORES])
    rate = np.maximum(units[product] * size[location] * np.exp(rng.normal(0, 0.2, len(product))), 0.05)
    return World(
        seed=seed,
        products=pl.DataFrame(
            {
                "product_id": product_ids,
                "name": names,
                "category": [group.category for group in groups],
                "department": [group.name for group in groups],
                "unit": [group.unit for group in groups],
                "supplier_id": [f"V{s + 1}" for s in supplier],
                "launched": [FIRST_DAY + dt.timedelta(int(n)) if n else None for n in launched],
                "delisted": [FIRST_DAY + dt.timedelta(int(n)) if n < NEVER else None for n in delisted],
                "shelf_life": [group.shelf_life for group in groups],
            },
            schema_overrides={"shelf_life": pl.Int32},
        ),
        locations=pl.DataFrame(
            {"location_id": location_ids, "name": [s.name for s in STORES], "region": [s.region for s in STORES]}
        ),
        suppliers=pl.DataFrame(
            {"supplier_id": [f"V{v + 1}" for v in range(len(SUPPLIERS))], "name": [s.name for s in SUPPLIERS]}
        ),
        offers=_offers(product_ids, supplier, base_price, pack_size),
        series=pl.DataFrame(
            {"location_id": [location_ids[s] for s in location], "product_id": [product_ids[p] for p in product]}
        ),
        location=location,
        product=product,
        department=department,
        supplier=supplier,
        launched=launched,
        delisted=delisted,
        base_price=base_price,
        elasticity=rng.uniform(-2.5, -0.8, count),
        pack_size=pack_size,
        rate=rate,
        dispersion=np.where(by_weight[product], 0.15, rng.uniform(0.1, 0.4, len(product))),
        by_weight=by_weight[product],
    )


def _shelf_price(price: Reals) -> Reals:
    """Round to the nearest price that ends in 9 cents."""
    return np.maximum(np.round(price * 10) / 10 - 0.01, 0.09).round(2)


def _offers(product_ids: list[str], supplier: Indices, base_price: Reals, pack_size: Reals) -> pl.DataFrame:
    """Return the main suppliers' offers, and for every fourth product a dearer one from the central warehouse."""
    central = len(SUPPLIERS) - 1
    main = [(p, int(v), 0.62) for p, v in enumerate(supplier)]
    second = [(p, central, 0.68) for p, v in enumerate(supplier) if p % 4 == 0 and v != central]
    rows = [
        {
            "supplier_id": f"V{v + 1}",
            "product_id": product_ids[p],
            "cost": round(float(base_price[p]) * share, 2),
            "pack_size": float(pack_size[p]),
            "minimum_packs": SUPPLIERS[v].minimum_packs,
            "lead_time": SUPPLIERS[v].lead_time,
            "delivery_weekdays": SUPPLIERS[v].weekdays,
        }
        for p, v, share in main + second
    ]
    return pl.DataFrame(rows, schema_overrides={"minimum_packs": pl.Int32, "lead_time": pl.Int32})
