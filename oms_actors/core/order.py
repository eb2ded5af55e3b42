"""The life of an order: a table. What is not in it does not happen.

An order has one base state (`Phase`) and besides it the changes that are not answered yet; the OrdStatus that people
see is derived from both by FIX's precedence (FIX 4.4, volume 4, appendix D). An event that the table does not know for
a phase changes nothing; who asks counts it. `docs/order-life.md` is made from these tables.
"""

from __future__ import annotations

from enum import IntEnum

from oms_actors.messages import OrdStatus


class Phase(IntEnum):
    """Base state. From FILLED on the order is done."""

    QUEUED = 0
    """Waits in our queue (also again, after a call that promised that nothing left)."""
    SENT = 1
    """Called out, unanswered."""
    WORKING = 2
    """The exchange has it."""
    IN_DOUBT = 3
    """It is not known whether the exchange has it."""
    FILLED = 4
    CANCELED = 5
    REJECTED = 6
    EXPIRED = 7
    DONE_UNKNOWN = 8


class Event(IntEnum):
    """What can happen to an order."""

    SEND = 0
    UNSEND = 1
    """It is certain that nothing left."""
    ACK = 2
    REJECT = 3
    FILL = 4
    FILL_ALL = 5
    CANCEL = 6
    EXPIRE = 7
    DOUBT = 8
    GIVE_UP = 9
    REPLACE = 10
    """Changed, and something is left to be filled."""
    REPLACE_TO_FILLED = 11
    """Changed to a quantity that is filled already (FIX 4.4, D: C.3.b, C.3.c)."""


TRANSITIONS: dict[tuple[Phase, Event], Phase] = {
    (Phase.QUEUED, Event.SEND): Phase.SENT,
    (Phase.QUEUED, Event.ACK): Phase.WORKING,
    (Phase.QUEUED, Event.REJECT): Phase.REJECTED,
    (Phase.QUEUED, Event.CANCEL): Phase.CANCELED,
    (Phase.QUEUED, Event.EXPIRE): Phase.EXPIRED,
    (Phase.QUEUED, Event.FILL): Phase.QUEUED,
    (Phase.QUEUED, Event.FILL_ALL): Phase.FILLED,
    (Phase.QUEUED, Event.REPLACE): Phase.QUEUED,
    (Phase.QUEUED, Event.REPLACE_TO_FILLED): Phase.FILLED,
    (Phase.SENT, Event.UNSEND): Phase.QUEUED,
    (Phase.SENT, Event.ACK): Phase.WORKING,
    (Phase.SENT, Event.REJECT): Phase.REJECTED,
    (Phase.SENT, Event.FILL): Phase.WORKING,
    (Phase.SENT, Event.FILL_ALL): Phase.FILLED,
    (Phase.SENT, Event.CANCEL): Phase.CANCELED,
    (Phase.SENT, Event.EXPIRE): Phase.EXPIRED,
    (Phase.SENT, Event.DOUBT): Phase.IN_DOUBT,
    (Phase.SENT, Event.REPLACE): Phase.WORKING,
    (Phase.SENT, Event.REPLACE_TO_FILLED): Phase.FILLED,
    (Phase.WORKING, Event.FILL): Phase.WORKING,
    (Phase.WORKING, Event.FILL_ALL): Phase.FILLED,
    (Phase.WORKING, Event.CANCEL): Phase.CANCELED,
    (Phase.WORKING, Event.EXPIRE): Phase.EXPIRED,
    (Phase.WORKING, Event.REPLACE): Phase.WORKING,
    (Phase.WORKING, Event.REPLACE_TO_FILLED): Phase.FILLED,
    (Phase.IN_DOUBT, Event.ACK): Phase.WORKING,
    (Phase.IN_DOUBT, Event.REJECT): Phase.REJECTED,
    (Phase.IN_DOUBT, Event.FILL): Phase.WORKING,
    (Phase.IN_DOUBT, Event.FILL_ALL): Phase.FILLED,
    (Phase.IN_DOUBT, Event.CANCEL): Phase.CANCELED,
    (Phase.IN_DOUBT, Event.EXPIRE): Phase.EXPIRED,
    (Phase.IN_DOUBT, Event.GIVE_UP): Phase.DONE_UNKNOWN,
    (Phase.IN_DOUBT, Event.REPLACE): Phase.WORKING,
    (Phase.IN_DOUBT, Event.REPLACE_TO_FILLED): Phase.FILLED,
    (Phase.FILLED, Event.REPLACE): Phase.WORKING,
}
"""A fill while QUEUED is an internal match, an acknowledgement the proof that an adapter's promise was wrong (nothing
had left, it had said); a fill after the end is applied and alarmed without leaving the phase. A
replace that was on its way while the order was filled may open it again (FIX 4.4, D: C.1.c)."""

