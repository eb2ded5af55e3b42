"""What a supervisor publishes of itself: `<runtime_dir>/supervisor.json`, replaced atomically on every change.

It outlives its writer. Whether its writer still runs is told by the kernel-released lock beside it, which cannot be
stale; which processes it meant, by pid, start time and boot id, so that a reused pid is nobody.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ipc import lock

FILE_NAME: Final = "supervisor.json"
LOCK_NAME: Final = "supervisor.lock"
ROOM_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Named:
    """One process for ever."""

    name: str
    pid: int
    start_ticks: int
    boot_id: str


@dataclass(frozen=True, slots=True)
class Published:
    """The document, and whether the supervisor that wrote it still runs."""

    document: dict[str, Any]
    alive: bool

    @property
    def state(self) -> str:
        return str(self.document["state"])

    @property
    def supervisor(self) -> Named:
        document = self.document
        return Named("", document["pid"], document["start_ticks"], document["boot_id"])

    @property
    def children(self) -> list[Named]:
        """Those that were alive when it was written."""
        return [Named(child["name"], child["pid"], child["start_ticks"], self.document["boot_id"])
                for child in self.document["children"] if child["pid"]]


def publish(runtime_dir: Path, document: dict[str, Any]) -> None:
    """Raises OSError (a full file system, say); the former document then stays, and nothing half made."""
    path = runtime_dir / FILE_NAME
    temporary = path.with_suffix(".new")
    data = json.dumps(document, indent=1).encode()
    try:
        _write(temporary, len(data), data)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    if document["state"] != "ended":
        _keep_room(temporary)


def _keep_room(temporary: Path) -> None:
    """For the next document, which has the most to tell when the file system is full."""
    try:
        _write(temporary, ROOM_BYTES, b"")
    except OSError:
        temporary.unlink(missing_ok=True)


def _write(path: Path, room_bytes: int, data: bytes) -> None:
    """A file with `data` in it, or only with room for so many bytes."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(fd, 0, room_bytes)
        if data:
            os.pwrite(fd, data, 0)
            os.ftruncate(fd, len(data))
    finally:
        os.close(fd)


def read(runtime_dir: str | os.PathLike[str]) -> Published | None:
    """None if nothing that makes sense was ever published there."""
    directory = Path(runtime_dir)
    try:
        document = json.loads((directory / FILE_NAME).read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    if not _makes_sense(document):
        return None
    alive = lock.holder(str(directory / LOCK_NAME)) == document["pid"]
    return Published(document, alive and document["state"] != "ended")


def _makes_sense(document: object) -> bool:
    match document:
        case {"pid": int(), "start_ticks": int(), "boot_id": str(), "state": str(), "children": [*children]}:
            return all(_is_child(child) for child in children)
    return False


def _is_child(child: object) -> bool:
    match child:
        case {"name": str(), "pid": None} | {"name": str(), "pid": int(), "start_ticks": int()}:
            return True
    return False
