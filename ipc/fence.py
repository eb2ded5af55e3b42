"""A full memory fence, which Python does not have: every store before it is visible before any load after it.

On x86-64 any locked instruction is one, and putting up a semaphore that nobody waits for (`sem_post`) is little else:
0.02 µs. (To take and release a lock of `_thread` is 0.1 µs: it parses its arguments at length.) CPython's semaphore is
not public; where it is not as we know it (3.11 to 3.13), the lock does.
"""

from __future__ import annotations

import ctypes
from _thread import allocate_lock
from collections.abc import Callable
from typing import Any

try:
    from _multiprocessing import SemLock  # type: ignore[import-not-found]  # multiprocessing takes 10 ms to import
except ImportError:
    SemLock = object

FENCES = (1 << 31) - 1
"""A semaphore counts so far."""
_SEMAPHORE = 1  # multiprocessing.synchronize.SEMAPHORE
_SEM_BYTES = 32  # sizeof(sem_t)
_sem_init = ctypes.CDLL(None).sem_init


class _Semaphore(SemLock):  # type: ignore[misc]
    """In memory of this process: one with a name would lie in /dev/shm, which may be full."""

    memory: ctypes.Array[ctypes.c_char]


def fence() -> Callable[[], Any]:
    """A function that is a fence each time it is called. After `FENCES` calls it raises ValueError and is none: then
    ask for another one. Each who needs one has its own, so that no two processors want the same cache line."""
    memory = ctypes.create_string_buffer(_SEM_BYTES)
    _sem_init(memory, 0, 0)
    try:
        semaphore: Any = _Semaphore._rebuild(ctypes.addressof(memory), _SEMAPHORE, FENCES, None)
        semaphore.release()
    except (AttributeError, TypeError):
        return _fence_of_a_lock()
    semaphore.memory = memory
    return semaphore.release  # type: ignore[no-any-return]


def _fence_of_a_lock() -> Callable[[], None]:
    lock = allocate_lock()

    def fence() -> None:
        lock.acquire(False)
        lock.release()

    return fence
