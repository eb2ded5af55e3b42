"""The sender: the sole caller of the exchange.

One cycle: what intake admitted, what the exchange said, what time has made due, what the throttle lets out; then one
journal frame and one sync; only then the calls, with the send cursor around each. What the calls did is taken down with
the next frame. Reports leave (as that very frame) once they are durable.
"""

from __future__ import annotations

import logging
import struct
import time
from array import array
from collections import Counter, deque
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from time import monotonic_ns
from typing import Any

from ipc import inject
from ipc.errors import IpcError
from ipc.page import Page
from ipc.proc import fine_timers, short_slices
from ipc.ring import RingWriter, open_reader, open_writer
from ipc.wait import Bell, look_ns_of_the_others
from oms_actors import instance
from oms_actors.actors.commands import MassCancel, Reconnect, ReEnable, Reload, Resolve, Stats, Why
from oms_actors.actors.session import Hours, Session
from oms_actors.actors.shell import Context, main
from oms_actors.config import Resolved
from oms_actors.core.batches import Batches
from oms_actors.core.ledger import Call
from oms_actors.core.mass_action import Mass, mass_action
from oms_actors.core.pending import COUNTERS
from oms_actors.core.risk import Risk
from oms_actors.core.session import Action, Link
from oms_actors.core.throttle import NEVER_NS
from oms_actors.edges import journals
from oms_actors.edges.disk import OsDisk
from oms_actors.edges.exchange import Caller, Responses, load_adapter
from oms_actors.edges.feed import Feed
from oms_actors.edges.journal import Frame, JournalFull, JournalWriter
from oms_actors.edges.kill_switch import Kill, KillSwitch
from oms_actors.edges.limits import limits_of
from oms_actors.edges.send_cursor import SendCursor
from oms_actors.edges.sender_fold import SenderFold
from oms_actors.edges.sending import scopes_of, settings_of, throttle_of
from oms_actors.edges.session_page import SessionView
from oms_actors.errors import NotSent, Reason, WrongCaller
from oms_actors.messages import Kind, Outcome, SessionEvent
from oms_actors.record import REQUEST_BYTES, key_of, text

US, MS = 1_000, 1_000_000
EARLY_NS = 100_000
"""A token of the throttle is used when it frees, not a wake-up later."""
TAKE_BYTES = 1 << 19
RELEASE_MAX = 4096
ROOM_BYTES = 8 << 20
"""A cycle journals less than this; below it the next segment must be there before the cycle begins."""
FULL_RETRY_NS = 200 * MS
MANY, FLOOD_NS = 64, 10 * MS
"""So many orders in a cycle are a flood; it is over when there have been less for so long."""
MASS_STEP = 2048
"""Orders of a mass action dealt with in one cycle."""
MATCH_LOOKS = 8192
"""Waiting orders looked at in one cycle for matches inside that had to wait."""
POLL_NS = 50 * MS
ROOM_RETRY_NS = MS
"""So long after the adapter had no room it is asked again."""
FRAME_RECORDS = 12_288
"""A cycle that says more writes several frames; one decision may still go beyond it."""
RESULTS_WAIT_NS = 10 * MS
"""Results alone may wait so long for company: the cursor knows them meanwhile."""
PAGE_COUNTERS = (
    *COUNTERS, "queue_depth", "queue_capacity", "working", "in_doubt", "throttle_rate", "throttle_used",
    "throttle_next_free_ns", "session_state", "link", "logons", "link_since_ns", "gaps",
    "stopped_upstreams", "frames", "hints_dropped", "disk_full",
)  # fmt: skip
HISTOGRAMS = ("submit_to_send_ns", "round_trip_ns", "fsync_ns")
_KIND, _SUBMITTED = itemgetter(0), slice(32, 40)
_RESULT, _SESSION = int(Kind.RESULT), int(Kind.SESSION)
_SILENT = frozenset((_RESULT, Kind.INTENT_NEW, Kind.INTENT_MODIFY, Kind.INTENT_CANCEL))
"""Nobody is told anything by these: intake may take them in whenever it is awake, unless the queue is short of room."""


