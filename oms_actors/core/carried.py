"""Ids of earlier trade dates that are still in use: the sender decides, intake hears of it.

A roll empties intake's ids at once. Which orders are carried over the sender says in its own journal: between its
MASS_ACTION that begins the roll and its ROLL that ends it stands a RESTATED report for every order, and for every
change without an answer, that goes on. Until that ROLL has been heard all ids of the old date still count, as taken
and as known; from then on only those that were restated. So it makes no difference which journal is folded first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from oms_actors.core.mass_action import TAIL, Mass
from oms_actors.messages import ACCOUNT_MAX, ExecType, Kind, SessionEvent
from oms_actors.record import REPORT_BYTES, REPORT_KEY, REPORT_ORIG, SESSION

_AT_EXEC_TYPE = 3


@dataclass(slots=True)
class Carried:
    """One state."""

    keys: set[bytes] = field(default_factory=set)
    """Of what was carried over."""
    before: dict[int, set[bytes]] = field(default_factory=dict)
    """Trade date that has begun → the ids of the one before, until the sender has ended that."""
    restated: set[bytes] | None = None
    """Of the roll that the sender is at."""

    def roll(self, trade_date: int, ids: set[bytes]) -> None:
        """Intake has begun a trade date; `ids` are the last one's."""
        self.before[trade_date] = ids

    def knows(self, key: bytes) -> bool:
        """Is this id in use, though not of this trade date?"""
        if not self.before:
            return key in self.keys
        return key in self.keys or any(key in ids for ids in self.before.values())

    def disjoint(self, keys: set[bytes]) -> bool:
        """Is none of these in use?"""
        return keys.isdisjoint(self.keys) and all(keys.isdisjoint(ids) for ids in self.before.values())

    def departed(self, found: Iterable[tuple[bytes, bytes]]) -> None:
        """A frame of the sender's journal, as runs. Nothing to do unless a roll is on its way."""
        if not self.before:
            return
        for kinds, data in found:
            if kinds[0] == Kind.SESSION:
                self._session(data)
            elif self.restated is not None and kinds[0] == Kind.REPORT:
                self._reports(data, self.restated)

    def _session(self, record: bytes) -> None:
        _, _, event, _, _, _, _, _, date, _ = SESSION.unpack(record)
        if date not in self.before:
            return  # the first date of all: nothing was before it
        if event == SessionEvent.MASS_ACTION and record[SESSION.size - TAIL.size] == Mass.ROLL:
            self.restated = set()
        elif event == SessionEvent.ROLL:
            self.keys, self.restated = self.restated or set(), None
            for ended in [begun for begun in self.before if begun <= date]:
                del self.before[ended]

    def _reports(self, data: bytes, restated: set[bytes]) -> None:
        if ExecType.RESTATED not in data[_AT_EXEC_TYPE::REPORT_BYTES]:
            return
        for at in range(0, len(data), REPORT_BYTES):
            report = data[at : at + REPORT_BYTES]
            if report[0] == Kind.REPORT and report[_AT_EXEC_TYPE] == ExecType.RESTATED:
                key, orig = report[REPORT_KEY], report[REPORT_ORIG]
                restated.add(key)
                if orig[0]:
                    restated.add(key[:ACCOUNT_MAX] + orig)