EVENTS = len(Event)
NEXT: tuple[int, ...] = tuple(int(TRANSITIONS.get((phase, event), -1)) for phase in Phase for event in Event)
"""The same as a flat table: NEXT[phase * EVENTS + event], -1 = does not happen."""

FIRST_DONE = Phase.FILLED

_STATUS = {
    Phase.QUEUED: OrdStatus.PENDING_NEW,
    Phase.SENT: OrdStatus.PENDING_NEW,
    Phase.WORKING: OrdStatus.NEW,
    Phase.IN_DOUBT: OrdStatus.IN_DOUBT,
    Phase.FILLED: OrdStatus.FILLED,
    Phase.CANCELED: OrdStatus.CANCELED,
    Phase.REJECTED: OrdStatus.REJECTED,
    Phase.EXPIRED: OrdStatus.EXPIRED,
    Phase.DONE_UNKNOWN: OrdStatus.DONE_UNKNOWN,
}


_FOR_GOOD = (Phase.CANCELED, Phase.REJECTED, Phase.EXPIRED, Phase.DONE_UNKNOWN)


def _derive(phase: Phase, filled: bool, replacing: bool, canceling: bool) -> OrdStatus:
    if phase is Phase.IN_DOUBT or phase in _FOR_GOOD:
        return _STATUS[phase]  # what is not known must be seen, and what is over cannot be pending
    if canceling:
        return OrdStatus.PENDING_CANCEL
    if replacing:
        return OrdStatus.PENDING_REPLACE
    if filled and phase is not Phase.FILLED:
        return OrdStatus.PARTIALLY_FILLED
    return _STATUS[phase]


STATUS: tuple[int, ...] = tuple(
    int(_derive(phase, filled, replacing, canceling))
    for phase in Phase
    for filled in (False, True)
    for replacing in (False, True)
    for canceling in (False, True)
)


def ord_status(phase: int, filled: bool, replacing: bool, canceling: bool) -> int:
    """OrdStatus by precedence: in doubt, or over for good > PendingCancel > PendingReplace > Filled > PartiallyFilled >
    New, PendingNew. `replacing`, `canceling`: a request is accepted and unanswered."""
    return STATUS[phase << 3 | filled << 2 | replacing << 1 | canceling]


PARTIAL = "PARTIAL"
SIMPLE = {
    Phase.QUEUED: "OPEN",
    Phase.SENT: "SUBMITTED",
    Phase.WORKING: "SUBMITTED",
    Phase.IN_DOUBT: "SUBMITTED",
    Phase.FILLED: "MATCHED",
    Phase.CANCELED: "FAILED",
    Phase.REJECTED: "FAILED",
    Phase.EXPIRED: "FAILED",
    Phase.DONE_UNKNOWN: "FAILED",
}
"""The simple view (`v_orders.simple`): one word per phase, and PARTIAL for whatever is open and has fills."""


def move(phase: int, event: int) -> int:
    """The next phase, or -1 where the table knows none."""
    return NEXT[phase * EVENTS + event]


def diagram() -> str:
    """The table as a Mermaid state diagram (docs/order-life.md is made of it)."""
    moves: dict[tuple[Phase, Phase], list[str]] = {}
    for (phase, event), after in TRANSITIONS.items():
        moves.setdefault((phase, after), []).append(event.name.lower().replace("_", " "))
    lines = ["stateDiagram-v2", "    [*] --> QUEUED: accepted"]
    lines += [f"    {before.name} --> {after.name}: {', '.join(events)}" for (before, after), events in moves.items()]
    lines += [f"    {phase.name} --> [*]" for phase in Phase if phase >= FIRST_DONE]
    return "\n".join(lines) + "\n"


def statuses() -> str:
    """How OrdStatus is derived, as a table (docs/order-life.md is made of it)."""
    lines = ["| phase | OrdStatus | with fills | replace pending | cancel pending |", "| --- | --- | --- | --- | --- |"]
    for phase in Phase:
        cases = ((False, False, False), (True, False, False), (False, True, False), (False, False, True))
        names = [OrdStatus(ord_status(phase, *case)).name for case in cases]
        lines.append(f"| {phase.name} | {' | '.join(names)} |")
    return "\n".join(lines) + "\n"
