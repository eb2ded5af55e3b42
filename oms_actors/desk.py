"""The whole desk as a library: intake, hours, sender and its session over the same cores, in one thread of yours.

Nothing runs by itself. `on_data` brings a request in, `on_data_response` what the exchange said, `run` lets time pass;
each does one cycle of everybody after the other and returns the reports that it made. What time will make due is at
`next_due_ns`. There are no processes, threads, rings or files: what must survive the end of this process needs
`oms run`, which keeps journals of the very records that pass by here.

The adapter is the one that the sender process takes (see README). The clock is anything with `monotonic_ns()` and
`time_ns()`, such as the module `time`; only it is looked at.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator
from typing import Any, Protocol

from oms_actors.actors.intake import rules_of
from oms_actors.actors.session import Hours, Session
from oms_actors.config import Config
from oms_actors.core.answers import reports_of, runs
from oms_actors.core.batches import Batches
from oms_actors.core.exposure import Exposure
from oms_actors.core.hours import SessionState
from oms_actors.core.intake import PLACE_BYTES, Batch, Intake, Piece, Upstream
from oms_actors.core.ledger import Call
from oms_actors.core.mass_action import Mass, mass_action
from oms_actors.core.risk import Risk, kill_flag
from oms_actors.core.schedule import local_date
from oms_actors.core.session import Link
from oms_actors.core.timetable import Timetable, years_around
from oms_actors.edges.exchange import Adapter, Caller, Responses
from oms_actors.edges.hours import schedule_of
from oms_actors.edges.limits import limits_of
from oms_actors.edges.sending import scopes_of, settings_of, throttle_of
from oms_actors.errors import NotSent, Reason, WrongCaller
from oms_actors.messages import ExchangeResponse, Kind, Outcome, Report, ReportFlag, Request, SessionEvent
from oms_actors.record import AT_FLAGS, REQUEST_BYTES, decode_report, encode, key_of, records, text

STEP = 4_096
"""So much is sent, or dealt with of a mass action, in one cycle."""


class Clock(Protocol):
    """What tells the time."""

    def monotonic_ns(self) -> int: ...
    def time_ns(self) -> int: ...


class _Timetable:
    """The trading hours as the clock says them, where the processes look at the scheduler's page."""

    known = True

    def __init__(self, config: Config, clock: Clock) -> None:
        self._config, self._clock = config.session, clock
        self._load()

    def _load(self) -> None:
        self._today = local_date(self._config.zone, self._clock.time_ns())
        self._table = Timetable(schedule_of(self._config, years_around(self._today)))

    def read(self) -> SessionState:
        wall = self._clock.time_ns()
        if local_date(self._config.zone, wall) != self._today:
            self._load()
        return self._table.at(wall)


