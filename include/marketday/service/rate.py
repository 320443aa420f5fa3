"""How often somebody may ask: a token bucket for each, in the memory of one service process."""

import time
from collections import OrderedDict
from collections.abc import Callable

_MOST = 10_000
"""Buckets that are remembered. Of more, those asked for longest ago are forgotten, and begin anew."""


class Rate:
    """Allows ``per_minute`` requests a minute to each who asks, also all at once; 0 allows any number.

    Every process has its own buckets: with N replicas, somebody whose requests reach all of them has N times as many.
    ``clock`` gives seconds that only grow.
    """

    def __init__(self, per_minute: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._full = per_minute
        self._per_second = per_minute / 60.0
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # (what was left, and when)

    def wait(self, who: str) -> float:
        """Count a request and return 0, or return after how many seconds the next one is allowed."""
        if self._full == 0:
            return 0.0
        now = self._clock()
        left, then = self._buckets.pop(who, (self._full, now))
        left = min(self._full, left + (now - then) * self._per_second)
        allowed = left >= 1.0
        self._buckets[who] = (left - 1.0 if allowed else left, now)
        if len(self._buckets) > _MOST:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1.0 - left) / self._per_second
