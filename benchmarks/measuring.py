"""What benchmarks share: a peer's own environment, what a process costs, and what became of the promises."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil
from rich.console import Console

_SAMPLE_SECONDS = 0.02
_QUIET_SHARE = 0.15
"""Of one core, what an idle machine may take for itself, this program's own watching included."""


class Cost(NamedTuple):
    """What a process and all its children took."""

    seconds: float
    cpu: float
    """User and system seconds, from the first instruction of the process to its end."""
    memory: int
    """Peak of the resident memory of the tree, in bytes, sampled every 20 ms."""
    others: float
    """CPU seconds of all else on the machine meanwhile. Threads that wait for each other spin: what shares its cores
    with others takes more CPU seconds than alone, some libraries several times as many."""

    @property
    def disturbed(self) -> bool:
        """Whether others took so much that neither seconds nor CPU seconds say anything."""
        return self.others > _QUIET_SHARE * self.seconds


def environment(folder: Path, requirements: Sequence[Path]) -> Path:
    """Return the Python of an environment of its own; makes it from pinned requirements if it is not there."""
    python, done = folder / "bin" / "python", folder / "requirements.txt"
    wanted = "".join(file.read_text(encoding="utf-8") for file in requirements)
    if not done.exists() or done.read_text(encoding="utf-8") != wanted:
        uv = Path(sys.executable).with_name("uv")
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, folder], check=True)
        files = [part for file in requirements for part in ("-r", file)]
        install = [uv, "pip", "install", "--quiet", "--require-hashes", "--python", python, *files]
        subprocess.run(install, check=True)
        done.write_text(wanted, encoding="utf-8")
    return python


def measured(command: Sequence[str | Path], env: Mapping[str, str] | None = None) -> Cost:
    """Run a command to its end and return what it took; ends this program if it fails.

    ``env`` are variables besides those of this process.
    """
    started, busy, memory = time.perf_counter(), _busy(), 0
    process = subprocess.Popen(list(command), env={**os.environ, **(env or {})})
    tree = psutil.Process(process.pid)
    try:
        while True:
            # Unlike the poll of `subprocess`, wait4 tells the processor time of the process and its children.
            ended, status, used = os.wait4(process.pid, os.WNOHANG)
            if ended:
                break
            memory = max(memory, _resident(tree))
            time.sleep(_SAMPLE_SECONDS)
    except BaseException:
        process.kill()
        raise
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} ended with {process.returncode}")
    cpu = used.ru_utime + used.ru_stime
    return Cost(seconds, cpu, memory, max(_busy() - busy - cpu, 0.0))


def _busy() -> float:
    """Return the CPU seconds of the whole machine since it was started."""
    times = psutil.cpu_times()
    return float(times.user + getattr(times, "nice", 0.0) + times.system)


def _resident(tree: psutil.Process) -> int:
    try:
        return sum(one.memory_info().rss for one in [tree, *tree.children(recursive=True)])
    except psutil.NoSuchProcess:  # ended between two looks
        return 0


def undisturbed(costs: Sequence[Cost]) -> tuple[bool, str]:
    """Return the promise on which all others of time rest."""
    disturbed = sum(cost.disturbed for cost in costs)
    return not disturbed, f"{disturbed} of {len(costs)} runs shared the machine with something else (0)"


def settle(console: Console, promises: Sequence[tuple[bool, str]]) -> int:
    """Say of each promise whether it was kept; returns 1 if one was not, the program's exit code."""
    for kept, promise in promises:
        console.print(f"{'[green]kept  [/]' if kept else '[red]broken[/]'} {promise}")
    return 0 if all(kept for kept, _ in promises) else 1
