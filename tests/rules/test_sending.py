"""Rules of sending, risk and the kill switch, through real processes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from oms_actors.edges.kill_switch import Kill
from oms_actors.errors import Reason
from oms_actors.messages import ExecType, ModifyOrder, NewOrder, OrdStatus
from tests.cli.places import wait_for
from tests.rules.desk import Client, Desk, desk
from tests.rules.exchange import Call

pytestmark = pytest.mark.process
SETTINGS = """
not_sent_retries = 2
not_sent_delay_ms = 20

[throttle]
rate = 200

[[throttle.limits]]
scope = "symbol"
name = "SLOW"
rate = 1
per_ms = 3600000

[supervisor]
heartbeat_timeout_ms = 60000

[upstreams]
cancel_on_disconnect = ["leaver"]
disconnect_grace_ms = 200

[risk]
repeated_fills = 3
repeated_fills_ms = 3600000
symbols.SMALL.max_quantity = "5"
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with desk(tmp_path_factory.mktemp("sending"), SETTINGS) as running:
        yield running


def new_order(name: str) -> NewOrder:
    return NewOrder(client_order_id=name, symbol="LINE", side="BUY", quantity=10, price="5")


def of(found: Desk, *names: str) -> list[Call]:
    return [call for call in found.sent if call.client_order_id in names]


def test_changes_of_a_sent_order_go_to_the_venue_in_order_each_naming_the_last_accepted_id(running: Desk) -> None:
    with Client("changer") as client:
        client.new("C", quantity=10, price="5")
        client.final("C")
        for name, orig, values in (("C1", "C", {"quantity": 20}), ("C2", "C1", {"price": "6"})):
            client.modify(name, orig, **values)
            assert client.final(name).exec_type is ExecType.REPLACED
        client.cancel("C3", "C2")
        assert client.final("C3").exec_type is ExecType.CANCELED
    assert [call[2:7] for call in of(running, "C", "C1", "C2", "C3")] == [
        ("NEW", "C", "", "10", "5"), ("MODIFY", "C1", "C", "20", "5"), ("MODIFY", "C2", "C1", "20", "6"),
        ("CANCEL", "C3", "C2", "20", "6"),
    ]  # fmt: skip


def test_modifies_of_a_waiting_order_collapse_into_the_one_request_that_is_sent(running: Desk) -> None:
    with Client("collapser") as client:
        line = [new_order(f"Q{n}") for n in range(300)]  # a second and a half of what the throttle lets out
        changes = [ModifyOrder(client_order_id=f"M{n}", orig_client_order_id=f"M{n - 1}" if n > 1 else "M",
                               quantity=10 + n, price=str(5 + n)) for n in (1, 2, 3)]  # fmt: skip
        client.upstream.submit_many([*line, new_order("M"), *changes])
        assert [client.final(f"M{n}").reason for n in (1, 2, 3)] == [Reason.REPLACED_IN_QUEUE] * 3
        assert client.final("M").exec_type is ExecType.NEW
        client.upstream.cancel_all()
        client.told(lambda r: r.ord_status is OrdStatus.CANCELED and r.client_order_id == "M3")
    sent = of(running, "M", "M1", "M2", "M3")
    assert [(call.kind, call.quantity, call.price) for call in sent] == [("NEW", "13", "8")]


def test_a_limit_of_one_symbol_holds_it_back_across_a_restart_while_the_others_pass(running: Desk) -> None:
    with Client("slow") as client:
        for name, symbol in (("S1", "SLOW"), ("S2", "SLOW"), ("S3", "FAST")):
            client.new(name, symbol=symbol)
        client.final("S1")
        client.final("S3")
        (limit,) = running.status()["throttle"]["limits"]
        assert (limit["scope"], limit["name"], limit["used"], limit["rate"]) == ("symbol", "SLOW", 1, 1)
        assert 0 < limit["next_free_ms"] <= 3_600_000
        before = running.pid("sender")
        os.kill(before, signal.SIGKILL)
        wait_for(lambda: running.pid("sender") not in (0, before))
        running.place.wait_until_up()
        client.new("S4", symbol="FAST")
        client.final("S4")
        assert of(running, "S2") == []
        why = running.oms("why", "S2")
        assert (why["position"], why["why"][:44]) == (1, "1 of 1 requests of its symbol are used: it w")
        assert 0 < why["send_time_ns"] - time.time_ns() < 3600e9
        client.cancel("S5", "S2")
        assert client.final("S2").reason == Reason.CANCELED_IN_QUEUE


