"""The sender's core against an exchange that says whatever it likes, and against its own journal."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oms_actors.core import lane
from oms_actors.core.mass_action import Mass, MassAction
from oms_actors.core.pending import NEW, SenderSettings
from oms_actors.core.risk import Limits, Risk, RiskLimits, kill_flag
from oms_actors.core.scopes import ScopeLimit
from oms_actors.core.sender import Sender
from oms_actors.core.throttle import Throttle, ThrottleLimit
from oms_actors.errors import Field, Reason
from oms_actors.messages import Outcome, ReportFlag, Request, ResponseType
from oms_actors.record import KEY, key_of
from tests.core.sender_bench import MS, ONE, Bench, cancel, modify, new, rolled_to, said

ANSWERS = [kind for kind in ResponseType if kind > ResponseType.DISCONNECTED]
RISK = RiskLimits(Limits(max_quantity=18 * ONE, max_open_orders=30), repeated_fills=4, repeated_fills_ns=20 * MS)
PER_SYMBOL = (ScopeLimit(Field.SYMBOL, b"", ThrottleLimit(rate=1, per_ns=30 * MS)),)
OUTCOMES = [Outcome.SENT] * 6 + [Outcome.NOT_SENT, Outcome.FAILED]


@pytest.fixture(autouse=True)
def _sweep_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane, "SWEEP_MIN", 2)


class Chaos:
    """Random requests, random answers to random ids, random people; seeded."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        pick = self.random
        self.bench = Bench(
            rate=pick.choice([1, 3, 50]), limits=pick.choice([RiskLimits(), RISK]),
            scopes=pick.choice([(), PER_SYMBOL]), modify_loses_place=pick.random() < 0.3,
            deduplicates=pick.random() < 0.5, after_send_forward=pick.random() < 0.8,
            ack_timeout_ns=pick.choice([0, 300 * MS]), retries=1, cancel_lane=pick.random() < 0.3,
            retry_delay_ns=20 * MS, query_settle_ns=0, query_interval_ns=10 * MS,
            max_queue_age_ns=pick.choice([0, 700 * MS]), crossing=pick.random() < 0.4,
            counted=pick.choice([SenderSettings().counted, frozenset((NEW,))]),
        )  # fmt: skip
        self.account = pick.choice(["", "acc"])
        self.names: list[str] = []
        self.execs = 0

    def run(self, cycles: int) -> Bench:
        pick, bench = self.random, self.bench
        for _ in range(cycles):
            requests = [self.request() for _ in range(pick.choice([0, 0, 1, 3]))]
            if pick.random() < 0.02:
                requests = [rolled_to(20260101 + len(bench.journal))]
            again = [pick.choice(self.names)] if self.names and pick.random() < 0.1 else []
            heard = [self.answer() for _ in range(pick.choice([0, 1, 1, 4])) if self.names]
            self.meddle()
            ms, most = pick.choice([1, 10, 400]), pick.choice([1, 9])
            bench.cycle(*requests, heard=heard, outcome=pick.choice(OUTCOMES), ms=ms, release=most, again=again)
        bench.core.set_kill([])
        bench.cycle(release=0)
        return bench

    def meddle(self) -> None:
        """What operators and the clock may do."""
        pick, core = self.random, self.bench.core
        if pick.random() < 0.05:
            core.wish(MassAction(pick.choice(list(Mass)[:-1]), Reason.MASS_CANCEL, symbol=pick.choice([b"", Y])))
        if pick.random() < 0.03:
            core.connection_lost()
        if self.names and pick.random() < 0.1:
            core.resolve(key_of(self.account, pick.choice(self.names)), pick.random() < 0.5)
        if pick.random() < 0.05:
            core.set_kill([kill_flag()] if pick.random() < 0.3 else [])
        if pick.random() < 0.2:
            core.re_enable(1)
        core.queries(pick.random() < 0.5)

    def request(self) -> Request | bytes:
        pick = self.random
        name = f"R{len(self.names)}"
        orig = pick.choice(self.names) if self.names else "none"
        self.names.append(name)
        kind = pick.choice(["new", "new", "modify", "cancel"])
        found: Request
        if kind == "new":
            found = new(name, pick.randint(1, 20), pick.randint(1, 9), side=pick.choice(["BUY", "SELL"]),
                        symbol=pick.choice("XY"), time_in_force=pick.choice(["DAY", "GTC"]), account=self.account)
        elif kind == "modify":
            found = modify(name, orig, quantity=pick.randint(1, 30), price=pick.choice([None, 5]), account=self.account)
        else:
            found = cancel(name, orig, account=self.account)
        return found

    def answer(self) -> bytes:
        pick = self.random
        self.execs += 1
        exec_id, name = f"e{pick.randint(1, self.execs)}", pick.choice(self.names[-8:])
        account = pick.choice(["", self.account])
        record = said(pick.choice(ANSWERS), name, pick.randint(0, 9), pick.randint(1, 9), exec_id, account)
        return record[:5] + bytes((pick.choice([0, int(ReportFlag.HAS_TEXT)]),)) + record[6:]


