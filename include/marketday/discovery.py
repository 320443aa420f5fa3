"""Modules that register what they hold: a new file is all that a new step, feature or model needs."""

import importlib
import pkgutil
from collections.abc import Collection, Iterable

from marketday.errors import MarketdayError, StepError


def modules(package: str, *, but: Collection[str] = ()) -> tuple[str, ...]:
    """Return the full names of a package's modules by name, without those called one of ``but``."""
    found = pkgutil.iter_modules(importlib.import_module(package).__path__)
    return tuple(f"{package}.{module.name}" for module in found if module.name not in but)


def load(names: Iterable[str]) -> None:
    """Import modules by their full names, so that they register what they hold.

    Raises:
        StepError: one of them cannot be imported.

    """
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:
            told = error.message if isinstance(error, MarketdayError) else f"{type(error).__name__}: {error}"
            advice = error.hint if isinstance(error, MarketdayError) else "Correct the file, or take it away."
            raise StepError(f"{name} cannot be imported: {told}", hint=advice) from error
