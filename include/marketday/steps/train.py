"""Step `train`: fit a model and release it if it beats the seasonal baseline on the last horizon, held out.

Nothing else is compared: not the model in force, nor any other candidate. What is released is what was judged: the last
horizon is in its features, but not among the days that it learnt from, which costs nothing that a backtest can see.
"""

import hashlib
import json
from typing import Any

import numpy as np
import polars as pl

from marketday import models, tables
from marketday.distributions import QUANTILE_LEVELS, pinball, with_quantiles
from marketday.errors import StepError
from marketday.features.build import training_matrices
from marketday.features.declare import get
from marketday.features.matrix import TrainingMatrices
from marketday.models import Model, Seasonal
from marketday.steps.contract import Context, Outputs, step
from marketday.steps.features import READS, data_until, known_facts
from marketday.warehouse import empty

_KEY = ["location_id", "product_id", "day"]


@step("train", reads=(*READS, tables.MODELS), writes=(tables.MODELS,), size="L")
def train(context: Context) -> Outputs:
    """Train a model and release it if it beats the seasonal baseline on the last horizon, which is held out.

    With ``only_if_missing``, which is how the daily run calls it, only if no earlier day and no training run of this
    day has made one. A morning's own model does not count: cleared, it is made again from the data as they are now.
    """
    if not context.call.params.get("only_if_missing"):
        return _release(context, made_by="training")
    earlier, today = pl.col("run_day") < context.call.day, pl.col("run_day") == context.call.day
    present = context.scan(tables.MODELS).filter(earlier | (today & (pl.col("made_by") == "training")))
    newest = present.select("model", "run_day").sort("run_day").tail(1).collect()
    if newest.height:
        return Outputs(facts={"model": newest["model"].item(), "trained": False})
    try:
        return _release(context, made_by="daily")
    except StepError as error:
        # A morning without a model goes on with the baseline, and every row says so; the training run is what fails.
        withdrawn = context.today(tables.MODELS).select("model").collect().height > 0
        return Outputs(
            tables={tables.MODELS.name: empty(tables.MODELS)} if withdrawn else {},
            facts={"model": None, "trained": False, "reason": error.message},
        )


def _release(context: Context, made_by: str) -> Outputs:
    """Fit and judge a model, and return it for release.

    Raises:
        StepError: the definition names no kind of model, there is too little history, or the model does not beat the
            baseline.

    """
    chosen = models.get(context.retailer.training.model)
    facts = known_facts(context)
    until = data_until(context, facts)
    features = [get(name) for name in chosen.features]
    data = training_matrices(facts, context.retailer, until, context.dask_scheduler, features)
    model, scores = judge(chosen, data, context)
    if scores["model"]["pinball"] >= scores["baseline"]["pinball"]:
        raise StepError(
            f"The model is not released: its pinball loss on {scores['days']} held-out days is "
            f"{scores['model']['pinball']:.4f}, the seasonal baseline's {scores['baseline']['pinball']:.4f}",
            hint="The last released model, or the baseline, stays in use. Look at the data of those days, or give the "
            "model more history (training.history_days).",
        )
    parameters, artefact = model.to_text()
    name = f"{chosen.kind}@{hashlib.sha256((parameters + artefact).encode()).hexdigest()[:12]}"
    row = {
        "model": name,
        "kind": chosen.kind,
        "made_by": made_by,
        "trained_to": until,
        "parameters": parameters,
        "artefact": artefact,
        "scores": json.dumps(scores, sort_keys=True),
    }
    return Outputs(
        tables={tables.MODELS.name: pl.DataFrame([row])},
        facts={
            "model": name,
            "trained": True,
            "trained_to": until.isoformat(),
            "rows": sum(len(rows) for rows in data.near),
            "scores": scores,
        },
    )


def judge(kind: type[Model], data: TrainingMatrices, context: Context) -> tuple[Model, dict[str, Any]]:
    """Fit, predict the held-out days, and score the prediction beside the baseline's.

    Only days whose demand is known and on which stock lasted count. The model's dispersion is fitted to these days; its
    pinball loss flatters it a little: some coefficients were fitted to thousands of days.
    """
    if data.truth.is_empty():
        raise StepError(f"No uncensored demand is known after {data.held_out_origin}: there is nothing to judge by")
    model = kind.fit(data, context.retailer.training)
    origin = data.held_out_origin
    scores = {
        "origin": origin.isoformat(),
        "days": context.retailer.horizon,
        "observations": data.truth.height,
        "model": score(model.predict(data.held_out, origin), data.truth),
        "baseline": score(Seasonal().predict(data.held_out, origin), data.truth),
    }
    return model, scores


def score(predicted: pl.DataFrame, truth: pl.DataFrame) -> dict[str, float]:
    """Return WAPE, bias (over 0: too high) and mean pinball loss over the nine quantiles, each relative to demand."""
    both = with_quantiles(predicted.join(truth, on=_KEY, maintain_order="left"))
    actual, mean = both["demand"].to_numpy().astype(float), both["mean"].to_numpy()
    units = max(float(actual.sum()), np.finfo(float).tiny)
    losses = [pinball(actual, both[name].to_numpy(), level).sum() for name, level in QUANTILE_LEVELS.items()]
    return {
        "wape": round(float(np.abs(mean - actual).sum()) / units, 6),
        "bias": round(float((mean - actual).sum()) / units, 6),
        "pinball": round(float(np.mean(losses)) / units, 6),
    }
