"""The sender's core: one rule each, told as a story."""

from __future__ import annotations

import pytest

from oms_actors.core.mass_action import Mass, MassAction, mass_action
from oms_actors.core.risk import kill_flag
from oms_actors.core.scopes import ScopeLimit
from oms_actors.core.throttle import ThrottleLimit
from oms_actors.errors import Field, Reason
from oms_actors.messages import INT64_MAX, ExecType, Kind, OrdStatus, Outcome, ReportFlag, Request, ResponseType
from oms_actors.record import AT_ORIG, key_of
from tests.core.sender_bench import MS, ONE, Bench, cancel, modify, new, rolled_to, said, sent_ids


def test_an_order_is_sent_acknowledged_and_filled() -> None:
    bench = Bench()
    bench.cycle(new())
    (ack,) = bench.cycle(heard=(said(ResponseType.ACK, "A"),))
    assert (ack.exec_type, ack.ord_status, ack.final) == (ExecType.NEW, OrdStatus.NEW, True)
    first, second = bench.cycle(
        heard=(said(ResponseType.FILL, "A", 4, 5, "e1"), said(ResponseType.FILL, "A", 6, 6, "e2"))
    )
    assert (first.ord_status, first.leaves_quantity) == (OrdStatus.PARTIALLY_FILLED, 6)
    assert (second.ord_status, second.cum_quantity, str(second.avg_price)) == (OrdStatus.FILLED, 10, "5.6")


def test_overflow_waits_and_goes_out_in_order_as_the_window_moves() -> None:
    bench = Bench(rate=2)
    bench.cycle(*(new(name) for name in "ABCDE"))
    assert sent_ids(bench) == ["A", "B"]
    bench.cycle(ms=500)
    assert sent_ids(bench) == ["A", "B"]
    bench.cycle(ms=600)
    bench.cycle(ms=1100)
    assert sent_ids(bench) == ["A", "B", "C", "D", "E"]


def test_a_waiting_order_is_modified_in_place_and_keeps_its_turn() -> None:
    bench = Bench(rate=1)
    bench.cycle(new("A"), new("B"), new("C"))
    (replaced,) = bench.cycle(modify("B2", "B", quantity=77))
    assert (replaced.exec_type, replaced.final, replaced.quantity) == (ExecType.REPLACED, True, 77)
    bench.cycle(modify("B3", "B2", price=9))
    for _ in range(2):
        bench.cycle(ms=1001)
    assert sent_ids(bench) == ["A", "B", "C"]
    assert int.from_bytes(bench.sent[1][48:56], "little") == 77 * ONE
    assert int.from_bytes(bench.sent[1][56:64], "little") == 9 * ONE


def test_a_modify_may_lose_its_place_if_so_configured() -> None:
    bench = Bench(rate=1, modify_loses_place=True)
    bench.cycle(new("A"), new("B"), new("C"))
    bench.cycle(modify("B2", "B", quantity=77))
    for _ in range(2):
        bench.cycle(ms=1001)
    assert sent_ids(bench) == ["A", "C", "B"]


def test_a_waiting_order_that_is_canceled_never_reaches_the_exchange() -> None:
    bench = Bench(rate=1)
    bench.cycle(new("A"), new("B"), new("C"))
    done, canceled = bench.cycle(modify("B2", "B", quantity=5), cancel("B3", "B2"))[1:]
    assert (done.client_order_id, done.ord_status, done.final) == ("B", OrdStatus.CANCELED, True)
    assert (canceled.client_order_id, canceled.exec_type, canceled.final) == ("B3", ExecType.CANCELED, True)
    bench.cycle(ms=1001)
    bench.cycle(ms=1001)
    assert sent_ids(bench) == ["A", "C"]
    assert bench.core.waiting == 0


def test_a_change_of_a_sent_order_is_forwarded_under_the_throttle() -> None:
    bench = Bench(rate=2)
    bench.cycle(new("A"))
    bench.cycle(modify("A2", "A", quantity=20), heard=(said(ResponseType.ACK, "A"),))
    bench.cycle(cancel("A3", "A2"))
    assert sent_ids(bench) == ["A", "A2"]
    bench.cycle(ms=1001, heard=(said(ResponseType.REPLACED, "A2", 20, 5),))
    assert sent_ids(bench) == ["A", "A2", "A3"]
    assert bench.sent[2][AT_ORIG : AT_ORIG + 2] == b"A2"
    (end,) = bench.cycle(heard=(said(ResponseType.CANCELED, "A3"),))
    assert (end.client_order_id, end.ord_status, end.final) == ("A3", OrdStatus.CANCELED, True)


