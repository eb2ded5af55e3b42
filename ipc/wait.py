"""Waking a consumer that sleeps: one doorbell per consumer, any number of producers.

The bell is one 32-bit word, which is at once the waiting flag and the futex. The consumer sets it to 1, re-checks
all its sources and sleeps while it is 1. A producer publishes, looks at the word and, only if it is not 0, clears it
and wakes: while nobody waits a producer pays for one load.

"Set the flag, re-check, sleep" alone loses wake-ups even on x86: a producer's load of the flag may pass its own
earlier store of the data, which still sits in its store buffer. So both sides put a full fence in between: the producer
between publishing and looking at the flag, the sleeper between the flag's store and the re-check. Then either the
producer saw the flag or the sleeper sees the data. Python has no fence, but a lock of its own that nobody else wants
has: taking it is one locked instruction, 0.05 µs. (`process_barrier` needs no fence of the producers, but interrupts
every processor that runs one of us; in a virtual machine that is 12 µs for each sleep, and as much for everybody else.)

**Looking.** Putting a process to sleep and waking it again costs several times what handing over a record does, and an
idle processor of a virtual machine wakes slowly. So a consumer whose bell is rung often (the last waits took less than
`LOOK_NS`) does not sleep at once: it sets the word to 2, "I am looking", and watches the word behind it, into which a
producer that finds a 2 writes a 1: no system call on either side. (Would the producer clear the first word as it does
for who sleeps, but without a wake, a late one could put that over the 1 of the next sleep.) In between it offers its
processor to whoever else wants it. A consumer that does not get it back soon is in the way of others, so it sleeps as
usual for a while, longer each time. Where little goes on nobody looks. A ring with nothing behind it is an
*announcement*: something is about to come, so whoever was asleep stays awake and looks for it for `ANNOUNCED_NS`. From
2 to 1 it is the same protocol as from 0 to 1: store, fence, re-check all sources, sleep.

A sleep lasts 50 ms at most, so a producer killed or stopped between clearing the word and waking costs 50 ms. Where
nothing at all is going on, each sleep may last twice as long as the last one, up to 200 ms, until somebody rings: it is
the waking that costs an idle process its processor time.
"""

from __future__ import annotations

import ctypes
import errno
import os
from _thread import allocate_lock
from collections.abc import Callable
from time import monotonic_ns

from ipc import segment
from ipc.errors import Unsupported, VersionMismatch
from ipc.proc import require_supported_platform

BELL_MAGIC = int.from_bytes(b"OMSBELL\0", "little")
BELL_VERSION = 1
BELL_BYTES = 192
BELL_MAGIC_AT, BELL_VERSION_AT, BELL_FLAG_AT, BELL_RUNG_AT, BELL_COUNTERS_AT = 0, 8, 64, 68, 128
SLEEP_NS_MAX, QUIET_NS_MAX = 50_000_000, 200_000_000
LOST_GRACE_NS = 10_000_000
LOOK_NS = 2_000_000
"""Looking lasts so long at most."""
ANNOUNCED_NS = 300_000
"""So long it is looked for what a ring has announced: one that came before there was anything."""
CORES_TO_LOOK = 4
CROWDED_NS = 500_000
"""Who waits so long for the processor that it has offered to others is in their way."""
AWAY_NS, AWAY_NS_MAX = 5_000_000, 640_000_000
"""So long it sleeps as usual then; each time twice as long."""
BELL_AWAKE, BELL_ASLEEP, BELL_LOOKING = 0, 1, 2
"""The word."""

_FLAG_AND_RUNG = BELL_FLAG_AT // 8
_SLEEPS, _WAKES, _CAP_ENDS, _LOST, _LATE = range(BELL_COUNTERS_AT // 8, BELL_COUNTERS_AT // 8 + 5)

_SYS_FUTEX, _SYS_MEMBARRIER = 202, 324
_FUTEX_WAIT, _FUTEX_WAKE = 0, 1
_MEMBARRIER_GLOBAL_EXPEDITED, _MEMBARRIER_REGISTER_GLOBAL_EXPEDITED = 1 << 1, 1 << 2

# Only the sleep gives up the GIL. A wake that gave it up could wait a whole switch interval (5 ms) to get it back
# from a busy thread; it never blocks, so it keeps it.
_sleeping_syscall = ctypes.CDLL(None, use_errno=True).syscall
_sleeping_syscall.argtypes = (ctypes.c_long, ctypes.c_void_p, ctypes.c_long, ctypes.c_long, ctypes.c_void_p)
_sleeping_syscall.restype = ctypes.c_long
_yield = ctypes.CDLL(None).sched_yield  # gives up the GIL too; os.sched_yield keeps it before Python 3.12
_yield.argtypes, _yield.restype = (), ctypes.c_int
_syscall = ctypes.PyDLL(None).syscall
_syscall.argtypes = (ctypes.c_long, ctypes.c_void_p, ctypes.c_long, ctypes.c_long)
_syscall.restype = ctypes.c_long


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_int64), ("nanoseconds", ctypes.c_int64))


