"""`marketday backtest`: the daily run replayed on past days, scored, and shown on one page."""

import datetime as dt
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from marketday.cli.console import RetailerName, console, errors, parse_day
from marketday.errors import RetailerError, StepError, listed

if TYPE_CHECKING:
    import polars as pl

    from marketday.backtest.pool import Tell
    from marketday.backtest.run import Outcome

_INTERRUPTED = 130  # what a shell expects of a command that Ctrl-C has ended


def _days(text: str) -> list[dt.date]:
    return [parse_day(part.strip()) for part in text.split(",") if part.strip()]


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


Origins = Annotated[
    Any,
    typer.Option(
        "--origins",
        metavar="DAY,DAY,…",
        parser=_days,
        help="Last days of history: each morning after one is replayed and forecasts the days that follow.",
    ),
]


def backtest(
    retailer: RetailerName,
    *,
    origins: Origins,
    out: Annotated[Path, typer.Option("--out", help="Folder of the results; what is done there is not done again.")],
    horizon: Annotated[
        int | None, typer.Option(min=1, max=91, help="Days that are forecast. Default: the retailer's own.")
    ] = None,
    series: Annotated[
        int | None, typer.Option(min=1, help="Try it on so many series, the same at every origin.")
    ] = None,
    locations: Annotated[
        Any, typer.Option("--locations", metavar="NAME,NAME,…", parser=_names, help="Only these locations.")
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change a value of the definition: `--set training.rounds=50`."
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, max=64, help="Origins at a time. Default: as cores and free memory allow."),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Replay also what is there already.")] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the throw-away warehouses in OUT/work, to look at them.")
    ] = False,
    mlflow: Annotated[
        bool, typer.Option("--mlflow/--no-mlflow", help="Log it to MLflow (MARKETDAY_MLFLOW; default: a SQLite file).")
    ] = True,
) -> None:
    """Replay past mornings with the daily run's own steps and score what they would have published.

    Every origin gets a throw-away warehouse with what was known on the morning after it: from the retailer's own
    warehouse if it knew that morning, else from its simulator or data set. The steps deliver, ingest, clean, load,
    features, train, predict and calibrate then run as every day; the seasonal baseline is forecast beside.

    OUT gets `report.html` (open it in a browser), `scores.json`, `scores.parquet` (by segment), `forecasts.parquet`
    (with what was sold) and a folder per origin. Ctrl-C is safe: the same command goes on where it stopped.

    Example: marketday backtest simulated --origins 2025-01-05,2025-02-02 --out var/backtest --series 60
    """
    from marketday import settings as configuration
    from marketday.backtest import plan as plans
    from marketday.backtest import tracking
    from marketday.backtest.folders import Folders

    settings = configuration.load()
    if not origins:
        raise typer.BadParameter("give at least one day", param_hint="--origins")
    folders = Folders(out.resolve())
    tracker = None
    if mlflow:
        with console.status("opening MLflow …"):
            tracker = tracking.connect(settings, retailer)
    # Only now: the libraries that these need take seconds, and a wrong address is said before.
    from marketday.backtest import run as runs
    from marketday.backtest.pool import default_jobs, replay_all

    with runs.alone(folders.root):
        plan = plans.make(
            retailer,
            settings,
            folders.definitions,
            origins=origins,
            horizon=horizon,
            changes=_changes(change or []),
            series=series,
            locations=locations or (),
        )
        with console.status("looking at what is known …"):
            todo = runs.missing(plan, settings, folders, again=again)
        jobs = jobs or default_jobs(len(todo), settings.resource_classes["L"])  # of `train`
        done = len(plan.origins) - len(todo)
        console.print(
            f"{plan.retailer.title}: {len(plan.origins)} origins, {plan.retailer.horizon} days each"
            f"{f'; {done} done before' if done else ''}{f'; {jobs} at a time' if jobs > 1 else ''}"
        )
        for history in sorted({source.history for source in todo.values()}):
            console.print(f"What was known comes from: {history}.")
        command = " ".join(["marketday", *sys.argv[1:]])
        try:
            with _progress(len(todo)) as tell:
                ended = replay_all(plan, todo, settings, folders, jobs=jobs, keep=keep, tell=tell)
            with console.status("writing scores and report …"):
                outcome = runs.collect(plan, folders, ended, command=command)
        except KeyboardInterrupt:
            errors.print("Stopped. Finished origins are kept; the same command goes on from there.")
            raise typer.Exit(_INTERRUPTED) from None
    _show(outcome)
    console.print(f"Report: {folders.root / 'report.html'}", markup=False)
    if tracker is not None:
        with console.status("logging to MLflow …"):
            run = tracking.log(
                tracker,
                name=tracking.run_name(retailer, plan.origins),
                parameters=_parameters(plan, command),
                measures=tracking.measures(outcome.headline, _seconds(outcome.costs)),
                artefacts=outcome.files,
            )
        console.print(f"MLflow run {run} at {tracker.url}", markup=False)
    if outcome.failed:
        first = next(iter(outcome.failed.values()))
        raise StepError(
            f"{len(outcome.failed)} of {len(plan.origins)} origins failed and are not in the figures: "
            f"{listed(outcome.failed)}; the first: {first.message}",
            hint=f"{first.hint} Then run the same command again; what is done is not done again.".strip(),
            evidence=first.evidence,
        )


