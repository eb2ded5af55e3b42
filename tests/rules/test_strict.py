"""Rules that a desk may be given besides the usual ones, through real processes."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from oms_actors.errors import Reason
from oms_actors.messages import ExecType, NewOrder, OrdStatus
from tests.cli.places import wait_for
from tests.rules.desk import Client, Desk, desk

pytestmark = pytest.mark.process
AGE_MS = 600
SETTINGS = f"""
[throttle]
rate = 200

[[throttle.limits]]
scope = "symbol"
name = "SLOW"
rate = 1
per_ms = 3600000

[[throttle.limits]]
scope = "symbol"
name = "LATE"
rate = 2
per_ms = 200
margin_ms = 150

[queue]
after_send = "ignore"
max_queue_age_ms = {AGE_MS}

[risk]
max_quantity = "1000"
max_notional = "50000"
price_collar_percent = "10"
allowed_symbols = ["A", "B", "FILL", "SLOW", "LATE", "ONE"]
duplicate_window_ms = 3600000
messages_per_second = 20
symbols.ONE.max_open_orders = 1
accounts.SMALL.max_quantity = "5"
"""
RESERVES = """
[throttle]
rate = 2
per_ms = 3600000
reserve_cancels = 1
count = ["new", "cancel"]

[queue]
modify_loses_place = true
capacity = 3
"""


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with desk(tmp_path_factory.mktemp("strict"), SETTINGS) as running:
        yield running


def test_with_after_send_ignore_changes_of_a_sent_order_are_refused_and_never_reach_the_venue(strict: Desk) -> None:
    with Client("ignored") as client:
        client.new("I", symbol="A", quantity=11)
        client.final("I")
        client.modify("I1", "I", quantity=20)
        client.cancel("I2", "I")
        for name in ("I1", "I2"):
            refused = client.final(name)
            assert (refused.exec_type, refused.reason) == (ExecType.CANCEL_REJECT, Reason.IGNORED_AFTER_SEND)
            assert "after_send" in refused.reason_text
    assert [call.client_order_id for call in strict.sent if call.client_order_id[0] == "I"] == ["I"]


def test_an_order_that_waits_longer_than_max_queue_age_is_refused_when_it_is_too_old(strict: Desk) -> None:
    with Client("aged") as client:
        client.new("G1", symbol="SLOW")
        client.final("G1")
        began_ns = time.time_ns()
        client.new("G2", symbol="SLOW", quantity=11)  # an hour would pass before it goes
        refused = client.final("G2")
        assert (refused.exec_type, refused.reason) == (ExecType.REJECTED, Reason.QUEUE_AGE)
        assert refused.reason_text.startswith("age: waited longer than max_queue_age (value ")
        assert refused.reason_text.endswith(f" ms, limit {AGE_MS} ms)")
        assert refused.time_ns - began_ns >= AGE_MS * 10**6
    assert "G2" not in strict.sent_ids()


def test_every_risk_limit_says_its_rule_the_value_and_the_limit(strict: Desk) -> None:
    wrong = (
        ("Q", {"quantity": 1001}, "quantity: above risk limit max_quantity (value 1001, limit 1000)"),
        ("N", {"quantity": 1000, "price": "51"}, "notional: above risk limit max_notional (value 51000, limit 50000)"),
        ("C", {"symbol": "FILL", "price": "5.51"}, "price: outside the price collar (value 5.51, limit 5.5)"),
        ("S", {"symbol": "NOPE"}, "symbol: symbol is not on the allowed list"),
        ("O", {"symbol": "ONE", "quantity": 2}, "symbol: too many open orders (value 2, limit 1)"),
        ("D", {"quantity": 7}, "age: same symbol, side, price and quantity as a moment ago"),
        ("A", {"quantity": 6, "account": "SMALL"}, "quantity: above risk limit max_quantity (value 6, limit 5)"),
    )
    with Client("risky") as client:
        client.new("R1", symbol="FILL")  # an execution at 5 is the last price
        client.new("R2", symbol="ONE")
        client.new("R3", symbol="B", quantity=7)
        client.told(lambda report: report.exec_type is ExecType.TRADE)
        client.final("R2")
        client.final("R3")
        for name, values, text in wrong:
            client.new(f"R-{name}", **({"symbol": "B"} | values))
            refused = client.final(f"R-{name}")
            assert refused.exec_type is ExecType.REJECTED
            assert refused.reason_text.startswith(text)
        client.modify("R-M", "R3", quantity=1001)
        assert client.final("R-M").reason == Reason.MAX_QUANTITY
    assert not [name for name in strict.sent_ids() if name.startswith("R-")]


def test_an_upstream_above_its_message_rate_is_refused_and_the_others_are_not(strict: Desk) -> None:
    with Client("hasty") as hasty, Client("quiet") as quiet:
        hasty.upstream.submit_many([
            NewOrder(client_order_id=f"H{n}", symbol="A", side="BUY", quantity=100 + n, price="5") for n in range(30)
        ])  # fmt: skip
        told = [hasty.final(f"H{n}") for n in range(30)]
        refused = [each for each in told if each.exec_type is ExecType.REJECTED]
        assert len(refused) == 10
        assert refused[0].reason_text == "message_rate: too many requests per second (value 21, limit 20)"
        quiet.new("U", symbol="A", quantity=99)
        assert quiet.final("U").exec_type is ExecType.NEW


def test_a_margin_keeps_requests_further_apart(strict: Desk) -> None:
    with Client("paced") as client:
        for n in range(4):
            client.new(f"L{n}", symbol="LATE", quantity=20 + n)
        for n in range(4):
            client.final(f"L{n}")
    late = [call.time_ns for call in strict.sent if call.client_order_id[0] == "L"]
    assert [late[2] - late[0] >= 350_000_000, late[3] - late[1] >= 350_000_000] == [True, True]


@pytest.fixture(scope="module")
def reserving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with desk(tmp_path_factory.mktemp("reserving"), RESERVES) as running:
        yield running


def test_part_of_the_rate_is_kept_for_cancels_and_what_does_not_count_needs_none_of_it(reserving: Desk) -> None:
    with Client("canceler") as client:
        client.new("C", symbol="A")
        client.final("C")
        client.modify("C1", "C", quantity=20)
        client.final("C1")
        client.new("D", symbol="A")
        client.accepted("D")
        assert reserving.status()["throttle"]["used"] == 1
        client.cancel("C2", "C1")
        assert client.final("C2").ord_status is OrdStatus.CANCELED
        throttle = reserving.status()["throttle"]
        assert (throttle["used"], throttle["rate"]) == (2, 2)
        assert 3_500_000 < throttle["next_free_ms"] <= 3_600_000
        assert reserving.status()["queue"]["depth"] == 1
        wait_for(lambda: reserving.oms("why", "D").get("send_time_ns"))
        why = reserving.oms("why", "D")
        assert why["why"].startswith("2 of 2 requests (1 kept for cancels) are used: it waits")
        assert time.time_ns() + 3500e9 < why["send_time_ns"] < time.time_ns() + 3600e9
        client.upstream.cancel_all()
        client.final("D")
    assert [call.kind for call in reserving.sent] == ["NEW", "MODIFY", "CANCEL"]


def test_a_full_queue_is_a_refusal_and_a_modify_goes_to_its_end_if_so_configured(reserving: Desk) -> None:
    with Client("filler") as client:
        if not reserving.sent:  # the other test has not run: the rate is to be used up
            client.new("first", symbol="A")
            client.final("first")
        for name in ("W1", "W2", "W3", "W4"):
            client.new(name, symbol="A")
        full = client.final("W4")
        assert (full.reason, full.reason_text) == (
            Reason.QUEUE_FULL, "queue: the waiting queue is full (value 3, limit 3)"
        )  # fmt: skip
        client.modify("M1", "W1", quantity=20)
        client.final("M1")
        wait_for(lambda: reserving.oms("why", "M1").get("position") == 3)
        assert reserving.oms("why", "W2")["position"] == 1
        client.cancel("W5", "W2")  # makes room
        client.final("W5")
        client.new("W6", symbol="A")
        assert client.accepted("W6").exec_type is ExecType.PENDING_NEW
        client.upstream.cancel_all()
        client.final("W6")