def test_a_change_of_a_sent_order_is_refused_if_so_configured() -> None:
    bench = Bench(after_send_forward=False)
    bench.cycle(new("A"))
    (refused,) = bench.cycle(cancel("A2", "A"))
    assert (refused.exec_type, refused.final) == (ExecType.CANCEL_REJECT, True)
    assert sent_ids(bench) == ["A"]


def test_a_second_modify_waits_for_the_answer_to_the_first() -> None:
    bench = Bench()
    bench.cycle(new("A"))
    bench.cycle(heard=(said(ResponseType.ACK, "A"),))
    bench.cycle(modify("A2", "A", quantity=20), modify("A3", "A", quantity=30))
    assert sent_ids(bench) == ["A", "A2"]
    bench.cycle(heard=(said(ResponseType.CANCEL_REJECT, "A2"),))
    assert sent_ids(bench) == ["A", "A2", "A3"]
    assert bench.sent[2][AT_ORIG : AT_ORIG + 2] == b"A\0"  # the last accepted id


def test_a_modify_that_is_to_be_tried_again_is_not_overtaken_by_the_next_one() -> None:
    bench = Bench(retries=3, retry_delay_ns=100 * MS)
    bench.cycle(new("A"))
    bench.cycle(heard=(said(ResponseType.ACK, "A"),))
    bench.cycle(modify("A2", "A", quantity=20), outcome=Outcome.NOT_SENT)
    bench.cycle(modify("A3", "A", quantity=30))
    bench.cycle(ms=101)
    assert sent_ids(bench) == ["A", "A2", "A2"]
    bench.cycle(heard=(said(ResponseType.REPLACED, "A2", 20, 5),))
    assert sent_ids(bench) == ["A", "A2", "A2", "A3"]


def test_a_cancel_overtakes_and_ends_modifies_that_were_not_sent() -> None:
    bench = Bench()
    bench.cycle(new("A"))
    bench.cycle(heard=(said(ResponseType.ACK, "A"),))
    bench.cycle(modify("A2", "A", quantity=20), modify("A3", "A", quantity=30))
    (refused,) = bench.cycle(cancel("A4", "A"))
    assert (refused.client_order_id, refused.exec_type, refused.final) == ("A3", ExecType.CANCEL_REJECT, True)
    assert sent_ids(bench) == ["A", "A2", "A4"]


def test_what_was_certainly_not_sent_is_tried_again_later_and_then_given_up() -> None:
    bench = Bench(retries=2, retry_delay_ns=50 * MS)
    bench.cycle(new("A"), outcome=Outcome.NOT_SENT)
    bench.cycle(ms=10)
    assert len(bench.sent) == 1
    bench.cycle(ms=50, outcome=Outcome.NOT_SENT)
    bench.cycle(ms=50, outcome=Outcome.NOT_SENT)
    (failed,) = bench.cycle(ms=50)
    assert (failed.ord_status, failed.final, len(bench.sent)) == (OrdStatus.REJECTED, True, 3)


def test_any_other_failure_of_a_call_leaves_the_order_in_doubt_and_is_not_repeated() -> None:
    bench = Bench(ack_timeout_ns=0)
    bench.cycle(new("A"), outcome=Outcome.FAILED)
    (doubt,) = bench.cycle(ms=10_000)
    assert (doubt.ord_status, doubt.final) == (OrdStatus.IN_DOUBT, False)
    assert len(bench.sent) == 1
    (ack,) = bench.cycle(heard=(said(ResponseType.ACK, "A"),))
    assert (ack.ord_status, ack.final) == (OrdStatus.NEW, True)


def test_an_order_without_an_answer_is_in_doubt_after_the_timeout() -> None:
    bench = Bench(ack_timeout_ns=100 * MS)
    bench.cycle(new("A"))
    assert bench.cycle(ms=99) == []
    (doubt,) = bench.cycle(ms=2)
    assert doubt.ord_status is OrdStatus.IN_DOUBT
    assert bench.core.doubtful == 1


