"""Opening an instance's journals: folder, marks and boot in one place, for the processes that write or follow them."""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import MutableSequence
from pathlib import Path
from typing import cast

from ipc.proc import boot_id
from oms_actors.config import Resolved
from oms_actors.edges.disk import OsDisk
from oms_actors.edges.journal import MARK_WORDS, JournalReader, JournalWriter, Position

INTAKE, SENDER, VENUE = "intake", "sender", "venue"


def folder(resolved: Resolved) -> Path:
    """Where the journals of the instance are."""
    return Path(resolved.data_dir) / "journal"


def boot_word() -> int:
    """This boot of the machine as a u64 that is not 0."""
    return int(boot_id().replace("-", "")[:16], 16) | 1


def shared_words(path: Path, count: int) -> memoryview:
    """A small file of u64 words, mapped; zeros if it is new."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if os.fstat(fd).st_size < count * 8:
            os.posix_fallocate(fd, 0, count * 8)
        return memoryview(mmap.mmap(fd, count * 8)).cast("Q")
    finally:
        os.close(fd)


def mark(resolved: Resolved, role: str) -> MutableSequence[int]:
    """The shared words of a role's journal (journal.MARK_…)."""
    folder(resolved).mkdir(mode=0o700, parents=True, exist_ok=True)
    return cast("MutableSequence[int]", shared_words(folder(resolved) / f"{role}.mark", MARK_WORDS))


def open_writer(resolved: Resolved, role: str) -> JournalWriter:
    """The writer of a role's journal; the caller holds the role's lock. Raises JournalError and its kinds."""
    desk = resolved.config.desk
    return JournalWriter(
        OsDisk(folder(resolved)), role, durability=desk.durability, segment_bytes=desk.segment_bytes,
        desk=resolved.desk_id, boot=boot_word(), wall_ns=time.time_ns(), mark=mark(resolved, role),
    )  # fmt: skip


def open_reader(resolved: Resolved, role: str, position: Position | None = None) -> JournalReader:
    """A reader that follows the role's live journal up to what is durable."""
    return JournalReader(OsDisk(folder(resolved)), role, position, mark(resolved, role), boot_word())
