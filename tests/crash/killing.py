"""Processes that are killed at a random moment: started from one that has everything imported, and told apart."""

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Mapping
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from random import Random
from typing import Any, NamedTuple

import pytest

Work = Callable[..., None]
"""What is done in the process: called with a function that tells the parent what is done, and its own arguments."""

PATIENCE = 60.0
"""Seconds that a machine with too much to do gets for what usually takes a moment."""


class Told(NamedTuple):
    """What became of a process."""

    done: list[Any]
    """What it told before it ended: its receipts."""
    finished: bool
    """Whether it came to its end."""
    seconds: float
    """From its first sign of life to its last, or to its death."""


_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["working"])


def carried_out(work: Work, *arguments: Any, environment: Mapping[str, str] | None = None) -> Told:
    """Let a process do its work to the end."""
    told = _run(work, arguments, environment, None)
    assert told.finished, "the work itself has failed; see the process's own traceback"
    return told


def killed(
    work: Work, *arguments: Any, within: float, draw: Random, environment: Mapping[str, str] | None = None
) -> Told:
    """Kill a process with SIGKILL at a random moment of ``within`` seconds after its first sign of life."""
    return _run(work, arguments, environment, draw.uniform(0.0, within))


def _run(work: Work, arguments: tuple[Any, ...], environment: Mapping[str, str] | None, after: float | None) -> Told:
    _preload()
    ours, theirs = _SERVER.Pipe(duplex=False)
    process = _SERVER.Process(target=_alive, args=(theirs, dict(environment or {}), work, arguments), daemon=False)
    process.start()
    theirs.close()
    assert ours.poll(PATIENCE), "the process gave no sign of life"
    assert ours.recv() == "alive"
    start = time.monotonic()
    if after is not None:
        process.join(after)
        process.kill()
    process.join(PATIENCE)
    done, seconds = _drained(ours), time.monotonic() - start
    return Told([told for told in done if told != "the end"], "the end" in done, seconds)


def _preload() -> None:
    """Start the process that the others are forked from; it finds what it imports by PYTHONPATH alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        forkserver.ensure_running()


def _drained(ours: Connection) -> list[Any]:
    done = []
    try:
        while True:
            done.append(ours.recv())
    except (EOFError, OSError):
        return done


def _alive(theirs: Connection, environment: dict[str, str], work: Work, arguments: tuple[Any, ...]) -> None:
    os.environ.update(environment)
    theirs.send("alive")
    work(theirs.send, *arguments)
    theirs.send("the end")
