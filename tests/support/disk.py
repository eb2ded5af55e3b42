"""A hostile disk for journals: what is not synced may be lost or torn, calls fail when told to, space runs out.

It keeps two pictures of every file: what readers see (the page cache) and what the medium has. `power_cut` leaves only
the medium, plus whatever sectors of unsynced writes happen to have got there. A sync that fails behaves as Linux does:
the pages count as clean afterwards, so a second sync "succeeds" without having written anything.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Callable

SECTOR = 512


class Killed(BaseException):
    """The process died inside a call."""


class _Inode:
    def __init__(self, data: bytes) -> None:
        self.seen = bytearray(data)
        self.medium = bytearray(data)
        self.dirty: list[tuple[int, int]] = []  # written, not synced: offset, end

    def sync(self) -> None:
        size = len(self.seen)
        del self.medium[size:]
        self.medium.extend(bytes(size - len(self.medium)))
        for begin, end in self.dirty:
            self.medium[begin:end] = self.seen[begin:end]
        self.dirty.clear()


class FakeFile:
    """One open file; `edges.disk.File`."""

    def __init__(self, disk: FakeDisk, name: str, inode: _Inode) -> None:
        self._disk, self._name, self._inode = disk, name, inode

    def pwrite(self, data: bytes, offset: int) -> None:
        inode = self._inode
        end = offset + len(data)
        self._disk.called("pwrite", self._name)
        self._disk.take_space(max(0, end - len(inode.seen)))
        if end > len(inode.seen):
            inode.seen.extend(bytes(end - len(inode.seen)))
        inode.seen[offset:end] = data
        inode.dirty.append((offset, end))
        self._disk.did("pwrite", self._name)

    def pread(self, size: int, offset: int) -> bytes:
        return bytes(self._inode.seen[offset : offset + size])

    def sync(self) -> None:
        try:
            self._disk.called("sync", self._name)
        except OSError:
            self._inode.dirty.clear()  # the kernel calls them clean; the medium never got them
            raise
        self._inode.sync()
        self._disk.did("sync", self._name)

    def size(self) -> int:
        return len(self._inode.seen)

    def truncate(self, size: int) -> None:
        self._disk.called("truncate", self._name)
        inode = self._inode
        self._disk.take_space(size - len(inode.seen))
        del inode.seen[size:]
        inode.seen.extend(bytes(size - len(inode.seen)))
        inode.dirty = [(begin, min(end, size)) for begin, end in inode.dirty if begin < size]
        self._disk.did("truncate", self._name)

    def close(self) -> None:
        pass


class FakeDisk:
    """One folder; `edges.disk.Disk`. `before` and `after` see every call ("pwrite", "sync", "create" …) with the name
    of the file and may raise: OSError for a failing disk, Killed for a dying process. `free` is the space left."""

    def __init__(self, free: int | None = None) -> None:
        self.free = free
        self.calls = 0
        self.before: Callable[[str, str], None] | None = None
        self.after: Callable[[str, str], None] | None = None
        self._files: dict[str, _Inode] = {}

    # -- what a journal calls ---------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        return sorted(self._files)

    def open(self, name: str) -> FakeFile:
        if name not in self._files:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", name)
        return FakeFile(self, name, self._files[name])

    def create(self, name: str, head: bytes, size: int) -> FakeFile:
        self.called("create", name)
        self.take_space(size)
        inode = self._files[name] = _Inode(head.ljust(size, b"\0"))
        self.did("create", name)
        return FakeFile(self, name, inode)

    def rename(self, old: str, new: str) -> None:
        self.called("rename", old)
        self._files[new] = self._files.pop(old)
        self.did("rename", new)

    def remove(self, name: str) -> None:
        self.called("remove", name)
        self.take_space(-len(self._files.pop(name).seen))
        self.did("remove", name)

    # -- what a test does -------------------------------------------------------------------------------------------

    def called(self, what: str, name: str) -> None:
        self.calls += 1
        if self.before is not None:
            self.before(what, name)

    def did(self, what: str, name: str) -> None:
        if self.after is not None:
            self.after(what, name)

    def take_space(self, size: int) -> None:
        if self.free is not None:
            if size > self.free:
                raise OSError(errno.ENOSPC, "No space left on device")
            self.free -= size

    def at_call(self, number: int, error: BaseException, what: str = "", after: bool = False) -> None:
        """The `number`-th call from now on (1 = the next; of kind `what`, if given) raises; `after` it has worked."""
        left = number

        def hook(kind: str, name: str) -> None:
            nonlocal left
            if what in ("", kind):
                left -= 1
                if left == 0:
                    raise error

        if after:
            self.after = hook
        else:
            self.before = hook

    def calm(self) -> None:
        """No more faults."""
        self.before = self.after = None

    def power_cut(self, rng: random.Random | None = None) -> None:
        """Unsynced writes are gone; with `rng`, each of their sectors may or may not have reached the medium."""
        for inode in self._files.values():
            if rng is not None:
                for begin, end in inode.dirty:
                    inode.medium.extend(bytes(max(0, end - len(inode.medium))))
                    for at in range(begin, end, SECTOR):
                        if rng.random() < 0.5:
                            to = min(at + SECTOR, end)
                            inode.medium[at:to] = inode.seen[at:to]
            inode.seen = bytearray(inode.medium)
            inode.dirty.clear()

    def bytes_of(self, name: str) -> bytearray:
        """A file as it is seen; what a test changes in it has been damaged on the medium, too."""
        inode = self._files[name]
        inode.medium = inode.seen
        return inode.seen

    def copy(self) -> FakeDisk:
        """The same files, no faults."""
        other = FakeDisk(self.free)
        for name, inode in self._files.items():
            twin = other._files[name] = _Inode(b"")
            twin.seen, twin.medium, twin.dirty = bytearray(inode.seen), bytearray(inode.medium), list(inode.dirty)
        return other