def test_what_was_promised_not_to_have_been_sent_is_tried_twice_more_and_then_given_up(running: Desk) -> None:
    with Client("retrier") as client:
        client.new("N", symbol="BUSY")
        ended = client.final("N")
        assert (ended.exec_type, ended.reason, ended.limit) == (ExecType.REJECTED, Reason.NOT_SENT, 2)
    assert len(of(running, "N")) == 3


def test_a_broken_call_leaves_the_order_in_doubt_until_the_operator_says_what_became_of_it(running: Desk) -> None:
    with Client("doubter") as client:
        client.new("D", symbol="TORN")
        doubt = client.told(lambda report: report.exec_type is ExecType.IN_DOUBT)
        assert not doubt.final
        wait_for(lambda: running.oms("why", "D")["state"] == "in doubt")
        assert "oms resolve" in running.oms("why", "D")["why"]
        assert running.oms("resolve", "D", "--not-sent") == {"client_order_id": "D", "resolved": "not sent"}
        assert client.final("D").ord_status is OrdStatus.REJECTED
    assert len(of(running, "D")) == 1


def test_a_fill_before_a_replace_counts_at_the_old_values_and_one_before_a_cancel_makes_that_too_late(
    running: Desk,
) -> None:
    with Client("racer") as client:
        client.new("P", symbol="RACE", quantity=10, price="5.02")
        client.final("P")
        client.modify("P1", "P", quantity=8, price="5")
        replaced = client.final("P1")
        fill = client.told(lambda report: report.exec_type is ExecType.TRADE)
        assert fill.sequence < replaced.sequence
        assert (fill.client_order_id, fill.ord_status) == ("P", OrdStatus.PENDING_REPLACE)
        assert [str(value) for value in (fill.quantity, fill.price, fill.cum_quantity, fill.leaves_quantity)] == [
            "10", "5.02", "3", "7"
        ]  # fmt: skip
        assert (replaced.exec_type, replaced.ord_status) == (ExecType.REPLACED, OrdStatus.PARTIALLY_FILLED)
        assert [str(value) for value in (replaced.quantity, replaced.leaves_quantity)] == ["8", "5"]
        client.cancel("P2", "P1")
        refused = client.final("P2")
        assert (refused.exec_type, refused.ord_status) == (ExecType.CANCEL_REJECT, OrdStatus.FILLED)
        assert [str(value) for value in (refused.cum_quantity, refused.avg_price)] == ["8", "5.01"]
        client.cancel("P3", "P1")
        late = client.final("P3")
        assert (late.exec_type, late.reason) == (ExecType.CANCEL_REJECT, Reason.ORDER_TERMINAL)
        client.cancel("P4", "nobody")
        assert client.final("P4").reason == Reason.UNKNOWN_ORDER
    assert of(running, "P3", "P4") == []


def test_a_lost_connection_is_made_again_and_what_was_in_the_call_is_in_doubt(running: Desk) -> None:
    with Client("cut") as client:
        client.new("T1", symbol="LINE")
        client.final("T1")
        before = len(running.calls)
        client.new("T2", symbol="CUT")
        assert client.told(lambda report: report.exec_type is ExecType.IN_DOUBT).client_order_id == "T2"
        running.place.wait_until_up()
        client.new("T3", symbol="LINE")
        client.final("T3")
        after = [call.what for call in running.calls[before:]]
        assert after[:4] == ["send", "close", "connect", "logon"]
        client.cancel("T4", "T1")
        assert client.final("T4").ord_status is OrdStatus.CANCELED
        running.oms("resolve", "T2", "--sent")
        assert client.final("T2").exec_type is ExecType.NEW
        client.upstream.cancel_all()
    assert len(of(running, "T2")) == 1


