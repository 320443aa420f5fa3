"""What a chart promises: every day, band and warning that it was given is in the picture."""

import datetime as dt
import re

import polars as pl
import pytest

from marketday import distributions, plots

DAY = dt.date(2025, 3, 31)


def history(share: float | None = None) -> pl.DataFrame:
    days = [DAY - dt.timedelta(days=n) for n in range(20, 0, -1)]
    shares = pl.Series([share] + [None] * 19, dtype=pl.Float64)
    return pl.DataFrame({"day": days, "units": [float(n % 7) for n in range(20)], "stockout_share": shares})


def forecast(mode: str = "fresh") -> pl.DataFrame:
    days = [DAY + dt.timedelta(days=n) for n in range(14)]
    rows = pl.DataFrame(
        {"day": days, "mean": 4.0, "dispersion": 0.3, "family": "negative_binomial", "mode": ["fresh"] * 13 + [mode]}
    )
    return distributions.with_quantiles(rows)


def drawn(share: float | None = None, mode: str = "fresh") -> str:
    return plots.fan_chart(history(share), forecast(mode), title="Milk in store_01", units="pieces per day").decode()


def points(svg: str, colour: str) -> int:
    return len(re.findall(rf'<path aria-label="[^"]*day:[^>]*fill="{colour}"', svg))


def test_a_fan_has_its_title_units_and_legend() -> None:
    svg = drawn()
    for text in (
        "Milk in store_01",
        "pieces per day",
        "median",
        "mean",
        "central 50 %",
        "central 95 %",
        "stock ran out",
    ):
        assert f">{text}</text>" in svg
    assert "sales known to 2025-03-30; forecast 2025-03-31 to 2025-04-13" in svg


@pytest.mark.parametrize("mode", ["degraded", "fallback"])
def test_a_mode_that_is_not_fresh_is_in_the_title(mode: str) -> None:
    assert f"Milk in store_01 ({mode})" in drawn(mode=mode)


def test_days_on_which_stock_ran_out_are_marked() -> None:
    marked = plots._COLOURS["stock ran out"]
    assert points(drawn(share=0.4), marked) == points(drawn(share=0.0), marked) + 1


def test_the_same_rows_give_the_same_bytes_and_nothing_is_fetched() -> None:
    assert drawn() == drawn()
    assert set(re.findall(r"https?://([^/\"]+)", drawn())) <= {"www.w3.org"}


def test_a_png_is_a_png_and_an_empty_history_can_be_drawn() -> None:
    png = plots.fan_chart(history().clear(), forecast(), title="New product", form="png")
    assert png.startswith(b"\x89PNG")


def test_looking_back_a_fan_shows_what_was_sold_then_and_where_stock_ran_out() -> None:
    then = forecast().select("day", units=pl.lit(3.0), stockout_share=pl.when(pl.col("day") == DAY).then(0.5))
    svg = plots.fan_chart(history(0.0), forecast(), then=then, title="Milk in store_01").decode()
    assert ">sold then</text>" in svg
    assert points(svg, plots._COLOURS["sold then"]) == 13
    assert points(svg, plots._COLOURS["stock ran out"]) == 1


def test_totals_are_drawn_beside_the_history() -> None:
    svg = plots.total_chart(history(), forecast(), title="All stores").decode()
    assert ">sales</text>" in svg
    assert ">forecast</text>" in svg
