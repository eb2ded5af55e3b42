"""What intake admits and what it refuses, rule by rule."""

from __future__ import annotations

import pytest

from oms_actors.core.answers import acceptances
from oms_actors.core.hours import ALWAYS, SessionState
from oms_actors.core.intake import Batch, Intake, IntakeRules, Piece, refusal
from oms_actors.core.requests import Fault, Plain
from oms_actors.errors import Field, Reason
from oms_actors.messages import (
    CancelOrder,
    ExecType,
    Kind,
    ModifyOrder,
    NewOrder,
    OrdStatus,
    Report,
    ReportFlag,
    Request,
)
from oms_actors.record import REQUEST, REQUEST_NAMES, decode_report, encode
from tests.intake.makers import CLOSED, OneByOne, core_with, decide, new, records, report_records, said


def answers(core: Intake, data: bytes, session: SessionState = ALWAYS, sequence: int = 1) -> list[Report]:
    """Decides, applies, and returns what upstream 1 hears."""
    batch = decide(core, sequence, [Piece(1, 16 * sequence, data)], session)
    core.apply(batch.payload(), sequence)
    return [decode_report(record) for record in report_records(said(batch.answers()).get(1, b""))]


def only(core: Intake, *requests: Request, session: SessionState = ALWAYS) -> list[tuple[str, Reason, Field]]:
    """(exec type, reason, field) of the answer to each request."""
    found = answers(core, records(*requests), session, sequence=1000)
    return [(report.exec_type.name, Reason(report.reason), Field(report.field)) for report in found]


def change(record: bytes, at: int, value: int | bytes) -> bytes:
    """The record with other bytes at `at`."""
    data = bytes([value]) if isinstance(value, int) else value
    return record[:at] + data + record[at + len(data) :]


def test_a_plain_order_alone_goes_the_short_way_and_gets_the_same_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    piece = Piece(1, 1 << 40, records(new(1)))
    long = decide(core_with(), 7, [piece], kind=OneByOne)
    monkeypatch.setattr(Batch, "_one_by_one", lambda self, piece: pytest.fail("the long way"))
    batch = decide(core_with(), 7, [piece])
    assert batch.payload() == long.payload()
    assert said(batch.answers()) == said(long.answers())


def test_a_plain_mixture_goes_by_columns() -> None:
    frame = records(
        new(1), new(2, side="SELL", time_in_force="GTC", post_only=True),
        ModifyOrder(client_order_id="M", orig_client_order_id="A-1", price="1"),
        ModifyOrder(client_order_id="N", orig_client_order_id="A-1", quantity="1", side="BUY", symbol="AAPL"),
        CancelOrder(client_order_id="C", orig_client_order_id="A-2"),
    )  # fmt: skip
    assert Plain(frame).ok
    assert not Plain(frame + encode(new(3, order_type="MARKET", price=None))).ok


def test_an_accepted_order_is_pending_new_and_repeats_what_was_asked() -> None:
    order = NewOrder(client_order_id="A-1", symbol="MSFT", side="SELL", quantity="1.5", price="27.11", account="acc")
    (report,) = answers(core_with(), encode(order), sequence=41)
    assert report == Report(
        exec_type=ExecType.PENDING_NEW, ord_status=OrdStatus.PENDING_NEW, client_order_id="A-1",
        orig_client_order_id="", order_id=report.order_id, symbol="MSFT", account="acc", side=report.side,
        request=Kind.NEW, final=False, quantity=report.quantity, price=report.price, last_quantity=report.last_quantity,
        last_price=report.last_price, cum_quantity=report.cum_quantity, leaves_quantity=report.quantity,
        avg_price=report.avg_price, exec_id="", reason=0, field=0, value=0, limit=0, time_ns=22, latency_ns=0,
        sequence=41, flags=ReportFlag(0),
    )  # fmt: skip
    assert (str(report.quantity), str(report.price), report.side) == ("1.5", "27.11", 2)
    assert report.order_id


