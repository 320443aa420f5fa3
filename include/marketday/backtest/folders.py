"""Where a backtest's parts lie below its folder."""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Folders:
    """Places below ``root``."""

    root: Path

    @property
    def definitions(self) -> Path:
        """The definition that is replayed."""
        return self.root / "definition"

    def result(self, origin: dt.date) -> Path:
        """Return the folder of what an origin's replay left: there as a whole or not at all."""
        return self.root / "forecasts" / origin.isoformat()

    def part(self, origin: dt.date) -> Path:
        """Return the folder in which that result is made."""
        return self.root / "forecasts" / f".{origin.isoformat()}.part"

    def home(self, origin: dt.date) -> Path:
        """Return the folder of an origin's throw-away warehouse and all else that its steps write."""
        return self.root / "work" / origin.isoformat()

    def log(self, origin: dt.date) -> Path:
        """Return the file of what the steps of an origin printed."""
        return self.root / "logs" / f"{origin.isoformat()}.log"
