"""Step `predict`: one block's distribution of demand and why, by the model in force or, failing that, the baseline."""

import datetime as dt

import polars as pl

from marketday import tables
from marketday.errors import StepError
from marketday.models import Model, Seasonal, Text, explain, from_text
from marketday.steps.contract import Context, Outputs, step


@step("predict", reads=(tables.FEATURES, tables.MODELS), writes=(tables.PREDICTIONS, tables.EXPLANATIONS), size="M")
def predict(context: Context) -> Outputs:
    """Predict and explain one block by the latest model that may be used on the day, or by the baseline."""
    today = context.today(tables.FEATURES)
    block = context.call.block
    features = today.filter(pl.col("block") == block).collect()
    if features.is_empty():
        known = today.select(pl.col("block").unique().sort()).collect()["block"].to_list()
        raise StepError(f"There are no features of {context.call.day} for block {block!r}", hint=f"Blocks: {known}.")
    first: dt.date = today.select(pl.col("day").min()).collect().item()
    name, model, reason = model_in_force(context)
    until = first - dt.timedelta(days=1)
    known_mode = "fresh" if until == context.call.origin else "degraded"
    mode = "fallback" if reason else known_mode
    rows, explanations = explain.predict(model, features, until)
    rows = rows.with_columns(model=pl.lit(name), mode=pl.lit(mode), block=pl.lit(block, pl.String))
    explanations = explanations.with_columns(block=pl.lit(block, pl.String))
    facts = {"model": name, "mode": mode, "rows": rows.height} | ({"reason": reason} if reason else {})
    return Outputs(tables={tables.PREDICTIONS.name: rows, tables.EXPLANATIONS.name: explanations}, facts=facts)


def model_in_force(context: Context) -> tuple[str, Model, str]:
    """Return the model with the latest run_day not after the day; else the baseline, and why."""
    newest = context.known(tables.MODELS).sort("run_day").tail(1).collect()
    if newest.is_empty():
        return Seasonal.kind, Seasonal(), f"No model is released for use on {context.call.day}"
    row = newest.row(0, named=True)
    try:
        return row["model"], from_text(row["kind"], Text(row["parameters"], row["artefact"])), ""
    except StepError as error:
        return Seasonal.kind, Seasonal(), f"{row['model']}: {error.message}"