def test_a_doubtful_order_goes_out_again_only_where_the_exchange_deduplicates() -> None:
    for deduplicates in (False, True):
        bench = Bench(ack_timeout_ns=100 * MS, query_attempts=2, deduplicates=deduplicates)
        bench.cycle(new("A"))
        for _ in range(6):
            bench.core.queries(True)
            bench.cycle(ms=501, heard=(said(ResponseType.QUERY_NOT_FOUND, "A"),))
        resent = bench.sent[1:]
        assert len(resent) == (1 if deduplicates else 0)
        assert all(record[5] & 1 for record in resent)


@pytest.mark.parametrize("request_", [new("A"), modify("M", "O", quantity=20)])
def test_what_an_exchange_never_answers_goes_out_again_only_so_often_and_then_waits_for_an_operator(
    request_: Request,
) -> None:
    bench = Bench(ack_timeout_ns=100 * MS, query_settle_ns=0, query_attempts=0, deduplicates=True, resends=4, retries=0)
    bench.cycle(new("O"))
    bench.cycle(heard=[said(ResponseType.ACK, "O")])
    bench.cycle(request_)
    key = key_of("", request_.client_order_id)
    for _ in range(20):
        bench.cycle(ms=101)
        bench.core.queries(True)
    assert sent_ids(bench)[1:] == [request_.client_order_id] * 5
    assert [item.key for item in bench.core.given_up] == [key]
    assert bench.core.queries_due_ns() == 0
    bench.core.ask_again()  # another session: somebody is told again, the exchange is not
    restarted = bench.replayed()
    for core in (bench.core, restarted):
        core.begin(bench.now + MS, bench.wall)
        core.given_up.clear()
        assert core.queries(True) == []
        assert [item.key for item in core.given_up] == [key]
        assert core.release(10) == 0
        assert core.resolve(key, sent=False)
        assert core.doubtful == 0


def test_who_asks_when_to_come_back_is_told_of_what_goes_out_again_under_the_throttle() -> None:
    bench = Bench(rate=1, ack_timeout_ns=100 * MS, query_settle_ns=0, query_attempts=0, deduplicates=True)
    bench.cycle(new("A"))
    bench.cycle(ms=600)  # in doubt by now
    bench.core.queries(True)
    bench.cycle(ms=300)
    bench.core.queries(True)
    assert bench.core.release_due_ns() == 1_001 * MS + 1_000 * MS
    assert sent_ids(bench) == ["A"]
    bench.cycle(ms=101)
    assert sent_ids(bench) == ["A", "A"]
    assert bench.core.release_due_ns() == 0


def test_what_goes_out_again_keeps_to_the_limit_of_its_account() -> None:
    scopes = (ScopeLimit(Field.ACCOUNT, b"", ThrottleLimit(rate=1, per_ns=5_000 * MS)),)
    bench = Bench(scopes=scopes, ack_timeout_ns=100 * MS, query_settle_ns=0, query_attempts=0, deduplicates=True)
    bench.cycle(new("A"))
    for _ in range(3):
        bench.cycle(ms=500)
        bench.core.queries(True)
    assert sent_ids(bench) == ["A"]
    assert bench.core.release_due_ns() == 1_001 * MS + 5_000 * MS
    bench.cycle(ms=3_600)
    assert sent_ids(bench) == ["A", "A"]


def test_what_a_symbol_s_limit_reserves_for_cancels_is_there_for_them_though_orders_wait_at_it() -> None:
    per_symbol = ScopeLimit(Field.SYMBOL, b"", ThrottleLimit(rate=2, per_ns=10_000 * MS, reserve_cancels=1))
    bench = Bench(scopes=(per_symbol,), cancel_lane=True)
    bench.cycle(new("A"))
    bench.cycle(new("B"))  # stands aside
    bench.cycle(cancel("C", "A"))
    assert sent_ids(bench) == ["A", "C"]


def test_an_exchange_that_never_heard_of_an_order_is_not_asked_for_ever() -> None:
    bench = Bench(ack_timeout_ns=100 * MS, query_attempts=2)
    bench.cycle(new("A"))
    asked = 0
    for _ in range(6):
        asked += len(bench.core.queries(True))
        bench.cycle(ms=501, heard=(said(ResponseType.QUERY_NOT_FOUND, "A"),) if asked else ())
    assert (asked, bench.core.queries_due_ns()) == (2, 0)
    bench.core.ask_again()
    bench.cycle(ms=501)
    assert len(bench.core.queries(True)) == 1