def test_acceptances_are_the_same_alone_and_together() -> None:
    changes = [
        ModifyOrder(client_order_id="M", orig_client_order_id="A-1", quantity=5, account="a"),
        CancelOrder(client_order_id="C", orig_client_order_id="A-2", side="SELL"),
    ]
    batch = decide(core_with(), 5, [Piece(1, 16, records(new(1, account="a"), new(2), *changes))])
    payload = batch.payload()
    single = [payload[at : at + 192] for at in range(0, len(payload), 192)]
    assert batch.accepted == 4
    assert acceptances(payload[::192], payload, 9) == b"".join(acceptances(r[:1], r, 9) for r in single)


def test_modify_and_cancel_are_pending() -> None:
    core = core_with()
    found = answers(core, records(
        new(1), ModifyOrder(client_order_id="M", orig_client_order_id="A-1", quantity=5),
        CancelOrder(client_order_id="C", orig_client_order_id="M"),
    ))  # fmt: skip
    assert [(r.exec_type.name, r.ord_status.name, r.orig_client_order_id) for r in found] == [
        ("PENDING_NEW", "PENDING_NEW", ""),
        ("PENDING_REPLACE", "PENDING_REPLACE", "A-1"),
        ("PENDING_CANCEL", "PENDING_CANCEL", "M"),
    ]
    assert core.waiting == {1}


@pytest.mark.parametrize(
    ("at", "value", "reason", "field"),
    [
        (0, 9, Reason.UNKNOWN_ACTION, Field.ACTION),
        (0, 64, Reason.UNKNOWN_ACTION, Field.ACTION),
        (1, 2, Reason.VERSION_MISMATCH, Field.VERSION),
        (2, 0, Reason.BAD_ENUM, Field.SIDE),
        (2, 3, Reason.BAD_ENUM, Field.SIDE),
        (3, 0, Reason.BAD_ENUM, Field.ORDER_TYPE),
        (3, 5, Reason.BAD_ENUM, Field.ORDER_TYPE),
        (4, 2, Reason.BAD_ENUM, Field.TIME_IN_FORCE),
        (5, 4, Reason.BAD_ENUM, Field.FLAGS),
        (96, 0, Reason.MISSING, Field.CLIENT_ORDER_ID),
        (96, 32, Reason.BAD_ID, Field.CLIENT_ORDER_ID),
        (97, 0, Reason.BAD_ID, Field.CLIENT_ORDER_ID),
        (131, 65, Reason.BAD_ID, Field.CLIENT_ORDER_ID),
        (81, 65, Reason.BAD_ID, Field.ACCOUNT),
        (80, 200, Reason.BAD_ID, Field.ACCOUNT),
        (169, 10, Reason.BAD_ID, Field.SYMBOL),
        (140, 65, Reason.BAD_ID, Field.ORIG_CLIENT_ORDER_ID),
    ],
)
def test_what_does_not_decode_is_kept_aside_and_the_others_go_through(
    at: int, value: int, reason: Reason, field: Field
) -> None:
    core = core_with()
    bad = change(encode(new(2)), at, value)
    found = answers(core, encode(new(1)) + bad + encode(new(3)))
    assert [report.exec_type.name for report in found] == ["PENDING_NEW", "REJECTED", "PENDING_NEW"]
    assert (found[1].reason, found[1].field, found[1].final) == (reason, field, True)
    assert len(core.ids) == 2


@pytest.mark.parametrize(
    ("changes", "reason", "field"),
    [
        ({"price": None}, Reason.MISSING, Field.PRICE),
        ({"stop_price": 1}, Reason.NOT_ALLOWED, Field.STOP_PRICE),
        ({"order_type": "MARKET"}, Reason.NOT_ALLOWED, Field.PRICE),
        ({"order_type": "STOP", "stop_price": 1}, Reason.NOT_ALLOWED, Field.PRICE),
        ({"order_type": "STOP", "price": None}, Reason.MISSING, Field.STOP_PRICE),
        ({"order_type": "STOP_LIMIT"}, Reason.MISSING, Field.STOP_PRICE),
        ({"order_type": "MARKET", "price": None, "post_only": True}, Reason.NOT_ALLOWED, Field.FLAGS),
        ({"time_in_force": "GTD"}, Reason.MISSING, Field.EXPIRE_TIME),
        ({"expire_time_ns": 5}, Reason.NOT_ALLOWED, Field.EXPIRE_TIME),
    ],
)
def test_an_order_that_breaks_a_rule_is_refused(changes: dict[str, object], reason: Reason, field: Field) -> None:
    assert only(core_with(), new(1, **changes)) == [("REJECTED", reason, field)]


