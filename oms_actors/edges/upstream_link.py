"""Intake's end of one upstream's file: takes requests, says reports, and knows how far each has come.

What has been said is noted in the file itself: the sequences of intake's and of the sender's journal up to which this
upstream has been told everything. So a restarted intake goes on where it was; at worst a batch is said twice under the
same sequences, and the upstream drops it. These words are untrusted, as is all of the file: a lie costs only the liar.

A report ring without room makes the link *lag*: it takes no requests and is told nothing directly any more, until
`Refill` has told it the rest from the journals. A file that cannot be true is *parked*, with the reason.

An upstream that cuts its file short makes the next touch of it a SIGBUS. So its length is looked at before each batch
and, while there is nothing to do, every millisecond. What is left is the instant between the look and the touch: who
hits that ends intake, once. For before a file is touched its inode goes into a word that outlives us (`touched`), and
an intake whose predecessor died of a SIGBUS does not serve the file that stands there, whatever it looks like by then.
"""

from __future__ import annotations

import os

from ipc.duplex import Server
from ipc.errors import RingCorrupt
from oms_actors.core.answers import sequence_of
from oms_actors.core.intake import Piece, Upstream
from oms_actors.messages import Kind
from oms_actors.record import REPORT_BYTES, REQUEST_BYTES, REQUEST_FRAME_BYTES_MAX

CANNOT_BE = (RingCorrupt, ValueError, OverflowError)
"""How a file shows that its content cannot be true: most of it is checked, the rest does not fit into a word."""
REPORT_FRAME_BYTES_MIN = 2 * REPORT_BYTES
"""A report and its text are never apart, so a report ring has to hold frames of so much."""
INTAKE, SENDER = 0, 1
"""Where a report comes from: whose sequence it has."""
WORD_TOKEN, WORD_INTAKE, WORD_SENDER = 0, 1, 2
Said = tuple[int, int]


def fresh_token() -> int:
    """Names one ring for ever; 0 is none."""
    return int.from_bytes(os.urandom(8), "little") or 1


