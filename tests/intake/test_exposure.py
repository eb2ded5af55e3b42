"""Risk at intake: each request counts for the next, also within a cycle; the journals bring it all back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from oms_actors import CancelOrder
from oms_actors.core.answers import runs
from oms_actors.core.exposure import Exposure
from oms_actors.core.intake import Intake, Piece
from oms_actors.core.reports import report
from oms_actors.core.risk import KILL_ALL, Limits, Risk, RiskLimits, kill_flag
from oms_actors.edges.journal import JournalFull, JournalWriter
from oms_actors.edges.kill_switch import Kill, KillSwitch
from oms_actors.errors import ONE, Reason
from oms_actors.messages import ExecType, Kind, OrdStatus, SessionEvent
from oms_actors.record import SESSION, VERSION, decode_report, encode, key_of
from tests.intake.desk import Desk
from tests.intake.makers import core_with, decide, new, records, report_records, said
from tests.intake.test_actor import heard

SYMBOL = b"AAPL".ljust(16, b"\0")


def core(limits: RiskLimits) -> Intake:
    made = core_with()
    made.exposure = Exposure(Risk(limits))
    return made


def reasons(core: Intake, frame: bytes, sequence: int = 1) -> list[Reason]:
    batch = decide(core, sequence, [Piece(1, 16 * sequence, frame)])
    core.apply(batch.payload(), sequence)
    return [Reason(decode_report(r).reason) for r in report_records(said(batch.answers())[1])]


def ended(number: int, status: OrdStatus = OrdStatus.CANCELED, exec_type: ExecType = ExecType.CANCELED) -> bytes:
    return report(
        key=key_of("", "A"), exec_type=exec_type, ord_status=status, symbol=SYMBOL, number=number, upstream=1,
        request_kind=Kind.NEW, last_price=ONE,
    )  # fmt: skip


def test_limits_on_single_orders() -> None:
    made = core(RiskLimits(desk=Limits(max_quantity=50 * ONE)))
    assert reasons(made, records(new(1), new(2, quantity=50))) == [Reason.MAX_QUANTITY, Reason.NONE]


def test_orders_of_the_same_cycle_are_counted() -> None:
    made = core(RiskLimits(desk=Limits(max_open_orders=2)))
    assert reasons(made, records(*map(new, range(3)))) == [Reason.NONE, Reason.NONE, Reason.MAX_OPEN_ORDERS]
    made.departed(runs(ended(2)), 0)
    made.departed(runs(ended(2)), 0)
    assert reasons(made, records(new(3), new(4)), 10) == [Reason.NONE, Reason.MAX_OPEN_ORDERS]


def test_the_message_rate_is_each_upstreams_own_and_cancels_are_never_refused() -> None:
    made = core(RiskLimits(messages_per_s=2))
    cancel = CancelOrder(client_order_id="C", orig_client_order_id="A-0")
    assert reasons(made, records(new(0), new(1), new(2), cancel)) == [
        Reason.NONE, Reason.NONE, Reason.MESSAGE_RATE, Reason.NONE,
    ]  # fmt: skip
    batch = decide(made, 20, [Piece(2, 16, encode(new(9)))])
    assert batch.accepted == 1


def test_what_the_journals_say_brings_the_counts_back() -> None:
    limits = RiskLimits(desk=Limits(max_open_orders=3))
    live = core(limits)
    batch = decide(live, 1, [Piece(1, 16, records(new(1), new(2), new(3), new(4)))])
    again = core(limits)
    again.replay(batch.payload(), 1)
    again.departed(runs(ended(1)), 0)
    assert reasons(again, records(new(5), new(6)), 10) == [Reason.NONE, Reason.MAX_OPEN_ORDERS]


def test_a_forgotten_batch_leaves_no_open_orders() -> None:
    made = core(RiskLimits(desk=Limits(max_open_orders=2)))
    decide(made, 1, [Piece(1, 16, records(new(1), new(2)))]).forget()
    assert reasons(made, records(new(1), new(2), new(3))) == [Reason.NONE, Reason.NONE, Reason.MAX_OPEN_ORDERS]


def guard(event: SessionEvent, upstream: int) -> bytes:
    return SESSION.pack(Kind.SESSION, VERSION, event, upstream, 0, 0, 0, 0, 0, b"")


def test_repeated_executions_stop_an_upstream_until_it_is_re_enabled() -> None:
    made = core(RiskLimits(repeated_fills=2, repeated_fills_ns=100))
    assert made.departed(runs(guard(SessionEvent.GUARD_STOP, 1)), 20) == [1]
    assert reasons(made, encode(new(1))) == [Reason.REPEATED_EXECUTION]
    assert made.departed(runs(guard(SessionEvent.GUARD_RESET, 1)), 30) == []
    assert reasons(made, encode(new(2)), 5) == [Reason.NONE]


def test_a_kill_refuses_what_it_names() -> None:
    made = core_with()
    made.exposure.set_kill([kill_flag(symbol="AAPL")])
    assert reasons(made, records(new(1), new(2, symbol="MSFT"))) == [Reason.KILLED, Reason.NONE]
    made.exposure.set_kill([KILL_ALL])
    cancel = CancelOrder(client_order_id="C", orig_client_order_id="A-2")
    assert reasons(made, records(new(3, symbol="MSFT"), cancel), 10) == [Reason.KILLED, Reason.NONE]
    made.exposure.set_kill([])
    assert reasons(made, records(new(3)), 20) == [Reason.NONE]


def test_the_kill_switch_is_heeded_at_once_and_after_a_restart(desk: Desk) -> None:
    oms, switch = desk.upstream("u"), KillSwitch(Path(desk.resolved.data_dir))
    oms.submit(new(1))
    desk.settle()
    assert len(heard(oms)) == 2
    switch.kill(Kill(by="me"))
    oms.submit(new(2))
    desk.settle()
    assert [r.reason for r in heard(oms)] == [Reason.KILLED]
    desk.kill()
    oms.submit(new(3))
    desk.settle()
    assert [r.reason for r in heard(oms)] == [Reason.KILLED]
    switch.resume()
    oms.submit(new(4))
    desk.settle()
    assert [r.reason for r in heard(oms)] == [0, 0]


def test_a_switch_that_cannot_be_read_refuses_everything(desk: Desk) -> None:
    oms, switch = desk.upstream("u"), KillSwitch(Path(desk.resolved.data_dir))
    desk.settle()
    switch.kill(Kill(symbol="MSFT"))
    (Path(desk.resolved.data_dir) / "kill.json").write_text("{")
    oms.submit(new(1))
    desk.settle()
    assert [r.reason for r in heard(oms)] == [Reason.KILLED]


def test_a_full_disk_opens_no_orders(make_desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch) -> None:
    desk = make_desk()
    desk.intake.core.exposure = Exposure(Risk(RiskLimits(desk=Limits(max_open_orders=1))))
    oms = desk.upstream("u")
    desk.settle()

    def full(*_: object) -> bytes:
        raise JournalFull("no space")

    with monkeypatch.context() as patch:
        patch.setattr(JournalWriter, "append", full)
        for number in range(3):
            oms.submit(new(number))
            desk.intake.work()
    assert [r.reason for r in heard(oms)] == [Reason.DISK_FULL] * 3
    desk.intake._full_until_ns = 0
    oms.submit_many([new(1), new(2)])
    desk.settle()
    assert [r.reason for r in heard(oms)] == [0, Reason.MAX_OPEN_ORDERS, 0]
