"""What the process of a job may use: threads, memory, priority; and what is said when that was not enough.

Memory is watched from outside, over all processes of the job (:class:`Watch`); what grows faster than that is refused
by the kernel (:func:`apply`). Wall time is not applied here: the job slots count it.
"""

import errno
import os
import re
import resource
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

import dask
import pyarrow as pa

from marketday.errors import OutOfMemory, TooLarge
from marketday.service.job_log import tail
from marketday.settings import ResourceClass, Size

GIB = 1 << 30

NICE = 5
"""A job's processes get about a third of the CPU time of the service itself, where both want it."""

_RESERVED_FACTOR = 2.0
_RESERVED_MORE = 2 * GIB
"""Writable memory that a process may reserve: so many times its class's memory, and so many bytes more.

Libraries reserve more than they touch. Measured at their peaks, with 2 and 16 threads: polars 1.5 and arrow 1.6 times
the resident memory (2 to 6 GiB), Dask, LightGBM and Great Expectations less than 1.2 GiB more, reading and writing
Delta 1.6 GiB more.
"""

_REFUSAL = re.compile(rb"memory allocation of \d+ bytes failed|std::bad_alloc")

_GROWTH = 1.05
"""The watch reads the exact, dear figure again when the cheap one has grown by this factor."""


def apply(limit: ResourceClass) -> None:
    """Bind this process, and what it will start, to ``limit``: called in a job's process before its step.

    Reserving far more memory than the class has fails with MemoryError, or ends native code that does not expect it.
    polars' threads are not bound here: their number is fixed when the fork server imports polars.
    """
    threads = min(limit.cores, len(os.sched_getaffinity(0)))
    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ[f"{library}_NUM_THREADS"] = str(threads)
    os.environ["POLARS_MAX_THREADS"] = str(threads)
    pa.set_cpu_count(threads)
    pa.set_io_thread_count(threads)
    dask.config.set(num_workers=threads)
    if lightgbm := sys.modules.get("lightgbm"):  # What is loaded has read its environment already.
        lightgbm.basic._LIB.LGBM_SetMaxThreads(threads)  # noqa: SLF001  its Python interface has no name for it
    reserved = int(limit.memory_gib * GIB * _RESERVED_FACTOR) + _RESERVED_MORE
    resource.setrlimit(resource.RLIMIT_DATA, (reserved, reserved))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(NICE)


def out_of_memory(
    what: object,
    size: Size,
    classes: Mapping[Size, ResourceClass],
    peak: int,
    *,
    larger: Size | None,
    cause: str = "",
) -> OutOfMemory | TooLarge:
    """Return the error of a job of class ``size`` that did not have enough memory; ``peak`` is in bytes.

    ``larger`` is the class that its next attempt will have; None: there is none, and no attempt would help. ``cause``
    is what a library said that was refused memory.
    """
    limit = classes[size].memory_gib
    message = f"{what} ran out of memory in class {size}: it had {peak / GIB:.1f} GiB of {limit:g} GiB"
    message += f" and asked for more ({cause})" if cause else ""
    if larger is None:
        return TooLarge(
            f"{message}. No larger class is tried",
            hint="Make its blocks smaller, or its class larger: `block_size` and `resources` of the retailer.",
        )
    return OutOfMemory(
        f"{message}. Its next attempt runs in class {larger}, with {classes[larger].memory_gib:g} GiB",
        hint=f"Run it again. If it needs {larger} every day, say so in the retailer's `resources`.",
    )


def refused(error: BaseException) -> OutOfMemory | None:
    """Return OutOfMemory in the words of the refusal if ``error`` comes from memory that was refused, else None."""
    link: BaseException | None = error
    while link is not None:
        no_memory = isinstance(link, OSError) and link.errno == errno.ENOMEM
        if isinstance(link, MemoryError) or no_memory or "bad_alloc" in str(link):
            return OutOfMemory(str(link) or type(link).__name__)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return None


def refused_in(log: Path) -> str:
    """Return what native code has said in the log of a process that it ended because memory was refused, or nothing.

    The allocators of Rust (polars, delta-rs) and C++ do not raise: they say so and abort.
    """
    said = _REFUSAL.findall(tail(log))  # a backtrace may follow
    return said[-1].decode() if said else ""


class Watch:
    """Memory of a job's processes against its class: ``peak`` and ``limit`` are in bytes.

    Memory is what nobody else could have: resident, anonymous or shared (not files). Jobs are forked from a server with
    240 MB of libraries in memory, so a page that several processes have counts by its part in each (PSS). The kernel
    finds that page by page, in 7 ms for such a process and 12 ms more per GiB, but resident memory (RSS) at once. So
    PSS is read when RSS has grown by 5 %, or seems to be above the limit; in between, it moves as RSS does.
    """

    def __init__(self, limit: ResourceClass) -> None:
        self.limit = int(limit.memory_gib * GIB)
        self.peak = 0
        self._resident = 0
        self._shared = 0

    @property
    def exceeded(self) -> bool:
        """Whether any sample was above the limit."""
        return self.peak > self.limit

    def sample(self, pids: Collection[int]) -> None:
        """Look at the memory of these processes now; one that is gone counts for nothing."""
        of_each = {pid: _figures(pid, "status", "RssAnon", "RssShmem") or 0 for pid in pids}
        resident = sum(of_each.values())
        if resident > self._resident * _GROWTH or resident - self._shared > self.limit:
            own = (_figures(pid, "smaps_rollup", "Pss_Anon", "Pss_Shmem") for pid in pids)
            self._resident = resident
            self._shared = sum(rss - pss for rss, pss in zip(of_each.values(), own, strict=True) if pss is not None)
        self.peak = max(self.peak, resident - self._shared)


def _figures(pid: int, file: str, *names: str) -> int | None:
    """Return the sum of figures of a file below ``/proc/PID``, in bytes; None if it cannot be read.

    The process may be gone; some hardened or emulated kernels tell no PSS.
    """
    try:
        lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    kilobytes = dict(line.split(":", 1) for line in lines if ":" in line)
    return sum(int(kilobytes.get(name, "0 kB").split()[0]) for name in names) * 1024