def test_why_answers_while_the_sender_hangs_and_says_that_it_was_not_asked(running: Desk) -> None:
    with Client("curious") as client:
        client.new("Y", symbol="WHY")
        client.final("Y")
        wait_for(lambda: running.oms("why", "Y").get("state") == "working")
        assert running.oms("why", "Y")["sender_asked"] is True
        sender = running.pid("sender")
        os.kill(sender, signal.SIGSTOP)
        try:
            found = running.oms("why", "Y")
        finally:
            os.kill(sender, signal.SIGCONT)
        assert (found["state"], found["sender_asked"]) == ("working", False)
        assert "the exchange has it, 10 of 10 are open" in found["why"]
        client.cancel("Y1", "Y")
        client.final("Y1")


def test_a_reload_takes_over_all_limits_or_none_and_says_what_is_wrong_where(running: Desk) -> None:
    file = running.folder / "oms.toml"
    before = file.read_text()
    with Client("reloader") as client:
        client.new("L1", symbol="SMALL", quantity=6)
        refused = client.final("L1")
        assert (refused.reason, str(refused.value), refused.reason_text) == (
            Reason.MAX_QUANTITY, "600000000", "quantity: above risk limit max_quantity (value 6, limit 5)"
        )  # fmt: skip
        file.write_text(before.replace('max_quantity = "5"', 'max_quantity = "8"\nsymbols.SMALL.max_notional = "-1"'))
        wrong = running.oms("reload")
        assert "risk.symbols.SMALL.max_notional" in wrong["error"]
        assert '"-1"' in wrong["error"]
        client.new("L2", symbol="SMALL", quantity=6)
        assert client.final("L2").reason == Reason.MAX_QUANTITY
        file.write_text(before.replace('max_quantity = "5"', 'max_quantity = "8"').replace("rate = 200", "rate = 199"))
        done = running.oms("reload")
        assert done["later"] == ["throttle.rate"]
        (changed,) = done["changed"]
        assert changed.startswith('risk.symbols: {"SMALL":{"max_quantity":"5",')
        assert '-> {"SMALL":{"max_quantity":"8",' in changed
        client.new("L3", symbol="SMALL", quantity=6)
        assert client.accepted("L3").exec_type is ExecType.PENDING_NEW
        client.cancel("L4", "L3")
        client.final("L4")
    file.write_text(before)
    running.oms("reload")
    journal = running.place.start("journal", "cat", "sender", "--json")
    text, _ = journal.communicate(timeout=60)
    assert text.count('"RELOAD"') == 2
    assert "by " in text.split('"RELOAD"')[1]


def test_an_upstream_that_leaves_has_its_orders_canceled_and_the_others_keep_theirs(running: Desk) -> None:
    with Client("stayer") as stayer:
        stayer.new("S", symbol="LEAVE")
        stayer.final("S")
        with Client("leaver") as leaver:
            leaver.new("G", symbol="LEAVE")
            leaver.final("G")
        wait_for(lambda: [call for call in running.sent if call.orig_client_order_id == "G"])
        assert not [call for call in running.sent if call.orig_client_order_id == "S"]
        with Client("leaver") as leaver:
            ended = leaver.told(lambda report: report.exec_type is ExecType.CANCELED)
            assert (ended.client_order_id, ended.ord_status) == ("G", OrdStatus.CANCELED)
            leaver.new("G2", symbol="LEAVE")  # back again: its new orders live
            leaver.final("G2")
            assert not [call for call in running.sent if call.orig_client_order_id == "G2"]
            leaver.cancel("G3", "G2")
            leaver.final("G3")
        stayer.cancel("S1", "S")
        stayer.final("S1")


