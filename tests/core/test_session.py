"""The session with the exchange: what is done when, and how often at most."""

from __future__ import annotations

from oms_actors.core.session import Action, Link, SessionMachine
from oms_actors.messages import SessionEvent

MS = 1_000_000
S = 1_000 * MS


def machine(logons_per_minute: int = 60) -> SessionMachine:
    return SessionMachine(1_000, 500, 100, 800, logons_per_minute)


def logged_on(session: SessionMachine, now: int) -> None:
    """As an exchange that answers at once sees it."""
    assert session.step(True, now) is Action.CONNECT
    session.on(SessionEvent.CONNECTED, now)
    assert session.step(True, now) is Action.LOGON
    session.on(SessionEvent.LOGON_SENT, now)
    assert session.on(SessionEvent.LOGGED_ON, now)


def test_one_logon_per_connection_and_none_while_it_is_not_wanted() -> None:
    session = machine()
    assert session.step(False, 0) is Action.NONE
    logged_on(session, 0)
    assert (session.on_line, session.logons) == (True, 1)
    assert [session.step(True, now) for now in (1, 2, S)] == [Action.NONE] * 3
    assert not session.on(SessionEvent.LOGGED_ON, 3)  # said twice: nothing changes
    assert session.logons == 1


def test_a_logout_is_waited_for_and_given_up_after_its_timeout() -> None:
    for answered in (True, False):
        session = machine()
        logged_on(session, 0)
        assert session.step(False, S) is Action.LOGOUT
        session.on(SessionEvent.LOGOUT_SENT, S)
        assert (session.on_line, session.step(False, S + 499 * MS)) == (False, Action.NONE)
        if answered:
            session.on(SessionEvent.LOGGED_OUT, S + 499 * MS)
        else:
            assert session.step(False, S + 500 * MS) is Action.CLOSE
            session.on(SessionEvent.DISCONNECTED, S + 500 * MS)
        assert session.link is Link.DOWN
        assert session.step(False, 100 * S) is Action.NONE


def test_a_logon_without_an_answer_is_given_up_and_tried_again_later_and_later() -> None:
    session, now, waits = machine(), 0, []
    for _ in range(6):
        assert session.step(True, now) is Action.CONNECT
        session.on(SessionEvent.CONNECTED, now)
        session.on(SessionEvent.LOGON_SENT, now)
        now += 1_000 * MS
        assert session.step(True, now - 1) is Action.NONE
        assert session.step(True, now) is Action.CLOSE
        session.on(SessionEvent.DISCONNECTED, now)
        waits.append((session.due_ns - now) // MS)
        assert session.step(True, session.due_ns - 1) is Action.NONE
        now = session.due_ns
    assert waits == [100, 200, 400, 800, 800, 800]


def test_an_exchange_that_accepts_and_drops_us_gets_so_many_logons_a_minute_and_no_more() -> None:
    session, logons = machine(logons_per_minute=5), []
    for now in range(0, 180 * S, 50 * MS):
        if session.step(True, now) is Action.CONNECT:
            logged_on(session, now)
            logons.append(now)
            session.on(SessionEvent.DISCONNECTED, now)
    assert max(sum(first <= each < first + 60 * S for each in logons) for first in logons) == 5
    assert len(logons) == 15
