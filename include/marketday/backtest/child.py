"""What runs inside an origin's own process: the replay, its log, and the report to the parent."""

import datetime as dt
import os
import signal
import sys
import threading
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import dask

from marketday.backtest.folders import Folders
from marketday.backtest.plan import Plan
from marketday.backtest.replay import Replay
from marketday.backtest.sources import Source
from marketday.errors import JobFailed, MarketdayError
from marketday.settings import Settings


def main(
    *,
    plan: Plan,
    origin: dt.date,
    source: Source,
    settings: Settings,
    folders: Folders,
    threads: int,
    parent: "Connection[Any, Any]",
) -> None:
    """Replay one origin and report (`stage`, name) and at last (`done`, None) or (`failed`, error) to the parent.

    The process ends itself if the parent goes away. All that is printed goes to the origin's log.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which decides
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    _write_to(folders.log(origin))
    dask.config.set(num_workers=threads)
    try:
        home = folders.home(origin)
        (home / "retailers").mkdir(parents=True)
        (home / "retailers" / f"{plan.retailer.name}.yaml").write_text(plan.definition, encoding="utf-8")
        replay = Replay(
            plan,
            origin,
            source=source,
            settings=settings,
            home=home,
            tell=lambda stage: parent.send(("stage", stage)),
        )
        replay.run(folders.part(origin), folders.result(origin))
    except Exception as error:  # noqa: BLE001  whatever it is, the parent must hear of it
        traceback.print_exception(error)
        ours = error if isinstance(error, MarketdayError) else JobFailed(f"{type(error).__name__}: {error}")
        sys.stderr.flush()
        parent.send(("failed", ours.to_dict()))
    else:
        parent.send(("done", None))


def _end_with(parent: "Connection[Any, Any]") -> None:
    # The parent never sends anything: the connection becomes readable when its other end is gone.
    parent.poll(None)
    os._exit(1)


def _write_to(log: Path) -> None:
    """Send what this process prints, C libraries too, into a file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)
