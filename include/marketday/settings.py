"""Configuration from the environment (``MARKETDAY_*``), and the one table of resource classes.

Every default is embedded: a folder below ``MARKETDAY_HOME`` (``./var`` unless set) or loopback. Nothing is read at
import; :func:`load` reads the environment when it is called.
"""

import itertools
import json
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from marketday.errors import SettingsError, listed

Size = Literal["S", "M", "L", "XL"]
LogLevel = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(str.upper)]
"""In capitals or not."""


class ResourceClass(NamedTuple):
    """What a step of this size may use: cores, memory in GiB, seconds of wall time."""

    cores: int
    memory_gib: float
    seconds: int


# What each class is, where MARKETDAY_RESOURCE_CLASSES does not say otherwise.
RESOURCE_CLASSES: dict[Size, ResourceClass] = {
    "S": ResourceClass(cores=1, memory_gib=2.0, seconds=300),
    "M": ResourceClass(cores=2, memory_gib=6.0, seconds=900),
    "L": ResourceClass(cores=2, memory_gib=12.0, seconds=1800),
    "XL": ResourceClass(cores=8, memory_gib=48.0, seconds=7200),
}


def next_larger(size: Size) -> Size | None:
    """Return the resource class that comes after ``size``, or None after the largest."""
    sizes = list(RESOURCE_CLASSES)
    after = sizes.index(size) + 1
    return sizes[after] if after < len(sizes) else None


def _completed(given: object) -> object:
    """Complete the classes that are given, as ``{"S": {"seconds": 60}}``, with what they usually are."""
    changes = json.loads(given) if isinstance(given, str) else given
    if not isinstance(changes, dict) or not all(isinstance(change, dict) for change in changes.values()):
        raise ValueError('not a JSON object of objects, such as {"S": {"memory_gib": 4}}')
    if surplus := sorted(set(changes) - set(RESOURCE_CLASSES)):
        raise ValueError(f"there is no class {listed(surplus)}; the classes are {listed(RESOURCE_CLASSES)}")
    return {name: {**usual._asdict(), **changes.get(name, {})} for name, usual in RESOURCE_CLASSES.items()}


def _ascending(classes: dict[Size, ResourceClass]) -> dict[Size, ResourceClass]:
    """Refuse classes that are none, or that an attempt which ran out of memory would not be helped by."""
    for name, limit in classes.items():
        if min(limit) <= 0:
            raise ValueError(f"class {name} has {limit}: each figure must be above 0")
    for (small, one), (large, other) in itertools.pairwise(classes.items()):
        if one.memory_gib >= other.memory_gib:
            raise ValueError(
                f"class {large} has {other.memory_gib:g} GiB, and must have more than class {small} with "
                f"{one.memory_gib:g} GiB"
            )
    return classes


ResourceClasses = Annotated[
    dict[Size, ResourceClass], NoDecode, BeforeValidator(_completed), AfterValidator(_ascending)
]
"""Every class, each with more memory than the one before."""


