"""Every check has a fault in the simulated retailer's delivery that it alone finds; clean deliveries break none."""

import datetime as dt

import pytest
from simulated_mornings import DAY, FIRST, ROOT, copied, deliver, morning

from marketday.checks import CHECKS
from marketday.settings import Settings
from marketday.simulator import FAULTS

TOGETHER = {
    "empty_cells": {"missing", "refused_share"},
    "units_times_100": {"units_scale", "refused_share", "volume"},
}
"""Faults of many rows: a high share of refused ones never comes without their reason, nor without too few units."""


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of a home in which the history was delivered and loaded."""
    home = tmp_path_factory.mktemp("before")
    settings = Settings(home=home, retailers=ROOT / "include" / "retailers")
    deliver(settings, FIRST, since=None)
    assert morning(settings, FIRST, load=True) == set()
    return settings


def test_every_check_has_a_fault():
    assert {fault.found_as for fault in FAULTS.values()} - {""} == set(CHECKS)


@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if fault.found_as])
def test_a_fault_is_found_as_its_check_and_as_nothing_else(before: Settings, tmp_path, name: str):
    if FAULTS[name].first:
        settings = Settings(home=tmp_path, retailers=before.retailers)
        deliver(settings, DAY, name, since=None)
    else:
        settings = copied(before, tmp_path / "copy")
        deliver(settings, DAY, name, since=DAY - dt.timedelta(days=1))
    assert morning(settings, DAY) == TOGETHER.get(name, {FAULTS[name].found_as})