def test_after_a_reboot_what_waits_for_an_instant_of_the_old_clock_does_not_wait_for_ever() -> None:
    bench = Bench(ack_timeout_ns=100 * MS, retry_delay_ns=50 * MS, query_settle_ns=20 * MS)
    bench.cycle(new("A"), outcome=Outcome.NOT_SENT)
    bench.cycle(new("B"))
    bench.cycle(ms=101, release=0)
    bench.cycle(release=0)
    core = bench.replayed()
    core.begin(5 * MS, bench.wall)
    core.recover(None, 5 * MS)
    core.begin(60 * MS, bench.wall)
    core.tick()
    assert core.queries(True) == [key_of("", "B")]
    core.begin(5_000 * MS, bench.wall)
    assert core.release(10) == 1


def test_a_long_row_of_decisions_can_be_taken_in_parts() -> None:
    bench = Bench(rate=1)
    bench.cycle(*(new(f"A{i}") for i in range(100)), release=0)
    parts: list[int] = []
    bench.core.relieve = lambda: parts.append(bench.core.taken()[1])
    bench.core.wish(MassAction(Mass.EXPIRE_WAITING, Reason.EXPIRED_AT_CLOSE))
    bench.core.go_on(1000)
    assert sum(parts) == 101
    assert max(parts) == 2


def test_a_fill_after_the_end_is_applied_and_marked() -> None:
    bench = Bench()
    bench.cycle(new("A"), new("B"))
    bench.cycle(cancel("A2", "A"))
    bench.cycle(heard=(said(ResponseType.CANCELED, "A2"),))
    (late,) = bench.cycle(heard=(said(ResponseType.FILL, "A", 3, 5, "e1"),))
    assert late.flags & ReportFlag.LATE
    assert (late.ord_status, late.cum_quantity) == (OrdStatus.CANCELED, 3)


def test_more_filled_than_ordered_is_filled_with_all_of_it_and_counted_for_people() -> None:
    bench = Bench()
    bench.cycle(new("A"), new("B"))
    (report,) = bench.cycle(heard=(said(ResponseType.FILL, "A", 15, 5, "e1"),))
    assert (report.ord_status, report.cum_quantity, report.leaves_quantity) == (OrdStatus.FILLED, 15, 0)
    assert bench.core.counters["overfilled"] == 1
    reports = bench.cycle(heard=[said(ResponseType.FILL, "B", 6, 5, exec_id) for exec_id in ("e2", "e3")])
    assert [(each.ord_status, each.cum_quantity) for each in reports] == [
        (OrdStatus.PARTIALLY_FILLED, 6), (OrdStatus.FILLED, 12),
    ]  # fmt: skip
    assert bench.core.counters["overfilled"] == 2
    assert bench.core.counters["late"] == 0


def test_executions_beyond_any_number_are_told_and_change_nothing() -> None:
    bench, most = Bench(), INT64_MAX // 10**8
    bench.cycle(new("A"))
    bench.cycle(heard=(said(ResponseType.FILL, "A", most, 5, "e1"),))
    (report,) = bench.cycle(heard=(said(ResponseType.FILL, "A", most, 5, "e2"),))
    assert report.exec_type == ExecType.ORDER_STATUS
    assert bench.core.counters["fills"] == 1
    assert bench.core.known(key_of("", "A")).cum == most * 10**8  # type: ignore[union-attr]


def test_the_same_execution_twice_changes_nothing() -> None:
    bench = Bench()
    bench.cycle(new("A"))
    fill = said(ResponseType.FILL, "A", 3, 5, "e1")
    bench.cycle(heard=(fill,))
    (again,) = bench.cycle(heard=(fill,))
    assert again.exec_type != ExecType.TRADE
    assert bench.core.counters["duplicate_fills"] == 1


def test_a_replace_to_what_is_already_filled_ends_the_order() -> None:
    bench = Bench()
    bench.cycle(new("A"))
    bench.cycle(modify("A2", "A", quantity=5), heard=(said(ResponseType.FILL, "A", 5, 5, "e1"),))
    (end,) = bench.cycle(heard=(said(ResponseType.REPLACED, "A2", 5, 5),))
    assert (end.ord_status, end.leaves_quantity) == (OrdStatus.FILLED, 0)


