"""A running platform: whether it is healthy, what memory it holds, and the record by which others find it."""

import json
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import httpx

from marketday.embedded.processes import TAIL_LINES, Session, memory, tail
from marketday.errors import ServiceError
from marketday.settings import Settings

_SAMPLE_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True)
class Platform:
    """A running platform."""

    airflow_url: str
    service_url: str
    sessions: tuple[Session, ...]

    @property
    def ours(self) -> bool:
        """Whether this very process started it, and will stop it."""
        return all(session.process is not None for session in self.sessions)

    def check(self) -> None:
        """Look whether all that was started still runs.

        Raises:
            ServiceError: something has ended; shows the last lines of its log.

        """
        for session in self.sessions:
            if not session.leads():
                raise ServiceError(
                    f"The {session.name} has ended unexpectedly",
                    hint=f"Its last {TAIL_LINES} lines are below; `marketday up` starts everything again.",
                    evidence=tail(session.log),
                )

    def missing(self, timeout: float = 5.0) -> list[str]:
        """Return what does not answer within ``timeout`` seconds, or is not healthy."""
        service = [] if health_of(f"{self.service_url}/readyz", timeout) is not None else ["the step service"]
        health = health_of(f"{self.airflow_url}/api/v2/monitor/health", timeout)
        if health is None:
            return [*service, "Airflow"]
        parts = ("metadatabase", "scheduler", "dag_processor", "triggerer")
        return [*service, *(f"Airflow's {part}" for part in parts if health[part]["status"] != "healthy")]

    def settings(self, settings: Settings) -> Settings:
        """Return ``settings`` with the addresses of this platform."""
        return settings.model_copy(update={"airflow_url": self.airflow_url, "service_url": self.service_url})


class Peak:
    """The most memory that the platform has held, sampled in a thread while the context is open."""

    def __init__(self, platform: Platform) -> None:
        self.bytes = 0
        self._platform = platform
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _sample(self) -> None:
        while True:
            self.bytes = max(self.bytes, memory(self._platform.sessions))
            if self._done.wait(_SAMPLE_SECONDS):
                return


def record_path(home: Path) -> Path:
    """Return where the record of the platform in ``home`` lies."""
    return home / "platform.json"


def record(home: Path, platform: Platform, sessions: Sequence[Session]) -> None:
    """Write what runs in ``home``, whole or not at all."""
    parts = [
        {"name": s.name, "pid": s.pid, "created": s.created, "log": str(s.log), "patience": s.patience}
        for s in sessions
    ]
    content = {"airflow_url": platform.airflow_url, "service_url": platform.service_url, "sessions": parts}
    path = record_path(home)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content, indent=2), encoding="utf-8")
    part.replace(path)


def recorded(home: Path) -> Platform | None:
    """Return the platform that was last started in ``home`` and not stopped, dead or alive, or None."""
    path = record_path(home)
    if not path.exists():
        return None
    content = json.loads(path.read_text(encoding="utf-8"))
    sessions = tuple(Session(**{**part, "log": Path(part["log"])}) for part in content["sessions"])
    return Platform(airflow_url=content["airflow_url"], service_url=content["service_url"], sessions=sessions)


def health_of(url: str, timeout: float) -> dict[str, dict[str, str]] | None:
    """Return the JSON of a health page, or None while it does not answer well."""
    with suppress(httpx.HTTPError):
        answer = httpx.get(url, timeout=timeout, trust_env=False)
        if answer.is_success:
            page: dict[str, dict[str, str]] = answer.json()
            return page
    return None
