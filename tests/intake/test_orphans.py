"""Whose orders do not outlive them: an upstream that is gone for longer than the grace time leaves, once."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from oms_actors.core.intake import GONE, HERE, LEAVES, Intake, Upstream, upstream_record
from oms_actors.edges.upstreams import Upstreams

GRACE_NS = 100


class Watched:
    """Upstreams 1 ("a") and 2 ("b"), both there, under a clock."""

    def __init__(self, folder: Path, *orphans: str) -> None:
        self.folder, self.orphans = folder, orphans
        self.core = Intake()
        self.alive = {1: True, 2: True}
        for number, name in ((1, b"a"), (2, b"b")):
            self.core.upstreams[number] = Upstream(number, name)
        self.begin()

    def begin(self) -> None:
        """Intake is started (again), with what its journal knows."""
        nobody: Any = None
        log = logging.getLogger("orphans")
        self.upstreams = Upstreams(self.folder / "up", self.core, 9, nobody, log, self.orphans, GRACE_NS)
        for number in self.alive:
            server = SimpleNamespace(client_alive=lambda number=number: self.alive[number])
            self.upstreams.links[number] = SimpleNamespace(server=server)  # type: ignore[assignment]

    def at(self, now: int) -> list[tuple[int, int]]:
        """(number, state) of what is journalled at an instant."""
        self.upstreams.watch(now)
        notes = self.upstreams.notes()
        for note in notes:
            self.core.apply(upstream_record(note), 1)
        self.upstreams.noted((0, 0))
        return [(note.number, note.state) for note in notes]


def test_who_is_back_within_the_grace_time_was_not_gone(tmp_path: Path) -> None:
    watched = Watched(tmp_path, "a")
    assert watched.at(0) == []
    watched.alive[1] = False
    assert [watched.at(10), watched.at(109)] == [[], []]
    watched.alive[1] = True
    assert watched.at(110) == []
    watched.alive[1] = False
    assert [watched.at(120), watched.at(219), watched.at(220)] == [[], [], [(1, LEAVES)]]


def test_it_leaves_once_also_across_a_restart_and_is_here_when_it_comes_back(tmp_path: Path) -> None:
    watched = Watched(tmp_path, "a")
    watched.alive[1] = False
    watched.at(0)
    assert watched.at(GRACE_NS) == [(1, LEAVES)]
    assert watched.core.upstreams[1].state == GONE
    assert watched.at(5 * GRACE_NS) == []
    watched.begin()
    assert [watched.at(0), watched.at(9 * GRACE_NS)] == [[], []]
    watched.alive[1] = True
    assert watched.at(10 * GRACE_NS) == [(1, HERE)]
    assert watched.core.upstreams[1].state == HERE


def test_only_those_who_are_named_leave_or_everybody(tmp_path: Path) -> None:
    for orphans, leaving in ((("b",), [2]), (("*",), [1, 2]), ((), [])):
        watched = Watched(tmp_path, *orphans)
        watched.alive = dict.fromkeys(watched.alive, False)
        watched.at(0)
        assert [number for number, _ in watched.at(GRACE_NS)] == leaving


def test_one_whose_file_was_taken_away_is_gone_as_well(tmp_path: Path) -> None:
    watched = Watched(tmp_path, "a")
    del watched.upstreams.links[1]
    watched.at(0)
    assert watched.at(GRACE_NS) == [(1, LEAVES)]
