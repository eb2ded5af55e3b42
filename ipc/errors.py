"""Everything shared memory can refuse, by name. Each message says what, which value and which limit."""

from __future__ import annotations

import errno
import os


class IpcError(Exception):
    """The root of all refusals of this package; a bug is never one of these."""


class RingFull(IpcError):
    def __init__(self, name: str, wanted_bytes: int, free_bytes: int, capacity_bytes: int) -> None:
        super().__init__(f"ring {name} is full: frame of {wanted_bytes} bytes, free {free_bytes} of {capacity_bytes}")


class FrameTooLarge(IpcError):
    def __init__(self, name: str, frame_bytes: int, frame_bytes_max: int) -> None:
        super().__init__(f"frame of {frame_bytes} bytes is too large for {name}: limit {frame_bytes_max}")


class RingCorrupt(IpcError):
    """What the other side wrote cannot be true. The ring is of no use any more; its file is evidence."""

    def __init__(self, name: str, reason: str, position: int, offset: int) -> None:
        super().__init__(f"ring {name} is corrupt: {reason} (position {position}, offset {offset})")
        self.reason, self.position, self.offset = reason, position, offset


class VersionMismatch(IpcError):
    def __init__(self, name: str, found: object, expected: object) -> None:
        super().__init__(f"{name} has another layout: found {found}, expected {expected}")
        self.found, self.expected = found, expected


class AlreadyLocked(IpcError):
    def __init__(self, path: str, pid: int) -> None:
        super().__init__(f"{path} is locked by {f'process {pid}' if pid else 'another process'}")
        self.path, self.pid = path, pid


class MailboxBusy(IpcError):
    def __init__(self, name: str, pid: int, waited_ms: int) -> None:
        super().__init__(f"mailbox {name} is busy: lock held by process {pid}, waited {waited_ms} ms")
        self.pid = pid


class MailboxFull(IpcError):
    def __init__(self, name: str, wanted_bytes: int, capacity_bytes: int) -> None:
        super().__init__(f"mailbox {name} is full: message of {wanted_bytes} bytes, capacity {capacity_bytes}")


class NoSpace(IpcError):
    def __init__(self, path: str, wanted_bytes: int, why: str) -> None:
        super().__init__(f"no space for {path}: wanted {wanted_bytes} bytes, {why}")


class NotThere(IpcError):
    def __init__(self, path: str, why: str = "no such file") -> None:
        super().__init__(f"{path}: {why}")


class NotOurs(IpcError):
    """What has the name is no plain file, or is not this user's: nothing of it is believed."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path}: {why}")


class NoDescriptors(IpcError):
    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"cannot open {path}: no descriptors left ({why})")


class Unsupported(IpcError):
    """This machine lacks what the wake-up relies on."""


class ParentGone(IpcError):
    def __init__(self, expected_ppid: int, ppid: int) -> None:
        super().__init__(f"parent process {expected_ppid} is gone, parent is now {ppid}")


def named(error: OSError, path: str, wanted_bytes: int = 0) -> IpcError | OSError:
    """The refusal that stands for an error of the operating system; the error itself if none does."""
    why = os.strerror(error.errno or 0)
    if error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.ENOMEM):
        return NoSpace(path, wanted_bytes, why)
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return NoDescriptors(path, why)
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return NotThere(path)
    return error
