"""Rules of the waiting queue, through real processes: one request an hour goes out, so everything else waits."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from oms_actors.errors import Reason
from oms_actors.messages import ExecType, Kind, OrdStatus
from tests.cli.places import wait_for
from tests.rules.desk import Client, Desk, desk

pytestmark = pytest.mark.process
ONE_AN_HOUR = """
[throttle]
rate = 1
per_ms = 3600000

[queue]
internal_crossing = true
"""


@pytest.fixture(scope="module")
def hourly(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """The hour's request is used up."""
    with desk(tmp_path_factory.mktemp("hourly"), ONE_AN_HOUR) as running:
        with Client("first") as first:
            first.new("FIRST")
            first.final("FIRST")
        yield running


def test_a_throttled_order_modified_twice_then_cancelled_never_reaches_the_venue(hourly: Desk) -> None:
    with Client("editor") as client:
        client.new("A", symbol="EDIT", quantity=10, price="5")
        client.modify("A1", "A", quantity=20)
        client.modify("A2", "A1", price="6.5")
        first, second = client.final("A1"), client.final("A2")
        assert [first.exec_type, second.exec_type] == [ExecType.REPLACED, ExecType.REPLACED]
        assert [(str(r.quantity), str(r.price)) for r in (first, second)] == [("20", "5"), ("20", "6.5")]
        client.cancel("A3", "A2")
        canceled, ended = client.final("A3"), client.final("A")
        assert (canceled.exec_type, canceled.reason) == (ExecType.CANCELED, Reason.CANCELED_IN_QUEUE)
        assert (ended.exec_type, ended.ord_status) == (ExecType.CANCELED, OrdStatus.CANCELED)
    assert hourly.sent_ids() == ["FIRST"]


def test_why_says_what_a_waiting_order_waits_for_and_when_it_will_go(hourly: Desk) -> None:
    with Client("asker") as client:
        client.new("W1", symbol="WHY")
        client.new("W2", symbol="WHY")
        client.accepted("W2")
        wait_for(lambda: hourly.oms("why", "W2").get("position"))
        found = hourly.oms("why", "W2")
        assert (found["state"], found["position"]) == ("waiting", 2)
        assert "1 of 1 requests are used: it waits for the exchange's rate limit" in found["why"]
        assert time.time_ns() + 1.5 * 3600e9 < found["send_time_ns"] < time.time_ns() + 2.01 * 3600e9
        throttle = hourly.status()["throttle"]
        assert (throttle["rate"], throttle["used"]) == (1, 1)
        assert 0 < throttle["next_free_ms"] <= 3_600_000
        assert client.upstream.cancel_all() == 2
        assert [client.final(name).reason for name in ("W1", "W2")] == [Reason.MASS_CANCEL] * 2


def test_a_used_id_is_refused_and_as_a_possible_resend_answered_with_the_state(hourly: Desk) -> None:
    with Client("repeater") as client:
        client.new("R", symbol="AGAIN")
        client.accepted("R")
        client.new("R", symbol="AGAIN")
        again = client.final("R")
        assert (again.exec_type, again.reason) == (ExecType.REJECTED, Reason.DUPLICATE_CLIENT_ORDER_ID)
        client.new("R", symbol="AGAIN", possible_resend=True)
        state = client.told(lambda r: r.exec_type is ExecType.ORDER_STATUS)
        assert (state.ord_status, state.reason) == (OrdStatus.PENDING_NEW, Reason.THROTTLED)
        assert (state.request, state.final) == (Kind.NEW, False)
        client.cancel("R1", "R")
        client.final("R1")
        client.cancel("R1", "R", possible_resend=True)
        state = client.told(lambda r: r.exec_type is ExecType.ORDER_STATUS and r.client_order_id == "R1")
        assert (state.ord_status, state.request) == (OrdStatus.CANCELED, Kind.CANCEL)
        assert [r.exec_type for r in client.reports].count(ExecType.ORDER_STATUS) == 2


