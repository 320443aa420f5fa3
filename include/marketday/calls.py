"""A step's call and its result, as data: what travels between Airflow, the step service and the library."""

import datetime as dt
import hashlib
import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

StepVersion = int | Literal["latest"]
"""Which version of a step is asked for; latest is whichever the service has."""


class Call(BaseModel):
    """One execution to be done: step, retailer, business day, block, input snapshots, parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: str = Field(description="Name of a registered step.", examples=["clean"])
    version: StepVersion = Field(
        default=1, description="Version of the step that is asked for; latest: whichever the service has."
    )
    retailer: str = Field(pattern=r"^[a-z][a-z0-9_]*$", examples=["simulated"])
    day: dt.date = Field(description="The business day that is planned for; sales are known up to the day before.")
    block: str | None = Field(default=None, description="Block of locations, for a step that is mapped over them.")
    inputs: dict[str, int] = Field(
        default_factory=dict,
        description="Table → version to read; others, and what the step reads so, at their latest.",
    )
    params: dict[str, Any] = Field(default_factory=dict, description="Parameters of the step.")

    @property
    def origin(self) -> dt.date:
        """The last day whose sales are known on the morning of ``day``."""
        return self.day - dt.timedelta(days=1)

    @property
    def key(self) -> str:
        """SHA-256 over the call's data: the idempotency key."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def __str__(self) -> str:
        version = "" if self.version == 1 else f"@{self.version}"
        block = f"[{self.block}]" if self.block else ""
        return f"{self.step}{version}{block} {self.retailer} {self.day}"


class Result(BaseModel):
    """What a step leaves behind: small enough for an XCom, never rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    snapshots: dict[str, int] = Field(default_factory=dict, description="Every table version known to the run so far.")
    hashes: dict[str, str] = Field(default_factory=dict, description="Content hash of each partition that was written.")
    rows: dict[str, int] = Field(default_factory=dict, description="Rows written per table.")
    facts: dict[str, Any] = Field(
        default_factory=dict, description="Small figures and lists for people and for later steps."
    )
    links: dict[str, str] = Field(default_factory=dict, description="Reports and pages, by title.")
