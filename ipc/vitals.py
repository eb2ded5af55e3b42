"""The vital signs of one process: a 4096-byte file it writes and its supervisor (and every status view) reads.

Theory of operation. The child is the only writer; every field is one aligned 8-byte word, stored and loaded in one
machine instruction, so a reader needs no lock and a writer killed or stopped anywhere leaves nothing torn. The first
file is built under a temporary name and renamed into place; a restarted child blanks and reuses it, for in a full
/dev/shm there would be no room for another. The magic is written last, and pid and start time name one process, so
nobody mistakes the predecessor's last heartbeat for the successor's first.

Two orders matter, and x86 keeps them. A writer that leaves a call stamps its heartbeat *before* it clears the mark; a
reader loads the mark *before* the heartbeat. So whoever sees "not in a call" sees a heartbeat from after the call.

    word  0 magic       1 layout version   2 pid          3 start_ticks   4 boot id, high   5 boot id, low
    word  8 state       9 ready_ns        10 exit_code   11 in_call_limit_ns               12 status length in bytes
    word 16 heartbeat_ns                  17 in_call_since_ns             (the hot words, on a cache line of their own)
    byte 256 .. 511     status text, UTF-8

Times are CLOCK_MONOTONIC in ns, which all processes of one boot share; 0 means "never" or "not now".
"""

from __future__ import annotations

import mmap
import os
from enum import IntEnum
from time import monotonic_ns
from typing import Final

from ipc import segment
from ipc.errors import NotThere, VersionMismatch, named
from ipc.proc import boot_id, process_start_ticks

SIZE_BYTES: Final = 4096
STATUS_MAX_BYTES: Final = 256

_MAGIC: Final = 0x31534C4154495653  # "SVITALS1", little endian
_VERSION: Final = 1
_STATUS_AT: Final = 256
(_PID, _TICKS, _BOOT_HIGH, _BOOT_LOW) = (2, 3, 4, 5)
(_STATE, _READY, _EXIT_CODE, _CALL_LIMIT, _STATUS_LENGTH) = (8, 9, 10, 11, 12)
(_HEARTBEAT, _IN_CALL) = (16, 17)


class State(IntEnum):
    """What the child says of itself."""

    STARTING = 0
    READY = 1
    STOPPING = 2
    FAILED = 3


