"""Run a suite on its summaries: verdict rows for the warehouse and a Data Docs page for people.

Nothing leaves the process: the context lives in memory, has no cloud, and sends no usage statistics (Great Expectations
1.24 has none any more; the setting switches off those of other releases).
"""

import datetime as dt
import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import great_expectations as gx
import polars as pl
from great_expectations.core.expectation_validation_result import (
    ExpectationSuiteValidationResult,
    ExpectationValidationResult,
)
from great_expectations.data_context.types.base import (
    DataContextConfig,
    InMemoryStoreBackendDefaults,
    ProgressBarsConfig,
)
from great_expectations.render.renderer import ValidationResultsPageRenderer
from great_expectations.render.view import DefaultJinjaPageView

from marketday.errors import StepError, listed
from marketday.tables import VERDICTS

Severity = Literal["warn", "fail"]
Summaries = Mapping[str, pl.DataFrame]
"""By name; the first column of each is text that labels its rows (table, day, location …), the others are numbers."""
Suite = Mapping[str, list[Any]]
"""By summary: expectations made by :func:`expect`."""

_TEMPLATES = Path(__file__).parent
_GX_SEVERITY = {"warn": "warning", "fail": "critical"}


class Verdict(NamedTuple):
    """What a gate found."""

    rows: pl.DataFrame
    """As the table `verdicts` has them, without ``run_day``; neither times nor ids, so equal inputs give equal rows."""
    page: str
    """Data Docs as one HTML page that loads nothing."""

    @property
    def failed(self) -> pl.DataFrame:
        """The rows that stop the run."""
        return self.rows.filter(~pl.col("passed"), severity="fail")


def expect(
    kind: type[Any], subject: str, *, severity: Severity, expected: str, advice: str, code: str = "", **arguments: Any
) -> Any:
    """Return one expectation of Great Expectations that says what it is about, in a sentence, and what to do if unmet.

    ``code`` is that of the check which it carries out, if it is one; ``arguments`` are the expectation's own, such as
    ``column`` and ``max_value``.
    """
    meta = {"subject": subject, "code": code, "severity": severity, "expected": expected, "advice": advice}
    return kind(**arguments, severity=_GX_SEVERITY[severity], meta=meta)


def run_gate(name: str, summaries: Summaries, suite: Suite, *, retailer: str, day: dt.date) -> Verdict:
    """Validate each summary by its part of the suite; nulls are not judged.

    Raises:
        StepError: an expectation could not be evaluated, as when it names a column that its summary has not.

    """
    batches = _context().data_sources.add_pandas("summaries")
    results: list[ExpectationValidationResult] = []
    rows: list[dict[str, Any]] = []
    for summary, expectations in suite.items():
        frame = summaries[summary]
        asset = batches.add_dataframe_asset(summary).add_batch_definition_whole_dataframe("all")
        data = frame.to_pandas()
        # Great Expectations puts values into its page as they are, and labels are text that somebody delivered.
        data[frame.columns[0]] = data[frame.columns[0]].map(html.escape)
        batch = asset.get_batch(batch_parameters={"dataframe": data})
        validated = batch.validate(
            gx.ExpectationSuite(summary, expectations=expectations),
            result_format={"result_format": "COMPLETE", "unexpected_index_column_names": [frame.columns[0]]},
        )
        results += validated.results
        rows += [_row(name, summary, frame, result) for result in validated.results]
    verdicts = pl.DataFrame(rows).sort(VERDICTS.key)
    return Verdict(verdicts, _page(name, verdicts, results, retailer, day))


def _context() -> Any:
    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(),
        analytics_enabled=False,
        progress_bars=ProgressBarsConfig(globally=False),
    )
    return gx.get_context(project_config=config, mode="ephemeral")


def _row(gate: str, summary: str, frame: pl.DataFrame, result: ExpectationValidationResult) -> dict[str, Any]:
    config = result.expectation_config
    if "element_count" not in result.result:
        raise StepError(
            f"gate_{gate}: {config.type} on {config.kwargs.get('column')} of the summary {summary} "
            f"could not be evaluated: {result.exception_info}",
            hint="This is a mistake in the gate's suite, not in the data.",
        )
    meta = config.meta
    return {
        "gate": gate,
        "expectation": config.type,
        "subject": meta["subject"],
        "code": meta["code"],
        "severity": meta["severity"],
        "passed": bool(result.success),
        "expected": meta["expected"],
        "observed": _observed(frame, config.kwargs["column"], result.result),
        "advice": meta["advice"],
        "block": f"gate_{gate}",
    }


def _observed(frame: pl.DataFrame, column: str, result: Mapping[str, Any]) -> str:
    label = frame.columns[0]
    values = frame[column].cast(pl.Float64).fill_nan(None).drop_nulls()
    if unexpected := result["unexpected_index_list"]:
        worst = listed(f"{html.unescape(entry[label])}: {_number(entry[column])}" for entry in unexpected)
        return worst if frame.height == 1 else f"{worst} ({len(unexpected)} of {values.len()})"
    if values.is_empty():
        return "nothing to compare"
    ordered = values.sort()
    low, high = _number(ordered[0]), _number(ordered[-1])
    return low if low == high else f"{low} to {high} ({values.len()} compared)"


def _number(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 1000 or float(number).is_integer() else f"{number:.3g}"


def _page(
    gate: str, verdicts: pl.DataFrame, results: list[ExpectationValidationResult], retailer: str, day: dt.date
) -> str:
    met = sum(bool(result.success) for result in results)
    statistics = {
        "evaluated_expectations": len(results),
        "successful_expectations": met,
        "unsuccessful_expectations": len(results) - met,
        "success_percent": 100 * met / len(results),
    }
    document = ValidationResultsPageRenderer().render(
        ExpectationSuiteValidationResult(
            success=met == len(results), results=results, suite_name=f"gate_{gate}", statistics=statistics, meta={}
        )
    )
    # Great Expectations' own page loads styles and scripts from the network; ours shows the same sections without.
    view = DefaultJinjaPageView(custom_views_directory=str(_TEMPLATES))
    page: str = view.render(
        document, template="page.html", gate=gate, verdicts=verdicts.to_dicts(), retailer=retailer, day=day
    )
    return page
