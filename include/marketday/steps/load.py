"""Step `load`: staged rows → facts and dimensions."""

import polars as pl

from marketday import tables
from marketday.steps.contract import Context, Outputs, step
from marketday.tables import JUDGED_REPLAYS, OUTCOMES, RUN_DAY
from marketday.warehouse import in_key_order


@step(
    "load",
    reads=(*tables.STAGED.values(), JUDGED_REPLAYS),
    writes=(*tables.DELIVERED, OUTCOMES),
    size="M",
)
def load(context: Context) -> Outputs:
    """Make the day's checked rows facts and dimensions, known from this day on."""
    loaded = {
        name: in_key_order(context.today(staged).drop(RUN_DAY), staged.key) for name, staged in tables.STAGED.items()
    }
    outcomes = context.today(JUDGED_REPLAYS).with_columns(block=pl.lit(context.call.step)).drop(RUN_DAY)
    return Outputs(tables={**loaded, OUTCOMES.name: outcomes.collect()})
