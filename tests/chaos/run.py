"""A desk under load, step by step."""

from __future__ import annotations

import time
from collections.abc import Callable

from chaos.desk import Desk
from chaos.flow import Flow
from chaos.verdict import settle

from oms_actors.config import Config, SupervisorConfig, ThrottleConfig

POINTS = (
    "intake.decided", "intake.written", "intake.synced", "intake.handed_on", "intake.answered", "intake.committed",
    "intake.reported", "sender.written", "sender.synced", "sender.handed_on", "sender.before_call",
    "sender.after_call", "sender.called", "persistence.written", "persistence.committed", "scheduler.publishing",
    "scheduler.published", "venue.journalled", "venue.committed",
)  # fmt: skip
"""Where the desk's processes can be killed (supervisor.spawned apart). `<role>.<what has just happened>`."""


def config(rate: int = 2_000, per_ms: int = 1_000, heartbeat_timeout_ms: int = 5_000) -> Config:
    """A patient desk: this machine may be slow."""
    return Config(
        throttle=ThrottleConfig(rate=rate, per_ms=per_ms),
        supervisor=SupervisorConfig(heartbeat_timeout_ms=heartbeat_timeout_ms),
    )


class Run:
    """Upstreams that trade while something befalls the desk."""

    def __init__(self, desk: Desk, *flows: Flow) -> None:
        self.desk, self.flows = desk, list(flows)

    def until(self, what: str, condition: Callable[[], object], limit_s: float = 60.0) -> None:
        """The flows go on until it is so; AssertionError after the limit."""

        def look() -> object:
            for flow in self.flows:
                flow.pump()
            return condition()

        self.desk.wait(what, look, limit_s)

    def go_on(self, seconds: float) -> None:
        """The flows go on for a while."""
        end = time.monotonic() + seconds
        self.until("time to pass", lambda: time.monotonic() >= end)

    def until_up(self) -> None:
        """Until everybody is there and logged on."""
        self.until("the desk to be up", self.desk.is_up)

    def judge(self) -> None:
        """The end: everything is answered, nothing lost, nothing twice."""
        assert not settle(self.desk, self.flows)
        assert sum(len(flow.accepted) for flow in self.flows) > 0
