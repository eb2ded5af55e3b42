"""Intake and sender in this process, driven by hand: no wakes, no other process, so a stage's own cost shows.

Journals, rings, pages and the upstream's file are real; the exchange is `bench.adapters:NullVenue`, or another.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from bench.desk import OPEN, config_of
from ipc.lock import FileLock
from ipc.ring import create_ring
from ipc.wait import Bell
from oms_actors import app, instance
from oms_actors.actors import intake as intake_module
from oms_actors.actors import sender as sender_module
from oms_actors.actors.intake import IntakeRole
from oms_actors.actors.sender import SenderRole
from oms_actors.config import Config, ThrottleConfig
from oms_actors.core.hours import ALWAYS
from oms_actors.edges.session_page import SessionWriter
from oms_actors.upstream import SUPERVISOR_LOCK, Upstream

ADAPTER = "bench.adapters:NullVenue"


class _Vitals:
    """In place of vital signs."""

    def enter_call(self, now_ns: int) -> None: ...
    def leave_call(self) -> None: ...


class Rig:
    """`intake` and `sender` are started roles, `upstream` is attached."""

    def __init__(self, folder: Path, config: Config) -> None:
        self.resolved = app.resolve(config, "rig", str(folder))
        app.prepare(self.resolved)
        self.runtime = Path(self.resolved.runtime_dir)
        self._lock = FileLock(str(self.runtime / SUPERVISOR_LOCK))
        self._lock.acquire()
        SessionWriter(self.runtime / instance.SESSION_PAGE).publish(ALWAYS, 1)
        for ring in (instance.INTAKE_SENDER, instance.SENDER_INTAKE):
            create_ring(str(self.runtime / ring), config.desk.inner_ring_bytes).close()
        contexts = {name: self._context(name) for name in ("intake", "sender")}
        self.intake, self.sender = IntakeRole(contexts["intake"]), SenderRole(contexts["sender"])
        self.intake.start()
        self.sender.start()
        self.upstream = Upstream.attach("rig", "up")
        self.settle()

    def _context(self, name: str) -> Any:
        return SimpleNamespace(
            runtime=self.runtime, name=name, bell=Bell.create(str(self.runtime / f"{name}.bell")), vitals=_Vitals(),
            log=logging.getLogger(name), beat=lambda: None, path=lambda file: str(self.runtime / file), predecessor="",
            real_time=lambda yes: False,
        )  # fmt: skip

    def settle(self) -> None:
        """Until nobody has anything to do."""
        self.intake._tick_ns = 0  # looks for upstreams now
        for _ in range(1000):
            worked = [self.intake.work(), self.sender.work()]
            if not any(worked) and not self.intake.ready() and not self.sender.ready():
                return

    def close(self) -> None:
        self.upstream.close()
        self.sender.stop()
        self.intake.stop()
        self._lock.release()
        shutil.rmtree(self.runtime, ignore_errors=True)


def _as_it_is() -> None:
    """This process goes on with other things, and what it starts inherits: it keeps its timers and turns."""


@contextmanager
def rig(
    folder: Path | None = None, durability: str = "process", adapter: str = ADAPTER, throttle: ThrottleConfig = OPEN
) -> Iterator[Rig]:
    """A rig in temporary folders."""
    with tempfile.TemporaryDirectory(prefix="oms-bench-", dir=folder) as data, \
            tempfile.TemporaryDirectory(prefix="oms-bench-", dir="/dev/shm") as runtime, \
            patch.dict(os.environ, OMS_RUNTIME_DIR=runtime), \
            patch.multiple(sender_module, fine_timers=_as_it_is, short_slices=_as_it_is), \
            patch.object(intake_module, "short_slices", _as_it_is):  # fmt: skip
        import msgspec

        config = config_of(durability=durability, adapter=adapter, throttle=throttle)
        desk = msgspec.structs.replace(config.desk, data_dir=data)
        made = Rig(Path(data), msgspec.structs.replace(config, desk=desk))
        try:
            yield made
        finally:
            made.close()
