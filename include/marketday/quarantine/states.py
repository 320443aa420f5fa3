"""In which state a refused row is: open, admitted, superseded or discarded. Every refused row is in exactly one."""

import datetime as dt
from typing import Literal, get_args

import polars as pl

from marketday.tables import RUN_DAY

State = Literal["open", "admitted", "superseded", "discarded"]
STATES: tuple[State, ...] = get_args(State)

REFUSED_ROW = ("delivery_day", "table", "row", "content")
"""What names a refused row. Its content belongs to it, because a corrected delivery numbers its rows anew."""


def states(quarantine: pl.LazyFrame, decisions: pl.LazyFrame, outcomes: pl.LazyFrame) -> pl.LazyFrame:
    """Return every row of ``quarantine`` once, with what has become of it.

    A row that was admitted or superseded stays so. Any other is discarded if that is the last decision on it, and
    else open.

    Columns: those of :data:`REFUSED_ROW`; ``reason`` and ``message`` of the last time that it was judged; ``state``;
    ``since``, the business day from which on it is in that state; ``tried``, the last day on which it was judged again
    and refused; ``asked``, whether somebody asked for a replay that it may not have had yet; ``by``, ``at`` and ``why``
    of the last decision. All three tables have their ``run_day``.
    """
    refused = quarantine.rename({RUN_DAY: "delivery_day"})
    with_all = refused
    for more in (_last_decision(decisions), _settled(outcomes), _last_try(outcomes)):
        with_all = with_all.join(more, on=REFUSED_ROW, how="left")
    discarded = pl.col("decision").eq_missing("discard")
    state = pl.coalesce("outcome", pl.when(discarded).then(pl.lit("discarded")), pl.lit("open"))
    since = pl.coalesce("settled", pl.when(discarded).then("decided"), "delivery_day")
    # A try on the day of the decision may have been before it: better once more than never.
    not_since = pl.col("tried").is_null() | (pl.col("tried") <= pl.col("decided"))
    return with_all.select(
        *REFUSED_ROW,
        pl.coalesce("reason_again", "reason").alias("reason"),
        pl.coalesce("message_again", "message").alias("message"),
        state.alias("state"),
        since.alias("since"),
        "tried",
        ((state == "open") & pl.col("decision").eq_missing("replay") & not_since).alias("asked"),
        "by",
        "at",
        "why",
    )


def as_of(day: dt.date, table: pl.LazyFrame, *, decided: bool = False) -> pl.LazyFrame:
    """Return what the morning of ``day`` starts from: what earlier mornings wrote; of decisions, its own day's too.

    What the morning itself has written is left out, so that a second run of it starts from the same.
    """
    return table.filter(pl.col(RUN_DAY) <= day if decided else pl.col(RUN_DAY) < day)


def _last_decision(decisions: pl.LazyFrame) -> pl.LazyFrame:
    ordered = decisions.sort("at", "block")
    return ordered.group_by(REFUSED_ROW).agg(
        pl.col("decision", "by", "at", "why").last(), pl.col(RUN_DAY).last().alias("decided")
    )


def _settled(outcomes: pl.LazyFrame) -> pl.LazyFrame:
    """Return how and when a row was settled; a row that was admitted once needs nothing that was said of it later."""
    final = outcomes.filter(pl.col("outcome") != "refused").sort("outcome", RUN_DAY)  # admitted before superseded
    return final.group_by(REFUSED_ROW).agg(pl.col("outcome").first(), pl.col(RUN_DAY).first().alias("settled"))


def _last_try(outcomes: pl.LazyFrame) -> pl.LazyFrame:
    again = outcomes.filter(pl.col("outcome") == "refused").sort(RUN_DAY)
    return again.group_by(REFUSED_ROW).agg(
        pl.col("reason").last().alias("reason_again"),
        pl.col("message").last().alias("message_again"),
        pl.col(RUN_DAY).last().alias("tried"),
    )
