"""The trade date ends: ids are free again, carried orders keep theirs, whichever journal is read first."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oms_actors import CancelOrder
from oms_actors.core.answers import runs
from oms_actors.core.hours import FOREVER_NS, SessionState
from oms_actors.core.intake import Batch, Intake, Piece
from oms_actors.core.mass_action import Mass, MassAction
from oms_actors.core.reports import report
from oms_actors.errors import Reason
from oms_actors.messages import ExecType, Kind, OrdStatus, SessionEvent
from oms_actors.record import SESSION, VERSION, key_of, records
from tests.intake.desk import Desk
from tests.intake.makers import OneByOne, core_with, new
from tests.intake.makers import records as frame
from tests.intake.test_kills import Killed, Reaper

MONDAY, TUESDAY = 20260706, 20260707


def session(date: int) -> SessionState:
    return SessionState(1, date, 0, FOREVER_NS, 0)


def word(event: SessionEvent, date: int, tail: bytes = b"") -> bytes:
    """A SESSION record of the sender's."""
    record = SESSION.pack(Kind.SESSION, VERSION, event, Reason.END_OF_DAY, 0, 0, 0, 0, date, b"")
    return record[: len(record) - len(tail)] + tail


def ended(date: int, *carried: tuple[str, str]) -> bytes:
    """What the sender journals of a roll; carried orders by id and first id ("" = the same)."""
    return b"".join((
        word(SessionEvent.MASS_ACTION, date, MassAction(Mass.ROLL, Reason.END_OF_DAY).tail()),
        *(
            report(
                key=key_of("", own), exec_type=ExecType.RESTATED, ord_status=OrdStatus.NEW, flags=4, request_kind=0,
                sequence=1, upstream=1, number=1, orig=first.encode().ljust(36, b"\0"), reason=Reason.CARRIED_OVER,
            )
            for own, first in carried
        ),
        word(SessionEvent.ROLL, date),
    ))  # fmt: skip


class Day:
    """A core with its two journals."""

    def __init__(self, kind: type[Batch] = Batch) -> None:
        self.core, self.kind = core_with(1), kind
        self.mine: list[tuple[bytes, int]] = []
        self.senders: list[bytes] = []
        self.sequence = 1

    def _journal(self, batch: Batch) -> None:
        payload = batch.payload()
        self.mine.append((payload, self.sequence))
        self.core.apply(payload, self.sequence)
        self.sequence += batch.records

    def begin(self, date: int) -> None:
        batch = self.kind(self.core, self.sequence, 1, 2, session(date))
        batch.roll(date)
        self._journal(batch)

    def ask(self, *requests: object) -> tuple[int, int]:
        """(admitted, refused)."""
        batch = self.kind(self.core, self.sequence, 1, 2, session(0))
        batch.take([Piece(1, 16 * self.sequence, frame(*requests))])  # type: ignore[arg-type]
        self._journal(batch)
        return batch.accepted, batch.rejected

    def hear(self, payload: bytes) -> None:
        self.senders.append(payload)
        self.core.departed(runs(payload), 0)

    def again(self) -> Intake:
        """As a restart folds it: first all of intake's journal."""
        core = core_with(1)
        for payload, sequence in self.mine:
            core.replay(payload, sequence)
        for payload in self.senders:
            core.departed(runs(payload), 0)
        return core


@pytest.mark.parametrize("kind", [Batch, OneByOne])
def test_after_the_roll_ids_are_free_again_but_not_before_the_sender_has_ended_the_day(kind: type[Batch]) -> None:
    day = Day(kind)
    day.begin(MONDAY)
    assert day.ask(*(new(n) for n in range(5))) == (5, 0)
    day.begin(TUESDAY)
    assert day.ask(*(new(n) for n in range(5))) == (0, 5)
    day.hear(ended(TUESDAY))
    assert day.ask(*(new(n) for n in range(5))) == (5, 0)


