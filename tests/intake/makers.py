"""Requests by the handful, valid and otherwise, for the tests of intake."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import strategies as st

from oms_actors.core.hours import ALWAYS, SessionState
from oms_actors.core.intake import Answer, Batch, Intake, Piece, Upstream
from oms_actors.messages import CancelOrder, ModifyOrder, NewOrder, Request
from oms_actors.record import REPORT_BYTES, encode

CLOSED = SessionState(0, 0, 0, 0, 777)


def new(number: int | str, **changes: object) -> NewOrder:
    """A plain LIMIT order A-<number>."""
    fields: dict[str, object] = {"symbol": "AAPL", "side": "BUY", "quantity": 100, "price": "585.33"}
    return NewOrder(client_order_id=f"A-{number}", **{**fields, **changes})  # type: ignore[arg-type]


def records(*requests: Request) -> bytes:
    """A frame as an upstream puts it."""
    return b"".join(map(encode, requests))


def core_with(upstreams: int = 2) -> Intake:
    """A core that knows upstreams 1, 2 …"""
    core = Intake()
    for number in range(1, upstreams + 1):
        core.upstreams[number] = Upstream(number, b"u%d" % number)
    return core


class OneByOne(Batch):
    """The same decisions without the way by columns, and without the short one for a plain order alone."""

    def _admit(self, pieces: list[Piece]) -> bool:
        return False

    def _admit_one(self, piece: Piece) -> bool:
        return False


def decide(
    core: Intake, sequence: int, pieces: list[Piece], session: SessionState = ALWAYS, kind: type[Batch] = Batch
) -> Batch:
    """One batch, not yet applied."""
    batch = kind(core, sequence, 11, 22, session)
    batch.take(pieces)
    return batch


def said(answers: Iterable[Answer]) -> dict[int, bytes]:
    """All reports to each upstream."""
    found: dict[int, bytes] = {}
    for upstream, _, reports in answers:
        found[upstream] = found.get(upstream, b"") + bytes(reports)
    return found


def report_records(data: bytes) -> list[bytes]:
    """Reports one by one."""
    return [data[at : at + REPORT_BYTES] for at in range(0, len(data), REPORT_BYTES)]


_ids = st.sampled_from([f"A-{n}" for n in range(8)])
_accounts = st.sampled_from(["", "", "acc"])
_resends = st.sampled_from([False, False, False, True])
_numbers = st.sampled_from(["1", "585.33", "0.00000001"])
_maybe = st.none() | _numbers

requests: st.SearchStrategy[Request] = st.one_of(
    st.builds(
        NewOrder, client_order_id=_ids, symbol=st.sampled_from(["AAPL", "X" * 16]),
        side=st.sampled_from(["BUY", "SELL"]),
        quantity=_numbers, price=_maybe, account=_accounts, possible_resend=_resends, stop_price=st.none() | _maybe,
        order_type=st.sampled_from(["LIMIT", "LIMIT", "LIMIT", "MARKET", "STOP", "STOP_LIMIT"]),
        time_in_force=st.sampled_from(["DAY", "GTC", "IOC", "FOK", "GTD"]), post_only=_resends,
        expire_time_ns=st.sampled_from([0, 0, 0, 5]),
    ),
    st.builds(new, number=st.integers(0, 7)),
    st.builds(
        ModifyOrder, client_order_id=_ids, orig_client_order_id=_ids, quantity=_maybe, price=_maybe,
        stop_price=st.none() | _maybe, account=_accounts, possible_resend=_resends,
        side=st.sampled_from([None, "BUY"]), symbol=st.sampled_from(["", "AAPL"]),
    ),
    st.builds(CancelOrder, client_order_id=_ids, orig_client_order_id=_ids, account=_accounts),
)  # fmt: skip


@st.composite
def scratched(draw: st.DrawFn) -> bytes:
    """A valid record of which some bytes were changed."""
    record = bytearray(encode(draw(requests)))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.sampled_from([0, 1, 2, 3, 4, 5, *range(48, 192)]))
        record[at] = draw(st.sampled_from([0, 1, 2, 3, 32, 65, 127, 128, 255]))
    return bytes(record)


mostly_plain = st.lists(st.builds(encode, requests) | scratched(), max_size=12).map(b"".join)
plain = st.lists(st.integers(0, 1000), max_size=60, unique=True).map(lambda ns: records(*map(new, ns)))
with_tail = st.tuples(mostly_plain, st.binary(max_size=200)).map(b"".join)
changed = st.lists(st.integers(0, 30), max_size=40).map(
    lambda ns: records(*(
        new(n) if i == ns.index(n) else ModifyOrder(client_order_id=f"M{i}", orig_client_order_id=f"A-{n}", price=i)
        for i, n in enumerate(ns)
    ))
)  # fmt: skip


@st.composite
def nearly_plain(draw: st.DrawFn) -> bytes:
    """A frame of plain requests of which one has one other byte."""
    frame = bytearray(draw((plain | changed).filter(bool)))
    record = draw(st.integers(0, len(frame) // 192 - 1))
    ends = [48, 55, 56, 63, 64, 72, 80, 81, 95, 96, 97, 131, 132, 167, 168, 183]  # of fields
    at = draw(st.sampled_from([*range(8), *ends]))
    frame[record * 192 + at] = draw(st.sampled_from([0, 1, 2, 3, 32, 65, 127, 255]))
    return bytes(frame)


frames = st.one_of(changed, nearly_plain(), mostly_plain, plain, with_tail, st.binary(max_size=400))