class Desk:
    """See above. `core` and `intake` are the cores, for who wants to look into them."""

    def __init__(self, adapter: Adapter, config: Config | None = None, clock: Clock = time) -> None:
        config = config or Config()
        self.config, self.clock = config, clock
        self._log = logging.getLogger("oms.desk")
        self._timetable = _Timetable(config, clock)
        self._hours = Hours.CLOSED
        self._running = self._more = False
        self.intake = Intake(rules_of(config), exposure=Exposure(Risk(limits_of(config.risk))))
        self._caller, self._responses = Caller(adapter), Responses()
        self.core = Batches(
            settings_of(config, self._caller.deduplicates), throttle_of(config), Risk(limits_of(config.risk)),
            scopes_of(config),
        )  # fmt: skip
        self._session = Session(
            config.session, self.core, self._caller, self._responses, self._timetable, self._log, clock.monotonic_ns
        )  # fmt: skip
        self._sequence = 1
        self._frames: deque[bytes] = deque()
        self._reports: list[Report] = []

    # -- what comes -------------------------------------------------------------------------------------------------

    def on_data(self, request: Request | bytes, upstream: str = "desk") -> list[Report]:
        """A request (or one as a record of 192 bytes, however malformed). FieldError: it cannot even be encoded."""
        record = request if isinstance(request, bytes) else encode(request, 0, self.clock.monotonic_ns())
        name = upstream.encode()
        self._look_at_date()
        batch = self._batch()
        known = self.intake.named(name)
        if known is None:
            known = Upstream(len(self.intake.upstreams) + 1, name)
            batch.upstream(known)
        batch.take([Piece(known.number, known.place + PLACE_BYTES, record)])
        self._take_down(batch)
        return self.run()

    def on_data_response(self, response: ExchangeResponse) -> list[Report]:
        """What the exchange says, if it does not tell the adapter. From inside of a call of the adapter this (as all
        else here) returns nothing: what follows is among the reports of who led to the call."""
        self._responses.on_response(response)
        return self.run()

    def run(self) -> list[Report]:
        """What time has made due, and whatever follows from it."""
        return self._run(stopping=False)

    def _run(self, stopping: bool) -> list[Report]:
        if self._running:  # the adapter tells us from inside of a call: who made the call goes on with it
            self._more = True
            return []
        self._running = True
        try:
            if not stopping:
                self._look_at_date()
            while self._cycle(stopping):
                pass
        finally:
            self._running = False
        found, self._reports = self._reports, []
        return found

    # -- what people want -------------------------------------------------------------------------------------------

    def kill(self, cancel_working: bool = False) -> list[Report]:
        """Nothing more is accepted or sent, until `resume`."""
        self._set_kill(True)
        if cancel_working:
            self.core.begin(self.clock.monotonic_ns(), self.clock.time_ns())
            self.core.wish(mass_action(Mass.CANCEL, Reason.KILLED))
        return self.run()

    def resume(self) -> list[Report]:
        """Takes `kill` back."""
        self._set_kill(False)
        return self.run()

    def _set_kill(self, on: bool) -> None:
        flags = [kill_flag()] if on else []
        self.core.set_kill(flags)
        self.intake.exposure.set_kill(flags)

    def resolve(self, client_order_id: str, sent: bool, account: str = "") -> list[Report]:
        """Says what became of a request in doubt. KeyError: none of that name is."""
        self.core.begin(self.clock.monotonic_ns(), self.clock.time_ns())
        if not self.core.resolve(key_of(account, client_order_id), sent):
            raise KeyError(client_order_id)
        return self.run()

    def stop(self) -> list[Report]:
        """Logs out, as at the close."""
        return self._run(stopping=True)

    def next_due_ns(self) -> int:
        """When (monotonic) `run` has something to do though nothing comes; 0: never."""
        core, machine, now = self.core, self._session.machine, self.clock.monotonic_ns()
        due = [core.due_ns(), machine.due_ns, self._session.boundary_ns(now, self.clock.time_ns())]
        if machine.on_line:
            due += [core.release_due_ns(), core.queries_due_ns()]
        return min((instant for instant in due if instant), default=0)

    # -- intake -----------------------------------------------------------------------------------------------------

    def _batch(self) -> Batch:
        return self.intake.batch(
            self._sequence, self.clock.monotonic_ns(), self.clock.time_ns(), self._timetable.read()
        )  # fmt: skip

    def _look_at_date(self) -> None:
        date = self._timetable.read().date
        if date > self.intake.trade_date:
            batch = self._batch()
            batch.roll(date)
            self._take_down(batch)

    def _take_down(self, batch: Batch) -> None:
        """The decisions become true, are answered, and go to the sender."""
        payload = batch.payload()
        self.intake.apply(payload, batch.first)
        for answer in batch.answers():
            self._tell(bytes(answer.reports))
        self._sequence += batch.records
        self._frames.append(payload)

    # -- the sender -------------------------------------------------------------------------------------------------

    def _cycle(self, stopping: bool) -> bool:
        """One look at everything; True if another may find more."""
        self._more = False
        core, session, clock = self.core, self._session, self.clock
        now, wall = clock.monotonic_ns(), clock.time_ns()
        core.begin(now, wall)
        core.matching = self._hours is Hours.OPEN and wall < core.interval[1]
        taken = self._take()
        if session.machine.link is not Link.DOWN:
            self._caller.poll()
        heard = self._responses.drain_frames()
        for frame in heard:
            session.respond(frame)
        hours = self._hours = Hours.CLOSED if stopping else session.look(wall)
        link = session.machine.link
        session.step(hours is not Hours.CLOSED, now)
        core.tick()
        unfinished = core.go_on(STEP) if core.mass_actions else False
        core.matching = hours is Hours.OPEN
        unfinished |= core.match(STEP)
        on_line = session.machine.on_line
        if on_line and core.doubtful:
            self._ask()
        if on_line and hours >= Hours.OPEN:
            core.release(min(STEP, self._caller.room()), cancels_only=hours is Hours.CLOSING)
        called = bool(core.calls)
        self._flush(now, wall)
        self._call()
        self._flush(now, wall)
        core.put_away()
        return bool(taken or heard or called or unfinished or self._more or session.machine.link is not link
                    or self._responses.ready())  # fmt: skip

    def _take(self) -> bool:
        """What was admitted. Requests of the next trade date wait until the old one has ended."""
        taken = False
        while self._frames and not self.core.rolling and not self._closes_first(self._frames[0]):
            self.core.take(self._frames.popleft())
            taken = True
        return taken

    def _closes_first(self, frame: bytes) -> bool:
        if frame[:1] != bytes((Kind.SESSION,)):
            return False
        closes = self.core.interval[1]
        return self.core.wall >= closes if closes else self._session.machine.link is not Link.DOWN

    def _ask(self) -> None:
        for key in self.core.queries(self._caller.can_query):
            try:
                self._caller.query(text(key[16:]), text(key[:16]))
            except WrongCaller:
                raise
            except Exception as error:  # a failed query says nothing about the order
                self._log.warning("query %s: %s: %s", text(key[16:]), type(error).__name__, error)
        for item in self.core.given_up:
            self._log.error("%s stays in doubt: called %d times and no answer", text(item.key[16:]), item.attempt)
        self.core.given_up.clear()

    def _flush(self, now: int, wall: int) -> None:
        payload, _ = self.core.taken()
        found = runs(payload)
        self.intake.departed(found, now)
        for piece in reports_of(found, wall):
            self._tell(bytes(piece))
        self.core.latencies.clear()

    def _call(self) -> None:
        """Performs the calls: up to the close, to a kill in the midst of them, or until the connection is lost."""
        closes, kills, lost = self.core.interval[1], self.core.risk.kill_flags, ""
        calls = list(_one_by_one(self.core.calls))
        for done, (sequence, item, intent) in enumerate(calls):
            began, outcome = self.clock.monotonic_ns(), Outcome.SENT
            if lost or self.core.risk.kill_flags is not kills or self.clock.time_ns() >= closes:
                for number, left, _ in reversed(calls[done:]):  # the first of them is the first in line again
                    self.core.returned(began, began, number, left, Outcome.NOT_CALLED)
                break
            try:
                (self._caller.send_record if self._caller.is_raw else self._caller.send)(intent)
            except NotSent:
                outcome = Outcome.NOT_SENT
            except WrongCaller:
                raise
            except Exception as error:
                self._log.warning("in doubt: %s: %s: %s", text(intent[96:132]), type(error).__name__, error)
                outcome = Outcome.FAILED
                lost = repr(error) if isinstance(error, ConnectionError) else lost
            self.core.returned(began, self.clock.monotonic_ns(), sequence, item, outcome)
        self.core.calls.clear()
        if lost:
            self._session.happened(SessionEvent.DISCONNECTED, lost)

    # -- reports ----------------------------------------------------------------------------------------------------

    def _tell(self, reports: bytes) -> None:
        found = list(records(reports))
        for at, record in enumerate(found):
            if record[0] == Kind.REPORT:
                words = found[at + 1] if record[AT_FLAGS] & ReportFlag.HAS_TEXT and at + 1 < len(found) else None
                self._reports.append(decode_report(record, 0, words))


def _one_by_one(calls: list[Call]) -> Iterator[Call]:
    for sequence, item, intents in calls:
        items: list[Any] = item if isinstance(item, list) else [item]
        for at, each in enumerate(items):
            yield sequence + at, each, intents[at * REQUEST_BYTES : (at + 1) * REQUEST_BYTES]
