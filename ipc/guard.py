"""A lock between processes that no death and no stop can turn into a trap.

A pthread mutex in shared memory: robust (the next one to take it is told when its holder died), error checking, and
only ever taken with a time limit, because robustness covers a holder's death but not its being stopped.

Robust mutexes are a contract between libc and the kernel: the low 30 bits of the first word are the holder's thread
id. Nothing else of glibc's layout is used.
"""

from __future__ import annotations

import ctypes
import errno
import time

from ipc.errors import MailboxBusy

GUARD_BYTES = 64
_MUTEX_BYTES = 40
_TID_MASK = 0x3FFFFFFF

_PTHREAD_PROCESS_SHARED, _PTHREAD_MUTEX_ERRORCHECK, _PTHREAD_MUTEX_ROBUST = 1, 2, 1
_CLOCK_MONOTONIC = 1

_libc = ctypes.PyDLL(None)  # keeps the GIL: these calls never block
_waiting_libc = ctypes.CDLL(None)  # gives up the GIL: this one does


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_int64), ("nanoseconds", ctypes.c_int64))


_trylock = _libc.pthread_mutex_trylock
_unlock = _libc.pthread_mutex_unlock
_consistent = _libc.pthread_mutex_consistent
_clocklock = _waiting_libc.pthread_mutex_clocklock  # glibc 2.30; timedlock would follow steps of the wall clock
for _function in (_trylock, _unlock, _consistent):
    _function.argtypes = (ctypes.c_void_p,)
_clocklock.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)


def format_guard(view: memoryview) -> None:
    """Make `view`, GUARD_BYTES of memory that nobody else uses yet, an open lock."""
    attributes = (ctypes.c_uint64 * 8)()
    at = ctypes.addressof(attributes)
    mutex = (ctypes.c_ubyte * _MUTEX_BYTES).from_buffer(view)
    for error in (
        _libc.pthread_mutexattr_init(ctypes.c_void_p(at)),
        _libc.pthread_mutexattr_setpshared(ctypes.c_void_p(at), _PTHREAD_PROCESS_SHARED),
        _libc.pthread_mutexattr_settype(ctypes.c_void_p(at), _PTHREAD_MUTEX_ERRORCHECK),
        _libc.pthread_mutexattr_setrobust(ctypes.c_void_p(at), _PTHREAD_MUTEX_ROBUST),
        _libc.pthread_mutex_init(ctypes.c_void_p(ctypes.addressof(mutex)), ctypes.c_void_p(at)),
    ):
        if error:
            raise OSError(error, "pthread_mutex_init: robust process-shared mutex")


class Guard:
    """One process's handle on a formatted guard. `name` is for messages."""

    __slots__ = ("_address", "_mutex", "_word", "name")

    def __init__(self, view: memoryview, name: str) -> None:
        self.name = name
        self._word = view[:4].cast("I")
        self._mutex = (ctypes.c_ubyte * _MUTEX_BYTES).from_buffer(view)  # keeps the memory mapped
        self._address = ctypes.addressof(self._mutex)

    def acquire(self, timeout_s: float) -> bool:
        """Take the lock; True when its holder died: mend what it guards, then call `mended` before `release`.

        Raises MailboxBusy, with the holder's pid, after `timeout_s`.
        """
        error = _trylock(self._address)
        if error == errno.EBUSY and timeout_s > 0:
            deadline_ns = time.monotonic_ns() + int(timeout_s * 1e9)
            until = _Timespec(deadline_ns // 1_000_000_000, deadline_ns % 1_000_000_000)
            error = _clocklock(self._address, _CLOCK_MONOTONIC, ctypes.addressof(until))
        if error == 0:
            return False
        if error == errno.EOWNERDEAD:
            return True
        # ENOTRECOVERABLE (a mender gave up) and EDEADLK (an exception hit between two of our own instructions) mean
        # the same to the caller: not now, and only a new generation helps.
        raise MailboxBusy(self.name, self.holder_pid(), int(timeout_s * 1e3))

    def mended(self) -> None:
        _consistent(self._address)

    def release(self) -> None:
        _unlock(self._address)

    def holder_pid(self) -> int:
        """The process that holds the lock now; 0 when none does or it is gone."""
        thread = self._word[0] & _TID_MASK
        if not thread:
            return 0
        try:
            with open(f"/proc/{thread}/status", "rb") as file:
                return next(int(line.split()[1]) for line in file if line.startswith(b"Tgid:"))
        except (OSError, StopIteration):
            return 0
