"""What people are told about orders, from a database that may be in use."""

from __future__ import annotations

import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from oms_actors.core.fold import Fold
from oms_actors.core.order import Phase
from oms_actors.edges.journal import frames
from oms_actors.edges.store import Store, order_id_prefix
from oms_actors.messages import SessionEvent
from oms_actors.queries import NoDatabase, OrderHistory, order_history, orders
from oms_actors.record import order_uuid
from oms_actors.why import Standing, _Turn, why
from tests.support.disk import FakeDisk
from tests.support.journals import START_NS, Script, open_script


class Day:
    """A script whose frames go straight into a database."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.disk = folder, FakeDisk()
        self.script: Script = open_script(self.disk)
        self.store = Store(folder / "oms.sqlite", order_id_prefix(7))
        self.store.open()

    def commit(self) -> None:
        """All of the journals once more: a row replaces itself."""
        self.script.flush()
        self.script.flush()
        fold = Fold()
        for frame in frames(self.disk, "intake"):
            fold.intake(frame.payload, frame.wall_ns, frame.mono_ns)
        for frame in frames(self.disk, "sender"):
            fold.sender(frame.payload, frame.sequence, frame.wall_ns)
        self.store.begin()
        self.store.commit(fold.take(), {})

    def history(self, id_: str) -> OrderHistory:
        found = order_history(self.folder, id_)
        assert found is not None
        return found


@pytest.fixture
def day(tmp_path: Path) -> Day:
    return Day(tmp_path)


def happened(history: OrderHistory) -> list[str]:
    return [f"{event.source} {event.what} {event.client_order_id}" for event in history.events]


def test_orders_come_newest_first_with_decimals_names_and_our_id(day: Day) -> None:
    day.script.name_upstream("algo-1")
    first, second = day.script.new("A-1"), day.script.new("A-2", quantity=30, side="SELL", symbol="MSFT")
    day.script.send(first)
    day.script.ack(first)
    day.script.fill(first, 40)
    day.commit()
    new, old = orders(day.folder)
    assert (new.client_order_id, new.status, new.side, new.symbol) == ("A-2", "PENDING_NEW", "SELL", "MSFT")
    assert (old.status, old.quantity, old.cum_quantity, old.leaves_quantity) == ("PARTIALLY_FILLED", 100, 40, 60)
    assert (old.price, old.avg_price, old.upstream) == (Decimal("585.33"), Decimal("585.33"), "algo-1")
    assert old.order_id == order_uuid(7, first.number)
    assert old.receive_time_ns == START_NS + 1_000
    assert second.number == new.order_number


def test_orders_can_be_asked_for_by_status_symbol_and_upstream(day: Day) -> None:
    day.script.name_upstream("algo-1")
    order = day.script.new("A-1", symbol="MSFT")
    day.script.ack(order)
    day.script.new("A-2")
    day.script.upstream = 2
    day.script.fill(day.script.new("A-3"), 130)
    day.script.fill(day.script.new("A-4"), 100)
    day.commit()

    def ids(**wanted: Any) -> list[str]:
        return [row.client_order_id for row in orders(day.folder, **wanted)]

    assert ids(status="new") == ["A-1"]
    assert ids(symbol="MSFT") == ["A-1"]
    assert ids(upstream="algo-1") == ["A-2", "A-1"]
    assert ids(symbol="AAPL", status="PENDING_NEW") == ["A-2"]
    assert ids(symbol="AAPL", status="FILLED") == ["A-4", "A-3"]
    assert ids(overfilled=True) == ["A-3"]
    assert [row.client_order_id for row in orders(day.folder, 1)] == ["A-4"]
    with pytest.raises(KeyError):
        ids(status="GONE")


def test_a_history_tells_everything_about_the_whole_chain_in_order(day: Day) -> None:
    script = day.script
    order = script.new("A-1")
    script.flush()
    script.send(order)
    script.flush()
    script.ack(order)
    script.flush()
    modify = script.change(order, "A-2", quantity=200, price="586")
    script.send(order, modify)
    script.flush()
    script.replaced(order, modify, quantity=200, price=58600000000)
    script.flush()
    script.fill(order, 60, exec_id="E1", text="as agreed")
    script.change(order, "A-3", cancel=True, reason=12, field=4)
    script.flush()
    cancel = script.change(order, "A-4", cancel=True)
    script.send(order, cancel)
    script.flush()
    script.canceled(order, cancel)
    script.session(SessionEvent.DISCONNECTED)
    day.commit()
    history = day.history("A-1")
    assert happened(history) == [
        "upstream NEW A-1", "desk SENT A-1", "exchange NEW A-1", "upstream MODIFY A-2", "desk SENT A-2",
        "exchange REPLACED A-2", "exchange TRADE A-2", "upstream CANCEL A-3", "desk CANCEL_REJECT A-3",
        "upstream CANCEL A-4", "desk SENT A-4", "exchange CANCELED A-4",
    ]  # fmt: skip
    order_row = history.order
    assert (order_row.client_order_id, order_row.first_client_order_id) == ("A-2", "A-1")
    assert (order_row.quantity, order_row.price, order_row.cum_quantity) == (200, 586, 60)
    assert (order_row.status, order_row.leaves_quantity) == ("CANCELED", 0)
    trade = next(event for event in history.events if event.what == "TRADE")
    assert (trade.quantity, trade.price, trade.exec_id, trade.text) == (60, 586, "E1", "as agreed")
    assert trade.latency_ns == 250_000
    refusal = next(event for event in history.events if event.what == "CANCEL_REJECT")
    assert refusal.text == "orig_client_order_id: the order is already done"


def test_an_order_is_found_by_any_id_of_its_chain_its_uuid_and_its_number(day: Day) -> None:
    script = day.script
    order = script.new("A-1", account="ACC")
    script.ack(order)
    modify = script.change(order, "A-2", quantity=5)
    script.replaced(order, modify, quantity=5)
    last = script.change(order, "A-3", cancel=True)
    script.new("B-1")
    day.commit()
    for id_ in ("A-1", "A-2", "A-3", str(order.number), order_uuid(7, order.number)):
        assert day.history(id_).order.order_number == order.number, id_
    assert last
    assert order_history(day.folder, "A-9") is None
    assert order_history(day.folder, "99999") is None
    assert order_history(day.folder, "A-1", account="other") is None
    assert order_history(day.folder, "A-1", account="ACC") is not None


def test_a_refused_order_tells_why_and_a_refused_repeat_does_not_hide_the_order(day: Day) -> None:
    script = day.script
    order = script.new("A-1")
    script.new("A-1", reason=10, field=3)
    script.new("A-1", reason=10, field=3, resend=True)
    script.new("C-1", reason=80, field=7, value=5 * 10**8, limit=3 * 10**8)
    day.commit()
    assert day.history("A-1").order.order_number == order.number
    refused = day.history("C-1")
    assert refused.order.status == "REJECTED"
    assert refused.order.reason == "quantity: above risk limit max_quantity (value 5, limit 3)"
    assert happened(refused) == ["upstream NEW C-1", "desk REJECTED C-1"]
    assert [row.status for row in orders(day.folder)] == ["REJECTED", "REJECTED", "PENDING_NEW"]


def test_an_id_used_again_later_belongs_to_the_newer_order_and_each_keeps_its_own_changes(day: Day) -> None:
    script = day.script
    old = script.new("A-1")
    cancel = script.change(old, "A-2", cancel=True)
    script.canceled(old, cancel)
    new = script.new("A-1")
    script.change(new, "A-3", quantity=7)
    day.commit()
    assert day.history("A-1").order.order_number == new.number
    assert happened(day.history("A-1")) == ["upstream NEW A-1", "upstream MODIFY A-3"]
    assert happened(day.history(str(old.number)))[:2] == ["upstream NEW A-1", "upstream CANCEL A-2"]
    assert day.history("A-2").order.order_number == old.number


def test_reading_works_while_a_batch_is_being_written_and_after_the_writer_has_gone(day: Day) -> None:
    day.script.new("A-1")
    day.commit()
    day.store.begin()
    assert [row.client_order_id for row in orders(day.folder)] == ["A-1"]
    day.store.roll_back()
    day.store.close()
    assert [row.client_order_id for row in orders(day.folder)] == ["A-1"]


def test_no_database_and_no_database_at_all_are_said_by_name(tmp_path: Path) -> None:
    with pytest.raises(NoDatabase, match=r"oms\.sqlite: there is no database \(yet\)"):
        orders(tmp_path)
    (tmp_path / "oms.sqlite").write_text("buy milk\n" * 100)
    with pytest.raises(NoDatabase, match="not a database"):
        order_history(tmp_path, "A-1")


@pytest.mark.parametrize(
    ("phase", "state", "text"),
    [
        (Phase.SENT, "sent", "it has been sent, and the exchange has not answered"),
        (Phase.WORKING, "working", "the exchange has it"),
        (Phase.IN_DOUBT, "in doubt", "it is not known whether the exchange has it"),
        (Phase.FILLED, "done", "it ended as FILLED"),
    ],
)
def test_why_believes_the_sender_where_the_database_lags(
    day: Day, monkeypatch: pytest.MonkeyPatch, phase: Phase, state: str, text: str
) -> None:
    """The database has not heard yet that the order has been sent."""
    day.script.new("A-1")
    day.commit()
    standing = Standing(int(phase), False, 0, 0, False, 0, 0, 1, 0, -1)
    monkeypatch.setattr("oms_actors.why._ask", lambda *_: (True, standing))
    found = why(day.folder, "default", "A-1")
    assert found is not None
    assert (found.state, found.blocked_by) == (state, [])
    assert text in found.why


@pytest.mark.parametrize(("turn_in_s", "told"), [(1, "it goes next"), (9, "it ends unsent in 5.0 s")])
def test_why_tells_of_an_order_that_will_be_too_old_before_its_turn(
    day: Day, monkeypatch: pytest.MonkeyPatch, turn_in_s: int, told: str
) -> None:
    day.script.new("A-1")
    day.commit()
    standing = Standing(0, True, 0, 1, False, 0, 1, 0, turn_in_s * 10**9, 5 * 10**9)
    monkeypatch.setattr("oms_actors.why._ask", lambda *_: (True, standing))
    monkeypatch.setattr("oms_actors.why._blocks", lambda *_: ([], time.time_ns()))
    monkeypatch.setattr("oms_actors.why._turn", lambda *_: _Turn("", turn_in_s * 10**9))
    found = why(day.folder, "default", "A-1")
    assert found is not None
    assert found.why.startswith(told)
    assert (found.send_time_ns is None) is (turn_in_s > 5)
