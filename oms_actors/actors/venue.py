"""The simulated exchange as a process: takes frames from its links, journals them, answers, tells the market.

One cycle: peek frames of every link, step the pure venue (`core.venue`), append what was taken to the journal, send
what is due, commit. Killed anywhere, nothing is lost: the journal holds what the venue knows, the rings hold what it
does not, and reports whose way into a ring was not noted are made again by the replay and flagged as possible
duplicates.

    <runtime>/venue/<session>.up    links, made by the clients         <runtime>/venue.page     its own record
    <runtime>/venue/published       by member: number of the last report that is in the ring, survives the process
    <runtime>/venue/*.cast, *.page  market data (`edges.market_data`)
"""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable
from time import monotonic_ns, time_ns

from ipc import inject, segment
from ipc.errors import NotThere, RingCorrupt
from ipc.page import Page
from ipc.ring import FRAME_HEADER_BYTES
from oms_actors import record
from oms_actors.actors.commands import Stats, Trading
from oms_actors.actors.shell import Context, main
from oms_actors.core.controls import Verb, decode_session, encode_command, encode_session
from oms_actors.core.engine import Engine
from oms_actors.core.execution import Counts, Member
from oms_actors.core.venue import OPERATOR, Venue, is_intents
from oms_actors.edges.faults import Faults
from oms_actors.edges.journal import JournalFull
from oms_actors.edges.market_data import MarketWriter
from oms_actors.edges.venue_journal import VenueJournal
from oms_actors.edges.venue_past import make_model
from oms_actors.edges.venue_server import Outbox, Port, Ports, say_again, sequence_of, time_of
from oms_actors.errors import ONE
from oms_actors.instance import VENUE, read_desk
from oms_actors.messages import Kind, SessionEvent
from oms_actors.record import REPORT_BYTES

SCAN_NS = 200_000_000
RETRY_NS = 1_000_000
"""After which a full report ring is tried again."""
DEPTH_NS = 2_000_000
"""Depth is told at most so often."""
CHILD_NS = 20_000_000
"""How often a snapshot that is being written is looked at."""
TAKE_BYTES = 64 << 10
"""Requests taken from one link in one cycle: frames up to the one that reaches this."""
CYCLE_BYTES = 4 * TAKE_BYTES
"""After that many from all links, the cycle ends; the next begins with the links that were not looked at."""
ROOM_BYTES = 3 << 20
"""What a cycle may write at most: CYCLE_BYTES, a take and a whole frame beyond, and a head for each ring frame."""
LAG_REPORTS_MAX = 100_000
"""A member with more reports waiting gets none of its requests read."""
MEMBERS_MAX = 511
TRADES_TOLD_AGAIN = 10_000
"""Of those since the last snapshot, after a restart."""
_GARBAGE = bytes(1)
"""No record begins like that: what stands for the rest of a frame that could not be read."""
_NAMES = tuple(sorted(Counts.__slots__))