Y = b"Y".ljust(16, b"\0")


OWN = ("received", "sent", "rejected", "doubts", "canceled_in_queue", "modified_in_queue", "crossed")
"""Counters of what the desk did. (What an answer counts as when it comes after the end of an order may depend on when
its id was forgotten.)"""


@given(st.integers(0, 2**32), st.integers(1, 60))
@settings(max_examples=300, deadline=None)
def test_the_journal_replays_to_the_same_state_and_nobody_is_answered_twice(seed: int, cycles: int) -> None:
    bench = Chaos(seed).run(cycles)
    replayed = bench.replayed()
    assert replayed.state() == bench.core.state()
    assert [replayed.counters[name] for name in OWN] == [bench.core.counters[name] for name in OWN]
    assert bench.replayed(another_day()).state() == bench.core.state()
    assert bench.replayed(snapshot_after=seed % len(bench.journal)).state() == bench.core.state()
    finals = Counter(r.client_order_id for r in bench.reports if r.final)
    assert not [name for name, times in finals.items() if times > 1]
    open_ids = {o.first[16:] for o in bench.core.ids.values() if not o.answered}
    open_ids |= {key[16:] for key in bench.core.changes}
    asked = {record[96:132] for record in bench.requests()}
    open_ids = {name for name in open_ids if not name.startswith(b"OMS-")}
    finals = Counter({name: times for name, times in finals.items() if not name.startswith("OMS-")})
    assert asked == open_ids | {name.encode().ljust(36, b"\0") for name in finals}
    sent = Counter(r[KEY] for r in bench.sent if not r[5] & 1)
    attempts = 3 if bench.settings.retries else 1
    assert all(times <= attempts for times in sent.values())


def another_day() -> Sender:
    """A core whose configuration says otherwise."""
    settings = replace(SenderSettings(), cancel_lane=True, crossing=True, modify_loses_place=True, max_queue_age_ns=1)
    limits = RiskLimits(Limits(max_quantity=1), repeated_fills=1, repeated_fills_ns=10**12)
    return Sender(settings, Throttle(ThrottleLimit(rate=1)), Risk(limits))


@given(st.integers(0, 2**32), st.integers(1, 60))
@settings(max_examples=150, deadline=None)
def test_whatever_waits_stands_in_line_once_or_aside(seed: int, cycles: int) -> None:
    chaos = Chaos(seed)
    bench = chaos.run(cycles)
    for core in (bench.core, bench.replayed()):
        assert [len(core.lane), len(core.cancel_lane)] == [len(list(core.lane)), len(list(core.cancel_lane))]
        assert core.waiting == len(core.lane) + len(core.cancel_lane) + aside(core)
        assert all(order.quantity >= order.cum or order.phase >= 4 for order in core.ids.values())


def aside(core: Sender) -> int:
    orders = {id(order): order for order in core.ids.values()}.values()
    return sum(bool(item.held) for item in [*core.changes.values(), *orders])
