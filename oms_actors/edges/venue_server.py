"""The venue's end of its links: which sessions there are, and one `Port` for each.

A client makes its file and its bell's link itself (`edges.venue_link`); the server finds them by looking. A client
that comes back may have made a new file or sleep at another bell: the port is opened again, and goes on where the
rings stand. A file is recognised by a token that the server puts into it, for inodes come back. One that cannot be used
is reported once and looked at again only when it has changed.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections import deque
from collections.abc import Callable

from ipc.duplex import DUPLEX_SERVER_AT, Duplex, Server
from ipc.errors import IpcError
from ipc.wait import Bell
from oms_actors.edges.venue_link import BELL_SUFFIX, LINK_SUFFIX
from oms_actors.messages import ReportFlag, ResponseType
from oms_actors.record import AT_FLAGS, AT_SEQUENCE, REPORT_BYTES

FORMER_BYTES_MAX = 64 << 20
"""More than any ring of reports holds."""
_AT_RESPONSE, _AT_TIME = 7, 32
TOKEN_MAX = (1 << 32) - 1
FRAME_BYTES_MAX = 512 * REPORT_BYTES
"""Reports in one frame of a ring; a ring takes frames up to a quarter of it."""


Identity = tuple[int, int, int]
"""Inodes of a session's file and of its bell, and the token that we have put into the file; 0 = none."""


class Port:
    """One attached link. `file`, a token, tells the session's file from any other that ever had its name."""

    def __init__(self, name: str, inode: int, bell: int, server: Server) -> None:
        self.name, self.server = name, server
        self.file = server.words[0] = server.words[0] & TOKEN_MAX or secrets.randbelow(TOKEN_MAX) + 1
        self.identity: Identity = inode, bell, self.file
        self.ready = server.requests.ready
        self.take = server.requests.peek_many
        self.put = server.reports.try_put

    def skip_to(self, position: int) -> None:
        """Drops the frames that were taken, but not committed, in an earlier life."""
        requests = self.server.requests
        while requests.position < position and requests.peek() is not None:
            pass
        requests.commit()

    def close(self) -> None:
        self.server.close()


class Ports:
    """All links of a directory."""

    def __init__(self, directory: str, log: logging.Logger) -> None:
        self.directory, self._log = directory, log
        self.open: dict[str, Port] = {}
        self._unusable: dict[str, Identity] = {}
        os.makedirs(directory, mode=0o700, exist_ok=True)

    def scan(self) -> tuple[list[Port], list[Port]]:
        """Looks at the directory; returns (ports opened now, ports closed now)."""
        found = {name: identity for name in self._names() if (identity := self._identity(name))}
        gone = [port for name, port in self.open.items() if found.get(name) != port.identity]
        for port in gone:
            del self.open[port.name]
            port.close()
        fresh = []
        for name, identity in found.items():
            if name not in self.open and self._unusable.get(name) != identity:
                opened = self._try(name, identity)
                if opened:
                    self.open[name] = opened
                    fresh.append(opened)
        return fresh, gone

    def park(self, port: Port, why: Exception) -> None:
        """Leaves a link alone that cannot be used any more."""
        self._log.error("link %s is parked: %s", port.name, why)
        self._unusable[port.name] = port.identity
        self.open.pop(port.name, None)
        port.close()

    def close(self) -> None:
        for port in self.open.values():
            port.close()
        self.open.clear()

    def _names(self) -> list[str]:
        return sorted(n.removesuffix(LINK_SUFFIX) for n in os.listdir(self.directory) if n.endswith(LINK_SUFFIX))

    def _path(self, name: str, suffix: str) -> str:
        return os.path.join(self.directory, name + suffix)

    def _identity(self, name: str) -> Identity | None:
        """None when the file is gone again."""
        try:
            with open(self._path(name, LINK_SUFFIX), "rb", buffering=0) as file:
                inode = os.fstat(file.fileno()).st_ino
                token = int.from_bytes(os.pread(file.fileno(), 8, DUPLEX_SERVER_AT), "little")
        except FileNotFoundError:
            return None
        try:
            return inode, os.stat(self._path(name, BELL_SUFFIX)).st_ino, token
        except FileNotFoundError:
            return inode, 0, token

    def _try(self, name: str, identity: Identity) -> Port | None:
        path, bell_path = self._path(name, LINK_SUFFIX), os.path.realpath(self._path(name, BELL_SUFFIX))
        try:
            bell = Bell.attach(bell_path) if identity[1] else None
            return Port(name, identity[0], identity[1], Duplex.attach_server(path, bell))
        except (IpcError, OSError) as error:
            self._log.error("link %s cannot be used: %s", name, error)
            self._unusable[name] = identity
            return None