def _changes(given: list[str]) -> dict[str, Any]:
    import yaml

    changes = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise RetailerError(f"--set {text}: not KEY=VALUE", hint="For example --set training.rounds=50.")
        changes[key] = yaml.safe_load(value)
    return changes


def _parameters(plan: Any, command: str) -> dict[str, Any]:
    definition = plan.retailer.model_dump(mode="json")
    flat: dict[str, Any] = {}
    for key, value in definition.items():
        flat |= {f"{key}.{part}": v for part, v in value.items()} if isinstance(value, dict) else {key: value}
    return {
        **flat,
        **{f"version.{name}": version for name, version in plan.versions.items()},
        "origins": listed(plan.origins, most=len(plan.origins)),
        "series": plan.series or "all",
        "locations": listed(plan.locations, most=len(plan.locations)) or "all",
        "command": command,
    }


def _seconds(costs: "pl.DataFrame") -> dict[str, dict[str, float]]:
    """Return seconds per step and the highest memory, by origin and `mean`."""
    figures: dict[str, dict[str, float]] = {}
    for origin, step, seconds, _, peak in costs.iter_rows():
        of = figures.setdefault(origin, {})
        of[f"seconds_{step}"] = seconds
        of["peak_mib"] = max(of.get("peak_mib", 0.0), peak)
    names = next(iter(figures.values()), {})
    return {**figures, "mean": {name: sum(f[name] for f in figures.values()) / len(figures) for name in names}}


@contextmanager
def _progress(origins: int) -> Iterator["Tell"]:
    """Show the stage of every origin: bars on a terminal, a line per stage in a log."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from marketday.backtest.replay import STAGES

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal or not origins) as progress:
        every = progress.add_task("origins", total=origins)
        bars: dict[dt.date, Any] = {}

        def tell(origin: dt.date, stage: str) -> None:
            name = stage.partition(" ")[0]
            if stage in {"done", "failed"}:
                if origin in bars:
                    progress.update(bars[origin], visible=False)
                progress.advance(every)
            else:
                if origin not in bars:
                    bars[origin] = progress.add_task("", total=len(STAGES))
                progress.update(bars[origin], description=f"{origin}  {stage}", completed=STAGES.index(name))
            if not console.is_terminal and name == stage:
                console.print(f"{dt.datetime.now().astimezone():%H:%M:%S}  {origin}  {stage}")

        yield tell


def _show(outcome: "Outcome") -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    rows: Mapping[str, Any] = outcome.headline["without stock-out"]
    table = Table(
        title="Rows without stock-out", title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False
    )
    names = ("WAPE", "bias", "WRMSSE", "WSPL", "in 50 %", "in 95 %")
    for at, column in enumerate(("origin", "system", *names)):
        table.add_column(column, justify="left" if at < 2 else "right")
    origins = [origin for origin in rows["model"] if origin != "mean"]
    for origin in [*origins, *(["mean"] if len(origins) > 1 else [])]:
        for system, by_origin in rows.items():
            table.add_row(origin, system, *_figures(by_origin[origin]))
    console.print(table)


def _figures(figures: Mapping[str, float | None]) -> list[str]:
    forms = {
        "wape": "{:.3f}",
        "bias": "{:+.1%}",
        "wrmsse": "{:.4f}",
        "wspl": "{:.4f}",
        "coverage_50": "{:.1%}",
        "coverage_95": "{:.1%}",
    }
    return ["\N{EN DASH}" if figures[name] is None else form.format(figures[name]) for name, form in forms.items()]
