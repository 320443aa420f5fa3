"""The page of what corrections would have changed: one file that needs nothing else."""

from pathlib import Path

from markupsafe import Markup

from marketday import pages
from marketday.rebuilding import charts
from marketday.rebuilding.corrected import Corrected

_TEMPLATE = Path(__file__).with_name("corrected.html")
_MOST_ROWS = 200
"""Series that the page lists; the command's JSON has them all."""


def page(found: Corrected) -> str:
    """Return the page."""
    drawn = found.series.height > 0
    return pages.template(_TEMPLATE, number=_number, signed=_signed).render(
        found=found,
        retailer=found.morning.retailer,
        day=found.morning.day,
        learned=found.learned.to_dicts(),
        series=found.series.head(_MOST_ROWS).to_dicts(),
        changed=found.series.height,
        orders="packs" in found.series.columns,
        # Our own drawings.
        days=Markup(charts.by_day(found.forecasts).decode()),  # noqa: S704
        largest=Markup(charts.by_series(found.series).decode()) if drawn else "",  # noqa: S704
    )


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def _signed(value: float) -> str:
    return f"{value:+,}" if isinstance(value, int) else f"{value:+,.1f}"
