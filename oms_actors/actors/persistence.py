"""Persistence: what the journals say, as rows in a database. Nobody waits for it.

It follows both journals, folds frames into rows and commits them in batches with its places in the journals, so every
row is there exactly once. Whatever the database does (missing folder, lock, slow or full disk), the journals are the
backlog: it tries again with growing pauses, says so on its page, and catches up later.

A database that is *ahead* of its journal has rows of frames that the journal has lost (a power cut without
`durability = "power"`, a journal restored from an old copy). Its rows can be neither trusted nor continued, so it is
renamed (`oms.sqlite.ahead-<time>`) and a new one is made from the journals; orders never wait for that.
"""

from __future__ import annotations

import time
from collections import deque
from enum import IntEnum
from pathlib import Path
from time import monotonic_ns

from ipc.page import Page
from oms_actors import instance
from oms_actors.actors.commands import Stats
from oms_actors.actors.shell import Context, main
from oms_actors.core.fold import (
    CHANGE_SENDS,
    CHANGES,
    EXECUTIONS,
    MATCHES,
    NEW_ORDERS,
    ODD_REPORTS,
    REPORTS,
    SENDS,
    Fold,
    Shape,
    Values,
)
from oms_actors.edges import journals
from oms_actors.edges.disk import OsDisk
from oms_actors.edges.journal import Frame, JournalError, JournalReader, Position, ReaderAhead
from oms_actors.edges.responses_log import ResponsesLog
from oms_actors.edges.retention import Retention
from oms_actors.edges.snapshot_starter import SnapshotStarter
from oms_actors.edges.store import Place, Store, StoreError, StoreForeign, order_id_prefix

MS = 1_000_000
READ_BYTES = 1 << 20
RECORD_BYTES = 192
"""The smallest common record: turns a backlog in bytes into one in records."""
PAUSE_NS, PAUSE_MAX_NS = 50 * MS, 2_000 * MS
QUIET_NS = 200 * MS
"""Where nothing is going on, rows may come so late."""
STUCK_NS = 5_000 * MS
"""A sender's frame that waits so long for intake's refers to requests that intake's journal does not have."""
ROLES = (journals.INTAKE, journals.SENDER)
COUNTERS = (
    "rows", "commits", "requests", "sends", "reports", "executions", "responses", "unknown_records", "retries",
    "set_aside", "lag_bytes_intake", "lag_bytes_sender", "alarm", "last_commit_ns",
)  # fmt: skip
HISTOGRAMS = ("commit_ns",)
_REPORTS = (REPORTS, ODD_REPORTS)
_RESPONSE_TYPE = REPORTS.columns.index("response_type")


class Alarm(IntEnum):
    """Page counter `alarm`. Never renumbered."""

    NONE = 0
    DATABASE_FAILED = 1
    """Locked, full, missing …: tried again, nothing is lost."""
    DATABASE_FOREIGN = 2
    """The file belongs to another desk or schema version: left alone."""
    JOURNAL_FAILED = 3
    """A journal cannot be read."""
    SENDER_AHEAD = 4
    """The sender's journal refers to requests that intake's does not have."""


class Follower:
    """One journal: a reader, and the frames that were read but not folded."""

    def __init__(self, role: str, reader: JournalReader) -> None:
        self.role, self.reader = role, reader
        self.frames: deque[Frame] = deque()
        self.place = Place(Position(0, 0), 1)
        """Behind the last frame that was folded."""
        self.stored_bytes = 0
        """What the database is known to have of the journal."""

    def go_to(self, place: Place | None) -> None:
        """Drops what was read and goes on at `place`; None = at the beginning."""
        self.frames.clear()
        self.place = place or Place(Position(0, 0), 1)
        self.reader.seek(self.place.position, place.sequence if place else None)
        self.stored()

    def stored(self) -> None:
        """What was folded is in the database."""
        self.stored_bytes = self.place.position.offset

    def next(self) -> Frame | None:
        """The next frame, which stays until it is taken."""
        if not self.frames:
            self.frames.extend(self.reader.read(READ_BYTES))
        return self.frames[0] if self.frames else None

    def take(self) -> Frame:
        """The frame of `next` counts as folded."""
        frame = self.frames.popleft()
        self.place = Place(Position(frame.generation, frame.end), frame.sequence + frame.records)
        return frame

    def lag_bytes(self) -> int | None:
        """How much is durable and not folded yet; None while no writer of this boot says."""
        durable = self.reader.durable()
        return None if durable is None else max(0, durable - self.place.position.offset)

    def behind_bytes(self) -> int:
        """How much is durable and not in the database."""
        return max(0, (self.reader.durable() or 0) - self.stored_bytes)