def test_an_unknown_response_is_kept_and_changes_nothing() -> None:
    bench = Bench()
    bench.cycle(new("A"))
    before = bench.core.state()
    (foreign,) = bench.cycle(heard=(said(ResponseType.FILL, "ghost", 3, 5, "e1"),))
    assert foreign.flags & ReportFlag.UNMATCHED
    assert bench.core.state() == before


def test_the_close_ends_what_waits_and_only_that() -> None:
    bench = Bench(rate=1)
    bench.cycle(new("A"), new("B"), new("C"))
    bench.core.wish(MassAction(Mass.EXPIRE_WAITING, Reason.EXPIRED_AT_CLOSE))
    ended = bench.cycle()
    assert [(r.client_order_id, r.ord_status, r.final) for r in ended] == [
        ("B", OrdStatus.EXPIRED, True),
        ("C", OrdStatus.EXPIRED, True),
    ]


@pytest.mark.parametrize(("cursor", "expected"), [(3, ["?", "B", "C"]), (2, ["?", "B", "C"]), (7, ["?", "?", "?"])])
def test_after_a_kill_at_most_the_call_in_progress_is_in_doubt(cursor: int, expected: list[str]) -> None:
    """INTENTs 1, 2, 3 without results; the cursor says how far the calls had come."""
    bench = Bench()
    bench.core.begin(bench.now, bench.wall)
    bench.core.take(b"".join([bench.request(new(name)) for name in "ABC"]))
    bench.core.release(10)
    payload, _ = bench.core.taken()
    bench.journal.append((payload, 3, bench.now, bench.wall))
    core = bench.core = bench.replayed()
    core.base = 4
    core.recover(cursor, None)
    core.release(10)
    again = [record[96:97].decode() for _, _, record in core.calls]
    assert again == [name for name in expected if name != "?"]
    assert core.doubtful == (1 if cursor == 2 else 0)


def test_a_possible_resend_of_a_change_that_was_answered_is_told_how_the_order_stands() -> None:
    bench = Bench()
    bench.cycle(new("A"))
    bench.cycle(heard=(said(ResponseType.ACK, "A"),))
    bench.cycle(cancel("C", "A"))
    bench.cycle(heard=(said(ResponseType.CANCELED, "C"),))
    again = bench.request(cancel("C", "A", possible_resend=True), 1, Reason.DUPLICATE_CLIENT_ORDER_ID)
    bench.core.take(again)
    (told,) = bench.cycle()
    assert (told.client_order_id, told.exec_type, told.ord_status) == ("C", ExecType.ORDER_STATUS, OrdStatus.CANCELED)
    assert (told.request, told.final) == (Kind.CANCEL, False)
    assert bench.replayed().state() == bench.core.state()


def test_a_possible_resend_of_what_is_known_no_more_is_told_that_it_is_done() -> None:
    bench = Bench()
    bench.cycle(new("A"))
    bench.cycle(heard=(said(ResponseType.REJECT, "A"),))
    bench.core.forget_done()
    (told,) = bench.cycle(again=["A"])
    assert (told.client_order_id, told.exec_type, told.ord_status) == ("A", ExecType.ORDER_STATUS, OrdStatus.NONE)
    assert (told.request, told.reason, told.final) == (Kind.NEW, Reason.ORDER_TERMINAL, False)


def test_a_possible_resend_of_what_still_waits_is_not_its_answer() -> None:
    bench = Bench(rate=1)
    bench.cycle(new("first"), new("A"))
    (told,) = bench.cycle(again=["A"])
    assert (told.ord_status, told.reason) == (OrdStatus.PENDING_NEW, Reason.THROTTLED)
    assert bench.replayed().state() == bench.core.state()
    (canceled, _) = bench.cycle(cancel("C", "A"))
    assert (canceled.client_order_id, canceled.final) == ("A", True)


def test_a_kill_holds_what_waits_and_a_resume_sends_it_in_its_old_order() -> None:
    bench = Bench()
    bench.core.set_kill([kill_flag()])
    bench.cycle(new("A"), new("B"))
    bench.cycle(new("C"))
    assert sent_ids(bench) == []
    bench.core.set_kill([])
    bench.cycle()
    assert sent_ids(bench) == ["A", "B", "C"]


