"""One frame is made while the one before it is stored."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def ahead(frames: Iterable[T]) -> Iterator[T]:
    """Return the same frames; a thread makes the next one meanwhile, so that one more of them is in memory."""
    left = iter(frames)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="ahead") as thread:
        coming = thread.submit(next, left, None)
        while (frame := coming.result()) is not None:
            coming = thread.submit(next, left, None)
            yield frame
