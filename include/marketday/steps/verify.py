"""Step `verify`: what is published is read back and compared."""

from marketday import publishing
from marketday.errors import StepError
from marketday.steps.contract import Context, Outputs, step
from marketday.tables import FORECASTS, ORDERS, PUBLICATIONS


@step("verify", reads=(FORECASTS, ORDERS, PUBLICATIONS), repeatable=False)
def verify(context: Context) -> Outputs:
    """Read the day's publications back, hash them again and refuse an edited prediction."""
    published = context.today(PUBLICATIONS).collect()
    name, day = context.retailer.name, context.call.day
    if published.is_empty():
        raise StepError(f"Nothing of {day} is published for {name}", hint="Run the step publish first.")
    for row in published.iter_rows(named=True):
        table, of_day = publishing.PUBLISHED[row["table"]], row["of_day"]
        recorded = publishing.rows_of(context.warehouse, name, table, of_day=of_day, version=row["version"])
        # The latest version on purpose, not the call's snapshot: an edit comes after the snapshots were fixed.
        current = publishing.rows_of(context.warehouse, name, table, of_day=of_day, version=None)
        publishing.check(row, recorded, current)
    return Outputs(facts={"published": dict(published.select("table", "content_hash").iter_rows())})
