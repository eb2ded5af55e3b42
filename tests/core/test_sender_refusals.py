"""What the sender's core refuses or holds back, and the reason that it gives, with value and limit."""

from __future__ import annotations

import pytest

from oms_actors.core.risk import Limits, RiskLimits
from oms_actors.core.scopes import ScopeLimit
from oms_actors.core.throttle import ThrottleLimit
from oms_actors.errors import Field, Reason
from oms_actors.messages import CxlRejReason, ExecType, ModifyOrder, OrdStatus, Outcome, Report, ResponseType
from oms_actors.record import key_of
from tests.core.sender_bench import MS, ONE, Bench, cancel, modify, new, said, sent_ids


def refused(report: Report) -> tuple[str, ExecType, Reason, Field]:
    assert report.final
    return report.client_order_id, report.exec_type, Reason(report.reason), Field(report.field)


def test_with_after_send_ignore_a_change_of_a_sent_order_is_refused_and_of_a_waiting_one_is_not() -> None:
    bench = Bench(after_send_forward=False)
    bench.cycle(new("A"))
    (told,) = bench.cycle(modify("M", "A", quantity=5))
    reason = (ExecType.CANCEL_REJECT, Reason.IGNORED_AFTER_SEND, Field.ORIG_CLIENT_ORDER_ID)
    assert refused(told) == ("M", *reason)
    (told,) = bench.cycle(cancel("C", "A"))
    assert refused(told) == ("C", *reason)
    assert sent_ids(bench) == ["A"]
    bench.cycle(new("B"), release=0)
    told = bench.cycle(cancel("D", "B"), release=0)[-1]
    assert (told.client_order_id, told.exec_type) == ("D", ExecType.CANCELED)


def test_an_order_that_waited_too_long_is_refused_at_release_with_its_age_and_the_limit() -> None:
    bench = Bench(max_queue_age_ns=50 * MS)
    bench.cycle(new("A"), new("B"), release=1)
    (told,) = bench.cycle(ms=60)
    assert refused(told) == ("B", ExecType.REJECTED, Reason.QUEUE_AGE, Field.AGE)
    assert (told.value, told.limit) == (60 * MS, 50 * MS)
    assert sent_ids(bench) == ["A"]


def test_who_asks_is_told_when_an_order_that_waits_will_be_too_old() -> None:
    bench = Bench(rate=1, max_queue_age_ns=50 * MS)
    bench.cycle(new("A"), new("B"))
    bench.cycle(ms=20)
    standing = bench.core.standing(key_of("", "B"))
    assert standing is not None
    assert 0 < standing.ends_in_ns <= 30 * MS + 1 < standing.free_in_ns


def test_who_asks_when_to_come_back_is_told_when_the_first_in_line_has_waited_too_long_or_expires() -> None:
    bench = Bench(rate=1, max_queue_age_ns=50 * MS)
    bench.cycle(new("A"), new("B"))
    assert bench.core.release_due_ns() == bench.now + 50 * MS + 1
    (told,) = bench.cycle(ms=51)
    assert refused(told) == ("B", ExecType.REJECTED, Reason.QUEUE_AGE, Field.AGE)
    bench.cycle(new("C", time_in_force="GTD", expire_time_ns=bench.wall + 20 * MS))
    assert bench.core.release_due_ns() == bench.now + 19 * MS
    (told,) = bench.cycle(ms=19)
    assert refused(told)[:3] == ("C", ExecType.EXPIRED, Reason.ORDER_EXPIRED)


def test_a_change_of_an_order_that_is_done_is_refused() -> None:
    bench = Bench()
    bench.cycle(new("A"))
    bench.cycle(heard=[said(ResponseType.ACK, "A"), said(ResponseType.FILL, "A", 10, 5, "e1")])
    (told,) = bench.cycle(cancel("C", "A"))
    assert refused(told) == ("C", ExecType.CANCEL_REJECT, Reason.ORDER_TERMINAL, Field.ORIG_CLIENT_ORDER_ID)


@pytest.mark.parametrize(("wrong", "field"), [({"side": "SELL"}, Field.SIDE), ({"symbol": "Y"}, Field.SYMBOL)])
def test_a_change_that_names_another_side_or_symbol_is_refused(wrong: dict[str, str], field: Field) -> None:
    bench = Bench()
    change = ModifyOrder(client_order_id="M", orig_client_order_id="A", quantity=5, **wrong)  # type: ignore[arg-type]
    bench.cycle(new("A"), release=0)
    (told,) = bench.cycle(change, release=0)
    assert refused(told) == ("M", ExecType.CANCEL_REJECT, Reason.FIELD_MISMATCH, field)


