"""What operators and the calendar do to orders, whatever state they are in: kill, mass action, resolve, close, roll."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from oms_actors.core.mass_action import Mass, MassAction
from oms_actors.core.pending import (
    CANCEL,
    FINAL,
    FIRST_DONE,
    IN_DOUBT,
    KILLED,
    MODIFY,
    NEW,
    QUEUED,
    TIMES,
    U64,
    Change,
    Order,
)
from oms_actors.core.recovery import Recovery
from oms_actors.core.risk import KillFlag, RiskLimits
from oms_actors.errors import Field, Reason
from oms_actors.messages import ID_MAX, ExecType, SessionEvent, TimeInForce
from oms_actors.record import VERSION

CARRIED = frozenset((int(TimeInForce.GTC), int(TimeInForce.GTD)))
"""Orders that outlive their trade date."""
LOOKS_PER_STEP = 16
"""So many orders are looked at for one that is dealt with: what is not meant costs little."""


class Interventions(Recovery):
    """A Recovery that takes orders from people and from the clock."""

    _steps: tuple[int, Iterator[int]] | None = None
    """The mass action in progress and what is left of it."""

    # -- risk -----------------------------------------------------------------------------------------------------

    def set_kill(self, flags: Iterable[KillFlag]) -> None:
        """The kill switch as it stands now; what it no longer holds goes back to its place in line."""
        self.risk.set_kill(flags)
        for item in reversed(self._killed):
            if item.held == KILLED and item.waits():
                item.held = 0
                self._lane_of(item).return_first(item)
        self._killed.clear()

    def reload(self, limits: RiskLimits, words: str) -> None:
        """Other risk limits from now on; `words` say which, for the record."""
        orders = {id(order): order for order in self.ids.values() if order.phase < FIRST_DONE}
        self.risk.reload(limits, ((order.account, order.symbol) for order in orders.values()))
        self.note(SessionEvent.RELOAD, words)

    def re_enable(self, upstream: int) -> bool:
        """An operator lets an upstream go on that the repeated-execution guard has stopped; False: it had not."""
        if upstream not in self.risk.stopped:
            return False
        self.note(SessionEvent.GUARD_RESET, f"upstream {upstream} may go on", upstream)
        return True

    # -- mass actions -----------------------------------------------------------------------------------------------

    def wish(self, action: MassAction, trade_date: int = 0) -> int:
        """Takes a mass action up, for the orders that are there now; `go_on` carries it out. Returns its sequence."""
        sequence = self.base + len(self.out)
        upto = int.from_bytes(self._newest[184:192], "little")
        self.note(SessionEvent.MASS_ACTION, f"{action}: {Reason(action.reason).name}", action.reason,
                  trade_date=trade_date, tail=action._replace(upto=upto).tail())  # fmt: skip
        return sequence

    def concerned(self, action: MassAction) -> int:
        """How many open orders a mass action would mean."""
        orders = {id(order): order for order in self.ids.values() if order.phase < FIRST_DONE}
        return sum(map(action.concerns, orders.values()))

    def go_on(self, limit: int) -> bool:
        """Up to `limit` orders further with what was wished; True if something is left to do."""
        while limit > 0 and self.mass_actions:
            sequence, action = next(iter(self.mass_actions.items()))
            if self._steps is None or self._steps[0] != sequence:
                self._steps = sequence, self._carry_out(action)
            steps = self._steps[1]
            looks = limit * LOOKS_PER_STEP
            for dealt_with in steps:
                if dealt_with:
                    self.relieve()
                limit -= dealt_with
                looks -= 1
                if limit <= 0 or looks <= 0:
                    return True
            self._steps = None
            self._done_with(sequence, action)
        return bool(self.mass_actions)

    def _done_with(self, sequence: int, action: MassAction) -> None:
        event = SessionEvent.ROLL if action.mass is Mass.ROLL else SessionEvent.MASS_ACTION_DONE
        date = self.rolls_to if action.mass is Mass.ROLL else 0
        self.note(event, str(action), action.reason, trade_date=date, tail=action.tail(sequence))

    def _carry_out(self, action: MassAction) -> Iterator[int]:
        """1 for every order that was dealt with, 0 for one that was only looked at."""
        deal = _DEALS[action.mass]
        orders = {order.number: order for order in self.ids.values()}  # an order may have several ids
        items: list[Order | Change] = [*orders.values(), *self.changes.values()]
        for item in items:
            order = item if isinstance(item, Order) else item.order
            yield int(action.concerns(order) and deal(self, item, action.reason))

    def _cancel(self, item: Order | Change, reason: int) -> bool:
        return self._cancel_waiting_one(item, reason) or self._cancel_working(item, reason)

    def _cancel_waiting_one(self, item: Order | Change, reason: int) -> bool:
        return self._end_waiting(item, ExecType.CANCELED, reason)

    def _expire_waiting(self, item: Order | Change, reason: int) -> bool:
        return self._end_waiting(item, ExecType.EXPIRED, reason)

    def _end_waiting(self, item: Order | Change, exec_type: int, reason: int) -> bool:
        """What has not been sent never will be."""
        if item.phase != QUEUED:
            return False
        if isinstance(item, Order):
            self._end(item, exec_type, reason)
            return True
        if item.upstream:  # not our own
            self._refuse_change(item.order, item.record, reason, Field.SESSION)
        return bool(item.upstream)

    def _cancel_working(self, item: Order | Change, reason: int) -> bool:
        """For what the exchange has a CANCEL of our own goes out, journalled as a request (upstream 0)."""
        if isinstance(item, Change) or item.phase >= FIRST_DONE or item.phase == QUEUED or self._is_leaving(item):
            return False
        order = item
        self._supersede(order)
        sequence = self.base + len(self.out)
        name = f"OMS-{sequence}".encode().ljust(ID_MAX, b"\0")
        head = bytes((CANCEL, VERSION)) + order.record[2:5] + bytes(3) + U64.pack(sequence) + bytes(20)
        head += reason.to_bytes(2, "little") + bytes(2)
        record = head + TIMES.pack(0, self.now)[8:] + bytes(32) + order.record[80:96] + name + order.key[16:]
        record += order.symbol + bytes(8)
        self.out.append(record)
        self.admit(record, order)
        return True

    def _is_leaving(self, order: Order) -> bool:
        """Is a cancel on its way that waits behind nothing but cancels?"""
        return any(
            change.kind == CANCEL and (change.phase != QUEUED or self._lane_of(change) is self.cancel_lane)
            for change in order.pending or ()
        )

    def _supersede(self, order: Order) -> None:
        """A cancel ends the modifies that have not been sent."""
        for change in self._unsent(order):
            if change.kind == MODIFY:
                self._refuse_change(order, change.record, Reason.SUPERSEDED, Field.ORIG_CLIENT_ORDER_ID)

    def _give_up(self, item: Order | Change, reason: int) -> bool:
        """The session is over and nobody knows: DONE_UNKNOWN, a final answer and an alarm."""
        if item.phase != IN_DOUBT:
            return False
        if isinstance(item, Order):
            self._end(item, ExecType.DONE_UNKNOWN, reason)
        else:
            self._settle_change(item, ExecType.DONE_UNKNOWN, reason)
        return True

    def _roll(self, item: Order | Change, reason: int) -> bool:
        """The end of a trade date: DAY orders expire, others are carried over, with their changes without an answer."""
        if item.phase >= FIRST_DONE:
            return False
        if isinstance(item, Change):
            if item.upstream:  # not our own
                self._report(item.order, ExecType.RESTATED, 0, 0, item.key, item.order.key[16:],
                             reason=Reason.CARRIED_OVER, upstream=item.upstream)
            return bool(item.upstream)
        record = item.record
        expired = record[4] == TimeInForce.GTD and int.from_bytes(record[72:80], "little") <= self.wall
        if record[4] not in CARRIED or expired:
            self._end(item, ExecType.EXPIRED, Reason.ORDER_EXPIRED if expired else reason)
        else:
            self._report(item, ExecType.RESTATED, 0, 0, item.key, reason=Reason.CARRIED_OVER)
        return True

    # -- resolve ------------------------------------------------------------------------------------------------------

    def resolve(self, key: bytes, sent: bool) -> bool:
        """The operator knows what became of a doubtful request; False if nothing under that id is in doubt.

        `sent`: the exchange has it (a NEW works, a MODIFY or CANCEL has taken effect); else it never arrived.
        """
        change = self.changes.get(key)
        if change is not None and change.phase == IN_DOUBT:
            self._resolve_change(change, sent)
            return True
        order = self.ids.get(key)
        if order is None or order.phase != IN_DOUBT:
            return False
        if sent:
            kind, name = (0, order.key) if order.answered else (NEW, order.first)
            self.apply_own(name, kind, ExecType.NEW, 0, 0, 0)
            self._report(order, ExecType.NEW, FINAL if kind else 0, kind, name, reason=Reason.RESOLVED_BY_OPERATOR)
        else:
            self._end(order, ExecType.REJECTED, Reason.RESOLVED_BY_OPERATOR)
        return True

    def _resolve_change(self, change: Change, sent: bool) -> None:
        reason = Reason.RESOLVED_BY_OPERATOR
        if not sent:
            self._settle_change(change, ExecType.CANCEL_REJECT, reason)
        elif change.kind == CANCEL:
            self._settle_change(change, ExecType.CANCELED, reason)
            if change.order.phase < FIRST_DONE:
                self._end(change.order, ExecType.CANCELED, reason)
        else:
            self._settle_change(change, ExecType.REPLACED, reason)

    def _settle_change(self, change: Change, exec_type: int, reason: int) -> None:
        """The final answer to a change, of our own making. A replace takes its values over."""
        order, orig = change.order, change.order.key[16:]
        self.counters["rejected"] += exec_type == ExecType.CANCEL_REJECT
        self.apply_own(change.key, change.kind, exec_type, 0, 0, 0, orig)
        self._report(order, exec_type, FINAL, change.kind, change.key, orig, reason=reason, value=order.stop_price,
                     upstream=change.upstream)


_DEALS: dict[Mass, Callable[[Interventions, Order | Change, int], bool]] = {
    Mass.CANCEL: Interventions._cancel,
    Mass.CANCEL_WAITING: Interventions._cancel_waiting_one,
    Mass.CANCEL_WORKING: Interventions._cancel_working,
    Mass.EXPIRE_WAITING: Interventions._expire_waiting,
    Mass.GIVE_UP: Interventions._give_up,
    Mass.ROLL: Interventions._roll,
}