@pytest.mark.parametrize("kind", [Batch, OneByOne])
def test_carried_orders_keep_their_ids_and_can_be_changed_by_them(kind: type[Batch]) -> None:
    day = Day(kind)
    day.begin(MONDAY)
    day.ask(new(1), new(2), new(3))
    day.begin(TUESDAY)
    day.hear(ended(TUESDAY, ("A-2", ""), ("M-3", "A-3")))
    assert day.ask(new(2)) == day.ask(new(3)) == (0, 1)
    changes = [CancelOrder(client_order_id=f"C{n}", orig_client_order_id=n) for n in ("A-2", "A-3", "M-3")]
    assert day.ask(*changes) == (3, 0)
    assert day.ask(CancelOrder(client_order_id="C", orig_client_order_id="A-1")) == (0, 1)


def test_what_was_admitted_before_the_first_known_date_belongs_to_it() -> None:
    day = Day()
    day.ask(new(1))
    day.begin(MONDAY)
    assert day.ask(new(1)) == (0, 1)
    day.hear(word(SessionEvent.ROLL, MONDAY))
    assert day.ask(new(1)) == (0, 1)


_names = st.sampled_from(["A-1", "A-2", "A-3"])
_steps = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.integers(1, 3)),
        st.tuples(st.just("begin"), st.just(0)),
        st.tuples(st.just("end"), st.lists(st.tuples(_names, st.just("")), max_size=2)),
        st.tuples(st.just("half"), st.lists(st.tuples(_names, st.just("")), max_size=2)),
    ), max_size=30,
)  # fmt: skip


@given(_steps)
def test_a_restart_knows_the_same_ids_whatever_came_between(steps: list[tuple[str, object]]) -> None:
    day, begun, done, half = Day(), MONDAY, MONDAY, b""
    day.begin(MONDAY)
    for what, value in steps:
        if what == "ask":
            day.ask(new(value))  # type: ignore[arg-type]
        elif what == "begin":
            begun += 1
            day.begin(begun)
        elif half:  # the sender's roll goes on where it was
            day.hear(half)
            done, half = done + 1, b""
        elif done < begun:
            whole = ended(done + 1, *value)  # type: ignore[misc]
            cut = len(whole) if what == "end" else len(whole) - SESSION.size
            day.hear(whole[:cut])
            half = whole[cut:]
            done += what == "end"
        again = day.again()
        assert (again.ids, again.carried, again.trade_date) == (day.core.ids, day.core.carried, day.core.trade_date)


def rolls(desk: Desk) -> list[int]:
    """The trade dates in intake's journal."""
    found = [r for frame in desk.all_frames() for r in records(frame.payload) if r[0] == Kind.SESSION]
    return [SESSION.unpack(r)[8] for r in found]


def test_each_trade_date_begins_once_and_in_a_frame_of_its_own(desk: Desk) -> None:
    for date in (MONDAY, MONDAY, TUESDAY, MONDAY, TUESDAY):
        desk.session.publish(session(date), 1)
        desk.upstream("u").submit(new(f"{date}{len(desk.all_frames())}"))
        desk.settle()
        desk.kill()
        desk.settle()
    assert rolls(desk) == [MONDAY, TUESDAY]
    assert all(len(frame.payload) == SESSION.size for frame in desk.all_frames() if frame.payload[0] == Kind.SESSION)


def test_a_death_at_any_step_of_a_roll_begins_the_date_once(make_desk: Callable[..., Desk]) -> None:
    for at in count(1):
        desk, reaper = make_desk(), Reaper(at)
        desk.session.publish(session(MONDAY), 1)
        desk.upstream("u").submit(new(1))
        desk.settle()
        with pytest.MonkeyPatch.context() as patch:
            reaper.watch(patch)
            desk.session.publish(session(TUESDAY), 1)
            reaper.armed = True
            try:
                desk.intake.work()
            except Killed:
                desk.kill()
            reaper.armed = False
            desk.settle()
            desk.upstream("u").submit(new(2))
            desk.settle()
        assert rolls(desk) == [MONDAY, TUESDAY]
        assert key_of("", "A-2") in desk.intake.core.ids
        assert key_of("", "A-1") not in desk.intake.core.ids
        desk.remove()
        if reaper.steps < at:
            break
    assert at > 4
