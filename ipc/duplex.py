"""An upstream's segment: one file with its request ring, its report ring and its doorbell.

    0     magic u64 | 8 version u64 | 16 client's pid | 24 its start ticks
    32    request ring at u64 | 40 its bytes | 48 report ring at u64 | 56 its bytes
    64    the upstream's name, UTF-8, zero padded to 64 bytes
    128   the client's doorbell (192 bytes): the server rings it after it put a report
    512   64 bytes of the server's own, 0 in a fresh file
    4096  request ring, then the report ring, each on a page of its own

The client (the upstream) holds the file's kernel lock as long as it is attached, which makes it the one producer of
requests and tells the server whether it is alive. The server takes no lock: that there is one is the business of its
own role's lock. The server rings and waits elsewhere: its doorbell is handed to `attach_client`.
"""

from __future__ import annotations

import os

from ipc import lock, segment
from ipc.errors import AlreadyLocked, NotOurs, RingCorrupt, VersionMismatch
from ipc.proc import process_start_ticks
from ipc.ring import RingReader, RingWriter, format_region, region_bytes
from ipc.segment import PAGE_BYTES
from ipc.wait import BELL_BYTES, Bell, format_bell

DUPLEX_MAGIC = int.from_bytes(b"OMSDUPX\0", "little")
DUPLEX_VERSION = 1
DUPLEX_MAGIC_AT, DUPLEX_VERSION_AT, DUPLEX_PID_AT, DUPLEX_START_TICKS_AT = 0, 8, 16, 24
DUPLEX_REQUEST_AT, DUPLEX_REPORT_AT = 32, 48  # each: offset u64, bytes u64
DUPLEX_NAME_AT, DUPLEX_NAME_BYTES = 64, 64
DUPLEX_BELL_AT = 128
DUPLEX_SERVER_AT, DUPLEX_SERVER_BYTES = 512, 64
DUPLEX_RINGS_AT = PAGE_BYTES