def test_a_kill_of_a_symbol_lets_the_others_through() -> None:
    bench = Bench()
    bench.core.set_kill([kill_flag(symbol="X")])
    bench.cycle(new("A"), new("B", symbol="Y"))
    assert sent_ids(bench) == ["B"]


def test_mass_cancel_ends_what_waits_and_cancels_what_was_sent() -> None:
    bench = Bench(rate=2)
    bench.cycle(new("A"), new("B"), new("C"))
    bench.core.wish(MassAction(Mass.CANCEL, Reason.MASS_CANCEL))
    bench.cycle(ms=1001)
    own = [record for record in bench.sent if record[0] == Kind.INTENT_CANCEL]
    assert [record[132:133] for record in own] == [b"A", b"B"]
    assert [r.client_order_id for r in bench.reports if r.ord_status is OrdStatus.CANCELED] == ["C"]
    name = own[0][96:132].rstrip(b"\0").decode()
    told = bench.cycle(heard=(said(ResponseType.CANCELED, name),))
    assert ("A", True, Reason.MASS_CANCEL) in [(r.client_order_id, r.final, r.reason) for r in told]


def test_an_operator_settles_what_nobody_knows() -> None:
    for sent, status in ((True, OrdStatus.NEW), (False, OrdStatus.REJECTED)):
        bench = Bench(ack_timeout_ns=0)
        bench.cycle(new("A"), outcome=Outcome.FAILED)
        bench.cycle()
        assert bench.core.resolve(key_of("", "A"), sent)
        (answer,) = bench.cycle()
        assert (answer.ord_status, answer.final) == (status, True)
        assert not bench.core.resolve(key_of("", "A"), sent)


def test_a_doubt_that_outlives_its_session_ends_as_unknown() -> None:
    bench = Bench(ack_timeout_ns=0)
    bench.cycle(new("A"), outcome=Outcome.FAILED)
    bench.cycle()
    bench.core.wish(MassAction(Mass.GIVE_UP, Reason.OUTCOME_UNKNOWN))
    (answer,) = bench.cycle()
    assert (answer.ord_status, answer.final) == (OrdStatus.DONE_UNKNOWN, True)


def test_the_roll_expires_day_orders_carries_the_others_and_frees_the_ids_of_what_is_done() -> None:
    bench = Bench()
    bench.cycle(rolled_to(20260105))
    bench.cycle(new("D"), release=0)
    bench.cycle(cancel("C", "D"), release=0)
    bench.cycle(new("A"), new("G", time_in_force="GTC"))
    told = bench.cycle(rolled_to(20260106))
    assert [(r.client_order_id, r.exec_type) for r in told] == [("A", ExecType.EXPIRED), ("G", ExecType.RESTATED)]
    assert key_of("", "D") not in bench.core.ids
    assert key_of("", "G") in bench.core.ids
    assert bench.cycle(rolled_to(20260106)) == []


def test_a_cancel_of_our_own_does_not_wait_behind_one_that_waits_in_line() -> None:
    bench = Bench()
    bench.cycle(new("A"))
    bench.cycle(heard=[said(ResponseType.ACK, "A")])
    bench.cycle(cancel("C", "A"), release=0)  # waits: nothing but cancels of our own goes out any more
    bench.core.wish(mass_action(Mass.CANCEL_WORKING, Reason.CANCELED_AT_CLOSE))
    bench.cycle(release=0)
    bench.core.begin(bench.now, bench.wall)
    assert bench.core.release(10, cancels_only=True) == 1
    bench._flush_and_call(Outcome.SENT)
    assert sent_ids(bench)[1].startswith("OMS-")
    told = bench.cycle(heard=[said(ResponseType.CANCELED, sent_ids(bench)[1])])
    assert [(r.client_order_id, r.exec_type.name, r.final) for r in told if r.client_order_id == "C"] == [
        ("C", "CANCEL_REJECT", True)
    ]


def test_a_fill_of_an_order_that_the_roll_has_ended_counts() -> None:
    bench = Bench()
    bench.cycle(rolled_to(20260105))
    bench.cycle(new("A"))
    bench.cycle(rolled_to(20260106))
    (late,) = bench.cycle(heard=[said(ResponseType.FILL, "A", quantity=1, price=1, exec_id="x")])
    assert late.flags & ReportFlag.LATE
    assert late.cum_quantity == 1


