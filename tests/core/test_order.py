"""The order's table: what FIX says about precedence, and that the picture shows what the program does."""

from __future__ import annotations

from itertools import product
from pathlib import Path

from oms_actors.core.order import (
    FIRST_DONE,
    TRANSITIONS,
    Event,
    Phase,
    diagram,
    move,
    ord_status,
    statuses,
)
from oms_actors.messages import OrdStatus

DOCUMENT = Path(__file__).parents[2] / "docs" / "order-life.md"


def test_the_diagram_in_the_documentation_is_the_table() -> None:
    assert diagram() in DOCUMENT.read_text(), diagram()
    assert statuses() in DOCUMENT.read_text(), statuses()


def test_only_a_replace_that_crossed_the_last_fill_opens_an_order_again() -> None:
    assert [key for key in TRANSITIONS if key[0] >= FIRST_DONE] == [(Phase.FILLED, Event.REPLACE)]


def test_what_the_table_does_not_know_does_not_happen() -> None:
    for phase, event in product(Phase, Event):
        expected = TRANSITIONS.get((phase, event))
        assert move(phase, event) == (-1 if expected is None else expected)


def test_every_phase_can_be_reached_and_every_living_one_can_end() -> None:
    reached = {Phase.QUEUED, *TRANSITIONS.values()}
    assert reached == set(Phase)
    ends = {phase for (phase, _), after in TRANSITIONS.items() if after >= FIRST_DONE}
    assert ends == {phase for phase in Phase if phase < FIRST_DONE}


def test_ord_status_follows_the_precedence_of_fix() -> None:
    """FIX 4.4, volume 4: PendingCancel > PendingReplace > Filled > Canceled > PartiallyFilled > New > PendingNew; but
    nothing hides a doubt, and what is canceled, rejected or expired cannot be pending any more."""
    for phase, filled, replacing in product(Phase, (False, True), (False, True)):
        if phase in (Phase.QUEUED, Phase.SENT, Phase.WORKING, Phase.FILLED):
            assert ord_status(phase, filled, replacing, True) == OrdStatus.PENDING_CANCEL
            assert ord_status(phase, filled, True, False) == OrdStatus.PENDING_REPLACE
        else:
            assert ord_status(phase, filled, replacing, True) == ord_status(phase, filled, False, False)
    assert ord_status(Phase.FILLED, True, False, False) == OrdStatus.FILLED
    assert ord_status(Phase.CANCELED, True, False, False) == OrdStatus.CANCELED
    assert ord_status(Phase.WORKING, True, False, False) == OrdStatus.PARTIALLY_FILLED
    assert ord_status(Phase.WORKING, False, False, False) == OrdStatus.NEW
    assert ord_status(Phase.SENT, False, False, False) == OrdStatus.PENDING_NEW
