"""A folder with a life of its own: desks that are started in it through the command line, and nothing left after."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psutil
import pytest

from oms_actors.errors import DeskDown
from oms_actors.status import snapshot

OMS = (sys.executable, "-m", "oms_actors.cli")
LIMIT_S = 60


@dataclass(frozen=True)
class Ended:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The JSON object in the last line of stdout."""
        found: dict[str, Any] = json.loads(self.out.splitlines()[-1])
        return found


class Place:
    """Shared memory, data and temporary files of its own (the `oms` fixture calls commands in it, too); what still runs
    at the end is killed."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.runtime, self.temporary = folder / "runtime", folder / "tmp"
        self.temporary.mkdir()
        monkeypatch.setenv("TMPDIR", str(self.temporary))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes():
            with contextlib.suppress(psutil.Error):
                process.kill()

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """`oms` with these arguments, not waited for."""
        return subprocess.Popen([*OMS, *arguments], cwd=self.folder, text=True, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE)  # fmt: skip

    def run(self, *arguments: str) -> subprocess.Popen[str]:
        """The desk "default", which is up."""
        desk = self.start("run", *arguments)
        self.wait_until_up()
        return desk

    def status(self, instance: str = "default") -> dict[str, Any]:
        """What `oms status --json` prints, without the cost of a process; {} while there is no desk."""
        try:
            return snapshot(instance)
        except DeskDown:
            return {}

    def wait_until_up(self, instance: str = "default") -> None:
        """Every process is up and, if it is a desk, logged on."""

        def is_up() -> bool:
            status = self.status(instance)
            is_desk = "sender" in status.get("counters", {})
            return status.get("state") == "up" and (not is_desk or status["session"]["link"] == "on")

        wait_for(is_up)

    def is_empty(self) -> bool:
        """No process, no shared memory, no temporary file."""
        left = [*self.runtime.rglob("*")] if self.runtime.exists() else []
        return not left and not any(self.temporary.iterdir()) and not any(self._processes())

    def _processes(self) -> Iterator[psutil.Process]:
        """Everything else that runs with this folder's shared memory."""
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.pid != os.getpid() and process.environ().get("OMS_RUNTIME_DIR") == str(self.runtime):
                    yield process


def wait_for(condition: Callable[[], object], limit_s: float = LIMIT_S) -> None:
    """Looks until it is so; fails the test after the limit."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "that took too long"
        time.sleep(0.05)


def end_of(process: subprocess.Popen[str]) -> Ended:
    """Waits for it."""
    out, err = process.communicate(timeout=LIMIT_S)
    return Ended(process.returncode, out, err)
