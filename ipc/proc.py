"""What a process must know about itself and others: identity that survives pid reuse, and its parent's death."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
import threading

from ipc.errors import ParentGone, Unsupported

SLICE_NS = 100_000
_PR_SET_PDEATHSIG, _PR_SET_TIMERSLACK = 1, 29
_SYS_SCHED_SETATTR = 314
_RESET_ON_FORK = 1  # SCHED_FLAG_RESET_ON_FORK
_SCHED_ATTR = struct.Struct("<IIQiIQQQ")
"""sched_setattr(2): size, policy, flags, nice, priority, runtime, deadline, period."""


def boot_id() -> str:
    """The kernel's id of this boot; pids and start ticks mean nothing across two of them."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def process_start_ticks(pid: int) -> int:
    """When `pid` started, in clock ticks since boot (proc(5), field 22); 0 when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # the name, field 2, may hold spaces and parentheses: count from the last one
            return int(file.read().rpartition(b")")[2].split()[19])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def is_same_process(pid: int, start_ticks: int) -> bool:
    """Whether `pid` is alive and is the process that started at `start_ticks`, not one that got its number."""
    return start_ticks != 0 and process_start_ticks(pid) == start_ticks


def set_pdeathsig(signal_number: int, expected_ppid: int) -> None:
    """Have the kernel send us `signal_number` when our parent's spawning thread ends.

    Raises ParentGone when the parent ended before the request was made: no signal would ever come.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal_number), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != expected_ppid:
        raise ParentGone(expected_ppid, os.getppid())


def fine_timers() -> None:
    """Sleeps of this thread end when they are to, not up to 50 µs later."""
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(1), 0, 0, 0)


def short_slices() -> None:
    """Asks for short turns on the processor for this thread (EEVDF's `sched_runtime`, Linux 6.12; others know no such
    wish). Who wants little at a time gets it soon: once waked it need not wait for the long turn of another."""
    nice = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    flags = _RESET_ON_FORK if os.sched_getscheduler(0) & os.SCHED_RESET_ON_FORK else 0  # not everybody may take it back
    wish = _SCHED_ATTR.pack(_SCHED_ATTR.size, os.SCHED_OTHER, flags, nice, 0, SLICE_NS, 0, 0)
    ctypes.CDLL(None).syscall(_SYS_SCHED_SETATTR, 0, wish, 0)


def real_time(yes: bool) -> bool:
    """This thread comes before all ordinary ones whenever it has something to do (SCHED_FIFO, the lowest priority), or
    is ordinary again, with short slices; what it starts is ordinary in any case. False: not permitted (it takes root,
    CAP_SYS_NICE or RLIMIT_RTPRIO), so nothing has changed. The kernel leaves 5 % of each processor to the others."""
    policy, priority = (os.SCHED_FIFO, 1) if yes else (os.SCHED_OTHER, 0)
    try:
        os.sched_setscheduler(0, policy | os.SCHED_RESET_ON_FORK, os.sched_param(priority))
    except OSError:
        return False
    if not yes:
        short_slices()
    return True


def require_supported_platform() -> None:
    """Raises Unsupported, with what was found, anywhere but on x86-64 Linux with 64-bit CPython."""
    machine = platform.machine()
    if sys.platform != "linux" or machine not in ("x86_64", "AMD64") or sys.maxsize < 2**63 - 1:
        raise Unsupported(
            f"shared memory needs x86-64 Linux (store order, futex, membarrier): this is {sys.platform} on {machine}"
        )