def test_repeated_executions_stop_an_upstream_across_restarts_until_it_is_enabled_again(running: Desk) -> None:
    with Client("runaway") as client, Client("calm") as calm:
        for name in ("E1", "E2", "E3"):
            client.new(name, symbol="FILL")
            client.told(lambda r, name=name: r.exec_type is ExecType.TRADE and r.client_order_id == name)
        wait_for(lambda: running.status()["counters"]["sender"]["stopped_upstreams"] == 1)
        client.new("E4", symbol="FILL")
        assert client.final("E4").reason == Reason.REPEATED_EXECUTION
        for role in ("sender", "intake"):
            before = running.pid(role)
            os.kill(before, signal.SIGKILL)
            wait_for(lambda role=role, before=before: running.pid(role) not in (0, before))
            running.place.wait_until_up()
        client.new("E5", symbol="FILL")
        assert client.final("E5").reason == Reason.REPEATED_EXECUTION
        calm.new("E6", symbol="FILL")
        assert calm.final("E6").exec_type is not ExecType.REJECTED
        assert any("repeated executions" in alarm for alarm in running.status()["alarms"])
        stopped = {each["name"]: each["stopped"] for each in running.oms("upstream", "list")["upstreams"]}
        assert (stopped["runaway"], stopped["calm"]) == (True, False)
        assert running.oms("upstream", "enable", "runaway") == {"enabled": "runaway"}
        assert "is not stopped" in running.oms("upstream", "enable", "runaway")["error"]
        wait_for(lambda: not running.oms("upstream", "list")["upstreams"][0]["stopped"])
        client.new("E7", symbol="FILL")
        assert client.final("E7").exec_type is not ExecType.REJECTED


def test_a_kill_works_while_intake_is_stopped_and_cancels_only_what_it_names(running: Desk) -> None:
    with Client("killed") as client:
        client.new("K1", symbol="KILL", account="BAD")
        client.new("K2", symbol="KILL", account="GOOD")
        client.final("K1")
        client.final("K2")
        intake = running.pid("intake")
        os.kill(intake, signal.SIGSTOP)
        try:
            running.oms("kill", "--account", "BAD", "--cancel-working")
            wait_for(lambda: [call for call in running.sent if call.orig_client_order_id == "K1"])
        finally:
            os.kill(intake, signal.SIGCONT)
        ended = client.told(lambda report: report.ord_status is OrdStatus.CANCELED)
        assert ended.client_order_id == "K1"
        assert not [call for call in running.sent if call.orig_client_order_id == "K2"]
        client.new("K3", symbol="KILL", account="BAD")
        assert client.final("K3").reason == Reason.KILLED
        client.new("K4", symbol="KILL", account="GOOD")
        assert client.final("K4").exec_type is ExecType.NEW
        running.oms("resume", "--account", "BAD")
        client.upstream.cancel_all()


def test_two_kills_while_the_sender_is_stopped_cancel_what_both_name(running: Desk) -> None:
    with Client("both") as client:
        client.new("TWICE-1", symbol="KILL", account="ONE")
        client.new("TWICE-2", symbol="KILL", account="TWO")
        client.final("TWICE-1")
        client.final("TWICE-2")
        sender = running.pid("sender")
        os.kill(sender, signal.SIGSTOP)
        try:
            running.switch.kill(Kill(by="a test", account="ONE"), cancel_working=True)
            running.switch.kill(Kill(by="a test", account="TWO"), cancel_working=True)
        finally:
            os.kill(sender, signal.SIGCONT)
        for name in ("TWICE-1", "TWICE-2"):
            wait_for(lambda name=name: [call for call in running.sent if call.orig_client_order_id == name])
        running.oms("resume")


def test_after_a_kill_nothing_is_released_and_what_waited_goes_on_where_it_was(running: Desk) -> None:
    names = [f"F{n}" for n in range(600)]
    switch = running.switch
    with Client("flood") as client:
        for name in names:
            client.new(name, symbol="FLOOD")
        client.accepted(names[-1])  # what comes after the kill is refused
        wait_for(lambda: of(running, names[0]))
        switch.kill(Kill(by="a test", symbol="FLOOD"))
        killed_ns = time.time_ns()
        wait_for(lambda: running.status()["queue"]["depth"] > 0)
        waiting = running.status()["queue"]["depth"]
        wait_for(lambda: running.oms("why", names[-1])["blocked_by"])
        assert "the kill switch is on for symbol FLOOD" in running.oms("why", names[-1])["why"]
        assert running.status()["queue"]["depth"] == waiting
        resumed_ns = time.time_ns()
        late = [call for call in of(running, *names) if killed_ns + 50_000_000 < call.time_ns < resumed_ns]
        assert late == []
        switch.resume(symbol="FLOOD")
        client.final(names[-1])
        went = [call.client_order_id for call in of(running, *names)]
        assert went == names[: len(went)]
        client.upstream.cancel_all()