def test_a_carried_change_without_an_answer_is_restated_under_its_own_id() -> None:
    bench = Bench()
    bench.cycle(rolled_to(20260105))
    bench.cycle(new("G", time_in_force="GTC"))
    bench.cycle(heard=[said(ResponseType.ACK, "G")])
    bench.cycle(modify("M", "G", price=3))
    told = bench.cycle(rolled_to(20260106))
    assert [(r.client_order_id, r.exec_type) for r in told] == [("G", ExecType.RESTATED), ("M", ExecType.RESTATED)]
    bench.cycle(heard=[said(ResponseType.REPLACED, "M", price=3)])
    assert [r.client_order_id for r in bench.cycle(rolled_to(20260107))] == ["M"]


def test_a_second_limit_of_the_desk_over_a_longer_window_holds_as_well_and_keeps_the_order() -> None:
    scopes = (ScopeLimit(Field.NONE, b"", ThrottleLimit(rate=3, per_ns=5_000 * MS)),)
    bench = Bench(rate=2, scopes=scopes)
    bench.cycle(*[new(name) for name in "ABCDE"])
    assert sent_ids(bench) == ["A", "B"]
    bench.cycle(ms=1_001)
    assert sent_ids(bench) == ["A", "B", "C"]
    standing = bench.core.standing(key_of("", "E"))
    assert standing is not None
    assert (standing.place, standing.reason) == (2, Reason.THROTTLED)
    assert bench.core.release_due_ns() == 1_001 * MS + 5_000 * MS
    assert bench.core.scopes.fullest(bench.now) == [(b"", 3, 1_001 * MS + 5_000 * MS)]
    bench.cycle(ms=5_000)
    assert sent_ids(bench) == ["A", "B", "C", "D", "E"]


def test_what_was_not_sent_waits_in_line_after_a_restart_from_a_snapshot() -> None:
    """Replayed, B leaves the line from behind A, which the kill switch holds; its dead entry is in no snapshot."""
    bench = Bench(retries=3, retry_delay_ns=100 * MS)
    bench.core.set_kill([kill_flag(symbol="X")])
    bench.cycle(new("A"), new("B", symbol="Y"), outcome=Outcome.NOT_SENT)
    bench.cycle(ms=1)
    core = bench.replayed(snapshot_after=1)
    core.begin(bench.now + 200 * MS, bench.wall)
    core.tick()
    core.set_kill([kill_flag(symbol="X")])
    core.release(10)
    assert [record[96:97] for _, _, record in core.calls] == [b"B"]


def test_those_that_were_not_sent_go_out_in_their_order_when_they_are_due_at_once() -> None:
    bench = Bench(retries=3, retry_delay_ns=100 * MS)
    bench.cycle(*(new(name) for name in "ABC"), outcome=Outcome.NOT_SENT)
    bench.cycle(new("D"), ms=200)
    assert sent_ids(bench) == ["A", "B", "C", "A", "B", "C", "D"]


def test_an_order_that_the_exchange_says_is_filled_is_filled_whole_though_it_does_not_say_how_much() -> None:
    bench = Bench(ack_timeout_ns=100 * MS)
    bench.cycle(new("A", quantity=10))
    bench.cycle(ms=101)
    word = said(ResponseType.QUERY_FOUND, "A")
    (told,) = bench.cycle(heard=[word[:4] + bytes((OrdStatus.FILLED,)) + word[5:]])
    assert (told.ord_status, told.cum_quantity, told.leaves_quantity) == (OrdStatus.FILLED, 10, 0)
    assert bench.replayed().state() == bench.core.state()


def test_a_resend_that_did_not_leave_is_still_in_doubt_after_a_restart_whatever_its_request_was_marked_as() -> None:
    bench = Bench(ack_timeout_ns=100 * MS, query_settle_ns=0, query_attempts=0, deduplicates=True)
    bench.cycle(new("A", possible_resend=True))
    bench.cycle(ms=101)
    bench.core.queries(False)
    bench.cycle(outcome=Outcome.NOT_SENT)
    bench.cycle(release=0)
    assert sent_ids(bench) == ["A", "A"]
    assert bench.core.doubtful == 1
    assert bench.replayed().state() == bench.core.state()
