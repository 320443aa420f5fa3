"""Gates: suites of Great Expectations on small summaries, each with a verdict and a page as evidence.

Each gate's module computes its summaries from snapshots with polars (one row per table, day, location …, never
millions) and states what is expected of them. :func:`run_gate` validates, and knows nothing of retail.

Great Expectations takes seconds to import, so import this package only where a gate is run.
"""

from marketday.gates import clean, forecast, orders, sales
from marketday.gates.validation import Suite, Summaries, Verdict, expect, run_gate

__all__ = ["Suite", "Summaries", "Verdict", "clean", "expect", "forecast", "orders", "run_gate", "sales"]
