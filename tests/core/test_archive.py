"""Finished orders that are put away: nobody can tell, but for the memory that they need."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench import finished_orders
from oms_actors.core import archive, ledger
from oms_actors.core.snapshot import dump, load
from oms_actors.errors import Reason
from oms_actors.messages import ExecType, OrdStatus, ReportFlag, ResponseType
from oms_actors.record import key_of
from tests.core.sender_bench import Bench, cancel, modify, new, rolled_to, said
from tests.core.test_sender_replay import Chaos

NEVER = 1 << 30


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "FRESH", 0)
    monkeypatch.setattr(ledger, "BLOCK", 1)


def filled(*names: str, account: str = "") -> Bench:
    """These orders are executed, and put away."""
    bench = Bench()
    for name in names:
        bench.cycle(new(name, account=account))
        bench.cycle(heard=[said(ResponseType.ACK, name), said(ResponseType.FILL, name, 10, 5, f"E-{name}")])
    assert not bench.core.ids
    assert bench.core.archive.count == len(names)
    return bench


@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(1, 3), st.sampled_from([5, 1000]))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_day_is_the_same_whether_or_not_its_finished_orders_are_put_away(
    seed: int, cycles: int, block: int, window: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger, "BLOCK", block)
        patch.setattr(ledger, "DONE_WINDOW", window)
        small = Chaos(seed).run(cycles)
        replayed, resumed = small.replayed(), small.replayed(snapshot_after=seed % len(small.journal))
        patch.setattr(ledger, "BLOCK", NEVER)
        whole = Chaos(seed).run(cycles)
        assert small.journal == whole.journal
        assert small.core.counters == whole.core.counters
        state = whole.core.state()
        assert state == small.core.state() == replayed.state() == resumed.state() == whole.replayed().state()


def test_a_late_execution_counts_once_though_its_order_is_put_away() -> None:
    bench = filled("A", "B")
    late, twice = said(ResponseType.FILL, "A", 3, 5, "E-late"), said(ResponseType.FILL, "A", 10, 5, "E-A")
    (told,) = bench.cycle(heard=[late])
    assert (told.exec_type, told.cum_quantity, bool(told.flags & ReportFlag.LATE)) == (ExecType.TRADE, 13, True)
    bench.cycle(heard=[late, twice])
    assert (bench.core.counters["fills"], bench.core.counters["duplicate_fills"]) == (3, 2)
    assert bench.core.counters["unmatched"] == 0


def test_an_answer_that_names_no_account_finds_an_order_that_is_put_away() -> None:
    bench = filled("A", account="acc")
    (told,) = bench.cycle(heard=[said(ResponseType.ACK, "A")])
    assert (told.account, told.client_order_id, told.ord_status) == ("acc", "A", OrdStatus.FILLED)
    assert bench.core.counters["unmatched"] == 0


def test_a_change_or_a_resend_of_what_is_put_away_is_told_how_it_ended() -> None:
    bench = filled("A")
    (told,) = bench.cycle(cancel("C", "A"))
    assert (told.exec_type, told.reason, told.cum_quantity) == (ExecType.CANCEL_REJECT, Reason.ORDER_TERMINAL, 10)
    (told,) = bench.cycle(again=["A"])
    assert (told.exec_type, told.ord_status, told.cum_quantity) == (ExecType.ORDER_STATUS, OrdStatus.FILLED, 10)
    assert bench.core.archive.count == 1
    assert not bench.core.ids


def test_a_replace_that_was_faster_than_the_fill_reopens_an_order_that_was_to_be_put_away() -> None:
    bench = Bench()
    bench.cycle(new("A"))
    bench.cycle(heard=[said(ResponseType.ACK, "A")])
    bench.cycle(modify("M", "A", quantity=20))
    bench.cycle(heard=[said(ResponseType.FILL, "A", 10, 5, "E1")])
    bench.cycle(heard=[said(ResponseType.REPLACED, "M", 20, 5)])
    assert (bench.core.working, bench.core.archive.count) == (1, 0)
    bench.cycle(heard=[said(ResponseType.FILL, "M", 10, 5, "E2")])
    assert (bench.core.working, bench.core.archive.count) == (0, 1)
    assert bench.replayed().state() == bench.core.state()


def test_a_roll_frees_the_ids_of_what_is_put_away() -> None:
    bench = Bench()
    bench.cycle(rolled_to(20260105))
    bench.cycle(new("A"))
    bench.cycle(heard=[said(ResponseType.REJECT, "A")])
    bench.cycle(rolled_to(20260106))
    assert bench.core.known(key_of("", "A")) is None
    assert bench.core.archive.count == 0


def test_three_times_as_many_finished_orders_need_no_more_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(ledger, "DONE_WINDOW", 4_000)
    monkeypatch.setattr(archive, "CHAPTER", 8)
    for ids in ("running numbers", "uuid"):
        first, second, third = finished_orders.growth(18_000, ids)
        assert max(second, third) < 1.05 * first
        assert first < 4_000 * finished_orders.BYTES_MAX + ledger.FRESH * 1_200


def test_a_snapshot_of_the_version_that_put_nothing_away_is_still_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "BLOCK", NEVER)
    bench = Bench()
    bench.cycle(new("A"))
    bench.cycle(heard=[said(ResponseType.REJECT, "A")])
    before = dump(bench.core)
    del before["archive"]
    before["format"] = 3
    core = bench.fresh()
    assert load(core, before)
    assert core.state() == bench.core.state()
