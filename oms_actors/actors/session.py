"""The sender's session with the exchange: trading hours, logon and logout, and what the connection says of itself.

    CLOSED ─logon_lead_ms before─▶ LOGON ─open─▶ OPEN ─cancel_lead_ms before─▶ CLOSING ─close─▶ CLOSED

The hours come from the scheduler's page, the order of things from `core.session`; here the adapter is called and what
happens is taken down through the sender's core.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from enum import IntEnum
from time import monotonic_ns
from typing import Protocol

from oms_actors.config import SessionConfig
from oms_actors.core.batches import Batches
from oms_actors.core.hours import CLOSED, SessionState
from oms_actors.core.mass_action import Mass, mass_action
from oms_actors.core.session import Action, Link, SessionMachine
from oms_actors.edges.exchange import Caller, Responses
from oms_actors.errors import Reason, WrongCaller
from oms_actors.messages import ReportFlag, ResponseType, SessionEvent
from oms_actors.record import REPORT_BYTES, decode_text

MS = 1_000_000
NEVER_NS = 1_000_000 * MS
"""What is further away is looked at later."""
_HAS_TEXT, _UNMATCHED = int(ReportFlag.HAS_TEXT), int(ReportFlag.UNMATCHED)
_SESSION_RESPONSES = {
    int(ResponseType.LOGON_ACK): SessionEvent.LOGGED_ON,
    int(ResponseType.LOGON_REJECT): SessionEvent.LOGON_REJECTED,
    int(ResponseType.LOGOUT_ACK): SessionEvent.LOGGED_OUT,
    int(ResponseType.DISCONNECTED): SessionEvent.DISCONNECTED,
}
_NOT_OF_THE_SESSION = bytes(code for code in range(256) if code not in _SESSION_RESPONSES)
_EVENTS = {
    Action.CONNECT: SessionEvent.CONNECTED,
    Action.LOGON: SessionEvent.LOGON_SENT,
    Action.LOGOUT: SessionEvent.LOGOUT_SENT,
    Action.CLOSE: SessionEvent.DISCONNECTED,
}


class Hours(IntEnum):
    """Where we are in the trading hours."""

    CLOSED = 0
    LOGON = 1
    """It opens soon: log on, send nothing."""
    OPEN = 2
    CLOSING = 3
    """With `on_close = "cancel"`: send nothing but cancels."""


class View(Protocol):
    """Where the trading hours can be seen."""

    @property
    def known(self) -> bool: ...
    def read(self) -> SessionState: ...


class Session:
    """One per sender. `machine` is its state, `view` the trading hours."""

    def __init__(
        self, config: SessionConfig, core: Batches, caller: Caller, responses: Responses, view: View,
        log: logging.Logger, mono_ns: Callable[[], int] | None = None,
    ) -> None:  # fmt: skip
        self.config, self.core, self.caller, self.responses = config, core, caller, responses
        self.view, self.log = view, log
        self.machine = SessionMachine(
            config.logon_timeout_ms, config.logout_timeout_ms, config.reconnect_initial_ms, config.reconnect_max_ms,
            config.logons_per_minute,
        )  # fmt: skip
        self._logon_lead_ns = config.logon_lead_ms * MS
        self._mono_ns = mono_ns or monotonic_ns
        self._cancel_lead_ns = config.cancel_lead_ms * MS if config.on_close == "cancel" else 0
        self._looked_at = 0  # UTC ns
        self._hours = CLOSED  # as last published, when that was looked at
        self.link_since_ns = self._mono_ns()
        """Since when (monotonic) we are logged on, or are not."""
        self._cleared = (0, 0)  # the interval at whose end what works is canceled already

    # -- trading hours ------------------------------------------------------------------------------------------------

    def look(self, wall: int) -> Hours:
        """Begins and ends our own interval as the clock passes its edges."""
        core = self.core
        self._looked_at = wall
        if core.interval[1] and wall >= core.interval[1]:
            self._close_interval()
        state = self._hours = self.view.read()
        if state.is_open_at(wall) and (state.open_ns, state.close_ns) != core.interval:
            if core.interval[1] and state.open_ns >= core.interval[1]:
                self._close_interval()  # another session; else the same one is known to last longer or shorter
            core.note(SessionEvent.STARTED, interval=(state.open_ns, state.close_ns), trade_date=state.trade_date)
        elif self.view.known and not state.is_open_at(wall) and core.interval[1]:
            self._close_interval()  # the schedule was changed, or the clock was set
        if not core.interval[1]:
            opens = state.next_open_ns  # may have passed a moment ago: then the scheduler is about to say so
            return Hours.LOGON if opens and wall >= opens - self._logon_lead_ns else Hours.CLOSED
        if wall < core.interval[1] - self._cancel_lead_ns:
            return Hours.OPEN
        if self._cleared != core.interval:
            self._cleared = core.interval
            core.wish(mass_action(Mass.CANCEL_WORKING, Reason.CANCELED_AT_CLOSE))
        return Hours.CLOSING

    def sends_within(self) -> tuple[int, int]:
        """Inside of these instants (UTC ns) of the interval that has begun it is OPEN; (0, 0): none has."""
        opens, closes = self.core.interval
        return opens, max(closes - self._cancel_lead_ns, 0)

    def boundary_ns(self, now: int, wall: int) -> int:
        """When (monotonic) the hours change next, so that nobody has to wake us for the logon, the last send and the
        logout; 0 = not soon. What has passed since the last look is due now, and what was published since then is not
        read here: `view.changed()` is to go on saying so."""
        closes, opens = self.core.interval[1], self._hours.next_open_ns
        edges = (closes - self._cancel_lead_ns, closes, opens - self._logon_lead_ns, opens)
        left = min((edge - wall for edge in edges if edge > self._looked_at), default=NEVER_NS)
        return now + max(left, 0) if left < NEVER_NS else 0

    def _close_interval(self) -> None:
        """The session is over: what waits ends as configured."""
        core = self.core
        core.note(SessionEvent.STOPPED)
        if core.working and self.config.on_close == "cancel":
            self.log.error("%d orders still work at the exchange after the close", core.working)
        if core.doubtful:
            self.log.error("%d requests end with the session, and nobody knows what became of them", core.doubtful)
            core.wish(mass_action(Mass.GIVE_UP, Reason.OUTCOME_UNKNOWN))
        rule = self.config.queued_at_close
        if rule == "expire":
            core.wish(mass_action(Mass.EXPIRE_WAITING, Reason.EXPIRED_AT_CLOSE))
        elif rule == "cancel":
            core.wish(mass_action(Mass.CANCEL_WAITING, Reason.CANCELED_AT_CLOSE))

    # -- the connection -----------------------------------------------------------------------------------------------

    def step(self, wanted: bool, now: int) -> None:
        """Whatever is to be done about the connection now."""
        while (action := self.machine.step(wanted, now)) is not Action.NONE:
            self.perform(action)

    def perform(self, action: Action) -> None:
        """One thing that is to be done; what it led to is taken down (and a connection that is given up is closed)."""
        session, caller = self.config, self.caller
        try:
            if action is Action.CONNECT:
                caller.connect(self.responses)
            elif action is Action.LOGON:
                caller.send_logon(session.username, session.password)
            elif action is Action.LOGOUT:
                caller.send_logout(session.username)
        except WrongCaller:
            raise
        except Exception as error:
            self.log.warning("%s failed: %s: %s", action.name.lower(), type(error).__name__, error)
            self.happened(SessionEvent.DISCONNECTED, f"{action.name.lower()}: {error}")
            return
        self.happened(_EVENTS[action], "")

    def happened(self, event: SessionEvent, words: str) -> None:
        """An event of the connection: the machine, the journal, and what follows from it."""
        was, was_on_line = self.machine.link, self.machine.on_line
        now = self._mono_ns()
        if not self.machine.on(event, now):
            return
        if self.machine.on_line is not was_on_line:
            self.link_since_ns = now
        if self.machine.link is Link.DOWN and was is not Link.DOWN:
            if event is not SessionEvent.LOGGED_OUT:
                self.core.connection_lost()
            self._close_quietly()
            self.machine.due_ns = now + int((self.machine.due_ns - now) * random.uniform(0.75, 1.25))
        date = 0
        if event is SessionEvent.LOGGED_ON:
            self.core.ask_again()
            state = self.view.read()
            date = state.trade_date or state.next_trade_date
            words = words or ("again" if date == self.core.logon_date else "first") + f" of trade date {date}"
        self.core.note(event, words, trade_date=date)
        self.log.info("session: %s %s", event.name.lower(), words)

    def _close_quietly(self) -> None:
        try:
            self.caller.close()
        except WrongCaller:
            raise
        except Exception as error:
            self.log.info("close: %s: %s", type(error).__name__, error)

    def respond(self, frame: bytes) -> None:
        """A frame of the exchange's records: what is about the session is for us, the rest for the core."""
        if not frame[7::REPORT_BYTES].translate(None, _NOT_OF_THE_SESSION):
            self.core.respond_frame(frame)
            return
        found = [frame[at : at + REPORT_BYTES] for at in range(0, len(frame), REPORT_BYTES)]
        position, end = 0, len(found)
        while position < end:
            record = found[position]
            position += 1
            words = None
            if record[5] & _HAS_TEXT and position < end:
                words = found[position]
                position += 1
            event = _SESSION_RESPONSES.get(record[7]) if not record[5] & _UNMATCHED else None
            if event is None:
                self.core.respond(record, words)
            else:
                self.happened(event, decode_text(words) if words else "")
            self.core.relieve()