class Vitals:
    """One child's page. `create` in the child, `attach` (read only) everywhere else."""

    __slots__ = ("_map", "_words", "path")

    def __init__(self, path: str, mapping: mmap.mmap) -> None:
        self.path = path
        self._map = mapping
        self._words = memoryview(mapping).cast("q")

    @classmethod
    def create(cls, path: str | os.PathLike[str], in_call_limit_ns: int = 0) -> Vitals:
        """The file at `path` begins anew as this process's, in state STARTING.

        `in_call_limit_ns` is how long one foreign call may take; 0 leaves that to the supervisor's spec.
        Raises NoSpace, NoDescriptors, NotThere (no such directory).
        """
        target = os.fspath(path)
        file = segment.renew(target, SIZE_BYTES, lambda view: _format(view, in_call_limit_ns))
        try:
            return cls(target, mmap.mmap(file.fd, SIZE_BYTES))
        finally:
            file.close()

    @classmethod
    def attach(cls, path: str | os.PathLike[str]) -> Vitals:
        """Map an existing file read only. Raises NotThere (also while it is being made), NoDescriptors,
        VersionMismatch."""
        source = os.fspath(path)
        try:
            fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise named(error, source) from error
        try:
            size = os.fstat(fd).st_size
            if size != SIZE_BYTES:
                raise VersionMismatch(source, f"{size} bytes", f"{SIZE_BYTES} bytes")
            vitals = cls(source, mmap.mmap(fd, SIZE_BYTES, prot=mmap.PROT_READ))
        finally:
            os.close(fd)
        found = (vitals._words[0], vitals._words[1])
        if found != (_MAGIC, _VERSION):
            vitals.close()
            if found[0] == 0:
                raise NotThere(source, "is just being made")
            raise VersionMismatch(source, f"magic {found[0]:#x} version {found[1]}", f"version {_VERSION}")
        return vitals

    def close(self) -> None:
        self._words.release()
        self._map.close()

    # -- the child's side -------------------------------------------------------------------------------------------

    def beat(self, now_ns: int) -> None:
        """The work loop went round once more."""
        self._words[_HEARTBEAT] = now_ns

    def enter_call(self, now_ns: int) -> None:
        """A foreign call begins that may take long: until `leave_call` a missing heartbeat is not a hang."""
        self._words[_IN_CALL] = now_ns

    def leave_call(self) -> None:
        """The call has returned, which is a sign of life: stamped before the mark goes."""
        words = self._words
        words[_HEARTBEAT] = monotonic_ns()
        words[_IN_CALL] = 0

    def ready(self, now_ns: int) -> None:
        """Initialised and serving. The heartbeat is stamped first: who sees READY also sees a fresh beat."""
        words = self._words
        words[_HEARTBEAT] = now_ns
        words[_READY] = now_ns
        words[_STATE] = State.READY

    def stopping(self) -> None:
        self._words[_STATE] = State.STOPPING

    def failed(self, exit_code: int, reason: str) -> None:
        """The last words before `os._exit(exit_code)`; the supervisor reports `reason`."""
        self.say(reason)
        self._words[_EXIT_CODE] = exit_code
        self._words[_STATE] = State.FAILED

    def say(self, status: str) -> None:
        """Set the status text, cut to STATUS_MAX_BYTES; a concurrent reader may for an instant see none."""
        text = status.encode("utf-8", "replace")[:STATUS_MAX_BYTES]
        self._words[_STATUS_LENGTH] = 0
        self._map[_STATUS_AT : _STATUS_AT + len(text)] = text
        self._words[_STATUS_LENGTH] = len(text)

    # -- everybody's side -------------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        return self._words[_PID]

    @property
    def start_ticks(self) -> int:
        """Start time of the process in clock ticks since boot (/proc/pid/stat); with the pid, names one process."""
        return self._words[_TICKS]

    @property
    def is_of_this_boot(self) -> bool:
        return (self._words[_BOOT_HIGH], self._words[_BOOT_LOW]) == _boot_words()

    @property
    def state(self) -> State:
        """A value that nobody of this layout writes counts as FAILED: a reader is never brought down by it."""
        found = self._words[_STATE]
        return State(found) if State.STARTING <= found <= State.FAILED else State.FAILED

    @property
    def heartbeat_ns(self) -> int:
        return self._words[_HEARTBEAT]

    @property
    def in_call_since_ns(self) -> int:
        return self._words[_IN_CALL]

    @property
    def in_call_limit_ns(self) -> int:
        return self._words[_CALL_LIMIT]

    @property
    def ready_ns(self) -> int:
        return self._words[_READY]

    @property
    def exit_code(self) -> int:
        return self._words[_EXIT_CODE]

    @property
    def status(self) -> str:
        length = min(max(self._words[_STATUS_LENGTH], 0), STATUS_MAX_BYTES)
        return self._map[_STATUS_AT : _STATUS_AT + length].decode("utf-8", "ignore")


def _format(view: memoryview, in_call_limit_ns: int) -> None:
    words = view.cast("q")
    pid = os.getpid()
    words[1] = _VERSION
    words[_PID] = pid
    words[_TICKS] = process_start_ticks(pid)
    words[_BOOT_HIGH], words[_BOOT_LOW] = _boot_words()
    words[_CALL_LIMIT] = in_call_limit_ns
    words[0] = _MAGIC
    words.release()


def _boot_words() -> tuple[int, int]:
    """The kernel's boot id as two signed words."""
    raw = bytes.fromhex(boot_id().replace("-", ""))
    return int.from_bytes(raw[:8], "little", signed=True), int.from_bytes(raw[8:], "little", signed=True)