def look_ns_of_the_others(look_ns: int) -> int:
    """How long those look for whom nobody waits first: with few processors they would be in the way, so not at all."""
    return look_ns if len(os.sched_getaffinity(0)) >= CORES_TO_LOOK else 0


def register_for_barriers() -> None:
    """Make this process a receiver of every sleeper's barrier. Raises Unsupported before Linux 4.16."""
    require_supported_platform()
    if _syscall(_SYS_MEMBARRIER, _MEMBARRIER_REGISTER_GLOBAL_EXPEDITED, 0, 0) != 0:
        raise Unsupported("shared memory needs membarrier(GLOBAL_EXPEDITED): Linux 4.16 or newer, no seccomp filter")


def process_barrier() -> None:
    """A full memory barrier in every running thread of every registered process, and here: for what is rare."""
    _syscall(_SYS_MEMBARRIER, _MEMBARRIER_GLOBAL_EXPEDITED, 0, 0)


def format_bell(view: memoryview) -> None:
    words = view[:BELL_BYTES].cast("Q")
    words[BELL_VERSION_AT // 8] = BELL_VERSION
    words[BELL_MAGIC_AT // 8] = BELL_MAGIC


class Bell:
    """One consumer's doorbell over a formatted region of BELL_BYTES.

    `flag` is the word as a memoryview of one uint32: a hot producer inlines its own fence and `if bell.flag[0]:
    bell.wake()`.
    `look_ns`: so long `wait` looks at most before it sleeps (0: only for what is announced). `early_ns`: so long before
    its timeout it is awake and looks, in order to be on time (0: it is as late as a wake-up takes). `lost_grace_ns`: so
    long a producer's ring may still come when a sleep has ended by its cap although something is there, before it
    counts as lost; on a busy machine a producer may be put off between the two for longer than a consumer wants to wait
    for a statistic.
    """

    __slots__ = (
        "_address", "_away_ns", "_away_until_ns", "_cap_ns", "_expected_ns", "_fence", "_interrupted", "_rung", "_word",
        "_words", "early_ns", "flag", "look_ns", "lost_grace_ns", "segment",
    )  # fmt: skip

    def __init__(self, view: memoryview, name: str = "bell", look_ns: int = LOOK_NS) -> None:
        register_for_barriers()
        if len(view) < BELL_BYTES:
            raise VersionMismatch(name, f"{len(view)} bytes", f"{BELL_BYTES} bytes")
        self._words = words = view[:BELL_BYTES].cast("Q")
        found = (words[BELL_MAGIC_AT // 8], words[BELL_VERSION_AT // 8])
        if found != (BELL_MAGIC, BELL_VERSION):
            raise VersionMismatch(name, f"magic {found[0]:#x} version {found[1]}", f"version {BELL_VERSION}")
        self.flag = view[BELL_FLAG_AT : BELL_FLAG_AT + 4].cast("I")
        self._rung = view[BELL_RUNG_AT : BELL_RUNG_AT + 4].cast("I")
        self._word = ctypes.c_uint32.from_buffer(self.flag)  # keeps the memory mapped as long as the address is used
        self._address = ctypes.addressof(self._word)
        self._fence = allocate_lock()
        self._interrupted = False
        self._cap_ns = SLEEP_NS_MAX
        self.look_ns = look_ns
        self.early_ns = 0
        self._expected_ns = 4 * LOOK_NS  # how long a wait takes nowadays
        self._away_ns, self._away_until_ns = AWAY_NS, 0
        self.lost_grace_ns = LOST_GRACE_NS
        self.segment: segment.Segment | None = None

    @classmethod
    def create(cls, path: str, look_ns: int = LOOK_NS) -> Bell:
        return cls._over(segment.create(path, BELL_BYTES, format_bell), look_ns)

    @classmethod
    def attach(cls, path: str, look_ns: int = LOOK_NS) -> Bell:
        """Raises NotThere, VersionMismatch."""
        return cls._over(segment.attach(path), look_ns)

    @classmethod
    def _over(cls, file: segment.Segment, look_ns: int) -> Bell:
        bell = cls(file.view, file.path, look_ns)
        bell.segment = file
        return bell

    def ring(self) -> None:
        """Producer, after publishing: wake the consumer if it sleeps."""
        with self._fence:  # a full fence: see the top
            pass
        if self.flag[0]:
            self.wake()

    def announce(self) -> None:
        """Producer, before publishing: something is about to come, so who sleeps wakes up now, and looks for it."""
        if self.flag[0] == BELL_ASLEEP:
            self.wake()

    def wake(self) -> None:
        """Producer, having seen that the consumer waits."""
        if self.flag[0] == BELL_LOOKING:
            self._rung[0] = 1
            return
        self.flag[0] = BELL_AWAKE
        _syscall(_SYS_FUTEX, self._address, _FUTEX_WAKE, 1)

    def interrupt(self) -> None:
        """From a signal handler of the consumer: `wait` returns within one sleep (50 ms), mostly at once."""
        self._interrupted = True

    def wait(self, ready: Callable[[], bool], timeout_s: float) -> bool:
        """Consumer: until `ready()`, a ring while it looks, a signal, or the timeout; True for the first two. (A ring
        mostly means that there is something, and asking again would take as long as the rest of the waking.)"""
        began_ns = monotonic_ns()
        try:
            return self._wait(ready, began_ns, began_ns + int(timeout_s * 1e9))
        finally:
            self.flag[0] = BELL_AWAKE
            self._interrupted = False
            took_ns = min(monotonic_ns() - began_ns, 8 * LOOK_NS)
            self._expected_ns += (took_ns - self._expected_ns) >> 2

    def _wait(self, ready: Callable[[], bool], now_ns: int, deadline_ns: int) -> bool:
        flag, rung, fence = self.flag, self._rung, self._fence
        look_ns = self.look_ns if self._expected_ns < self.look_ns else 0
        while True:
            rung[0] = 0
            flag[0] = BELL_LOOKING if look_ns else BELL_ASLEEP
            with fence:
                pass
            if ready():
                return True
            if look_ns:
                if self._look(now_ns, min(now_ns + look_ns, deadline_ns)):
                    return True  # only who has published rings a consumer that looks
                look_ns = 0  # now it sleeps, if all sources are still empty with the other word in place
                continue
            now_ns = monotonic_ns()
            left_ns = deadline_ns - now_ns
            if left_ns <= 0 or self._interrupted:
                return False
            if left_ns <= self.early_ns:
                look_ns = left_ns
                continue
            signaled = self._sleep(min(left_ns - self.early_ns, self._cap_ns), ready)
            now_ns = monotonic_ns()
            if ready():
                return True
            if signaled or now_ns >= deadline_ns:
                return False
            if not flag[0]:
                look_ns = ANNOUNCED_NS

    def _look(self, now_ns: int, until_ns: int) -> bool:
        """Watch the word until it is rung (True), until then, or until others need the processor more."""
        words, offer, clock = self._words, _yield, monotonic_ns
        if now_ns < self._away_until_ns:
            return False
        while words[_FLAG_AND_RUNG] == BELL_LOOKING:
            if now_ns >= until_ns or self._interrupted:
                return False
            offer()
            then_ns, now_ns = now_ns, clock()
            if now_ns - then_ns > CROWDED_NS:
                self._away_until_ns = now_ns + self._away_ns
                self._away_ns = min(2 * self._away_ns, AWAY_NS_MAX)
                return False
        self._away_ns = AWAY_NS
        return True

    def _sleep(self, ns: int, ready: Callable[[], bool]) -> bool:
        """Sleep once and count how it ended; True when a signal ended it."""
        words = self._words
        words[_SLEEPS] += 1
        error = self._futex_wait(ns)
        if error == errno.ETIMEDOUT and self.flag[0]:
            words[_CAP_ENDS] += 1
            # Data without a ring is a lost wake-up, unless its producer is just about to ring. No data: nobody had
            # anything for us for so long, which is not the bell's doing.
            if ready():
                rung = self._futex_wait(self.lost_grace_ns) != errno.ETIMEDOUT or not self.flag[0]
                words[_LATE if rung else _LOST] += 1
            elif ns == self._cap_ns:
                self._cap_ns = min(2 * ns, QUIET_NS_MAX)
        elif error != errno.EINTR:
            words[_WAKES] += 1
            self._cap_ns = SLEEP_NS_MAX
        return error == errno.EINTR

    def _futex_wait(self, ns: int) -> int:
        """Sleep while the word is 1; returns 0 or errno (EAGAIN: it was cleared before we slept)."""
        timeout = _Timespec(ns // 1_000_000_000, ns % 1_000_000_000)
        if _sleeping_syscall(_SYS_FUTEX, self._address, _FUTEX_WAIT, 1, ctypes.addressof(timeout)) == 0:
            return 0
        return ctypes.get_errno()

    @property
    def sleeps(self) -> int:
        return self._words[_SLEEPS]

    @property
    def wakes(self) -> int:
        return self._words[_WAKES]

    @property
    def cap_ends(self) -> int:
        return self._words[_CAP_ENDS]

    @property
    def lost(self) -> int:
        """Sleeps that ended by the cap although something was there, and no ring came for it."""
        return self._words[_LOST]

    @property
    def late(self) -> int:
        """Sleeps that ended by the cap just between a producer's put and its ring."""
        return self._words[_LATE]
