"""Proof of death: no successor starts before its predecessor is seen dead.

Our own children are waited for. Those of a supervisor that was killed are nobody's children any more: they should
have died with it (see `process.py`); if one did not, it is found by what its supervisor published, killed by pidfd,
and the pidfd becomes readable when it is dead.
"""

from __future__ import annotations

import os
import signal
from typing import Final

from supervisor.identity import ends_within, open_process
from supervisor.published import Named, Published

_FENCE_S: Final = 5.0


def fence(former: Published) -> Named | None:
    """Kill and see dead every child that `former` left; returns the first that cannot be, None if all are gone."""
    for child in former.children:
        if not _kill(child):
            return child
    return None


def _kill(who: Named) -> bool:
    """True if it is dead, or never was this process."""
    pidfd = open_process(who.pid, who.start_ticks, who.boot_id)
    if pidfd is None:
        return True
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        return ends_within(pidfd, _FENCE_S)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    finally:
        os.close(pidfd)
