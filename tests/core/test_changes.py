"""Stretches of modifies and cancels by frames and one by one: the same records, the same state."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oms_actors.core.batches import Batches
from oms_actors.core.changes import Changes
from oms_actors.core.pending import Order, SenderSettings, order_of
from oms_actors.core.reports import report
from oms_actors.core.risk import kill_flag
from oms_actors.core.sender import Sender
from oms_actors.core.throttle import Throttle, ThrottleLimit
from oms_actors.errors import Reason
from oms_actors.messages import CancelOrder, Kind, ModifyOrder, NewOrder, Outcome, Request, ResponseType
from oms_actors.record import encode

MS = 1_000_000
ONE = 10**8
SYMBOLS, SIDES, ACCOUNTS = ("X", "Y"), ("BUY", "SELL"), ("", "ACC")


class Both:
    """The same day in a core that takes frames and in one that takes requests; it lets out what it is told."""

    def __init__(self, **changes: Any) -> None:
        wanted = replace(SenderSettings(), **changes)
        self.cores = [kind(wanted, Throttle(ThrottleLimit(rate=10**6))) for kind in (Batches, Sender)]
        self.now, self.admitted = 10**12, 0
        self.orders: list[list[Any]] = []
        """Symbol, side, account and every name so far of each NEW."""

    def name(self) -> str:
        return f"N{self.admitted + 1}"

    def record(self, request: Request, refused: bool = False) -> bytes:
        """As intake journals it."""
        self.admitted += 1
        record = bytearray(encode(request))
        struct.pack_into("<QI", record, 8, self.admitted, 1 + self.admitted % 3)
        record[184:192] = (self.admitted if record[0] == Kind.NEW else 0).to_bytes(8, "little")
        if refused:
            record[28:30] = int(Reason.QUEUE_FULL).to_bytes(2, "little")
        return bytes(record)

    def news(self, dice: list[int]) -> bytes:
        parts = []
        for die in dice:
            symbol, side, account, name = SYMBOLS[die & 1], SIDES[die >> 1 & 1], ACCOUNTS[die >> 2 & 1], self.name()
            stop = {"order_type": "STOP_LIMIT", "stop_price": 3} if die % 11 == 0 else {}
            parts.append(self.record(NewOrder(client_order_id=name, symbol=symbol, side=side, account=account,
                                              quantity=1 + die % 5, price=1 + die % 7, **stop)))  # fmt: skip
            self.orders.append([symbol, side, account, [name]])
        return b"".join(parts)

    def changes(self, kind: Kind, dice: list[int]) -> bytes:
        """Of any orders, under any of their names; some of them odd."""
        return b"".join([self.change(kind, die) for die in dice])

    def change(self, kind: Kind, die: int) -> bytes:
        symbol, side, account, names = self.orders[die % len(self.orders)]
        odd, name = die >> 16, self.name()
        orig = names[odd % len(names)] if odd % 5 == 1 else names[-1]
        if odd % 17 == 1:
            orig = "nobody"
        if odd % 19 == 1:
            name = self.orders[odd % len(self.orders)][3][0]  # an id that is known already
        about: dict[str, Any] = {"symbol": symbol, "side": side} if odd % 3 else {}
        if odd % 13 == 1:
            about = {"symbol": SYMBOLS[odd & 1], "side": SIDES[odd >> 1 & 1]}
        if kind == Kind.CANCEL:
            return self.record(
                CancelOrder(client_order_id=name, orig_client_order_id=orig, account=account, **about), odd % 23 == 1
            )
        values: dict[str, Any] = {"quantity": 1 + odd % 9} if odd % 4 else {}
        if odd & 2 or not values:
            values["price"] = 1 + odd % 7
        if odd % 29 == 1:
            values["stop_price"] = 2
        refused = odd % 23 == 1
        if not refused:
            names.append(name)
        return self.record(
            ModifyOrder(client_order_id=name, orig_client_order_id=orig, account=account, **values, **about), refused
        )

    def cycle(self, frame: bytes, release: int = 0, answers: bytes = b"") -> bytes:
        """One cycle of each; they say the same and are the same."""
        self.now += MS
        said = []
        for core in self.cores:
            core.begin(self.now, self.now)
            core.take(frame)
            for at in range(0, len(answers), 256):
                core.respond(answers[at : at + 256])
            core.tick()
            core.release(release)
            said.append(core.taken())
            for sequence, item, _ in core.calls:
                if isinstance(core, Batches) and isinstance(item, list):
                    core.returned_all(self.now, self.now, sequence, item, Outcome.SENT)
                else:
                    core.returned(self.now, self.now, sequence, item, Outcome.SENT)
            core.calls.clear()
        assert said[0] == said[1]
        assert self.view(self.cores[0]) == self.view(self.cores[1])
        return said[0][0]

    @staticmethod
    def view(core: Sender) -> tuple[Any, ...]:
        """All that can be seen of it."""
        return (
            core.state(), core.counters, len(core.lane), [item.key for item in core.lane],
            [order.number for order in core._done], [(key, o.number, o.chain) for key, o in core.ids.items()],
        )  # fmt: skip

    def filled(self, number: int) -> bytes:
        """The exchange acknowledges and fills one of an order."""
        key = next((o.venue_key for o in self.cores[0].ids.values() if o.number == number), bytes(52))
        return report(key=key, exec_type=0, ord_status=0, response_type=ResponseType.ACK) + report(
            key=key, exec_type=0, ord_status=0, response_type=ResponseType.FILL, last_quantity=ONE, last_price=ONE,
            exec_id=b"e%d" % self.now,
        )  # fmt: skip


dice = st.lists(st.integers(0, 2**32 - 1), max_size=24)
stretch = st.tuples(st.sampled_from((Kind.NEW, Kind.MODIFY, Kind.CANCEL)), dice)
day = st.lists(st.tuples(st.lists(stretch, max_size=4), st.sampled_from((0, 0, 0, 3, 9)), st.booleans()), max_size=6)


@pytest.mark.parametrize("loses_place", [False, True])
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(first=st.lists(st.integers(0, 2**32 - 1), min_size=8, max_size=40), cycles=day)
def test_a_stretch_decides_as_its_changes_would_one_by_one(loses_place: bool, first: list[int], cycles: Any) -> None:
    both = Both(modify_loses_place=loses_place)
    both.cycle(both.news(first))
    for stretches, release, answers in cycles:
        frame = b"".join([
            both.news(dice) if kind == Kind.NEW else both.changes(kind, dice) for kind, dice in stretches
        ])  # fmt: skip
        both.cycle(frame, release, both.filled(1 + len(frame) % both.admitted) if answers else b"")


def _odd_order(**changed: Any) -> Any:
    """The tenth order is not as its request came."""

    def prepare(both: Both) -> None:
        for core in both.cores:
            order = next(order for order in core.ids.values() if order.number == 10)
            for name, value in changed.items():
                setattr(order, name, value)
            if "held" in changed:
                core.lane.removed()

    return prepare


def _nothing(both: Both) -> None:
    pass


@pytest.mark.parametrize("kind", [Kind.MODIFY, Kind.CANCEL])
@pytest.mark.parametrize(("prepare", "odd"), [
    (_odd_order(held=3), {}),
    (_odd_order(answered=True), {}),
    (_odd_order(cum=ONE, value=ONE * ONE), {}),
    (_odd_order(quantity=2 * ONE, cum=2 * ONE, value=ONE * ONE), {}),
    (_nothing, {"side": "BUY"}),
    (_nothing, {"symbol": "X"}),
    (_nothing, {"side": "SELL", "symbol": "Y"}),
    (_nothing, {"stop_price": 2}),
    (_nothing, {"orig_client_order_id": "nobody"}),
    (_nothing, {"orig_client_order_id": "N11"}),
])  # fmt: skip
def test_an_odd_one_is_decided_as_if_it_came_alone(kind: Kind, prepare: Any, odd: dict[str, Any]) -> None:
    both = Both()
    both.cycle(both.news([3] * 20))  # all of Y, sold
    prepare(both)
    records = [both.change(kind, die) for die in range(20)]
    asked = {"client_order_id": "odd", "orig_client_order_id": "N10"} | odd
    if kind == Kind.MODIFY:
        records[9] = both.record(ModifyOrder(**{"quantity": 1, **asked}))
    else:
        asked.pop("stop_price", None)
        records[9] = both.record(CancelOrder(**asked))
    both.cycle(b"".join(records))


def test_an_id_that_means_two_orders_in_turn_means_the_later_one_afterwards() -> None:
    """Of an order that waits, taken again by a modify (intake refuses that), and named by the next."""
    both = Both()
    both.cycle(both.news([1] * 20))
    records = [both.change(Kind.MODIFY, die) for die in range(10)]
    records[4] = both.record(ModifyOrder(client_order_id="N20", orig_client_order_id="N5", quantity=3))
    records[7] = both.record(ModifyOrder(client_order_id="again", orig_client_order_id="N20", quantity=4))
    both.cycle(b"".join(records))
    (order,) = {order.number: order for order in both.cores[0].ids.values() if order.number == 5}.values()
    assert (order.key[16:].rstrip(b"\0"), order.quantity) == (b"again", 4 * ONE)


def test_plain_changes_are_not_decided_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    both = Both()
    both.cycle(both.news([1] * 20))
    monkeypatch.setattr(both.cores[0], "_take_requests", lambda *_: pytest.fail("the long way"))
    assert len(both.cycle(both.changes(Kind.MODIFY, list(range(20))))) == 20 * 256
    assert len(both.cycle(both.changes(Kind.CANCEL, list(range(20))))) == 40 * 256


def test_what_is_odd_in_a_stretch_goes_the_long_way_in_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    both, taken = Both(), []
    both.cycle(both.news([1] * 20))
    one = Changes._one
    monkeypatch.setattr(Changes, "_one", lambda *args: (taken.append(args[2]), one(*args))[1])
    twice = [*range(10), 3, *range(11, 18), 5 << 16 | 3]
    both.cycle(both.changes(Kind.MODIFY, twice))
    assert taken == [10, 18]  # they name what a change before them has made


@pytest.mark.parametrize("kind", [Kind.MODIFY, Kind.CANCEL])
@pytest.mark.parametrize("odd", [(), (40,), (0, 1, 35, 99)])
def test_a_long_stretch_is_answered_in_order(kind: Kind, odd: tuple[int, ...]) -> None:
    """Longer than what is done in one call; of different sides, symbols and accounts; then all of them once more."""
    both = Both()
    both.cycle(both.news([die for die in range(101) if die % 11]))  # without stop orders
    records = [both.change(kind, 2 << 16 | die) for die in range(len(both.orders))]
    records += [both.change(kind, 9 << 16 | die) for die in range(len(both.orders)) if kind == Kind.MODIFY]
    for at in odd:
        asked: dict[str, Any] = {"client_order_id": f"odd{at}", "orig_client_order_id": f"N{at + 3}"}
        records[at % len(records)] = both.record(
            CancelOrder(**asked) if kind == Kind.CANCEL else ModifyOrder(**asked, quantity=9, price=8)
        )
    assert len(both.cycle(b"".join(records))) >= 256 * len(records)


def test_what_a_later_change_makes_of_an_order_is_not_told_before() -> None:
    """Of two changes of one order in one stretch, the second by its old name, which is not plain."""
    both = Both()
    both.cycle(both.news([1] * 20))
    asked: list[dict[str, Any]] = [{"orig_client_order_id": f"N{number}", "price": 4} for number in range(1, 20)]
    asked.append({"orig_client_order_id": "N1", "quantity": 9, "price": 5})
    said = both.cycle(b"".join([both.record(ModifyOrder(client_order_id=both.name(), **about)) for about in asked]))
    assert [int.from_bytes(said[at + 240 : at + 248], "little") for at in (0, 19 * 256)] == [4 * ONE, 5 * ONE]
    assert [int.from_bytes(said[at + 88 : at + 96], "little") for at in (0, 19 * 256)] == [2 * ONE, 9 * ONE]


def test_a_stretch_of_changes_of_orders_that_are_sent_is_not_looked_through(monkeypatch: pytest.MonkeyPatch) -> None:
    both = Both()
    both.cycle(both.news([1] * 20), release=20)
    monkeypatch.setattr(Changes, "_cancel_all", lambda *_: pytest.fail("looked through"))
    both.cycle(both.changes(Kind.CANCEL, list(range(20))))


def test_refusals_of_intake_in_a_row_are_no_requests() -> None:
    both = Both()
    refusals = report(key=bytes(52), exec_type=0, ord_status=0) * 20
    both.cycle(both.news([1] * 10) + refusals + both.changes(Kind.CANCEL, list(range(10))))
    assert both.cores[0].counters["received"] == 20


def test_canceled_orders_are_forgotten_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oms_actors.core.ledger.DONE_WINDOW", 10)
    both = Both()
    both.cycle(both.news([1] * 40))
    both.cycle(both.changes(Kind.CANCEL, list(range(30))))
    assert [len(core._done) for core in both.cores] == [10, 10]
    assert len(both.cores[0].ids) == 20


def test_modifies_that_come_after_the_kill_are_refused_alike() -> None:
    """Intake had let them in before it heard of it."""
    both = Both()
    both.cycle(both.news([1] * 20))
    for core in both.cores:
        core.set_kill([kill_flag()])
    said = both.cycle(both.changes(Kind.MODIFY, list(range(20))))
    assert {int.from_bytes(said[at + 28 : at + 30], "little") for at in range(0, len(said), 256)} == {Reason.KILLED}


def test_an_order_is_stored_to_as_any_object_with_slots() -> None:
    """Python's own way, for which the interpreter has a short cut; deleting goes with it."""
    order = order_of(encode(NewOrder(client_order_id="N", symbol="X", side="BUY", quantity=1, price=1)))
    assert (Order.__setattr__, Order.__delattr__) == (object.__setattr__, object.__delattr__)
    order.cum = ONE
    assert (order.cum, order.quantity) == (ONE, ONE)
    with pytest.raises(AttributeError):
        order.nothing = 1  # type: ignore[attr-defined]
