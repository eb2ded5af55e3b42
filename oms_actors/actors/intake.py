"""Intake: the upstreams' side of the desk.

One cycle: what the sender's journal says goes to the upstreams; then requests are taken from each in turn, decided
about at once, journalled as one frame and synced. Only then the sender sees the frame, the upstreams get their answers,
and the request rings are committed. Killed anywhere in between, the next intake goes on from the journals.
"""

from __future__ import annotations

import logging
import time
from contextlib import closing
from pathlib import Path
from time import monotonic_ns
from typing import Any

import msgspec

from ipc import inject
from ipc.errors import IpcError
from ipc.page import Page
from ipc.proc import short_slices
from ipc.ring import RingWriter, open_reader, open_writer
from ipc.wait import Bell
from oms_actors import instance
from oms_actors.actors.commands import Reload, Stats, WhoIsThere
from oms_actors.actors.shell import Context, main
from oms_actors.config import Config, Resolved
from oms_actors.core.answers import acceptance, by_upstream, reports_of, runs
from oms_actors.core.exposure import Exposure
from oms_actors.core.hours import SessionState
from oms_actors.core.intake import Batch, Intake, IntakeRules, Piece, refusal
from oms_actors.core.requests import CANCEL, MODIFY, NEW, Fault
from oms_actors.core.risk import KILL_ALL, NO_LIMITS, Risk
from oms_actors.edges import journals, parked
from oms_actors.edges.disk import OsDisk
from oms_actors.edges.feed import Feed
from oms_actors.edges.intake_fold import IntakeFold
from oms_actors.edges.journal import JournalFull, JournalReader, Position, SenderAhead, frames
from oms_actors.edges.kill_switch import KillSwitch
from oms_actors.edges.limits import limits_of
from oms_actors.edges.refill import Places
from oms_actors.edges.session_page import SessionView
from oms_actors.edges.upstream_link import INTAKE, SENDER, Link, Said
from oms_actors.edges.upstreams import Upstreams
from oms_actors.errors import Field, Reason
from oms_actors.record import REQUEST_BYTES, REQUEST_FRAME_BYTES_MAX

US, MS = 1_000, 1_000_000
CYCLE_BYTES = REQUEST_FRAME_BYTES_MAX
"""Requests of one cycle, and so of one journal frame: about this much, one upstream's last frame on top."""
HEAR_BYTES = 1 << 20
TICK_NS = 200 * MS  # as long as a quiet actor sleeps at most: one wake-up for both
LAG_TICK_NS = 10 * MS
NOTE_NS = 1_000 * MS
"""So often an upstream's progress is journalled, if it made any."""
FULL_NS = 100 * MS
"""After the disk was full nothing is tried for so long: requests are refused at once."""
COUNTERS = (
    "requests", "accepted", "rejected", "malformed", "upstreams", "reports", "parked", "lagging", "queue_free",
    "frames", "hints_dropped", "gaps", "disk_full", "touched_file",
    "taken_intake", "taken_sender",
)  # fmt: skip
HISTOGRAMS = ("submit_to_accept_ns", "fsync_ns")


def rules_of(config: Config) -> IntakeRules:
    """The configuration as the core wants it. While closed nothing comes in, except changes of orders that are parked
    over the close."""
    closed = frozenset((NEW, MODIFY, CANCEL))
    if config.session.out_of_hours == "queue":
        closed = frozenset()
    elif config.session.queued_at_close == "park":
        closed = frozenset((NEW,))
    return IntakeRules(capacity=config.queue.capacity, refused_while_closed=closed)


