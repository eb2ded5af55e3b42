"""All upstreams that are there: who comes and goes, whose turn it is, who lags.

An upstream's file appears in the folder complete. Before the first request is taken from a ring that the journal does
not know, an UPSTREAM record says its number, name, ring and where it begins; only then the ring's token goes into the
file. `notes` are the records to write, `noted` is called when they are durable.

An upstream of `orphans` that no process holds for longer than the grace time leaves: its record says so, once, and the
sender cancels its orders. It is told by the kernel's lock on the file, so a process that was killed counts like one
that closed; one that is stopped does not.
"""

from __future__ import annotations

import errno
import logging
import os
import resource
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from operator import methodcaller
from pathlib import Path
from time import monotonic_ns

from ipc.duplex import Duplex, Server
from ipc.errors import FrameTooLarge, IpcError, NoDescriptors
from oms_actors.core.intake import HERE, LEAVES, Intake, Piece, Upstream
from oms_actors.edges.journal import JournalReader
from oms_actors.edges.parked import Parked
from oms_actors.edges.parked import write as write_parked
from oms_actors.edges.refill import Refill
from oms_actors.edges.upstream_link import (
    INTAKE,
    REPORT_FRAME_BYTES_MIN,
    SENDER,
    WORD_TOKEN,
    Link,
    Said,
    fresh_token,
)
from oms_actors.instance import check_name

SUFFIX = ".up"
SPARE_DESCRIPTORS = 16
"""So many stay free for the desk's own files: a journal's next segment, the readers for those who lag."""
CHECK_NS = 1_000_000
ALL = "*"
READERS_MAX = SPARE_DESCRIPTORS // 2
_is_ready = methodcaller("ready")


