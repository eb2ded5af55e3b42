"""The session with the exchange: connect, log on, log out, and again. Pure: the shell performs what `step` asks for.

    DOWN ──connect──▶ CONNECTED ──logon──▶ LOGGING_ON ──ack──▶ ON ──close──▶ LOGGING_OUT ──ack or timeout──▶ DOWN

While it is wanted, a lost connection is re-made with a backoff that doubles up to its maximum (the shell adds jitter)
and starts anew with a logon; besides, no minute has more logons than configured, so that an exchange that accepts and
drops us is not hammered. One Logon per connection. Where it is not wanted it stays DOWN.
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum

from oms_actors.messages import SessionEvent

MS = 1_000_000
MINUTE_NS = 60_000 * MS


class Link(IntEnum):
    """State of the connection."""

    DOWN = 0
    CONNECTED = 1
    LOGGING_ON = 2
    ON = 3
    LOGGING_OUT = 4


class Action(IntEnum):
    """What the shell is to do; it answers with `on`."""

    NONE = 0
    CONNECT = 1
    LOGON = 2
    LOGOUT = 3
    CLOSE = 4


class SessionMachine:
    """`step` says what to do now, `on` takes in what happened; `due_ns`: when to look again (monotonic)."""

    __slots__ = (
        "_attempts_ns", "_backoff_ns", "_logon_ns", "_logout_ns", "_max_ns", "_min_ns", "due_ns", "link", "logons",
    )  # fmt: skip

    def __init__(
        self, logon_timeout_ms: int, logout_timeout_ms: int, reconnect_ms: int, reconnect_max_ms: int,
        logons_per_minute: int,
    ) -> None:  # fmt: skip
        self._logon_ns, self._logout_ns = logon_timeout_ms * MS, logout_timeout_ms * MS
        self._min_ns, self._max_ns = reconnect_ms * MS, reconnect_max_ms * MS
        self._backoff_ns = self._min_ns
        self._attempts_ns: deque[int] = deque(maxlen=logons_per_minute)  # of the last logons
        self.link = Link.DOWN
        self.due_ns = 0
        self.logons = 0

    @property
    def on_line(self) -> bool:
        """Logged on: orders may be sent."""
        return self.link is Link.ON

    def step(self, wanted: bool, now_ns: int) -> Action:
        """`wanted`: inside trading hours, or so near that we log on already."""
        link = self.link
        if wanted:
            if link is Link.DOWN and now_ns >= self.due_ns:
                return Action.NONE if self._too_many(now_ns) else Action.CONNECT
            if link is Link.CONNECTED:
                return Action.LOGON
            if link is Link.LOGGING_ON and now_ns >= self.due_ns:
                return Action.CLOSE
            if link is Link.LOGGING_OUT and now_ns >= self.due_ns:
                return Action.CLOSE
        elif link is Link.ON:
            return Action.LOGOUT
        elif link is Link.CONNECTED or (link in (Link.LOGGING_ON, Link.LOGGING_OUT) and now_ns >= self.due_ns):
            return Action.CLOSE
        return Action.NONE

    def on(self, event: SessionEvent, now_ns: int) -> bool:
        """True if the event changed the state; one that does not fit changes nothing."""
        link = self.link
        if event is SessionEvent.CONNECTED and link is Link.DOWN:
            self._to(Link.CONNECTED, 0)
        elif event is SessionEvent.LOGON_SENT and link is Link.CONNECTED:
            self._to(Link.LOGGING_ON, now_ns + self._logon_ns)
            self._attempts_ns.append(now_ns)
        elif event is SessionEvent.LOGGED_ON and link is Link.LOGGING_ON:
            self._to(Link.ON, 0)
            self._backoff_ns = self._min_ns
            self.logons += 1
        elif event is SessionEvent.LOGOUT_SENT and link is Link.ON:
            self._to(Link.LOGGING_OUT, now_ns + self._logout_ns)
        elif event in (SessionEvent.LOGGED_OUT, SessionEvent.DISCONNECTED, SessionEvent.LOGON_REJECTED):
            if event is SessionEvent.LOGGED_OUT and link is Link.LOGGING_OUT:
                self._to(Link.DOWN, now_ns)
            else:
                self._lost(now_ns)
            return link is not Link.DOWN
        else:
            return False
        return True

    def _too_many(self, now_ns: int) -> bool:
        """Have there been as many logons as a minute may have? Then it is looked at again when the oldest is over."""
        attempts = self._attempts_ns
        if len(attempts) < (attempts.maxlen or 0) or now_ns >= attempts[0] + MINUTE_NS:
            return False
        self.due_ns = attempts[0] + MINUTE_NS
        return True

    def _lost(self, now_ns: int) -> None:
        self._to(Link.DOWN, now_ns + self._backoff_ns)
        self._backoff_ns = min(2 * self._backoff_ns, self._max_ns)

    def _to(self, link: Link, due_ns: int) -> None:
        self.link, self.due_ns = link, due_ns