def test_a_modify_waits_while_its_order_is_in_doubt_and_a_cancel_does_not() -> None:
    bench = Bench()
    bench.cycle(new("A"), outcome=Outcome.FAILED)
    bench.cycle(modify("M", "A", quantity=5))
    bench.cycle()
    assert sent_ids(bench) == ["A"]
    standing = bench.core.standing(key_of("", "M"))
    assert standing is not None
    assert (standing.waits, standing.reason, standing.place) == (True, Reason.ORDER_IN_DOUBT, 0)
    order = bench.core.standing(key_of("", "A"))
    assert order is not None
    assert (order.waits, order.reason) == (False, Reason.IN_DOUBT)
    told = bench.cycle(cancel("C", "A"))
    assert [refused(each)[:3] for each in told if each.final] == [("M", ExecType.CANCEL_REJECT, Reason.SUPERSEDED)]
    assert sent_ids(bench) == ["A", "C"]


def test_without_a_session_everything_waits_for_it() -> None:
    bench = Bench()
    bench.cycle(new("A"), release=0)
    for blocked in (Reason.NOT_LOGGED_ON, Reason.OUT_OF_HOURS):
        bench.core.blocked = blocked
        (told,) = bench.cycle(again=["A"], release=0)
        assert (told.exec_type, told.ord_status, told.reason) == (
            ExecType.ORDER_STATUS, OrdStatus.PENDING_NEW, blocked
        )  # fmt: skip


def test_who_asks_is_told_the_limit_that_is_slowest_for_an_order_and_its_place_there() -> None:
    per_symbol = ScopeLimit(Field.SYMBOL, b"", ThrottleLimit(rate=2, per_ns=5_000 * MS))
    per_day = ScopeLimit(Field.NONE, b"", ThrottleLimit(rate=6, per_ns=9_000 * MS))
    bench = Bench(rate=4, scopes=(per_symbol, per_day))
    bench.cycle(*(new(name) for name in "ABCD"), *(new(name, symbol="Y") for name in "EFG"))
    found = bench.core.standing(key_of("", "D"))
    assert found is not None
    assert (found.place, found.aside, found.reason) == (2, True, Reason.THROTTLED)
    assert (found.limit, found.used, found.free, found.free_in_ns) == (1, 2, 0, 5_000 * MS)
    bench.cycle(new("H", symbol="Z"), new("I", symbol="Z"))
    bench.cycle(new("J", symbol="W"), ms=2_000)
    bench.cycle(new("K", symbol="W"))
    found = bench.core.standing(key_of("", "K"))
    assert found is not None
    assert (found.limit, found.used, found.free, found.aside) == (2, 6, 0, False)


def test_a_refused_change_says_why_in_fix_s_words_too() -> None:
    bench = Bench(limits=RiskLimits(Limits(max_quantity=50 * ONE)))
    bench.cycle(new("A"))
    bench.cycle(heard=[said(ResponseType.ACK, "A")])
    told = bench.cycle(modify("M1", "A", quantity=60))
    told += bench.cycle(modify("M2", "A", quantity=20), modify("M3", "A", quantity=21))
    told += bench.cycle(cancel("C1", "A"))
    told += bench.cycle(heard=[said(ResponseType.CANCEL_REJECT, "M2"), said(ResponseType.CANCELED, "C1")])
    told += bench.cycle(cancel("C2", "A"), cancel("C3", "nobody"))
    assert {each.client_order_id: each.cxl_rej_reason for each in told if each.final} == {
        "M1": CxlRejReason.BROKER_OPTION, "M2": CxlRejReason.BROKER_OPTION, "M3": CxlRejReason.ALREADY_PENDING,
        "C1": None, "C2": CxlRejReason.TOO_LATE_TO_CANCEL, "C3": CxlRejReason.UNKNOWN_ORDER,
    }  # fmt: skip


def test_what_the_operator_settles_says_so() -> None:
    bench = Bench()
    bench.cycle(new("A"), new("B"), outcome=Outcome.FAILED)
    assert bench.core.resolve(key_of("", "A"), sent=True)
    assert bench.core.resolve(key_of("", "B"), sent=False)
    told = bench.cycle(release=0)
    assert [(each.client_order_id, each.exec_type, each.reason) for each in told if each.final] == [
        ("A", ExecType.NEW, Reason.RESOLVED_BY_OPERATOR), ("B", ExecType.REJECTED, Reason.RESOLVED_BY_OPERATOR),
    ]  # fmt: skip
    assert not bench.core.resolve(key_of("", "A"), sent=True)
