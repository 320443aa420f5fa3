"""Step `load`: staged rows → facts and dimensions."""

from marketday import tables
from marketday.steps.contract import Context, Outputs, step


@step("load", reads=tuple(tables.STAGED.values()), writes=tables.DELIVERED, size="M")
def load(context: Context) -> Outputs:
    """Make the day's checked rows facts and dimensions, known from this day on."""
    return Outputs(
        tables={name: context.today(staged).drop(tables.RUN_DAY).collect() for name, staged in tables.STAGED.items()}
    )
