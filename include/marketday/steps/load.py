"""Step `load`: staged rows → facts and dimensions."""

import polars as pl

from marketday import tables
from marketday.steps.contract import Context, Outputs, step
from marketday.tables import JUDGED_REPLAYS, OUTCOMES, RUN_DAY


@step(
    "load",
    reads=(*tables.STAGED.values(), JUDGED_REPLAYS),
    writes=(*tables.DELIVERED, OUTCOMES),
    size="M",
)
def load(context: Context) -> Outputs:
    """Make the day's checked rows facts and dimensions, known from this day on."""
    loaded = {name: context.stored(staged) for name, staged in tables.STAGED.items()}
    outcomes = context.today(JUDGED_REPLAYS).with_columns(block=pl.lit(context.call.step)).drop(RUN_DAY)
    return Outputs(tables={**loaded, OUTCOMES.name: outcomes.collect()})
