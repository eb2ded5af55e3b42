"""Files of ours in shared memory.

A segment appears under its name only when it is complete: it is filled under a temporary name in the same
directory and renamed. `posix_fallocate` takes its pages first, because a store to a page that a full /dev/shm
cannot give ends in SIGBUS. (`multiprocessing.shared_memory` is not used: on Python 3.11 an unrelated process that
attaches and exits unlinks the segment.)

A word that two processes share is stored with `view.cast("Q")[i] = v`, one aligned 8-byte store on x86-64;
`struct.pack_into("<Q")` is a loop over bytes and tears.
"""

from __future__ import annotations

import mmap
import os
import stat
from collections.abc import Callable
from io import FileIO

from ipc.errors import IpcError, NotOurs, NotThere, named

CACHE_LINE_BYTES = 64
PAGE_BYTES = 4096


class Segment:
    """A mapped file. `view` covers all of it; `fd` stays open because kernel locks belong to it, and closes with us."""

    __slots__ = ("_mmap", "fd", "path", "view")

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self.fd = -1
        self._mmap = mmap.mmap(fd, 0)
        self.view = memoryview(self._mmap)
        self.fd = fd

    def close(self) -> None:
        """Let go of the file. The memory itself goes with the last view that somebody still holds."""
        if self.fd < 0:
            return
        os.close(self.fd)
        self.fd = -1
        self.view.release()
        try:
            self._mmap.close()
        except BufferError:
            pass

    def __del__(self) -> None:
        if getattr(self, "fd", -1) >= 0:  # an exception may come before the first line of __init__
            os.close(self.fd)


def create(path: str, size_bytes: int, init: Callable[[memoryview], None]) -> Segment:
    """A new file of `size_bytes`, filled by `init`, replacing what had that name.

    Raises NoSpace, NoDescriptors, NotThere (no such directory).
    """
    temporary = f"{path}.{os.getpid()}.new"
    segment: Segment | None = None
    try:
        fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise named(error, path, size_bytes) from error
    try:
        os.posix_fallocate(fd, 0, size_bytes)
        segment = Segment(path, fd)
        init(segment.view)
        os.rename(temporary, path)
    except BaseException as error:
        os.unlink(temporary)
        segment.close() if segment else os.close(fd)
        if isinstance(error, OSError):
            raise named(error, path, size_bytes) from error
        raise
    return segment


def renew(path: str, size_bytes: int, init: Callable[[memoryview], None]) -> Segment:
    """Like `create`, but in the file that a dead predecessor left, if it has that size: so a restart needs no space
    in a full /dev/shm. Whoever still maps that file sees it begin anew; `init` writes its magic, at 0, last."""
    try:
        segment = attach(path)
    except (NotThere, NotOurs):
        return create(path, size_bytes, init)
    if len(segment.view) != size_bytes:
        segment.close()
        return create(path, size_bytes, init)
    segment.view[:8] = bytes(8)  # so that nobody takes it for complete meanwhile
    segment.view[8:] = bytes(size_bytes - 8)
    init(segment.view)
    return segment


def attach(path: str) -> Segment:
    """An existing file, mapped for reading and writing. Never waits, whatever has that name.

    Raises NotThere, NoDescriptors, NotOurs (a link, a pipe, a directory, a file that we may not open).
    """
    fd = _open_plain(path, os.O_RDWR)
    try:
        return Segment(path, fd)
    except (OSError, ValueError) as error:
        os.close(fd)
        raise _refusal(error, path) from error


def open_plain(path: str, flags: int = os.O_RDWR) -> FileIO:
    """The file itself, refused as `attach` would."""
    return FileIO(_open_plain(path, flags), "r" if flags == os.O_RDONLY else "r+")


def _open_plain(path: str, flags: int) -> int:
    try:
        fd = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise _refusal(error, path) from error
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    raise NotOurs(path, "is no plain file")


def _refusal(error: OSError | ValueError, path: str) -> IpcError:
    if isinstance(error, ValueError):
        return NotThere(path, f"cannot be mapped ({error})")
    refusal = named(error, path)
    return refusal if isinstance(refusal, IpcError) else NotOurs(path, f"cannot be opened ({error.strerror})")