class Outbox:
    """Reports of one member on their way: each frame leaves when it is due, in order, once it fits into the ring, and
    is kept until the client has taken it out of there; into another ring it goes again.

    `sent` is told the number of the last report of each frame that is in the ring.
    """

    def __init__(self, sent: Callable[[int], None]) -> None:
        self._frames: deque[tuple[int, bytes]] = deque()
        self._there: deque[tuple[int, bytes]] = deque()  # in the ring, up to which place
        self._former: deque[bytes] = deque()
        self._former_bytes = 0
        self._file = 0
        self._sent = sent
        self.reports = 0

    def add(self, reports: list[bytes], due_ns: int) -> None:
        """Reports to leave at `due_ns` (monotonic)."""
        step = FRAME_BYTES_MAX // REPORT_BYTES
        for at in range(0, len(reports), step):
            self._frames.append((due_ns, b"".join(reports[at : at + step])))
        self.reports += len(reports)

    def was_sent(self, frame: bytes) -> None:
        """Reports that an earlier life put into the ring; whether the client has taken them cannot be told yet."""
        self._former.append(frame)
        self._former_bytes += len(frame)
        while self._former_bytes > FORMER_BYTES_MAX:
            self._former_bytes -= len(self._former.popleft())

    def due_ns(self) -> int:
        """When the next frame is due, 0 for none."""
        return self._frames[0][0] if self._frames else 0

    def pump(self, port: Port, now_ns: int) -> bool:
        """Sends what is due; True if the ring took everything that is. Raises RingCorrupt."""
        ring, there = port.server.reports, self._there
        if port.file != self._file:
            self._change_ring(port)
        if there and there[0][0] <= (committed := ring.committed()):
            while there and there[0][0] <= committed:
                there.popleft()
        frames = self._frames
        while frames and frames[0][0] <= now_ns:
            frame = frames[0][1]
            if not port.put(frame):
                return False
            frames.popleft()
            there.append((ring.position, frame))
            self.reports -= len(frame) // REPORT_BYTES
            self._sent(sequence_of(frame, len(frame) - REPORT_BYTES))
        return True

    def pending(self) -> list[bytes]:
        """What the client has not taken, as far as is known."""
        return [*self._former, *(frame for _, frame in self._there), *(frame for _, frame in self._frames)]

    def _change_ring(self, port: Port) -> None:
        """The first ring of this life, or another one: what was left in the former goes again, the session's own words
        apart, which mean nothing on a new connection."""
        if self._file:
            again = [say_again(frame) for _, frame in self._there]
            self._frames.extendleft((0, frame) for frame in reversed(again) if frame)
            self.reports += sum(len(frame) for frame in again) // REPORT_BYTES
            self._there.clear()
        else:
            self._there.extend((port.server.reports.position, frame) for frame in self._former)
        self._former.clear()
        self._former_bytes = 0
        self._file = port.file


def say_again(frame: bytes, only_orders: bool = True) -> bytes:
    """Reports that may have arrived already, marked so; `only_orders`: without those that are about a connection."""
    reports = (frame[at : at + REPORT_BYTES] for at in range(0, len(frame), REPORT_BYTES))
    mark = ReportFlag.POSSIBLE_DUPLICATE
    return b"".join(
        report[:AT_FLAGS] + bytes((report[AT_FLAGS] | mark,)) + report[AT_FLAGS + 1 :]
        for report in reports
        if report[_AT_RESPONSE] > ResponseType.DISCONNECTED or not only_orders
    )


def time_of(report: bytes) -> int:
    """When the report was made, UTC ns."""
    return int.from_bytes(report[_AT_TIME : _AT_TIME + 8], "little")


def sequence_of(frame: bytes, at: int = 0) -> int:
    """The number of the report at byte `at`."""
    return int.from_bytes(frame[at + AT_SEQUENCE : at + AT_SEQUENCE + 8], "little")
