"""Internal crossing against a plain list, whatever happens to the orders that wait."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from oms_actors.core import crossing
from oms_actors.core.risk import Limits, RiskLimits, kill_flag
from oms_actors.messages import Kind, OrdStatus
from oms_actors.record import MATCH, records, text
from tests.core.naive_crossing import NaiveCrossing, Waiting
from tests.core.sender_bench import MS, ONE, Bench, cancel, modify, new

FLAGS = {"X": kill_flag(symbol="X"), "Y": kill_flag(symbol="Y"), "ACC": kill_flag(account="ACC")}
UNLIMITED = 10**6


def limits(most: int) -> RiskLimits:
    return RiskLimits(Limits(max_quantity=(most or UNLIMITED) * ONE))


class Crossing(RuleBasedStateMachine):
    """The core, released in bites, and the list."""

    dice = st.integers(0, 10**6)
    quantities, prices = st.integers(1, 9), st.integers(2, 8)

    @initialize()
    def begin(self) -> None:
        self.sweep_min, crossing.SWEEP_MIN = crossing.SWEEP_MIN, 2
        self.bench = Bench(rate=10**6, limits=limits(0), ack_timeout_ns=0, crossing=True)
        self.naive = NaiveCrossing(now_ns=self.bench.wall)
        self.names = 0

    def teardown(self) -> None:
        crossing.SWEEP_MIN = self.sweep_min

    def fresh(self) -> str:
        self.names += 1
        return f"N{self.names}"

    def one(self, dice: int) -> Waiting:
        return self.naive.line[dice % len(self.naive.line)]

    @rule(symbol=st.sampled_from("XXXY"), account=st.sampled_from(["", "", "ACC"]), buys=st.booleans(),
          quantity=quantities, away=st.integers(-1, 3), lives_ms=st.sampled_from([0, 0, 0, 10]))  # fmt: skip
    def comes(self, symbol: str, account: str, buys: bool, quantity: int, away: int, lives_ms: int) -> None:
        self.naive.now_ns += MS
        price = 5 - away if buys else 5 + away  # mostly it meets nobody
        expires_ns = self.naive.now_ns + lives_ms * MS if lives_ms else 0
        order = Waiting(self.fresh(), symbol, account, buys, quantity, price, expires_ns)
        self.naive.line.append(order)
        self.naive.uncross(order)
        lives = {"time_in_force": "GTD", "expire_time_ns": expires_ns} if lives_ms else {}
        side = "BUY" if buys else "SELL"
        request = new(order.name, quantity, price, symbol=symbol, account=account, side=side, **lives)
        self.bench.cycle(request, release=0)

    @precondition(lambda self: self.naive.line)
    @rule(dice=dice, quantity=quantities, price=prices)
    def is_modified(self, dice: int, quantity: int, price: int) -> None:
        order, name = self.one(dice), self.fresh()
        request = modify(name, order.name, quantity=quantity, price=price, account=order.account)
        self.naive.now_ns += MS
        self.naive.modify(order, name, quantity, price)
        self.bench.cycle(request, release=0)

    @precondition(lambda self: self.naive.line)
    @rule(dice=dice)
    def is_canceled(self, dice: int) -> None:
        order = self.one(dice)
        self.naive.line.remove(order)
        self.naive.now_ns += MS
        self.bench.cycle(cancel(self.fresh(), order.name, account=order.account), release=0)

    @rule(names=st.sets(st.sampled_from(sorted(FLAGS)), max_size=2))
    def kill_switch(self, names: set[str]) -> None:
        self.naive.now_ns += MS
        self.naive.kill(names)
        self.bench.core.set_kill([FLAGS[name] for name in sorted(names)])
        self.bench.cycle(release=0)

    @rule(most=st.sampled_from([0, 4]))
    def limits_change(self, most: int) -> None:
        self.naive.now_ns += MS
        self.naive.most = most
        self.naive.uncross()
        self.bench.core.reload(limits(most), "other limits")
        self.bench.cycle(release=0)

    @rule(is_open=st.booleans())
    def session(self, is_open: bool) -> None:
        self.naive.now_ns += MS
        self.naive.is_open = self.bench.core.matching = is_open
        self.naive.uncross()
        self.bench.cycle(release=0)

    @rule(limit=st.integers(1, 3))
    def is_released(self, limit: int) -> None:
        self.naive.now_ns += MS
        self.naive.release(limit)
        self.bench.cycle(release=limit if self.naive.is_open else 0)

    @rule()
    def is_restarted(self) -> None:
        self.bench.cycle(release=0)  # what the last calls did is in the journal
        self.naive.now_ns += 2 * MS
        core, before = self.bench.replayed(), self.bench.core
        assert core.state() == before.state()
        core.begin(self.bench.now, self.bench.wall)
        core.reload(limits(self.naive.most), "as before")
        core.risk.set_kill(before.risk.kill_flags)
        core.recover(None, None)
        core.matching = self.naive.is_open
        self.bench.core = core
        for order in self.naive.line:
            order.aside = False
        self.bench.cycle(release=0)

    @invariant()
    def the_matches_are_the_same(self) -> None:
        found = []
        for payload, *_ in self.bench.journal:
            for record in records(payload):
                if record[0] == Kind.MATCH:
                    fields = MATCH.unpack(record)
                    found.append((text(fields[10][16:]), text(fields[11][16:]), fields[6] // ONE, fields[7] // ONE))
        assert found == self.naive.matches

    @invariant()
    def what_went_out_is_the_same(self) -> None:
        sent = [(text(record[96:132]), int.from_bytes(record[48:56], "little") // ONE) for record in self.bench.sent]
        first = {order.key: text(order.first[16:]) for order in self.bench.core.ids.values()}
        named = [name for name, _ in self.naive.sent]
        assert [quantity for _, quantity in sent] == [quantity for _, quantity in self.naive.sent]
        assert [name for name, _ in sent] == [
            next((was for key, was in first.items() if text(key[16:]) == name), name) for name in named
        ]

    @invariant()
    def who_waits_is_the_same(self) -> None:
        assert self.bench.core.waiting == len(self.naive.line)

    @invariant()
    def every_fill_is_told_to_both(self) -> None:
        told = [report for report in self.bench.reports if report.exec_id.startswith("X-")]
        assert len(told) == 2 * len(self.naive.matches)
        assert all(report.ord_status in (OrdStatus.FILLED, OrdStatus.PARTIALLY_FILLED) for report in told)


QUICK = settings(max_examples=120, stateful_step_count=40, deadline=None)
TestCrossing = Crossing.TestCase
TestCrossing.settings = QUICK