class VenueRole:
    """See above. The order of the methods is the order of a cycle."""

    def __init__(self, context: Context) -> None:
        resolved = read_desk(context.runtime)
        config = resolved.config.venue
        self._context, self._config, self._log = context, config, context.log
        self._latency_ns = config.latency_us * 1_000
        self._model = make_model(config)
        self._venue = Venue(self._model)
        self._ports = Ports(context.path(VENUE), context.log)
        self._page = Page.create(context.path("venue.page"), _NAMES)
        self._counters = [(name, self._page.index(name)) for name in _NAMES if name != "volume"]
        self._published = _published(context.path(f"{VENUE}/published"))
        self._outboxes: dict[int | str, Outbox] = {}
        self._journal = VenueJournal(resolved)
        self._market = MarketWriter(context.path(VENUE)) if config.model == "match" else None
        self._faults = Faults(config.faults, self._journal.generation) if config.faults else None
        self._first = 0
        self._scan_due_ns = self._send_due_ns = self._depth_due_ns = self._blocked_until_ns = 0
        self._snapshot_ns = config.snapshot_interval_sec * 1_000_000_000
        self._snapshot_due_ns = monotonic_ns() + self._snapshot_ns

    # -- the role ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Snapshot, journal, links."""
        self._recover()
        self._scan()
        self._count()
        self._tell_market(monotonic_ns())

    def ready(self) -> bool:
        """Requests of a member that lags are none: the clock says when its reports are tried again."""
        if self._blocked_until_ns:
            return False
        return any(port.ready() and not self._lags(port) for port in self._ports.open.values())

    def next_due_ns(self) -> int:
        if self._blocked_until_ns:
            return self._blocked_until_ns
        dues = [self._scan_due_ns, self._snapshot_due_ns, self._send_due_ns]
        if isinstance(self._model, Engine) and self._model.touched:
            dues.append(self._depth_due_ns)
        expiry_ns = self._model.next_tick_ns()
        if expiry_ns:
            dues.append(monotonic_ns() + max(expiry_ns - time_ns(), 1))
        return min(due for due in dues if due)

    def work(self) -> bool:
        now_ns = monotonic_ns()
        if now_ns < self._blocked_until_ns:
            return False
        self._blocked_until_ns = 0
        wall_ns = time_ns()
        if self._has_room():
            if now_ns >= self._scan_due_ns:
                self._scan()
            self._take(wall_ns)
            self._tick(wall_ns)
        did = self._finish(wall_ns)
        self._tell_market(now_ns)
        if now_ns >= self._snapshot_due_ns:
            self._snapshot(now_ns)
        return did

    def command(self, message: object) -> object:
        if isinstance(message, Stats):
            return self._page.counters()
        if isinstance(message, Trading):
            return self._operate(message)
        return None

    def _operate(self, message: Trading) -> str:
        """Why it cannot be done; empty if it is."""
        if message.symbol and self._config.symbols and message.symbol not in self._config.symbols:
            return f"symbol {message.symbol!r}: not one of [venue] symbols {', '.join(self._config.symbols)}"
        if not self._has_room():
            return "the venue's disk is full: free some space"
        wall_ns = time_ns()
        self._input(OPERATOR, encode_command(Verb[message.do.upper()], "", message.symbol), wall_ns)
        self._finish(wall_ns)
        return ""

    def stop(self) -> None:
        self._journal.finish(wait=True)
        if self._journal.is_behind:
            self._journal.snapshot(self._venue.dump, self._pending())
            self._journal.finish(wait=True)
        self._journal.close()
        if self._market:
            self._market.close()
        self._ports.close()

    # -- requests ---------------------------------------------------------------------------------------------------

    def _scan(self) -> None:
        self._scan_due_ns = monotonic_ns() + SCAN_NS
        for port in self._ports.scan()[0]:
            file, position = self._journal.links.get(port.name, (0, 0))
            if file == port.file:
                port.skip_to(position)
            else:
                self._input(port.name, encode_session(SessionEvent.CONNECTED, port.name), time_ns(), port)
            self._log.info("link %s attached", port.name)

    def _take(self, wall_ns: int) -> None:
        """Steps the venue through what the links have; whoever comes first this time comes last the next."""
        ports = list(self._ports.open.values())
        first, taken = self._first % len(ports) if ports else 0, 0
        for number, port in enumerate(ports[first:] + ports[:first]):
            if taken >= CYCLE_BYTES:
                self._first = first + number
                break
            if not port.ready() or self._lags(port):
                continue
            try:
                found = port.take(TAKE_BYTES)
            except RingCorrupt as error:
                self._ports.park(port, error)
                continue
            taken += sum(map(len, found)) + len(found) * FRAME_HEADER_BYTES
            if len(found) > 1 and all(map(is_intents, found)):
                found = [b"".join(found)]
            for frame in found:
                cut = False
                if not is_intents(frame):
                    frame = self._checked(port, frame)
                elif self._faults:
                    frame, cut = self._faults.requests(frame)
                self._input(port.name, frame, wall_ns, port)
                if cut:
                    self._input(port.name, encode_session(SessionEvent.DISCONNECTED, port.name), wall_ns, port)

    def _input(self, link: str, frame: bytes, wall_ns: int, port: Port | None = None) -> None:
        self._venue.step(link, frame, wall_ns)
        file, position = (port.file, port.server.requests.position) if port else (0, 0)
        self._journal.note(link, file, position, frame)

    def _lags(self, port: Port) -> bool:
        link = self._venue.links.get(port.name)
        outbox = self._outboxes.get(link.member.number) if link and link.member else None
        return outbox is not None and outbox.reports > LAG_REPORTS_MAX

    def _has_room(self) -> bool:
        """Would the journal take a cycle's requests? If not they wait in their rings."""
        try:
            self._journal.reserve(ROOM_BYTES)
        except JournalFull as error:
            self._log.error("no request is taken: %s", error)
            self._blocked_until_ns = monotonic_ns() + 1_000_000_000
            return False
        return True

    def _checked(self, port: Port, frame: bytes) -> bytes:
        """The frame with every logon turned into the fact whether it is right; no password goes any further, and
        nothing of what cannot be read."""
        found: list[bytes] = []
        try:
            for data in record.records(frame):
                found += (self._logon(port, data) if data[0] == Kind.SESSION else data,)
        except ValueError:
            found.append(_GARBAGE)
        return b"".join(found)

    def _logon(self, port: Port, data: bytes) -> bytes:
        event, name, password = decode_session(data)
        if event != SessionEvent.LOGON_SENT:
            return data if event == SessionEvent.LOGOUT_SENT else encode_session(SessionEvent.LOGON_REJECTED, name)
        config = self._config
        right = config.username in ("", name) and config.password in ("", password)
        member = self._venue.members.get(name)
        elsewhere = self._venue.link_of(member) if member else None
        if elsewhere and elsewhere.is_on and elsewhere.name != port.name:
            other = self._ports.open.get(elsewhere.name)
            right = right and not (other and other.server.client_alive())
        right = right and (member is not None or len(self._venue.members) < MEMBERS_MAX)
        self._log.info("link %s: logon of %s %s", port.name, name, "accepted" if right else "refused")
        return encode_session(SessionEvent.LOGGED_ON if right else SessionEvent.LOGON_REJECTED, name)

    def _tick(self, wall_ns: int) -> None:
        if 0 < self._model.next_tick_ns() <= wall_ns:
            self._venue.tick(wall_ns)
            self._journal.note("", 0, 0, b"")

    # -- answers ----------------------------------------------------------------------------------------------------

    def _finish(self, wall_ns: int) -> bool:
        """Makes what was taken durable, answers, and gives the requests back to their rings; was there anything?"""
        self._die_at(0)
        did = self._journal.flush(wall_ns)
        self._die_at(1)
        if did:
            inject.point("venue.journalled")
            self._say()
        self._send(monotonic_ns())
        self._die_at(2)
        for port in self._ports.open.values():
            port.server.requests.commit()
        if did:
            inject.point("venue.committed")
            self._count()
        if self._faults and self._faults.block_ns:
            self._blocked_until_ns = monotonic_ns() + self._faults.block_ns
            self._faults.block_ns = 0
        return did

    def _die_at(self, place: int) -> None:
        if self._faults and self._faults.dies_at == place:
            os.kill(os.getpid(), signal.SIGKILL)

    def _say(self) -> None:
        """Puts what the venue said into the outboxes."""
        due_ns = monotonic_ns() + self._latency_ns + (self._faults.delay_ns() if self._faults else 0)
        for speaker in self._venue.speakers():
            reports = self._faults.reports(speaker.out) if self._faults and speaker.number else speaker.out
            self._outbox(speaker).add(reports, due_ns)
            speaker.out.clear()

    def _outbox(self, speaker: Member) -> Outbox:
        key = speaker.number or speaker.name
        outbox = self._outboxes.get(key)
        if outbox is None:
            outbox = self._outboxes[key] = Outbox(self._noter(speaker.number))
        return outbox

    def _noter(self, number: int) -> Callable[[int], None]:
        words = self._published

        def note(last: int) -> None:
            words[number] = last

        return note

    def _send(self, now_ns: int) -> None:
        self._send_due_ns = 0
        for link in self._venue.links.values():
            port = self._ports.open.get(link.name)
            if port:
                for key in (link.name, link.member.number if link.member else 0):
                    outbox = self._outboxes.get(key)
                    if outbox:
                        self._pump(outbox, port, now_ns)

    def _pump(self, outbox: Outbox, port: Port, now_ns: int) -> None:
        try:
            room = outbox.pump(port, now_ns)
        except RingCorrupt as error:
            self._ports.park(port, error)
            return
        due_ns = outbox.due_ns() if room else now_ns + RETRY_NS
        if due_ns and (not self._send_due_ns or due_ns < self._send_due_ns):
            self._send_due_ns = due_ns

    def _count(self) -> None:
        words, counts = self._page.words, self._model.counts
        for name, index in self._counters:
            words[index] = getattr(counts, name)
        self._page["volume"] = counts.volume // ONE

    # -- market data ------------------------------------------------------------------------------------------------

    def _tell_market(self, now_ns: int) -> None:
        engine = self._model
        if not isinstance(engine, Engine) or self._market is None:
            return
        if engine.trades:
            self._market.trades(engine.trades)
            engine.trades.clear()
        if not engine.touched or now_ns < self._depth_due_ns:
            return
        for symbol in engine.touched:
            self._market.depth(symbol, engine.books[symbol], time_ns())
        engine.touched.clear()
        self._depth_due_ns = now_ns + DEPTH_NS

    # -- what survives ----------------------------------------------------------------------------------------------

    def _snapshot(self, now_ns: int) -> None:
        """Begins a snapshot, or looks whether the one that was begun is there."""
        done = self._journal.finish()
        if done is False:
            self._log.error("a snapshot could not be written; the journal keeps everything")
        if self._journal.is_writing:
            self._snapshot_due_ns = now_ns + CHILD_NS
            return
        if done is None and self._journal.is_behind:
            self._journal.snapshot(self._venue.dump, self._pending())
            self._snapshot_due_ns = now_ns + CHILD_NS
            return
        self._snapshot_due_ns = now_ns + self._snapshot_ns

    def _pending(self) -> dict[int, list[bytes]]:
        return {key: box.pending() for key, box in self._outboxes.items() if isinstance(key, int)}

    def _recover(self) -> None:
        """The state before the end; what had not been noted as published is said again, as a possible duplicate."""
        gc.disable()  # what is loaded stays; walking over it again and again takes five times as long
        self._still_here()
        snapshot = self._journal.load()
        if snapshot:
            self._venue.load(snapshot.venue, self._still_here)
            for member in self._venue.members.values():
                self._resume(member, b"".join(snapshot.pending.get(member.number, [])))
        for inputs in self._journal.replay():
            self._still_here()
            for given in inputs:
                if given.link or given.frame:
                    self._venue.step(given.link, given.frame, given.time_ns)
                else:
                    self._venue.tick(given.time_ns)
            for speaker in self._venue.speakers():
                self._resume(speaker, b"".join(speaker.out))
                speaker.out.clear()
            if isinstance(self._model, Engine):  # the last are told again: who followed may not have got them
                del self._model.trades[:-TRADES_TOLD_AGAIN]
        if isinstance(self._model, Engine):
            self._model.touched.update(self._model.books)
        self._context.vitals.leave_call()
        gc.enable()

    def _still_here(self) -> None:
        """A step of the recovery may take longer than a heartbeat."""
        self._context.beat()
        self._context.vitals.enter_call(monotonic_ns())

    def _resume(self, member: Member, said: bytes) -> None:
        """Of what was `said` to a member, sends what it cannot have got; with new rings that is all that is known, but
        for what was about a connection that is over."""
        if not member.number:
            return
        words, box, there = self._published, self._outbox(member), 0
        new_ns, published = words[0], words[member.number]
        while there < len(said) and sequence_of(said, there) <= published:
            there += REPORT_BYTES
        if there:
            box.was_sent(said[:there])
        reports = [said[at : at + REPORT_BYTES] for at in range(there, len(said), REPORT_BYTES)]
        box.add([again for each in reports if (again := say_again(each, only_orders=time_of(each) < new_ns))], 0)


def _published(path: str) -> memoryview:
    """The words that say, by member, which reports are in its ring; the first one, when the rings were new (UTC ns)."""
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    try:
        return segment.attach(path).view.cast("Q")
    except NotThere:
        words = segment.create(path, 8 * (MEMBERS_MAX + 1), lambda view: None).view.cast("Q")
        words[0] = time_ns()
        return words


if __name__ == "__main__":
    main("venue", VenueRole)