class IntakeRole:
    """Role of the intake process."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.log: logging.Logger = context.log
        self.resolved: Resolved = instance.read_desk(context.runtime)
        config = self.resolved.config
        context.bell.look_ns = config.desk.look_us * US
        self.core = Intake(rules_of(config), exposure=Exposure(Risk(limits_of(config.risk))))
        self.upstreams = Upstreams(
            context.runtime / instance.UPSTREAMS, self.core, config.desk.upstreams_max, self._open_reader, self.log,
            config.upstreams.cancel_on_disconnect, config.upstreams.disconnect_grace_ms * MS,
        )  # fmt: skip
        self._parked_path = context.runtime / instance.PARKED
        self._places = (Places(), Places())  # of intake's and of the sender's records
        self._tick_ns = self._note_ns = self._full_until_ns = 0
        self._date_behind = False
        self._came = False  # has an upstream come or gone?
        self._hours: tuple[int, int] | None = None  # trading hours (UTC ns) for the shortest way; None: not now

    # -- life ---------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Attach, recover, find the upstreams that are there."""
        context = self.context
        short_slices()
        deadly = self._died_of()
        self.page = Page.create(context.path(f"{context.name}.page"), COUNTERS, HISTOGRAMS)
        at = self.page.index("touched_file")
        self.upstreams.beware(self.page.words[at : at + 1], deadly, parked.read(self._parked_path))
        self._submit_to_accept, self._fsync = (self.page.histogram(name) for name in HISTOGRAMS)
        self.view = SessionView(context.runtime / instance.SESSION_PAGE)
        self.switch = KillSwitch(Path(self.resolved.data_dir))
        self.journal = journals.open_writer(self.resolved, journals.INTAKE)
        self._replay()
        self._sender = self._bell("sender")
        self.out_ring = self._open_out_ring()
        self.upstreams.scan(self._last())
        self._tick_ns = monotonic_ns()  # those found are to be journalled at once
        self.log.info(
            "recovered: %d ids, %d orders waiting, %d upstreams known, %d there, %d bytes of a torn tail cut",
            len(self.core.ids), len(self.core.waiting), len(self.core.upstreams), len(self.upstreams.links),
            self.journal.recovered.cut_bytes,
        )  # fmt: skip

    def _died_of(self) -> int:
        """The inode of the upstream's file that our predecessor touched when it died of a SIGBUS; 0 = none."""
        if not self.context.predecessor.startswith("killed by SIGBUS"):
            return 0
        try:
            with closing(Page.attach(self.context.path(f"{self.context.name}.page"))) as page:
                return page["touched_file"]
        except (IpcError, KeyError):
            return 0

    def _replay(self) -> None:
        """Folds the journals, from the newest snapshot on."""
        folder = journals.folder(self.resolved)
        fold = IntakeFold(self.core, OsDisk(folder), lambda role: journals.open_reader(self.resolved, role))
        fold.load(folder)
        self.context.beat()
        fold.run(self.context.beat)
        if fold.ahead:
            raise SenderAhead(fold.ahead, fold.sequence - 1)
        if fold.uncounted:
            self.log.warning("limits on open orders are new: those open from before are counted at release only")
        self._places = fold.places
        reader = journals.open_reader(self.resolved, journals.SENDER)
        if fold.senders_sequence > 1:
            reader.seek(fold.senders, fold.senders_sequence)
        ring = None
        try:
            ring = open_reader(self.context.path(instance.SENDER_INTAKE))
        except IpcError as error:
            self.log.warning("no ring from the sender (%s): following its journal", error)
        self.feed = Feed(ring, reader, fold.senders_sequence)

    def _open_out_ring(self) -> RingWriter | None:
        try:
            return open_writer(self.context.path(instance.INTAKE_SENDER), self._sender)
        except IpcError as error:
            self.log.warning("no ring to the sender (%s): it follows the journal", error)
            return None

    def _open_reader(self, origin: int, sequence: int) -> JournalReader:
        role = (journals.INTAKE, journals.SENDER)[origin]
        reader = journals.open_reader(self.resolved, role, self._places[origin].before(sequence))
        if not reader.reaches():
            self.log.warning("what the %s's journal said from record %d on is in the database only", role, sequence)
            reader.seek(Position(0, 0), None)
        return reader

    def stop(self) -> None:
        """Notes how far everybody is. What has not been taken stays in the rings."""
        self.upstreams.look()
        self._decide([], [], self.view.read(), monotonic_ns())
        self.journal.close()

    # -- the shell's questions ----------------------------------------------------------------------------------------

    def ready(self) -> bool:
        """Is there input?"""
        upstreams = self.upstreams
        upstreams.check()
        ready = self._came or self.feed.ready() or (self.view.known and upstreams.ready())
        upstreams.let_go()
        if not ready:
            ready = self._came = upstreams.changed()
        return ready

    def next_due_ns(self) -> int:
        """The next look at everything that does not ring."""
        return self._tick_ns

    def command(self, message: Any) -> object:
        """Control messages. (The session page is looked at in every cycle anyway.)"""
        if isinstance(message, Reload):
            self._reload()
            return True
        if isinstance(message, WhoIsThere):
            stopped = self.core.exposure.risk.stopped
            return {each.name.decode(): (each.number, each.number in stopped) for each in self.core.upstreams.values()}
        return self.page.counters() if isinstance(message, Stats) else None

    def _reload(self) -> None:
        """Takes over the risk limits of `desk.json`, all of them at once. Where there were none before, nobody has
        counted: the journals tell."""
        self.resolved = instance.read_desk(self.context.runtime)
        limits, exposure = limits_of(self.resolved.config.risk), self.core.exposure
        if exposure.watching or limits == NO_LIMITS:
            exposure.reload(limits)
        else:
            told = self._count_anew(Exposure(Risk(limits)))
            told.set_kill(exposure.risk.kill_flags)
            self.core.exposure = told
        self.log.warning("risk limits reloaded")

    def _count_anew(self, exposure: Exposure) -> Exposure:
        """What the journals say of orders, as far back as they go."""
        disk = OsDisk(journals.folder(self.resolved))
        for role in (journals.INTAKE, journals.SENDER):
            for frame in frames(disk, role):
                if role == journals.INTAKE:
                    exposure.replay(frame.payload)
                elif frame.sequence < self.feed.next_sequence:
                    exposure.heard(runs(frame.payload), frame.mono_ns)
                self.context.beat()
        return exposure

    def work(self) -> bool:
        """One cycle."""
        now = monotonic_ns()
        if now >= self._tick_ns or self._came:
            self._tick(now)
        elif self._take_one(now) and not self.feed.ready():
            self.upstreams.let_go()
            return True
        heard = self._hear()
        if self.switch.changed():
            self._heed_switch()
        session = self._look_at_session(now)
        taken, pieces = self.upstreams.take(CYCLE_BYTES) if self.view.known else ([], [])
        decided = self._decide(taken, pieces, session, now)
        refilled = self.upstreams.refill(self._last())
        self.upstreams.let_go()
        self._came = self._came or self.upstreams.changed()
        return heard or decided or refilled

    def _look_at_session(self, now: int) -> SessionState:
        """The hours, and with them the trade date, read once in a cycle: what is published meanwhile is for the next
        one, and `view.changed()` says so. Where all is as usual an order may take the shortest way until then."""
        session = self.view.read()
        self._look_at_date(session)
        usual = self.view.known and session.date == self.core.trade_date and now >= self._full_until_ns
        self._hours = (session.open_ns, session.close_ns) if usual else None
        return session

    def _look_at_date(self, session: SessionState) -> None:
        """Another trade date: a record of its own begins it, for intake and for the sender. A date that has been is
        not begun again, whatever the clock says."""
        core, trade_date = self.core, session.date
        if trade_date == core.trade_date or not trade_date:
            return
        if trade_date < core.trade_date:
            if not self._date_behind:
                self.log.warning("it is trade date %d already; the schedule says %d", core.trade_date, trade_date)
            self._date_behind = True
            return
        self._date_behind = False
        batch = core.batch(self.journal.sequence, monotonic_ns(), time.time_ns(), session)
        batch.roll(trade_date)
        if self._journal(batch):
            self.log.info("trade date %d begins", trade_date)

    def _heed_switch(self) -> None:
        """The kill switch has been touched: what it names is refused from now on."""
        try:
            flags = [kill.flag for kill in self.switch.read().kills]
        except (OSError, msgspec.MsgspecError) as error:
            self.log.error("the kill switch cannot be read, so nothing is accepted: %s", error)
            flags = [KILL_ALL]
        self.core.exposure.set_kill(flags)

    def _tick(self, now: int) -> None:
        self._came = False
        self.upstreams.scan(self._last())
        self.upstreams.heard_all(self._last())
        self.upstreams.watch(now)
        if now >= self._note_ns:
            self.upstreams.look()
            self._note_ns = now + NOTE_NS
        self._tick_ns = now + (LAG_TICK_NS if self.upstreams.refills else TICK_NS)
        self._publish()

    def _last(self) -> Said:
        """The last sequences of intake's and of the sender's journal."""
        return self.journal.sequence - 1, self.feed.next_sequence - 1

    # -- requests -----------------------------------------------------------------------------------------------------

    def _take_one(self, now: int) -> bool:
        """The shortest way, for a plain order that comes alone while nothing else goes on: somebody waits for it. The
        same decisions, records and order of steps as everybody's way (`_decide`). False: nothing was taken."""
        hours = self._hours
        if hours is None or self.view.changed() or self.switch.changed():
            return False
        taken = self.upstreams.take_alone()
        if taken is None:
            return False
        self._sender.announce()  # it wakes up while we decide
        link, place, record = taken
        wall, sequence = time.time_ns(), self.journal.sequence
        opens, closes = hours
        kept = self.core.admit_alone(link.number, place, record, sequence, now, opens <= wall < closes)
        if inject.armed:
            inject.point("intake.decided")
        if not kept or not self._write(kept, 1, wall, now):
            link.rewind()
            return False
        link.say(INTAKE, sequence, acceptance(kept, wall))
        inject.point("intake.answered")
        link.commit()
        inject.point("intake.committed")
        self._count_accepted(1, record)
        return True

    def _decide(self, taken: list[Link], pieces: list[Piece], session: SessionState, now: int) -> bool:
        """Decides about requests, journals them, hands them on and answers; True if there was anything."""
        notes, spoilt = self.upstreams.notes(), list(self.upstreams.newly_parked())
        if not (taken or notes or spoilt):
            return False
        wall = time.time_ns()
        if taken:
            self._sender.announce()  # it wakes up while we decide
        batch = self.core.batch(self.journal.sequence, now, wall, session)
        for upstream in notes:
            batch.upstream(upstream)
        for link in spoilt:
            what = Piece(link.number, link.upstream.place, link.parked.encode())
            batch.garbage(what, Fault(Reason.MALFORMED, Field.RECORD))
        batch.take(pieces)
        if inject.armed:
            inject.point("intake.decided")
        if batch.records and not self._journal(batch):
            self._refuse(taken, pieces)
            return bool(taken)
        self.upstreams.noted(self._last())
        for number, sequence, reports in batch.answers():
            self.upstreams.say(INTAKE, sequence, {number: reports})
        inject.point("intake.answered")
        for link in taken:
            link.commit()
        inject.point("intake.committed")
        self._count(batch, pieces)
        return True

    def _journal(self, batch: Batch) -> bool:
        """Makes a batch's decisions durable and true, and shows them to the sender. False: the disk is full."""
        if batch.now_ns < self._full_until_ns or not self._write(
            batch.payload(), batch.records, batch.wall_ns, batch.now_ns
        ):
            batch.forget()
            return False
        return True

    def _write(self, payload: bytes, records: int, wall_ns: int, now_ns: int) -> bool:
        """One frame: durable, shown to the sender, true. False: the disk is full, and nothing has happened."""
        journal = self.journal
        sequence, offset = journal.sequence, journal.offset
        try:
            frame = journal.append(payload, records, wall_ns, now_ns)
        except JournalFull as error:
            self.log.error("requests are refused: %s", error)
            self._full_until_ns = now_ns + FULL_NS
            self._hours = None
            return False
        if inject.armed:
            inject.point("intake.written")
        if journal.durable != journal.offset:
            before = monotonic_ns()
            journal.sync()
            self._fsync.record(monotonic_ns() - before)
        if inject.armed:
            inject.point("intake.synced")
        ring = self.out_ring
        if ring is None or len(frame) > ring.frame_bytes_max or not ring.try_put(frame):
            self.page["hints_dropped"] += 1
            self._sender.ring()
        if inject.armed:
            inject.point("intake.handed_on")
        self._places[INTAKE].note(sequence, journal.generation, offset)
        self.core.apply(payload, sequence)
        return True

    def _refuse(self, taken: list[Link], pieces: list[Piece]) -> None:
        """No journal, no acceptance. A refusal needs no journal."""
        wall, fault = time.time_ns(), Fault(Reason.DISK_FULL, Field.NONE)
        for link in taken:
            data = b"".join(piece.data for piece in pieces if piece.upstream == link.number)
            records = [data[at : at + REQUEST_BYTES] for at in range(0, len(data), REQUEST_BYTES)]
            if link.refuse(b"".join(refusal(record, fault, 0, link.number, wall) for record in records)):
                link.commit()
                self.page["disk_full"] += len(records)
            else:
                link.rewind()

    def _count(self, batch: Batch, pieces: list[Piece]) -> None:
        page = self.page
        page["rejected"] += batch.rejected
        page["malformed"] += batch.malformed
        page["requests"] += batch.rejected + batch.malformed
        self._count_accepted(batch.accepted, *(piece.data for piece in pieces))

    def _count_accepted(self, accepted: int, *requests: bytes) -> None:
        """A frame with so many admitted requests, which came as these pieces."""
        page = self.page
        page["accepted"] += accepted
        page["requests"] += accepted
        page["frames"] += 1
        now = monotonic_ns()
        for data in requests:
            sent = int.from_bytes(data[32:40], "little", signed=True)
            if sent > 0:
                self._submit_to_accept.record(now - sent, len(data) // REQUEST_BYTES)

    # -- reports ------------------------------------------------------------------------------------------------------

    def _hear(self) -> bool:
        """What the sender's journal says: to the upstreams, and about the queue."""
        taken = self.feed.take(HEAR_BYTES)
        if not taken:
            return False
        parts: dict[int, list[bytes | bytearray]] = {}
        for frame in taken:
            found = runs(frame.payload)
            for number in self.core.departed(found, frame.mono_ns):
                self.log.error("upstream number %d is stopped: too many executions in too short a time", number)
            self._places[SENDER].note(frame.sequence, frame.generation, frame.offset)
            for piece in reports_of(found, frame.wall_ns):
                for number, reports in by_upstream(piece).items():
                    parts.setdefault(number, []).append(reports)
        last = taken[-1].sequence + taken[-1].records - 1
        self.upstreams.say(SENDER, last, {number: b"".join(reports) for number, reports in parts.items()})
        inject.point("intake.reported")
        self.feed.commit()
        return True

    # -- what others see ----------------------------------------------------------------------------------------------

    def _publish(self) -> None:
        page, upstreams = self.page, self.upstreams
        page["upstreams"] = len(upstreams.links)
        page["parked"] = len(upstreams.parked)
        page["lagging"] = len(upstreams.refills)
        page["queue_free"] = max(0, self.core.rules.capacity - len(self.core.waiting))
        page["reports"] = upstreams.spoken
        page["gaps"] = self.feed.gaps
        page["taken_intake"], page["taken_sender"] = upstreams.taken_by_all(self._last())
        upstreams.tell_parked(self._parked_path)

    def _bell(self, role: str) -> Bell:
        """The doorbell of another process; made here if it has not started yet."""
        path = self.context.path(f"{role}.bell")
        try:
            return Bell.attach(path)
        except IpcError:
            return Bell.create(path)


def run() -> None:
    """Entry of `python -m oms_actors.actors.intake`."""
    main("intake", IntakeRole)


if __name__ == "__main__":
    run()
