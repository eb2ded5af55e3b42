"""Which segments of the journals nobody needs any more, and their removal.

A segment goes once all of this holds: the database has its rows, synced; both snapshots that are kept of intake and of
the sender check out and begin behind it; every upstream that is there has taken what is in it; and it was full
`journal_keep_days` ago, so that upstreams that come late and people find it that long. Two looks in a row must agree,
so that somebody who has only just come is not overlooked. The first of these that cannot be found out keeps everything.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import closing
from itertools import pairwise
from pathlib import Path

from ipc.errors import IpcError
from ipc.page import Page
from oms_actors.edges import snapshots
from oms_actors.edges.disk import Disk
from oms_actors.edges.journal import Position, segments

ROLES = ("intake", "sender")
LOOK_NS = 60_000_000_000
DAY_NS = 86_400_000_000_000


def recovery_needs(folder: Path) -> dict[str, Position] | None:
    """By role: what a restart may read begins there, even if the newest snapshots are damaged meanwhile. None: not
    enough snapshots check out."""
    needs: dict[str, list[Position]] = {role: [] for role in ROLES}
    for role, other in (ROLES, ROLES[::-1]):
        found = snapshots.references(folder, role)
        if len(found) < snapshots.KEPT:
            return None
        for own, others in found:
            needs[role].append(own)
            needs[other].append(others)
    return {role: min(positions) for role, positions in needs.items()}


def taken_by_all(intake_page: Path) -> dict[str, int]:
    """By role: up to which sequence every upstream that is there has taken its reports; 0 where nobody says."""
    try:
        with closing(Page.attach(str(intake_page))) as page:
            return {role: page[f"taken_{role}"] for role in ROLES}
    except (IpcError, OSError, KeyError):
        return dict.fromkeys(ROLES, 0)


def removable(disk: Disk, role: str, below: Position, taken: int, before_ns: int) -> list[str]:
    """The segments that lie wholly below a position, whose records are all `taken`, and that were full by `before_ns`
    (UTC); oldest first."""
    gone = []
    for segment, following in pairwise(segments(disk, role)):
        if following.position > below or following.sequence - 1 > taken or following.wall_ns > before_ns:
            break
        gone.append(segment.name)
    return gone


class Retention:
    """`look` now and then; most of the time it costs nothing. `settle` makes what is committed in the database durable;
    False: not now."""

    def __init__(
        self, disk: Disk, folder: Path, intake_page: Path, keep_days: int, settle: Callable[[], bool],
        log: logging.Logger,
    ) -> None:  # fmt: skip
        self._disk, self._folder, self._page, self._keep_ns = disk, folder, intake_page, keep_days * DAY_NS
        self._settle, self._log = settle, log
        self._due_ns = 0
        self._seen: set[str] = set()

    def look(self, committed: Mapping[str, Position], now_ns: int, wall_ns: int) -> list[str]:
        """Removes what nobody needs; returns the names. `committed`: how far the database is in each journal."""
        if now_ns < self._due_ns:
            return []
        self._due_ns = now_ns + LOOK_NS
        found = self._removable(committed, wall_ns)
        gone = [name for name in found if name in self._seen]
        self._seen = set(found)
        if not gone or not self._settle():
            return []
        for name in gone:
            self._disk.remove(name)
        self._log.info("removed from the journals, since nobody needs them any more: %s", ", ".join(gone))
        return gone

    def _removable(self, committed: Mapping[str, Position], wall_ns: int) -> list[str]:
        old = any(len(segments(self._disk, role)) > 1 for role in ROLES)
        needs = recovery_needs(self._folder) if old else None
        if needs is None:
            return []
        taken = taken_by_all(self._page)
        return [
            name for role in ROLES
            for name in removable(
                self._disk, role, min(needs[role], committed[role]), taken[role], wall_ns - self._keep_ns
            )
        ]  # fmt: skip
