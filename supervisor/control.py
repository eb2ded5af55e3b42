"""From outside: stop the supervisor of an instance. Needs nothing of it but its file, its lock and a signal."""

from __future__ import annotations

import os
import signal
from enum import StrEnum

from supervisor import published
from supervisor.identity import ends_within, open_process


class Stopped(StrEnum):
    STOPPED = "stopped"
    NOT_RUNNING = "not running"
    STILL_RUNNING = "still running"  # asked, but not gone within the time given


def stop(runtime_dir: str | os.PathLike[str], wait_s: float) -> Stopped:
    """Ask the supervisor there to stop everything and see it gone. Raises PermissionError if it is not ours."""
    found = published.read(runtime_dir)
    if found is None or not found.alive:
        return Stopped.NOT_RUNNING
    who = found.supervisor
    pidfd = open_process(who.pid, who.start_ticks, who.boot_id)
    if pidfd is None:
        return Stopped.NOT_RUNNING
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGTERM)
        gone = ends_within(pidfd, wait_s)
    except ProcessLookupError:
        return Stopped.STOPPED
    finally:
        os.close(pidfd)
    return Stopped.STOPPED if gone else Stopped.STILL_RUNNING