def create_duplex(path: str, request_bytes: int, report_bytes: int, name: str) -> segment.Segment:
    """A fresh segment for the upstream `name` (at most 64 bytes of UTF-8); the sizes are ring capacities.

    Raises NoSpace, NoDescriptors, ValueError.
    """
    encoded = name.encode()
    if not 0 < len(encoded) <= DUPLEX_NAME_BYTES:
        raise ValueError(f"upstream name {name!r}: {len(encoded)} bytes, must be 1 to {DUPLEX_NAME_BYTES}")
    request_size, report_size = _pages(region_bytes(request_bytes)), _pages(region_bytes(report_bytes))
    report_at = DUPLEX_RINGS_AT + request_size

    def init(view: memoryview) -> None:
        format_region(view[DUPLEX_RINGS_AT:report_at], request_bytes)
        format_region(view[report_at:], report_bytes)
        format_bell(view[DUPLEX_BELL_AT : DUPLEX_BELL_AT + BELL_BYTES])
        view[DUPLEX_NAME_AT : DUPLEX_NAME_AT + len(encoded)] = encoded
        words = view[:64].cast("Q")
        words[DUPLEX_REQUEST_AT // 8], words[DUPLEX_REQUEST_AT // 8 + 1] = DUPLEX_RINGS_AT, request_size
        words[DUPLEX_REPORT_AT // 8], words[DUPLEX_REPORT_AT // 8 + 1] = report_at, report_size
        words[DUPLEX_VERSION_AT // 8] = DUPLEX_VERSION
        words[DUPLEX_MAGIC_AT // 8] = DUPLEX_MAGIC

    return segment.create(path, report_at + report_size, init)


def _pages(size_bytes: int) -> int:
    return -(-size_bytes // PAGE_BYTES) * PAGE_BYTES


class Client:
    """The upstream's side: writes requests, reads reports, sleeps at its own `bell`."""

    __slots__ = ("_segment", "bell", "name", "path", "reports", "requests")

    def __init__(self, file: segment.Segment, server_bell: Bell | None) -> None:
        self.path, self._segment = file.path, file
        self.name, request_view, report_view = _open(file)
        if not lock.try_lock(file.fd):
            raise AlreadyLocked(file.path, _words(file)[DUPLEX_PID_AT // 8])
        self.requests = RingWriter(request_view, server_bell, f"{self.name}/requests")
        self.reports = RingReader(report_view, f"{self.name}/reports")
        self.bell = Bell(file.view[DUPLEX_BELL_AT : DUPLEX_BELL_AT + BELL_BYTES], f"{self.name}/bell")
        words = _words(file)
        words[DUPLEX_PID_AT // 8] = os.getpid()
        words[DUPLEX_START_TICKS_AT // 8] = process_start_ticks(os.getpid())

    @property
    def server_word(self) -> int:
        """The first of the server's own words: what it knows the file by, perhaps."""
        return self._segment.view[DUPLEX_SERVER_AT : DUPLEX_SERVER_AT + 8].cast("Q")[0]

    def close(self) -> None:
        self.requests.close()
        self.reports.close()
        lock.unlock(self._segment.fd)
        self._segment.close()


class Server:
    """The side of the one who serves the upstream: reads requests, writes reports, rings `client_bell`."""

    __slots__ = ("_segment", "client_bell", "name", "path", "reports", "requests", "words")

    def __init__(self, file: segment.Segment, client_bell: Bell | None) -> None:
        self.path, self._segment = file.path, file
        owner = os.fstat(file.fd).st_uid
        if owner != os.geteuid():
            raise NotOurs(file.path, f"belongs to user {owner}, not to {os.geteuid()}")
        self.name, request_view, report_view = _open(file)
        bell_view = file.view[DUPLEX_BELL_AT : DUPLEX_BELL_AT + BELL_BYTES]
        self.client_bell = client_bell or Bell(bell_view, f"{self.name}/bell")
        self.requests = RingReader(request_view, f"{self.name}/requests")
        self.reports = RingWriter(report_view, self.client_bell, f"{self.name}/reports")
        self.words = file.view[DUPLEX_SERVER_AT : DUPLEX_SERVER_AT + DUPLEX_SERVER_BYTES].cast("Q")
        """Eight words in which the server may note what it wants to find again after a restart (untrusted)."""

    @property
    def fd(self) -> int:
        """The open file."""
        return self._segment.fd

    @property
    def mapped_bytes(self) -> int:
        """How long the file was when it was opened. Should it be shorter now, a touch behind its end is SIGBUS."""
        return len(self._segment.view)

    @property
    def client_pid(self) -> int:
        """What the client wrote (untrusted, for people); 0 when none ever attached."""
        return _words(self._segment)[DUPLEX_PID_AT // 8]

    def client_alive(self) -> bool:
        """Whether some process holds the client's lock: the kernel's word, not the client's."""
        return lock.is_locked(self._segment.fd)

    def close(self) -> None:
        self.requests.close()
        self.reports.close()
        self.words.release()
        self._segment.close()


class Duplex:
    @staticmethod
    def attach_client(path: str, server_bell: Bell | None = None) -> Client:
        """Raises NotThere, VersionMismatch, AlreadyLocked (a live client has it), RingCorrupt."""
        file = segment.attach(path)
        try:
            return Client(file, server_bell)
        except BaseException:
            file.close()
            raise

    @staticmethod
    def attach_server(path: str, client_bell: Bell | None = None) -> Server:
        """Raises NotThere, NotOurs, NoDescriptors, and VersionMismatch or RingCorrupt for a file that somebody
        scribbled over.

        `client_bell` is rung in place of the file's own, for a client that sleeps elsewhere.
        """
        file = segment.attach(path)
        try:
            return Server(file, client_bell)
        except BaseException:
            file.close()
            raise


def _words(file: segment.Segment) -> memoryview:
    return file.view[:64].cast("Q")


def _open(file: segment.Segment) -> tuple[str, memoryview, memoryview]:
    """The checked header: name, request region, report region."""
    size = len(file.view)
    if size < DUPLEX_RINGS_AT:
        raise VersionMismatch(file.path, f"{size} bytes", "an upstream's segment")
    words = _words(file)
    magic, version = words[DUPLEX_MAGIC_AT // 8], words[DUPLEX_VERSION_AT // 8]
    if (magic, version) != (DUPLEX_MAGIC, DUPLEX_VERSION):
        raise VersionMismatch(file.path, f"magic {magic:#x} version {version}", f"version {DUPLEX_VERSION}")
    regions = []
    for at in (DUPLEX_REQUEST_AT, DUPLEX_REPORT_AT):
        begin, length = words[at // 8], words[at // 8 + 1]
        if begin % PAGE_BYTES or begin < DUPLEX_RINGS_AT or begin + length > size:
            raise RingCorrupt(file.path, f"region {begin}+{length} in {size} bytes", 0, at)
        regions.append(file.view[begin : begin + length])
    name = bytes(file.view[DUPLEX_NAME_AT : DUPLEX_NAME_AT + DUPLEX_NAME_BYTES]).rstrip(b"\0").decode(errors="replace")
    return name, regions[0], regions[1]