def limit_counters(at: int) -> tuple[str, ...]:
    """Counters of the page for `[[throttle.limits]]` number `at`: used, next free, and in two words whose that is."""
    return tuple(f"limit_{at}_{what}" for what in ("used", "next_free_ns", "name_0", "name_1"))


class SenderRole:
    """Role of the sender process."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.log: logging.Logger = context.log
        self.resolved: Resolved = instance.read_desk(context.runtime)
        self.config = self.resolved.config
        context.bell.look_ns = self._look_ns = look_ns_of_the_others(self.config.desk.look_us * US)
        context.bell.early_ns = EARLY_NS
        self._bells: dict[str, Bell] = {}
        self._results_since = 0
        self._frames: deque[Frame] = deque()  # of intake's journal, taken and not looked at
        self._consumed = 0  # of intake's sequences; `input` is what the journal knows of it
        self._full_until_ns = 0  # no disk for the journal: tried again then
        self._more = True  # something to do that nobody announces: the first cycle, the rest of something big
        self._hours = Hours.CLOSED
        self._shown_until_ns = 0  # then what is shown of the throttle is out of date (monotonic)
        self._room_ns = 0  # not before then has the adapter room (monotonic)
        self._poll_ns = 0  # then at the latest the adapter is polled again, if it does not ring (monotonic)
        self._kills: tuple[Kill, ...] = ()
        self._first = False  # before all ordinary processes (`_come_first`)
        self._flood_until_ns = 0  # so long orders go out by the hundred (monotonic)
        self._may_be_first = self.config.desk.real_time  # as far as is known
        self._free_until_ns = 0  # until then (monotonic) a plain order may pass (`_pass_on`)
        self._free_ns = min(self.config.exchange.ack_timeout_ms * MS or NEVER_NS, POLL_NS)
        self._free_wall_ns = (0, 0)  # in these trading hours (UTC)
        self._free_offset = 0  # while the journal is not longer it has room for certain
        self._silent: list[bytes] = []  # frames written that tell nobody anything: handed on once the calls are made

    # -- life -------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Attach, recover, and settle what a predecessor left open."""
        config, context = self.config, self.context
        fine_timers()
        short_slices()
        offers = {"directory": context.path(instance.VENUE), "bell": context.path(f"{context.name}.bell")}
        adapter = load_adapter(config.exchange.adapter, config.exchange.options, self.resolved.config_dir, offers)
        self.caller = Caller(adapter, context.vitals)
        self.responses = Responses(context.bell)
        risk = Risk(limits_of(config.risk))
        self.core = Batches(settings_of(config, self.caller.deduplicates), throttle_of(config), risk, scopes_of(config))
        self.view = SessionView(context.runtime / instance.SESSION_PAGE)
        self.session = Session(config.session, self.core, self.caller, self.responses, self.view, self.log)
        extra = [name for at in range(len(config.throttle.limits)) for name in limit_counters(at)]
        self.page = Page.create(context.path(f"{context.name}.page"), (*PAGE_COUNTERS, *extra), HISTOGRAMS)
        self._histograms = [self.page.histogram(name) for name in HISTOGRAMS]
        self.journal: JournalWriter = journals.open_writer(self.resolved, journals.SENDER)
        self.cursor = SendCursor(self.resolved)
        self.switch = KillSwitch(Path(self.resolved.data_dir))
        self._replay()
        self.out_ring = self._open_out_ring()
        self.core.base = self.journal.sequence
        self.core.relieve = self._relieve
        self._look_at_switch()
        self._recover()

    def _open_out_ring(self) -> RingWriter | None:
        try:
            return open_writer(self.context.path(instance.SENDER_INTAKE))
        except IpcError as error:
            self.log.warning("no ring to intake (%s): it follows the journal", error)
            return None

    def _replay(self) -> None:
        """Folds the sender's journal into the core, from the newest snapshot on."""
        folder = journals.folder(self.resolved)
        fold = SenderFold(self.core, OsDisk(folder), journals.boot_word())
        fold.load(folder)
        fold.run(self.context.beat)
        self._rebooted, self._first_ns = fold.rebooted, fold.first_ns
        self.input = self._consumed = fold.input
        ring = None
        try:
            ring = open_reader(self.context.path(instance.INTAKE_SENDER))
        except IpcError as error:
            self.log.warning("no ring from intake (%s): following its journal", error)
        reader = journals.open_reader(self.resolved, journals.INTAKE)
        if fold.source.position is not None:
            reader.seek(fold.source.position, fold.input + 1)
        self.feed = Feed(ring, reader, fold.input + 1)

    def _recover(self) -> None:
        now = monotonic_ns()
        self.core.begin(now, time.time_ns())
        cursor, in_call = self.cursor.settled(self.caller.has_left)
        same_boot = self.journal.recovered.same_boot
        spent_at = (self._first_ns or now) if self._rebooted else None
        self.core.recover(cursor if same_boot else None, spent_at, in_call)
        if not getattr(self.caller.adapter, "resumes", False):
            self.core.connection_lost()
        self._flush()
        self.cursor.trust()
        core = self.core
        self.log.info(
            "recovered: %d waiting, %d working, %d in doubt, %d bytes of a torn tail cut",
            core.waiting, core.working, core.doubtful, self.journal.recovered.cut_bytes,
        )  # fmt: skip

    def stop(self) -> None:
        """Orderly end: log out if logged on, wait for the answer as long as configured, take everything down."""
        deadline = monotonic_ns() + self.config.session.logout_timeout_ms * MS
        while self.session.machine.link in (Link.ON, Link.LOGGING_OUT) and monotonic_ns() < deadline:
            self._cycle(stopping=True)
            self.context.beat()
            self.context.bell.wait(self.ready, 0.01)
        if self.session.machine.link is not Link.DOWN:
            self.session.perform(Action.CLOSE)
        self._flush()
        self.journal.close()

    # -- the shell's questions --------------------------------------------------------------------------------------

    def ready(self) -> bool:
        """Is there input?"""
        if self._full_until_ns:
            return monotonic_ns() >= self._full_until_ns
        if self._more or self.feed.ready() or self.responses.ready() or self.caller.ready():
            return True
        return self.view.changed() or self.switch.changed()

    def next_due_ns(self) -> int:
        """The next instant at which something becomes due without input."""
        if self._full_until_ns:
            return self._full_until_ns
        core, machine, now = self.core, self.session.machine, monotonic_ns()
        due = [core.due_ns()]
        if self._results_since:
            due.append(self._results_since + RESULTS_WAIT_NS)
        if machine.due_ns:
            due.append(machine.due_ns)
        if self.caller.must_be_polled and machine.link is not Link.DOWN:
            due.append(self._poll_ns or now)
        if machine.on_line:
            if self._hours >= Hours.OPEN and (free_ns := core.release_due_ns(self._hours is Hours.CLOSING)):
                due.append(max(free_ns, self._room_ns))
            if core.doubtful:
                due.append(core.queries_due_ns())
        due.append(self.session.boundary_ns(now, time.time_ns()))
        due.append(self._shown_until_ns)
        return min((instant for instant in due if instant), default=0)

    def command(self, message: Any) -> object:
        """Control messages; what they change is journalled with the next cycle."""
        self._more = True
        self._free_until_ns = 0
        self.core.begin(monotonic_ns(), time.time_ns())
        if isinstance(message, Stats):
            return self.page.counters()
        if isinstance(message, Reconnect) and self.session.machine.link is not Link.DOWN:
            self.session.perform(Action.CLOSE)
        elif isinstance(message, MassCancel):
            return self._mass_cancel(Reason.MASS_CANCEL, message.upstream, message.account, message.symbol)
        elif isinstance(message, Why):
            standing = self.core.standing(key_of(message.account, message.client_order_id))
            return standing._asdict() if standing else None
        elif isinstance(message, Reload):
            return self._reload(message.words)
        elif isinstance(message, ReEnable):
            return self.core.re_enable(message.upstream)
        elif isinstance(message, Resolve):
            return self.core.resolve(key_of(message.account, message.client_order_id), message.sent)
        return None

    def _reload(self, words: str) -> bool:
        """Takes over the risk limits of `desk.json`, all of them at once."""
        self.resolved = instance.read_desk(self.context.runtime)
        self.config = self.resolved.config
        self.core.reload(limits_of(self.config.risk), words)
        self.log.warning("risk limits reloaded: %s", words)
        return True

    def work(self) -> bool:
        """One cycle."""
        return self._pass_on() or self._cycle(stopping=False)

    # -- the cycle --------------------------------------------------------------------------------------------------

    def _pass_on(self) -> bool:
        """The shortest way, for a plain order that comes alone while nothing else is to be done: somebody waits for it.
        The same decisions, records and order of steps as everybody's way (`_cycle`). False: nothing was taken."""
        now, core, caller = monotonic_ns(), self.core, self.caller
        if now >= self._free_until_ns or self.responses.inbox or caller.ready() or caller.room() < 1:
            return False
        opens, closes = self._free_wall_ns
        if self.view.changed() or self.switch.changed() or not opens <= (wall := time.time_ns()) < closes:
            return False
        if self.journal.offset > self._free_offset and not self._has_room(now):
            return False
        record = self.feed.peek_one()
        if record is None:
            return False
        call = core.pass_on(record, now, wall)
        if call is None:
            self.feed.leave_one()
            return False
        self._consumed = self.feed.next_sequence
        self._write()
        if self._may_call():
            self._called(self._call_one(call))
        else:
            self._returned(now, now, call, Outcome.NOT_CALLED)
        self.feed.took_one()
        self._hand_on()
        self._publish()
        if self._free_until_ns > now + self._free_ns:  # its own timers, and what only a cycle looks at
            self._free_until_ns = now + self._free_ns
        return True

    def _look_ahead(self, hours: Hours) -> None:
        """Until when, in which trading hours and up to where in the journal may a plain order pass without anything
        else being looked at? Not if something is to be told, or if nobody knows whether the exchange has said
        something."""
        self._free_until_ns = 0
        idle = not self._more and not self._frames and _SILENT.issuperset(map(_KIND, self.core.out))
        asked = self.session.machine.on_line and not self.caller.must_be_asked
        if hours is Hours.OPEN and asked and idle and self.core.may_pass():
            self._free_until_ns = self.next_due_ns() or NEVER_NS
            self._free_wall_ns = self.session.sends_within()
            self._free_offset = self.journal.offset + self.journal.room() - ROOM_BYTES

    def _cycle(self, stopping: bool) -> bool:
        core = self.core
        now, wall = monotonic_ns(), time.time_ns()
        if not self._has_room(now):
            return False
        core.begin(now, wall)
        core.matching = self._hours is Hours.OPEN and wall < core.interval[1] and not self.switch.changed()
        taken = self._take()
        heard = self._hear()
        if self.switch.changed():
            self._look_at_switch()
        hours = self._hours = Hours.CLOSED if stopping else self.session.look(wall)
        self.session.step(hours is not Hours.CLOSED, now)
        core.blocked = self._blocked(hours)
        core.tick()
        unfinished = core.go_on(MASS_STEP) if core.mass_actions else False
        core.matching = hours is Hours.OPEN
        unfinished |= core.match(MATCH_LOOKS)
        if self.session.machine.on_line:
            self._ask_about_doubts()
        released = self._release(now, hours) if hours >= Hours.OPEN and self.session.machine.on_line else 0
        calls = core.calls
        busy = bool(taken or heard or calls)
        if core.out and (busy or not self._results_may_wait(now)):
            self._flush()
        self.feed.commit()
        waits = bool(self._frames) and not self._closes_first()
        self._more = released == RELEASE_MAX or unfinished or waits
        if calls:
            self._call(calls)
        self._hand_on()
        self._publish()
        core.put_away()
        self._come_first(now, released)
        self._look_ahead(hours)
        return busy

    def _come_first(self, now: int, released: int) -> None:
        """In real time, if that is permitted, wherever somebody waits for the next order or a token of the throttle is
        to be used at once; like everybody else while orders go out by the hundred, for then batches count."""
        core = self.core
        if released >= MANY:
            self._flood_until_ns = now + FLOOD_NS
        throttled = core.waiting and not core.throttle.available(core.now)
        yes = bool(throttled) or now >= self._flood_until_ns
        if yes is self._first or not self._may_be_first:
            return
        self._may_be_first = self.context.real_time(yes)
        self._first = yes and self._may_be_first
        self.context.bell.look_ns = 0 if self._first else self._look_ns  # to offer its processor would be no use then

    def _blocked(self, hours: Hours) -> Reason:
        """Why nothing goes out at all, if so."""
        if hours < Hours.OPEN:
            return Reason.OUT_OF_HOURS
        return Reason.NONE if self.session.machine.on_line else Reason.NOT_LOGGED_ON

    def _has_room(self, now: int) -> bool:
        """Is there disk for a cycle's frames? Without it nothing is taken, heard or sent: everything stays where it is,
        and goes on once there is space."""
        if self.journal.room() >= ROOM_BYTES:
            return True
        if now < self._full_until_ns:
            return False
        try:
            self.journal.prepare()
        except JournalFull as error:
            if not self._full_until_ns:
                self.log.error("nothing is sent: %s", error)
            self._full_until_ns = now + FULL_RETRY_NS
        else:
            self._full_until_ns = 0
        self.page["disk_full"] = int(self._full_until_ns > 0)
        return not self._full_until_ns

    def _take(self) -> bool:
        """What intake admitted, about TAKE_BYTES of it: less than a cycle lets out. So where nothing but our own pace
        is the limit, requests wait in intake's journal and not in line, where each is memory. While the old trade date
        is being ended, the requests of the new one wait."""
        core, frames = self.core, self._frames
        if not frames:
            frames.extend(self.feed.take(TAKE_BYTES))
        left = TAKE_BYTES
        while frames and left > 0 and not core.rolling and not self._closes_first():
            frame = frames.popleft()
            core.take(frame.payload)
            self._consumed = frame.sequence + frame.records - 1
            self._relieve()
            left -= len(frame.payload)
        return left < TAKE_BYTES

    def _closes_first(self) -> bool:
        """Comes the next trade date, though its session is not over or the exchange has not let go of us yet? Orders of
        the day end after its last report, as far as that can be had."""
        if self._frames[0].payload[0] != _SESSION:
            return False
        closes = self.core.interval[1]
        return self.core.wall >= closes if closes else self.session.machine.link is not Link.DOWN

    def _release(self, now: int, hours: Hours) -> int:
        """Lets out what the throttle and the adapter have room for; what is more waits in the queue."""
        limit = min(RELEASE_MAX, self.caller.room())
        released = self.core.release(limit, cancels_only=hours is Hours.CLOSING)
        self._room_ns = now + ROOM_RETRY_NS if released == limit < RELEASE_MAX else 0
        return released

    def _results_may_wait(self, now: int) -> bool:
        """Results that stand alone wait a moment for a frame that is written anyway."""
        if any(record[0] != _RESULT for record in self.core.out):
            return False
        return now - self._results_since < RESULTS_WAIT_NS

    def _relieve(self) -> None:
        """Between two decisions: enough for a frame?"""
        if len(self.core.out) >= FRAME_RECORDS:
            self._flush()
            self.context.beat()

    def _flush(self) -> None:
        """One frame, one sync; then whoever follows the journal may see it."""
        core = self.core
        if not core.out and self.input == self._consumed:
            return
        tells = not _SILENT.issuperset(map(_KIND, core.out)) or 2 * core.waiting > self.config.queue.capacity
        self._write()
        if tells or len(self.core.calls) != 1:
            self._hand_on()
        if tells:
            self._bell("intake").ring()

    def _write(self) -> None:
        """One frame, durable; nobody is shown it yet."""
        core, journal = self.core, self.journal
        payload, count = core.taken()
        self.input = consumed = self._consumed
        frame = journal.append(payload, count, core.wall, core.now, consumed)
        if inject.armed:
            inject.point("sender.written")
        if journal.durable != journal.offset:
            before = monotonic_ns()
            journal.sync()
            self._histograms[2].record(monotonic_ns() - before)
        if inject.armed:
            inject.point("sender.synced")
        self._results_since = 0
        self._silent.append(frame)

    def _hand_on(self) -> None:
        """Shows intake what has been written. Where nobody is told anything, the one call comes first."""
        if not self._silent:
            return
        ring = self.out_ring
        self.page["frames"] += len(self._silent)
        for frame in self._silent:
            if ring is not None and (len(frame) > ring.frame_bytes_max or not ring.try_put(frame)):
                self.page["hints_dropped"] += 1
        self._silent.clear()
        inject.point("sender.handed_on")

    def _call(self, calls: list[Call]) -> None:
        """Performs the calls whose INTENTs are durable, one after the other."""
        made, lost = calls if self.caller.is_raw else list(_one_by_one(calls)), ""
        for done, call in enumerate(made):
            if lost or not self._may_call():
                at_ns = monotonic_ns()
                for left in reversed(made[done:]):  # the first of them is the first in line again
                    self._returned(at_ns, at_ns, left, Outcome.NOT_CALLED)
                break
            lost = self._call_one(call)
        calls.clear()
        self._called(lost)

    def _may_call(self) -> bool:
        """Right before a call: still open, and no kill switch that nobody has looked at?"""
        return time.time_ns() < self.core.interval[1] and not self.switch.changed()

    def _call_one(self, call: Call) -> str:
        """One call and what it did; why the connection is lost ("" = it is not)."""
        call_ns = monotonic_ns()
        outcome, lost = self._make_call(*call)
        self._returned(call_ns, monotonic_ns(), call, outcome)
        if outcome == Outcome.SENT:
            self._count_sent(call_ns, call[2])
        elif outcome == Outcome.FAILED:
            self._flush()  # a doubt is told before the next call
        return lost

    def _called(self, lost: str) -> None:
        """The calls of this cycle have been made."""
        if lost:
            self.session.happened(SessionEvent.DISCONNECTED, lost)
        if self.core.out and not self._results_since:
            self._results_since = monotonic_ns()

    def _make_call(self, sequence: int, item: Any, intents: bytes) -> tuple[int, str]:
        """One call with the send cursor around it: what it did, and why the connection is lost ("" = it is not)."""
        caller, last = self.caller, sequence
        outcome, lost = Outcome.SENT, ""
        try:
            if isinstance(item, list):
                last += len(item) - 1
                self.cursor.enter_batch(sequence, last, caller.position)
                if inject.armed:
                    inject.point("sender.before_call")
                caller.send_records(intents, len(item))
            else:
                self.cursor.words[1] = 2 * sequence
                if inject.armed:
                    inject.point("sender.before_call")
                (caller.send_record if caller.is_raw else caller.send)(intents)
        except NotSent as error:
            outcome = Outcome.NOT_SENT
            self.log.warning("not sent: %s: %s", text(intents[96:132]), error)
        except WrongCaller:
            raise
        except Exception as error:
            outcome = Outcome.FAILED
            self.log.warning("in doubt: %s: %s: %s", text(intents[96:132]), type(error).__name__, error)
            lost = repr(error) if isinstance(error, ConnectionError) else ""
        inject.point("sender.after_call")
        self.cursor.words[1] = 2 * last + 1
        inject.point("sender.called")
        return outcome, lost

    def _returned(self, call_ns: int, return_ns: int, call: Call, outcome: int) -> None:
        sequence, item, _ = call
        if outcome != Outcome.SENT:
            self._free_until_ns = 0  # there is something to tell, to ask or to do again
        (self.core.returned_all if isinstance(item, list) else self.core.returned)(
            call_ns, return_ns, sequence, item, outcome
        )

    def _count_sent(self, call_ns: int, intents: bytes) -> None:
        """How long it took from an upstream's submit to the call; each frame of an upstream has one instant."""
        if len(intents) == REQUEST_BYTES:
            if submit_ns := int.from_bytes(intents[_SUBMITTED], "little", signed=True):
                self._histograms[0].record(call_ns - submit_ns)
            return
        with memoryview(intents).cast("q") as words:
            submitted = Counter(words[4 :: REQUEST_BYTES // 8].tolist())
        for submit_ns, count in submitted.items():
            if submit_ns:
                self._histograms[0].record(call_ns - submit_ns, count)

    # -- the exchange -----------------------------------------------------------------------------------------------

    def _hear(self) -> bool:
        """What the exchange has said."""
        if self.session.machine.link is not Link.DOWN:
            self.caller.poll()
            self._poll_ns = monotonic_ns() + POLL_NS
        if not self.responses.ready():
            return False
        for frame in self.responses.drain_frames():
            self.session.respond(frame)
            self._relieve()
        for latency, count in Counter(self.core.latencies).items():
            self._histograms[1].record(latency, count)
        self.core.latencies.clear()
        return True

    def _look_at_switch(self) -> None:
        """The kill switch has been touched: hold back what it names, cancel what it wants canceled."""
        state = self.switch.read()
        known = self.core.cancels_asked
        asked = state.asked_since(known)
        if state.kills == self._kills and state.cancel == known:
            return
        self._kills = state.kills
        self.core.set_kill(kill.flag for kill in state.kills)
        names = ", ".join(kill.scope for kill in state.kills)
        self.core.note(SessionEvent.KILL if state.kills else SessionEvent.RESUME, names, state.cancel)
        self.log.warning("kill switch: %s", names or "off")
        for scope in asked:
            self._mass_cancel(Reason.KILLED, 0, scope.account, scope.symbol)

    def _mass_cancel(self, reason: Reason, upstream: int, account: str, symbol: str) -> int:
        """Takes it up; returns how many orders it concerns."""
        wish = mass_action(Mass.CANCEL, reason, upstream, account, symbol)
        count = self.core.concerned(wish)
        self.core.wish(wish)
        self.log.warning("%s: %s: %d orders", reason.name.lower(), wish, count)
        return count

    def _ask_about_doubts(self) -> None:
        """Asks the exchange about orders in doubt, as far as it can be asked."""
        if not self.core.doubtful:
            return
        asked = self.core.queries(self.caller.can_query)
        for item in self.core.given_up:
            self.log.error(
                "%s stays in doubt: called %d times and no answer; nothing more is sent of it: see `oms resolve`",
                text(item.key[16:]), item.attempt,
            )  # fmt: skip
        self.core.given_up.clear()
        for key in asked:
            try:
                self.caller.query(text(key[16:]), text(key[:16]))
            except WrongCaller:
                raise
            except ConnectionError as error:
                self.session.happened(SessionEvent.DISCONNECTED, repr(error))
                return
            except Exception as error:  # a failed query says nothing about the order
                self.log.warning("query %s: %s: %s", text(key[16:]), type(error).__name__, error)

    # -- what others see --------------------------------------------------------------------------------------------

    def _publish(self) -> None:
        page, core = self.page, self.core
        now = monotonic_ns()
        limit, used = core.throttle.limit, core.throttle.used(now)
        self._shown_until_ns = now + limit.per_ns + limit.margin_ns if used else 0
        values = array("q", core.counters.values())
        values.extend((
            core.waiting, self.config.queue.capacity, core.working, core.doubtful, limit.rate, used,
            core.throttle.next_free_ns(now), bool(core.interval[1]), self.session.machine.link,
            self.session.machine.logons, self.session.link_since_ns, self.feed.gaps, len(core.risk.stopped),
        ))  # fmt: skip
        first = page.index(PAGE_COUNTERS[0])
        page.words[first : first + len(values)] = memoryview(values)  # in the order of PAGE_COUNTERS
        if core.scopes.limits:
            self._publish_limits(now)

    def _publish_limits(self, now: int) -> None:
        """Of each further limit: who has used most of it."""
        for at, (name, used, free_ns) in enumerate(self.core.scopes.fullest(now)):
            words = struct.unpack("<qq", name.ljust(16, b"\0"))
            for counter, value in zip(limit_counters(at), (used, free_ns, *words), strict=True):
                self.page[counter] = value

    def _bell(self, role: str) -> Bell:
        """The doorbell of another process; made here if it has not started yet."""
        bell = self._bells.get(role)
        if bell is None:
            path = self.context.path(f"{role}.bell")
            try:
                bell = Bell.attach(path)
            except IpcError:
                bell = Bell.create(path)
            self._bells[role] = bell
        return bell


def _one_by_one(calls: list[Call]) -> Iterator[Call]:
    """For an adapter that takes one request at a time."""
    for sequence, item, intents in calls:
        if isinstance(item, list):
            for i, order in enumerate(item):
                yield sequence + i, order, intents[i * REQUEST_BYTES : (i + 1) * REQUEST_BYTES]
        else:
            yield sequence, item, intents


def run() -> None:
    """Entry of `python -m oms_actors.actors.sender`."""
    main("sender", SenderRole)


if __name__ == "__main__":
    run()
