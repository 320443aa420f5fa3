"""The page of `marketday explain --html`: one file that needs nothing else."""

from pathlib import Path

import altair as alt
from markupsafe import Markup

from marketday import pages
from marketday.cli.explain_words import Explained, change_rows, day_rows, likely, number, question, steps_of
from marketday.explanations import Step
from marketday.plots import BLUE, drawn

_TEMPLATE = Path(__file__).with_name("explain.html")
# Okabe and Ito's palette (2008), as in all charts here.
_UP, _DOWN = "#009E73", "#D55E00"
_WIDTH, _ROW = 620, 26


def page(found: Explained) -> str:
    """Return the page."""
    return pages.template(_TEMPLATE).render(
        found=found,
        question=question(found),
        chart=Markup(chart(steps_of(found), found.unit).decode()),  # noqa: S704  our own drawing
        range=likely(found),
        days=day_rows(found),
        changes=None if found.changes is None else change_rows(found.changes),
    )


def chart(steps: list[Step], unit: str) -> bytes:
    """Draw a waterfall as SVG: from the level, factor by factor, to the forecast."""
    values = [
        {
            "label": step.label,
            "low": min(step.start, step.end),
            "high": max(step.start, step.end),
            "colour": BLUE if step.factor is None else _UP if step.end > step.start else _DOWN,
            "text": number(step.end) if step.factor is None else f"x {step.factor:.2f}  {step.end - step.start:+.2f}",
        }
        for step in steps
    ]
    order = [step.label for step in steps]
    y = alt.Y("label:N", sort=order, title=None, axis=alt.Axis(ticks=False, domain=False, labelLimit=200))
    bars = alt.Chart(alt.Data(values=values)).encode(y=y, x=alt.X("low:Q", title=f"{unit} on the day"))
    boxes = bars.mark_bar(height=16).encode(x2="high:Q", color=alt.Color("colour:N", scale=None))
    text = bars.mark_text(align="left", dx=6, color="#333333").encode(x="high:Q", text="text:N")
    return drawn((boxes + text).properties(width=_WIDTH, height=_ROW * len(steps), padding=10))
