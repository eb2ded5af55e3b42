"""Which upstreams' files intake does not serve, and why: a file of its own, for people and for the next intake.

What stands there as deadly is not touched again as long as it is the same file: somebody died of it.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec


class Parked(msgspec.Struct, frozen=True):
    """One file: the upstream's name, the inode, and why it is not served."""

    name: str
    file: int
    reason: str
    deadly: bool = False


def read(path: Path) -> list[Parked]:
    """None, if there is no such file or nobody can read it."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Parked])
    except (OSError, msgspec.DecodeError):
        return []


def write(path: Path, parked: list[Parked]) -> None:
    """In place of what was there. Raises OSError (a full /dev/shm, say)."""
    temporary = path.with_suffix(".new")
    temporary.write_bytes(msgspec.json.encode(parked))
    os.replace(temporary, path)
