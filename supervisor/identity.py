"""Which process is meant? A pid alone is reused; pid + start time + boot id names one process for ever."""

from __future__ import annotations

import os
import select

from ipc import proc


def open_process(pid: int, start_ticks: int, boot_id: str) -> int | None:
    """A pidfd of this very process (perhaps dead but not yet waited for), or None if it is gone.

    Looked at after the pidfd is held: from then on the number cannot change hands.
    """
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    if boot_id == proc.boot_id() and proc.is_same_process(pid, start_ticks):
        return pidfd
    os.close(pidfd)
    return None


def ends_within(pidfd: int, timeout_s: float) -> bool:
    """Whether the process ends in time. By poll(2), which takes any descriptor number."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))
