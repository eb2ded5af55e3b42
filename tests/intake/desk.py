"""A desk in one process for the tests of intake's actor: real files, rings and journals, a sender of a few lines.

`kill` drops the role as a SIGKILL would: what is in shared memory and page cache stays, everything else is gone.
"""

from __future__ import annotations

import gc
import logging
import os
import shutil
import struct
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ipc.lock import FileLock
from ipc.ring import RingWriter, create_ring, open_reader, open_writer
from ipc.wait import Bell
from oms_actors import instance
from oms_actors.actors.intake import IntakeRole
from oms_actors.config import Config, DeskConfig, QueueConfig, Resolved
from oms_actors.core.hours import ALWAYS, SessionState
from oms_actors.core.reports import report
from oms_actors.edges import journals
from oms_actors.edges.disk import OsDisk
from oms_actors.edges.feed import Feed
from oms_actors.edges.journal import Frame, frames
from oms_actors.edges.session_page import SessionWriter
from oms_actors.messages import ExecType, Kind, OrdStatus, ReportFlag
from oms_actors.record import REQUEST_BYTES, encode_text, records
from oms_actors.upstream import SUPERVISOR_LOCK, Upstream

DESCRIPTORS_MAX = 300


class Sender:
    """Acknowledges every admitted request: an INTENT for a NEW, a RESULT, and a report with or without a text."""

    def __init__(self, resolved: Resolved, runtime: Path) -> None:
        self.journal = journals.open_writer(resolved, journals.SENDER)
        self.ring: RingWriter | None = open_writer(str(runtime / instance.SENDER_INTAKE))
        reader = journals.open_reader(resolved, journals.INTAKE)
        self.feed = Feed(open_reader(str(runtime / instance.INTAKE_SENDER)), reader, 1)
        self.seen: list[bytes] = []
        self.hints = True
        self.sends = True
        """Does it let orders out of the queue?"""

    def work(self) -> None:
        for frame in self.feed.take():
            out: list[bytes] = []
            for record in records(frame.payload):
                if len(record) == REQUEST_BYTES and record[28:30] == b"\0\0":
                    self.seen.append(record)
                    if self.sends:
                        out += self._answer(record, self.journal.sequence + len(out))
            if out:
                self.put(out, frame.sequence + frame.records - 1)
        self.feed.commit()

    def put(self, out: list[bytes], input_: int = 0) -> None:
        """Journals records and hints at them."""
        data = self.journal.append(b"".join(out), len(out), 33, 44, input_)
        self.journal.sync()
        if self.hints and self.ring is not None and len(data) <= self.ring.frame_bytes_max:
            self.ring.try_put(data)

    def _answer(self, record: bytes, sequence: int) -> list[bytes]:
        found: list[bytes] = []
        if record[0] == Kind.NEW:
            found.append(bytes([Kind.INTENT_NEW]) + record[1:8] + struct.pack("<Q", sequence) + record[16:])
        number = int.from_bytes(record[184:192], "little")
        texted = number % 3 == 1
        flags = ReportFlag.FINAL | ReportFlag.FROM_SENDER | (ReportFlag.HAS_TEXT if texted else 0)
        found.append(report(
            key=record[80:132], exec_type=ExecType.NEW, ord_status=OrdStatus.NEW, flags=int(flags),
            request_kind=record[0], sequence=sequence + len(found), number=number,
            upstream=int.from_bytes(record[16:20], "little"),
        ))  # fmt: skip
        if texted:
            found.append(encode_text(sequence + len(found), f"text {number}"))
        return found

    def close(self) -> None:
        self.journal.close()
        if self.ring is not None:
            self.ring.close()
        self.feed.close()


