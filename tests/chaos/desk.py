"""A real desk in a folder of its own: supervisor, processes, shared memory, journals, database; and its tormentors."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import psutil
from chaos.program import INSTANCE

from ipc import inject
from ipc.errors import IpcError
from ipc.page import Page
from oms_actors.config import Config
from supervisor import published

ROOT = Path(__file__).parents[2]
PLANTED = Path(__file__).parent / "planted"
WAIT_S = 60.0
ROLES = ("venue", "persistence", "sender", "intake", "scheduler")


class Desk:
    """`injected`: what is to happen at which injection point (ipc/inject.py); `planted`: with the mistake of
    `planted/sitecustomize.py` in its processes."""

    def __init__(self, config: Config, injected: str = "", planted: bool = False) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="oms-chaos-"))
        self.base = Path(tempfile.mkdtemp(prefix="oms-chaos-", dir="/dev/shm"))
        self.runtime = self.base / INSTANCE
        self.data = self.folder / INSTANCE
        self.counts_file = self.folder / "points"
        desk = msgspec.structs.replace(config.desk, data_dir=str(self.folder), log_level="WARNING")
        (self.folder / "config.json").write_bytes(msgspec.json.encode(msgspec.structs.replace(config, desk=desk)))
        self.environment = {
            **os.environ, "OMS_RUNTIME_DIR": str(self.base),
            "PYTHONPATH": f"{PLANTED}:" * planted + f"{ROOT}:{ROOT / 'tests'}",
            inject.COUNTS: str(self.counts_file), inject.PLANS: injected,
        }  # fmt: skip
        self._before = os.environ.get("OMS_RUNTIME_DIR")
        self.supervisor: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        os.environ["OMS_RUNTIME_DIR"] = str(self.base)
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._before is None:
            os.environ.pop("OMS_RUNTIME_DIR", None)
        else:
            os.environ["OMS_RUNTIME_DIR"] = self._before
        if self.supervisor is not None and self.supervisor.poll() is None:
            self.supervisor.kill()
            self.supervisor.wait()
        if error is not None:
            print(self.last_words(), file=sys.stderr)
        shutil.rmtree(self.base, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- life -------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """A supervisor, without waiting for its children."""
        with open(self.folder / "desk.log", "ab") as log:
            self.supervisor = subprocess.Popen(
                [sys.executable, "-m", "chaos.program", str(self.folder)], env=self.environment, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def stop(self) -> int:
        """The orderly end."""
        assert self.supervisor is not None
        self.supervisor.send_signal(signal.SIGTERM)
        return self.supervisor.wait(WAIT_S)

    def last_words(self) -> str:
        """The end of everybody's log."""
        return (self.folder / "desk.log").read_text(errors="replace")[-6_000:]

    # -- what is seen -----------------------------------------------------------------------------------------------

    def pids(self) -> dict[str, int]:
        """The living children by role."""
        found = published.read(self.runtime)
        if found is None or not found.alive:
            return {}
        return {child.name: child.pid for child in found.children}

    def is_stopped(self, role: str) -> bool:
        """By SIGSTOP."""
        process = _process(self.pids().get(role, 0))
        return process is not None and process.status() == psutil.STATUS_STOPPED

    def restarts(self) -> dict[str, int]:
        """How often each child was started again by the supervisor that lives now."""
        found = published.read(self.runtime)
        return {child["name"]: child["restarts"] for child in found.document["children"]} if found else {}

    def is_up(self) -> bool:
        """Every process runs, and the sender is logged on."""
        found = published.read(self.runtime)
        return found is not None and found.alive and found.state == "up" and self.counter("sender", "link") == 3

    def counter(self, role: str, name: str) -> int:
        """A counter of a role's page; 0 while there is none."""
        try:
            page = Page.attach(str(self.runtime / f"{role}.page"))
        except (IpcError, OSError):
            return 0
        with contextlib.closing(page):
            return page[name]

    def points(self) -> dict[str, int]:
        """How often each injection point was passed."""
        return inject.counts(str(self.counts_file)) if self.counts_file.exists() else {}

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of the database."""
        with contextlib.closing(sqlite3.connect(f"file:{self.data / 'oms.sqlite'}?mode=ro", uri=True)) as database:
            return database.execute(sql).fetchall()

    # -- torment ----------------------------------------------------------------------------------------------------

    def signal(self, role: str, number: signal.Signals) -> int:
        """To one child; its pid, 0 if it is not there now."""
        pid = self.pids().get(role, 0)
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        return pid

    def kill(self, *roles: str) -> None:
        """Some children at once."""
        for role in roles:
            self.signal(role, signal.SIGKILL)

    def kill_everything(self) -> None:
        """The supervisor, and with it (by the kernel) all its children; waits until they are gone."""
        assert self.supervisor is not None
        children = [process for pid in self.pids().values() if (process := _process(pid)) is not None]
        self.supervisor.kill()
        self.supervisor.wait()
        psutil.wait_procs(children, WAIT_S)

    def arm(self, point: str, nth: int) -> bool:
        """Whoever comes along a point for the n-th time from now on dies there; False: nobody has been there yet."""
        return self.counts_file.exists() and inject.arm(str(self.counts_file), point, nth)

    def wait(self, what: str, condition: Callable[[], Any], limit_s: float = WAIT_S) -> None:
        """Until it is so; AssertionError after the limit."""
        deadline = time.monotonic() + limit_s
        while not condition():
            assert time.monotonic() < deadline, f"waited {limit_s:g} s for {what}"
            assert self.supervisor is None or self.supervisor.poll() is None, f"no supervisor, waiting for {what}"
            time.sleep(0.01)


def _process(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except psutil.NoSuchProcess:
        return None
