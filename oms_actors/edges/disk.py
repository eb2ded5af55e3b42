"""What a journal needs of a file system, as small as it can be: a simulation puts a hostile one in its place.

Every call may raise OSError; nobody retries an fsync after an error, because the kernel may have dropped the pages.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol


class File(Protocol):
    """An open file, addressed by position only."""

    def pwrite(self, data: bytes, offset: int) -> None:
        """Writes all of it at `offset` or raises."""

    def pread(self, size: int, offset: int) -> bytes:
        """Up to `size` bytes; fewer at the end of the file."""

    def sync(self) -> None:
        """Returns only once everything written is on the medium."""

    def size(self) -> int:
        """Bytes."""

    def truncate(self, size: int) -> None:
        """Cuts the file."""

    def close(self) -> None:
        """Forgets the descriptor."""


class Disk(Protocol):
    """One folder."""

    def names(self) -> list[str]:
        """The files there, sorted."""

    def open(self, name: str) -> File:
        """An existing file; FileNotFoundError."""

    def create(self, name: str, head: bytes, size: int) -> File:
        """A new file of `size` preallocated bytes that begins with `head`: complete, synced, or not there at all."""

    def rename(self, old: str, new: str) -> None:
        """Another name for a file, for good once this returns."""

    def remove(self, name: str) -> None:
        """Deletes a file."""


class OsFile:
    """A file of the operating system."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def pwrite(self, data: bytes, offset: int) -> None:
        written = os.pwrite(self._fd, data, offset)
        while written < len(data):  # a signal or a quota cut it short: the rest, or the error that says why
            written += os.pwrite(self._fd, data[written:], offset + written)

    def pread(self, size: int, offset: int) -> bytes:
        return os.pread(self._fd, size, offset)

    def sync(self) -> None:
        os.fdatasync(self._fd)

    def size(self) -> int:
        return os.fstat(self._fd).st_size

    def truncate(self, size: int) -> None:
        os.ftruncate(self._fd, size)

    def close(self) -> None:
        os.close(self._fd)


class OsDisk:
    """A folder of the operating system, created with mode 0700."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def names(self) -> list[str]:
        return sorted(os.listdir(self.folder))

    def open(self, name: str) -> OsFile:
        path = self.folder / name
        try:
            return OsFile(os.open(path, os.O_RDWR | os.O_CLOEXEC))
        except PermissionError:
            return OsFile(os.open(path, os.O_RDONLY | os.O_CLOEXEC))

    def create(self, name: str, head: bytes, size: int) -> OsFile:
        temporary = self.folder / f".{name}.new"
        fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, size)
            os.pwrite(fd, head, 0)
            os.fsync(fd)
            os.rename(temporary, self.folder / name)
        except BaseException:
            os.close(fd)
            temporary.unlink(missing_ok=True)
            raise
        self._sync_folder()
        return OsFile(fd)

    def rename(self, old: str, new: str) -> None:
        os.rename(self.folder / old, self.folder / new)
        self._sync_folder()

    def remove(self, name: str) -> None:
        os.unlink(self.folder / name)

    def _sync_folder(self) -> None:
        fd = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