class Link:
    """One upstream that is there. `upstream` is the core's view of it."""

    def __init__(self, server: Server, upstream: Upstream, file: int, touched: memoryview) -> None:
        self.server, self.upstream, self.file, self._touched = server, upstream, file, touched
        self.number, self.name = upstream.number, upstream.name.decode()
        self.said = [0, 0]
        """By origin: everything up to this sequence has been said."""
        self.lagging = False
        self.parked = ""
        self.parked_told = False
        self.progress: Said = upstream.committed
        """What the upstream is known to have taken, which the journal is to know sooner or later."""
        self.spoken = 0
        """Reports said."""
        self.noted = 0
        """Of these, when its progress was journalled last."""
        self._checkpoint = (server.reports.position, upstream.committed)
        self._chunk = server.reports.frame_bytes_max // REPORT_BYTES * REPORT_BYTES
        self._requests, self._fd, self._mapped_bytes = server.requests, server.fd, server.mapped_bytes

    # -- beginning ----------------------------------------------------------------------------------------------------

    def resume(self, last: Said) -> None:
        """The ring is the one the journal knows: skips what was taken in, goes on with what was not said."""
        if not self.is_whole():
            return
        words, committed = self.server.words, self.upstream.committed
        for origin, word in ((INTAKE, WORD_INTAKE), (SENDER, WORD_SENDER)):
            self.said[origin] = min(max(words[word], committed[origin]), last[origin])
        self.lagging = tuple(self.said) != last
        self._checkpoint = (self.server.reports.position, (self.said[INTAKE], self.said[SENDER]))
        requests = self.server.requests
        try:
            while requests.position < self.upstream.place and requests.peek() is not None:
                pass
            requests.commit()
        except CANNOT_BE as error:
            self.parked = str(error)

    def begin(self, last: Said, newcomer: bool) -> None:
        """The ring is new and the journal knows it now: it is told what its upstream has not taken before."""
        self.said = list(last if newcomer else map(min, self.upstream.committed, last))
        self.lagging = tuple(self.said) != last
        if not self.is_whole():
            return
        words = self.server.words
        words[WORD_INTAKE], words[WORD_SENDER] = self.said
        words[WORD_TOKEN] = self.upstream.token

    def is_whole(self) -> bool:
        """May the file be touched? Parks the link if it was cut."""
        if self.parked:
            return False
        self._touched[0] = self.file
        size = os.lseek(self._fd, 0, os.SEEK_END)
        if size < self._mapped_bytes:
            self.parked = f"its file was cut to {size} bytes"
            return False
        return True

    # -- requests -----------------------------------------------------------------------------------------------------

    def ready(self) -> bool:
        """Are there requests to take?"""
        if self.lagging or self.parked:
            return False
        self._touched[0] = self.file
        return self._requests.ready()

    def take(self, max_bytes: int) -> list[Piece]:
        """The next requests, about `max_bytes` of them: one piece where they fit into one."""
        requests = self.server.requests
        if not self.is_whole():
            return []
        try:
            frames = requests.peek_many(max_bytes)
        except CANNOT_BE as error:
            self.parked = str(error)
            requests.rewind()
            return []
        if len(frames) == 1 and len(frames[0]) == REQUEST_BYTES:  # one request, for which somebody waits
            return [Piece(self.number, requests.position, frames[0])]
        odd = any(len(frame) % REQUEST_BYTES or len(frame) > REQUEST_FRAME_BYTES_MAX for frame in frames)
        if odd or sum(map(len, frames)) > REQUEST_FRAME_BYTES_MAX:  # joined, the last one may be too many
            return [Piece(self.number, requests.position, frame) for frame in frames]
        return [Piece(self.number, requests.position, frames[0] if len(frames) == 1 else b"".join(frames))]

    def take_one(self) -> bytes | None:
        """The next request, if it stands alone in its frame and nothing is behind it; else None, and nothing was
        taken."""
        if not self.is_whole():
            return None
        frame = self._requests.peek_one(REQUEST_BYTES)
        return None if frame is None else frame.tobytes()

    @property
    def place(self) -> int:
        """Behind the last request that was taken, in bytes since the ring was made."""
        return self._requests.position

    def commit(self) -> None:
        """What was taken is in the journal and answered."""
        if self.is_whole():
            self.server.requests.commit()

    def rewind(self) -> None:
        """What was taken is to come again."""
        self.server.requests.rewind()

    # -- reports ------------------------------------------------------------------------------------------------------

    def say(self, origin: int, sequence: int, reports: bytes | bytearray) -> bool:
        """Tells reports, after which everything up to `sequence` is said; False if that did not go all the way."""
        if not self.is_whole():
            return False
        at, end = 0, len(reports)
        if end == REPORT_BYTES:  # one report, for which somebody waits
            if not self._put(reports):
                self.lagging = True
                return False
            self.spoken += 1
            at = end
        while at < end:
            cut = self._cut(reports, at)
            if not self._put(reports if cut - at == end else reports[at:cut]):
                self.lagging = True
                return False
            self.spoken += (cut - at) // REPORT_BYTES
            if cut < end:
                self._note(origin, sequence_of(reports, cut - REPORT_BYTES))
            at = cut
        self._note(origin, sequence)
        return True

    def refuse(self, reports: bytes) -> bool:
        """Tells refusals that are in no journal; False if there is no room for all of them now (then it lags)."""
        ring = self.server.reports
        if not self.is_whole():
            return False
        try:
            if ring.free_bytes() < len(reports) + ring.capacity_bytes // 4 and ring.depth_bytes():
                self.lagging = True
                return False
        except CANNOT_BE as error:
            self.parked = str(error)
        return all(self._put(reports[at : at + self._chunk]) for at in range(0, len(reports), self._chunk))

    def _cut(self, reports: bytes | bytearray, at: int) -> int:
        """Where the next frame for the ring ends: a text stays with its report."""
        cut = at + self._chunk
        if cut >= len(reports):
            return len(reports)
        return cut - REPORT_BYTES if reports[cut] == Kind.TEXT else cut

    def _put(self, data: bytes | bytearray) -> bool:
        try:
            return self.server.reports.try_put(data)
        except CANNOT_BE as error:
            self.parked = str(error)
            return False

    def _note(self, origin: int, sequence: int) -> None:
        self.said[origin] = sequence
        self.server.words[WORD_INTAKE + origin] = sequence

    def has_room(self) -> bool:
        """Is half of the report ring free? Then a lagging link may go on."""
        if not self.is_whole():
            return False
        try:
            return self.server.reports.free_bytes() * 2 >= self.server.reports.capacity_bytes
        except CANNOT_BE as error:
            self.parked = str(error)
            return False

    def heard_nothing(self, origin: int, sequence: int) -> None:
        """There was nothing for it up to `sequence`."""
        if not self.lagging and not self.parked:
            self._touched[0] = self.file
            self._note(origin, sequence)

    # -- progress -----------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Finds out what the upstream has taken: what had been said when its ring was as long as it is now taken."""
        reports = self.server.reports
        if not self.is_whole():
            return
        try:
            taken = reports.committed()
        except CANNOT_BE as error:
            self.parked = str(error)
            return
        now = (reports.position, (self.said[INTAKE], self.said[SENDER]))
        if taken == reports.position:
            self._checkpoint = now
        if taken >= self._checkpoint[0]:
            self.progress = self._checkpoint[1]
            self._checkpoint = now

    def close(self) -> None:
        """Lets go of the file, which stays."""
        self.server.close()
