"""Small steps that do what jobs may do: succeed, fail, hang, die, use every heavy library."""

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl

from marketday import tables
from marketday.errors import StepError
from marketday.steps import Context, Outputs, step


@step("probe", reads=(tables.EVENTS,), writes=(tables.EVENTS,))
def probe(context: Context) -> Outputs:
    """Write one row, count the execution in a file and give facts of several types."""
    params = context.call.params
    if "tally" in params:
        with Path(params["tally"]).open("a") as file:
            file.write("x")
    logging.getLogger(__name__).info("the step says hello")
    facts = {"day": context.call.day, "share": 0.25, "blocks": ("a", "b")}
    return Outputs(tables={"events": one_event(context)}, facts=facts, links={"Page": "page.html"})


@step("newest", reads=(tables.EVENTS,), latest=(tables.EVENTS,))
def newest(context: Context) -> Outputs:
    """Say which version of a table it reads, whatever the call pins."""
    return Outputs(facts=dict(context.versions))


@step("volatile", repeatable=False)
def volatile(context: Context) -> Outputs:
    """Give another result each time."""
    return Outputs(facts={"now": time.monotonic_ns()})


@step("fail")
def fail(context: Context) -> Outputs:
    """Raise an error of ours, or one of a library's kind."""
    params = context.call.params
    if params.get("kind") == "bug":
        raise ValueError("a library's own words")
    message, evidence = params.get("message", "cannot do it"), params.get("evidence", "over there")
    raise StepError(message, hint="give it more", evidence=evidence)


@step("hang")
def hang(context: Context) -> Outputs:
    """Start a child, note both process ids and never end."""
    child = subprocess.Popen(["sleep", "600"])
    pids = Path(context.call.params["pids"])
    pids.with_suffix(".part").write_text(f"{os.getpid()} {child.pid}")
    pids.with_suffix(".part").rename(pids)
    time.sleep(600)
    return Outputs()


@step("daemonize")
def daemonize(context: Context) -> Outputs:
    """Start a daemon, which leaves for a session of its own and loses its parent; note both ids and never end."""
    leave = "os.setsid(); os.fork() and os._exit(0)"
    program = f"import os, time; {leave}; print(os.getpid(), flush=True); time.sleep(600)"
    starter = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    starter.wait()
    pids = Path(context.call.params["pids"])
    pids.with_suffix(".part").write_text(f"{os.getpid()} {starter.stdout.readline()}")
    pids.with_suffix(".part").rename(pids)
    time.sleep(600)
    return Outputs()


@step("await")
def await_(context: Context) -> Outputs:
    """End as soon as a file is there."""
    while not Path(context.call.params["file"]).exists():
        time.sleep(0.02)
    return Outputs()


@step("grow", size="M")
def grow(context: Context) -> Outputs:
    """Use so many MiB of memory for as long as it takes to be seen with it."""
    held = bytearray(context.call.params["mib"] << 20)
    time.sleep(1)
    return Outputs(facts={"held": len(held)})


@step("greedy")
def greedy(context: Context) -> Outputs:
    """Ask at once for more memory than any class has: in Python, behind an error of ours, or in native code."""
    if context.call.params["where"] == "native":
        pl.zeros(1 << 40, eager=True)
    try:
        bytearray(1 << 43)
    except MemoryError as error:
        if context.call.params["where"] == "wrapped":
            raise StepError("the totals could not be added up") from error
        raise
    return Outputs()


@step("say")
def say(context: Context) -> Outputs:
    """Log one line, and another as soon as a file is there; before them so many bytes."""
    sys.stdout.write("." * context.call.params.get("bytes", 0) + "\n")
    logging.getLogger(__name__).info("the first line")
    while not Path(context.call.params["file"]).exists():
        time.sleep(0.02)
    logging.getLogger(__name__).info("the last line")
    return Outputs()


@step("spread", size="M")
def spread(context: Context) -> Outputs:
    """Say in which processes and sessions the tasks of the configured Dask scheduler are computed."""
    import dask

    from marketday.features.build import compute

    def where(_: int) -> list[int]:
        return [os.getpid(), os.getsid(0)]

    found = compute([dask.delayed(where)(i) for i in range(8)], context.dask_scheduler)
    return Outputs(facts={"own": os.getpid(), "tasks": found})


@step("die")
def die(context: Context) -> Outputs:
    """Be killed, as by the kernel when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)
    return Outputs()


@step("heavy", writes=(tables.EVENTS,), size="M")
def heavy(context: Context) -> Outputs:
    """Use every library that has threads: polars, Dask, LightGBM, NumPy, Great Expectations, Delta."""
    import dask
    import great_expectations as gx
    import lightgbm as lgb
    import numpy as np

    frame = pl.DataFrame({"x": np.arange(200_000.0)}).with_columns(y=pl.col("x") * 2.0, g=pl.col("x") % 7)
    grouped = frame.lazy().group_by("g").agg(pl.col("y").sum()).collect()
    streamed = frame.lazy().group_by("g").agg(pl.col("y").sum()).collect(engine="streaming")
    parts = dask.compute([dask.delayed(np.sum)(part) for part in np.array_split(frame["x"].to_numpy(), 8)])[0]
    dense = np.ones((400, 400)) @ np.ones((400, 400))
    data = lgb.Dataset(frame.select("x", "g").head(5000).to_numpy(), frame["y"].head(5000).to_numpy())
    model = lgb.train({"objective": "regression", "verbosity": -1, "num_threads": 2}, data, num_boost_round=5)
    source = gx.get_context(mode="ephemeral").data_sources.add_pandas("p").add_dataframe_asset("a")
    batch = source.add_batch_definition_whole_dataframe("b").get_batch({"dataframe": frame.head(10).to_pandas()})
    verdict = batch.validate(gx.expectations.ExpectColumnValuesToNotBeNull(column="x"))
    facts = {
        "groups": [grouped.height, streamed.height],
        "total": float(sum(parts)),
        "dense": float(dense[0, 0]),
        "trees": model.num_trees(),
        "valid": bool(verdict.success),
        "dask_workers": dask.config.get("num_workers"),
    }
    return Outputs(tables={"events": one_event(context)}, facts=facts)


def one_event(context: Context) -> pl.DataFrame:
    return pl.DataFrame([{"location_id": "*", "day": context.call.day, "name": context.call.step, "kind": "local"}])
