"""The upstreams of an instance as files: who there is, who lives, and taking one away.

Nothing here needs the desk: whether an upstream lives is told by the kernel's lock on its file, and its rings by their
headers.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ipc import lock, segment
from ipc.duplex import DUPLEX_MAGIC, DUPLEX_PID_AT, DUPLEX_REPORT_AT, DUPLEX_REQUEST_AT
from ipc.errors import IpcError, NotOurs, NotThere
from ipc.ring import RING_CAPACITY_AT, RING_HEAD_AT, RING_HEADER_BYTES, RING_MAGIC, RING_TAIL_AT
from oms_actors.edges import parked
from oms_actors.errors import OmsError
from oms_actors.instance import PARKED, UPSTREAMS, upstream_path


class RingDepth(NamedTuple):
    """What lies in a ring, its capacity, and what was ever put into it; all in bytes."""

    name: str
    depth: int
    capacity: int
    put: int


class UpstreamFile(NamedTuple):
    """One upstream: `alive` if a process holds it (the kernel's word), `pid` what that process wrote of itself;
    `problem` says why it is not served."""

    name: str
    alive: bool
    pid: int
    rings: tuple[RingDepth, ...]
    bytes: int
    problem: str = ""


class UpstreamAlive(OmsError):
    """A living upstream's file is never taken away."""


def depths(name: str, path: Path) -> Iterator[RingDepth]:
    """The rings of a file (a plain ring, or an upstream's two); none if it is no such file.

    Read with pread: whatever somebody scribbled there, it cannot hurt us.
    """
    try:
        with segment.open_plain(str(path), os.O_RDONLY) as file:
            head = os.pread(file.fileno(), RING_HEADER_BYTES, 0)
            if _word(head, 0) != DUPLEX_MAGIC:
                yield from _depth(name, head)
                return
            for part, at in (("requests", DUPLEX_REQUEST_AT), ("reports", DUPLEX_REPORT_AT)):
                region = os.pread(file.fileno(), RING_HEADER_BYTES, _word(head, at))
                yield from _depth(f"{name}/{part}", region)
    except (IpcError, OSError, struct.error, OverflowError):
        return


def _depth(name: str, head: bytes) -> Iterator[RingDepth]:
    if _word(head, 0) == RING_MAGIC:
        capacity = _word(head, RING_CAPACITY_AT)
        tail = _word(head, RING_TAIL_AT)
        depth = tail - _word(head, RING_HEAD_AT)
        yield RingDepth(name, min(max(depth, 0), capacity), capacity, tail)


def _word(data: bytes, at: int) -> int:
    return int(struct.unpack_from("<Q", data, at)[0])


def upstreams(runtime: Path) -> list[UpstreamFile]:
    """Every upstream that has a file, by name, and whatever else has an upstream's name."""
    unserved = {each.name: f"not served: {each.reason}" for each in parked.read(runtime / PARKED)}
    files = (found for path in sorted((runtime / UPSTREAMS).glob("*.up")) if (found := _upstream(path)))
    return [each._replace(problem=each.problem or unserved.get(each.name, "")) for each in files]


def _upstream(path: Path) -> UpstreamFile | None:
    try:
        with segment.open_plain(str(path)) as file:
            alive = lock.is_locked(file.fileno())
            head = os.pread(file.fileno(), 64, 0)
            size = os.fstat(file.fileno()).st_size
    except NotThere:
        return None
    except IpcError as error:
        return UpstreamFile(path.stem, False, 0, (), 0, str(error))
    pid = _word(head, DUPLEX_PID_AT) if len(head) == 64 and _word(head, 0) == DUPLEX_MAGIC else 0
    return UpstreamFile(path.stem, alive, pid, tuple(depths(path.stem, path)), size)


def remove(runtime: Path, name: str) -> None:
    """Takes a dead upstream's file away, with the requests and reports in it that nobody has taken.

    Raises FileNotFoundError, UpstreamAlive.
    """
    path = upstream_path(runtime, name)
    try:
        with segment.open_plain(str(path)) as file:
            if not lock.try_lock(file.fileno()):
                raise UpstreamAlive(f"upstream {name!r} is in use by a living process: end it first")
            path.unlink()
    except NotThere:
        raise FileNotFoundError(path) from None
    except NotOurs:
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink()
