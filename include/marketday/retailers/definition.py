"""What a retailer's definition says: its fields, their defaults and what is allowed."""

import datetime as dt
import difflib
import hashlib
import re
from collections.abc import Iterable
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from marketday.checks import CHECKS, LEFT_OUT, Severity, misused
from marketday.settings import Size

# Lowest and highest number of each field of a cron line: minute, hour, day of the month, month, day of the week.
_CRON_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_CRON_FIELD = re.compile(r"(\*|\d+(-\d+)?)(/\d+)?(,(\*|\d+(-\d+)?)(/\d+)?)*")


def _time_zone(name: str) -> str:
    if name not in available_timezones():
        near = difflib.get_close_matches(name, available_timezones(), n=3)
        raise ValueError(f"not a time zone; did you mean {' or '.join(near) or 'one such as Europe/Berlin'}?")
    return name


def _cron(text: str) -> str:
    fields = text.split()
    if len(fields) != len(_CRON_RANGES):
        raise ValueError("not a cron line of five fields, such as `0 4 * * *`")
    for field, (low, high) in zip(fields, _CRON_RANGES, strict=True):
        if not _CRON_FIELD.fullmatch(field) or not all(low <= int(n) <= high for n in re.findall(r"\d+", field)):
            raise ValueError(f"`{field}` is not a field of a cron line with numbers from {low} to {high}")
    return text


