"""Locks that the kernel releases, however their holder ends.

Open-file-description locks (fcntl F_OFD_*): like flock they belong to the open file and vanish with its last
descriptor, so a killed holder never leaves one behind; unlike flock they can be probed without taking them, so a
look at who holds the lock never makes somebody else's attempt fail. Only the holder may unlink the file; who then
locks the unlinked one notices and tries again.
"""

from __future__ import annotations

import fcntl
import os
import struct

from ipc.errors import AlreadyLocked, named
from ipc.proc import process_start_ticks

# struct flock of x86-64 Linux: l_type, l_whence, l_start, l_len, l_pid; start = len = 0 is the whole file.
_FLOCK = struct.Struct("@hhqqi4x")
_WRITE_LOCK = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
_UNLOCK = _FLOCK.pack(fcntl.F_UNLCK, os.SEEK_SET, 0, 0, 0)


def try_lock(fd: int) -> bool:
    """Take the lock of the open file `fd`; False when somebody else holds it."""
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _WRITE_LOCK)
    except (BlockingIOError, PermissionError):  # EAGAIN or, as POSIX allows, EACCES
        return False
    return True


def unlock(fd: int) -> None:
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _UNLOCK)


def is_locked(fd: int) -> bool:
    """Whether another open file holds the lock of this file. Disturbs nobody."""
    found = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, _WRITE_LOCK)
    return bool(_FLOCK.unpack(found)[0] != fcntl.F_UNLCK)


class FileLock:
    """One holder of `path` at a time. The file's text, `pid start_ticks`, is for people and error messages."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd = -1

    def acquire(self) -> None:
        """Take the lock now. Raises AlreadyLocked with the holder's pid, NotThere, NoDescriptors, NoSpace."""
        fd = self._open_and_lock()
        while os.fstat(fd).st_nlink == 0:  # unlinked between our open and our lock: it guards nothing
            os.close(fd)
            fd = self._open_and_lock()
        text = f"{os.getpid()} {process_start_ticks(os.getpid())}\n".encode()
        try:
            os.pwrite(fd, text, 0)
            os.ftruncate(fd, len(text))
        except OSError as error:
            os.close(fd)
            raise named(error, self.path, len(text)) from error
        self._fd = fd

    def _open_and_lock(self) -> int:
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise named(error, self.path) from error
        if not try_lock(fd):
            pid = _written_pid(fd)
            os.close(fd)
            raise AlreadyLocked(self.path, pid)
        return fd

    def release(self) -> None:
        if self._fd >= 0:
            os.ftruncate(self._fd, 0)
            unlock(self._fd)  # a forked child may share the open file: closing alone would not release it
            os.close(self._fd)
            self._fd = -1

    @property
    def held(self) -> bool:
        return self._fd >= 0

    def __enter__(self) -> FileLock:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def holder(path: str) -> int | None:
    """The pid that holds the lock of `path`; None when nobody does; 0 when it has not written its pid yet."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise named(error, path) from error
    try:
        return _written_pid(fd) if is_locked(fd) else None
    finally:
        os.close(fd)


def _written_pid(fd: int) -> int:
    first = os.pread(fd, 64, 0).split()[:1]
    return int(first[0]) if first and first[0].isdigit() else 0
