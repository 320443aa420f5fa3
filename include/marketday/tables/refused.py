"""The tables that say what becomes of refused rows.

A refused row is named by the delivery's business day, its table and its row number there. Its content belongs to its
name: after a corrected delivery of that day, the same number may be another row, and what was said of the first one
does not hold for it.
"""

import pyarrow as pa

from marketday.tables.schema import Column, Table

_TEXT = pa.string()

REFUSED_ROW = (
    Column(name="delivery_day", type=pa.date32(), description="Business day whose delivery brought the row."),
    Column(name="table", type=_TEXT, description="Delivered table."),
    Column(name="row", type=pa.int64(), description="Row number in the delivered table, from 0.", minimum=0),
    Column(name="content", type=_TEXT, description="The row as delivered, as JSON."),
)
"""What names a refused row in every table of this module."""
_KEY = ("delivery_day", "table", "row")
_REFUSED_FOR = Column(name="reason", type=_TEXT, description="Code of the rule that it broke when it was last judged.")
_OUTCOME = (
    Column(
        name="outcome",
        type=_TEXT,
        description="admitted: it passed. superseded: another delivery brought its key, or a new plan for its day. "
        "refused: it broke a rule again.",
        allowed=("admitted", "superseded", "refused"),
    ),
    Column(name="reason", type=_TEXT, description="Code of the rule that it broke again; empty where it broke none."),
    Column(name="message", type=_TEXT, description="The rule and the value, for people; empty where it broke none."),
)

DECISIONS = Table(
    name="quarantine_decisions",
    kind="made",
    description="What people decided about refused rows. Rows are only ever added; the last decision on a row counts, "
    "from the morning of its run_day on.",
    key=("block", *_KEY),
    blocked=True,
    columns=(
        *REFUSED_ROW,
        Column(
            name="decision",
            type=_TEXT,
            description="replay: try it again. discard: leave it out for good.",
            allowed=("replay", "discard"),
        ),
        Column(name="why", type=_TEXT, description="Reason in the words of who decided."),
        Column(name="by", type=_TEXT, description="Who decided."),
        Column(name="at", type=pa.timestamp("us", tz="UTC"), description="When it was decided."),
        Column(name="block", type=_TEXT, description="Id of the decision, shared by the rows that it is about."),
    ),
)

REPLAYS = Table(
    name="replays",
    kind="made",
    description="Refused rows of earlier deliveries that this morning's checks are to judge again.",
    key=_KEY,
    columns=(*REFUSED_ROW, _REFUSED_FOR),
)

JUDGED_REPLAYS = Table(
    name="judged_replays",
    kind="made",
    description="What this morning's checks said of the replays; it waits for the gate, as the staged rows do.",
    key=_KEY,
    columns=(*REFUSED_ROW, *_OUTCOME),
)

OUTCOMES = Table(
    name="quarantine_outcomes",
    kind="made",
    description="What became of refused rows on a morning: those of the replays that were loaded, and those that "
    "deliveries in between had superseded.",
    key=_KEY,
    blocked=True,
    columns=(
        *REFUSED_ROW,
        *_OUTCOME,
        Column(name="block", type=_TEXT, description="The step that wrote the row.", allowed=("replay", "load")),
    ),
)