class Settings(BaseSettings):
    """All that the environment decides. The variable is the field's name with ``MARKETDAY_`` before it."""

    model_config = SettingsConfigDict(env_prefix="MARKETDAY_", extra="ignore", frozen=True)

    home: Path = Field(default=Path("var"), description="Folder of everything that has no place of its own.")
    warehouse: str = Field(
        default="", description="Delta tables: a folder or an object store URL. Default: HOME/warehouse."
    )
    deliveries: str = Field(
        default="", description="Accepted deliveries: a folder or an object store URL. Default: HOME/deliveries."
    )
    delivery_bytes: int = Field(default=2 << 30, ge=1, description="Bytes that one delivered file may have as sent.")
    delivery_unfolded_bytes: int = Field(
        default=4 << 30, ge=1, description="Bytes that one delivered file may have once it is decompressed and decoded."
    )
    delivery_rows: int = Field(default=100_000_000, ge=1, description="Rows that one delivered file may have.")
    delivery_columns: int = Field(default=100, ge=1, description="Columns that one delivered file may have.")
    delivery_memory: float = Field(
        default=0.25, ge=0.1, le=64.0, description="GiB of memory for reading one delivered file."
    )
    delivery_seconds: int = Field(default=300, ge=1, description="Seconds that reading one delivered file may take.")
    reports: Path | None = Field(default=None, description="Folder of gate evidence and plots. Default: HOME/reports.")
    retailers: Path = Field(default=Path("include/retailers"), description="Folder of retailer definitions.")
    data: Path = Field(
        default=Path("../shared/data"), description="Folder of the real data sets m5 and freshretailnet."
    )
    service_url: str = Field(default="http://127.0.0.1:8600", description="Where the step service answers.")
    service_slots: int = Field(default=2, ge=1, le=64, description="Jobs that one step service runs at a time.")
    service_token: SecretStr = Field(
        default=SecretStr(""), description="What callers of the step service must show. Default: nothing is asked for."
    )
    delivery_rate: int = Field(
        default=6000,
        ge=0,
        description="Requests to the delivery API per minute from each retailer, and from each address that shows no"
        " valid token. 0: any number.",
    )
    service_grace: float = Field(
        default=20.0, ge=0.0, le=3600.0, description="Seconds that running jobs get to end once the service must stop."
    )
    lease: float = Field(
        default=15.0,
        ge=1.0,
        le=600.0,
        description="Seconds without a sign of life after which a service's jobs are lost.",
    )
    resource_classes: ResourceClasses = Field(
        default_factory=dict,
        description='What a step of a class may use, where not the usual, as JSON: {"S": {"memory_gib": 4}}.',
    )
    stage: Literal["development", "staging", "production"] = Field(
        default="development", description="Which environment this is: development, staging or production."
    )
    step_modules: str = Field(
        default="", description="Extra modules that register steps, models or features, separated by spaces."
    )
    jobs_url: str = Field(
        default="",
        description="SQLAlchemy URL of the job store, shared by all replicas of the service. Default: SQLite in HOME.",
    )
    dask_scheduler: str = Field(
        default="threads",
        description='"threads" (in the job\'s process), "workers" (processes of the job), "synchronous", or a'
        " cluster's address tcp://….",
    )
    airflow_url: str = Field(default="http://127.0.0.1:8080", description="Where Airflow's API server answers.")
    airflow_user: str = Field(default="admin", description="User for Airflow's API.")
    airflow_password: SecretStr = Field(
        default=SecretStr(""), description="Password for Airflow's API. Default: the embedded Airflow's own."
    )
    mlflow: str = Field(default="", description="MLflow's tracking address. Default: SQLite in HOME, no server.")
    image: str = Field(default="", description="Container image of this release, for steps that run as pods.")
    namespace: str = Field(default="default", description="Kubernetes namespace of the pods.")
    sentry_dsn: SecretStr = Field(default=SecretStr(""), description="Where errors are reported. Default: nowhere.")
    log_level: LogLevel = Field(default="INFO", description="DEBUG, INFO, WARNING or ERROR.")

    @property
    def warehouse_url(self) -> str:
        """Root of the warehouse."""
        return self.warehouse or str((self.home / "warehouse").resolve())

    @property
    def deliveries_url(self) -> str:
        """Root of the accepted deliveries."""
        return self.deliveries or str((self.home / "deliveries").resolve())

    @property
    def reports_path(self) -> Path:
        """Root of gate evidence and plots."""
        return (self.reports or self.home / "reports").resolve()

    @property
    def mlflow_url(self) -> str:
        """Where backtests are tracked."""
        return self.mlflow or f"sqlite:///{(self.home / 'mlflow.db').resolve()}"

    @property
    def reports_url(self) -> str:
        """Where the step service shows the reports."""
        return f"{self.service_url}/reports"

    @property
    def jobs_database(self) -> str:
        """SQLAlchemy URL of the job store."""
        return self.jobs_url or f"sqlite:///{(self.home / 'jobs.db').resolve()}"


def load() -> Settings:
    """Read the settings from the environment.

    Raises:
        SettingsError: a variable has a value that is not allowed.

    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = "MARKETDAY_" + str(first["loc"][0]).upper()
        inside = "".join(f"[{part}]" for part in first["loc"][1:])
        description = Settings.model_fields[str(first["loc"][0])].description
        raise SettingsError(
            f"{name}{inside}={first['input']!r}: {first['msg']}",
            hint=f"{name} is: {description} Unset it for the default.",
        ) from error