def test_mass_cancels_mean_an_upstream_an_account_or_a_symbol_and_nobody_else(hourly: Desk) -> None:
    with Client("many") as client, Client("other") as other:
        for name, symbol, account in (("S1", "MASS1", ""), ("S2", "MASS2", "ACC"), ("S3", "MASS2", "")):
            client.new(name, symbol=symbol, account=account)
        other.new("O1", symbol="MASS1")
        other.new("O2", symbol="MASS2")
        other.accepted("O2")
        client.accepted("S3")
        assert hourly.oms("order", "cancel-all", "--symbol", "MASS1") == {"canceled": 2}
        assert [client.final("S1").reason, other.final("O1").reason] == [Reason.MASS_CANCEL] * 2
        assert hourly.oms("order", "cancel-all", "--account", "ACC") == {"canceled": 1}
        assert client.final("S2").reason == Reason.MASS_CANCEL
        assert hourly.oms("order", "cancel-all", "--upstream", "many") == {"canceled": 1}
        assert client.final("S3").reason == Reason.MASS_CANCEL
        assert other.upstream.cancel_all(symbol="MASS1") == 0
        assert other.upstream.cancel_all(symbol="MASS2") == 1
        assert other.final("O2").reason == Reason.MASS_CANCEL


def test_waiting_orders_that_cross_are_matched_inside_recorded_and_told_to_both(hourly: Desk) -> None:
    with Client("buyer") as buyer, Client("seller") as seller:
        buyer.new("B", symbol="CROSS", quantity=10, price="7")
        buyer.accepted("B")
        seller.new("S", symbol="CROSS", side="SELL", quantity=4, price="6")
        for client, name, leaves in ((buyer, "B", "6"), (seller, "S", "0")):
            fill = client.told(lambda r, name=name: r.exec_type is ExecType.TRADE and r.client_order_id == name)
            assert (str(fill.last_quantity), str(fill.last_price), str(fill.leaves_quantity)) == ("4", "7", leaves)
            assert (fill.reason, fill.exec_id[:2]) == (Reason.CROSSED_INTERNALLY, "X-")
        buyer.cancel("B1", "B")
        assert buyer.final("B1").exec_type is ExecType.CANCELED
    path = next(hourly.folder.rglob("oms.sqlite"))

    query = "SELECT buy_client_order_id, sell_client_order_id, symbol, quantity, price FROM order_matching"

    def matches() -> list[tuple[str, ...]]:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
            return database.execute(query).fetchall()

    wait_for(matches)
    assert matches() == [("B", "S", "CROSS", "4", "7")]
    assert hourly.sent_ids() == ["FIRST"]


def test_what_the_kill_switch_held_is_matched_inside_when_it_is_let_go(hourly: Desk) -> None:
    with Client("held") as held, Client("free") as free:
        held.new("K1", symbol="HELD", quantity=10, price="7", account="BAD")
        held.accepted("K1")
        hourly.oms("kill", "--account", "BAD")
        free.new("K2", symbol="HELD", side="SELL", quantity=4, price="6")
        free.accepted("K2")
        wait_for(lambda: hourly.oms("why", "K2").get("position"))
        assert "the kill switch is on for account BAD" in hourly.oms("why", "K1")["why"]
        assert [r.exec_type for r in free.reports] == [ExecType.PENDING_NEW]
        hourly.oms("resume", "--account", "BAD")
        fill = free.told(lambda r: r.exec_type is ExecType.TRADE)
        assert (fill.client_order_id, str(fill.last_price), fill.ord_status) == ("K2", "7", OrdStatus.FILLED)
        held.cancel("K3", "K1", account="BAD")
        assert str(held.final("K3").cum_quantity) == "4"
    assert hourly.sent_ids() == ["FIRST"]


def test_a_waiting_order_is_checked_again_at_release_against_the_limits_of_then(hourly: Desk) -> None:
    file = hourly.folder / "oms.toml"
    before = file.read_text()
    with Client("rechecked") as client:
        client.new("V1", symbol="CHECK", quantity=10)
        client.accepted("V1")
        file.write_text(f'{before}\n[risk]\nsymbols.CHECK.max_quantity = "8"\n')
        hourly.oms("reload")
        refused = client.final("V1")
        assert (refused.exec_type, refused.reason_text) == (
            ExecType.REJECTED, "quantity: above risk limit max_quantity (value 10, limit 8)"
        )  # fmt: skip
    file.write_text(before)
    hourly.oms("reload")
    assert hourly.sent_ids() == ["FIRST"]