@pytest.mark.parametrize(
    "changes",
    [
        {"order_type": "MARKET", "price": None, "time_in_force": "IOC"},
        {"order_type": "STOP", "price": None, "stop_price": 1},
        {"order_type": "STOP_LIMIT", "stop_price": 1},
        {"time_in_force": "GTD", "expire_time_ns": 5},
        {"post_only": True},
    ],
)
def test_every_order_type_can_be_admitted(changes: dict[str, object]) -> None:
    assert only(core_with(), new(1, **changes)) == [("PENDING_NEW", Reason.NONE, Field.NONE)]


@pytest.mark.parametrize(
    ("at", "field", "reason"),
    [(48, Field.QUANTITY, Reason.NOT_POSITIVE), (56, Field.PRICE, Reason.NOT_POSITIVE)],
)
def test_negative_numbers_are_refused_with_their_value(at: int, field: Field, reason: Reason) -> None:
    bad = change(encode(new(1)), at, (-5).to_bytes(8, "little", signed=True))
    (report,) = answers(core_with(), bad)
    assert (report.reason, report.field, report.value) == (reason, field, -5)


def test_a_change_names_an_order_that_was_there_before_it() -> None:
    cancel = CancelOrder(client_order_id="C", orig_client_order_id="A-1")
    refused = ("CANCEL_REJECT", Reason.UNKNOWN_ORDER, Field.ORIG_CLIENT_ORDER_ID)
    assert only(core_with(), cancel, new(1)) == [refused, ("PENDING_NEW", Reason.NONE, Field.NONE)]
    of_itself = CancelOrder(client_order_id="C", orig_client_order_id="C")
    assert only(core_with(), of_itself) == [refused]
    other_account = CancelOrder(client_order_id="C", orig_client_order_id="A-1", account="x")
    assert only(core_with(), new(1), other_account)[1] == refused


def test_a_modify_that_changes_nothing_is_refused() -> None:
    nothing = ModifyOrder(client_order_id="M", orig_client_order_id="A-1")
    assert only(core_with(), new(1), nothing)[1] == ("CANCEL_REJECT", Reason.MISSING, Field.QUANTITY)


def test_an_id_is_used_once_per_account_and_a_refused_one_is_free_again() -> None:
    core = core_with()
    bad = new(1, price=None)
    duplicate = ("REJECTED", Reason.DUPLICATE_CLIENT_ORDER_ID, Field.CLIENT_ORDER_ID)
    accepted = ("PENDING_NEW", Reason.NONE, Field.NONE)
    assert only(core, bad) == [("REJECTED", Reason.MISSING, Field.PRICE)]
    assert only(core, new(1), new(1), new(1, account="x")) == [accepted, duplicate, accepted]
    assert only(core, new(1)) == [duplicate]


def test_a_possible_resend_is_no_request_and_the_sender_is_left_to_answer_it() -> None:
    core = core_with()
    answers(core, encode(new(1)))
    assert answers(core, encode(new(1, possible_resend=True)), sequence=2) == []
    assert core.waiting == {1}
    assert only(core, new(2, possible_resend=True)) == [("PENDING_NEW", Reason.NONE, Field.NONE)]


def test_outside_trading_hours_the_next_opening_is_told() -> None:
    (report,) = answers(core_with(), encode(new(1)), CLOSED)
    assert (report.reason, report.limit, report.final) == (Reason.OUT_OF_HOURS, 777, True)
    assert "next open 1970-01-01T00:00:00" in report.reason_text


def test_what_may_come_while_closed_is_for_the_configuration() -> None:
    core = core_with()
    core.rules = IntakeRules(refused_while_closed=frozenset((1,)))
    answers(core, encode(new(1)))
    cancel = CancelOrder(client_order_id="C", orig_client_order_id="A-1")
    assert [name for name, _, _ in only(core, new(2), cancel, session=CLOSED)] == ["REJECTED", "PENDING_CANCEL"]


