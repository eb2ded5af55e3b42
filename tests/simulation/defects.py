"""Mistakes to be caught: each changes one thing in the product, the way somebody might, and says what must notice it.

`hunt` runs seeds under conditions that favour a mistake until the checker objects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any
from unittest.mock import patch

import msgspec
from simulation.clock import MS
from simulation.run import Verdict, simulate_scenario
from simulation.scenario import ADAPTER, DATE, Scenario, scenario

from oms_actors.actors.intake import IntakeRole
from oms_actors.actors.sender import SenderRole
from oms_actors.config import OverrideConfig
from oms_actors.core import release, responder
from oms_actors.core.archive import Archive
from oms_actors.core.hours import FOREVER_NS, SessionState
from oms_actors.core.intake import Batch, Intake
from oms_actors.core.ledger import Ledger
from oms_actors.core.recovery import Recovery
from oms_actors.core.responder import Responder
from oms_actors.core.sender import Sender
from oms_actors.core.session import Link, SessionMachine
from oms_actors.core.throttle import Throttle
from oms_actors.edges.journal import JournalWriter
from oms_actors.edges.refill import Refill
from oms_actors.edges.send_cursor import SendCursor
from oms_actors.edges.session_page import SessionView
from oms_actors.edges.store import Store
from oms_actors.messages import ResponseType

Change = Callable[[Scenario], Scenario]


@dataclass(frozen=True)
class Defect:
    """`target.name` is replaced by what `make` makes of it; `noticed` begins the sentence that must come."""

    title: str
    target: type | ModuleType
    name: str
    make: Callable[[Any], Any]
    noticed: tuple[str, ...]
    conditions: Change


@contextmanager
def planted(defect: Defect) -> Iterator[None]:
    """The product with the mistake in it."""
    original = getattr(defect.target, defect.name)
    with patch.object(defect.target, defect.name, defect.make(original)):
        yield


def hunt(defect: Defect, seeds: range) -> Verdict | None:
    """The first seed that notices what it must; None if none does."""
    with planted(defect):
        for seed in seeds:
            verdict = simulate_scenario(defect.conditions(scenario(seed)))
            if any(problem.startswith(defect.noticed) for problem in verdict.problems):
                return verdict
    return None


# -- conditions -------------------------------------------------------------------------------------------------------


def _busy(found: Scenario) -> Scenario:
    """Short, with much to do and no troubles."""
    quiet = replace(
        found.troubles, kill=0.0, stop=0.0, long_stop=0.0, power=0.0, cuts_per_s=0.0, silences_per_s=0.0,
        disk_per_s=0.0, database_per_s=0.0, clock_per_s=0.0, restarts_per_s=0.0, slow_clients_per_s=0.0, lines=0.5,
        operator_per_s=0.0, snapshots_per_s=0.0, scheduler_dies=0.0,
    )  # fmt: skip
    kind = replace(
        found.habits, raw=False, latency_max_ns=MS, fill=0.8, swallow=0.0, lose=0.0, not_sent=0.0, fail_before=0.0,
        fail_after=0.0, reject=0.0, refuse_connect=0.0, ignore_logon=0.0, reject_logon=0.0, reorder=0.0,
        lose_in_flight=0.0,
    )  # fmt: skip
    session = msgspec.structs.replace(found.config.session, overrides=(), hours=())
    exchange = msgspec.structs.replace(found.config.exchange, adapter=ADAPTER)
    desk = msgspec.structs.replace(found.config.desk, durability="power")
    config = msgspec.structs.replace(found.config, session=session, desk=desk, exchange=exchange)
    return replace(
        found, config=config, habits=kind, troubles=quiet, length_ns=4_000 * MS, clients=2, waves=8, wave_max=20,
        repeats=0.2, power=True, rolls=False,
    )  # fmt: skip


def _late_fills(found: Scenario) -> Scenario:
    """Many orders are canceled that were executed a moment before."""
    calm = _busy(found)
    return replace(calm, habits=replace(calm.habits, fill=0.1, late_fill=0.8), cancels=0.4)


def _kills(found: Scenario) -> Scenario:
    calm = _busy(found)
    return replace(calm, troubles=replace(calm.troubles, kill=0.04), habits=replace(calm.habits, deduplicates=False))


def _repeats(found: Scenario) -> Scenario:
    calm = _busy(found)
    return replace(calm, habits=replace(calm.habits, duplicate=0.5))


def _killed_at(process: str, point: str, kill: float) -> Change:
    """Kills of one process at one place."""

    def conditions(found: Scenario) -> Scenario:
        killed = _kills(found)
        return replace(killed, troubles=replace(killed.troubles, kill=kill, aim=(process, point)))

    return conditions


def _power_cuts(found: Scenario) -> Scenario:
    calm = _busy(found)
    return replace(calm, troubles=replace(calm.troubles, power=0.004))


def _stops(found: Scenario) -> Scenario:
    calm = _busy(found)
    throttle = msgspec.structs.replace(found.config.throttle, rate=5, per_ms=200)
    habits = replace(calm.habits, block=0.2, block_max_ns=150 * MS)
    return replace(calm, config=msgspec.structs.replace(calm.config, throttle=throttle), habits=habits)


def _changes(found: Scenario) -> Scenario:
    """Few orders, which are changed again and again while they work, more often than the throttle lets through."""
    calm = _stops(found)
    queue = msgspec.structs.replace(calm.config.queue, capacity=100_000, max_queue_age_ms=0, after_send="forward")
    return replace(
        calm, config=msgspec.structs.replace(calm.config, queue=queue), modifies=0.7, cancels=0.05, repeats=0.0,
        habits=replace(calm.habits, fill=0.0, unsolicited=0.0, late_fill=0.0),
    )  # fmt: skip


def _changes_again(found: Scenario) -> Scenario:
    """The same, and not everything leaves at once."""
    busy = _changes(found)
    exchange = msgspec.structs.replace(busy.config.exchange, not_sent_retries=3, not_sent_delay_ms=100)
    config = msgspec.structs.replace(busy.config, exchange=exchange)
    return replace(busy, config=config, habits=replace(busy.habits, not_sent=0.3))


def _losses(found: Scenario) -> Scenario:
    calm = _busy(found)
    return replace(calm, habits=replace(calm.habits, lose=0.1, swallow=0.1, deduplicates=True, can_query=True))


def _losses_for_good(found: Scenario) -> Scenario:
    calm = _losses(found)
    return replace(calm, habits=replace(calm.habits, deduplicates=False))


def _resuming(found: Scenario) -> Scenario:
    """The sender dies just before it has written down what it heard."""
    killed = _killed_at("sender", "disk.write", 0.3)(found)
    return replace(killed, habits=replace(killed.habits, resumes=True, replays=False))


def _failing_disk(found: Scenario) -> Scenario:
    cut = _power_cuts(found)
    return replace(cut, troubles=replace(cut.troubles, disk_per_s=8.0, disk=("sync",), power=0.01))


def _slow_readers(found: Scenario) -> Scenario:
    calm = _busy(found)
    desk = msgspec.structs.replace(calm.config.desk, upstream_report_bytes=8 << 10)
    return replace(
        calm, config=msgspec.structs.replace(calm.config, desk=desk),
        troubles=replace(calm.troubles, slow_clients_per_s=3.0),
    )  # fmt: skip


def _closing(found: Scenario) -> Scenario:
    """Over a close, with a queue that is longer than the session, and a scheduler that is dead then."""
    calm = _busy(found)
    throttle = msgspec.structs.replace(found.config.throttle, rate=2, per_ms=200, reserve_cancels=0)
    queue = msgspec.structs.replace(found.config.queue, capacity=100_000, max_queue_age_ms=0)
    sessions = (("10:00:00", "10:00:03"), ("10:03:00", "23:59:00"))
    hours = msgspec.structs.replace(
        calm.config.session, overrides=(OverrideConfig(date=DATE, sessions=sessions),), out_of_hours="queue"
    )
    return replace(
        calm, config=msgspec.structs.replace(calm.config, session=hours, throttle=throttle, queue=queue),
        length_ns=15_000 * MS, troubles=replace(calm.troubles, kill=0.0005, scheduler_dies=1.0),
    )  # fmt: skip


# -- mistakes ---------------------------------------------------------------------------------------------------------


def _blind_resend(original: Callable[..., None]) -> Callable[..., None]:
    def recover(self: Recovery, cursor: int | None, spent: int | None, in_call: int = 0) -> None:
        original(self, None if cursor is None else max(cursor - 1, 0) | 1, spent, 0)

    return recover


def _no_cursor(original: Callable[..., None]) -> Callable[..., Any]:
    return lambda self, has_left: (0, 0)


def _token_at_grant(original: Callable[..., Any]) -> Callable[..., Any]:
    def take(self: Throttle, now_ns: int, cancel: bool = False) -> bool:
        granted = bool(original(self, now_ns, cancel))
        if granted:
            (self._cancels if cancel else self._orders).append(now_ns)
        return granted

    return take


def _nothing(original: Any) -> Callable[..., None]:
    return lambda *arguments, **options: None


def _only_published(original: Any) -> Callable[..., None]:
    return lambda self: self._publish_durable()


def _sync_tried_again(original: Callable[..., None]) -> Callable[..., None]:
    def sync(self: JournalWriter) -> None:
        try:
            self._file.sync()
        except OSError:
            self._file.sync()
        self._synced = self.offset
        self._publish_durable()

    return sync


def _forgets_ids(original: Callable[..., None]) -> Callable[..., None]:
    def apply(self: Intake, *arguments: Any) -> None:
        original(self, *arguments)
        self.ids.clear()

    return apply


def _no_duplicate_check(original: Any) -> Callable[..., bool]:
    return lambda self, keys: True


def _always_final(original: Any) -> Callable[..., int]:
    return lambda self, order: 1


def _unmarked(original: Callable[..., bytes]) -> Callable[..., bytes]:
    def intent(self: Sender, item: Any, sequence: int) -> bytes:
        record = original(self, item, sequence)
        return record[:5] + item.record[5:6] + record[6:]

    return intent


def _overtakes(original: Any) -> Callable[..., bool]:
    return lambda change: False


def _resends_anywhere(original: Callable[..., list[bytes]]) -> Callable[..., list[bytes]]:
    def queries(self: Sender, can_query: bool) -> list[bytes]:
        for key, entry in list(self._doubts.items()):
            if entry[0] <= self.now:
                self.resend(key)
        return []

    return queries


def _online_too_early(original: Any) -> property:
    return property(lambda self: self.link in (Link.CONNECTED, Link.LOGGING_ON, Link.ON))


def _counts_fills_again(handlers: tuple[Any, ...]) -> tuple[Any, ...]:
    def on_fill(self: Responder, order: Any, change: Any, fields: Any) -> None:
        if order is not None and order.exec_ids:
            order.exec_ids = None
        handlers[ResponseType.FILL](self, order, change, fields)

    return (*handlers[: ResponseType.FILL], on_fill, *handlers[ResponseType.FILL + 1 :])


def _caught_up_at_once(original: Any) -> Callable[..., bool]:
    def step(self: Refill, *arguments: Any) -> bool:
        self.link.lagging = False
        return True

    return step


def _places_first(original: Callable[..., None]) -> Callable[..., None]:
    def commit(self: Store, rows: Any, places: Any) -> None:
        original(self, {}, places)
        self.begin()
        original(self, rows, {})

    return commit


def _gives_back_first(original: Callable[..., bool]) -> Callable[..., bool]:
    def hear(self: SenderRole) -> bool:
        heard = original(self)
        if self.session.machine.link is not Link.DOWN:
            self.caller.poll()
        return heard

    return hear


def _answers_first(original: Callable[..., bool]) -> Callable[..., bool]:
    def journal(self: IntakeRole, batch: Batch) -> bool:
        sync = self.journal.sync
        self.journal.sync = lambda: self.journal._publish_durable()  # type: ignore[method-assign]
        try:
            return original(self, batch)
        finally:
            self.journal.sync = sync  # type: ignore[method-assign]

    return journal


def _never_closes(original: Callable[..., SessionState]) -> Callable[..., SessionState]:
    def read(self: SessionView) -> SessionState:
        state = original(self)
        return state._replace(close_ns=FOREVER_NS) if state.close_ns else state

    return read


def _forgotten(original: Callable[..., Any]) -> Callable[..., None]:
    return lambda self, key: None


# Where the disk forgets what both journals had, the sender may be the first to notice.
_LOST = ("acknowledged_is_kept", "told_everything_once", "only_what_was_asked", "sender crashed", "intake crashed",
         "the snapshot failed")
DEFECTS = (
    Defect("what a dead sender had in its call is sent again", Recovery, "recover", _blind_resend,
           ("one_effect",), _killed_at("sender", "adapter.left", 0.3)),
    Defect("the send cursor is not looked at", SendCursor, "settled", _no_cursor, ("one_effect",),
           _killed_at("sender", "adapter", 0.3)),
    Defect("a token's age counts from the grant", Throttle, "take", _token_at_grant, ("within_the_limit",), _stops),
    Defect("nothing is ever synced", JournalWriter, "sync", _only_published, _LOST, _power_cuts),
    Defect("intake answers before it has synced", IntakeRole, "_journal", _answers_first, _LOST, _power_cuts),
    Defect("a failed sync is tried again", JournalWriter, "sync", _sync_tried_again, _LOST, _failing_disk),
    Defect("a duplicate id is let in", Batch, "_are_new", _no_duplicate_check, ("one_final_answer",), _busy),
    Defect("ids are forgotten", Intake, "apply", _forgets_ids, ("one_final_answer", "sender crashed"), _kills),
    Defect("an answer is final more than once", Responder, "_answer", _always_final, ("one_final_answer",), _busy),
    Defect("a resend is not marked", Sender, "_intent", _unmarked, ("one_effect",), _losses),
    Defect("a doubt is resolved by sending again", Sender, "queries", _resends_anywhere, ("one_effect",),
           _losses_for_good),
    Defect("a modify overtakes one that is to be tried again", release, "_comes_later", _overtakes,
           ("in_causal_order",), _changes_again),
    Defect("orders go out before the logon is answered", SessionMachine, "on_line", _online_too_early,
           ("within_the_session",), _kills),
    Defect("only the scheduler knows when to stop", SessionView, "read", _never_closes, ("within_the_session",),
           _closing),
    Defect("a repeated execution counts again", responder, "_HANDLERS", _counts_fills_again, ("quantities_agree",),
           _repeats),
    Defect("answers are given back before they are journalled", SenderRole, "_hear", _gives_back_first,
           ("quantities_agree", "one_final_answer"), _resuming),
    Defect("what is put away is forgotten", Archive, "recall", _forgotten, ("quantities_agree",), _late_fills),
    Defect("a lagging upstream is told nothing more", Refill, "step", _caught_up_at_once, ("told_everything_once",),
           _slow_readers),
    Defect("positions are committed before their rows", Store, "commit", _places_first, ("rows_are_there_once",),
           _killed_at("persistence", "database", 0.7)),
    Defect("what is held back is never let go", Ledger, "_unhold", _nothing, ("one_final_answer",),
           _changes),
)  # fmt: skip
