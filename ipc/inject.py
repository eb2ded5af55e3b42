"""Named points at which a test may have a process killed or stopped by itself; off, they cost one look at a global.

Armed by the environment alone: OMS_INJECT_COUNTS names a file that all processes of a desk share, in which every point
counts how often anybody came along (it survives them); OMS_INJECT says what is to happen, e.g.

    OMS_INJECT="sender.synced=3:kill intake.journalled=10:stop"

The process that comes along a point for the n-th time (counted over all lives) kills or stops itself there: SIGKILL,
or SIGSTOP until somebody sends SIGCONT. `arm` does the same while they run.

    counts file   entries of 64 bytes: name (48, NUL padded), count u64, the count at which to be killed u64 (0: none)
"""

from __future__ import annotations

import fcntl
import mmap
import os
import signal

COUNTS, PLANS = "OMS_INJECT_COUNTS", "OMS_INJECT"
ENTRY_BYTES, NAME_BYTES, POINTS_MAX = 64, 48, 256
_SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}


class _Armed:
    """What an armed process knows."""

    def __init__(self, path: str, plans: str) -> None:
        self._plans: dict[tuple[str, int], signal.Signals] = {}
        for plan in plans.split():
            name, _, rest = plan.partition("=")
            count, _, action = rest.partition(":")
            self._plans[name, int(count)] = _SIGNALS[action]
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if os.fstat(self._fd).st_size < POINTS_MAX * ENTRY_BYTES:
            os.ftruncate(self._fd, POINTS_MAX * ENTRY_BYTES)
        self._view = memoryview(mmap.mmap(self._fd, POINTS_MAX * ENTRY_BYTES))
        self._words = self._view.cast("Q")
        self._places: dict[str, int] = {}

    def hit(self, name: str) -> None:
        place = self._places.get(name) or self._places.setdefault(name, self._find(name))
        self._words[place] = count = self._words[place] + 1  # each point has one process at a time
        action = self._plans.get((name, count))
        if self._words[place + 1] == count:
            action = signal.SIGKILL
        if action is not None:
            os.kill(os.getpid(), action)

    def _find(self, name: str) -> int:
        """The word that counts a point; a new point gets the next entry."""
        wanted = name.encode().ljust(NAME_BYTES, b"\0")
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        try:
            for at in range(0, POINTS_MAX * ENTRY_BYTES, ENTRY_BYTES):
                there = bytes(self._view[at : at + NAME_BYTES])
                if there == bytes(NAME_BYTES):
                    self._view[at : at + NAME_BYTES] = there = wanted
                if there == wanted:
                    return (at + NAME_BYTES) // 8
            raise ValueError(f"{COUNTS}: more than {POINTS_MAX} points")
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)


_armed = _Armed(os.environ[COUNTS], os.environ.get(PLANS, "")) if COUNTS in os.environ else None


armed = _armed is not None
"""Is anything to happen at all? Where every call counts, ask this first."""


def point(name: str) -> None:
    """The process comes along the point `name`."""
    if _armed is not None:
        _armed.hit(name)


def counts(path: str) -> dict[str, int]:
    """How often each point was passed, as a counts file says."""
    with open(path, "rb") as file:
        content = file.read()
    entries = (content[at : at + ENTRY_BYTES] for at in range(0, len(content), ENTRY_BYTES))
    return {
        entry[:NAME_BYTES].rstrip(b"\0").decode(): int.from_bytes(entry[NAME_BYTES : NAME_BYTES + 8], "little")
        for entry in entries if entry[0]
    }  # fmt: skip


def arm(path: str, name: str, nth: int) -> bool:
    """Whoever comes along `name` for the `nth` time from now on is killed there; False: nobody ever was there yet."""
    with open(path, "r+b") as file:
        for at in range(0, POINTS_MAX * ENTRY_BYTES, ENTRY_BYTES):
            file.seek(at)
            entry = file.read(ENTRY_BYTES)
            if entry[:NAME_BYTES].rstrip(b"\0").decode() == name:
                count = int.from_bytes(entry[NAME_BYTES : NAME_BYTES + 8], "little")
                file.seek(at + NAME_BYTES + 8)
                file.write((count + nth).to_bytes(8, "little"))
                return True
    return False
