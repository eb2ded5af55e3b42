"""The sender's way through the trading hours: when it logs on, when it stops, what it cancels."""

from __future__ import annotations

import logging
from typing import Any

from oms_actors.actors.session import Hours, Session
from oms_actors.config import SessionConfig
from oms_actors.core.batches import Batches
from oms_actors.core.hours import SessionState
from oms_actors.core.mass_action import Mass
from oms_actors.core.pending import SenderSettings
from oms_actors.core.throttle import Throttle, ThrottleLimit
from oms_actors.messages import SessionEvent

S = 1_000_000_000
OPENS, CLOSES = 1_000 * S, 2_000 * S
BEFORE = SessionState(0, 0, 0, 0, OPENS, 20260706)
OPEN = SessionState(1, 20260706, OPENS, CLOSES, 9_000 * S, 20260707)


class View:
    """What the scheduler has published."""

    known = True

    def __init__(self, state: SessionState) -> None:
        self.state = state

    def read(self) -> SessionState:
        return self.state


class Exchange:
    """Takes every call."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: self.calls.append(name)


def session(state: SessionState, **config: Any) -> Session:
    core = Batches(SenderSettings(), Throttle(ThrottleLimit()))
    core.begin(1, 1)
    return Session(
        SessionConfig(**config), core, Exchange(), None, View(state), logging.getLogger("session")  # type: ignore[arg-type]
    )


def seen(it: Session, *walls: int) -> list[Hours]:
    return [it.look(wall) for wall in walls]


def test_without_a_lead_nothing_happens_before_the_open() -> None:
    it = session(BEFORE)
    assert seen(it, OPENS - 1) == [Hours.CLOSED]
    it.view.state = OPEN  # type: ignore[attr-defined]
    assert seen(it, OPENS, CLOSES - 1, CLOSES) == [Hours.OPEN, Hours.OPEN, Hours.CLOSED]


def test_the_logon_comes_so_long_before_the_open_and_belongs_to_its_trade_date() -> None:
    it = session(BEFORE, logon_lead_ms=5_000)
    assert seen(it, OPENS - 5 * S - 1, OPENS - 5 * S, OPENS - 1) == [Hours.CLOSED, Hours.LOGON, Hours.LOGON]
    assert seen(it, OPENS + 1) == [Hours.LOGON]  # the scheduler has not said yet that it is open: no logout
    it.step(wanted=True, now=1)
    it.happened(SessionEvent.LOGGED_ON, "")
    assert it.machine.on_line
    assert it.caller.calls == ["connect", "send_logon"]  # type: ignore[attr-defined]
    assert it.core.logon_date == 20260706
    assert b"first of trade date 20260706" in it.core.out[-1]


def test_a_logon_on_the_same_trade_date_is_known_to_be_another_one() -> None:
    it = session(OPEN)
    words = []
    for _ in range(2):
        it.look(OPENS)
        it.step(wanted=True, now=1)
        it.happened(SessionEvent.LOGGED_ON, "")
        words.append(it.core.out[-1])
        it.happened(SessionEvent.DISCONNECTED, "gone")
        it.machine.due_ns = 0
    assert [b"first of" in words[0], b"again of" in words[1]] == [True, True]


def test_with_on_close_cancel_only_cancels_go_out_before_the_close_and_they_are_asked_for_once() -> None:
    it = session(OPEN, on_close="cancel", cancel_lead_ms=10_000)
    last = CLOSES - 10 * S
    assert seen(it, OPENS, last - 1) == [Hours.OPEN, Hours.OPEN]
    assert not it.core.mass_actions
    assert seen(it, last, CLOSES - 1, CLOSES) == [Hours.CLOSING, Hours.CLOSING, Hours.CLOSED]
    wished = [action.mass for action in it.core.mass_actions.values()]
    assert wished == [Mass.CANCEL_WORKING, Mass.EXPIRE_WAITING]


def test_with_on_close_leave_nothing_is_canceled() -> None:
    it = session(OPEN, queued_at_close="park")
    assert seen(it, OPENS, CLOSES - 1, CLOSES) == [Hours.OPEN, Hours.OPEN, Hours.CLOSED]
    assert not it.core.mass_actions


def test_an_edge_of_the_hours_that_passed_while_we_slept_is_due_at_once() -> None:
    it = session(BEFORE, logon_lead_ms=5_000)
    it.look(OPENS - 8 * S)
    assert it.boundary_ns(100, OPENS - 8 * S) == 100 + 3 * S
    assert it.boundary_ns(100, OPENS - 4 * S) == 100
    it.look(OPENS - 4 * S)
    assert it.boundary_ns(100, OPENS - 4 * S) == 100 + 4 * S
    it.view.state = OPEN  # type: ignore[attr-defined]
    it.look(CLOSES - 1)
    assert it.boundary_ns(100, CLOSES + 1) == 100
    it.look(CLOSES + 1)
    assert it.core.interval == (0, 0)


def test_what_still_waits_at_the_close_ends_as_configured() -> None:
    for rule, wished in (("expire", [Mass.EXPIRE_WAITING]), ("cancel", [Mass.CANCEL_WAITING]), ("park", [])):
        it = session(OPEN, queued_at_close=rule)
        seen(it, OPENS, CLOSES)
        assert [action.mass for action in it.core.mass_actions.values()] == wished
