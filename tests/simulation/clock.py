"""One machine's time. It passes only when somebody looks at a clock, or when there is nothing to do but wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace

from simulation.patches import Patches

MS = 1_000_000
S = 1_000 * MS


class Clock:
    """`true_ns` is what really passes. The monotonic clock starts anew with every boot; the wall clock may be set."""

    def __init__(self, wall_ns: int) -> None:
        self.true_ns = 0
        self.booted_ns = -7_000 * S
        self.wall_offset_ns = wall_ns
        self.looked: Callable[[int], None] = lambda wall_ns: None
        """Told of every look at a clock."""

    def monotonic_ns(self) -> int:
        """The product's monotonic clock."""
        self._tick()
        self.looked(0)
        return self.mono_ns

    def time_ns(self) -> int:
        """The product's wall clock."""
        self._tick()
        wall_ns = self.wall_ns
        self.looked(wall_ns)
        return wall_ns

    @property
    def mono_ns(self) -> int:
        """Without anybody looking."""
        return self.true_ns - self.booted_ns

    @property
    def wall_ns(self) -> int:
        """Without anybody looking."""
        return self.true_ns + self.wall_offset_ns

    def _tick(self) -> None:
        self.true_ns += 300 + (self.true_ns * 31 & 1023)

    def sleep(self, seconds: float) -> None:
        """Whoever sleeps lets time pass."""
        self.true_ns += int(seconds * 1e9)

    def reboot(self, uptime_ns: int) -> None:
        """The monotonic clock now says `uptime_ns`."""
        self.booted_ns = self.true_ns - uptime_ns

    def install(self, patches: Patches) -> None:
        """Every clock of the product is this one."""
        stands_in = {
            "monotonic_ns": self.monotonic_ns, "time_ns": self.time_ns, "sleep": self.sleep,
            "monotonic": lambda: self.monotonic_ns() / 1e9, "time": lambda: self.time_ns() / 1e9,
            "perf_counter_ns": self.monotonic_ns,
        }  # fmt: skip
        for name, function in stands_in.items():
            patches.swap(getattr(time, name), function)
        patches.swap(time, SimpleNamespace(**{**vars(time), **stands_in}))
