"""Risk as intake sees it: requests come, orders are open until the sender's journal says that they have ended.

Unlike the rest of intake's state this one moves while a batch is being decided, because each request of a batch counts
for the next. If the batch is forgotten, `undo` closes what it had opened; rates may then count a little too much. At a
restart the same calls are made for what the journals say.
"""

from __future__ import annotations

from collections.abc import Iterable

from oms_actors.core.answers import Run, runs
from oms_actors.core.requests import CANCEL, MODIFY, NEW, Fault
from oms_actors.core.risk import NO_LIMITS, KillFlag, Risk, RiskLimits
from oms_actors.errors import Reason
from oms_actors.messages import ExecType, Kind, OrdStatus, ReportFlag, SessionEvent
from oms_actors.record import REPORT, REPORT_BYTES, REQUEST, REQUEST_BYTES, SESSION

_ENDED = frozenset(map(int, (
    OrdStatus.FILLED, OrdStatus.CANCELED, OrdStatus.REJECTED, OrdStatus.EXPIRED, OrdStatus.DONE_UNKNOWN,
)))  # fmt: skip
_FOREIGN = int(ReportFlag.UNMATCHED | ReportFlag.POSSIBLE_DUPLICATE)


class Exposure:
    """`active`: could anything be refused? `watching`: are there limits to keep count for?"""

    def __init__(self, risk: Risk) -> None:
        self.risk = risk
        self.watching = risk.limits != NO_LIMITS
        self.open: dict[int, tuple[bytes, bytes]] = {}
        """Order number → account, symbol; kept while `watching`."""

    @property
    def active(self) -> bool:
        """Is there a limit, a kill flag, or an upstream that was stopped?"""
        return self.risk.enabled

    def set_kill(self, flags: Iterable[KillFlag]) -> None:
        """The kill switch as it stands now."""
        self.risk.set_kill(flags)

    def reload(self, limits: RiskLimits) -> None:
        """Other limits from now on. Where there were none, nothing has been counted: the owner folds anew instead."""
        self.watching = limits != NO_LIMITS
        if not self.watching:
            self.open.clear()
        self.risk.reload(limits, self.open.values())

    def fault(self, record: bytes, upstream: int, now_ns: int) -> Fault | None:
        """What risk says against a request."""
        kind, side, quantity, price, stop_price, account, symbol = _content(record)
        refusal = self.risk.check(kind, upstream, account, symbol, side, quantity, price, stop_price, now_ns)
        return Fault(*refusal) if refusal else None

    def came(self, record: bytes, upstream: int, reason: int, number: int, now_ns: int) -> None:
        """A request was decided about; `number` is the order's if it is a NEW."""
        if reason != Reason.MESSAGE_RATE:
            self.risk.on_request(upstream, now_ns)
        kind, side, quantity, price, stop_price, account, symbol = _content(record)
        if kind == NEW and not reason:
            self.open[number] = account, symbol
            self.risk.on_accepted(upstream, account, symbol, side, quantity, price, stop_price, now_ns)

    def replay(self, payload: bytes) -> None:
        """A frame of intake's journal: all of its requests came."""
        for kinds, data in runs(payload):
            if kinds[0] in (NEW, MODIFY, CANCEL):
                for at in range(0, len(data), REQUEST_BYTES):
                    fields = REQUEST.unpack_from(data, at)
                    self.came(data[at : at + REQUEST_BYTES], fields[8], fields[11], fields[23], fields[14])

    def undo(self, payload: bytes) -> None:
        """The frame of these requests was not written: its orders are not open."""
        for kinds, data in runs(payload):
            if kinds[0] in (NEW, MODIFY, CANCEL):
                for at in range(0, len(data), REQUEST_BYTES):
                    fields = REQUEST.unpack_from(data, at)
                    self._ended(fields[23])

    def heard(self, found: Iterable[Run], now_ns: int) -> list[int]:
        """A frame of the sender's journal: executions and ends. Returns upstreams stopped by the guard against
        repeated executions."""
        stopped = []
        for kinds, data in found:
            if kinds[0] == Kind.SESSION:
                stopped += self._guard(data)
            if kinds[0] != Kind.REPORT:
                continue
            for at in range(0, len(data), REPORT_BYTES):
                fields = REPORT.unpack_from(data, at)
                if fields[0] != Kind.REPORT or fields[5] & _FOREIGN:
                    continue
                if fields[3] == ExecType.TRADE:
                    self.risk.on_last_price(fields[25], fields[17])
                if fields[4] in _ENDED:
                    self._ended(fields[30])
        return stopped

    def _guard(self, record: bytes) -> list[int]:
        """The sender counts executions; its journal says whom that has stopped, and whom an operator lets go on."""
        fields = SESSION.unpack(record)
        if fields[2] == SessionEvent.GUARD_RESET:
            self.risk.re_enable(fields[3])
        if fields[2] != SessionEvent.GUARD_STOP:
            return []
        self.risk.stop(fields[3])
        return [fields[3]]

    def _ended(self, number: int) -> None:
        name = self.open.pop(number, None)
        if name is not None:
            self.risk.on_done(*name)


def _content(record: bytes) -> tuple[int, int, int, int, int, bytes, bytes]:
    fields = REQUEST.unpack(record)
    return fields[0], fields[2], fields[15], fields[16], fields[17], fields[19], fields[22]
