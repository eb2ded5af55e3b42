"""A disk as a journal must fear it: what is not synced may be lost, torn at any sector, or refused.

Each file has what everybody reads (the page cache) and what a power cut leaves (the medium). A kill loses nothing but
the rest of the write that it hits. After a failed sync the kernel counts the pages as clean, though they never reached
the medium: a later sync does not write them again.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from random import Random

SECTOR = 512


class FileData:
    """One file. `dirty` is what the medium does not have yet: writes, and truncations (data None)."""

    def __init__(self, head: bytes, size: int) -> None:
        self.cache = bytearray(head.ljust(size, b"\0"))
        self.medium = bytearray(self.cache)
        self.dirty: list[tuple[int, bytes | None]] = []

    def write(self, data: bytes, offset: int) -> None:
        _apply(self.cache, offset, data)
        self.dirty.append((offset, data))

    def truncate(self, size: int) -> None:
        _apply(self.cache, size, None)
        self.dirty.append((size, None))

    def sync(self) -> None:
        for offset, data in self.dirty:
            _apply(self.medium, offset, data)
        self.dirty.clear()

    def sync_failed(self, dice: Random) -> None:
        """Any sectors may have made it to the medium; the rest is not tried again."""
        for offset, data in self.dirty:
            if data is None:
                if dice.random() < 0.5:
                    _apply(self.medium, offset, None)
                continue
            at = 0
            while at < len(data):
                end = min(len(data), at + SECTOR - (offset + at) % SECTOR)
                if dice.random() < 0.5:
                    _apply(self.medium, offset + at, data[at:end])
                at = end
        self.dirty.clear()

    def power_cut(self, dice: Random) -> None:
        """What was not synced is gone, or not."""
        self.sync_failed(dice)
        self.cache = bytearray(self.medium)


def _apply(content: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        content[:] = content[:offset].ljust(offset, b"\0")
        return
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


class SimDisk:
    """A folder. `point(name)` is called around every operation and may end the process that is in it."""

    def __init__(self, dice: Random, point: Callable[[str], None]) -> None:
        self.files: dict[str, FileData] = {}
        self.removed: dict[str, FileData] = {}
        """Segments that nobody needed any more: evidence all the same."""
        self.dice, self.point = dice, point
        self.refusals: dict[str, int] = {}
        """Operation → errno, for the next such operation; "full" stays until it is taken away."""
        self.refused: list[str] = []

    def check(self, operation: str) -> None:
        error = self.refusals.pop(operation, 0)
        if not error and operation == "create" and "full" in self.refusals:
            error = errno.ENOSPC
        if error:
            self.refused.append(operation)
            raise OSError(error, os.strerror(error), operation)

    def power_cut(self) -> None:
        for data in self.files.values():
            data.power_cut(self.dice)

    # -- what a journal sees ----------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        return sorted(self.files)

    def open(self, name: str) -> SimFile:
        if name not in self.files:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        return SimFile(self, self.files[name])

    def create(self, name: str, head: bytes, size: int) -> SimFile:
        self.point("disk.create")
        self.check("create")
        self.files[name] = FileData(head, size)
        self.point("disk.created")
        return SimFile(self, self.files[name])

    def rename(self, old: str, new: str) -> None:
        self.point("disk.rename")
        self.files[new] = self.files.pop(old)

    def remove(self, name: str) -> None:
        self.point("disk.remove")
        data = self.files.pop(name)
        if name.endswith(".journal"):
            self.removed[name] = data


class SimFile:
    """An open file."""

    def __init__(self, disk: SimDisk, data: FileData) -> None:
        self._disk, self._data = disk, data

    def pwrite(self, data: bytes, offset: int) -> None:
        try:
            self._disk.point("disk.write")
        except BaseException:
            torn = self._disk.dice.randrange(len(data) + 1)
            self._data.write(data[:torn], offset)
            raise
        try:
            self._disk.check("write")
        except OSError:
            self._data.write(data[: self._disk.dice.randrange(len(data) + 1)], offset)
            raise
        self._data.write(data, offset)
        self._disk.point("disk.written")

    def pread(self, size: int, offset: int) -> bytes:
        return bytes(self._data.cache[offset : offset + size])

    def sync(self) -> None:
        self._disk.point("disk.sync")
        try:
            self._disk.check("sync")
        except OSError:
            self._data.sync_failed(self._disk.dice)
            raise
        self._data.sync()
        self._disk.point("disk.synced")

    def size(self) -> int:
        return len(self._data.cache)

    def truncate(self, size: int) -> None:
        self._disk.point("disk.truncate")
        self._data.truncate(size)

    def close(self) -> None:
        pass
