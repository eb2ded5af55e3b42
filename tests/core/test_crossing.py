"""Internal crossing: who meets whom, at which price, and who takes no part."""

from __future__ import annotations

from collections.abc import Iterable

from oms_actors.core.risk import Limits, RiskLimits, kill_flag
from oms_actors.core.scopes import ScopeLimit
from oms_actors.core.throttle import ThrottleLimit
from oms_actors.errors import Field
from oms_actors.messages import ExecType, OrdStatus, Outcome, Report, ResponseType
from tests.core.sender_bench import MS, ONE, Bench, cancel, modify, new, said, sell, sent_ids

X_KILLED = [kill_flag(symbol="X")]


def trades(reports: Iterable[Report]) -> list[tuple[str, str, str]]:
    """Who traded how much at which price."""
    return [
        (each.client_order_id, str(each.last_quantity), str(each.last_price))
        for each in reports if each.exec_type is ExecType.TRADE
    ]  # fmt: skip


def waiting_bench(**changes: object) -> Bench:
    """One call a second, and it has been made: what comes now waits."""
    bench = Bench(rate=1, crossing=True, **changes)  # type: ignore[arg-type]
    bench.cycle(new("first", symbol="Z"))
    return bench


def test_waiting_orders_that_cross_meet_inside_at_the_older_price() -> None:
    bench = Bench(rate=1, crossing=True)
    bench.cycle(new("first"))  # uses the throttle up
    bench.cycle(new("B1", 10, 5), new("B2", 10, 6))
    reports = bench.cycle(sell("S1", 15, 5))
    trades = [(r.client_order_id, str(r.last_quantity), str(r.last_price), r.ord_status.name) for r in reports]
    assert trades == [
        ("B2", "10", "6", "FILLED"), ("S1", "10", "6", "PARTIALLY_FILLED"),
        ("B1", "5", "5", "PARTIALLY_FILLED"), ("S1", "5", "5", "FILLED"),
    ]  # fmt: skip
    bench.cycle(ms=1001)
    assert sent_ids(bench) == ["first", "B1"]
    assert int.from_bytes(bench.sent[1][48:56], "little") == 5 * ONE  # only what is left goes out
    (filled,) = bench.cycle(heard=(said(ResponseType.FILL, "B1", 5, 5, "e1"),))
    assert (filled.ord_status, filled.cum_quantity) == (OrdStatus.FILLED, 10)


def test_what_the_kill_switch_stops_meets_nobody_inside_wherever_it_stands_in_line() -> None:
    bench = Bench(rate=1, crossing=True)
    bench.cycle(new("first"))
    bench.cycle(new("head", symbol="Y"), new("B1", 10, 5))
    bench.core.set_kill([kill_flag(symbol="X")])
    assert [r.exec_type for r in bench.cycle(sell("S1", 10, 5))] == []
    assert bench.core.waiting == 3


def test_what_has_expired_in_line_meets_nobody_inside() -> None:
    bench = Bench(rate=1, crossing=True)
    bench.cycle(new("first"))
    expires = bench.wall + 50 * MS
    bench.cycle(new("head", symbol="Y"), new("B1", 10, 5, time_in_force="GTD", expire_time_ns=expires))
    assert [r.exec_type for r in bench.cycle(sell("S1", 10, 5), ms=60)] == []
    told = bench.cycle(ms=2_000)
    told += bench.cycle(ms=2_000)
    assert [(r.client_order_id, r.exec_type) for r in told if r.client_order_id == "B1"] == [("B1", ExecType.EXPIRED)]


def test_what_the_kill_switch_lets_go_meets_what_waits_then() -> None:
    bench = waiting_bench()
    bench.core.set_kill(X_KILLED)
    bench.cycle(new("B1", 10, 5), sell("S1", 4, 5), new("B2", 10, 6))
    bench.core.set_kill([])
    assert trades(bench.cycle()) == [("B2", "4", "5"), ("S1", "4", "5")]  # the seller was there before B2


def test_what_stood_aside_under_the_kill_switch_meets_what_waits_when_it_is_let_go() -> None:
    bench = waiting_bench()
    bench.cycle(new("B1", 10, 5))
    bench.core.set_kill(X_KILLED)
    bench.cycle(ms=2_000)  # B1 comes to the head and stands aside
    assert trades(bench.cycle(sell("S1", 10, 5))) == []
    bench.core.set_kill([])
    assert trades(bench.cycle()) == [("B1", "10", "5"), ("S1", "10", "5")]
    assert sent_ids(bench) == ["first"]


def test_a_kill_of_one_account_leaves_the_others_to_meet_and_it_gets_its_place_back() -> None:
    bench = waiting_bench()
    bench.cycle(new("BAD", 10, 6, account="ACC"), new("GOOD", 10, 5))
    bench.core.set_kill([kill_flag(account="ACC")])
    assert trades(bench.cycle(sell("S1", 4, 5))) == [("GOOD", "4", "5"), ("S1", "4", "5")]
    bench.core.set_kill([])
    assert trades(bench.cycle(sell("S2", 4, 5))) == [("BAD", "4", "6"), ("S2", "4", "6")]


