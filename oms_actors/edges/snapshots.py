"""Snapshots beside the journals: `<role>-<generation>-<offset>.snapshot`, each with a checksum, the newest two kept.

A snapshot states the journal position that it covers. It is written by a cold process, complete and synced under a
temporary name, then renamed. One that does not check out is passed over by name: the one before and a longer replay do.
"""

from __future__ import annotations

import logging
import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import msgspec

from oms_actors.edges.journal import Position

HEAD = struct.Struct("<8sIIQ")
"""magic, version, crc, bytes."""
MAGIC = b"OMSSNAP\0"
VERSION = 1
KEPT = 2
_NAME = re.compile(r"^([a-z0-9_]+)-(\d{8})-([0-9a-f]{16})\.snapshot$")
_log = logging.getLogger("snapshots")


def write(folder: Path, role: str, position: Position, body: dict[str, Any]) -> Path:
    """Stores a snapshot and removes all but the newest two. Raises OSError."""
    data = msgspec.msgpack.encode(body)
    path = folder / f"{role}-{position.generation:08d}-{position.offset:016x}.snapshot"
    temporary = path.with_suffix(".new")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(HEAD.pack(MAGIC, VERSION, crc32(data), len(data)) + data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    for old in _names(folder, role)[:-KEPT]:
        (folder / old).unlink(missing_ok=True)
    for half in folder.glob(f"{role}-*.new"):  # of a writer that died
        half.unlink(missing_ok=True)
    return path


def read(folder: Path, role: str) -> Iterator[tuple[Position, dict[str, Any]]]:
    """The snapshots that check out, newest first."""
    for name in reversed(_names(folder, role)):
        try:
            yield _position(name), _body(folder / name)
        except (OSError, ValueError, msgspec.DecodeError) as error:
            _log.warning("%s is passed over: %s", name, error)


def newest(folder: Path, role: str) -> tuple[Position, int]:
    """What the newest snapshot covers, going by its name, and how many bytes it has; the beginning and 0 if none is."""
    names = _names(folder, role)
    return (_position(names[-1]), (folder / names[-1]).stat().st_size) if names else (Position(0, 0), 0)


def oldest_position(folder: Path, role: str) -> Position | None:
    """Below this no snapshot needs the journal any more; None as long as there are not two of them."""
    names = _names(folder, role)
    return _position(names[0]) if len(names) >= KEPT else None


class _Reference(msgspec.Struct):
    """Of a snapshot: what it refers to in the other journal (a sender's `intake`, an intake's `senders`)."""

    intake: tuple[int, int] | None = None
    senders: tuple[int, int] | None = None


def references(folder: Path, role: str) -> list[tuple[Position, Position]]:
    """Of every snapshot that checks out: where it begins in its own journal and in the other one."""
    found = []
    for name in _names(folder, role):
        try:
            refers = msgspec.msgpack.decode(_bytes(folder / name), type=_Reference)
        except (OSError, ValueError, msgspec.DecodeError) as error:
            _log.warning("%s is passed over: %s", name, error)
            continue
        other = refers.intake or refers.senders
        if other is not None:
            found.append((_position(name), Position(*other)))
    return found


def _names(folder: Path, role: str) -> list[str]:
    found = [name for name in os.listdir(folder) if (match := _NAME.match(name)) and match[1] == role]
    return sorted(found, key=_position)


def _position(name: str) -> Position:
    match = _NAME.match(name)
    if match is None:
        raise ValueError(f"{name}: not a snapshot's name")
    return Position(int(match[2]), int(match[3], 16))


def _body(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.msgpack.decode(_bytes(path))
    return found


def _bytes(path: Path) -> bytes:
    """What is behind the head, if it checks out; ValueError."""
    data = path.read_bytes()
    if len(data) < HEAD.size:
        raise ValueError(f"{len(data)} bytes, less than a head")
    magic, version, crc, size = HEAD.unpack_from(data)
    body = data[HEAD.size :]
    if magic != MAGIC or version != VERSION:
        raise ValueError(f"version {version}, this program speaks {VERSION}")
    if len(body) != size or crc32(body) != crc:
        raise ValueError("does not check out")
    return body
