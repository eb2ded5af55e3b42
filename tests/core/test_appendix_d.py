"""The sender's core lives through the scenarios of FIX 4.4's appendix D."""

from __future__ import annotations

import re

import pytest

from oms_actors.messages import ExecType, OrdStatus, Report, ResponseType
from tests.core.appendix_d import LEFT_OUT, SCENARIOS, Scenario
from tests.core.sender_bench import Bench, cancel, modify, new, rolled_to, said

SAYS = {
    "New": ResponseType.ACK,
    "PendingCancel": ResponseType.ACK,
    "PendingReplace": ResponseType.ACK,
    "Trade": ResponseType.FILL,
    "Rejected": ResponseType.REJECT,
    "Canceled": ResponseType.CANCELED,
    "CancelReject": ResponseType.CANCEL_REJECT,
    "Replaced": ResponseType.REPLACED,
    "Restated": ResponseType.REPLACED,
}


class Life:
    """An order's life, line by line."""

    def __init__(self) -> None:
        self.bench = Bench()
        self.bench.cycle(rolled_to(20260105))
        self.execs = 0
        self.told: list[Report] = []

    def line(self, line: str) -> None:
        mark, *words = line.split()
        if mark == ">":
            assert not self.told, f"said, but not expected before {line!r}"
            self.ask(*words)
            return
        ids, exec_type, statuses, quantity, cum, leaves, last = words
        client_order_id, _, orig = ids.partition(",")
        if mark == "<":
            assert not self.told, f"said, but not expected before {line!r}"
            self.hear(client_order_id, exec_type, int(quantity), int(last))
        report = self.told.pop(0)
        assert [report.client_order_id, report.exec_type, report.ord_status] == [
            client_order_id, ExecType[name_of(exec_type)], OrdStatus[name_of(statuses.rpartition("~")[2])],
        ]  # fmt: skip
        assert [report.quantity, report.cum_quantity, report.leaves_quantity, report.last_quantity] == [
            int(quantity), int(cum), int(leaves), int(last),
        ]  # fmt: skip
        if orig:
            assert report.orig_client_order_id == orig

    def ask(self, verb: str, name: str = "", *more: str) -> None:
        if verb == "New":
            self.told += self.bench.cycle(new(name, int(more[0]), time_in_force=more[1] if more[1:] else "DAY"))
        elif verb == "Replace":
            self.told += self.bench.cycle(modify(name, more[0], quantity=int(more[1])))
        elif verb == "Cancel":
            self.told += self.bench.cycle(cancel(name, more[0]))
        elif verb == "Roll":
            self.told += self.bench.cycle(rolled_to(20260106))
        else:
            self.told += self.bench.cycle(again=[name])

    def hear(self, client_order_id: str, exec_type: str, quantity: int, last: int) -> None:
        self.execs += 1
        amount = last if exec_type == "Trade" else quantity if exec_type in ("Replaced", "Restated") else 0
        word = said(SAYS[exec_type], client_order_id, amount, 5, f"e{self.execs}")
        if exec_type not in ("Trade", "Replaced", "Restated"):
            word = said(SAYS[exec_type], client_order_id)
        self.told += self.bench.cycle(heard=[word])


def name_of(word: str) -> str:
    """PartiallyFilled -> PARTIALLY_FILLED."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", word).upper()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[scenario.ref for scenario in SCENARIOS])
def test_an_order_lives_as_fix_says(scenario: Scenario) -> None:
    life = Life()
    for line in filter(None, map(str.strip, scenario.lines.splitlines())):
        life.line(line)
    assert not life.told
    assert life.bench.core.counters["illegal"] == 0
    assert life.bench.replayed().state() == life.bench.core.state()


def test_every_group_of_the_appendix_is_there_or_left_out_for_a_reason() -> None:
    refs = {scenario.ref[0] for scenario in SCENARIOS} | {ref[0] for refs in LEFT_OUT for ref in refs.split(", ")}
    assert refs == set("ABCDEFGHIJKL")


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[scenario.ref for scenario in SCENARIOS])
def test_a_scenario_with_another_end_fails(scenario: Scenario) -> None:
    """Each can fail: whoever expects one more filled than FIX says is told so."""
    lines = [line for line in map(str.strip, scenario.lines.splitlines()) if line]
    at = max(n for n, line in enumerate(lines) if not line.startswith(">"))
    words = lines[at].split()
    words[-3] = str(int(words[-3]) + 1)
    life = Life()
    for line in lines[:at]:
        life.line(line)
    with pytest.raises(AssertionError):
        life.line(" ".join(words))
