"""Parts of the tests of orders: one store, a few products, terms, stock and sales by offsets from a Monday."""

import datetime as dt

import polars as pl

from marketday import orders
from marketday.tables import ORDERS
from marketday.warehouse import conform

DAY = dt.date(2025, 3, 31)  # a Monday


def on(offset: int) -> dt.date:
    return DAY + dt.timedelta(days=offset)


def forecast(
    means: list[float],
    *,
    first: int = 0,
    product: str = "milk",
    family: str = "negative_binomial",
    mode: str = "fresh",
    common: float = 0.0,
) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "location_id": "store_01",
            "product_id": product,
            "day": [on(first + n) for n in range(len(means))],
            "horizon": [first + n + 1 for n in range(len(means))],
            "mean": means,
            "dispersion": 0.3,
            "zero_share": 0.0,
            "common_dispersion": common,
            "family": family,
            "model": "lightgbm@1",
            "mode": mode,
        },
        schema_overrides={"mean": pl.Float64},
    )


def offer(*, product: str = "milk", supplier: str = "dairy", since: int = -30, **terms: object) -> dict[str, object]:
    usual = {"cost": 0.5, "pack_size": 6.0, "minimum_packs": 0, "lead_time": 2, "delivery_weekdays": ""}
    return {"supplier_id": supplier, "product_id": product, "day": on(since), **usual, **terms}


def product(name: str = "milk", *, supplier: str | None = "dairy", shelf_life: int | None = None) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "product_id": [name],
            "name": [name.title()],
            "category": ["food"],
            "department": ["fresh"],
            "unit": ["pieces"],
            "supplier_id": [supplier],
            "launched": [None],
            "delisted": [None],
            "shelf_life": [shelf_life],
        },
        schema_overrides={"supplier_id": pl.String, "launched": pl.Date, "delisted": pl.Date, "shelf_life": pl.Int32},
    )


def stock(on_hand: float | None, on_order: float | None = 0.0, *, day: int = -1, name: str = "milk") -> pl.DataFrame:
    return pl.DataFrame(
        {
            "location_id": ["store_01"],
            "product_id": [name],
            "day": [on(day)],
            "on_hand": [on_hand],
            "on_order": [on_order],
            "stockout_share": [None],
        },
        schema_overrides={"on_hand": pl.Float64, "on_order": pl.Float64, "stockout_share": pl.Float64},
    )


def sold(units: list[float], *, first: int, name: str = "milk") -> pl.DataFrame:
    days = [on(first + n) for n in range(len(units))]
    return pl.DataFrame(
        {"location_id": "store_01", "product_id": name, "day": days, "units": units},
        schema_overrides={"location_id": pl.String, "product_id": pl.String, "day": pl.Date, "units": pl.Float64},
    )


def placed(quantities: dict[int, float], name: str = "milk") -> pl.DataFrame:
    """Return published orders, by the offset of their morning."""
    return pl.DataFrame(
        {
            "location_id": "store_01",
            "product_id": name,
            "run_day": [on(n) for n in quantities],
            "quantity": list(quantities.values()),
        },
        schema_overrides={
            "location_id": pl.String,
            "product_id": pl.String,
            "run_day": pl.Date,
            "quantity": pl.Float64,
        },
    )


def position(
    held: pl.DataFrame, sales: pl.DataFrame | None = None, ordered: pl.DataFrame | None = None, *, last: int = -1
) -> pl.DataFrame:
    return orders.position(
        held, sold([], first=0) if sales is None else sales, placed({}) if ordered is None else ordered, on(last)
    )


def proposal(
    means: list[float],
    *,
    held: pl.DataFrame | None = None,
    service_level: float = 0.95,
    shelf_life: int | None = None,
    first: int = 0,
    family: str = "negative_binomial",
    common: float = 0.0,
    **terms: object,
) -> dict[str, object]:
    """Return the only line's row, with the facts under their own names."""
    offers = orders.choose_offers(pl.DataFrame([offer(**terms)]), product(shelf_life=shelf_life), DAY)
    rows, facts = orders.propose(
        forecast(means, first=first, family=family, common=common),
        orders.schedule(offers, DAY),
        position(stock(0.0) if held is None else held, last=first - 1),
        service_level=service_level,
    )
    (row,) = conform(rows, ORDERS, DAY).rows(named=True)
    return {**row, "facts": facts}
