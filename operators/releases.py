"""Which version of a step a pipeline calls, in which resource class and where: this release's own, unless pinned."""

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from marketday.calls import StepVersion
from marketday.errors import RetailerError, listed
from marketday.retailers import Retailer
from marketday.settings import Size


class Release(NamedTuple):
    """A step's release: its resource class, its version, and the URL of the step service that has it."""

    size: Size
    version: StepVersion = 1
    service: str = ""
    """Empty: the service of all steps that are not pinned."""


# What the steps themselves declare (a test compares them): reading that would import what they compute with.
STEPS: dict[str, Release] = {
    "ingest": Release("S"),
    "replay": Release("M"),
    "clean": Release("M"),
    "gate_clean": Release("M"),
    "load": Release("M"),
    "train": Release("L"),
    "features": Release("M"),
    "predict": Release("M"),
    "calibrate": Release("M"),
    "gate_forecast": Release("S"),
    "orders": Release("S"),
    "gate_orders": Release("S"),
    "publish": Release("S"),
    "verify": Release("S"),
    "fsck": Release("L"),
    "compact": Release("L"),
    "checkpoint": Release("S"),
    "vacuum": Release("M"),
}


def release_of(step: str, retailer: Retailer) -> Release:
    """Return the release of ``step`` that the retailer's pipeline calls."""
    release = STEPS[step]
    if step in retailer.resources:
        release = release._replace(size=retailer.resources[step])
    if step in retailer.pins:
        pin = retailer.pins[step]
        release = release._replace(version=pin.version, service=pin.service)
    return release


def check(retailer: Retailer, file: Path, stage: str) -> None:
    """Refuse pins and resource classes that the retailer's pipeline cannot have.

    Raises:
        RetailerError: a step that is in no pipeline, ``latest`` outside staging, or a service where no service carries
            the steps out; says the definition's file, the key and what is allowed.

    """
    complaints = [f"{file}: {complaint}" for complaint in _complaints(retailer, stage)]
    if complaints:
        raise RetailerError("\n".join(complaints))


def _complaints(retailer: Retailer, stage: str) -> Iterator[str]:
    for section in ("pins", "resources"):
        for step in getattr(retailer, section):
            if step not in STEPS:
                near = difflib.get_close_matches(step, STEPS, n=1)
                meant = f"did you mean `{near[0]}`? " if near else ""
                yield f"{section}.{step}: there is no such step; {meant}Allowed: {listed(STEPS, most=len(STEPS))}"
    for step, pin in retailer.pins.items():
        if pin.version == "latest" and stage != "staging":
            yield (
                f"pins.{step}.version: latest is allowed only in staging (MARKETDAY_STAGE=staging), and this is "
                f"{stage}; name a version, such as 1"
            )
        if pin.service and retailer.runner != "service":
            yield (
                f"pins.{step}.service: {pin.service} would never be asked, because `runner` is {retailer.runner}; "
                "leave it out, or let `runner` be service"
            )