def test_before_the_open_nobody_meets_and_at_the_open_the_best_prices_do_first() -> None:
    bench = waiting_bench()
    bench.core.matching = False
    assert trades(bench.cycle(new("B1", 10, 5), sell("S1", 10, 4), new("B2", 10, 6), sell("S2", 5, 5))) == []
    bench.core.matching = True
    assert trades(bench.cycle()) == [("B2", "10", "4"), ("S1", "10", "4"), ("B1", "5", "5"), ("S2", "5", "5")]


def test_what_is_canceled_before_the_open_meets_nobody() -> None:
    bench = waiting_bench()
    bench.core.matching = False
    bench.cycle(new("B1", 10, 5), sell("S1", 10, 5))
    bench.cycle(cancel("C1", "B1"))
    bench.core.matching = True
    assert trades(bench.cycle()) == []


def test_what_a_limit_of_its_symbol_holds_back_keeps_its_place_among_those_who_meet() -> None:
    per_symbol = ScopeLimit(Field.SYMBOL, b"", ThrottleLimit(rate=1, per_ns=10_000 * MS))
    bench = Bench(crossing=True, scopes=(per_symbol,))
    bench.cycle(new("first", 1, 5))
    bench.cycle(new("B1", 10, 5))  # stands aside
    bench.cycle(new("B2", 10, 5))
    assert trades(bench.cycle(sell("S1", 10, 5))) == [("B1", "10", "5"), ("S1", "10", "5")]
    assert bench.core.waiting == 1


def test_what_is_beyond_a_limit_meets_nobody_until_the_limit_is_raised() -> None:
    bench = waiting_bench(limits=RiskLimits(Limits(max_quantity=20 * ONE)))
    bench.cycle(new("B1", 10, 5))
    bench.core.reload(RiskLimits(Limits(max_quantity=5 * ONE)), "tighter")
    assert trades(bench.cycle(sell("S1", 5, 5), release=0)) == []
    bench.core.reload(RiskLimits(Limits(max_quantity=20 * ONE)), "as before")
    assert trades(bench.cycle()) == [("B1", "5", "5"), ("S1", "5", "5")]


def test_a_waiting_order_meets_at_the_price_of_the_other_when_it_is_repriced() -> None:
    bench = waiting_bench()
    bench.cycle(new("B1", 10, 5), sell("S1", 10, 7))
    assert trades(bench.cycle(modify("M1", "B1", price=9))) == [("B1", "10", "7"), ("S1", "10", "7")]


def test_what_was_not_called_out_after_all_is_matched_again() -> None:
    bench = Bench(crossing=True)
    bench.cycle(new("B1", 10, 5), outcome=Outcome.NOT_CALLED)  # the kill switch came in between
    bench.core.set_kill(X_KILLED)
    bench.cycle(sell("S1", 10, 5))
    bench.core.set_kill([])
    assert trades(bench.cycle()) == [("B1", "10", "5"), ("S1", "10", "5")]


def test_after_a_restart_whatever_waits_can_meet_what_comes() -> None:
    bench = waiting_bench()
    bench.cycle(new("B1", 10, 5), release=0)
    bench.core = bench.replayed()
    bench.core.begin(bench.now, bench.wall)
    bench.core.recover(None, None)
    assert trades(bench.cycle(sell("S1", 4, 5), release=0)) == [("B1", "4", "5"), ("S1", "4", "5")]


def test_a_match_inside_is_an_execution_for_the_guard_and_for_the_last_price_also_after_a_restart() -> None:
    limits = RiskLimits(Limits(max_quantity=20 * ONE), repeated_fills=2, repeated_fills_ns=1_000 * MS)
    bench = waiting_bench(limits=limits)
    bench.cycle(new("B1", 10, 5))
    bench.cycle(sell("S1", 4, 5))
    for core in (bench.core, bench.replayed()):
        assert core.risk.stopped == {1}
        assert core.risk._last_prices == {b"X".ljust(16, b"\0"): 5 * ONE}
    assert bench.replayed().state() == bench.core.state()


def test_many_matches_are_made_in_bites() -> None:
    bench = waiting_bench()
    bench.core.matching = False
    bench.cycle(*(order for n in range(50) for order in (new(f"B{n}", 1, 5), sell(f"S{n}", 1, 5))))
    bench.core.matching = True
    bites = 0
    while bench.core.match(20):
        bites += 1
    assert bites > 2
    assert len(trades(bench.cycle())) == 100


def test_a_waiting_order_that_changes_its_price_for_ever_takes_no_more_room() -> None:
    bench = waiting_bench()
    bench.cycle(new("N0", 10, 5), release=0)
    for n in range(5_000):
        bench.cycle(modify(f"N{n + 1}", f"N{n}", price=5 + n % 2), release=0)
    crossing = bench.core.crossing
    assert crossing is not None
    assert sum(len(side.entries) for book in crossing._books.values() for side in book) < 2_000
