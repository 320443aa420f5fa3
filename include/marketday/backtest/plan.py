"""What a backtest replays, as data; and the key by which a finished origin is known again."""

import datetime as dt
import hashlib
import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

import marketday
from marketday import retailers
from marketday.errors import RetailerError
from marketday.retailers import Retailer
from marketday.settings import Settings

_LIBRARIES = ("lightgbm", "numpy", "polars", "scipy")
"""Their versions are in the key: another one may give other figures."""

_FRONT_ENDS = ("cli/", "kit/", "embedded/", "service/", "plots.py", "publishing.py", "client.py")
_AFTER_THE_REPLAY = tuple(
    f"backtest/{name}" for name in ("charts", "child", "pool", "report", "run", "scores", "tracking")
)
"""Source files that cannot change what an origin's replay leaves, so that a new chart costs no new replay."""


class Plan(BaseModel):
    """Origins of one retailer, and how they are replayed."""

    model_config = ConfigDict(frozen=True)

    retailer: Retailer
    """With the horizon and values that were asked for."""
    origins: tuple[dt.date, ...]
    series: int | None = None
    """Replay only so many series, the same ones at every origin; None: all."""
    locations: tuple[str, ...] = ()
    """Replay only these locations; empty: all."""
    definition: str
    """The retailer's definition as YAML."""
    versions: dict[str, str]
    """What makes the figures: see :func:`versions`."""

    def key(self, origin: dt.date, data: Mapping[str, Any]) -> str:
        """SHA-256 over all that decides an origin's result: definition, options, data, code and libraries."""
        parts = {
            "retailer": self.retailer.fingerprint,
            "origin": origin.isoformat(),
            "series": self.series,
            "locations": sorted(self.locations),
            "data": dict(data),
            "versions": self.versions,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def make(
    name: str,
    settings: Settings,
    folder: Path,
    *,
    origins: Sequence[dt.date],
    horizon: int | None = None,
    changes: Mapping[str, Any] | None = None,
    series: int | None = None,
    locations: Sequence[str] = (),
) -> Plan:
    """Return the plan, and leave the changed definition in ``folder``, where the replayed steps read it.

    ``changes`` are values by dotted name, such as ``training.rounds``.

    Raises:
        RetailerError: there is no such retailer, or a changed value is not allowed.

    """
    retailers.load(name, settings.retailers)
    given = yaml.safe_load((settings.retailers / f"{name}.yaml").read_text(encoding="utf-8"))
    for dotted, value in {**(changes or {}), **({"horizon": horizon} if horizon else {})}.items():
        part = given
        *above, last = dotted.split(".")
        for key in above:
            part = part.setdefault(key, {})
            if not isinstance(part, dict):
                raise RetailerError(f"{dotted}: {key} has no parts", hint="Name a value such as training.rounds.")
        part[last] = value
    text = yaml.safe_dump(given, sort_keys=False, allow_unicode=True)
    folder.mkdir(parents=True, exist_ok=True)
    part_file = folder / f".{name}.part"
    part_file.write_text(text, encoding="utf-8")
    part_file.replace(folder / f"{name}.yaml")
    return Plan(
        retailer=retailers.load(name, folder),
        origins=tuple(sorted(set(origins))),
        series=series,
        locations=tuple(locations),
        definition=text,
        versions=versions(),
    )


def versions() -> dict[str, str]:
    """Return what made the figures: this package's version and source code, and the libraries' versions."""
    libraries = {name: importlib.metadata.version(name) for name in _LIBRARIES}
    return {"marketday": marketday.__version__, "code": _code(), **libraries}


def _code() -> str:
    root = Path(marketday.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root).as_posix()
        if not name.startswith((*_FRONT_ENDS, *_AFTER_THE_REPLAY)):
            digest.update(name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]
