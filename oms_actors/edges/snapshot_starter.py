"""Starts the cold process that writes a role's snapshots, whenever its journal has grown by so much, and by as much as
the last one is long: so what they cost stays in proportion."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

from oms_actors.edges import snapshots

LOOK_NS = 2_000_000_000
REST_NS = 15_000_000_000
"""At the least between two snapshots: at full speed they would cost as much as the orders."""


class SnapshotStarter:
    """`look` costs nothing most of the time and never waits. One process at a time; how it ends changes nothing."""

    def __init__(self, runtime: Path, folder: Path, role: str, every_bytes: int, log: logging.Logger) -> None:
        self._runtime, self._folder, self._role, self._every, self._log = runtime, folder, role, every_bytes, log
        self._due_ns = 0
        self._process: subprocess.Popen[bytes] | None = None

    def look(self, offset: int, now_ns: int) -> None:
        """`offset`: how far the role's journal is durable (bytes)."""
        if now_ns < self._due_ns or not self._every:
            return
        self._due_ns = now_ns + LOOK_NS
        if self._process is not None:
            code = self._process.poll()
            if code is None:
                return
            self._process = None
            if code:
                self._log.warning(
                    "the process of %s's snapshot ended with %d; the journals hold everything anyway", self._role, code
                )  # fmt: skip
                self._due_ns = now_ns + 30 * LOOK_NS
                return
        newest, size = snapshots.newest(self._folder, self._role)
        if offset - newest.offset >= max(self._every, size):
            self._start()

    def _start(self) -> None:
        self._due_ns += REST_NS
        command = [sys.executable, "-P", "-m", "oms_actors.snapshots", str(self._runtime), self._role]
        environment = os.environ | {"SNAPSHOT_PARENT": str(os.getpid())}
        try:
            self._process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL)
        except OSError as error:
            self._log.warning("no snapshot: %s", error)