class Upstreams:
    """`links` by number."""

    def __init__(
        self, folder: Path, core: Intake, limit: int, open_reader: Callable[[int, int], JournalReader],
        log: logging.Logger, orphans: Collection[str] = (), grace_ns: int = 0,
    ) -> None:  # fmt: skip
        self._folder, self._core, self._limit, self._open_reader, self._log = folder, core, limit, open_reader, log
        folder.mkdir(mode=0o700, exist_ok=True)
        self.links: dict[int, Link] = {}
        self.refills: dict[int, Refill] = {}
        self._joining: dict[int, tuple[Server, Upstream, int]] = {}  # with their files' inodes
        self._newcomers: set[int] = set()  # of these, whom nobody knew by name
        self._noting: dict[int, Link] = {}
        self._bad: dict[str, Parked] = {}  # files that are not served
        self._deadly = 0  # inode of a file that is the death of whoever touches it
        self._told: list[Parked] = []
        self.touched = memoryview(bytearray(8)).cast("Q")
        """The inode of the file that is being touched; shared memory, so that the next intake knows."""
        self._kept_waiting: dict[str, Parked] = {}  # for a descriptor
        self._folder_ns = self._checked_ns = self._looked_ns = 0
        self._orphans, self._grace_ns = orphans, grace_ns
        self._absent: dict[int, int] = {}  # number → since when (monotonic)
        self._changed_state: dict[int, int] = {}  # to be noted: number → state
        self._turn = 0
        self._gone = 0  # reports said to those who are not there any more

    # -- coming and going ---------------------------------------------------------------------------------------------

    def beware(self, touched: memoryview, former: int, parked: list[Parked]) -> None:
        """`touched` is the word from now on. Not served are the file `former` (an inode; 0 = none), which our
        predecessor touched when it died of a SIGBUS, and those that others died of before; `parked` was told last."""
        self.touched, self._deadly, self._told = touched, former, parked
        self._bad = {each.name: each for each in parked if each.deadly}

    def let_go(self) -> None:
        """No file is being touched."""
        self.touched[0] = 0

    def check(self) -> None:
        """Sees to it, once a millisecond, that no file is touched that was cut."""
        now = monotonic_ns()
        if now - self._checked_ns > CHECK_NS:
            self._checked_ns = now
            for link in self.links.values():
                link.is_whole()

    def changed(self) -> bool:
        """Has anybody come or gone? Looks once a millisecond at most."""
        now = monotonic_ns()
        if now - self._looked_ns <= CHECK_NS:
            return False
        self._looked_ns = now
        return os.stat(self._folder).st_mtime_ns != self._folder_ns

    def scan(self, last: Said) -> None:
        """Finds who came, who went, and whose file is another one now."""
        self._folder_ns = os.stat(self._folder).st_mtime_ns
        try:
            with os.scandir(self._folder) as entries:
                found = sorted((e.name, e.inode()) for e in entries)  # numbers do not hang on the kernel's order
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            return  # the next tick looks again
        there = {name.removesuffix(SUFFIX): file for name, file in found if name.endswith(SUFFIX)}
        for link in [link for link in self.links.values() if there.get(link.name) != link.file]:
            self._part(link)
        known = {link.name for link in self.links.values()} | {u.name.decode() for _, u, _ in self._joining.values()}
        self._bad = {name: bad for name, bad in self._bad.items() if there.get(name) == bad.file}
        self._kept_waiting = {name: each for name, each in self._kept_waiting.items() if name in there}
        for name, file in there.items():
            if file == self._deadly:
                self._refuse(Parked(name, file, "intake died of a SIGBUS while it touched this file", deadly=True))
            elif name not in known and name not in self._bad:
                self._meet(name, file, last)

    def _refuse(self, bad: Parked) -> None:
        if bad.name not in self._bad:
            self._log.error("upstream %s is not served: %s", bad.name, bad.reason)
        self._bad[bad.name] = bad

    def _part(self, link: Link) -> None:
        del self.links[link.number]
        self._noting.pop(link.number, None)
        self._end_refill(link.number)
        self._gone += link.spoken
        self._bad = {name: bad for name, bad in self._bad.items() if bad.deadly}  # there is room for one more
        link.close()
        self._log.info("upstream %s: its file is gone", link.name)

    def _meet(self, name: str, file: int, last: Said) -> None:
        """Goes on with the ring that the journal knows, or has the journal know it first."""
        self.touched[0] = file
        try:
            server = self._attach(name)
        except NoDescriptors as error:  # the next tick tries again
            if name not in self._kept_waiting:
                self._log.error("upstream %s is not served until others leave: %s", name, error)
            self._kept_waiting[name] = Parked(name, file, f"until others leave: {error}")
            return
        except (IpcError, OSError, ValueError) as error:
            self._refuse(Parked(name, file, str(error)))
            return
        self._kept_waiting.pop(name, None)
        known = self._core.named(name.encode())
        if known is not None and server.words[WORD_TOKEN] == known.token != 0:
            link = self.links[known.number] = Link(server, known, file, self.touched)
            link.resume(last)
            self._log.info("upstream %s: served on", name)
            return
        number = known.number if known else 1 + max((*self._core.upstreams, *self._joining), default=0)
        committed = known.committed if known else last
        if known is None:
            self._newcomers.add(number)
        fresh = Upstream(number, name.encode(), fresh_token(), server.requests.position, committed)
        self._joining[number] = (server, fresh, file)

    def _attach(self, name: str) -> Server:
        check_name("upstream", name)
        if len(self.links) + len(self._joining) >= self._limit:
            raise IpcError(f"there are {self._limit} upstreams already (desk.upstreams_max)")
        server = Duplex.attach_server(str(self._folder / f"{name}{SUFFIX}"))
        try:
            self._check(server)
        except IpcError:
            server.close()
            raise
        return server

    @staticmethod
    def _check(server: Server) -> None:
        """The kernel gives the lowest descriptor that is free, so a high one tells how few are left."""
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if 0 <= limit - SPARE_DESCRIPTORS <= server.fd:
            raise NoDescriptors(server.path, f"of {limit}, {SPARE_DESCRIPTORS} are kept for the desk's own files")
        if server.reports.frame_bytes_max < REPORT_FRAME_BYTES_MIN:
            raise FrameTooLarge(server.reports.name, REPORT_FRAME_BYTES_MIN, server.reports.frame_bytes_max)

    def watch(self, now: int) -> None:
        """Who of those whose orders do not outlive them is gone, or back again?"""
        if not self._orphans:
            return
        for upstream in self._core.upstreams.values():
            if upstream.name.decode() not in self._orphans and ALL not in self._orphans:
                continue
            link = self.links.get(upstream.number)
            if link is not None and link.server.client_alive():
                self._absent.pop(upstream.number, None)
                if upstream.state != HERE:
                    self._changed_state[upstream.number] = HERE
            elif upstream.state == HERE and now - self._absent.setdefault(upstream.number, now) >= self._grace_ns:
                self._log.warning("upstream %s is gone: its orders are canceled", upstream.name.decode())
                self._changed_state[upstream.number] = LEAVES

    # -- what the journal is to know ----------------------------------------------------------------------------------

    def look(self) -> None:
        """Finds out who has taken reports since that was journalled."""
        for link in self.links.values():
            link.look()
            if link.spoken != link.noted and link.progress != link.upstream.committed:
                self._noting[link.number] = link

    def notes(self) -> list[Upstream]:
        """The UPSTREAM records to write, which come before any request in their frame."""
        if not (self._noting or self._changed_state or self._joining):
            return []
        known, changed = self._core.upstreams, self._changed_state
        progress = {number: link.progress for number, link in self._noting.items()}
        told = [
            replace(known[number], committed=progress.get(number, known[number].committed),
                    state=changed.get(number, known[number].state))
            for number in {**progress, **changed}
        ]  # fmt: skip
        return told + [upstream for _, upstream, _ in self._joining.values()]

    def noted(self, last: Said) -> None:
        """They are durable: new rings are served."""
        if not (self._noting or self._changed_state or self._joining):
            return
        for link in self._noting.values():
            link.noted = link.spoken
        self._noting.clear()
        self._changed_state.clear()
        for server, upstream, file in self._joining.values():
            known = self._core.upstreams[upstream.number]
            link = self.links[upstream.number] = Link(server, known, file, self.touched)
            link.begin(last, upstream.number in self._newcomers)
            self._log.info("upstream %s: has number %d", link.name, link.number)
        self._joining.clear()
        self._newcomers.clear()

    def newly_parked(self) -> Iterator[Link]:
        """Those whose file has turned out to be impossible, once each."""
        for link in self.links.values():
            if link.parked and not link.parked_told:
                link.parked_told = True
                self._end_refill(link.number)
                self._log.error("upstream %s is not served any more: %s", link.name, link.parked)
                yield link

    # -- requests and reports -----------------------------------------------------------------------------------------

    def ready(self) -> bool:
        """Has anybody requests to take?"""
        return any(map(_is_ready, self.links.values()))

    def take_alone(self) -> tuple[Link, int, bytes] | None:
        """The only request that there is: from whom, its place, the record. None, and nothing is taken, if there are
        none or several, or if anything else goes on here."""
        if self._noting or self._changed_state or self._joining or self.refills:
            return None
        found, several = None, len(self.links) > 1
        for link in self.links.values():
            if link.lagging or (link.parked and not link.parked_told):
                return None
            if several and not link.ready():
                continue
            if found is not None:
                return None
            found = link
        if found is None or (record := found.take_one()) is None:
            return None
        return found, found.place, record

    def take(self, max_bytes: int) -> tuple[list[Link], list[Piece]]:
        """A fair share from each who has something, about `max_bytes` in all; the turn goes round."""
        waiting = [link for link in self.links.values() if link.ready()]
        if len(waiting) < 2:
            return waiting, waiting[0].take(max_bytes) if waiting else []
        links = list(self.links.values())
        turn = self._turn % len(links)
        waiting.sort(key=lambda link: links.index(link) < turn)
        taken: list[Link] = []
        pieces: list[Piece] = []
        left = max_bytes
        for link in waiting:
            if left <= 0:
                break
            found = link.take(max(1, left // (len(waiting) - len(taken))))
            left -= sum(len(piece.data) for piece in found)
            taken.append(link)
            pieces += found
        if taken:
            self._turn = links.index(taken[-1]) + 1
        return taken, pieces

    def say(self, origin: int, sequence: int, reports: Mapping[int, bytes | bytearray]) -> None:
        """Tells each upstream (by number) its reports, after which it knows everything up to `sequence`."""
        for number, data in reports.items():
            link = self.links.get(number)
            if link is not None and not link.lagging:
                link.say(origin, sequence, data)

    def heard_all(self, last: Said) -> None:
        """Whoever does not lag has been told everything there is up to now."""
        for link in self.links.values():
            if not link.parked:
                link.heard_nothing(INTAKE, last[INTAKE])
                link.heard_nothing(SENDER, last[SENDER])

    def taken_by_all(self, last: Said) -> Said:
        """Up to which sequences of intake's and of the sender's journal everybody who is there has taken what it was
        told. (What only lies in its ring may be lost with that.)"""
        taken = [last, *(link.progress for link in self.links.values() if not link.parked)]
        taken += [upstream.committed for _, upstream, _ in self._joining.values()]
        return min(each[INTAKE] for each in taken), min(each[SENDER] for each in taken)

    def refill(self, last: Said) -> bool:
        """One step for each who lags; True if anybody got on."""
        moved = False
        for number, link in self.links.items():
            if link.lagging and not link.parked:
                refill = self.refills.get(number)
                if refill is None:
                    refill = self.refills[number] = Refill(link, self._open_reader)
                crowded = sum(each.reads for each in self.refills.values()) >= READERS_MAX
                moved |= refill.step(last, crowded)
            if number in self.refills and not link.lagging:
                self._end_refill(number)
        return moved

    def _end_refill(self, number: int) -> None:
        refill = self.refills.pop(number, None)
        if refill is not None:
            refill.close()

    @property
    def spoken(self) -> int:
        """Reports said to anybody."""
        return self._gone + sum(link.spoken for link in self.links.values())

    @property
    def parked(self) -> list[Parked]:
        """The files that are not served because of what is in them."""
        linked = (Parked(link.name, link.file, link.parked) for link in self.links.values() if link.parked)
        return [*self._bad.values(), *linked]

    def tell_parked(self, path: Path) -> None:
        """Writes down who is not served, if that has changed; where there is no space for it, the next time."""
        parked = [*self.parked, *self._kept_waiting.values()]
        if parked == self._told:
            return
        try:
            write_parked(path, parked)
        except OSError as error:
            self._log.warning("%s: %s", path, error)
            return
        self._told = parked