class Desk:
    """Everything around one intake role."""

    def __init__(self, base: Path, session: SessionState | None = ALWAYS, **desk: Any) -> None:
        capacity = desk.pop("capacity", 1_000_000)
        sizes = {"upstream_request_bytes": 64 << 10, "upstream_report_bytes": 64 << 10, "segment_bytes": 1 << 20}
        self.runtime = base / "default"
        self.runtime.mkdir(mode=0o700)
        self.resolved = Resolved(
            instance="default", runtime_dir=str(self.runtime), data_dir=str(base / "data"), config_dir=str(base),
            desk_id=7, config=Config(desk=DeskConfig(**{**sizes, **desk}), queue=QueueConfig(capacity=capacity)),
        )  # fmt: skip
        instance.write_desk(self.resolved)
        for ring in (instance.INTAKE_SENDER, instance.SENDER_INTAKE):
            create_ring(str(self.runtime / ring), 1 << 20).close()
        self.lock = FileLock(str(self.runtime / SUPERVISOR_LOCK))
        self.lock.acquire()
        self.bell = Bell.create(str(self.runtime / "intake.bell"))
        self.session = SessionWriter(self.runtime / instance.SESSION_PAGE)
        if session is not None:
            self.session.publish(session, 1)
        self.sender = Sender(self.resolved, self.runtime)
        self.role: IntakeRole | None = None
        self.upstreams: dict[str, Upstream] = {}
        self.predecessor = ""

    @property
    def intake(self) -> IntakeRole:
        """The living role; started if there is none."""
        if self.role is None:
            self.role = IntakeRole(self._context())  # type: ignore[arg-type]
            self.role.start()
        return self.role

    def _context(self) -> SimpleNamespace:
        return SimpleNamespace(
            runtime=self.runtime, name="intake", bell=self.bell, log=logging.getLogger("intake"),
            path=lambda name: str(self.runtime / name), beat=lambda: None, predecessor=self.predecessor,
        )  # fmt: skip

    def upstream(self, name: str) -> Upstream:
        """Attached under that name."""
        if name not in self.upstreams:
            self.upstreams[name] = Upstream.attach(name=name)
        return self.upstreams[name]

    def step(self, times: int = 1) -> None:
        """Cycles of intake and the sender, as long as there is work and at least so often."""
        for _ in range(times):
            self.intake.work()
            self.sender.work()

    def settle(self) -> None:
        """Until nobody has anything to do."""
        for _ in range(200):
            self.intake._tick_ns = 0
            worked = self.intake.work()
            self.sender.work()
            if not (worked or self.intake.ready() or self.sender.feed.ready()):
                return
        raise AssertionError("never quiet")

    def kill(self) -> None:
        """As SIGKILL would."""
        role, self.role = self.role, None
        if role is None:
            return
        for link in getattr(role, "upstreams", SimpleNamespace(links={})).links.values():
            link.close()
        for server, _, _ in role.upstreams._joining.values():
            server.close()
        for name in ("out_ring", "feed", "view", "page"):
            if getattr(role, name, None) is not None:
                getattr(role, name).close()
        journal = getattr(role, "journal", None)
        for file in (journal._file, journal._spare) if journal is not None else ():
            if file is not None and file._fd >= 0:
                file.close()
                file._fd = -1

    def all_frames(self) -> list[Frame]:
        """Intake's journal."""
        return list(frames(OsDisk(journals.folder(self.resolved)), journals.INTAKE))

    def close(self) -> None:
        if not self.lock.held:
            return
        self.kill()
        self.sender.close()
        for upstream in self.upstreams.values():
            upstream.close()
        self.upstreams.clear()
        self.session.close()
        if self.bell.segment is not None:
            self.bell.segment.close()
        self.lock.release()

    def remove(self) -> None:
        """Closes it and makes room for another."""
        self.close()
        if len(os.listdir("/proc/self/fd")) > DESCRIPTORS_MAX:
            gc.collect()  # the mappings of former lives, which tracebacks hold
        shutil.rmtree(self.runtime)
        shutil.rmtree(self.resolved.data_dir)


def until(condition: Any, timeout_s: float = 30.0) -> None:
    """Waits for something that another thread or process brings about."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("never happened")
        time.sleep(0.002)
