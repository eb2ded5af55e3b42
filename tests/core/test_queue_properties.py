"""The waiting queue against a plain list, whatever happens to the orders in it."""

from __future__ import annotations

from typing import ClassVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from oms_actors.core.risk import kill_flag
from oms_actors.messages import Kind
from oms_actors.record import KEY_BYTES, key_of
from tests.core.naive_queue import Entry, NaiveQueue
from tests.core.sender_bench import ONE, Bench, cancel, modify, new

SYMBOLS = ("X", "Y", "Z")


class Queue(RuleBasedStateMachine):
    """The core under the throttle that lets everything out, released in bites; and the list."""

    loses_place: ClassVar[bool] = False
    dice = st.integers(0, 10**6)

    @initialize()
    def begin(self) -> None:
        self.bench = Bench(rate=10**6, ack_timeout_ns=0, modify_loses_place=self.loses_place)
        self.naive = NaiveQueue(self.loses_place)
        self.names = 0

    def fresh(self) -> str:
        self.names += 1
        return f"N{self.names}"

    def one_of(self, entries: list[Entry], dice: int) -> Entry:
        return entries[dice % len(entries)]

    @rule(symbol=st.sampled_from(SYMBOLS), quantity=st.integers(1, 9), price=st.integers(1, 9))
    def comes(self, symbol: str, quantity: int, price: int) -> None:
        name = self.fresh()
        self.naive.new(name, symbol, quantity, price)
        self.bench.cycle(new(name, quantity, price, symbol=symbol), release=0)

    @precondition(lambda self: self.naive.waiting())
    @rule(dice=dice, quantity=st.integers(1, 9), price=st.none() | st.integers(1, 9))
    def is_modified(self, dice: int, quantity: int, price: int | None) -> None:
        orig, name = self.one_of(self.naive.waiting(), dice).current, self.fresh()
        changed = self.naive.modify(name, orig, quantity, price or 0)
        (told,) = self.bench.cycle(modify(name, orig, quantity=quantity, price=price), release=0)
        assert (told.client_order_id, told.final) == (name, True)
        assert told.exec_type.name == ("REPLACED" if changed else "CANCEL_REJECT")

    @precondition(lambda self: self.naive.waiting())
    @rule(dice=dice)
    def is_canceled(self, dice: int) -> None:
        entry, name = self.one_of(self.naive.waiting(), dice), self.fresh()
        self.naive.cancel(name, entry.current)
        told = self.bench.cycle(cancel(name, entry.current), release=0)
        assert {(each.exec_type.name, each.final) for each in told if each.client_order_id == name} == {
            ("CANCELED", True)
        }

    @precondition(lambda self: self.naive.at_exchange)
    @rule(dice=dice)
    def is_canceled_after_it_was_sent(self, dice: int) -> None:
        orig, name = sorted(self.naive.at_exchange)[dice % len(self.naive.at_exchange)], self.fresh()
        self.naive.cancel(name, orig)
        self.bench.cycle(cancel(name, orig), release=0)

    @rule(limit=st.integers(1, 5))
    def is_released(self, limit: int) -> None:
        self.naive.release(limit)
        self.bench.cycle(release=limit)

    @rule(symbols=st.sets(st.sampled_from(SYMBOLS), max_size=2))
    def kill_switch(self, symbols: set[str]) -> None:
        self.naive.kill(symbols)
        self.bench.core.set_kill([kill_flag(symbol=symbol) for symbol in sorted(symbols)])

    @rule()
    def is_restarted(self) -> None:
        self.bench.cycle(release=0)  # what the last calls did is in the journal
        core = self.bench.replayed()
        assert core.state() == self.bench.core.state()
        core.risk.set_kill(self.bench.core.risk.kill_flags)
        self.bench.core = core
        self.naive.kill(self.naive.killed)

    @invariant()
    def what_went_out_is_the_same(self) -> None:
        assert [_sent(record) for record in self.bench.sent] == self.naive.sent

    @invariant()
    def who_waits_and_where_is_the_same(self) -> None:
        core = self.bench.core
        assert core.waiting == len(self.naive.line)
        for entry in self.naive.line:
            standing = core.standing(key_of("", entry.current))
            assert standing is not None
            assert standing.waits
            assert standing.place == self.naive.place(entry.current)


def _sent(record: bytes) -> tuple[str, object, int]:
    name = record[96:132].rstrip(b"\0").decode()
    if record[0] == Kind.INTENT_CANCEL:
        return name, record[80 + KEY_BYTES : 80 + KEY_BYTES + 36].rstrip(b"\0").decode(), 0
    return name, int.from_bytes(record[48:56], "little") // ONE, int.from_bytes(record[56:64], "little") // ONE


class LosingQueue(Queue):
    """A modify goes to the end of the line."""

    loses_place = True


QUICK = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestQueue = Queue.TestCase
TestQueue.settings = QUICK
TestLosingQueue = LosingQueue.TestCase
TestLosingQueue.settings = QUICK