class PersistenceRole:
    """Role of the persistence process."""

    def __init__(self, context: Context) -> None:
        self.context, self.log = context, context.log
        self.resolved = instance.read_desk(context.runtime)
        settings = self.resolved.config.persistence
        data = Path(self.resolved.data_dir)
        self.store = Store(data / (settings.database or "oms.sqlite"), order_id_prefix(self.resolved.desk_id))
        self.interval_ns = settings.commit_interval_ms * MS
        self.batch_records = settings.batch_records
        self.fold = Fold()
        self.responses_log = ResponsesLog(data / "responses.log") if settings.responses_log else None
        folder, every = journals.folder(self.resolved), self.resolved.config.desk.snapshot_bytes
        self.snapshots = [SnapshotStarter(context.runtime, folder, role, every, self.log) for role in ROLES]
        self._look_ns = max(self.interval_ns, MS)
        keep_days = self.resolved.config.desk.journal_keep_days
        page = Path(context.path("intake.page"))
        self.retention = Retention(OsDisk(folder), folder, page, keep_days, self.store.checkpoint, self.log)
        self._pause_ns = PAUSE_NS
        self._next_ns = 0  # not before (monotonic)
        self._stuck_ns = 0

    # -- life -------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Attach; the database may come later."""
        self.page = Page.create(self.context.path(f"{self.context.name}.page"), COUNTERS, HISTOGRAMS)
        self.commit_ns = self.page.histogram("commit_ns")
        self.intake, self.sender = (
            Follower(role, journals.open_reader(self.resolved, role)) for role in ROLES
        )  # fmt: skip
        self._open()

    def stop(self) -> None:
        """Everything that is durable in the journals gets in, if the database lets it."""
        while self._backlog():
            self._next_ns = 0
            if not self.work():
                break
            self.context.beat()
        self.store.close()

    def ready(self) -> bool:
        """Is a batch due?"""
        return monotonic_ns() >= self._next_ns and self._has_work()

    def next_due_ns(self) -> int:
        """When a batch may be due, or the next look: nobody rings for what may wait for the interval anyway, since
        waking somebody is what costs most at low rates. The longer nothing has come, the rarer the looks."""
        if self._has_work():
            self._look_ns = max(self.interval_ns, MS)
            return self._next_ns
        look_ns = self._look_ns
        self._look_ns = max(look_ns, min(2 * look_ns, QUIET_NS))
        return monotonic_ns() + look_ns

    def command(self, message: object) -> object:
        """Stats only."""
        return self.page.counters() if isinstance(message, Stats) else None

    def work(self) -> bool:
        """One batch at most; True if one was committed."""
        if not self.ready():
            return False
        try:
            return (self.store.is_open or self._open()) and self._batch()
        except ReaderAhead as error:
            self._set_aside(error)
        except (JournalError, OSError) as error:
            self._fail(Alarm.JOURNAL_FAILED, error)
        except StoreError as error:
            self._fail(Alarm.DATABASE_FOREIGN if isinstance(error, StoreForeign) else Alarm.DATABASE_FAILED, error)
        return False

    def _has_work(self) -> bool:
        return not self.store.is_open or self._backlog() != 0

    # -- a batch ----------------------------------------------------------------------------------------------------

    def _backlog(self) -> int:
        """Bytes to do; at least 1 while nobody knows."""
        lags = (self.intake.lag_bytes(), self.sender.lag_bytes())
        return sum(1 if lag is None else lag for lag in lags)

    def _batch(self) -> bool:
        store, vitals = self.store, self.context.vitals
        began_ns = monotonic_ns()
        vitals.enter_call(began_ns)  # a database may block for as long as it likes
        try:
            store.begin()
            vitals.leave_call()
            self._collect()
            records = self.fold.records
            if records:
                self._commit()
            else:
                store.roll_back()
        finally:
            vitals.leave_call()
        self._succeeded(began_ns)
        for starter, follower in zip(self.snapshots, (self.intake, self.sender), strict=True):
            starter.look(follower.place.position.offset, began_ns)
        committed = {follower.role: follower.place.position for follower in (self.intake, self.sender)}
        self.retention.look(committed, began_ns, time.time_ns())
        return records > 0

    def _collect(self) -> None:
        """Folds frames up to a batch: the sender's as soon as the requests that it had consumed are in."""
        intake, sender, fold = self.intake, self.sender, self.fold
        while fold.records < self.batch_records:
            frame = sender.next()
            if frame is not None and frame.input < intake.place.sequence:
                self._fold_sender(sender.take())
            elif intake.next() is not None:
                self._fold_intake(intake.take())
            else:
                self._look_whether_stuck(frame)
                break
            self.context.beat()

    def _fold_intake(self, frame: Frame) -> None:
        try:
            self.fold.intake(frame.payload, frame.wall_ns, frame.mono_ns)
        except ValueError as error:
            self._keep_whole(journals.INTAKE, frame, error)

    def _fold_sender(self, frame: Frame) -> None:
        try:
            self.fold.sender(frame.payload, frame.sequence, frame.wall_ns)
        except ValueError as error:
            self._keep_whole(journals.SENDER, frame, error)

    def _keep_whole(self, role: str, frame: Frame, error: ValueError) -> None:
        self.log.error("%s's frame at %d is kept undecoded: %s", role, frame.sequence, error)
        self.fold.keep(role, frame.sequence, frame.wall_ns, frame.payload)

    def _commit(self) -> None:
        rows = self.fold.take()
        began_ns = monotonic_ns()
        self.context.vitals.enter_call(began_ns)
        self.store.commit(rows, {follower.role: follower.place for follower in (self.intake, self.sender)})
        self.commit_ns.record(monotonic_ns() - began_ns)
        for follower in (self.intake, self.sender):
            follower.stored()
        self._log_responses()
        self._count(rows)

    def _log_responses(self) -> None:
        if self.responses_log is None:
            return
        try:
            self.responses_log.follow(self.store, self.sender.place.sequence - 1)
        except OSError as error:
            self.log.warning("%s: %s: its lines come later", self.responses_log.path, error)

    # -- what others see --------------------------------------------------------------------------------------------

    def _count(self, rows: dict[Shape, Values]) -> None:
        page = self.page

        def total(*which: Shape) -> int:
            return sum(len(rows.get(shape, ())) // len(shape.columns) for shape in which)

        executions, reports = total(EXECUTIONS), total(REPORTS, ODD_REPORTS)
        own = sum(rows.get(shape, [])[_RESPONSE_TYPE :: len(shape.columns)].count(0) for shape in _REPORTS)
        own += 2 * total(MATCHES)  # an internal match is an execution of both sides
        page["requests"] += total(NEW_ORDERS, CHANGES)
        page["sends"] += total(SENDS, CHANGE_SENDS)
        page["reports"] += reports + executions
        page["responses"] += reports + executions - own
        page["executions"] += executions
        page["rows"] += total(*rows)
        page["commits"] += 1
        page["unknown_records"] = self.fold.unknown
        page["last_commit_ns"] = monotonic_ns()

    def _succeeded(self, began_ns: int) -> None:
        if self.page["alarm"] in (Alarm.DATABASE_FAILED, Alarm.DATABASE_FOREIGN, Alarm.JOURNAL_FAILED):
            self.log.info("works again")
            self.page["alarm"] = Alarm.NONE
        self._pause_ns = PAUSE_NS
        self._count_lag()
        behind = self._backlog() > self.batch_records * RECORD_BYTES
        self._next_ns = 0 if behind else began_ns + self.interval_ns

    def _count_lag(self) -> None:
        for follower in (self.intake, self.sender):
            self.page[f"lag_bytes_{follower.role}"] = follower.behind_bytes()

    def _fail(self, alarm: Alarm, error: Exception) -> None:
        """Pauses, longer each time; says so once."""
        self._count_lag()
        if self.page["alarm"] != alarm:
            self.log.error("%s: %s: trying again; the journals keep everything meanwhile", alarm.name.lower(), error)
            self.page["alarm"] = alarm
        self.page["retries"] += 1
        self.store.close()
        self.fold = Fold()
        self._next_ns = monotonic_ns() + self._pause_ns
        self._pause_ns = min(2 * self._pause_ns, PAUSE_MAX_NS)

    def _look_whether_stuck(self, frame: Frame | None) -> None:
        now = monotonic_ns()
        if frame is None:
            self._stuck_ns = 0
            if self.page["alarm"] == Alarm.SENDER_AHEAD:
                self.page["alarm"] = Alarm.NONE
        elif not self._stuck_ns:
            self._stuck_ns = now
        elif now - self._stuck_ns > STUCK_NS and self.page["alarm"] != Alarm.SENDER_AHEAD:
            self.page["alarm"] = Alarm.SENDER_AHEAD
            self.log.error(
                "sender's frame %d refers to intake's request %d, but intake's journal ends before %d",
                frame.sequence, frame.input, self.intake.place.sequence,
            )  # fmt: skip

    # -- the database -----------------------------------------------------------------------------------------------

    def _open(self) -> bool:
        try:
            places = self.store.open()
        except StoreError as error:
            self._fail(Alarm.DATABASE_FOREIGN if isinstance(error, StoreForeign) else Alarm.DATABASE_FAILED, error)
            return False
        for follower in (self.intake, self.sender):
            follower.go_to(places.get(follower.role))
        self.fold = Fold()
        return True

    def _set_aside(self, error: ReaderAhead) -> None:
        try:
            aside = self.store.set_aside(f"ahead-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}")
        except StoreError as failure:
            self._fail(Alarm.DATABASE_FAILED, failure)
            return
        self.page["set_aside"] += 1
        self.log.error(
            "database ahead of its journal (%s): it is kept as %s, a new one is made from the journals", error, aside
        )  # fmt: skip
        self._open()


def run() -> None:
    """Entry of `python -m oms_actors.actors.persistence`."""
    main("persistence", PersistenceRole)


if __name__ == "__main__":
    run()