def test_a_full_queue_refuses_orders_and_only_orders() -> None:
    core = core_with()
    core.rules = IntakeRules(capacity=2)
    found = only(core, new(1), new(2), new(3), CancelOrder(client_order_id="C", orig_client_order_id="A-1"))
    assert [name for name, _, _ in found] == ["PENDING_NEW", "PENDING_NEW", "REJECTED", "PENDING_CANCEL"]
    assert found[2][1:] == (Reason.QUEUE_FULL, Field.QUEUE)


def test_the_queue_counts_what_the_same_cycle_has_admitted() -> None:
    core = core_with()
    core.rules = IntakeRules(capacity=3)
    batch = decide(core, 1, [Piece(1, 16, records(new(1), new(2)) + b"?"), Piece(2, 16, records(new(3), new(4)))])
    assert (batch.accepted, batch.rejected, batch.malformed) == (3, 1, 1)


def test_an_order_without_symbol_is_refused() -> None:
    nameless = change(encode(new(2)), 168, bytes(16))
    found = answers(core_with(), encode(new(1)) + nameless)
    assert [(report.reason, report.field) for report in found] == [(0, 0), (Reason.MISSING, Field.SYMBOL)]


def test_halves_of_a_record_from_two_upstreams_make_no_request() -> None:
    record = encode(new(1))
    batch = decide(core_with(), 1, [Piece(1, 16, record[:100]), Piece(2, 16, record[100:])])
    assert (batch.accepted, batch.malformed) == (0, 2)


def test_a_refusal_for_want_of_a_journal_has_no_sequence() -> None:
    report = decode_report(refusal(encode(new(1)), Fault(Reason.DISK_FULL, Field.NONE), 0, 1, 22))
    assert (report.sequence, report.exec_type, report.final) == (0, ExecType.REJECTED, True)
    assert report.reason_text == "no disk space for the journal"


@pytest.mark.parametrize("kind", [Batch, OneByOne])
def test_what_is_ours_to_stamp_is_ours_whatever_the_upstream_wrote(kind: type[Batch]) -> None:
    ours = [*range(6, 32), *range(40, 48), *range(184, 192)]
    frame = bytearray(records(new(1), ModifyOrder(client_order_id="M", orig_client_order_id="A-1", price=1)))
    for at in ours:
        frame[at] = frame[192 + at] = 0xEE
    payload = decide(core_with(), 7, [Piece(2, 160, bytes(frame))], kind=kind).payload()
    for at, sequence, number in ((0, 7, 7), (192, 8, 0)):
        fields = dict(zip(REQUEST_NAMES, REQUEST.unpack_from(payload, at), strict=True))
        stamps = {"sequence": sequence, "upstream": 2, "epoch": 10, "receive_time_ns": 11, "order_number": number}
        assert {name: fields[name] for name in stamps} == stamps
        assert not any(fields[name] for name in ("partition", "session", "reason", "field"))


def test_a_batch_that_was_not_journalled_leaves_no_trace() -> None:
    core = core_with()
    decide(core, 1, [Piece(1, 16, encode(new(1)))])
    assert (core.ids, core.waiting, core.upstreams[1].place) == (set(), set(), 0)


def test_the_requests_of_many_upstreams_keep_their_order_and_their_senders() -> None:
    core = core_with(3)
    pieces: list[Piece] = [Piece(3, 32, records(new(1), new(2))), Piece(1, 48, records(new(3))), Piece(2, 64, b"short")]
    batch = decide(core, 1, pieces)
    core.apply(batch.payload(), 1)
    heard = {
        number: [(report.client_order_id, Reason(report.reason)) for report in map(decode_report, report_records(data))]
        for number, data in said(batch.answers()).items()
    }
    ok = Reason.NONE
    assert heard == {3: [("A-1", ok), ("A-2", ok)], 1: [("A-3", ok)], 2: [("", Reason.MALFORMED)]}
    assert {n: u.place for n, u in core.upstreams.items()} == {3: 32, 1: 48, 2: 64}


def test_places_go_on_beyond_what_the_record_can_hold() -> None:
    core = core_with()
    core.upstreams[1].place = (1 << 36) - 16
    answers(core, b"", sequence=1)
    batch = decide(core, 1, [Piece(1, (1 << 36) + 4096, encode(new(1)))])
    core.apply(batch.payload(), 1)
    assert core.upstreams[1].place == (1 << 36) + 4096