def _time(value: object) -> object:
    # YAML 1.1 reads an unquoted 05:30 as the base-60 number 330.
    return dt.time(value // 60, value % 60) if isinstance(value, int) else value


Clock = Annotated[dt.time, BeforeValidator(_time)]
Cron = Annotated[str, AfterValidator(_cron)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Training(_Part):
    """When and from what the model is trained."""

    schedule: Cron = Field(
        default="0 1 * * 1",
        description="Cron line of the training DAG, in the retailer's time zone. The model may be used from the day"
        " that it falls on, so it lies before that day's daily run.",
    )
    model: str = Field(
        default="gbm",
        pattern=r"^[a-z][a-z0-9_]*$",
        description="Kind of model: gbm, or one that was added to marketday.models.",
    )
    history_days: int = Field(default=1460, ge=28, le=3650, description="Days of history that are learnt from.")
    rows: int = Field(
        default=950_000,
        ge=1000,
        description="Most days of series that are learnt from, drawn at random: more take longer and tell little more.",
    )
    rounds: int = Field(default=250, ge=2, le=5000, description="Boosting rounds.")
    leaves: int = Field(default=63, ge=2, le=1023, description="Leaves per tree.")
    learning_rate: float = Field(default=0.06, gt=0.0, le=1.0, description="Learning rate.")


class Calibration(_Part):
    """How recent bias is removed."""

    window_days: int = Field(default=28, ge=7, le=182, description="Past days that are compared.")
    lower: float = Field(default=0.8, gt=0.0, le=1.0, description="Least factor.")
    upper: float = Field(default=1.25, ge=1.0, le=5.0, description="Largest factor.")
    prior_units: float = Field(
        default=200.0, ge=0.0, description="Units of imagined unbiased sales: shrinks small segments to 1."
    )


class Orders(_Part):
    """How order proposals are made; leave the section out for a retailer that wants forecasts only."""

    service_level: float = Field(
        default=0.95, gt=0.0, lt=1.0, description="Chance not to run out before the next arrival."
    )


class Gates(_Part):
    """Thresholds of the gates."""

    refused_share: Share = Field(default=0.05, description="Most of a delivered table's rows that may be refused.")
    volume_low: float = Field(
        default=0.25, ge=0.0, description="Least of a location's units against the same weekday's mean."
    )
    volume_high: float = Field(
        default=4.0, gt=1.0, description="Most of a location's units against the same weekday's mean."
    )
    forecast_low: float = Field(
        default=0.5, ge=0.0, description="Least of the forecast's daily mean against the last 28 days'."
    )
    forecast_high: float = Field(
        default=2.0, gt=1.0, description="Most of the forecast's daily mean against the last 28 days'."
    )
    order_cover_days: float = Field(
        default=60.0, gt=0.0, description="Most days of expected demand that one order may cover."
    )


class Checks(_Part):
    """Which checks of a delivery hold; `marketday checks` lists them."""

    left_out: tuple[str, ...] = Field(default=(), description="Codes of checks that do not hold here.")
    severity: dict[str, Severity] = Field(
        default_factory=dict, description="By code, another severity than the check's own: refuse, warn or fail."
    )

    @field_validator("left_out")
    @classmethod
    def _may_be_left_out(cls, codes: tuple[str, ...]) -> tuple[str, ...]:
        _complain(misused(code, LEFT_OUT) for code in codes)
        return codes

    @field_validator("severity")
    @classmethod
    def _may_be_so(cls, given: dict[str, Severity]) -> dict[str, Severity]:
        _complain(misused(code, severity) for code, severity in given.items())
        return given

    def of(self, code: str) -> Severity | None:
        """Return the severity of a check here; None if it is left out."""
        return None if code in self.left_out else self.severity.get(code, CHECKS[code].severity)


def _complain(complaints: Iterable[str]) -> None:
    if wrong := [complaint for complaint in complaints if complaint]:
        raise ValueError("; ".join(wrong))


class Maintenance(_Part):
    """How what is stored is looked after."""

    schedule: Cron = Field(
        default="0 13 * * 0",
        description="Cron line of the maintenance DAG, in the retailer's time zone: after the day's run has ended.",
    )
    retention_days: int = Field(
        default=30,
        ge=1,
        le=3650,
        description="Days for which every version of every table can be read. Those that a published run refers to can"
        " be read for ever.",
    )


class Pin(_Part):
    """Which release of a step a pipeline uses."""

    version: int | Literal["latest"] = Field(
        description="Version of the step that is called; latest, whichever the service has, only in staging."
    )
    service: str = Field(
        default="",
        pattern=r"^(https?://.+)?$",
        description="URL of the step service that has it. Default: the service of all other steps.",
    )


class Retailer(_Part):
    """A tenant and its pipeline."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="Name in DAGs, tables and URLs; the file's own name.")
    title: str = Field(description="Name for people.")
    time_zone: Annotated[str, AfterValidator(_time_zone)] = Field(description="IANA time zone of its business days.")
    schedule: Cron = Field(default="0 4 * * *", description="Cron line of the daily run, in that time zone.")
    cut_off: Clock = Field(default=dt.time(5, 30), description="When the run goes on without the delivery.")
    deadline: Clock = Field(default=dt.time(6, 30), description="When the orders must be published.")
    source: Literal["simulator", "m5", "freshretailnet", "none"] = Field(
        default="none", description="What acts as the customer in `marketday deliver`; none: a real one does."
    )
    horizon: int = Field(default=28, ge=1, le=91, description="Days that are forecast; 1 is the business day itself.")
    block_size: int = Field(
        default=50, ge=1, description="Locations per block: the unit of mapped tasks and of memory."
    )
    late_days: int = Field(
        default=7,
        ge=0,
        le=91,
        description="Days before the origin whose sales a daily delivery may still bring; days after the last known "
        "sales it always may.",
    )
    replay_days: int = Field(
        default=28,
        ge=0,
        le=366,
        description="Days for which a refused row that waits for master data is tried again, every morning.",
    )
    absent_sales: Literal["missing", "zero"] = Field(
        default="missing",
        description="What a listed product without a sales row means, on a day on which its location reports.",
    )
    runner: Literal["service", "local", "pod"] = Field(default="service", description="What carries the steps out.")
    pins: dict[str, Pin] = Field(
        default_factory=dict, description="Version and service by step, where not this release's own."
    )
    resources: dict[str, Size] = Field(
        default_factory=dict, description="Resource class by step, where not the step's own."
    )
    training: Training = Training()
    calibration: Calibration = Calibration()
    orders: Orders | None = None
    gates: Gates = Gates()
    maintenance: Maintenance = Maintenance()
    checks: Checks = Checks()

    @property
    def zone(self) -> ZoneInfo:
        """Time zone of the business days."""
        return ZoneInfo(self.time_zone)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the whole definition: changes with any value."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    def cut_off_at(self, day: dt.date) -> dt.datetime:
        """Return the instant of the cut-off on ``day``."""
        return dt.datetime.combine(day, self.cut_off, tzinfo=self.zone)

    def partition_key(self, day: dt.date) -> str:
        """Return Airflow's partition key of ``day``: ``retailer|day``."""
        return f"{self.name}|{day.isoformat()}"
