"""The matching engine behind the venue's core: reports, duplicates, trading states, and its state as bytes."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import pytest

from oms_actors import record
from oms_actors.core.book import SelfTrade
from oms_actors.core.controls import Verb, encode_command, encode_session
from oms_actors.core.engine import Engine
from oms_actors.core.execution import Rules
from oms_actors.core.fill import FillModel
from oms_actors.core.venue import OPERATOR, Venue
from oms_actors.edges.exchange import decode_response
from oms_actors.errors import ONE, Reason
from oms_actors.messages import (
    CancelOrder,
    ExchangeResponse,
    Kind,
    ModifyOrder,
    NewOrder,
    OrdStatus,
    Request,
    ResponseType,
    SessionEvent,
)

A, F, R, C = ResponseType.ACK, ResponseType.FILL, ResponseType.REJECT, ResponseType.CANCELED
CR, RE, EX, Q = ResponseType.CANCEL_REJECT, ResponseType.REPLACED, ResponseType.EXPIRED, ResponseType.QUERY_FOUND
SEC = 1_000_000_000


class Floor:
    """A venue with members; `now_s` is the time of the next request."""

    def __init__(self, model: Any = None, **rules: Any) -> None:
        self.engine = model or Engine(Rules(**rules))
        self.venue = Venue(self.engine)
        self.now_s = 1

    def join(self, *names: str) -> None:
        for name in names:
            self.venue.step(name, encode_session(SessionEvent.LOGGED_ON, name), self.now_s * SEC)
        self.heard()

    def heard(self) -> list[tuple[str, ExchangeResponse, int]]:
        """(member, response, reason) of everything said since the last look, member by member."""
        found = []
        for speaker in self.venue.speakers():
            for data in speaker.out:
                assert len(data) == 256
                found.append((speaker.name, decode_response(data), int.from_bytes(data[28:30], "little")))
            speaker.out.clear()
        return found

    def send(self, name: str, *requests: Request | bytes) -> list[tuple[str, ResponseType, str]]:
        frame = b"".join(r if isinstance(r, bytes) else intent(r) for r in requests)
        self.venue.step(name, frame, self.now_s * SEC)
        self.last = self.heard()
        return [(who, response.type, response.client_order_id) for who, response, _ in self.last]

    def operate(self, verb: Verb, symbol: str = "") -> list[tuple[str, ResponseType, str]]:
        self.venue.step(OPERATOR, encode_command(verb, "", symbol), self.now_s * SEC)
        self.last = self.heard()
        return [(who, response.type, response.client_order_id) for who, response, _ in self.last]

    def book(self, symbol: str = "X") -> Any:
        return self.engine.books[symbol.encode().ljust(16, b"\0")]


def intent(request: Request) -> bytes:
    data = bytearray(record.encode(request))
    data[0] += Kind.INTENT_NEW - Kind.NEW
    return bytes(data)


def order(name: str, side: str = "BUY", quantity: object = 10, price: object = 100, symbol: str = "X",
          **more: Any) -> NewOrder:  # fmt: skip
    return NewOrder(client_order_id=name, symbol=symbol, side=side, quantity=quantity, price=price, **more)


@pytest.fixture
def floor() -> Floor:
    floor = Floor(tick=ONE // 100, lot=ONE)
    floor.join("ann", "bob")
    return floor


def test_a_trade_is_told_to_both_sides_with_execution_ids_of_their_own(floor: Floor) -> None:
    assert floor.send("ann", order("a1", quantity=10)) == [("ann", A, "a1")]
    assert floor.send("bob", order("b1", "SELL", 4, 99)) == [("ann", F, "a1"), ("bob", A, "b1"), ("bob", F, "b1")]
    (_, maker, _), _, (_, taker, _) = floor.last
    assert (maker.quantity, maker.price, maker.cum_quantity, maker.exec_id) == (4, 100, 4, "1.2")
    assert (taker.quantity, taker.price, taker.cum_quantity, taker.exec_id) == (4, 100, 4, "1.1")
    assert (maker.ord_status, taker.ord_status) == (OrdStatus.PARTIALLY_FILLED, OrdStatus.FILLED)
    assert [(t.number, t.price, t.quantity, t.aggressor) for t in floor.engine.trades] == [(1, 100 * ONE, 4 * ONE, 2)]


def test_what_an_ioc_order_does_not_get_is_canceled(floor: Floor) -> None:
    floor.send("ann", order("a1", quantity=3))
    assert [x[1:] for x in floor.send("bob", order("b1", "SELL", 5, 100, time_in_force="IOC"))] == [
        (F, "a1"), (A, "b1"), (F, "b1"), (C, "b1"),
    ]  # fmt: skip
    assert floor.last[-1][2] == Reason.NO_LIQUIDITY


def test_a_replaced_order_goes_on_under_its_new_id_and_answers_to_all(floor: Floor) -> None:
    floor.send("ann", order("a1"))
    assert floor.send("ann", ModifyOrder(client_order_id="a2", orig_client_order_id="a1", price="101")) == [
        ("ann", RE, "a2")
    ]
    assert (floor.last[0][1].quantity, floor.last[0][1].price) == (10, 101)
    assert floor.send("bob", order("b1", "SELL", 1, 101))[0] == ("ann", F, "a2")
    assert floor.send("ann", CancelOrder(client_order_id="a3", orig_client_order_id="a1")) == [("ann", C, "a3")]
    assert floor.last[0][1].cum_quantity == 1


def test_a_replace_to_what_is_filled_ends_the_order(floor: Floor) -> None:
    floor.send("ann", order("a1"))
    floor.send("bob", order("b1", "SELL", 4))
    floor.send("ann", ModifyOrder(client_order_id="a2", orig_client_order_id="a1", quantity=4))
    assert (floor.last[0][1].type, floor.last[0][1].ord_status) == (RE, OrdStatus.FILLED)
    assert floor.send("ann", CancelOrder(client_order_id="a3", orig_client_order_id="a2")) == [("ann", CR, "a3")]
    assert floor.last[0][2] == Reason.TOO_LATE


def test_the_same_id_again_is_answered_with_the_state_and_changes_nothing(floor: Floor) -> None:
    floor.send("ann", order("a1"))
    floor.send("bob", order("b1", "SELL", 4))
    assert floor.send("ann", order("a1")) == [("ann", Q, "a1")]
    state = floor.last[0][1]
    assert (state.ord_status, state.cum_quantity) == (OrdStatus.PARTIALLY_FILLED, 4)
    floor.send("ann", order("a1", possible_resend=True))
    counts = floor.engine.counts
    assert (counts.duplicates, counts.resends, counts.new, counts.acks) == (1, 1, 4, 2)
    assert floor.book().depth(1) == [(100 * ONE, 6 * ONE, 1)]


def test_a_change_sent_again_gets_its_first_answer_again(floor: Floor) -> None:
    floor.send("ann", order("a1"))
    modify = ModifyOrder(client_order_id="a2", orig_client_order_id="a1", price="99")
    cancel = CancelOrder(client_order_id="a3", orig_client_order_id="a2")
    late = CancelOrder(client_order_id="a4", orig_client_order_id="a2")
    for request, answer in ((modify, RE), (cancel, C), (late, CR)):
        assert [x[1] for x in floor.send("ann", request)] == [answer]
    for request, answer in ((modify, RE), (cancel, C), (late, CR)):
        assert [x[1] for x in floor.send("ann", request)] == [answer]
    assert floor.engine.counts.canceled == 1


def test_a_query_tells_the_average_price(floor: Floor) -> None:
    floor.send("bob", order("b1", "SELL", 1, 100), order("b2", "SELL", 3, 102))
    floor.send("ann", order("a1", "BUY", 10, 105))
    floor.venue.step("ann", encode_command(Verb.QUERY, "", "a1"), SEC)
    speaker = next(iter(floor.venue.speakers()))
    assert int.from_bytes(speaker.out[0][80:88], "little") == Decimal("101.5") * ONE
    assert floor.heard()[0][1].cum_quantity == 4


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (order("o", symbol="NOPE"), Reason.UNKNOWN_SYMBOL),
        (order("o", price="100.001"), Reason.BAD_TICK),
        (order("o", quantity="1.5"), Reason.BAD_LOT),
        (order("o", price=None), Reason.NOT_POSITIVE),
        (order("o", price=None, order_type="STOP"), Reason.NOT_POSITIVE),
        (order("o", time_in_force="GTD"), Reason.MISSING),
        (order("o", post_only=True, time_in_force="IOC"), Reason.NOT_ALLOWED),
        (order("o", stop_price=1), Reason.NOT_ALLOWED),
        (intent(order("o"))[:2] + b"\x07" + intent(order("o"))[3:], Reason.BAD_ENUM),
        (intent(order("o"))[:3] + b"\x07" + intent(order("o"))[4:], Reason.BAD_ENUM),
        (intent(order("o"))[:4] + b"\x05" + intent(order("o"))[5:], Reason.BAD_ENUM),
        (intent(order("o"))[:48] + b"\xff" * 8 + intent(order("o"))[56:], Reason.NOT_POSITIVE),
    ],
)
def test_what_cannot_be_entered_is_rejected_by_name(bad: Any, reason: Reason) -> None:
    floor = Floor(symbols=("X",), tick=ONE // 100, lot=ONE)
    floor.join("ann")
    assert [x[1] for x in floor.send("ann", bad)] == [R]
    assert floor.last[0][2] == reason
    assert floor.send("ann", order("ok")) == [("ann", A, "ok")]


def test_a_change_that_names_another_symbol_is_refused(floor: Floor) -> None:
    floor.send("ann", order("a1"))
    elsewhere = CancelOrder(client_order_id="a2", orig_client_order_id="a1", symbol="Y")
    assert floor.send("ann", elsewhere) == [("ann", CR, "a2")]
    assert [x[1] for x in floor.send("bob", CancelOrder(client_order_id="b2", orig_client_order_id="a1"))] == [CR]
    assert floor.last[0][2] == Reason.UNKNOWN_ORDER


def test_good_till_date_orders_expire_without_any_request(floor: Floor) -> None:
    floor.send("ann", order("a1", time_in_force="GTD", expire_time_ns=5 * SEC))
    assert floor.engine.next_tick_ns() == 5 * SEC
    floor.venue.tick(5 * SEC - 1)
    assert floor.heard() == []
    floor.venue.tick(5 * SEC)
    assert [(x[1].type, x[1].client_order_id) for x in floor.heard()] == [(EX, "a1")]
    assert floor.engine.next_tick_ns() == 0


def test_halted_and_closed_markets_refuse_orders_but_let_them_be_canceled(floor: Floor) -> None:
    floor.send("ann", order("a1"))
    floor.operate(Verb.HALT, "X")
    floor.send("bob", order("b1", "SELL"), order("b2", symbol="Y"))
    assert [(x[1].client_order_id, x[2]) for x in floor.last] == [("b1", Reason.HALTED), ("b2", 0)]
    assert [x[1] for x in floor.send("ann", CancelOrder(client_order_id="a2", orig_client_order_id="a1"))] == [C]
    floor.operate(Verb.CLOSE)
    floor.send("bob", order("b3", symbol="Z"))
    assert floor.last[0][2] == Reason.MARKET_CLOSED
    floor.operate(Verb.RESUME)
    assert [x[1] for x in floor.send("bob", order("b4", "SELL"))] == [A]


def test_the_end_of_the_day_expires_day_orders_and_frees_their_ids(floor: Floor) -> None:
    floor.send("ann", order("a1"), order("a2", time_in_force="GTC"), order("a3", "SELL", 1, 100))
    assert floor.operate(Verb.END_DAY) == [("ann", EX, "a1")]
    assert floor.send("ann", order("a1"), order("a2")) == [("ann", A, "a1"), ("ann", Q, "a2")]


def test_mass_cancel_takes_a_members_orders_of_one_account_or_all(floor: Floor) -> None:
    floor.send("ann", order("a1"), order("a2", account="P"), order("a3", symbol="Y"))
    floor.send("bob", order("b1"))
    assert floor.send("ann", encode_command(Verb.MASS_CANCEL, "P")) == [("ann", C, "a2")]
    assert floor.send("ann", encode_command(Verb.MASS_CANCEL)) == [("ann", C, "a1"), ("ann", C, "a3")]
    assert floor.book().depth(1) == [(100 * ONE, 10 * ONE, 1)]


def test_self_trades_are_prevented_per_member() -> None:
    floor = Floor(Engine(Rules(), SelfTrade.CANCEL_OLDEST))
    floor.join("ann", "bob")
    floor.send("ann", order("a1"))
    assert floor.send("ann", order("a2", "SELL")) == [("ann", A, "a2"), ("ann", C, "a1")]
    assert floor.send("bob", order("b1")) == [("ann", F, "a2"), ("bob", A, "b1"), ("bob", F, "b1")]


def test_garbage_is_counted_and_stops_nothing(floor: Floor) -> None:
    assert floor.send("ann", b"\xff" * 256) == []
    assert floor.send("ann", intent(order("a1")) + b"\x21") == [("ann", A, "a1")]
    assert floor.engine.counts.malformed == 2


def random_requests(rng: random.Random, length: int) -> list[tuple[str, bytes]]:
    """(link, record) of two members in two symbols, all kinds, many ids used twice."""
    found: list[tuple[str, bytes]] = []
    for n in range(length):
        who, kind = rng.choice(("ann", "bob")), rng.random()
        name = str(n if rng.random() < 0.97 else rng.randrange(n + 1))
        earlier = str(rng.randrange(max(0, n - 60), n + 1))
        symbol, price = rng.choice("XY"), rng.randint(95, 105)
        request: Request
        if kind < 0.6:
            order_type = rng.choice(("LIMIT", "LIMIT", "LIMIT", "MARKET", "STOP", "STOP_LIMIT"))
            request = order(
                name, rng.choice(("BUY", "SELL")), rng.randint(1, 9), price, symbol, order_type=order_type,
                time_in_force=rng.choice(("DAY", "DAY", "GTC", "IOC", "FOK", "GTD")),
                stop_price=rng.randint(95, 105) if "STOP" in order_type else None,
                expire_time_ns=n * SEC + rng.randint(1, 50) * SEC,
            )  # fmt: skip
        elif kind < 0.8:
            request = ModifyOrder(
                client_order_id=name, orig_client_order_id=earlier, quantity=rng.choice((None, rng.randint(1, 12))),
                price=rng.choice((None, price)),
            )  # fmt: skip
        else:
            request = CancelOrder(client_order_id=name, orig_client_order_id=earlier)
        data = intent(request)
        if rng.random() < 0.05:
            verb = rng.choice((Verb.MASS_CANCEL, Verb.QUERY, Verb.QUERY, Verb.REFUSE, Verb.REFUSE))
            data = encode_command(verb, "", name if verb == Verb.REFUSE else earlier)
        elif found and rng.random() < 0.05:
            data = rng.choice([data for its, data in found[-50:] if its == who] or [data])  # the same once more
        found.append((who, data))
    return found


def reports(venue: Venue) -> list[bytes]:
    found = []
    for speaker in venue.speakers():
        found += speaker.out
        speaker.out.clear()
    return found


@pytest.mark.parametrize("model", ["match", "fill"])
@pytest.mark.parametrize("seed", range(8))
def test_a_state_that_went_through_bytes_goes_on_exactly_as_the_original(model: str, seed: int) -> None:
    def fresh() -> Venue:
        rules = Rules(tick=ONE)
        return Venue(Engine(rules, SelfTrade(seed % 3)) if model == "match" else FillModel(rules))

    rng = random.Random(seed)
    one = fresh()
    for name in ("ann", "bob"):
        one.step(name, encode_session(SessionEvent.LOGGED_ON, name), 1)
    two = one
    for n, (who, data) in enumerate(random_requests(rng, 600)):
        if rng.random() < 0.02:
            copy = fresh()
            copy.load(two.dump())
            assert copy.state_hash() == two.state_hash()
            two = copy
        one.step(who, data, n * SEC)
        expected = reports(one)
        if two is not one:
            two.step(who, data, n * SEC)
            assert reports(two) == expected
    assert one.state_hash() == two.state_hash()
    assert one.model.counts.fills > 50


def test_members_bought_as_much_as_they_sold_and_every_fill_is_told_once() -> None:
    floor = Floor(tick=ONE)
    floor.join("ann", "bob")
    exec_ids: list[str] = []
    bought = sold = Decimal(0)
    for n, (who, data) in enumerate(random_requests(random.Random(5), 2000)):
        floor.venue.step(who, data, n * SEC)
        for speaker in floor.venue.speakers():
            for report in speaker.out:
                response = decode_response(report)
                if response.type == F:
                    exec_ids.append(response.exec_id)
                    bought += Decimal(response.quantity) if report[2] == 1 else 0
                    sold += Decimal(response.quantity) if report[2] == 2 else 0
            speaker.out.clear()
    counts = floor.engine.counts
    assert bought == sold == Decimal(counts.volume) / ONE
    assert len(exec_ids) == len(set(exec_ids)) == counts.fills == 2 * counts.trades > 200
