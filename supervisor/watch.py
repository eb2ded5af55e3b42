"""Is this child all right? A pure judgement over its vital signs, shared by the supervisor and every status view.

A child that went into a foreign call that may take long says so (`in_call_since_ns`): it does not hang, it waits, and
has until its call limit. Without that mark a heartbeat older than the timeout is a hang. Only the supervisor's own
sleep is forgiven: `resumed_ns` is when it last woke from a pause in which it could not look (stopped, suspended
machine), and everybody gets one fresh timeout from there.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

MS: Final = 1_000_000
_S: Final = 1_000_000_000


class Verdict(StrEnum):
    FINE = "fine"
    IN_CALL = "in call"
    HANGS = "hangs"
    STUCK_IN_CALL = "stuck in call"


@dataclass(frozen=True, slots=True)
class Signs:
    """What was read of one child's vitals, in CLOCK_MONOTONIC ns; 0 is "never" or "not now"."""

    heartbeat_ns: int
    in_call_since_ns: int = 0
    in_call_limit_ns: int = 0


def judge(signs: Signs, heartbeat_timeout_ms: int, call_timeout_ms: int, resumed_ns: int,
          now_ns: int) -> tuple[Verdict, str]:
    """The verdict and a text for people. A limit in the vitals takes precedence over `call_timeout_ms`."""
    age_ns = now_ns - max(signs.heartbeat_ns, resumed_ns)
    if signs.in_call_since_ns:
        called_ns = now_ns - max(signs.in_call_since_ns, resumed_ns)
        limit_ns = signs.in_call_limit_ns or call_timeout_ms * MS
        if called_ns > limit_ns:
            return Verdict.STUCK_IN_CALL, f"in call since {called_ns / _S:.1f} s, limit {limit_ns / _S:g} s"
        return Verdict.IN_CALL, f"in call since {called_ns / _S:.1f} s"
    if age_ns > heartbeat_timeout_ms * MS:
        return Verdict.HANGS, f"no heartbeat for {age_ns / _S:.1f} s, limit {heartbeat_timeout_ms / 1000:g} s"
    return Verdict.FINE, ""
